"""The kind of an object, and the path of its objects."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.kinds import CANARY, KINDS, SERVICE, by_object


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.group}/{kind.plural}")
def test_an_object_says_which_kind_it_is_of(kind):
    assert by_object({"apiVersion": kind.api_version, "kind": kind.kind}) is kind


@pytest.mark.parametrize(
    ("api_version", "kind", "path"),
    [
        ("networking.istio.io/v1", "VirtualService", "/apis/networking.istio.io/v1/virtualservices"),
        ("gateway.networking.k8s.io/v1", "Gateway", "/apis/gateway.networking.k8s.io/v1/gateways"),
        ("projectcontour.io/v1", "HTTPProxy", "/apis/projectcontour.io/v1/httpproxies"),
        ("appmesh.k8s.aws/v1beta2", "Mesh", "/apis/appmesh.k8s.aws/v1beta2/meshes"),
        ("example.com/v1", "Policy", "/apis/example.com/v1/policies"),
    ],
)
def test_a_kind_that_is_not_named_is_found_by_convention(api_version, kind, path):
    assert by_object({"apiVersion": api_version, "kind": kind}).path() == path


def test_an_object_is_found_under_its_namespace_and_name():
    assert CANARY.path("test", "podinfo") == "/apis/flagger.app/v1beta1/namespaces/test/canaries/podinfo"
    assert SERVICE.path("test", "podinfo") == "/api/v1/namespaces/test/services/podinfo"
