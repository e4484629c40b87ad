"""Whole rollouts by numbers of pods on an API server in memory, with the endpoints of the Service at each change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, SERVICE
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_runtime.workloads.pod_split import ANNOTATION
from tests.cluster.rollouts import hastened
from tests.controlplane.in_memory.endpoints import SLICES

REPLICAS = 5
LABELS = {"app": "podinfo", "team": "web"}
STEPS = {"stepWeights": [20, 60]}
HOLD = {"steps": [{"weight": 40, "approval": True}]}


def deployment(image):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "podinfo"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": "podinfo"}},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }


def canary(analysis, **spec):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo"},
        "spec": {
            "provider": "replicas",
            "targetRef": target,
            "service": {"port": 9898},
            "analysis": {"interval": "1s", "threshold": 2, "drain": "0s", **analysis},
            **spec,
        },
    }


def service():
    """Return the Service that the app's owner had before."""
    spec = {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 9898}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"}, "spec": spec}


class App:
    """An app under a controller, and the ready pods of both sides behind its Service at each change."""

    def __init__(self, api, server, namespace):
        self.api, self.namespace = api, namespace
        self.reached = []
        self.scaled = []
        server.objects.followers.append(self.follow)

    def follow(self, resource, key, body):
        """Take up a change. It runs in the server's thread."""
        if resource == SLICES and key == (self.namespace, "podinfo-slice") and body is not None:
            names = [endpoint["targetRef"]["name"].rpartition("-")[0] for endpoint in body["endpoints"]]
            self.reached.append((names.count("podinfo-primary"), names.count("podinfo")))
        if resource == ("apps", "deployments") and key[0] == self.namespace:
            self.scaled.append((key[1], body["spec"]["replicas"] if body is not None else 0))

    def body(self, kind, name="podinfo"):
        return self.api.get(kind.path(self.namespace, name))

    def replicas(self):
        return tuple(self.body(DEPLOYMENT, name)["spec"]["replicas"] for name in ("podinfo-primary", "podinfo"))

    def status(self):
        return (self.body(CANARY) or {}).get("status", {})

    def bring(self, image):
        containers = [{"name": "app", "image": image}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        self.api.patch(DEPLOYMENT.path(self.namespace, "podinfo"), patch)

    def command(self, text):
        patch = {"metadata": {"annotations": {"canarycore/command": text}}}
        self.api.patch(CANARY.path(self.namespace, "podinfo"), patch)

    async def until(self, is_reached):
        async with asyncio.timeout(40):
            while not is_reached():  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.05)

    async def reach(self, phase, weight=0):
        await self.until(lambda: (self.status().get("phase"), self.status().get("canaryWeight", 0)) == (phase, weight))


@asynccontextmanager
async def controlled(client, api, server, namespace, body, *others):
    """Run a controller with an app that is initialised."""
    app = App(api, server, namespace)
    for each in (deployment("podinfo:1"), *others, body):
        api.create(each, namespace)
    with hastened():
        async with asyncio.TaskGroup() as group:
            options = Options(namespace=namespace, listen="127.0.0.1", port=0)
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                await app.reach("Initialized")
                await app.until(lambda: app.replicas() == (REPLICAS, 0))
                app.reached.clear()
                yield app
            finally:
                running.cancel()


async def test_a_promotion_passes_each_share_and_never_has_fewer_pods(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(STEPS)) as app:
        app.bring("podinfo:2")
        await app.reach("Succeeded")
        await app.until(lambda: app.replicas() == (REPLICAS, 0))
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
        await app.until(lambda: app.replicas() == (3, 2))
        app.command("abort 1")
        await app.reach("Failed")
        await app.until(lambda: app.replicas() == (REPLICAS, 0))
    assert min(map(sum, app.reached)) >= REPLICAS
    assert app.body(SERVICE)["spec"]["selector"] == {"app": "podinfo-primary"}


async def test_a_deletion_in_a_rollout_gives_the_target_all_replicas_before_the_requests(
    client, api, server, namespace
):
    async with controlled(client, api, server, namespace, canary(HOLD, revertOnDeletion=True), service()) as app:
        app.bring("podinfo:2")
        await app.reach("Progressing", 40)
        await app.until(lambda: app.replicas() == (3, 2))
        api.delete(CANARY.path(namespace, "podinfo"))
        await app.until(lambda: app.body(CANARY) is None)
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
        await app.until(lambda: app.replicas() == (REPLICAS, 0))
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

    with hastened():
        async with asyncio.TaskGroup() as group:
            options = Options(namespace=namespace, listen="127.0.0.1", port=0)
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                await app.until(is_reported)
            finally:
                running.cancel()
    assert app.body(DEPLOYMENT, "podinfo-primary") is None
