"""The routes of a Canary on the Gateway API, and the fields that they cannot express.

Each such field is an error: a route without it would send other requests to the canary than the owner wants.
"""

from __future__ import annotations

from collections.abc import Iterator

from canarycore._fields import fault
from canarycore.errors import Problem
from canarycore.manifest._model import Analysis, Canary
from canarycore.manifest._reader._fields import fields_of
from canarycore.manifest._service import Service
from canarycore.manifest.routing import GRPC_ROUTE, HTTP_ROUTE, ROUTE_KINDS, find_grpc_method, has_route_kinds
from canarycore.text import shorten
from canarycore.traffic import Match

_RULE, _REFERENCES = "route-kind", "route-refs"


def check_route_kind(canary: Canary, provider: str) -> Iterator[Problem]:
    """Yield a problem for each field that the route of a Canary cannot express.

    provider: the controller's default, for a Canary without a provider.
    """
    service, chosen = canary.spec.service, canary.spec.provider or provider
    if service is None or not service.route_kind:
        return
    if not has_route_kinds(chosen):
        yield _unrouted("spec.service.routeKind", service.route_kind, chosen, _RULE)
        return
    kind = ROUTE_KINDS[service.route_kind]
    paths = [_path(canary, name) for name in kind.lacks if _is_set(canary, service, name)]
    paths += () if kind.has_requests else (*canary.step_matches, *canary.step_mirrors)
    for path in paths:
        found = f"the field beside routeKind: {service.route_kind}"
        remedy = f"Remove the field, or use routeKind: {HTTP_ROUTE}."
        yield fault(found, f"none: {kind.reason}", remedy, _RULE, part=path)
    if kind.needs_hosts and not service.hosts:
        expected = f"the names that clients ask for: a {service.route_kind} chooses by them"
        yield fault("nothing", expected, "Add the field.", _RULE, part="spec.service.hosts")
    if service.route_kind == GRPC_ROUTE:
        for path, conditions in {"spec.service.match": service.match, **canary.matches}.items():
            for index, condition in enumerate(conditions):
                yield from _check_grpc_condition(f"{path}[{index}]", condition)


def check_route_refs(canary: Canary, provider: str) -> Iterator[Problem]:
    """Yield the problems of `service.routeRefs`. provider: as in `check_route_kind`."""
    service, chosen, at = canary.spec.service, canary.spec.provider or provider, "spec.service.routeRefs"
    if service is None or not service.route_refs:
        return
    if not has_route_kinds(chosen):
        yield _unrouted(at, "references to routes", chosen, _REFERENCES)
        return
    analysis = canary.analysis or Analysis()
    given = {
        "match": analysis.match,
        "sessionAffinity": analysis.session_affinity,
        "mirror": analysis.mirror and not service.gateway_refs,
    }
    paths = {f"{canary.analysis_path}.{name}": name for name, value in given.items() if value}
    paths |= dict.fromkeys(canary.step_matches, "match")
    paths |= dict.fromkeys(() if service.gateway_refs else canary.step_mirrors, "mirror")
    for path, name in paths.items():
        expected = "none: the routes of service.routeRefs get weights only, for all their requests"
        remedy = "Remove the field, or routeRefs."
        yield fault(f"{name} beside routeRefs", expected, remedy, _REFERENCES, part=path)
    own = (service.route_kind or HTTP_ROUTE, service.name or canary.spec.target_ref.name)
    known = {own} if service.gateway_refs else set()
    for index, reference in enumerate(service.route_refs):
        place = (reference.kind or HTTP_ROUTE, reference.name)
        if place in known:
            found = f"the {place[0]} {place[1]} {'of the Canary itself' if place == own else 'twice'}"
            yield fault(found, "another route", "Remove the reference.", _REFERENCES, part=f"{at}[{index}]")
        known.add(place)


def _path(canary: Canary, name: str) -> str:
    return name.replace("analysis", canary.analysis_path) if name.startswith("analysis") else f"spec.{name}"


def _is_set(canary: Canary, service: Service, name: str) -> bool:
    section, _, field = name.partition(".")
    source = service if section == "service" else canary.analysis or Analysis()
    known = fields_of(type(source))[field]
    return bool(getattr(source, known.name) != known.metadata["codec"].empty)


def _check_grpc_condition(path: str, condition: Match) -> Iterator[Problem]:
    expected = "headers, or a uri with a gRPC service and method: a GRPCRoute matches nothing else"
    remedy = "Write the condition with headers, or with uri: {prefix: /package.Service/}."
    for name, is_given in (("queryParams", condition.query_params), ("method", condition.method)):
        if is_given:
            yield fault(f"a match by {name}", expected, remedy, _RULE, part=f"{path}.{name}")
    uri = condition.uri
    if uri is not None and not uri.is_presence and find_grpc_method(uri) is None:
        yield fault(f"a match by {uri.kind}: {shorten(uri.value)}", expected, remedy, _RULE, part=f"{path}.uri")


def _unrouted(path: str, found: str, provider: str, rule: str) -> Problem:
    """Return the problem of a field about routes of the Gateway API, of which the provider writes none."""
    expected = f"none: the provider {provider} writes no routes of the Gateway API"
    return fault(found, expected, "Remove the field, or use the provider gatewayapi:v1.", rule, part=path)
