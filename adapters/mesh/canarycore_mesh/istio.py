"""Istio: a VirtualService that splits, and a DestinationRule for each side.

The VirtualService's rules, of which Istio takes the first that matches:

    sticky-canary     the cookie of this rollout                    -> canary
    sticky-primary    the primary's cookie, if one is asked for     -> primary
    expired           the cookie of a rollout that is over          -> by weight, and the cookie is taken back
    matching          the analysis's conditions                     -> canary, or by weight
    default           everything                                    -> by weight, or primary

Where the last two stand together, the default sends everything to the primary. A service of `appProtocol: tcp` has one
TCP rule and knows nothing but weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.foreign import get_items, get_list, get_text
from canarycore_mesh._objects import (
    COOKIE,
    SET_COOKIE,
    apex_metadata,
    beside_matching,
    given_fields,
    holds_cookie,
    merged,
    parse_fraction,
    ref,
    refuse,
    rendered,
    routes_of,
    set_cookie,
    split_of,
    take_cookie,
    tidy,
    weight_of,
    with_cookies,
)
from canarycore_mesh._queries import built_in, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Affinity, Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_SERVICE = Kind("networking.istio.io", "v1beta1", "VirtualService", "virtualservices")
DESTINATION_RULE = Kind("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules")

MESH_GATEWAY = "mesh"
"""Istio's name for all sidecars."""

_WORKLOAD = (
    'reporter="destination"',
    'destination_workload_namespace="{{ namespace }}"',
    'destination_workload=~"{{ target }}"',
)
_NO_ERROR = 'response_code!~"5.*"'


class Istio(Mesh):
    """Provider `istio`."""

    queries: Queries = built_in(
        success_rate("istio_requests_total", *_WORKLOAD, _NO_ERROR, good=_NO_ERROR),
        percentile_99("istio_request_duration_milliseconds_bucket", *_WORKLOAD),
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        rules = (ref(DESTINATION_RULE, asked, name) for name in (asked.canary_service, asked.primary))
        return (*rules, ref(VIRTUAL_SERVICE, asked, asked.apex))

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        rules = _tcp(asked, routes) if _is_tcp(asked) else {"http": _http(asked, routes)}
        return (
            _destination_rule(asked, asked.canary_service),
            _destination_rule(asked, asked.primary),
            rendered(asked, VIRTUAL_SERVICE, asked.apex, {**_callers(asked), **rules}, apex_metadata(asked)),
        )

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        virtual_service = found.get(ref(VIRTUAL_SERVICE, asked, asked.apex))
        rules = get_items(virtual_service, "spec", "tcp" if _is_tcp(asked) else "http")
        routes = with_cookies(asked, routes_of(asked, [_weight(asked, rule) for rule in rules]), _cookies(rules))
        return routes and evolve(routes, mirrored=any("mirror" in rule for rule in rules))


def _destination_rule(asked: RenderContext, host: str) -> Json:
    policy = asked.service.get("trafficPolicy")
    return rendered(asked, DESTINATION_RULE, host, {"host": host, **given_fields(trafficPolicy=policy)})


def _callers(asked: RenderContext) -> Json:
    """Who is routed: the hosts that are called, and the gateways that the calls come through."""
    hosts, gateways = asked.service.get("hosts", []), asked.service.get("gateways", [])
    if not asked.service.get("delegation"):
        known = asked.apex in hosts or "*" in hosts
        return {"hosts": hosts if known else [*hosts, asked.apex], "gateways": gateways or [MESH_GATEWAY]}
    if hosts or gateways:
        refuse(
            asked,
            "hosts or gateways beside delegation",
            "neither: the VirtualService that delegates has them",
            "spec.service.delegation",
            "Remove spec.service.hosts and spec.service.gateways.",
        )
    return {"hosts": [], "gateways": []}


# rules --------------------------------------------------------------------------------------------------------------


def _is_tcp(asked: RenderContext) -> bool:
    return str(asked.service.get("appProtocol", "")).lower() == "tcp"


def _tcp(asked: RenderContext, routes: Routes) -> Json:
    if routes.matched or routes.mirrored:
        refuse(
            asked,
            "requests to match or to mirror on a TCP service",
            "weights: a TCP connection has no requests",
            "spec.service.appProtocol",
            "Use stepWeight without match and mirror.",
        )
    match = [given_fields(port=entry.get("port")) for entry in asked.service.get("match", [])]
    return {"tcp": [{**given_fields(match=match), "route": _split(asked, routes.weight)}]}


def _http(asked: RenderContext, routes: Routes) -> list[Json]:
    weighted = _rule(asked, _split(asked, parse_fraction(routes)))
    if routes.mirrored:
        weighted["mirror"] = {"host": asked.canary_service}
        percent = asked.canary.analysis.mirror_weight if asked.canary.analysis else None
        if percent:
            weighted["mirrorPercentage"] = {"value": percent}
    if asked.match:
        weighted["match"] = merged(asked.match, asked.service.get("match", []))
        return [weighted, _rule(asked, _others(asked, routes))]
    affinity = asked.rollout.affinity
    return [weighted] if affinity is None else [*_sticky(asked, routes, affinity, weighted), weighted]


def _rule(asked: RenderContext, route: list[Json]) -> Json:
    """A rule as the owner wants each to be."""
    service = asked.service
    rewrite, retries, cors = service.get("rewrite"), service.get("retries"), service.get("corsPolicy")
    return {
        **given_fields(
            match=tidy(service.get("match", [])),
            rewrite=rewrite
            if rewrite is None
            else given_fields(uri=rewrite.get("uri"), authority=rewrite.get("authority")),
            timeout=service.get("timeout"),
            retries=retries if retries is None else {"attempts": 0, **retries},
            corsPolicy=cors if cors is None else tidy(cors),
            headers=service.get("headers"),
        ),
        "route": route,
    }


def _split(asked: RenderContext, weight: int) -> list[Json]:
    return [_destination(asked, asked.primary, 100 - weight), _destination(asked, asked.canary_service, weight)]


def _others(asked: RenderContext, routes: Routes) -> list[Json]:
    """Where requests go that do not match.

    A destination that is alone gets everything, whatever its weight; it is the matching rule's, as Flagger has it.
    """
    weight = beside_matching(asked, routes)
    return _split(asked, weight) if weight else [_destination(asked, asked.primary, 100 - parse_fraction(routes))]


def _destination(asked: RenderContext, host: str, weight: int) -> Json:
    service = asked.service
    from_outside = service.get("gateways", [MESH_GATEWAY])[0] != MESH_GATEWAY or service.get("delegation")
    port = {"number": service.get("port")} if service.get("portDiscovery") and from_outside else None
    return {"destination": {"host": host, **given_fields(port=port)}, "weight": weight}


# cookies ------------------------------------------------------------------------------------------------------------


def _sticky(asked: RenderContext, routes: Routes, affinity: Affinity, weighted: Json) -> list[Json]:
    """The rules for requests with a cookie; the destinations of `weighted` are told to set it."""
    rules = []
    primary, canary = weighted["route"]
    if routes.cookie and routes.weight:
        text = set_cookie(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
        canary["headers"] = _adding({}, text)
        rules.append({**weighted, "match": _with_cookie(asked, affinity.cookie_name, routes.cookie)})
        rules[-1]["route"] = _split(asked, 100)
        if affinity.primary_cookie_name:
            age = int(asked.rollout.interval)
            text = set_cookie(affinity, affinity.primary_cookie_name, routes.cookie, age)
            primary["headers"] = _adding({}, text)
            rules.append({**weighted, "match": _with_cookie(asked, affinity.primary_cookie_name, routes.cookie)})
            rules[-1]["route"] = _split(asked, 0)
    if routes.expired:
        taken = _adding(weighted.get("headers", {}), take_cookie(affinity.cookie_name, routes.expired))
        match = _with_cookie(asked, affinity.cookie_name, routes.expired)
        rules.append({**weighted, "match": match, "headers": taken, "route": _split(asked, routes.weight)})
    return rules


def _with_cookie(asked: RenderContext, name: str, value: str) -> list[Json]:
    condition = {"headers": {COOKIE: {"regex": holds_cookie(name, value)}}}
    return merged([condition], asked.service.get("match", []))


def _adding(headers: Json, cookie: str) -> Json:
    """Header operations that set a cookie too."""
    response = headers.get("response", {})
    return {**headers, "response": {**response, "add": {**response.get("add", {}), SET_COOKIE: cookie}}}


# reading ------------------------------------------------------------------------------------------------------------


def _weight(asked: RenderContext, rule: Json) -> int | None:
    parts = split_of(get_list(rule, "route"), "destination", "host")
    return weight_of(parts, asked.primary, asked.canary_service)


def _cookies(rules: list[Json]) -> Iterator[str]:
    """What the rules and their destinations say in Set-Cookie headers."""
    for place in (*rules, *(part for rule in rules for part in get_items(rule, "route"))):
        text = get_text(place, "headers", "response", "add", SET_COOKIE)
        if text:
            yield text
