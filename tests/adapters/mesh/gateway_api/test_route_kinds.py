"""`service.routeKind`: GRPCRoutes, TCPRoutes and TLSRoutes, which the schemas of the Gateway API admit."""

from __future__ import annotations

import pytest

from canarycore import Routes
from canarycore.errors import ManifestError, Refused
from canarycore.manifest import Canary, parse, resolve
from canarycore_runtime.mesh import PodSelectors, RenderContext
from tests.adapters.mesh.gateway_api.schemas import faults_of
from tests.adapters.mesh.meshes import AB, VARIANTS, manifest, mesh_of, provider_of, render_context

GRPC, TCP, TLS = (f"gatewayapi:v1 {kind}" for kind in ("GRPCRoute", "TCPRoute", "TLSRoute"))
PRIMARY_ONLY = Routes()


def route(variant, routes=PRIMARY_ONLY, **fields):
    (body,) = mesh_of(variant).render(render_context(variant, **fields), routes, {})
    assert faults_of(body) == []
    return body


def shares(rule):
    return {part["name"]: part["weight"] for part in rule["backendRefs"]}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("weight", [0, 30, 100])
def test_each_kind_splits_by_weight_with_valid_fields(variant, weight):
    body = route(variant, Routes(weight=weight), service={"apex": {"labels": {"team": "web"}}})
    assert body["kind"] == variant.partition(" ")[2]
    (rule,) = body["spec"]["rules"]
    assert shares(rule) == {"podinfo-primary": 100 - weight, "podinfo-canary": weight}
    assert [parent["name"] for parent in body["spec"]["parentRefs"]] == ["gateway"]
    assert body["metadata"]["labels"]["team"] == "web"


def test_the_provider_chooses_stable_versions_or_those_before():
    versions = {variant: route(variant)["apiVersion"].rpartition("/")[2] for variant in VARIANTS}
    assert {version for variant, version in versions.items() if provider_of(variant) == "gatewayapi:v1"} == {"v1"}
    before = {name.partition(" ")[2]: version for name, version in versions.items() if "v1beta1" in name}
    assert before == {"GRPCRoute": "v1", "TCPRoute": "v1alpha2", "TLSRoute": "v1alpha2"}


def test_a_route_of_connections_has_nothing_but_backends():
    assert [set(rule) for variant in (TCP, TLS) for rule in route(variant)["spec"]["rules"]] == [{"backendRefs"}] * 2
    assert "hostnames" not in route(TCP)["spec"]
    assert route(TLS)["spec"]["hostnames"] == ["app.example.com"]


@pytest.mark.parametrize("variant", [TCP, TLS])
@pytest.mark.parametrize("routes", [Routes(matched=True), Routes(mirrored=True)], ids=str)
def test_a_route_of_connections_refuses_routes_of_requests(variant, routes):
    with pytest.raises(Refused, match="sees no requests"):
        route(variant, routes)


# GRPCRoutes ---------------------------------------------------------------------------------------------------------


def test_an_ab_test_of_grpc_requests_sends_those_with_the_header_to_the_canary():
    matching, default = route(GRPC, Routes(matched=True), analysis=AB)["spec"]["rules"]
    header = {"type": "Exact", "name": "x-canary", "value": "insider"}
    assert matching["matches"] == [{"headers": [header]}]
    assert "matches" not in default
    assert (shares(matching)["podinfo-canary"], shares(default)) == (100, {"podinfo-primary": 100})


@pytest.mark.parametrize(
    ("uri", "method"),
    [
        ({"exact": "/shop.v1.Cart/Add"}, {"service": "shop.v1.Cart", "method": "Add"}),
        ({"prefix": "/shop.v1.Cart/Add"}, {"service": "shop.v1.Cart", "method": "Add"}),
        ({"prefix": "/shop.v1.Cart/"}, {"service": "shop.v1.Cart"}),
        ({"prefix": "/shop.v1.Cart"}, {"service": "shop.v1.Cart"}),
    ],
)
def test_a_path_selects_a_service_and_a_method(uri, method):
    matching, default = route(GRPC, Routes(matched=True), analysis=AB, service={"match": [{"uri": uri}]})["spec"][
        "rules"
    ]
    expected = {"type": "Exact", **method}
    assert default["matches"] == [{"method": expected}]
    (match,) = matching["matches"]
    assert (match["method"], len(match["headers"])) == (expected, 1)


def test_the_prefix_of_all_paths_selects_all_grpc_requests():
    (rule,) = route(GRPC, service={"match": [{"uri": {"prefix": "/"}}, {"headers": {"a": {"exact": "b"}}}]})["spec"][
        "rules"
    ]
    assert rule["matches"][0] == {}


@pytest.mark.parametrize(
    "uri", [{"exact": "/shop.v1.Cart"}, {"prefix": "/a/b/c"}, {"prefix": "/shop cart"}, {"regex": "/shop.*"}], ids=str
)
def test_a_path_that_is_no_grpc_method_is_refused(uri):
    with pytest.raises(ManifestError, match=r"service\.match\[0\]\.uri"):
        route(GRPC, service={"match": [{"uri": uri}]})


def test_grpc_requests_are_mirrored_and_their_headers_changed():
    headers = {"request": {"set": {"a": "b"}}, "response": {"add": {"c": "d"}}}
    (rule,) = route(GRPC, Routes(mirrored=True), analysis={"mirror": True}, service={"headers": headers})["spec"][
        "rules"
    ]
    types = [item["type"] for item in rule["filters"]]
    assert types == ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"]
    assert rule["filters"][-1]["requestMirror"]["backendRef"]["name"] == "podinfo-canary"


@pytest.mark.parametrize("variant", ["gatewayapi:v1", GRPC])
def test_an_entry_without_a_condition_of_the_route_is_refused_as_it_would_match_all(variant):
    analysis = {**AB, "match": [{"sourceLabels": {"app": "web"}}]}
    with pytest.raises(Refused, match=r"spec\.analysis\.match: found an entry without a condition"):
        route(variant, Routes(matched=True), analysis=analysis)


# fields that a kind lacks -------------------------------------------------------------------------------------------

SERVICE = {
    "match": [{"headers": {"a": {"exact": "b"}}}],
    "rewrite": {"uri": "/"},
    "retries": {"attempts": 2},
    "timeout": "5s",
    "backendTimeout": "5s",
    "headers": {"request": {"remove": ["a"]}},
    "mirror": [{"backendRef": {"name": "shadow", "port": 80}}],
    "corsPolicy": {"allowOrigin": ["example.com"]},
    "hosts": ["app.example.com"],
}
ANALYSIS = {
    "match": AB["match"],
    "mirror": True,
    "sessionAffinity": {"cookieName": "user"},
}
LACKING = {
    GRPC: ({"rewrite", "retries", "timeout", "backendTimeout", "corsPolicy"}, {"sessionAffinity"}),
    TCP: (set(SERVICE), set(ANALYSIS)),
    TLS: (set(SERVICE) - {"hosts"}, set(ANALYSIS)),
    "gatewayapi:v1": (set(), set()),
}
"""The fields of the service and of the analysis that each kind cannot express."""


@pytest.mark.parametrize("variant", LACKING)
def test_a_field_that_the_kind_cannot_express_is_refused_with_the_reason(variant):
    service, analysis = LACKING[variant]
    given = {
        **{f"spec.service.{name}": {"service": {name: value}} for name, value in SERVICE.items()},
        **{f"spec.analysis.{name}": {"analysis": {name: value}} for name, value in ANALYSIS.items()},
    }
    problems = {path: _problems(variant, fields) for path, fields in given.items()}
    refused = {path for path, found in problems.items() if found}
    assert refused == {f"spec.service.{name}" for name in service} | {f"spec.analysis.{name}" for name in analysis}
    texts = [(problem.rule, problem.expected) for found in problems.values() for problem in found]
    assert all(rule == "route-kind" and f"a {variant.partition(' ')[2]}" in expected for rule, expected in texts)


def _problems(variant, fields):
    try:
        render_context(variant, **fields)
    except ManifestError as error:
        return error.problems
    return ()


def test_a_tls_route_needs_the_names_that_clients_ask_for():
    with pytest.raises(ManifestError, match=r"spec\.service\.hosts: found nothing"):
        render_context(TLS, service={"hosts": []})


def test_other_providers_write_no_route_of_the_gateway_api():
    with pytest.raises(ManifestError, match="the provider istio writes no routes of the Gateway API"):
        resolve(parse(manifest("istio", service={"routeKind": "GRPCRoute"})))


def test_without_the_field_the_route_is_an_http_route():
    plain, named = (manifest("gatewayapi:v1", service=fields) for fields in ({}, {"routeKind": "HTTPRoute"}))
    bodies = []
    for body in (plain, named):
        canary = parse(body)
        assert isinstance(canary, Canary)
        context = RenderContext(canary=canary, rollout=resolve(canary), pods=PodSelectors.by_label("app", "podinfo"))
        bodies.append(mesh_of("gatewayapi:v1").render(context, Routes(weight=20), {}))
    assert bodies[0] == bodies[1]
    assert faults_of(bodies[0][0]) == []
