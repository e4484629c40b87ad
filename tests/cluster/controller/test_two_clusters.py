"""A controller whose routes are on a second API server: `--kubeconfig-service-mesh`."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.ownership import OWNER_ANNOTATION
from tests.cluster.controller.test_controller import ANALYSIS, canary, phase, target
from tests.controlplane.plane import plane as started

ROUTES = "/apis/networking.istio.io/v1beta1/namespaces/{}/virtualservices"
STEPS = {"stepWeight": 50, "maxWeight": 50}


@pytest.fixture(scope="module")
def mesh(plane):
    """An API server with Istio's kinds, and no pods."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=("istio",), pods=False) as running:
        yield running


@pytest.fixture
def controlled(plane, mesh, namespace, access, start_controller, metrics_server, tmp_path):
    """A controller with the installed rights on its own cluster, and the administrator's on the other."""
    mesh.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    elsewhere = f"-kubeconfig-service-mesh={mesh.kubeconfig()}"
    with start_controller(plane.kubeconfig(access, namespace), namespace, metrics_server, tmp_path, elsewhere):
        yield


def weights(body):
    """Return the weight of each destination of a VirtualService."""
    (route,) = body["spec"]["http"]
    return {to["destination"]["host"].partition(".")[0]: to["weight"] for to in route["route"]}


@pytest.mark.usefixtures("controlled")
def test_a_rollout_moves_the_routes_of_the_other_cluster_alone(api, mesh, namespace):
    api.create(target(namespace))
    api.create({**canary(namespace), "spec": canary(namespace)["spec"] | {"analysis": ANALYSIS | STEPS}})
    phase(api, namespace, "Initialized")
    route = f"{ROUTES.format(namespace)}/podinfo"
    body = mesh.api.eventually(route, lambda body: weights(body)["podinfo-primary"] == 100)
    assert "ownerReferences" not in body["metadata"], "nobody would find the Canary on that cluster"
    assert body["metadata"]["annotations"][OWNER_ANNOTATION] == f"{namespace}/podinfo"

    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.patch(f"{deployments}/podinfo", {"spec": target(namespace, "podinfo:6.0.1")["spec"]})
    mesh.api.eventually(route, lambda body: weights(body)["podinfo-canary"] == 50)
    phase(api, namespace, "Succeeded")
    (container,) = api.get(f"{deployments}/podinfo-primary")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "podinfo:6.0.1"
    assert weights(mesh.api.get(route)) == {"podinfo-primary": 100, "podinfo-canary": 0}
    assert api.list(ROUTES.format(namespace)) == []
    assert mesh.api.list(f"/api/v1/namespaces/{namespace}/services") == []
