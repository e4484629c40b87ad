"""The names that the controller composes: a manifest that passes has none beyond Kubernetes's limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.errors import ManifestError
from canarycore.manifest import LONGEST_APEX, LONGEST_ROUTE, parse, resolve
from canarycore.text import compose_name
from canarycore_runtime.mesh import PodSelectors, RenderContext
from tests.adapters.mesh.meshes import ENTRIES, manifest, mesh_of, sources

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment"}
LABEL = re.compile(r"[a-z0-9]([-_.a-z0-9]*[a-z0-9])?\Z")


def read(body):
    canary = parse(body)
    return RenderContext(canary=canary, rollout=resolve(canary), pods=PodSelectors.by_label("app", "a" * 63))


@pytest.mark.parametrize("provider", [name for name in ENTRIES if name != "knative"])
def test_the_objects_of_the_longest_accepted_names_fit(provider):
    context = read(manifest(provider, targetRef={**DEPLOYMENT, "name": "t" * LONGEST_APEX}))
    assert max(len(name) for name in (context.apex, context.primary, context.canary_service)) == 63
    for ref in mesh_of(provider).refs(context):
        assert len(ref.name) <= 253


@pytest.mark.parametrize("provider", [name for name in ENTRIES if name != "knative"])
def test_a_deployment_of_60_characters_is_refused_with_the_limit_and_accepted_with_a_service_name(provider):
    target = {**DEPLOYMENT, "name": "t" * 60}
    with pytest.raises(
        ManifestError, match=r"spec\.targetRef\.name: found a name of 60 characters, expected at most 55"
    ):
        read(manifest(provider, targetRef=target))
    assert read(manifest(provider, targetRef=target, service={"name": "app"})).primary == "app-primary"


def test_an_external_service_and_its_copies_fit():
    target = {"apiVersion": "v1", "kind": "Service", "name": "t" * 56}
    with pytest.raises(ManifestError, match="at most 55: its copies, the Services NAME-primary and NAME-canary"):
        read(manifest("istio", targetRef=target))


def test_a_route_and_the_app_fit_together():
    reference = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "r" * (LONGEST_ROUTE - 7)}
    (copy,) = (
        ref for ref in mesh_of("apisix").refs(read(manifest("apisix", routeRef=reference))) if "canary" in ref.name
    )
    assert len(copy.name) == 253
    with pytest.raises(ManifestError, match=r"spec\.routeRef\.name"):
        read(manifest("apisix", routeRef={**reference, "name": reference["name"] + "r"}))


def test_a_name_without_an_object_of_its_own_may_be_long():
    assert sources("istio") == []
    reference = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "w" * 253}
    assert read(manifest("istio", ingressRef=reference))


def test_the_label_of_the_primarys_pods_fits_and_differs_for_each_target():
    one, two = (PodSelectors.by_label("app", "a" * length).primary["app"] for length in (63, 62))
    assert len(one) <= 63
    assert len({one, two}) == 2
    assert one.endswith("-primary")


@given(
    name=st.from_regex(r"[a-z0-9]([-_.a-z0-9]{0,70}[a-z0-9])?", fullmatch=True),
    other=st.from_regex(r"[a-z0-9]([-_.a-z0-9]{0,70}[a-z0-9])?", fullmatch=True),
    suffix=st.sampled_from(["", "-primary", "-canary"]),
)
def test_composed_names_fit_are_valid_and_stay_apart(name, other, suffix):
    composed = compose_name(name, suffix, 63)
    assert len(composed) <= 63
    assert composed.endswith(suffix)
    assert LABEL.match(composed)
    assert (composed == compose_name(other, suffix, 63)) == (name == other)
    assert composed == name + suffix or len(name + suffix) > 63
