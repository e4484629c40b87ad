"""Istio: a VirtualService that splits, and a DestinationRule for each side.

The VirtualService's rules. Istio takes the first that matches:

    sticky-canary     the cookie of this rollout                    -> canary
    sticky-primary    the primary's cookie, if the owner names one  -> primary
    expired           the cookie of a finished rollout              -> by weight, and the browser deletes the cookie
    matching          the conditions of the analysis or the step    -> canary, or by weight
    default           all requests                                  -> by weight, or primary

Beside the analysis's matching rule, the default rule sends all requests to the primary; beside a step's, it splits. A
service of `appProtocol: tcp` has one TCP rule, which supports weights only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.foreign import get_items, get_list, get_text
from canarycore_mesh._objects import (
    COOKIE,
    SET_COOKIE,
    add_cookies,
    apex_metadata,
    combine_conditions,
    cookie_pattern,
    default_weight,
    format_cookie,
    format_expired_cookie,
    make_object,
    make_ref,
    matching_weight,
    omit_unset,
    read_routes,
    read_split,
    read_verdict,
    refuse,
)
from canarycore_mesh._queries import built_in_queries, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore import RouteRefusal, Routes
    from canarycore.manifest import CorsPolicy, HeaderChanges, HeaderOperations, Retries, Rewrite
    from canarycore.traffic import Affinity, Match, StringMatch
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

VIRTUAL_SERVICE = Kind("networking.istio.io", "v1beta1", "VirtualService", "virtualservices")
DESTINATION_RULE = Kind("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules")

MESH_GATEWAY = "mesh"
"""Istio's name for the gateway of all sidecars."""

_WORKLOAD = (
    'reporter="destination"',
    'destination_workload_namespace="{{ namespace }}"',
    'destination_workload=~"{{ target }}"',
)
_NO_ERROR = 'response_code!~"5.*"'


class Istio(Mesh):
    """Provider `istio`."""

    queries: Queries = built_in_queries(
        success_rate("istio_requests_total", *_WORKLOAD, _NO_ERROR, good=_NO_ERROR),
        percentile_99("istio_request_duration_milliseconds_bucket", *_WORKLOAD),
    )

    statuses: frozenset[Kind] = frozenset({VIRTUAL_SERVICE})

    proxy_delay: float = 10.0
    """istiod holds changes back for up to 10 s while others follow (`PILOT_DEBOUNCE_MAX`)."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        rules = (make_ref(DESTINATION_RULE, context, name) for name in (context.canary_service, context.primary))
        return (*rules, make_ref(VIRTUAL_SERVICE, context, context.apex))

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        rules = _tcp_rules(context, routes) if _is_tcp(context) else {"http": _http_rules(context, routes)}
        return (
            _destination_rule(context, context.canary_service),
            _destination_rule(context, context.primary),
            make_object(
                context,
                VIRTUAL_SERVICE,
                context.apex,
                {**_hosts_and_gateways(context), **rules},
                apex_metadata(context),
            ),
        )

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        virtual_service = objects.get(make_ref(VIRTUAL_SERVICE, context, context.apex))
        rules = get_items(virtual_service, "spec", "tcp" if _is_tcp(context) else "http")
        splits = (read_split(get_list(rule, "route"), "destination", "host") for rule in rules)
        routes = add_cookies(context, read_routes(context, splits), _cookies(rules))
        return routes and evolve(routes, mirrored=any("mirror" in rule for rule in rules))

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return istiod's verdict, where it writes one (`PILOT_ENABLE_STATUS`, or an analysis with an error)."""
        virtual_service = objects.get(make_ref(VIRTUAL_SERVICE, context, context.apex))
        errors = [
            get_text(message, "documentationUrl") or get_text(message, "type", "code")
            for message in get_items(virtual_service, "status", "validationMessages")
            if get_text(message, "level").upper() == "ERROR"
        ]
        return read_verdict(virtual_service, "Reconciled", message=", ".join(errors))


def _destination_rule(context: RenderContext, host: str) -> Json:
    spec = {"host": host, **omit_unset(trafficPolicy=context.service.traffic_policy)}
    return make_object(context, DESTINATION_RULE, host, spec)


def _hosts_and_gateways(context: RenderContext) -> Json:
    """Return the hosts that clients call, and the gateways that the calls come through."""
    hosts, gateways = list(context.service.hosts), list(context.service.gateways)
    if not context.service.delegation:
        has_apex = context.apex in hosts or "*" in hosts
        return {"hosts": hosts if has_apex else [*hosts, context.apex], "gateways": gateways or [MESH_GATEWAY]}
    if hosts or gateways:
        refuse(
            context,
            "hosts or gateways beside delegation",
            "neither: the VirtualService that delegates has them",
            "spec.service.delegation",
            "Remove spec.service.hosts and spec.service.gateways.",
        )
    return {"hosts": [], "gateways": []}


# rules --------------------------------------------------------------------------------------------------------------


def _is_tcp(context: RenderContext) -> bool:
    return context.service.app_protocol.lower() == "tcp"


def _tcp_rules(context: RenderContext, routes: Routes) -> Json:
    if routes.matched or routes.mirrored:
        refuse(
            context,
            "requests to match or to mirror on a TCP service",
            "weights: a TCP connection has no requests",
            "spec.service.appProtocol",
            "Use stepWeight without match and mirror.",
        )
    match = [omit_unset(port=condition.port) for condition in context.service.match]
    return {"tcp": [{**omit_unset(match=match), "route": _split(context, routes.weight)}]}


def _http_rules(context: RenderContext, routes: Routes) -> list[Json]:
    weighted = _rule(context, _split(context, matching_weight(context, routes)))
    matches = context.match_on(routes)
    default = _rule(context, _default_route(context, routes)) if matches else weighted
    if routes.mirrored:
        mirrored = default if routes.matched else weighted
        mirrored["mirror"] = {"host": context.canary_service}
        percent = _mirror_percentage(context, routes)
        if percent:
            mirrored["mirrorPercentage"] = {"value": percent}
    if matches:
        weighted["match"] = combine_conditions(_conditions(matches), _conditions(context.service.match))
        return [weighted, default]
    affinity = context.rollout.affinity
    return [weighted] if affinity is None else [*_cookie_rules(context, routes, affinity, weighted), weighted]


def _mirror_percentage(context: RenderContext, routes: Routes) -> int | None:
    """Return the percentage of a mirror, where the owner gives one."""
    analysis = context.canary.analysis
    if context.rollout.ladder.has_mirrors:
        return context.rollout.mirror_on(routes)
    return analysis.mirror_weight if analysis else None


def _rule(context: RenderContext, route: list[Json]) -> Json:
    """Return a rule with the fields that the owner wants in every rule."""
    service = context.service
    return {
        **omit_unset(
            match=_conditions(service.match),
            rewrite=_rewrite(service.rewrite) if service.rewrite else None,
            timeout=service.timeout,
            retries=_retries(service.retries) if service.retries else None,
            corsPolicy=_cors(service.cors_policy) if service.cors_policy else None,
            headers=_headers(service.headers) if service.headers else None,
        ),
        "route": route,
    }


def _split(context: RenderContext, weight: int) -> list[Json]:
    return [
        _destination(context, context.primary, 100 - weight),
        _destination(context, context.canary_service, weight),
    ]


def _default_route(context: RenderContext, routes: Routes) -> list[Json]:
    """Return the destinations of requests that do not match.

    Istio sends all requests to a single destination, whatever its weight. Flagger writes the weight of the matching
    rule there, so this does too.
    """
    weight = default_weight(context, routes)
    if weight:
        return _split(context, weight)
    return [_destination(context, context.primary, 100 - matching_weight(context, routes))]


def _destination(context: RenderContext, host: str, weight: int) -> Json:
    service = context.service
    has_gateway = service.delegation or bool(service.gateways and service.gateways[0] != MESH_GATEWAY)
    port = {"number": service.port} if service.port_discovery and has_gateway else None
    return {"destination": {"host": host, **omit_unset(port=port)}, "weight": weight}


# fields of a rule ---------------------------------------------------------------------------------------------------


def _conditions(matches: Iterable[Match]) -> list[Json]:
    return [_condition(match) for match in matches]


def _condition(match: Match) -> Json:
    """Return an HTTPMatchRequest."""
    return omit_unset(
        name=match.name,
        uri=_string(match.uri),
        scheme=_string(match.scheme),
        method=_string(match.method),
        authority=_string(match.authority),
        headers=_strings(match.headers),
        withoutHeaders=_strings(match.without),
        queryParams=_strings(match.query_params),
        sourceLabels=dict(match.source_labels) or None,
        sourceNamespace=match.source_namespace,
        gateways=list(match.gateways),
        port=match.port,
        ignoreUriCase=match.ignore_uri_case or None,
    )


def _string(match: StringMatch | None) -> Json | None:
    if match is None:
        return None
    return {} if match.is_presence else {match.kind: match.value}


def _strings(matches: Iterable[tuple[str, StringMatch]]) -> Json | None:
    return {name: _string(match) for name, match in matches} or None


def _rewrite(rewrite: Rewrite) -> Json:
    return omit_unset(uri=rewrite.uri, authority=rewrite.authority)


def _retries(retries: Retries) -> Json:
    """Return an HTTPRetry. Retries without a number are none."""
    return {
        "attempts": retries.attempts or 0,
        **omit_unset(
            perTryTimeout=retries.per_try_timeout,
            retryOn=retries.retry_on,
            retryRemoteLocalities=retries.retry_remote_localities or None,
        ),
    }


def _cors(policy: CorsPolicy) -> Json:
    return omit_unset(
        allowOrigin=list(policy.allow_origin),
        allowOrigins=[_string(origin) for origin in policy.allow_origins],
        allowMethods=list(policy.allow_methods),
        allowHeaders=list(policy.allow_headers),
        exposeHeaders=list(policy.expose_headers),
        allowCredentials=policy.allow_credentials or None,
        maxAge=policy.max_age,
    )


def _headers(changes: HeaderChanges) -> Json:
    return omit_unset(
        request=_operations(changes.request) if changes.request else None,
        response=_operations(changes.response) if changes.response else None,
    )


def _operations(operations: HeaderOperations) -> Json:
    return omit_unset(
        add=dict(operations.add) or None, set=dict(operations.set) or None, remove=list(operations.remove)
    )


# cookies ------------------------------------------------------------------------------------------------------------


def _cookie_rules(context: RenderContext, routes: Routes, affinity: Affinity, weighted: Json) -> list[Json]:
    """Return the rules for requests with a cookie, and let the destinations of `weighted` set the cookie."""
    rules = []
    primary, canary = weighted["route"]
    if routes.cookie and routes.weight:
        text = format_cookie(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
        canary["headers"] = _add_cookie({}, text)
        rules.append({**weighted, "match": _with_cookie(context, affinity.cookie_name, routes.cookie)})
        rules[-1]["route"] = _split(context, 100)
        if affinity.primary_cookie_name:
            age = int(context.rollout.interval)
            text = format_cookie(affinity, affinity.primary_cookie_name, routes.cookie, age)
            primary["headers"] = _add_cookie({}, text)
            rules.append({**weighted, "match": _with_cookie(context, affinity.primary_cookie_name, routes.cookie)})
            rules[-1]["route"] = _split(context, 0)
    if routes.expired:
        text = format_expired_cookie(affinity.cookie_name, routes.expired)
        headers = _add_cookie(weighted.get("headers", {}), text)
        match = _with_cookie(context, affinity.cookie_name, routes.expired)
        rules.append({**weighted, "match": match, "headers": headers, "route": _split(context, routes.weight)})
    return rules


def _with_cookie(context: RenderContext, name: str, value: str) -> list[Json]:
    condition = {"headers": {COOKIE: {"regex": cookie_pattern(name, value)}}}
    return combine_conditions([condition], _conditions(context.service.match))


def _add_cookie(headers: Json, cookie: str) -> Json:
    """Return the header operations, extended by one that sets a cookie."""
    response = headers.get("response", {})
    return {**headers, "response": {**response, "add": {**response.get("add", {}), SET_COOKIE: cookie}}}


# reading ------------------------------------------------------------------------------------------------------------


def _cookies(rules: list[Json]) -> Iterator[str]:
    """Yield the Set-Cookie headers that the rules and their destinations add."""
    for place in (*rules, *(destination for rule in rules for destination in get_items(rule, "route"))):
        text = get_text(place, "headers", "response", "add", SET_COOKIE)
        if text:
            yield text
