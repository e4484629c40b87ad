"""A route that its gateway refuses: the target keeps its pods, and the owner reads the gateway's reason."""

from __future__ import annotations

import asyncio

import pytest

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, EVENT, KINDS
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED
from canarycore_kubernetes.routing import router
from tests.adapters.mesh.meshes import ENTRIES, manifest, mesh_of, render_context
from tests.cluster.controller.test_controller import target
from tests.cluster.patience import until
from tests.controlplane.in_memory.server import faked
from tests.controlplane.verdicts import accept_route

ROUTES = ("gateway.networking.k8s.io", "httproutes")
MESSAGE = 'invalid type "CORS"'


@pytest.fixture
def server():
    routed = (ref.kind for name in ENTRIES for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed)), bookmark=0.5) as running:
        yield running


@pytest.fixture
async def cluster(client, api, server, namespace, monkeypatch):
    """Run the controller on a Canary whose gateway refuses the route."""
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    monkeypatch.setattr(router, "_VERDICT_PATIENCE", 0.2)
    server.objects.controllers[ROUTES] = lambda body: accept_route(body, "False", MESSAGE)
    api.create(target(namespace), namespace)
    canary = manifest("gatewayapi:v1", namespace=namespace, analysis={"interval": "10s"})
    api.create(canary, namespace)
    options = Options(namespace=namespace, listen="127.0.0.1", port=0, metrics_server="http://127.0.0.1:9")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_controller(client, options, version="0"))
        yield Shop(api, namespace)
        running.cancel()


class Shop:
    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace

    @property
    def status(self):
        return self.api.get(CANARY.path(self.namespace, "podinfo")).get("status") or {}

    @property
    def blocked(self):
        return next((one["message"] for one in self.status.get("conditions", ()) if one["type"] == BLOCKED), "")

    @property
    def warnings(self):
        return [body["message"] for body in self.api.list(EVENT.path(self.namespace)) if body["type"] == "Warning"]

    @property
    def replicas(self):
        return self.api.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/podinfo")["spec"]["replicas"]

    def judge_again(self):
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/httproutes/podinfo"
        self.api.patch(path, {"metadata": {"annotations": {"example.com/again": "1"}}})


async def test_a_refused_route_takes_no_capacity_and_reports_the_gateways_reason(cluster, server):
    await until(lambda: cluster.blocked)
    assert MESSAGE in cluster.blocked
    assert "HTTPRoute podinfo" in cluster.blocked
    assert await until(lambda: [text for text in cluster.warnings if MESSAGE in text])
    assert (cluster.status["phase"], cluster.replicas) == ("Initializing", 2)

    server.objects.controllers[ROUTES] = accept_route
    cluster.judge_again()
    await until(lambda: cluster.status["phase"] == "Initialized")
    await until(lambda: not cluster.blocked)


async def test_a_route_without_a_verdict_takes_no_capacity(cluster, server):
    server.objects.controllers[ROUTES] = lambda body: {"parents": []}
    await until(lambda: "no controller has accepted" in cluster.blocked)
    assert (cluster.status["phase"], cluster.replicas) == ("Initializing", 2)
