"""Gloo Edge: an Upstream for each side and a RouteTable that splits. The owner's VirtualService delegates to it.

With `spec.upstreamRef` the Upstreams take over the settings of that one. With `match` only requests that match are
routed here at all; whoever delegates routes the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes, Strategy
from canarycore.foreign import get_items, get_list, get_mapping
from canarycore_mesh._objects import (
    apex_metadata,
    given_fields,
    known_headers,
    parse_fraction,
    ref,
    rendered,
    require,
    split_of,
    weight_of,
)
from canarycore_mesh._queries import of_envoy
from canarycore_runtime.mesh import Kind, Mesh, Ref

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, RenderContext

UPSTREAM = Kind("gloo.solo.io", "v1", "Upstream", "upstreams")
ROUTE_TABLE = Kind("gateway.solo.io", "v1", "RouteTable", "routetables")

_SETTINGS = (
    *("labels", "sslConfig", "circuitBreakers", "connectionConfig", "loadBalancerConfig", "useHttp2"),
    *("initialStreamWindowSize", "initialConnectionWindowSize", "httpProxyHostName"),
)
"""What an Upstream takes over from the one that is referred to."""


class Gloo(Mesh):
    """Provider `gloo`."""

    queries: Queries = of_envoy(
        'envoy_cluster_name=~"{{ namespace }}-{{ target }}-canaryupstream-[0-9a-zA-Z-]+_[0-9a-zA-Z-]+"'
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        settings = _settings_from(asked)
        upstreams = (ref(UPSTREAM, asked, _upstream(asked, side)) for side in ("primary", "canary"))
        return (*upstreams, ref(ROUTE_TABLE, asked, asked.apex), *([settings] if settings else []))

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        wanted = _settings_from(asked)
        source = get_mapping(require(asked, found, wanted, "spec.upstreamRef"), "spec") if wanted else {}
        settings = {name: source[name] for name in _SETTINGS if source.get(name)}
        weight = parse_fraction(routes)
        destinations = [
            _destination(asked, "primary", 100 - weight),
            _destination(asked, "canary", weight),
        ]
        route = {
            "inheritablePathMatchers": True,
            **given_fields(matchers=_matchers(asked)),
            "routeAction": {"multi": {"destinations": destinations}},
        }
        return (
            _kube_upstream(asked, "primary", asked.primary, asked.primary_pods, settings),
            _kube_upstream(asked, "canary", asked.canary_service, asked.pods, settings),
            rendered(asked, ROUTE_TABLE, asked.apex, {"routes": [route]}, apex_metadata(asked)),
        )

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        written = get_items(found.get(ref(ROUTE_TABLE, asked, asked.apex)), "spec", "routes")
        destinations = get_list(written[0], "routeAction", "multi", "destinations") if written else []
        parts = split_of(destinations, "destination", "upstream", "name")
        weight = weight_of(parts, _upstream(asked, "primary"), _upstream(asked, "canary"))
        if weight is None:
            return None
        matched = weight == 100 and bool(asked.match) and asked.rollout.ladder.strategy is Strategy.AB
        return Routes(weight=0 if matched else weight, matched=matched)


def _settings_from(asked: RenderContext) -> Ref | None:
    reference = asked.canary.spec.upstream_ref
    if reference is None:
        return None
    return Ref(kind=UPSTREAM, namespace=reference.namespace or asked.namespace, name=reference.name)


def _upstream(asked: RenderContext, side: str) -> str:
    return f"{asked.namespace}-{asked.apex}-{side}upstream-{asked.port}"


def _kube_upstream(asked: RenderContext, side: str, service: str, pods: tuple[str, str], settings: Json) -> Json:
    label, value = pods
    kube = {
        "serviceName": service,
        "serviceNamespace": asked.namespace,
        "servicePort": asked.port,
        **given_fields(selector={label: value} if label else None),
    }
    return rendered(asked, UPSTREAM, _upstream(asked, side), {**settings, "kube": kube})


def _destination(asked: RenderContext, side: str, weight: int) -> Json:
    upstream = {"name": _upstream(asked, side), "namespace": asked.namespace}
    return {"destination": {"upstream": upstream}, **({"weight": weight} if weight else {})}  # left out is 0


def _matchers(asked: RenderContext) -> list[Json]:
    headers = [
        {"name": name, "value": text, **({"regex": True} if kind == "regex" else {})}
        for name, kind, text in known_headers(asked, "exact", "regex")
    ]
    methods = [entry["method"]["exact"] for entry in asked.match if "exact" in entry.get("method", {})]
    return [given_fields(headers=headers, methods=methods)] if headers or methods else []
