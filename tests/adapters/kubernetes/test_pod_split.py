"""Whole rollouts by numbers of pods on an API server in memory, with the endpoints of the Service at each change."""

from __future__ import annotations

from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, SERVICE
from canarycore_runtime.workloads.pod_split import ANNOTATION
from tests.adapters.kubernetes.pod_apps import REPLICAS, App, canary, controlled, controller_of, deployment, until

STEPS = {"stepWeights": [20, 60]}
HOLD = {"steps": [{"weight": 40, "approval": True}]}


def service():
    """Return the Service that the app's owner had before."""
    spec = {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 9898}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"}, "spec": spec}


async def test_a_promotion_passes_each_share_and_never_has_fewer_pods(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(STEPS)) as app:
        app.bring("podinfo:2")
        await app.reach("Succeeded")
        await until(lambda: app.replicas() == (REPLICAS, 0))
    assert {(4, 1), (2, 3)} <= set(app.reached)
    assert min(map(sum, app.reached)) >= REPLICAS
    assert app.reached[-1] == (REPLICAS, 0)
    primary = app.body(DEPLOYMENT, "podinfo-primary")
    assert primary["spec"]["template"]["spec"]["containers"][0]["image"] == "podinfo:2"
    assert primary["metadata"]["annotations"][ANNOTATION] == "weight=0"


async def test_a_rollback_fills_the_primary_first(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(HOLD)) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        await until(lambda: app.replicas() == (3, 2))
        app.command("abort 1")
        await app.reach("Failed")
        await until(lambda: app.replicas() == (REPLICAS, 0))
    assert min(map(sum, app.reached)) >= REPLICAS
    assert app.body(SERVICE)["spec"]["selector"] == {"app": "podinfo-primary"}


async def test_a_deletion_in_a_rollout_gives_the_target_all_replicas_before_the_requests(
    client, api, server, namespace
):
    async with controlled(client, api, server, namespace, canary(HOLD, revertOnDeletion=True), service()) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        await until(lambda: app.replicas() == (3, 2))
        api.delete(CANARY.path(namespace, "podinfo"))
        await until(lambda: app.body(CANARY) is None)
    assert app.body(DEPLOYMENT)["spec"]["replicas"] == REPLICAS
    assert app.body(SERVICE)["spec"]["selector"] == {"app": "podinfo"}
    assert min(map(sum, app.reached)) >= REPLICAS


async def test_workers_that_no_service_leads_to_share_their_work(client, api, server, namespace):
    body = canary(STEPS)
    del body["spec"]["service"]
    async with controlled(client, api, server, namespace, body) as app:
        app.scaled.clear()
        app.bring("worker:2")
        await app.reach("Succeeded")
        await until(lambda: app.replicas() == (REPLICAS, 0))
    assert app.body(SERVICE) is None
    assert {("podinfo", 1), ("podinfo-primary", 4), ("podinfo", 3), ("podinfo-primary", 2)} <= set(app.scaled)
    assert ("podinfo", REPLICAS) not in app.scaled, "the first pods are the first share"


async def test_pods_of_another_workload_are_not_led_to(client, api, server, namespace):
    """A label of a team is in many pods; the Service of the app would lead to all of them."""
    other = deployment("other:1")
    other["metadata"]["name"] = "other"
    other["spec"]["selector"]["matchLabels"] = {"app": "other"}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other", "team": "web"}
    api.create(other, namespace)
    api.create(deployment("podinfo:1"), namespace)
    api.create(canary(STEPS), namespace)
    app = App(api, server, namespace)

    def is_reported():
        conditions = {each["type"]: each for each in app.status().get("conditions", [])}
        return "the Deployment other" in conditions.get("Blocked", {}).get("message", "")

    async with controller_of(client, namespace):
        await until(is_reported)
    assert app.body(DEPLOYMENT, "podinfo-primary") is None
