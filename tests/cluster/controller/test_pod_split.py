"""A split by numbers of pods with real Deployments, whose pods take a while, and the endpoints of the Service."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.deploy.objects import definitions
from canarycore_kubernetes.options import Options
from tests.adapters.kubernetes.test_pod_split import REPLICAS, canary, deployment
from tests.cluster.patience import until
from tests.cluster.rollouts import hastened
from tests.controlplane.real.kubelet import Rule
from tests.controlplane.real.plane import plane as started
from tests.controlplane.rights import installed as installed_on
from tests.controlplane.rights import refused

NAMESPACE = "split"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"


@pytest.fixture(scope="module")
def own_plane(plane):
    """A plane with our definitions: the shared one has Flagger's, which know no provider `replicas`."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=()) as running:
        for body in definitions():
            running.api.apply(body)
        running.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield running


class Endpoints:
    """The ready endpoints of the Service that users call, at each moment of a look."""

    def __init__(self, api):
        self.api, self.seen = api, []

    def look(self):
        sides = Counter()
        for body in self.api.get(SLICES)["items"]:
            if body["metadata"]["labels"].get("kubernetes.io/service-name") == "podinfo":
                for endpoint in body["endpoints"] or ():
                    is_primary = endpoint["targetRef"]["name"].startswith("podinfo-primary")
                    sides["primary" if is_primary else "canary"] += bool(endpoint["conditions"].get("ready"))
        self.seen.append((sides["primary"], sides["canary"]))

    async def follow(self):
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def controlled(plane, options):
    """Run a controller under the rights that it is installed with."""
    kubeconfig = plane.kubeconfig(installed_on(plane.api, NAMESPACE, ["replicas"]), "controller")
    with hastened():
        async with connect(str(kubeconfig)) as client, asyncio.TaskGroup() as group:
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                yield group
            finally:
                running.cancel()


async def test_the_share_of_ready_endpoints_is_the_weight_and_their_number_never_falls(own_plane):
    api = own_plane.api
    api.create(deployment("podinfo:1"), NAMESPACE)
    api.create(canary({"steps": [{"weight": 20, "hold": "3s"}, {"weight": 60, "hold": "3s"}]}), NAMESPACE)
    endpoints = Endpoints(api)

    def has_reached(phase):
        return api.get(CANARY.path(NAMESPACE, "podinfo")).get("status", {}).get("phase") == phase

    def is_scaled_down():
        return api.get(DEPLOYMENT.path(NAMESPACE, "podinfo"))["spec"]["replicas"] == 0

    async with controlled(own_plane, Options(namespace=NAMESPACE, listen="127.0.0.1", port=0)) as group:
        await until(lambda: has_reached("Initialized"), 120)
        await until(is_scaled_down, 120)
        own_plane.kubelet.rules(Rule(name="podinfo", after=1), Rule(name="podinfo-primary", after=1))
        following = group.create_task(endpoints.follow())
        containers = [{"name": "app", "image": "podinfo:2"}]
        api.patch(DEPLOYMENT.path(NAMESPACE, "podinfo"), {"spec": {"template": {"spec": {"containers": containers}}}})
        await until(lambda: has_reached("Succeeded"), 120)
        await until(is_scaled_down, 120)
        following.cancel()

    shares = Counter(endpoints.seen)
    assert {(4, 1), (2, 3), (REPLICAS, 0)} <= shares.keys()
    # the rolling update of the primary may have one pod fewer: that is its own strategy
    assert min(map(sum, endpoints.seen)) >= REPLICAS - 1
    before = endpoints.seen[: endpoints.seen.index((2, 3))]
    assert min(map(sum, before)) >= REPLICAS
    assert not refused(own_plane.audit)
