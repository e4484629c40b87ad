"""The Kubernetes Gateway API: one HTTPRoute, whose rules split between Services.

A gateway takes the rule with the most specific match, so the rules, from the top:

    sticky-canary     the cookie of this rollout                    -> canary
    sticky-primary    the primary's cookie, if one is asked for     -> primary
    expired           the cookie of a rollout that is over          -> by weight, and the cookie is taken back
    matching          the analysis's conditions                     -> canary, or by weight
    default           everything                                    -> by weight, or primary

What the API server would fill in is written out, so that nothing looks like somebody's change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.foreign import get_integer, get_items, get_list, get_text, get_value
from canarycore.manifest import parse_duration
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
    weight_of,
    with_cookies,
)
from canarycore_mesh.kubernetes import OF_THE_APP, SECONDS
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Affinity, Routes
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

GROUP = "gateway.networking.k8s.io"
GATEWAY = {"group": GROUP, "kind": "Gateway"}
SERVICE = {"group": "", "kind": "Service"}

_EVERYTHING = {"path": {"type": "PathPrefix", "value": "/"}}
_PATHS = {"regex": "RegularExpression", "exact": "Exact", "prefix": "PathPrefix"}
_VALUES = {"exact": "Exact", "regex": "RegularExpression"}
_METHODS = {"exact": ""}
_CORS_AGE = 5  # seconds: the API's default

_TO_CANARY = "RequestMirror"


class GatewayApi(Mesh):
    """Provider `gatewayapi:v1`."""

    queries: Queries = OF_THE_APP
    milliseconds = SECONDS
    kind: Kind = Kind(GROUP, "v1", "HTTPRoute", "httproutes")
    statuses: frozenset[Kind] = frozenset({kind})
    newer = True
    """Whether the route has timeouts, CORS and the primary's cookie."""

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (ref(self.kind, asked, asked.apex),)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        gateways = asked.service.get("gatewayRefs")
        if not gateways:
            refuse(asked, "nothing", "the gateways that the route is for", "spec.service.gatewayRefs", "Add them.")
        spec = {
            "parentRefs": [{**GATEWAY, **gateway} for gateway in gateways],
            **given_fields(hostnames=asked.service.get("hosts")),
            "rules": self._rules(asked, routes),
        }
        return (rendered(asked, self.kind, asked.apex, spec, apex_metadata(asked)),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        route = found.get(ref(self.kind, asked, asked.apex))
        if route is None or not _accepted(route):
            return None
        rules = get_items(route, "spec", "rules")
        routes = with_cookies(asked, routes_of(asked, [_weight(asked, rule) for rule in rules]), _cookies(rules))
        return routes and evolve(routes, mirrored=any(_is_mirrored(asked, rule) for rule in rules))

    def _rules(self, asked: RenderContext, routes: Routes) -> list[Json]:
        weighted = self._rule(asked, _split(asked, parse_fraction(routes)))
        if routes.mirrored:
            backend = {**SERVICE, "name": asked.canary_service, "port": asked.port}
            weighted["filters"] = [*weighted.get("filters", []), _mirror({"backendRef": backend})]
        if asked.match:
            conditions = _matches(asked, asked.match, f"{asked.canary.analysis_path}.match")
            weighted["matches"] = merged(conditions, weighted["matches"])
            return [weighted, self._rule(asked, _others(asked, routes))]
        affinity = asked.rollout.affinity
        return [weighted] if affinity is None else [*self._sticky(asked, routes, affinity, weighted), weighted]

    def _rule(self, asked: RenderContext, backends: list[Json]) -> Json:
        """A rule as the owner wants each to be."""
        service = asked.service
        timeouts = given_fields(request=service.get("timeout"), backendRequest=service.get("backendTimeout"))
        return {
            "matches": _matches(asked, service.get("match", []), "spec.service.match") or [_EVERYTHING],
            **given_fields(
                filters=list(self._filters(asked)),
                timeouts=(timeouts or None) if self.newer else None,
            ),
            "backendRefs": backends,
        }

    def _filters(self, asked: RenderContext) -> Iterator[Json]:
        """What is done to each request and answer, in the order in which it is written."""
        service = asked.service
        headers, rewrite, cors = service.get("headers", {}), service.get("rewrite"), service.get("corsPolicy")
        for side, kind in (("request", "RequestHeaderModifier"), ("response", "ResponseHeaderModifier")):
            if side in headers:
                yield {"type": kind, f"{side}HeaderModifier": _headers(headers[side])}
        if rewrite is not None:
            yield {"type": "URLRewrite", "urlRewrite": _rewrite(rewrite)}
        for mirror in service.get("mirror", []):
            yield _mirror({**mirror, "backendRef": {**SERVICE, **mirror["backendRef"]}})
        if cors is not None and self.newer:
            yield {"type": "CORS", "cors": _cors(cors)}

    def _sticky(self, asked: RenderContext, routes: Routes, affinity: Affinity, weighted: Json) -> list[Json]:
        """The rules for requests with a cookie; the backends of `weighted` are told to set it."""
        rules = []
        primary, canary = weighted["backendRefs"]
        if routes.cookie and routes.weight:
            text = set_cookie(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
            canary["filters"] = [_setting(text)]
            matches = _with_cookie(weighted, affinity.cookie_name, routes.cookie)
            rules.append({**weighted, "matches": matches, "backendRefs": _split(asked, 100)})
            if affinity.primary_cookie_name and self.newer:
                age = int(asked.rollout.interval)
                text = set_cookie(affinity, affinity.primary_cookie_name, routes.cookie, age)
                primary["filters"] = [_setting(text)]
                matches = _with_cookie(weighted, affinity.primary_cookie_name, routes.cookie)
                rules.append({**weighted, "matches": matches, "backendRefs": _split(asked, 0)})
        if routes.expired:
            matches = _with_cookie(weighted, affinity.cookie_name, routes.expired)
            filters = [*weighted.get("filters", []), _setting(take_cookie(affinity.cookie_name, routes.expired))]
            backends = _split(asked, routes.weight)
            rules.append({**weighted, "matches": matches, "filters": filters, "backendRefs": backends})
        return rules


class GatewayApiV1Beta1(GatewayApi):
    """Provider `gatewayapi:v1beta1`."""

    kind: Kind = Kind(GROUP, "v1beta1", "HTTPRoute", "httproutes")
    statuses: frozenset[Kind] = frozenset({kind})
    newer = False


# backends -----------------------------------------------------------------------------------------------------------


def _split(asked: RenderContext, weight: int) -> list[Json]:
    return [_backend(asked, asked.primary, 100 - weight), _backend(asked, asked.canary_service, weight)]


def _others(asked: RenderContext, routes: Routes) -> list[Json]:
    """Where requests go that do not match."""
    weight = beside_matching(asked, routes)
    return _split(asked, weight) if weight else [_backend(asked, asked.primary, 100)]


def _backend(asked: RenderContext, name: str, weight: int) -> Json:
    return {**SERVICE, "name": name, "port": asked.port, "weight": weight}


# matches ------------------------------------------------------------------------------------------------------------


def _matches(asked: RenderContext, entries: list[Json], where: str) -> list[Json]:
    """Istio's conditions in the words of the Gateway API."""
    matches = (_match(asked, entry, where) for entry in entries)
    return [match for match in matches if match]


def _match(asked: RenderContext, entry: Json, where: str) -> Json:
    match: Json = {}
    for kind, text in entry.get("uri", {}).items():
        match["path"] = {"type": _known(asked, _PATHS, kind, f"{where}[].uri"), "value": text}
    for kind, text in entry.get("method", {}).items():
        _known(asked, _METHODS, kind, f"{where}[].method")
        match["method"] = text
    for name in ("headers", "queryParams"):
        conditions = [
            {"type": _known(asked, _VALUES, kind, f"{where}[].{name}"), "name": key, "value": text}
            for key, condition in entry.get(name, {}).items()
            for kind, text in condition.items()
        ]
        match |= given_fields(**{name: conditions})
    return match


def _known(asked: RenderContext, kinds: dict[str, str], kind: str, where: str) -> str:
    if kind not in kinds:
        expected = f"one of {', '.join(kinds)}: the Gateway API knows no other"
        refuse(asked, f"a match by {kind}", expected, where, "Write the condition in another way.")
    return kinds[kind]


def _with_cookie(rule: Json, name: str, value: str) -> list[Json]:
    """The rule's matches, for requests with that cookie."""
    condition = {"type": "RegularExpression", "name": COOKIE, "value": holds_cookie(name, value)}
    return merged([{"headers": [condition]}], rule["matches"])


# filters ------------------------------------------------------------------------------------------------------------


def _headers(operations: Json) -> Json:
    listed = {
        name: [{"name": header, "value": text} for header, text in sorted(operations.get(name, {}).items())]
        for name in ("add", "set")
    }
    return given_fields(**listed, remove=operations.get("remove"))


def _rewrite(rewrite: Json) -> Json:
    """The path is replaced as a whole, unless the owner says that its matched prefix is."""
    by_prefix = rewrite.get("type") == "ReplacePrefixMatch"
    uri = rewrite.get("uri")
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": uri} if by_prefix else {}
    path = path or {"type": "ReplaceFullPath", "replaceFullPath": uri}
    return given_fields(hostname=rewrite.get("authority"), path=path if uri else None)


def _mirror(mirror: Json) -> Json:
    return {"type": _TO_CANARY, "requestMirror": mirror}


def _cors(policy: Json) -> Json:
    """Istio's CORS policy. The patterns of `allowOrigins` have no counterpart, only the plain `allowOrigin` has."""
    age = policy.get("maxAge")
    return {
        **given_fields(
            allowOrigins=policy.get("allowOrigin"),
            allowMethods=policy.get("allowMethods"),
            allowHeaders=policy.get("allowHeaders"),
            exposeHeaders=policy.get("exposeHeaders"),
            allowCredentials=policy.get("allowCredentials") or None,
        ),
        "maxAge": (int(parse_duration(age)) if age else 0) or _CORS_AGE,
    }


def _setting(cookie: str) -> Json:
    operations = {"add": [{"name": SET_COOKIE, "value": cookie}]}
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": operations}


# reading ------------------------------------------------------------------------------------------------------------


def _accepted(route: Json) -> bool:
    """Whether no gateway has refused the route as it is now, or has yet to look at it.

    A gateway that has never said anything is not waited for.
    """
    generation, parents = get_integer(route, "metadata", "generation") or 0, get_list(route, "spec", "parentRefs")
    return not any(
        get_text(condition, "type") == "Accepted"
        and (
            get_text(condition, "status") != "True" or (get_integer(condition, "observedGeneration") or 0) < generation
        )
        for status in get_items(route, "status", "parents")
        if get_value(status, "parentRef") in parents
        for condition in get_items(status, "conditions")
    )


def _weight(asked: RenderContext, rule: Json) -> int | None:
    parts = split_of(get_list(rule, "backendRefs"), "name", left_out=1)
    return weight_of(parts, asked.primary, asked.canary_service)


def _is_mirrored(asked: RenderContext, rule: Json) -> bool:
    names = (get_text(one, "requestMirror", "backendRef", "name") for one in get_items(rule, "filters"))
    return asked.canary_service in names


def _cookies(rules: list[Json]) -> Iterator[str]:
    """What the rules and their backends say in Set-Cookie headers."""
    places = (*rules, *(part for rule in rules for part in get_items(rule, "backendRefs")))
    filters = (one for place in places for one in get_items(place, "filters"))
    headers = (header for one in filters for header in get_items(one, "responseHeaderModifier", "add"))
    return (get_text(header, "value") for header in headers if get_text(header, "name") == SET_COOKIE)
