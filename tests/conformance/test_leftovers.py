"""What is left in the end is compared field by field."""

from __future__ import annotations

import copy

import pytest

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


def test_an_object_that_is_gone_is_told(trace):
    assert different(trace, (), {}) == ["services/podinfo-primary is gone: expected to be there"]
