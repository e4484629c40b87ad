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
from canarycore.manifest._match import SERVICE_MATCH, STRING_MATCH_OR_PRESENCE
from canarycore.manifest._reader._fields import (
    BOOLEAN,
    FREE,
    LABELS,
    NAME,
    PASSED_ON_DURATION,
    PORT,
    TEXT,
    TEXTS,
    Codec,
    Cursor,
    count,
    list_of,
    map_of,
    object_of,
    one_of,
    section,
    wire,
)
from canarycore.manifest.routing import ROUTE_KINDS
from canarycore.traffic import Match, StringMatch

Pairs = tuple[tuple[str, str], ...]

TRAFFIC_POLICY = ("connectionPool", "loadBalancer", "outlierDetection", "portLevelSettings", "tls")

_FREE_TEXTS = list_of(FREE)
_FREE_PAIRS = map_of(FREE)
_OPTIONAL_TEXT = evolve(FREE, empty=None)


@frozen(kw_only=True)
class Rewrite:
    """The replacement of a request's path or host."""

    uri: str = wire(TEXT)
    """The new path."""
    authority: str = wire(TEXT)
    """The new host."""
    type: str = wire(TEXT)
    """`ReplacePrefixMatch` replaces the prefix that matched; any other text replaces the whole path."""


@frozen(kw_only=True)
class Retries:
    """Istio's HTTPRetry."""

    attempts: int | None = wire(count(-bounds.COUNT.most))
    """The number of retries; None means the mesh's default."""
    per_try_timeout: str = wire(PASSED_ON_DURATION)
    """The timeout of each attempt, such as `1s`. The mesh gets the text unchanged; `0s` mostly means none."""
    retry_on: str = wire(TEXT)
    """Events to try again after, separated by commas, such as `5xx,gateway-error`."""
    retry_remote_localities: bool = wire(BOOLEAN)
    """Whether Istio may retry in other localities."""


@frozen(kw_only=True)
class HeaderOperations:
    """Changes to the headers of requests or of responses (Istio's HeaderOperations)."""

    add: Pairs = wire(_FREE_PAIRS)
    """Headers to append, by name."""
    set: Pairs = wire(_FREE_PAIRS)
    """Headers to overwrite, by name."""
    remove: tuple[str, ...] = wire(_FREE_TEXTS)
    """Names of headers to remove."""


@frozen(kw_only=True)
class HeaderChanges:
    """Istio's Headers."""

    request: HeaderOperations | None = wire(object_of(HeaderOperations))
    response: HeaderOperations | None = wire(object_of(HeaderOperations))


@frozen(kw_only=True)
class CorsPolicy:
    """Istio's CorsPolicy."""

    allow_origin: tuple[str, ...] = wire(_FREE_TEXTS)
    """Exact origins. Istio replaced this field by `allow_origins`."""
    allow_origins: tuple[StringMatch, ...] = wire(list_of(STRING_MATCH_OR_PRESENCE))
    allow_methods: tuple[str, ...] = wire(_FREE_TEXTS)
    allow_headers: tuple[str, ...] = wire(_FREE_TEXTS)
    expose_headers: tuple[str, ...] = wire(_FREE_TEXTS)
    allow_credentials: bool = wire(BOOLEAN)
    max_age: str = wire(PASSED_ON_DURATION)
    """The time that browsers may cache the answer, as a Go duration."""


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
class RouteReference:
    """A route of the Gateway API in the Canary's namespace."""

    kind: str = wire(one_of("", *ROUTE_KINDS))
    """Its kind; empty means HTTPRoute."""
    name: str = wire(NAME, required=True)


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


def _read_port_or_name(value: object, cursor: Cursor) -> int | str:
    port_or_name: int | str = (TEXT if isinstance(value, str) else PORT).read(value, cursor)
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
    """The port of the Services, from 1 to 65535. The parser requires it."""
    port_name: str = wire(TEXT)
    """The name of the port; empty means `http`."""
    target_port: int | str | None = wire(_PORT_OR_NAME)
    """The number or name of the containers' port; None means `port`."""
    app_protocol: str = wire(TEXT)
    """The port's `appProtocol`. Istio routes `tcp` by connection."""
    traffic_distribution: str = wire(one_of("PreferClose", "PreferSameZone", "PreferSameNode"))
    port_discovery: bool = wire(BOOLEAN)
    """Whether the Services get the containers' other ports too."""
    headless: bool = wire(BOOLEAN)
    """Whether the Services have no cluster IP."""
    timeout: str = wire(PASSED_ON_DURATION)
    """The timeout of a request, such as `15s`. The mesh gets the text unchanged: `0s` mostly means none."""
    backend_timeout: str = wire(PASSED_ON_DURATION)
    """The timeout of one request from the gateway to a backend (Gateway API), such as `15s`."""
    gateways: tuple[str, ...] = wire(TEXTS)
    """Istio gateways: `namespace/name`, or `mesh` for the sidecars."""
    gateway_refs: tuple[ParentReference, ...] = wire(list_of(object_of(ParentReference)))
    """Gateways of the Gateway API."""
    route_kind: str = wire(one_of("", *ROUTE_KINDS))
    """The kind of the route of the Gateway API; empty means HTTPRoute. Flagger has only that."""
    route_refs: tuple[RouteReference, ...] = wire(list_of(object_of(RouteReference), bounds.ROUTES))
    """Routes of the owner that lead to the apex Service: they get the same weights. Flagger has none."""
    hosts: tuple[str, ...] = wire(TEXTS)
    """The hosts that clients call."""
    delegation: bool = wire(BOOLEAN)
    """Whether another VirtualService delegates to the generated one."""
    traffic_policy: Mapping[str, Any] | None = wire(section("Istio's TrafficPolicy", *TRAFFIC_POLICY))
    """JSON that Istio's DestinationRules get unchanged."""
    match: tuple[Match, ...] = wire(SERVICE_MATCH)
    """Alternative conditions. The app gets requests that meet one of them; without any, all requests."""
    rewrite: Rewrite | None = wire(object_of(Rewrite))
    retries: Retries | None = wire(object_of(Retries))
    headers: HeaderChanges | None = wire(object_of(HeaderChanges))
    mirror: tuple[MirrorFilter, ...] = wire(list_of(object_of(MirrorFilter)))
    """Backends that get a copy of each request (Gateway API)."""
    cors_policy: CorsPolicy | None = wire(object_of(CorsPolicy))
    mesh_name: str = wire(TEXT)
    """The App Mesh of the generated objects."""
    backends: tuple[str, ...] = wire(TEXTS)
    """Virtual services of App Mesh that the app calls, by name or ARN."""
    apex: CustomMetadata | None = wire(object_of(CustomMetadata))
    """Metadata of the apex Service and of the route."""
    primary: CustomMetadata | None = wire(object_of(CustomMetadata))
    """Metadata of the primary's Service."""
    canary: CustomMetadata | None = wire(object_of(CustomMetadata))
    """Metadata of the canary's Service."""
    unmanaged_metadata: UnmanagedMetadata | None = wire(object_of(UnmanagedMetadata))
    """Labels and annotations whose present values the controller keeps."""


OWN_FIELDS_OF_SERVICES = ("routeKind", "routeRefs")
"""The fields of a service that Flagger does not have."""
