"""The service section of a Canary (`spec.service`): the way users reach the app, and the fields that meshes render.

The fields are those of Flagger's Canary definition, which takes them from Istio and the Gateway API. An unknown field
is reported and left out, as an API server with that definition does. `trafficPolicy` alone stays JSON: no code here
reads it, and Istio gets it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from canarycore import bounds
from canarycore._spec import Match, StringMatch
from canarycore.manifest._match import SERVICE_MATCH, STRING_MATCH_OR_PRESENCE
from canarycore.manifest._reader._fields import (
    BOOLEAN,
    COUNT,
    DURATION,
    FREE,
    LABELS,
    NAME,
    PORT,
    TEXT,
    TEXTS,
    Codec,
    Cursor,
    duration,
    list_of,
    map_of,
    object_of,
    one_of,
    section,
    wire,
    without_nulls,
)

Pairs = tuple[tuple[str, str], ...]

TRAFFIC_POLICY = ("connectionPool", "loadBalancer", "outlierDetection", "portLevelSettings", "tls")

_FREE_TEXTS = list_of(FREE)
_FREE_PAIRS = without_nulls(map_of(FREE))
_OPTIONAL_TEXT = evolve(FREE, empty=None)


@frozen(kw_only=True)
class Rewrite:
    """The replacement of a request's path or host."""

    uri: str = wire(TEXT)
    authority: str = wire(TEXT)
    type: str = wire(TEXT)
    """`ReplacePrefixMatch` replaces the prefix that matched; any other text replaces the whole path."""


@frozen(kw_only=True)
class Retries:
    """Istio's HTTPRetry."""

    attempts: int | None = wire(COUNT)
    per_try_timeout: str = wire(DURATION)
    retry_on: str = wire(TEXT)
    """Events to try again after, separated by commas, such as `5xx,gateway-error`."""
    retry_remote_localities: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class HeaderOperations:
    """Changes to the headers of requests or of responses (Istio's HeaderOperations)."""

    add: Pairs = wire(_FREE_PAIRS)
    set: Pairs = wire(_FREE_PAIRS)
    remove: tuple[str, ...] = wire(_FREE_TEXTS)


@frozen(kw_only=True)
class HeaderChanges:
    """Istio's Headers."""

    request: HeaderOperations | None = wire(object_of(HeaderOperations))
    response: HeaderOperations | None = wire(object_of(HeaderOperations))


@frozen(kw_only=True)
class CorsPolicy:
    """Istio's CorsPolicy."""

    allow_origin: tuple[str, ...] = wire(_FREE_TEXTS)
    allow_origins: tuple[StringMatch, ...] = wire(list_of(STRING_MATCH_OR_PRESENCE))
    allow_methods: tuple[str, ...] = wire(_FREE_TEXTS)
    allow_headers: tuple[str, ...] = wire(_FREE_TEXTS)
    expose_headers: tuple[str, ...] = wire(_FREE_TEXTS)
    allow_credentials: bool = wire(BOOLEAN)
    max_age: str = wire(duration(zero=True))


@frozen(kw_only=True)
class BackendReference:
    """The Gateway API's BackendObjectReference. None leaves the API's default; an empty group is the core group."""

    group: str | None = wire(_OPTIONAL_TEXT)
    kind: str | None = wire(_OPTIONAL_TEXT)
    namespace: str | None = wire(_OPTIONAL_TEXT)
    name: str = wire(FREE, required=True)
    port: int | None = wire(PORT)


@frozen(kw_only=True)
class ParentReference(BackendReference):
    """The Gateway API's ParentReference."""

    section_name: str | None = wire(_OPTIONAL_TEXT)


@frozen(kw_only=True)
class MirrorFilter:
    """The Gateway API's HTTPRequestMirrorFilter."""

    backend_ref: BackendReference = wire(object_of(BackendReference), required=True)


@frozen(kw_only=True)
class CustomMetadata:
    """Labels and annotations for a generated Service."""

    labels: Pairs = wire(LABELS)
    annotations: Pairs = wire(LABELS)


@frozen(kw_only=True)
class UnmanagedMetadata:
    """Names of labels and annotations of generated objects that others manage."""

    labels: tuple[str, ...] = wire(TEXTS)
    annotations: tuple[str, ...] = wire(TEXTS)


def _read_port_or_name(value: object, spot: Cursor) -> int | str:
    port_or_name: int | str = (TEXT if isinstance(value, str) else PORT).read(value, spot)
    return port_or_name


_PORT_OR_NAME = Codec(
    _read_port_or_name,
    schema={"x-kubernetes-int-or-string": True, "maxLength": bounds.TEXT.most, "maximum": 65535},
)


@frozen(kw_only=True)
class Service:
    """The way users reach the app (`spec.service`)."""

    name: str = wire(NAME)
    """The apex Service; empty means the target's name."""
    port: int | None = wire(PORT, required=True)
    port_name: str = wire(TEXT)
    target_port: int | str | None = wire(_PORT_OR_NAME)
    app_protocol: str = wire(TEXT)
    traffic_distribution: str = wire(one_of("PreferClose", "PreferSameZone", "PreferSameNode"))
    port_discovery: bool = wire(BOOLEAN)
    headless: bool = wire(BOOLEAN)
    timeout: str = wire(DURATION)
    backend_timeout: str = wire(DURATION)
    gateways: tuple[str, ...] = wire(TEXTS)
    gateway_refs: tuple[ParentReference, ...] = wire(list_of(object_of(ParentReference)))
    hosts: tuple[str, ...] = wire(TEXTS)
    delegation: bool = wire(BOOLEAN)
    traffic_policy: Mapping[str, Any] | None = wire(section("Istio's TrafficPolicy", *TRAFFIC_POLICY))
    """JSON that Istio's DestinationRules get unchanged."""
    match: tuple[Match, ...] = wire(SERVICE_MATCH)
    rewrite: Rewrite | None = wire(object_of(Rewrite))
    retries: Retries | None = wire(object_of(Retries))
    headers: HeaderChanges | None = wire(object_of(HeaderChanges))
    mirror: tuple[MirrorFilter, ...] = wire(list_of(object_of(MirrorFilter)))
    cors_policy: CorsPolicy | None = wire(object_of(CorsPolicy))
    mesh_name: str = wire(TEXT)
    backends: tuple[str, ...] = wire(TEXTS)
    apex: CustomMetadata | None = wire(object_of(CustomMetadata))
    primary: CustomMetadata | None = wire(object_of(CustomMetadata))
    canary: CustomMetadata | None = wire(object_of(CustomMetadata))
    unmanaged_metadata: UnmanagedMetadata | None = wire(object_of(UnmanagedMetadata))
