"""Gloo Edge: an Upstream for each side and a RouteTable that splits. The owner's VirtualService delegates to it.

With `spec.upstreamRef` the Upstreams copy the settings of that one. With `analysis.match` only requests that match may
reach this table; the VirtualService routes the others. A step's match has a route of its own, before the one that
splits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes, Strategy
from canarycore.foreign import get_items, get_list, get_mapping, get_text, get_value
from canarycore_mesh._objects import (
    apex_metadata,
    judge_condition,
    list_headers,
    make_object,
    make_ref,
    matching_weight,
    omit_unset,
    read_split,
    read_weight,
    require,
)
from canarycore_mesh._queries import envoy_queries
from canarycore_runtime.mesh import Kind, Mesh, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from canarycore import RouteRefusal
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, RenderContext

UPSTREAM = Kind("gloo.solo.io", "v1", "Upstream", "upstreams")
ROUTE_TABLE = Kind("gateway.solo.io", "v1", "RouteTable", "routetables")

_SETTINGS = (
    *("labels", "sslConfig", "circuitBreakers", "connectionConfig", "loadBalancerConfig", "useHttp2"),
    *("initialStreamWindowSize", "initialConnectionWindowSize", "httpProxyHostName"),
)
"""The settings that our Upstreams copy from the one of `spec.upstreamRef`."""


_ALL = 100
_REJECTED = (2, "Rejected")
"""The state of a refused object, by number and by name."""


class Gloo(Mesh):
    """Provider `gloo`."""

    queries: Queries = envoy_queries(
        'envoy_cluster_name=~"{{ namespace }}-{{ service }}-canaryupstream-[0-9a-zA-Z-]+_[0-9a-zA-Z-]+"'
    )

    statuses: frozenset[Kind] = frozenset({ROUTE_TABLE})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        template = _template(context)
        upstreams = (make_ref(UPSTREAM, context, _upstream(context, side)) for side in ("primary", "canary"))
        return (*upstreams, make_ref(ROUTE_TABLE, context, context.apex), *([template] if template else []))

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        template = _template(context)
        source = get_mapping(require(context, objects, template, "spec.upstreamRef"), "spec") if template else {}
        settings = {name: source[name] for name in _SETTINGS if source.get(name)}
        rules = [_route(context, matching_weight(context, routes), _matchers(context, routes))]
        if context.match_on(routes) and not context.match:
            rules.append(_route(context, routes.weight))
        return (
            _kube_upstream(context, "primary", context.primary, context.pods.primary, settings),
            _kube_upstream(context, "canary", context.canary_service, context.pods.canary, settings),
            make_object(context, ROUTE_TABLE, context.apex, {"routes": rules}, apex_metadata(context)),
        )

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        rules = get_items(objects.get(make_ref(ROUTE_TABLE, context, context.apex)), "spec", "routes")
        weights = [_read_weight(context, rule) for rule in rules]
        weight = weights[-1] if weights else None
        if weight is None:
            return None
        if len(weights) > 1:
            return Routes(weight=weight, matched=context.matches_beside_weight and weights[0] == _ALL != weight)
        matched = weight == _ALL and bool(context.match) and context.rollout.ladder.strategy is Strategy.AB
        return Routes(weight=0 if matched else weight, matched=matched)

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return Gloo's verdict on the table, where it has written one."""
        table = objects.get(make_ref(ROUTE_TABLE, context, context.apex))
        if table is None:
            return None
        statuses = [*get_mapping(table, "status", "statuses").values(), get_mapping(table, "status")]
        rejected = [status for status in statuses if get_value(status, "state") in _REJECTED]
        reason = {"status": "False", "message": get_text(rejected[0], "reason")} if rejected else {"status": "True"}
        return judge_condition(table, reason, None)


def _template(context: RenderContext) -> Ref | None:
    """Return the owner's Upstream whose settings ours copy."""
    reference = context.canary.spec.upstream_ref
    if reference is None:
        return None
    return Ref(kind=UPSTREAM, namespace=reference.namespace or context.namespace, name=reference.name)


def _upstream(context: RenderContext, side: str) -> str:
    return f"{context.namespace}-{context.apex}-{side}upstream-{context.port}"


def _kube_upstream(context: RenderContext, side: str, service: str, pods: Mapping[str, str], settings: Json) -> Json:
    kube = {
        "serviceName": service,
        "serviceNamespace": context.namespace,
        "servicePort": context.port,
        **omit_unset(selector=dict(pods) or None),
    }
    return make_object(context, UPSTREAM, _upstream(context, side), {**settings, "kube": kube})


def _read_weight(context: RenderContext, rule: Json) -> int | None:
    split = read_split(get_list(rule, "routeAction", "multi", "destinations"), "destination", "upstream", "name")
    return read_weight(split, _upstream(context, "primary"), _upstream(context, "canary"))


def _route(context: RenderContext, weight: int, matchers: Sequence[Json] = ()) -> Json:
    destinations = [_destination(context, "primary", _ALL - weight), _destination(context, "canary", weight)]
    return {
        "inheritablePathMatchers": True,
        **omit_unset(matchers=list(matchers)),
        "routeAction": {"multi": {"destinations": destinations}},
    }


def _destination(context: RenderContext, side: str, weight: int) -> Json:
    upstream = {"name": _upstream(context, side), "namespace": context.namespace}
    return {"destination": {"upstream": upstream}, **({"weight": weight} if weight else {})}  # an absent weight is 0


def _matchers(context: RenderContext, routes: Routes) -> list[Json]:
    headers = [
        {"name": name, "value": text, **({"regex": True} if kind == "regex" else {})}
        for name, kind, text in list_headers(context, routes, "exact", "regex")
    ]
    conditions = context.match_on(routes)
    methods = [match.method.value for match in conditions if match.method and match.method.kind == "exact"]
    return [omit_unset(headers=headers, methods=methods)] if headers or methods else []
