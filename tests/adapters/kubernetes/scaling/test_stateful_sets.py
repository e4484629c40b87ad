"""Whole rollouts of a StatefulSet on an API server in memory, with the pods of each revision at each change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from canarycore_kubernetes.api.kinds import CANARY, POD, STATEFUL_SET
from canarycore_kubernetes.api.metadata import REVISION
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.scaling.partition import ALL_STABLE
from canarycore_kubernetes.scaling.stateful_sets import MARKS
from tests.cluster.rollouts import hastened
from tests.controlplane.in_memory.endpoints import SLICES

REPLICAS = 5
LABELS = {"app": "db"}
STEPS = {"stepWeights": [20, 60]}
HOLD = {"steps": [{"weight": 40, "approval": True}]}


def stateful_set(image="db:1", **spec):
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "db", "image": image}]}}
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": LABELS},
        "serviceName": "db",
        "template": template,
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}


def service():
    spec = {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}


def canary(analysis, **spec):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "db"},
        "spec": {
            "provider": "replicas",
            "targetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"},
            "analysis": {"interval": "1s", "threshold": 2, "drain": "0s", **analysis},
            **spec,
        },
    }


class Database:
    """A StatefulSet under a controller, its images by the ordinals, and its ready endpoints at each change."""

    def __init__(self, api, server, namespace):
        self.api, self.server, self.namespace = api, server, namespace
        self.images, self.endpoints = set(), []
        server.objects.followers.append(self.follow)

    def follow(self, resource, key, body):
        """Take up a change. It runs in the server's thread."""
        if resource == ("", "pods"):
            self.images.add(self._images(self.server.objects.table(resource).objects.values()))
        if resource == SLICES and body is not None:
            self.endpoints.append(len(body["endpoints"]))

    def _images(self, pods):
        own = [body for body in pods if body["metadata"]["namespace"] == self.namespace]
        own.sort(key=lambda body: body["metadata"]["name"])
        return "".join(body["spec"]["containers"][0]["image"].rpartition(":")[2] for body in own)

    @property
    def now(self):
        return self._images(self.api.list(POD.path(self.namespace)))

    @property
    def body(self):
        return self.api.get(STATEFUL_SET.path(self.namespace, "db"))

    @property
    def partition(self):
        return self.body["spec"]["updateStrategy"]["rollingUpdate"]["partition"]

    @property
    def status(self):
        return (self.api.get(CANARY.path(self.namespace, "db")) or {}).get("status", {})

    def patch(self, spec):
        self.api.patch(STATEFUL_SET.path(self.namespace, "db"), {"spec": spec})

    def bring(self, image):
        self.patch({"template": {"spec": {"containers": [{"name": "db", "image": image}]}}})

    def command(self, text):
        patch = {"metadata": {"annotations": {"canarycore/command": text}}}
        self.api.patch(CANARY.path(self.namespace, "db"), patch)

    async def until(self, is_reached):
        async with asyncio.timeout(40):
            while not is_reached():  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.05)

    async def reach(self, phase, weight=0, images=""):
        def is_there():
            status = self.status
            there = (status.get("phase"), status.get("canaryWeight", 0)) == (phase, weight)
            return there and self.now == (images or self.now)

        await self.until(is_there)


@asynccontextmanager
async def controlled(client, api, server, namespace, body, target=None):
    """Run a controller with a StatefulSet that is initialised."""
    database = Database(api, server, namespace)
    for each in (service(), target or stateful_set(), body):
        api.create(each, namespace)
    with hastened():
        async with asyncio.TaskGroup() as group:
            options = Options(namespace=namespace, listen="127.0.0.1", port=0)
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                await database.reach("Initialized", images="1" * REPLICAS)
                await database.until(lambda: database.partition == ALL_STABLE)
                database.images.clear()
                database.endpoints.clear()
                yield database
            finally:
                running.cancel()


async def test_a_promotion_passes_each_share_and_leaves_the_partition_at_rest(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(STEPS)) as database:
        database.bring("db:2")
        await database.reach("Succeeded", images="22222")
        await database.until(lambda: database.partition == ALL_STABLE)
    assert {"11112", "11222"} <= database.images
    assert min(database.endpoints) >= REPLICAS - 1
    assert database.body["metadata"]["annotations"][REVISION] == database.body["status"]["currentRevision"]


async def test_a_rollback_takes_the_pods_back_one_by_one(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(HOLD)) as database:
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        database.command("abort 1")
        await database.reach("Failed", images="11111")
        await database.until(lambda: database.partition == ALL_STABLE)
    assert min(database.endpoints) >= REPLICAS - 1


async def test_a_broken_revision_is_taken_back_where_kubernetes_would_wait_for_ever(client, api, server, namespace):
    server.stateful_sets.is_ready = lambda image: image != "db:2"
    body = canary(STEPS, progressDeadlineSeconds=2)
    async with controlled(client, api, server, namespace, body) as database:
        database.bring("db:2")
        await database.reach("Failed", images="11111")
    assert database.images <= {"1111", "11111", "11112"}


async def test_a_partition_of_somebody_else_is_set_back_at_rest_and_in_a_rollout(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(HOLD)) as database:
        database.patch({"updateStrategy": {"rollingUpdate": {"partition": 0}}})
        await database.until(lambda: database.partition == ALL_STABLE)
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        database.patch({"updateStrategy": {"rollingUpdate": {"partition": 4}}})
        await database.until(lambda: database.partition == 3)


async def test_a_deletion_gives_the_owners_partition_back(client, api, server, namespace):
    target = stateful_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    body = canary(HOLD, revertOnDeletion=True)
    async with controlled(client, api, server, namespace, body, target) as database:
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        api.delete(CANARY.path(namespace, "db"))
        await database.until(lambda: not database.status)
        await database.until(lambda: database.now == "12222")
    assert database.partition == 1
    assert not set(database.body["metadata"].get("annotations", {})) & set(MARKS)


async def test_a_canary_that_has_the_copy_of_another_target_is_blocked(client, api, server, namespace):
    database = Database(api, server, namespace)
    stored = api.create(canary(STEPS), namespace)
    owner = {**{name: stored[name] for name in ("apiVersion", "kind")}, "name": "db", "uid": stored["metadata"]["uid"]}
    copy = stateful_set() | {"kind": "Deployment"}
    copy["metadata"] = {"name": "former-primary", "ownerReferences": [owner | {"controller": True}]}
    api.create(copy, namespace)
    api.create(stateful_set(), namespace)

    def is_reported():
        conditions = {each["type"]: each for each in database.status.get("conditions", [])}
        return "the Deployment former-primary of a former target" in conditions.get("Blocked", {}).get("message", "")

    with hastened():
        async with asyncio.TaskGroup() as group:
            options = Options(namespace=namespace, listen="127.0.0.1", port=0)
            running = group.create_task(run_controller(client, options, version="1"))
            try:
                await database.until(is_reported)
            finally:
                running.cancel()
    assert not database.body["metadata"].get("annotations")
