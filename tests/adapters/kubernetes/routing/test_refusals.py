"""A gateway that refuses a route, beside one that accepts it: the owner gets a warning, and the rollout goes on."""

from __future__ import annotations

from copy import deepcopy

import pytest

from canarycore import Routes
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.routing.router import MeshRouter
from tests.adapters.mesh.meshes import manifest, mesh_of, render_context
from tests.cluster.patience import until
from tests.cluster.workloads import pods
from tests.controlplane.in_memory.server import faked
from tests.controlplane.verdicts import accept_route

PROVIDER = "gatewayapi:v1"
GATEWAYS = [{"name": name, "namespace": "ingress"} for name in ("public", "internal")]
(ROUTE,) = (ref.kind for ref in mesh_of(PROVIDER).refs(render_context(PROVIDER)))


class Warnings:
    def __init__(self):
        self.texts = []

    async def warn(self, rollout, text):
        self.texts.append(f"{rollout.name}: {text}")


@pytest.fixture
def server():
    with faked((*KINDS, ROUTE), bookmark=0.5) as running:
        yield running


def verdicts(route):
    """Return the status of a route that the second gateway refuses."""
    (first, _), (_, second) = (accept_route(route, status)["parents"] for status in ("True", "False"))
    return {"parents": [first, second]}


async def test_the_owner_gets_a_warning_about_a_gateway_that_refuses_the_route(client, api, server, namespace):
    server.objects.controllers[ROUTE.group, ROUTE.plural] = verdicts
    api.create(deepcopy(pods("Deployment", "podinfo:6.0.0")), namespace)
    api.create(manifest(PROVIDER, namespace=namespace, service={"gatewayRefs": GATEWAYS}))
    warnings = Warnings()
    async with Cluster(client) as cluster:
        canaries = Canaries(cluster)
        router = MeshRouter(cluster, canaries, events=warnings)
        rollout = (await until(lambda: canaries.load(f"{namespace}/podinfo"))).rollout
        await router.set_routes(rollout, Routes(weight=20))

        async def is_reported():
            routes = await router.observe(rollout)
            return routes == Routes(weight=20) and bool(warnings.texts)

        await until(is_reported)
    assert {text.partition(" sends")[0] for text in warnings.texts} == {"podinfo: Gateway internal.ingress"}
