"""Whole rollouts with sizes of steps on an API server in memory: the replicas of both sides at each change."""

from __future__ import annotations

import pytest

from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, KINDS, REPLICA_SET
from canarycore_mesh.istio import DESTINATION_RULE, VIRTUAL_SERVICE
from canarycore_runtime.workloads.written_size import ANNOTATION
from tests.adapters.kubernetes.pod_apps import REPLICAS, canary, controlled, controller_of, until
from tests.controlplane.in_memory.server import faked

STEPS = [{"weight": 20, "size": 1}, {"weight": 40, "approval": True}, {"weight": 60, "size": "50%"}]
SIZED = {"steps": STEPS}


@pytest.fixture
def server():
    with faked((*KINDS, REPLICA_SET, DESTINATION_RULE, VIRTUAL_SERVICE), bookmark=0.5) as running:
        yield running


def sized(**spec):
    return canary(SIZED, provider="istio", **spec)


def annotations(app):
    return app.body(DEPLOYMENT)["metadata"].get("annotations", {})


async def test_a_promotion_passes_each_size_and_ends_with_the_owners_number(client, api, server, namespace):
    async with controlled(client, api, server, namespace, sized()) as app:
        app.scaled.clear()
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        assert app.replicas() == (REPLICAS, 1)
        app.command("approve 1")
        await app.reach("Succeeded")
        await until(lambda: app.replicas() == (REPLICAS, 0))
        own = [replicas for name, replicas in app.scaled if name == "podinfo"]
        primary = [replicas for name, replicas in app.scaled if name == "podinfo-primary"]
    assert list(dict.fromkeys(own)) == [0, 1, 3, REPLICAS], "half of five is three"
    assert set(primary) == {REPLICAS}
    assert ANNOTATION not in annotations(app)


async def test_a_new_number_of_the_owner_in_mid_rollout_reaches_the_primary(client, api, server, namespace):
    async with controlled(client, api, server, namespace, sized()) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        api.patch(DEPLOYMENT.path(namespace, "podinfo"), {"spec": {"replicas": 8}})
        await until(lambda: annotations(app).get(ANNOTATION) == "replicas=1,own=8")
        assert app.replicas() == (REPLICAS, 1)
        app.command("approve 1")
        await until(lambda: app.replicas() == (REPLICAS, 4))
        await app.reach("Succeeded")
        await until(lambda: app.replicas() == (8, 0))


async def test_a_rollback_at_a_small_size_leaves_no_trace(client, api, server, namespace):
    async with controlled(client, api, server, namespace, sized()) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        app.command("abort 1")
        await app.reach("Failed")
        await until(lambda: app.replicas() == (REPLICAS, 0))
    assert ANNOTATION not in annotations(app)


async def test_another_controller_goes_on_with_the_size_of_the_step(client, api, server, namespace):
    async with controlled(client, api, server, namespace, sized()) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
    async with controller_of(client, namespace):
        assert app.replicas() == (REPLICAS, 1)
        app.command("approve 1")
        await app.reach("Succeeded")
        await until(lambda: app.replicas() == (REPLICAS, 0))


async def test_a_deletion_at_a_small_size_gives_the_target_its_number_first(client, api, server, namespace):
    async with controlled(client, api, server, namespace, sized(revertOnDeletion=True)) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        api.delete(CANARY.path(namespace, "podinfo"))
        await until(lambda: app.body(CANARY) is None)
    assert app.body(DEPLOYMENT)["spec"]["replicas"] == REPLICAS
    assert ANNOTATION not in annotations(app)
