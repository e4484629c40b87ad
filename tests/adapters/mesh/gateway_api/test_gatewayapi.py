"""The Gateway API: the fields of the service section, which are Istio's, as those of an HTTPRoute."""

from __future__ import annotations

import pytest

from canarycore import Routes
from canarycore.errors import Refused
from canarycore_runtime.mesh import Ref
from tests.adapters.mesh.gateway_api.schemas import faults_of
from tests.adapters.mesh.meshes import AB, mesh_of, render_context

PRIMARY_ONLY = Routes()
V1, V1BETA1 = "gatewayapi:v1", "gatewayapi:v1beta1"
EVERYTHING = {"path": {"type": "PathPrefix", "value": "/"}}


def spec(routes=PRIMARY_ONLY, provider=V1, **fields):
    (route,) = mesh_of(provider).render(render_context(provider, **fields), routes, {})
    return route["spec"]


def shares(rule):
    return {part["name"]: part["weight"] for part in rule["backendRefs"]}


def filters(provider=V1, **service):
    (rule,) = spec(provider=provider, service=service)["rules"]
    return rule.get("filters", [])


def test_the_route_has_the_defaults_that_the_server_would_add():
    rendered = spec(service={"hosts": ["www.example.com"]})
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway", "namespace": "ingress"}
    assert (rendered["parentRefs"], rendered["hostnames"]) == ([gateway], ["www.example.com"])
    (rule,) = rendered["rules"]
    assert rule["matches"] == [EVERYTHING]
    assert rule["backendRefs"][0] == {
        "group": "",
        "kind": "Service",
        "name": "podinfo-primary",
        "port": 9898,
        "weight": 100,
    }


def test_a_route_without_a_gateway_is_refused():
    with pytest.raises(Refused, match=r"spec\.service\.gatewayRefs"):
        spec(service={"gatewayRefs": []})


def test_conditions_are_translated():
    match = {
        "uri": {"regex": "/a.*"},
        "method": {"exact": "GET"},
        "headers": {"x-a": {"exact": "1"}, "x-b": {"regex": "2.*"}},
        "queryParams": {"q": {"exact": "3"}},
    }
    (rule,) = spec(service={"match": [match, {"uri": {"exact": "/b"}}]})["rules"]
    assert rule["matches"] == [
        {
            "path": {"type": "RegularExpression", "value": "/a.*"},
            "method": "GET",
            "headers": [
                {"type": "Exact", "name": "x-a", "value": "1"},
                {"type": "RegularExpression", "name": "x-b", "value": "2.*"},
            ],
            "queryParams": [{"type": "Exact", "name": "q", "value": "3"}],
        },
        {"path": {"type": "Exact", "value": "/b"}},
    ]


@pytest.mark.parametrize(
    ("match", "where"),
    [({"headers": {"x-a": {"prefix": "1"}}}, "headers"), ({"queryParams": {"q": {"prefix": "1"}}}, "queryParams")],
)
def test_an_unsupported_condition_is_refused(match, where):
    """Flagger leaves it out, and routes all requests to the canary."""
    with pytest.raises(Refused, match=rf"match\[\]\.{where}: found a match by prefix"):
        spec(Routes(matched=True), analysis={**AB, "match": [match]})


def test_matching_requests_meet_the_services_conditions_too():
    service = {"match": [{"uri": {"prefix": "/api"}}]}
    matching, default = spec(Routes(matched=True), service=service, analysis=AB)["rules"]
    path = {"path": {"type": "PathPrefix", "value": "/api"}}
    assert matching["matches"] == [{**path, "headers": [{"type": "Exact", "name": "x-canary", "value": "insider"}]}]
    assert default["matches"] == [path]
    assert shares(matching) == {"podinfo-primary": 0, "podinfo-canary": 100}
    assert shares(default) == {"podinfo-primary": 100}


def test_headers_are_changed_in_a_fixed_order():
    operations = {"add": {"b": "2", "a": "1"}, "set": {"c": "3"}, "remove": ["d"]}
    assert filters(headers={"request": operations, "response": {"set": {"e": "4"}}}) == [
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {
                "add": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
                "set": [{"name": "c", "value": "3"}],
                "remove": ["d"],
            },
        },
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "e", "value": "4"}]}},
    ]


@pytest.mark.parametrize(
    ("rewrite", "written"),
    [
        ({"uri": "/a"}, {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a"}}),
        (
            {"uri": "/a", "type": "ReplacePrefixMatch"},
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/a"}},
        ),
        ({"authority": "api"}, {"hostname": "api"}),
    ],
)
def test_paths_and_hosts_are_rewritten(rewrite, written):
    assert filters(rewrite=rewrite) == [{"type": "URLRewrite", "urlRewrite": written}]


def test_cors_has_plain_origins_and_an_age_in_seconds():
    policy = {
        "allowOrigin": ["https://a.example.com"],
        "allowMethods": ["GET"],
        "allowCredentials": True,
        "maxAge": "1h",
    }
    (item,) = filters(corsPolicy=policy)
    assert item["cors"] == {
        "allowOrigins": ["https://a.example.com"],
        "allowMethods": ["GET"],
        "allowCredentials": True,
        "maxAge": 3600,
    }
    assert filters(V1BETA1, corsPolicy=policy) == []


def test_the_owners_mirrors_come_before_the_canarys():
    service = {"mirror": [{"backendRef": {"name": "shadow", "port": 80}}]}
    (rule,) = spec(Routes(mirrored=True), service=service, analysis={"mirror": True})["rules"]
    backends = [item["requestMirror"]["backendRef"] for item in rule["filters"]]
    assert backends == [
        {"group": "", "kind": "Service", "name": "shadow", "port": 80},
        {"group": "", "kind": "Service", "name": "podinfo-canary", "port": 9898},
    ]


@pytest.mark.parametrize(
    ("fields", "share"), [({}, {}), ({"mirrorWeight": 10}, {"percent": 10}), ({"mirrorWeight": 100}, {})], ids=str
)
@pytest.mark.parametrize("provider", [V1, V1BETA1, f"{V1} GRPCRoute"])
def test_the_mirror_copies_the_share_of_requests_that_the_owner_wants(provider, fields, share):
    context = render_context(provider, analysis={"mirror": True, **fields})
    (route,) = mesh_of(provider).render(context, Routes(mirrored=True), {})
    assert faults_of(route) == []
    (item,) = route["spec"]["rules"][0]["filters"]
    backend = {"group": "", "kind": "Service", "name": "podinfo-canary", "port": 9898}
    assert item["requestMirror"] == {"backendRef": backend, **share}


def test_only_v1_has_timeouts():
    fields = {"timeout": "15s", "backendTimeout": "5s"}
    (rule,) = spec(service=fields)["rules"]
    assert rule["timeouts"] == {"request": "15s", "backendRequest": "5s"}
    assert "timeouts" not in spec(provider=V1BETA1, service=fields)["rules"][0]


def test_users_stay_on_the_side_that_they_met():
    affinity = {"cookieName": "session", "primaryCookieName": "first"}
    rules = spec(Routes(weight=30, cookie="abc"), analysis={"sessionAffinity": affinity})["rules"]
    to_canary, to_primary, by_weight = rules
    cookie = {"type": "RegularExpression", "name": "Cookie", "value": ".*session.*abc.*"}
    assert to_canary["matches"] == [{**EVERYTHING, "headers": [cookie]}]
    assert shares(to_canary) == {"podinfo-primary": 0, "podinfo-canary": 100}
    assert shares(to_primary) == {"podinfo-primary": 100, "podinfo-canary": 0}
    cookies = [part["filters"][0]["responseHeaderModifier"]["add"][0] for part in by_weight["backendRefs"]]
    assert [cookie["value"] for cookie in cookies] == ["first=abc; Max-Age=30", "session=abc; Max-Age=86400"]
    assert len(spec(Routes(weight=30, cookie="abc"), V1BETA1, analysis={"sessionAffinity": affinity})["rules"]) == 2


@pytest.mark.parametrize(
    ("status", "observed", "known"),
    [("True", 2, True), ("True", 1, False), ("False", 2, False), (None, 0, False)],
)
def test_routes_count_after_the_gateway_has_accepted_them(status, observed, known):
    """A route without a verdict is not in force."""
    context, mesh = render_context(V1), mesh_of(V1)
    (route,) = mesh.render(context, Routes(weight=20), {})
    (parent,) = route["spec"]["parentRefs"]
    accepted = {"type": "Accepted", "status": status, "observedGeneration": observed}
    parents = [{"parentRef": parent, "conditions": [accepted]}] if status else []
    rendered = {**route, "metadata": {**route["metadata"], "generation": 2}, "status": {"parents": parents}}
    (ref,) = mesh.refs(context)
    assert isinstance(ref, Ref)
    assert mesh.routes(context, {ref: rendered}) == Routes(weight=20)
    assert (mesh.refusal(context, {ref: rendered}) is None) is known


GATEWAY_A = {"name": "a", "namespace": "ingress"}
GATEWAY_B = {"name": "b", "namespace": "ingress"}


def accepted(parent, status="True", **condition):
    return {"parentRef": parent, "conditions": [{"type": "Accepted", "status": status, **condition}]}


@pytest.mark.parametrize(
    ("parents", "known"),
    [
        ([accepted(GATEWAY_A)], True),
        ([accepted(GATEWAY_A, observedGeneration=0)], True),
        ([accepted(GATEWAY_A, "False")], False),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, "False", observedGeneration=2)], True),
        ([accepted(GATEWAY_A, "False"), accepted(GATEWAY_B, "False")], False),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, observedGeneration=1)], False),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, "Unknown", observedGeneration=2)], False),
        ([accepted({"name": "c", "namespace": "ingress"}, "False")], False),
        ([accepted({**GATEWAY_A, "group": "gateway.networking.k8s.io", "kind": "Gateway"}, "False")], False),
    ],
)
def test_a_parent_that_refuses_hides_none_that_routes_and_absent_is_not_old(parents, known):
    """Linkerd writes no observedGeneration, and one of several parents may refuse the route for good."""
    context, mesh = render_context(V1, service={"gatewayRefs": [GATEWAY_A, GATEWAY_B]}), mesh_of(V1)
    (route,) = mesh.render(context, Routes(weight=20), {})
    rendered = {**route, "metadata": {**route["metadata"], "generation": 2}, "status": {"parents": parents}}
    (ref,) = mesh.refs(context)
    assert mesh.routes(context, {ref: rendered}) == Routes(weight=20)
    assert (mesh.refusal(context, {ref: rendered}) is None) is known


REASON = {"reason": "NotAllowedByListeners", "message": "no listener\x1b[2J admits the namespace"}


@pytest.mark.parametrize(
    ("parents", "refusing"),
    [
        ([], []),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, observedGeneration=2)], []),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, "False", **REASON)], ["b.ingress"]),
        ([accepted(GATEWAY_A, "False", **REASON), accepted(GATEWAY_B, "False", **REASON)], ["a.ingress", "b.ingress"]),
        ([accepted(GATEWAY_A), accepted(GATEWAY_B, "False", observedGeneration=1)], []),
        ([accepted({"name": "c", "namespace": "ingress"}, "False")], []),
    ],
    ids=["none", "accepted", "one of two", "both", "of an older route", "of a former parent"],
)
def test_each_parent_that_refuses_the_present_route_is_named_with_its_reason(parents, refusing):
    context, mesh = render_context(V1, service={"gatewayRefs": [GATEWAY_A, GATEWAY_B]}), mesh_of(V1)
    (route,) = mesh.render(context, Routes(weight=20), {})
    rendered = {**route, "metadata": {**route["metadata"], "generation": 2}, "status": {"parents": parents}}
    (ref,) = mesh.refs(context)
    texts = mesh.refusals(context, {ref: rendered})
    assert len(texts) == len(refusing)
    for text, gateway in zip(texts, refusing, strict=True):
        assert f"Gateway {gateway} sends this route no requests" in text
        assert "NotAllowedByListeners: no listener\\x1b[2J admits" in text
    assert mesh.refusals(context, {}) == ()
