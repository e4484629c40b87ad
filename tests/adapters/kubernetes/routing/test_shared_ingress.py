"""An Ingress of which the Canary owns single fields: an ALB's. Others' fields stay, and two Canaries may share it."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from canarycore import Routes
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KINDS, SERVICE
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_runtime.mesh import GITOPS_OPT_OUT
from tests.adapters.mesh.meshes import AB, manifest, mesh_of, render_context, sources
from tests.cluster.patience import until
from tests.cluster.workloads import pods
from tests.controlplane.in_memory.server import faked

(INGRESS,) = (ref.kind for ref in mesh_of("alb").refs(render_context("alb")))
ACTION = "alb.ingress.kubernetes.io/actions.{}"


@pytest.fixture
def server():
    with faked((*KINDS, INGRESS), bookmark=0.5) as running:
        yield running


def read(api, namespace):
    return api.get(INGRESS.path(namespace, "web"))


def weights(ingress, name="podinfo"):
    action = json.loads(ingress["metadata"]["annotations"][ACTION.format(name)])
    return {group["serviceName"]: group["weight"] for group in action["forwardConfig"]["targetGroups"]}


@pytest.mark.parametrize("analysis", [{}, AB], ids=["weights", "match"])
async def test_an_ingress_leads_to_both_sides_and_is_its_owners_again_at_the_end(client, api, namespace, analysis):
    (ingress,) = sources("alb", namespace)
    api.create(deepcopy(pods("Deployment", "podinfo:6.0.0")), namespace)
    api.create(deepcopy(ingress))
    api.create(manifest("alb", namespace=namespace, analysis=analysis, revertOnDeletion=True))
    routes = Routes(matched=True) if analysis else Routes(weight=20)
    async with Cluster(client) as cluster:
        canaries = Canaries(cluster)
        router = MeshRouter(cluster, canaries)
        rollout = (await until(lambda: canaries.load(f"{namespace}/podinfo"))).rollout
        await router.set_routes(rollout, routes)
        assert await router.observe(rollout) == routes
        taken = read(api, namespace)
        assert weights(taken)["podinfo-canary"] == routes.weight
        assert taken["metadata"]["annotations"]["example.com/kept"] == "yes"
        assert taken["metadata"]["annotations"].keys() >= GITOPS_OPT_OUT.keys()

        api.patch(INGRESS.path(namespace, "web"), {"metadata": {"annotations": {ACTION.format("podinfo"): "{}"}}})

        async def is_unknown():
            return await router.observe(rollout) is None

        await until(is_unknown)
        await router.set_routes(rollout, routes)
        assert await router.observe(rollout) == routes

        await router.restore(rollout)
    released = read(api, namespace)
    assert weights(released) == {"podinfo": 100}
    assert released["spec"] == ingress["spec"]
    annotations = released["metadata"]["annotations"].keys() - GITOPS_OPT_OUT.keys()
    assert annotations == ingress["metadata"]["annotations"].keys()
    assert api.get(SERVICE.path(namespace, "podinfo"))["spec"]["selector"] == {"app": "podinfo"}
