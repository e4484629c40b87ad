"""The Kubernetes Gateway API: one route, whose rules split between Services.

`spec.service.routeKind` chooses the kind of the route: HTTPRoute, GRPCRoute, TCPRoute or TLSRoute. The last two see
connections, not requests: they have one rule, which splits.

The rules. A gateway takes the one with the most specific match:

    sticky-canary     the cookie of this rollout                    -> canary
    sticky-primary    the primary's cookie, if the owner names one  -> primary
    expired           the cookie of a finished rollout              -> by weight, and the browser deletes the cookie
    matching          the conditions of the analysis or the step    -> canary, or by weight
    default           all requests                                  -> by weight, or primary

The routes of `spec.service.routeRefs` are the owner's. They get the same weights (`_further_routes`), and without
`gatewayRefs` they are the only routes.

The route has all defaults that the API server would add, so that none of them looks like a foreign change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore import TOTAL_WEIGHT, Routes
from canarycore.errors import Refused
from canarycore.foreign import get_integer, get_items, get_list, get_mapping, get_text
from canarycore.manifest.routing import GRPC_ROUTE, HTTP_ROUTE, ROUTE_KINDS, TCP_ROUTE, TLS_ROUTE, find_grpc_method
from canarycore.text import escape_controls
from canarycore_mesh._further_routes import join_rules, read_share, split_rules
from canarycore_mesh._objects import (
    COOKIE,
    SET_COOKIE,
    add_cookies,
    apex_metadata,
    await_verdict,
    combine_conditions,
    cookie_pattern,
    default_weight,
    format_cookie,
    format_expired_cookie,
    judge_condition,
    make_object,
    make_ref,
    matching_weight,
    milliseconds,
    omit_unset,
    read_routes,
    read_split,
    refuse,
    require,
)
from canarycore_mesh.kubernetes import APP_QUERIES, SECONDS
from canarycore_runtime.mesh import GITOPS_OPT_OUT, Kind, Mesh, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore import RouteRefusal
    from canarycore.manifest import (
        BackendReference,
        CorsPolicy,
        HeaderOperations,
        ParentReference,
        Rewrite,
        Service,
    )
    from canarycore.traffic import Affinity, Match, StringMatch
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, RenderContext

GROUP = "gateway.networking.k8s.io"
GATEWAY = {"group": GROUP, "kind": "Gateway"}
GATEWAY_KIND = Kind(GROUP, "v1", "Gateway", "gateways")
SERVICE = {"group": "", "kind": "Service"}

_STABLE: dict[str, Kind] = {
    kind: Kind(GROUP, "v1", kind, f"{kind.lower()}s") for kind in (HTTP_ROUTE, GRPC_ROUTE, TCP_ROUTE, TLS_ROUTE)
}
"""The kinds of routes in their stable versions. Gateway API 1.5 brought that of TLSRoute, 1.6 that of TCPRoute."""

_EARLIER: dict[str, Kind] = {
    HTTP_ROUTE: Kind(GROUP, "v1beta1", HTTP_ROUTE, "httproutes"),
    GRPC_ROUTE: _STABLE[GRPC_ROUTE],
    TCP_ROUTE: Kind(GROUP, "v1alpha2", TCP_ROUTE, "tcproutes"),
    TLS_ROUTE: Kind(GROUP, "v1alpha2", TLS_ROUTE, "tlsroutes"),
}
"""The kinds of routes in the versions before. No server has an earlier version of GRPCRoute alone."""

_GATEWAY_REFS = "spec.service.gatewayRefs"

_ALL_PATHS = {"path": {"type": "PathPrefix", "value": "/"}}
_PATH_TYPES = {"regex": "RegularExpression", "exact": "Exact", "prefix": "PathPrefix"}
_VALUE_TYPES = {"exact": "Exact", "regex": "RegularExpression"}
_METHOD_TYPES = {"exact": ""}
_CORS_AGE = 5
"""The API's default of `maxAge`, in seconds. It admits no 0, which Istio's policy may have."""

_MIRROR = "RequestMirror"


class GatewayApi(Mesh):
    """Provider `gatewayapi:v1`."""

    queries: Queries = APP_QUERIES
    milliseconds = SECONDS
    proxy_delay: float = 10.0
    """Any gateway's: the longest known one, Istio's."""

    kinds: Mapping[str, Kind] = _STABLE
    """The kinds of routes, by `spec.service.routeKind`."""
    statuses: frozenset[Kind] = frozenset(_STABLE.values())
    is_v1 = True
    """Whether an HTTPRoute has timeouts, CORS and the primary's cookie."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        own = (make_ref(self.kinds[_kind(context)], context, context.apex),) if _has_own(context) else ()
        return (*own, *self._further(context))

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        return ref.name == context.apex or ref in self._further(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        further = self._render_further(context, routes, objects)
        return (self._render_own(context, routes), *further) if _has_own(context) else further

    def original(self, context: RenderContext, ref: Ref, body: Json) -> Json | None:
        if ref not in self._further(context):
            return None
        rules = join_rules(context, get_items(body, "spec", "rules"))
        return None if rules is None else _further_route(context, ref, rules)

    def _further(self, context: RenderContext) -> dict[Ref, str]:
        """Return the owner's routes, each with the field that names it."""
        return {
            make_ref(self.kinds[reference.kind or HTTP_ROUTE], context, reference.name): (
                f"spec.service.routeRefs[{index}]"
            )
            for index, reference in enumerate(context.service.route_refs)
        }

    def _render_further(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        """Return the owner's routes with the canary's weight; none at weight 0, where they are the owner's alone.

        A missing or unfit route stops a share of the requests, but neither a rollback nor a failover of all of them.
        """
        bodies = []
        for ref, path in self._further(context).items() if routes.weight else ():
            try:
                rules = get_items(require(context, objects, ref, path), "spec", "rules")
                bodies.append(_further_route(context, ref, split_rules(context, rules, routes.weight, path)))
            except Refused:
                if routes.weight < TOTAL_WEIGHT:
                    raise
        return tuple(bodies)

    def _render_own(self, context: RenderContext, routes: Routes) -> Json:
        service = context.service
        if not service.gateway_refs:
            refuse(context, "nothing", "the gateways of the route", _GATEWAY_REFS, "Add them.")
        spec = {
            "parentRefs": [{**GATEWAY, **_parent(gateway)} for gateway in service.gateway_refs],
            **omit_unset(hostnames=list(service.hosts)),
            "rules": self._rules(context, routes),
        }
        return make_object(context, self.kinds[_kind(context)], context.apex, spec, apex_metadata(context))

    def refusals(self, context: RenderContext, objects: ObjectsByRef) -> tuple[str, ...]:
        texts = []
        for ref in self.refs(context):
            route = objects.get(ref, {})
            if self._is_owners(context, ref, route):
                continue
            path = f"the parents of {ref.kind.kind} {ref.name}" if ref in self._further(context) else _GATEWAY_REFS
            verdicts = ((parent, _judge_parent(route, status)) for parent, status in _statuses(route))
            texts += [
                f"{_name_parent(parent)} sends this route no requests: {verdict.reason}. Correct "
                f"{path}, or let the parent accept the route."
                for parent, verdict in verdicts
                if verdict is not None and not verdict.is_pending
            ]
        return tuple(texts)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        own, *_ = self.refs(context)
        if not _has_own(context):
            return self._further_routes(context, objects)
        rules = get_items(objects.get(own), "spec", "rules")
        splits = (read_split(get_list(rule, "backendRefs"), "name", default=1) for rule in rules)
        routes = add_cookies(context, read_routes(context, splits), _cookies(rules))
        return routes and evolve(routes, mirrored=any(_is_mirrored(context, rule) for rule in rules))

    def _further_routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes:
        """Return the routes where all are the owner's: those of the first that leads to the apex."""
        rules = (get_items(objects.get(ref), "spec", "rules") for ref in self._further(context))
        shares = (read_share(context, each) for each in rules)
        return Routes(weight=next((share for share in shares if share is not None), 0))

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return the gateways' verdict on the routes as they are now."""
        verdicts = (self._judge(context, ref, objects[ref]) for ref in self.refs(context) if ref in objects)
        refusals = [verdict for verdict in verdicts if verdict is not None]
        pending = (refusal for refusal in refusals if refusal.is_pending)
        return next(pending, next(iter(refusals), None))

    def _judge(self, context: RenderContext, ref: Ref, body: Json) -> RouteRefusal | None:
        """Return the gateways' verdict on one route.

        A route that is wholly the owner's sends the canary nothing, whatever its verdict, once a gateway that has
        judged it before knows this generation.
        """
        verdict = _judge_route(body)
        is_old = verdict is not None and verdict.is_pending and any(_statuses(body))
        return None if self._is_owners(context, ref, body) and not is_old else verdict

    def _is_owners(self, context: RenderContext, ref: Ref, body: Json) -> bool:
        """Check whether a route is wholly the owner's: it sends the canary nothing."""
        return ref in self._further(context) and self.original(context, ref, body) is None

    def features(self, context: RenderContext, body: Json) -> Mapping[str, str]:
        """Return the features of an HTTPRoute's filters and matches, beyond the API's core.

        The API names no features of the other kinds' rules.
        """
        fields: dict[str, str] = {}
        if get_text(body, "kind") != HTTP_ROUTE:
            return fields
        for rule in get_items(body, "spec", "rules"):
            for item in get_items(rule, "filters"):
                fields |= _features_of_filter(context, item)
            for match in get_items(rule, "matches"):
                if "method" in match:
                    fields["HTTPRouteMethodMatching"] = "match.method"
                if "queryParams" in match:
                    fields["HTTPRouteQueryParamMatching"] = "match.queryParams"
        return fields

    def gateways(self, context: RenderContext) -> tuple[Ref, ...]:
        parents = [GATEWAY | _reference(reference) for reference in context.service.gateway_refs]
        return tuple(
            Ref(kind=GATEWAY_KIND, namespace=parent.get("namespace") or context.namespace, name=parent["name"])
            for parent in parents
            if parent.get("name") and {name: parent[name] for name in GATEWAY} == GATEWAY
        )

    def _rules(self, context: RenderContext, routes: Routes) -> list[Json]:
        if not ROUTE_KINDS[_kind(context)].has_requests:
            return [_connections(context, routes)]
        weighted = self._rule(context, _split(context, matching_weight(context, routes)))
        has_match = bool(context.match_on(routes))
        default = self._rule(context, _default_backends(context, routes)) if has_match else weighted
        if routes.mirrored:
            mirrored = default if routes.matched else weighted
            backend = {**SERVICE, "name": context.canary_service, "port": context.port}
            share = context.rollout.mirror_on(routes)
            percent = {"percent": share} if share < TOTAL_WEIGHT else {}
            mirrored["filters"] = [*mirrored.get("filters", []), _mirror(backend, **percent)]
        if has_match:
            matches = _matches_of_analysis(context, routes)
            weighted["matches"] = combine_conditions(matches, weighted.get("matches", []))
            return [weighted, default]
        affinity = context.rollout.affinity
        return [weighted] if affinity is None else [*self._cookie_rules(context, routes, affinity, weighted), weighted]

    def _rule(self, context: RenderContext, backends: list[Json]) -> Json:
        """Return a rule with the fields that the owner wants in every rule."""
        service = context.service
        timeouts = omit_unset(request=service.timeout, backendRequest=service.backend_timeout)
        return {
            **omit_unset(
                matches=_matches(context, service.match, "spec.service.match") or _MATCH_ALL[_kind(context)],
                filters=list(self._filters(service)),
                timeouts=(timeouts or None) if self.is_v1 else None,
            ),
            "backendRefs": backends,
        }

    def _filters(self, service: Service) -> Iterator[Json]:
        """Yield the changes to each request and response, in the order of the route."""
        headers = service.headers
        if headers and headers.request:
            yield {"type": "RequestHeaderModifier", "requestHeaderModifier": _headers(headers.request)}
        if headers and headers.response:
            yield {"type": "ResponseHeaderModifier", "responseHeaderModifier": _headers(headers.response)}
        if service.rewrite:
            yield {"type": "URLRewrite", "urlRewrite": _rewrite(service.rewrite)}
        for mirror in service.mirror:
            yield _mirror({**SERVICE, **_reference(mirror.backend_ref)})
        if service.cors_policy and self.is_v1:
            yield {"type": "CORS", "cors": _cors(service.cors_policy)}

    def _cookie_rules(self, context: RenderContext, routes: Routes, affinity: Affinity, weighted: Json) -> list[Json]:
        """Return the rules for requests with a cookie, and let the backends of `weighted` set the cookie."""
        rules = []
        primary, canary = weighted["backendRefs"]
        if routes.cookie and routes.weight:
            text = format_cookie(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
            canary["filters"] = [_set_cookie(text)]
            matches = _with_cookie(weighted, affinity.cookie_name, routes.cookie)
            rules.append({**weighted, "matches": matches, "backendRefs": _split(context, 100)})
            if affinity.primary_cookie_name and self.is_v1:
                age = int(context.rollout.interval)
                text = format_cookie(affinity, affinity.primary_cookie_name, routes.cookie, age)
                primary["filters"] = [_set_cookie(text)]
                matches = _with_cookie(weighted, affinity.primary_cookie_name, routes.cookie)
                rules.append({**weighted, "matches": matches, "backendRefs": _split(context, 0)})
        if routes.expired:
            matches = _with_cookie(weighted, affinity.cookie_name, routes.expired)
            text = format_expired_cookie(affinity.cookie_name, routes.expired)
            filters = [*weighted.get("filters", []), _set_cookie(text)]
            backends = _split(context, routes.weight)
            rules.append({**weighted, "matches": matches, "filters": filters, "backendRefs": backends})
        return rules


class GatewayApiV1Beta1(GatewayApi):
    """Provider `gatewayapi:v1beta1`: the versions before the stable ones."""

    kinds: Mapping[str, Kind] = _EARLIER
    statuses: frozenset[Kind] = frozenset(_EARLIER.values())
    is_v1 = False


def _has_own(context: RenderContext) -> bool:
    """Return whether the Canary has a route of its own. Without gateways, that is an error unless others are named."""
    return bool(context.service.gateway_refs) or not context.service.route_refs


def _further_route(context: RenderContext, ref: Ref, rules: list[Json]) -> Json:
    """Return a route of the owner with these rules, and with annotations that keep GitOps tools from reverting them."""
    return make_object(context, ref.kind, ref.name, {"rules": rules}, {"annotations": GITOPS_OPT_OUT})


def _kind(context: RenderContext) -> str:
    """Return the kind of the Canary's route."""
    return context.service.route_kind or HTTP_ROUTE


# references ---------------------------------------------------------------------------------------------------------


def _reference(reference: BackendReference) -> Json:
    """Return the fields that the owner gives. An empty text counts: the empty group is the core group."""
    fields = {
        "group": reference.group,
        "kind": reference.kind,
        "namespace": reference.namespace,
        "name": reference.name,
        "port": reference.port,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _parent(parent: ParentReference) -> Json:
    section = {} if parent.section_name is None else {"sectionName": parent.section_name}
    return {**_reference(parent), **section}


# backends -----------------------------------------------------------------------------------------------------------


def _split(context: RenderContext, weight: int) -> list[Json]:
    return [_backend(context, context.primary, 100 - weight), _backend(context, context.canary_service, weight)]


def _default_backends(context: RenderContext, routes: Routes) -> list[Json]:
    """Return the backends of requests that do not match."""
    weight = default_weight(context, routes)
    return _split(context, weight) if weight else [_backend(context, context.primary, 100)]


def _backend(context: RenderContext, name: str, weight: int) -> Json:
    return {**SERVICE, "name": name, "port": context.port, "weight": weight}


def _connections(context: RenderContext, routes: Routes) -> Json:
    """Return the rule of a route that sees no requests."""
    if routes.mirrored or routes.matched or context.match:
        kind = _kind(context)
        refuse(
            context,
            f"requests to match or to mirror on a {kind}",
            f"weights: {ROUTE_KINDS[kind].reason}",
            f"{context.canary.analysis_path}",
            "Use weights.",
        )
    return {"backendRefs": _split(context, routes.weight)}


# matches ------------------------------------------------------------------------------------------------------------

_MATCH_ALL: dict[str, list[Json]] = {HTTP_ROUTE: [_ALL_PATHS], GRPC_ROUTE: []}
"""The matches of a rule for all requests. The server adds that of an HTTPRoute, and none to a GRPCRoute."""


def _matches(context: RenderContext, conditions: Iterable[Match], path: str) -> list[Json]:
    """Return the conditions as the route's matches. path: the manifest's field that gives them."""
    if _kind(context) == GRPC_ROUTE:
        return [_grpc_match(context, condition, path) for condition in conditions]
    matches = (_match(context, condition, path) for condition in conditions)
    return [match for match in matches if match]


def _matches_of_analysis(context: RenderContext, routes: Routes) -> list[Json]:
    """Return the matches of the analysis or the step. Raise Refused for an entry that would match all requests."""
    matches = _matches(context, context.match_on(routes), context.match_path)
    if {} in matches or not matches:
        found = "an entry without a condition that a route has"
        expected = f"conditions that a {_kind(context)} has: without one, all requests would go to the canary"
        refuse(context, found, expected, context.match_path, "Write the condition with headers.")
    return matches


def _grpc_match(context: RenderContext, condition: Match, path: str) -> Json:
    match: Json = {}
    if condition.uri and not condition.uri.is_presence:
        selected = find_grpc_method(condition.uri)
        if selected is None:
            found, expected = f"a match by {condition.uri.kind}", "a uri of a gRPC service and method"
            refuse(context, found, expected, f"{path}[].uri", "Write prefix: /package.Service/.")
        service, method = selected
        if service:
            match["method"] = {"type": "Exact", **omit_unset(service=service, method=method)}
    headers = _values(context, condition.headers, f"{path}[].headers")
    return match | omit_unset(headers=headers)


def _match(context: RenderContext, condition: Match, path: str) -> Json:
    match: Json = {}
    uri, method = condition.uri, condition.method
    if uri and not uri.is_presence:
        match["path"] = {"type": _type(context, _PATH_TYPES, uri, f"{path}[].uri"), "value": uri.value}
    if method and not method.is_presence:
        _type(context, _METHOD_TYPES, method, f"{path}[].method")
        match["method"] = method.value
    headers = _values(context, condition.headers, f"{path}[].headers")
    return match | omit_unset(
        headers=headers, queryParams=_values(context, condition.query_params, f"{path}[].queryParams")
    )


def _values(context: RenderContext, matches: Iterable[tuple[str, StringMatch]], path: str) -> list[Json]:
    return [
        {"type": _type(context, _VALUE_TYPES, match, path), "name": name, "value": match.value}
        for name, match in matches
        if not match.is_presence
    ]


def _type(context: RenderContext, types: dict[str, str], match: StringMatch, path: str) -> str:
    if match.kind not in types:
        expected = f"one of {', '.join(types)}: the Gateway API supports no other kind"
        refuse(context, f"a match by {match.kind}", expected, path, "Write the condition in another way.")
    return types[match.kind]


def _with_cookie(rule: Json, name: str, value: str) -> list[Json]:
    """Return the rule's matches, restricted to requests with that cookie."""
    condition = {"type": "RegularExpression", "name": COOKIE, "value": cookie_pattern(name, value)}
    return combine_conditions([{"headers": [condition]}], rule["matches"])


# filters ------------------------------------------------------------------------------------------------------------


def _headers(operations: HeaderOperations) -> Json:
    return omit_unset(
        add=_named_values(operations.add), set=_named_values(operations.set), remove=list(operations.remove)
    )


def _named_values(pairs: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in sorted(pairs)]


def _rewrite(rewrite: Rewrite) -> Json:
    """Return the rewrite filter. It replaces the whole path, unless the owner asks to replace the matched prefix."""
    if rewrite.type == "ReplacePrefixMatch":
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": rewrite.uri}
    else:
        path = {"type": "ReplaceFullPath", "replaceFullPath": rewrite.uri}
    return omit_unset(hostname=rewrite.authority, path=path if rewrite.uri else None)


def _mirror(backend: Json, **share: int) -> Json:
    """Return the filter that copies requests to a backend. share: `percent`, if it does not copy all."""
    return {"type": _MIRROR, "requestMirror": {"backendRef": backend, **share}}


def _cors(policy: CorsPolicy) -> Json:
    """Return Istio's CORS policy as a filter. The API has no patterns, so only `allowOrigin` counts."""
    return {
        **omit_unset(
            allowOrigins=list(policy.allow_origin),
            allowMethods=list(policy.allow_methods),
            allowHeaders=list(policy.allow_headers),
            exposeHeaders=list(policy.expose_headers),
            allowCredentials=policy.allow_credentials or None,
        ),
        "maxAge": (milliseconds(policy.max_age) or 0) // 1000 or _CORS_AGE,
    }


def _set_cookie(cookie: str) -> Json:
    operations = {"add": [{"name": SET_COOKIE, "value": cookie}]}
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": operations}


def _features_of_filter(context: RenderContext, item: Json) -> dict[str, str]:
    """Return the features that a filter needs, each with the manifest's field that asks for it."""
    kind = get_text(item, "type")
    if kind == "URLRewrite":
        parts = {"hostname": "HTTPRouteHostRewrite", "path": "HTTPRoutePathRewrite"}
        return {
            feature: "spec.service.rewrite"
            for part, feature in parts.items()
            if part in get_mapping(item, "urlRewrite")
        }
    if kind == _MIRROR:
        is_ours = get_text(item, "requestMirror", "backendRef", "name") == context.canary_service
        own = ("steps[].mirror",) * 2 if context.rollout.ladder.has_mirrors else ("mirror", "mirrorWeight")
        at, at_share = (f"{context.canary.analysis_path}.{name}" for name in own)
        path = at if is_ours else "spec.service.mirror"
        has_share = "percent" in get_mapping(item, "requestMirror")
        share = {"HTTPRouteRequestPercentageMirror": at_share}
        return {"HTTPRouteRequestMirror": path, **(share if has_share else {})}
    return _FEATURES.get(kind, {})


_FEATURES = {
    "ResponseHeaderModifier": {"HTTPRouteResponseHeaderModification": "spec.service.headers.response"},
    "CORS": {"HTTPRouteCORS": "spec.service.corsPolicy"},
}
"""The features of filters that need one beyond the API's core, by type."""


# reading ------------------------------------------------------------------------------------------------------------


def _statuses(route: Json) -> Iterator[tuple[Json, Json]]:
    """Yield each parent of the route with the status that it reports. The status of a former parent does not count."""
    parents = [_parent_key(route, parent) for parent in get_items(route, "spec", "parentRefs")]
    for status in get_items(route, "status", "parents"):
        parent = _parent_key(route, get_mapping(status, "parentRef"))
        if parent in parents:
            yield parent, status


_CONDITIONS = ("Accepted", "ResolvedRefs")
"""The conditions under which a gateway answers the requests of a route itself, with errors."""


def _judge_route(route: Json) -> RouteRefusal | None:
    """Return the gateways' verdict on a route as it is now.

    A parent that refuses the route gets no requests for it, so it does not count beside one that accepts. A parent
    that has yet to process this generation may still route as before.
    """
    verdicts = [_judge_parent(route, status) for _, status in _statuses(route)]
    refusals = [verdict for verdict in verdicts if verdict is not None]
    pending = [refusal for refusal in refusals if refusal.is_pending]
    if not verdicts:
        return await_verdict(route)
    return None if len(refusals) < len(verdicts) and not pending else (pending or refusals)[0]


def _judge_parent(route: Json, status: Json) -> RouteRefusal | None:
    """Return the refusal by one parent; None if it accepts the route as it is now.

    A condition without `observedGeneration` (Linkerd writes none) does not say that it is old.
    """
    conditions = {get_text(condition, "type"): condition for condition in get_items(status, "conditions")}
    if "Accepted" not in conditions:
        return await_verdict(route)
    verdicts = [
        judge_condition(route, conditions[name], get_integer(conditions[name], "observedGeneration"))
        for name in _CONDITIONS
        if name in conditions
    ]
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _name_parent(parent: Json) -> str:
    parts = (get_text(parent, part) for part in ("name", "namespace"))
    return f"{get_text(parent, 'kind')} {escape_controls('.'.join(parts))}"


def _parent_key(route: Json, parent: Json) -> Json:
    """Return a parent's reference with the API's defaults: the cluster and the controller may leave them out."""
    return {**GATEWAY, "namespace": get_text(route, "metadata", "namespace"), **parent}


def _is_mirrored(context: RenderContext, rule: Json) -> bool:
    names = (get_text(item, "requestMirror", "backendRef", "name") for item in get_items(rule, "filters"))
    return context.canary_service in names


def _cookies(rules: list[Json]) -> Iterator[str]:
    """Yield the Set-Cookie headers that the rules and their backends add."""
    places = (*rules, *(backend for rule in rules for backend in get_items(rule, "backendRefs")))
    filters = (item for place in places for item in get_items(place, "filters"))
    headers = (header for item in filters for header in get_items(item, "responseHeaderModifier", "add"))
    return (get_text(header, "value") for header in headers if get_text(header, "name") == SET_COOKIE)
