"""The capabilities of each routing provider, one row per provider.

The linter, `resolve` and the admission policy read this table. An adapter does the routing itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import Factory, frozen

from canarycore.foreign import get_integer, get_text, get_value
from canarycore.text import shorten

if TYPE_CHECKING:
    from canarycore.traffic import StringMatch

EXACT_PREFIX_REGEX = ("exact", "prefix", "regex")
EXACT_PREFIX_SUFFIX = ("exact", "prefix", "suffix")
EXACT_REGEX = ("exact", "regex")
ALL_KINDS = ("exact", "prefix", "suffix", "regex")


@frozen(kw_only=True)
class ProviderCapabilities:
    """The kinds of routing that one provider supports."""

    weights: bool = True
    """Whether the provider splits traffic by percent."""
    blue_green: bool = True
    """Whether the provider can send all traffic to the canary at once."""
    matches: tuple[str, ...] = ()
    """Kinds of header match that the provider supports; empty where it has no A/B test."""
    alternatives: bool = False
    """Whether several match entries are alternatives; if not, the provider merges them and a request must meet all."""
    match_beside_weight: bool = False
    """Whether the provider sends matching requests to the canary while it splits the others by percent."""
    lower_case: bool = False
    """Whether header names must be in lower case."""
    mirror: bool = False
    """Whether the provider can copy requests to the canary."""
    mirror_beside_weight: bool = False
    """Whether the provider copies a percentage of requests to the canary while it splits them."""
    affinity: bool = False
    """Whether the provider can set session cookies."""
    needs: str = ""
    """Path of the field without which the provider has no route to change; empty where there is none."""
    ended: str = ""
    """When and how the provider ended, as a clause; empty while it is there."""
    by_pods: bool = False
    """Whether the provider splits by the numbers of both sides' pods, which it scales."""
    in_place: bool = False
    """Whether the provider writes into the object of `needs` itself, beside other Canaries, and copies nothing."""


SPLIT_ONLY = ProviderCapabilities()
"""The capabilities of a provider that splits traffic by weight and does nothing else."""

_GATEWAY_API = ProviderCapabilities(
    matches=EXACT_REGEX,
    alternatives=True,
    match_beside_weight=True,
    mirror=True,
    mirror_beside_weight=True,
    affinity=True,
    needs="spec.service.gatewayRefs",
)
_APP_MESH = ProviderCapabilities(matches=ALL_KINDS, ended="AWS switched App Mesh off on 2026-09-30")
_GATEWAYS = "gatewayapi:"

PROVIDER_CAPABILITIES: dict[str, ProviderCapabilities] = {
    "istio": ProviderCapabilities(
        matches=EXACT_PREFIX_REGEX,
        alternatives=True,
        match_beside_weight=True,
        lower_case=True,
        mirror=True,
        mirror_beside_weight=True,
        affinity=True,
    ),
    "gatewayapi:v1": _GATEWAY_API,
    "gatewayapi:v1beta1": _GATEWAY_API,
    "appmesh": _APP_MESH,
    "appmesh:v1beta2": _APP_MESH,
    "contour": ProviderCapabilities(matches=EXACT_PREFIX_SUFFIX, match_beside_weight=True),
    "gloo": ProviderCapabilities(matches=EXACT_REGEX, match_beside_weight=True),
    "nginx": ProviderCapabilities(
        matches=EXACT_REGEX, alternatives=True, match_beside_weight=True, needs="spec.ingressRef"
    ),
    "skipper": ProviderCapabilities(needs="spec.ingressRef"),
    "apisix": ProviderCapabilities(needs="spec.routeRef"),
    "linkerd": SPLIT_ONLY,
    "osm": SPLIT_ONLY,
    "smi:v1alpha1": SPLIT_ONLY,
    "smi:v1alpha2": SPLIT_ONLY,
    "smi:v1alpha3": SPLIT_ONLY,
    "kuma": SPLIT_ONLY,
    "traefik": SPLIT_ONLY,
    "knative": ProviderCapabilities(blue_green=False),
    "kubernetes": ProviderCapabilities(weights=False),
    "alb": ProviderCapabilities(matches=EXACT_PREFIX_SUFFIX, needs="spec.ingressRef", in_place=True),
    "replicas": ProviderCapabilities(by_pods=True),
}
"""The capabilities of each provider, by its name in `spec.provider`: Flagger's, and then `OWN_PROVIDERS`."""

OWN_PROVIDERS = frozenset({"alb", "replicas"})
"""Providers that Flagger does not have."""

HTTP_ROUTE, GRPC_ROUTE, TCP_ROUTE, TLS_ROUTE = "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"


@frozen(kw_only=True)
class RouteKind:
    """The limits of one kind of route of the Gateway API (`spec.service.routeKind`)."""

    lacks: tuple[str, ...] = ()
    """Fields of a Canary that such a route cannot express, without `spec.`."""
    reason: str = ""
    """Why it cannot express them."""
    needs_hosts: bool = False
    """Whether such a route must name hosts."""
    has_requests: bool = True
    """Whether such a route sees requests; if not, it splits connections by weight and does nothing else."""


_LACKED_BY_GRPC = (
    *("service.rewrite", "service.retries", "service.timeout", "service.backendTimeout", "service.corsPolicy"),
    "analysis.sessionAffinity",
)
_LACKED_BY_TLS = (
    *("service.match", "service.headers", "service.mirror", *_LACKED_BY_GRPC),
    *("analysis.match", "analysis.mirror"),
)

ROUTE_KINDS: dict[str, RouteKind] = {
    HTTP_ROUTE: RouteKind(),
    GRPC_ROUTE: RouteKind(
        lacks=_LACKED_BY_GRPC, reason="a GRPCRoute has only matches, changes of headers, mirrors and weights"
    ),
    TCP_ROUTE: RouteKind(
        lacks=("service.hosts", *_LACKED_BY_TLS),
        reason="a TCPRoute splits connections by weight and sees no requests",
        has_requests=False,
    ),
    TLS_ROUTE: RouteKind(
        lacks=_LACKED_BY_TLS,
        reason="a TLSRoute splits connections by weight and sees no requests",
        needs_hosts=True,
        has_requests=False,
    ),
}
"""The limits of each kind of route of the Gateway API, by its name in `spec.service.routeKind`."""


def has_route_kinds(provider: str) -> bool:
    """Return whether a provider may write routes of the Gateway API. An unknown one may."""
    return provider.startswith(_GATEWAYS) or provider not in PROVIDER_CAPABILITIES


def find_grpc_method(uri: StringMatch) -> tuple[str, str] | None:
    """Return the gRPC service and method that a match of paths selects, each empty where it selects all.

    The path of a gRPC request is `/package.Service/Method`. A prefix counts by its parts, as on the Gateway API. Return
    None where the match is of another kind, or selects no gRPC request.
    """
    path = uri.value.removesuffix("/") if uri.kind == "prefix" else uri.value
    found = _GRPC_PATHS[uri.kind].fullmatch(path) if uri.kind in _GRPC_PATHS else None
    return None if found is None else (found["service"] or "", found["method"] or "")


_SERVICE = r"(?P<service>[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*)"
_METHOD = r"(?P<method>[A-Za-z_][A-Za-z_0-9]*)"
_GRPC_PATHS = {
    "exact": re.compile(f"/{_SERVICE}/{_METHOD}"),
    "prefix": re.compile(f"(/{_SERVICE}(/{_METHOD})?)?"),
}

ANYTHING = ProviderCapabilities(match_beside_weight=True, mirror=True, mirror_beside_weight=True, affinity=True)
"""The capabilities of an unknown provider: its adapter refuses the routes that it cannot set."""


@frozen(kw_only=True)
class InstalledProviders:
    """The providers that plug-ins add to Flagger's, each by its name in manifests."""

    meshes: Mapping[str, ProviderCapabilities] = Factory(dict)
    """The capabilities of meshes and ingresses, by their name in `spec.provider`."""
    metrics: frozenset[str] = frozenset()
    """Types of a MetricTemplate's provider."""
    notifiers: frozenset[str] = frozenset()
    """Types of an AlertProvider."""
    hooks: frozenset[str] = frozenset()
    """Schemes of a webhook's URL, besides http and https."""

    def capabilities(self, provider: str) -> ProviderCapabilities | None:
        """Return the capabilities of a mesh or ingress, Flagger's or a plug-in's; None for an unknown one."""
        return PROVIDER_CAPABILITIES.get(provider) or self.meshes.get(provider)

    def all_capabilities(self) -> dict[str, ProviderCapabilities]:
        """Return the capabilities of all meshes and ingresses by name, Flagger's first."""
        further = {name: can for name, can in self.meshes.items() if name not in PROVIDER_CAPABILITIES}
        return {**PROVIDER_CAPABILITIES, **further}


NO_PLUGINS = InstalledProviders()
"""Flagger's providers and no others."""


def copies_ingress(provider: str) -> bool:
    """Return whether a provider may copy the Ingress of `spec.ingressRef`. An unknown provider may."""
    capabilities = PROVIDER_CAPABILITIES.get(provider)
    return capabilities is None or (capabilities.needs == "spec.ingressRef" and not capabilities.in_place)


def splits_by_pods(provider: str) -> bool:
    """Return whether a provider splits by the numbers of both sides' pods."""
    capabilities = PROVIDER_CAPABILITIES.get(provider)
    return capabilities is not None and capabilities.by_pods


FEWEST_ORDINALS, MOST_ORDINALS = 2, 1_000
"""The fewest and the most replicas of a StatefulSet under a rollout: each revision has a pod at least."""


@frozen(kw_only=True)
class PartitionObstacle:
    """A field of a StatefulSet that allows no rollout by partition."""

    path: str
    """The path in the StatefulSet."""
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}, expected {self.expected}. {self.remedy}"


def find_partition_obstacle(body: object) -> PartitionObstacle | None:
    """Return the field of a StatefulSet that allows no rollout by partition; None if it has none."""
    replicas = get_integer(body, "spec", "replicas")
    replicas = 1 if replicas is None else replicas
    if not FEWEST_ORDINALS <= replicas <= MOST_ORDINALS:
        return PartitionObstacle(
            path="spec.replicas",
            found=str(replicas),
            expected=f"{FEWEST_ORDINALS} to {MOST_ORDINALS}: each revision has a pod at least",
            remedy="Change the number, or roll it out without a Canary.",
        )
    strategy = get_text(body, "spec", "updateStrategy", "type")
    if strategy not in ("", "RollingUpdate"):
        return PartitionObstacle(
            path="spec.updateStrategy.type",
            found=shorten(strategy),
            expected="RollingUpdate: no other type has a partition",
            remedy="Set it to RollingUpdate.",
        )
    unavailable = get_value(body, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    if unavailable not in (None, 1):
        return PartitionObstacle(
            path="spec.updateStrategy.rollingUpdate.maxUnavailable",
            found=shorten(str(unavailable)),
            expected="1: more pods would be missing at once than the weights have room for",
            remedy="Remove the field.",
        )
    return None
