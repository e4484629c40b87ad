"""An app under a controller on an API server in memory, with the pods of both sides at each change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from tests.cluster.rollouts import hastened
from tests.controlplane.in_memory.endpoints import SLICES

REPLICAS = 5
LABELS = {"app": "podinfo", "team": "web"}


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


async def until(is_reached):
    """Wait until a condition holds on the server, which runs in another thread."""
    async with asyncio.timeout(40):
        while not is_reached():  # noqa: ASYNC110 - no event of this loop says so
            await asyncio.sleep(0.05)


@asynccontextmanager
async def controller_of(client, namespace):
    """Run a controller, with an empty memory, for a namespace."""
    with hastened():
        async with asyncio.TaskGroup() as group:
            options = Options(namespace=namespace, listen="127.0.0.1", port=0)
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                yield
            finally:
                running.cancel()


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

    async def reach(self, phase, weight=0):
        await until(lambda: (self.status().get("phase"), self.status().get("canaryWeight", 0)) == (phase, weight))


@asynccontextmanager
async def controlled(client, api, server, namespace, body, *others):
    """Run a controller with an app that is initialised."""
    app = App(api, server, namespace)
    for each in (deployment("podinfo:1"), *others, body):
        api.create(each, namespace)
    async with controller_of(client, namespace):
        await app.reach("Initialized")
        await until(lambda: app.replicas() == (REPLICAS, 0))
        app.reached.clear()
        yield app
