"""The control plane of the tests works like a real one."""

from __future__ import annotations

import pytest

from canarycore_planes.control_plane.api import Api, Json, RequestError, eventually
from canarycore_planes.control_plane.kubelet import PodRule
from canarycore_planes.control_plane.plane import ADMIN, Plane
from tests.controlplane.proxy import Fault, Harm, Proxy


def deployment(namespace: str, image: str = "podinfo:6.0.0") -> Json:
    labels = {"app": "podinfo"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "podinfo", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "podinfo", "image": image}]},
            },
        },
    }


def ready(count: int):
    return lambda body: body["status"].get("readyReplicas", 0) == count


def test_a_deployment_gets_ready_and_its_requests_are_counted(plane: Plane, api: Api, namespace: str):
    mark = plane.audit.mark()
    made = api.create(deployment(namespace))
    api.eventually(api.path(made), ready(2))
    asked = plane.audit.since(mark, user=ADMIN, namespace=namespace)
    assert asked["create", "deployments.apps"] == 1
    assert asked["get", "deployments.apps"] >= 1
    assert set(asked) == {("create", "deployments.apps"), ("get", "deployments.apps")}


def test_a_rule_holds_for_the_pods_that_there_are_and_for_new_ones(plane: Plane, api: Api, namespace: str):
    path = api.path(api.create(deployment(namespace)))
    api.eventually(path, ready(2))
    plane.kubelet.rules(PodRule(namespace=namespace, name="podinfo", mode="never"))
    api.eventually(path, ready(0))
    plane.kubelet.rules(PodRule(namespace=namespace, name="podinfo", image="6.0.1", mode="crash"))
    api.eventually(path, ready(2))
    api.apply(deployment(namespace, "podinfo:6.0.1"))
    restarts = f"/api/v1/namespaces/{namespace}/pods"
    eventually(lambda: any(_restarts(pod) for pod in api.list(restarts)))


def _restarts(pod: Json) -> int:
    return sum(found["restartCount"] for found in pod["status"].get("containerStatuses", []))


def test_pods_of_a_deployment_scaled_to_zero_are_gone(api: Api, namespace: str):
    path = api.path(api.create(deployment(namespace)))
    api.eventually(path, ready(2))
    api.patch(path, {"spec": {"replicas": 0}})
    eventually(lambda: not api.list(f"/api/v1/namespaces/{namespace}/pods"))


def test_ready_pods_are_the_endpoints_of_their_service(api: Api, namespace: str):
    api.create(deployment(namespace))
    spec = {"selector": {"app": "podinfo"}, "ports": [{"port": 80}]}
    meta = {"name": "podinfo", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    eventually(lambda: [len(found["endpoints"] or ()) for found in api.list(slices)] == [2])


def test_a_daemon_set_has_a_pod_on_the_node(api: Api, namespace: str):
    body = deployment(namespace) | {"kind": "DaemonSet"}
    del body["spec"]["replicas"]
    path = api.path(api.create(body))
    api.eventually(path, lambda found: found["status"].get("numberReady") == 1)
    api.patch(path, {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}})
    api.eventually(path, lambda found: found["status"].get("desiredNumberScheduled") == 0)


def test_a_service_account_has_the_rights_of_its_role(plane: Plane, api: Api, namespace: str, access_of):
    access = access_of([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}])
    controller = Api(access)
    mark = plane.audit.mark()
    path = api.path(deployment(namespace))
    assert eventually(lambda: _allowed(controller, path))
    with pytest.raises(RequestError, match="cannot create"):
        controller.create(deployment(namespace))
    user = f"system:serviceaccount:{namespace}:controller"
    refused = [found for found in plane.audit.requests(mark, user=user) if found.verb == "create"]
    assert [(found.resource, found.code) for found in refused] == [("deployments.apps", 403)]


def _allowed(controller: Api, path: str) -> bool:
    """A role takes a moment."""
    try:
        controller.get(path)
    except RequestError:
        return False
    return True


def test_a_refused_write_is_not_applied(api: Api, proxy: Proxy, namespace: str):
    proxy.inject(Fault(Harm.ANSWER, status=409, methods=("POST",)))
    through = Api(proxy.access)
    with pytest.raises(RequestError, match="409"):
        through.create(deployment(namespace))
    assert api.get(api.path(deployment(namespace))) is None
    assert through.create(deployment(namespace))["metadata"]["uid"]
    assert proxy.harmed() == 1
    assert not proxy.pending
