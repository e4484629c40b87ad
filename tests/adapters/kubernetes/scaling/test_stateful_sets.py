"""Whole rollouts of a StatefulSet on an API server in memory, with the pods of each revision at each change."""

from __future__ import annotations

from contextlib import asynccontextmanager

from canarycore_kubernetes.api.kinds import CANARY, POD
from canarycore_kubernetes.api.metadata import REVISION
from canarycore_kubernetes.scaling.partition import ALL_STABLE
from canarycore_kubernetes.scaling.stateful_sets import MARKS
from tests.adapters.kubernetes.pod_apps import controller_of, until
from tests.cluster.databases import StoredDatabase, canary, service, stateful_set, tag
from tests.controlplane.in_memory.endpoints import SLICES

REPLICAS = 5
STEPS = {"stepWeights": [20, 60]}
HOLD = {"steps": [{"weight": 40, "approval": True}]}


class Database(StoredDatabase):
    """A StatefulSet under a controller, its images by the ordinals, and its ready endpoints at each change."""

    def __init__(self, api, server, namespace):
        super().__init__(api, namespace)
        self.server = server
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
        return "".join(map(tag, own))

    @property
    def now(self):
        return self._images(self.api.list(POD.path(self.namespace)))

    async def reach(self, phase, weight=0, images=""):
        await until(lambda: self.is_at(phase, weight) and self.now == (images or self.now))


@asynccontextmanager
async def controlled(client, api, server, namespace, body, target=None):
    """Run a controller with a StatefulSet that is initialised."""
    database = Database(api, server, namespace)
    for each in (service(), target or stateful_set(REPLICAS), body):
        api.create(each, namespace)
    async with controller_of(client, namespace):
        await database.reach("Initialized", images="1" * REPLICAS)
        await until(lambda: database.partition == ALL_STABLE)
        database.images.clear()
        database.endpoints.clear()
        yield database


async def test_a_promotion_passes_each_share_and_leaves_the_partition_at_rest(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(STEPS)) as database:
        database.bring("db:2")
        await database.reach("Succeeded", images="22222")
        await until(lambda: database.partition == ALL_STABLE)
    assert {"11112", "11222"} <= database.images
    assert min(database.endpoints) >= REPLICAS - 1
    assert database.body["metadata"]["annotations"][REVISION] == database.body["status"]["currentRevision"]


async def test_a_rollback_takes_the_pods_back_one_by_one(client, api, server, namespace):
    async with controlled(client, api, server, namespace, canary(HOLD)) as database:
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        database.command("abort 1")
        await database.reach("Failed", images="11111")
        await until(lambda: database.partition == ALL_STABLE)
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
        database.set_partition(0)
        await until(lambda: database.partition == ALL_STABLE)
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        database.set_partition(4)
        await until(lambda: database.partition == 3)


async def test_a_deletion_gives_the_owners_partition_back(client, api, server, namespace):
    target = stateful_set(REPLICAS, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    body = canary(HOLD, revertOnDeletion=True)
    async with controlled(client, api, server, namespace, body, target) as database:
        database.bring("db:2")
        await database.reach("Progressing", 40, "11122")
        api.delete(CANARY.path(namespace, "db"))
        await until(lambda: not database.status)
        await until(lambda: database.now == "12222")
    assert database.partition == 1
    assert not set(database.body["metadata"].get("annotations", {})) & set(MARKS)


async def test_a_canary_that_has_the_copy_of_another_target_is_blocked(client, api, server, namespace):
    database = Database(api, server, namespace)
    stored = api.create(canary(STEPS), namespace)
    owner = {**{name: stored[name] for name in ("apiVersion", "kind")}, "name": "db", "uid": stored["metadata"]["uid"]}
    copy = stateful_set(REPLICAS) | {"kind": "Deployment"}
    copy["metadata"] = {"name": "former-primary", "ownerReferences": [owner | {"controller": True}]}
    api.create(copy, namespace)
    api.create(stateful_set(REPLICAS), namespace)

    def is_reported():
        conditions = {each["type"]: each for each in database.status.get("conditions", [])}
        return "the Deployment former-primary of a former target" in conditions.get("Blocked", {}).get("message", "")

    async with controller_of(client, namespace):
        await until(is_reported)
    assert not database.body["metadata"].get("annotations")
