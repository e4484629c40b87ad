"""The comparison of the objects at the end finds each field that differs."""

from __future__ import annotations

import copy

import pytest
from attrs import evolve

from tests.conformance.leftovers import different
from tests.conformance.trace import Trace

PRIMARY = {
    "kind": "Service",
    "metadata": {"name": "podinfo-primary", "ownerReferences": [{"kind": "Canary", "name": "podinfo", "uid": "1"}]},
    "spec": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 90}], "selector": {"app": "podinfo"}},
}
CANARY = {"metadata": {"name": "podinfo"}, "spec": {"targetRef": {"kind": "Deployment", "name": "podinfo"}}}


@pytest.fixture
def trace():
    final = {"services/podinfo-primary": PRIMARY}
    return Trace(name="one", about="", flags=(), objects=(), canary=CANARY, final=final)


def found(trace: Trace, change):
    body = copy.deepcopy(trace.final["services/podinfo-primary"])
    change(body)
    return different(trace, (), {"services/podinfo-primary": body})


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("selector", lambda body: body["spec"]["selector"].update(app="podinfo-canary")),
        ("labels", lambda body: body["metadata"].update(labels={"one": "more"})),
        ("port", lambda body: body["spec"]["ports"].pop()),
        ("ownerReferences", lambda body: body["metadata"].pop("ownerReferences")),
    ],
)
def test_a_field_that_differs_is_told(trace, told, change):
    assert told in " ".join(found(trace, change))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["spec"]["ports"].reverse(),
        lambda body: body["spec"].update(clusterIP="10.0.0.1"),
        lambda body: body["metadata"].update(labels={}),
    ],
)
def test_what_says_nothing_is_no_difference(trace, change):
    assert found(trace, change) == []


ROUTE = {"kind": "VirtualService", "metadata": {"name": "podinfo"},
         "spec": {"http": [{"route": [{"weight": 0}, {"weight": 100}]}]}}  # fmt: skip


@pytest.mark.parametrize("row", ["D01", "D06", "D07"])
def test_the_weights_of_a_route_differ_only_where_the_story_of_the_trace_needed_the_row(trace, row):
    trace = evolve(trace, final={"virtualservices/podinfo": ROUTE})
    ours = copy.deepcopy(ROUTE)
    ours["spec"]["http"][0]["route"] = [{"weight": 100}, {"weight": 0}]
    assert different(trace, (row,), {"virtualservices/podinfo": ours}) == []
    assert len(different(trace, (), {"virtualservices/podinfo": ours})) == 2


def test_a_primary_keeps_the_template_of_a_promotion_unless_it_was_taken_back(trace):
    final = {"kind": "Deployment", "metadata": {"name": "podinfo-primary"}, "spec": {"template": {"image": "v2"}}}
    trace = evolve(trace, final={"deployments/podinfo-primary": final})
    ours = {**final, "spec": {"template": {"image": "v1"}}}
    assert different(trace, ("D06",), {"deployments/podinfo-primary": ours}) == []
    assert different(trace, ("D01",), {"deployments/podinfo-primary": ours}) != []


@pytest.mark.parametrize("sticky", [True, False])
@pytest.mark.parametrize(
    "spec",
    [
        lambda value: {"http": [{"route": [{"headers": {"response": {"add": {"Set-Cookie": value}}}}]}]},
        lambda value: {"http": [{"match": [{"headers": {"Cookie": {"regex": value}}}]}]},
        lambda value: {"rules": [{"filters": [{"responseHeaderModifier": {"add": [{"value": value}]}}]}]},
    ],
)
def test_the_value_of_a_session_cookie_is_ours_where_the_canary_asks_for_one(trace, spec, sticky):
    name = "virtualservices/podinfo"
    theirs, ours = ({"kind": "Route", "metadata": {"name": "podinfo"}, "spec": spec(value)} for value in ("x", "y"))
    canary = {**CANARY, "spec": {**CANARY["spec"], "analysis": {"sessionAffinity": {}} if sticky else {}}}
    lines = different(evolve(trace, canary=canary, final={name: theirs}), (), {name: ours})
    assert bool(lines) is not sticky


def test_an_object_that_is_gone_is_told(trace):
    assert different(trace, (), {}) == ["services/podinfo-primary is gone: expected to be there"]
