"""The verdicts of meshes' controllers on routing objects: refused, not judged yet, accepted."""

from __future__ import annotations

import pytest

from canarycore import Routes
from tests.adapters.mesh.meshes import ENTRIES, VARIANTS, mesh_of, render_context, sources

MESSAGE = "the route has an unsupported filter"
AT = {"lastTransitionTime": "2026-01-01T00:00:00Z"}


def condition(kind, status, observed=2):
    return {"type": kind, "status": status, "message": MESSAGE, "observedGeneration": observed, **AT}


def of_object(kind):
    return lambda status, observed=2: {"conditions": [condition(kind, status, observed)]}


def of_status(kind):
    """Return the maker of a status whose generation stands beside its conditions."""
    return lambda status, observed=2: {
        "observedGeneration": observed,
        "conditions": [{"type": kind, "status": status, "message": MESSAGE, **AT}],
    }


def of_parent(status, observed=2):
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway", "namespace": "ingress"}
    return {"parents": [{"parentRef": parent, "conditions": [condition("Accepted", status, observed)]}]}


def of_gloo(status, observed=2):
    del observed
    return {"statuses": {"gloo-system": {"state": "Rejected" if status == "False" else 1, "reason": MESSAGE}}}


STATUSES = {
    "apisix": of_object("ResourcesAvailable"),
    "appmesh": of_object("VirtualServiceActive"),
    "appmesh:v1beta2": of_status("VirtualRouterActive"),
    "contour": of_object("Valid"),
    **dict.fromkeys(("gatewayapi:v1", "gatewayapi:v1beta1", *VARIANTS), of_parent),
    "gloo": of_gloo,
    "istio": of_object("Reconciled"),
    "knative": of_status("RoutesReady"),
}
"""How the controller of each mesh writes its verdict."""

ALWAYS_JUDGED = {"contour", "gatewayapi:v1", "gatewayapi:v1beta1", *VARIANTS}


def refusal_of(provider, status):
    """Return the refusal where every object of the mesh has this status and is of generation 2."""
    fields = {"gatewayRefs": [{"name": "gateway", "namespace": "ingress"}]} if "gateway" in provider else {}
    context, mesh = render_context(provider, service=fields), mesh_of(provider)
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    given = {refs[body["kind"], body["metadata"]["name"]]: body for body in sources(provider)}
    objects = given | {
        refs[body["kind"], body["metadata"]["name"]]: body for body in mesh.render(context, Routes(), given)
    }
    judged = {
        ref: {**body, "metadata": {**body["metadata"], "generation": 2}, **({"status": status} if status else {})}
        for ref, body in objects.items()
    }
    return mesh.refusal(context, judged)


@pytest.mark.parametrize("provider", STATUSES)
def test_a_refused_route_is_not_in_force_and_says_why(provider):
    refusal = refusal_of(provider, STATUSES[provider]("False"))
    assert MESSAGE in refusal.reason
    assert "podinfo" in refusal.reason
    assert not refusal.is_pending
    assert refusal.since == (None if provider == "gloo" else 1767225600.0)


@pytest.mark.parametrize("provider", STATUSES)
def test_an_accepted_route_is_in_force(provider):
    assert refusal_of(provider, STATUSES[provider]("True")) is None


@pytest.mark.parametrize("provider", sorted(STATUSES.keys() - {"gloo", "knative"}))
@pytest.mark.parametrize(("status", "observed"), [("True", 1), ("Unknown", 2)])
def test_a_route_that_waits_for_its_verdict_is_not_in_force(provider, status, observed):
    assert refusal_of(provider, STATUSES[provider](status, observed)).is_pending


@pytest.mark.parametrize("provider", sorted(ENTRIES))
def test_a_missing_verdict_counts_where_a_controller_always_writes_one(provider):
    refusal = refusal_of(provider, None)
    assert (refusal is not None and refusal.is_pending) is (provider in ALWAYS_JUDGED)


def test_the_kinds_with_a_verdict_come_with_their_status():
    """Otherwise the caches leave it out."""
    for provider in STATUSES:
        assert mesh_of(provider).statuses


def test_an_unresolved_backend_is_a_refusal():
    parent = of_parent("True")
    parent["parents"][0]["conditions"].append(condition("ResolvedRefs", "False"))
    assert MESSAGE in refusal_of("gatewayapi:v1", parent).reason


def test_a_proxy_that_no_root_includes_gets_no_requests():
    status = of_object("Valid")("False") | {"currentStatus": "orphaned"}
    assert refusal_of("contour", status) is None


def test_contours_description_says_more_than_its_condition():
    status = of_object("Valid")("False") | {"currentStatus": "invalid", "description": "duplicate route"}
    assert "duplicate route" in refusal_of("contour", status).reason
