"""`service.routeRefs`: the owner's routes get the weights, keep all else, and are the owner's again at weight 0."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Routes
from canarycore.errors import ManifestError, Refused
from canarycore_runtime.mesh import GITOPS_OPT_OUT
from tests.adapters.mesh.gateway_api.schemas import faults_of
from tests.adapters.mesh.meshes import AB, mesh_of, render_context

V1 = "gatewayapi:v1"
APEX = {"group": "", "kind": "Service", "name": "podinfo", "port": 9898, "weight": 1}
OTHER = {"group": "", "kind": "Service", "name": "other", "port": 80, "weight": 1}
FILTERS = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}]
PATH = [{"path": {"type": "PathPrefix", "value": "/internal"}}]
PARENTS = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "internal"}]


def route(*rules, kind="HTTPRoute", name="internal"):
    """Return a route of the owner with these rules, each with its backends."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "test", "generation": 1, "labels": {"team": "web"}},
        "spec": {
            "parentRefs": PARENTS,
            "rules": [rule if isinstance(rule, dict) else {"backendRefs": rule} for rule in rules],
        },
    }


def at(*bodies, provider=V1, **fields):
    """Return the mesh, the context of a Canary that names these routes, and the objects."""
    references = [{"kind": body["kind"], "name": body["metadata"]["name"]} for body in bodies]
    service = {"routeRefs": references, **fields.pop("service", {})}
    mesh, context = mesh_of(provider), render_context(provider, service=service, **fields)
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    return mesh, context, {refs[body["kind"], body["metadata"]["name"]]: body for body in bodies}


def after(mesh, context, objects, routes):
    """Return the objects after a writer has set the routes."""
    result = dict(objects)
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    rendered = {refs[body["kind"], body["metadata"]["name"]]: body for body in mesh.render(context, routes, objects)}
    for ref, body in rendered.items():
        before = objects.get(ref, body)
        result[ref] = {**before, "spec": {**before["spec"], **body["spec"]}}
    for ref in objects.keys() - rendered.keys():
        original = mesh.original(context, ref, objects[ref])
        if original is not None:
            result[ref] = {**objects[ref], "spec": {**objects[ref]["spec"], **original["spec"]}}
    return result


def weights(body):
    return [{part["name"]: part["weight"] for part in rule["backendRefs"]} for rule in body["spec"]["rules"]]


RULES = (
    {"name": "first", "matches": PATH, "filters": FILTERS, "timeouts": {"request": "9s"}, "backendRefs": [APEX]},
    {"backendRefs": [OTHER]},
    {"backendRefs": [{**APEX, "filters": FILTERS, "weight": 3}, OTHER]},
)


def test_each_backend_that_is_the_apex_is_split_and_all_else_stays():
    internal = route(*RULES)
    mesh, context, objects = at(internal)
    (ref,) = objects
    body = after(mesh, context, objects, Routes(weight=30))[ref]
    assert faults_of(body) == []
    assert weights(body) == [
        {"podinfo-primary": 70, "podinfo-canary": 30},
        {"other": 1},
        {"podinfo-primary": 210, "podinfo-canary": 90, "other": 100},
    ]
    first, second, third = body["spec"]["rules"]
    assert {name: first[name] for name in RULES[0] if name != "backendRefs"} == {
        name: value for name, value in RULES[0].items() if name != "backendRefs"
    }
    assert second == RULES[1]
    assert [backend.get("filters") for backend in third["backendRefs"]] == [FILTERS, FILTERS, None]
    assert body["spec"]["parentRefs"] == PARENTS
    assert body["metadata"] == internal["metadata"]


def test_a_split_route_asks_gitops_tools_to_leave_it_alone():
    mesh, context, objects = at(route([APEX]))
    *_, body = mesh.render(context, Routes(weight=30), objects)
    assert body["metadata"]["annotations"] == GITOPS_OPT_OUT
    assert set(body["spec"]) == {"rules"}


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"])
def test_a_route_of_each_kind_gets_the_weights(kind):
    mesh, context, objects = at(route([APEX], kind=kind))
    (ref,) = objects
    assert ref.kind.kind == kind
    assert weights(after(mesh, context, objects, Routes(weight=30))[ref]) == [
        {"podinfo-primary": 70, "podinfo-canary": 30}
    ]


BACKENDS = st.lists(
    st.builds(lambda backend, weight: {**backend, "weight": weight}, st.sampled_from([APEX, OTHER]), st.integers(0, 9)),
    min_size=1,
    max_size=4,
)


@given(rules=st.lists(BACKENDS, min_size=1, max_size=3), steps=st.lists(st.integers(1, 100), min_size=1, max_size=4))
def test_after_any_weights_the_route_is_as_the_owner_wrote_it(rules, steps):
    own = route(*deepcopy(rules), [APEX])
    mesh, context, objects = at(own)
    (ref,) = objects
    state = objects
    for weight in steps:
        state = after(mesh, context, state, Routes(weight=weight))
        once = after(mesh, context, objects, Routes(weight=weight))
        assert state[ref] == once[ref], "a write states the end, whatever was before"
        assert state == after(mesh, context, state, Routes(weight=weight))
    assert after(mesh, context, state, Routes())[ref] == own
    assert mesh.original(context, ref, own) is None


def test_two_canaries_may_share_a_route():
    shop = {**APEX, "name": "shop"}
    mesh, context, objects = at(route([APEX, shop], [shop]))
    (ref,) = objects
    others = render_context(V1, service={"name": "shop", "routeRefs": [{"name": "internal"}]})
    state = after(mesh, context, objects, Routes(weight=30))
    state = after(mesh, others, state, Routes(weight=10))
    assert list(weights(state[ref])[0].values()) == [7000, 3000, 9000, 1000]
    state = after(mesh, context, state, Routes())
    state = after(mesh, others, state, Routes())
    assert state[ref] == objects[ref]


def test_an_edit_of_the_owner_stays():
    mesh, context, objects = at(route([APEX]))
    (ref,) = objects
    state = after(mesh, context, objects, Routes(weight=30))
    state[ref]["spec"]["rules"].append({"matches": PATH, "backendRefs": [OTHER]})
    state = after(mesh, context, state, Routes())
    assert state[ref]["spec"]["rules"] == [{"backendRefs": [APEX]}, {"matches": PATH, "backendRefs": [OTHER]}]


# refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (route([OTHER]), "found a route without the Service"),
        (route([{**APEX, "port": 9090}]), "found a backend with port 9090"),
        (route([{**APEX, "weight": 10_001}]), "found a weight of 10001"),
        (route([{**APEX, "namespace": "elsewhere"}]), "found a route without the Service"),
        (None, r"found no HTTPRoute internal\.test"),
    ],
)
def test_a_route_that_cannot_be_split_gets_no_weight_and_keeps_no_traffic(body, found):
    mesh, context, objects = at(body or route([APEX]))
    present = objects if body else {}
    with pytest.raises(Refused, match=rf"spec\.service\.routeRefs\[0\]: {found}"):
        mesh.render(context, Routes(weight=10), present)
    for weight in (0, 100):
        (own,) = mesh.render(context, Routes(weight=weight), present)
        assert own["metadata"]["name"] == "podinfo", "a rollback and a failover must go through"


def test_with_port_discovery_a_route_may_lead_to_another_port():
    mesh, context, objects = at(route([{**APEX, "port": 9090}]), service={"portDiscovery": True})
    *_, body = mesh.render(context, Routes(weight=10), objects)
    assert {backend["port"] for backend in body["spec"]["rules"][0]["backendRefs"]} == {9090}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"analysis": AB}, "spec.analysis.match"),
        ({"analysis": {"sessionAffinity": {"cookieName": "user"}}}, "spec.analysis.sessionAffinity"),
        ({"service": {"routeRefs": [{"name": "podinfo"}]}}, "spec.service.routeRefs[0]"),
        ({"service": {"routeRefs": [{"name": "a"}, {"kind": "HTTPRoute", "name": "a"}]}}, "spec.service.routeRefs[1]"),
        ({"service": {"gatewayRefs": []}, "analysis": {"mirror": True}}, "spec.analysis.mirror"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fields_that_weights_alone_cannot_express_are_refused(fields, path):
    service = {"routeRefs": [{"name": "internal"}], **fields.get("service", {})}
    with pytest.raises(ManifestError) as refused:
        render_context(V1, analysis=fields.get("analysis"), service=service)
    assert [(problem.path, problem.rule) for problem in refused.value.problems] == [(path, "route-refs")]


# reading ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, 1, 30, 100])
def test_without_gateways_the_owners_routes_are_the_only_ones(weight):
    mesh, context, objects = at(route([OTHER], [{**APEX, "weight": 7}]), service={"gatewayRefs": []})
    assert [ref.name for ref in mesh.refs(context)] == ["internal"]
    assert mesh.gateways(context) == ()
    state = after(mesh, context, objects, Routes(weight=weight))
    assert mesh.routes(context, state) == Routes(weight=weight)


def judged(body, status, observed):
    condition = {"type": "Accepted", "status": status, "observedGeneration": observed, "message": "no such listener"}
    return {**body, "status": {"parents": [{"parentRef": PARENTS[0], "conditions": [condition]}]}}


@pytest.mark.parametrize(
    ("status", "observed", "split", "owners"),
    [("True", 2, False, False), ("False", 2, True, False), ("True", 1, True, True), (None, 0, True, False)],
)
def test_the_verdict_on_a_route_counts_while_the_canary_gets_its_requests(status, observed, split, owners):
    """A route that is wholly the owner's again may still lead to the canary until its gateway has seen that."""
    mesh, context, objects = at(route([APEX]), service={"gatewayRefs": []})
    (ref,) = objects
    for weight, refused in ((30, split), (0, owners)):
        body = after(mesh, context, objects, Routes(weight=weight))[ref]
        body = {**body, "metadata": {**body["metadata"], "generation": 2}}
        seen = {ref: judged(body, status, observed) if status else body}
        assert (mesh.refusal(context, seen) is not None) is refused
        assert bool(mesh.refusals(context, seen)) is (weight > 0 and status == "False")


GARBAGE = (None, True, -1, "text", [], {}, [None], [[]], [{}], [{"backendRefs": 3}], [{"backendRefs": [{"name": []}]}])


@pytest.mark.parametrize("rules", GARBAGE, ids=repr)
def test_rules_of_unknown_form_are_no_split(rules):
    mesh, context, objects = at(route([APEX]), service={"gatewayRefs": []})
    (ref,) = objects
    seen = {ref: {**objects[ref], "spec": {"rules": rules}}}
    assert mesh.routes(context, seen) == Routes()
    assert mesh.original(context, ref, seen[ref]) is None
    with pytest.raises(Refused, match="without the Service"):
        mesh.render(context, Routes(weight=30), seen)
