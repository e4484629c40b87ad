"""Rollouts of a StatefulSet by its partition, with the controllers of Kubernetes and ours in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from canarycore_kubernetes.api.kinds import CANARY, EVENT, POD, STATEFUL_SET
from canarycore_kubernetes.api.metadata import REVISION
from canarycore_kubernetes.deploy.objects import definitions
from canarycore_kubernetes.scaling.partition import ALL_STABLE
from canarycore_kubernetes.scaling.stateful_sets import MARKS, REVISION_OF_POD
from tests.cluster.rollouts import Controllers
from tests.controlplane import crds
from tests.controlplane.api import ApiError, eventually
from tests.controlplane.real.kubelet import Rule

REPLICAS = 4
LABELS = {"app": "db"}
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
STEPS = {"stepWeights": [25, 50]}
HOLD = {"steps": [{"weight": 25}, {"weight": 50, "approval": True}]}
BUDGET = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/db"


def stateful_set(image="db:1", **spec):
    pod = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "db", "image": image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "replicas": REPLICAS,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            **spec,
        },
    }


def service():
    spec = {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}


def budget(least):
    spec = {"minAvailable": least, "selector": {"matchLabels": LABELS}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db"}, "spec": spec}


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
    """A StatefulSet with its Services, under a Canary. `least` is the fewest ready endpoints since the last `mark`."""

    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace
        self.least, self.most = REPLICAS, {}
        self._images = {}
        self._ended = threading.Event()

    # the owner --------------------------------------------------------------------------------------------------

    def bring(self, image, **spec):
        containers = [{"name": "db", "image": image}]
        self.patch({"spec": {"template": {"spec": {"containers": containers}}, **spec}})

    def patch(self, patch):
        self.api.patch(STATEFUL_SET.path(self.namespace, "db"), patch)

    def set_partition(self, partition):
        self.patch({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}})

    def command(self, text):
        patch = {"metadata": {"annotations": {"canarycore/command": text}}}
        self.api.patch(CANARY.path(self.namespace, "db"), patch)

    # what there is ----------------------------------------------------------------------------------------------

    @property
    def body(self):
        return self.api.get(STATEFUL_SET.path(self.namespace, "db"))

    @property
    def partition(self):
        return self.body["spec"]["updateStrategy"]["rollingUpdate"]["partition"]

    @property
    def status(self):
        return (self.api.get(CANARY.path(self.namespace, "db")) or {}).get("status", {})

    @property
    def events(self):
        return [body["message"] for body in self.api.list(EVENT.path(self.namespace))]

    def images(self):
        """Return the images of the ready pods in the order of their ordinals, shortened to their tags."""
        found = sorted(self.api.list(POD.path(self.namespace)), key=lambda body: body["metadata"]["name"])
        return "".join(tag(body) for body in found if is_ready(body))

    # waiting ----------------------------------------------------------------------------------------------------

    def reach(self, phase, weight=0, images=None):
        def is_there():
            status = self.status
            there = (status.get("phase"), status.get("canaryWeight", 0)) == (phase, weight)
            return there and (images is None or self.images() == images)

        try:
            eventually(is_there, 60)
        except AssertionError as error:
            raise AssertionError(f"{phase} {weight} {images}: {self.status} {self.images()} {self.events}") from error

    def until(self, images):
        eventually(lambda: self.images() == images, 60)

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def mark(self):
        self.least, self.most = REPLICAS, {}

    def _watch(self):
        """Count the ready endpoints, and the pods of each image, again and again."""
        while not self._ended.is_set():
            slices = self.api.list(SLICES.format(self.namespace))
            endpoints = [each for body in slices for each in body.get("endpoints") or ()]
            self.least = min(self.least, sum(each["conditions"].get("ready") is True for each in endpoints))
            pods = self.api.list(POD.path(self.namespace))
            for each in {tag(body) for body in pods}:
                self.most[each] = max(self.most.get(each, 0), sum(tag(body) == each for body in pods))
            time.sleep(0.02)


def tag(body):
    return body["spec"]["containers"][0]["image"].rpartition(":")[2]


def is_ready(body):
    conditions = body["status"].get("conditions", ())
    return "deletionTimestamp" not in body["metadata"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )


@pytest.fixture(scope="module", autouse=True)
def _own_definitions(plane):
    """Let the API server take the provider `replicas`, which Flagger's definition of Canaries does not have."""
    for body in definitions():
        plane.api.apply(body)
    eventually(lambda: _takes_stateful_sets(plane.api))
    yield
    crds.install(plane.api, "flagger")


def _takes_stateful_sets(api):
    body = canary(STEPS) | {"metadata": {"name": "probe"}}
    try:
        api.create(body, "default")
    except ApiError:
        return False
    api.delete(CANARY.path("default", "probe"))
    return True


@pytest.fixture
def controllers(plane, installed, tmp_path):
    made = Controllers(plane=plane, access=installed("replicas"), metrics="http://127.0.0.1:9", folder=tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.join()


@pytest.fixture
def start(controllers, namespace, proxy):
    return lambda: controllers.start(namespace, proxy)


@pytest.fixture
def begun(api, namespace, start):
    """Return a database whose rollout is initialised, and the process of its controller."""

    @contextmanager
    def begin(analysis, *, target=None, **spec):
        database = Database(api, namespace)
        for body in (service(), target or stateful_set(), canary(analysis, **spec)):
            api.create(body, namespace)
        process = start()
        database.reach("Initialized", images="1" * REPLICAS)
        eventually(lambda: database.partition == ALL_STABLE)
        with database.watched():
            yield database, process

    return begin


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_promotion_passes_each_share_and_leaves_one_pod_out_at_most(begun, policy):
    with begun(HOLD, target=stateful_set(podManagementPolicy=policy)) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        assert database.partition == 2
        assert database.most["2"] == 2
        database.command("approve 1")
        database.reach("Succeeded", images="2222")
        eventually(lambda: database.partition == ALL_STABLE)
    assert database.least >= REPLICAS - 1
    body = database.body
    assert body["metadata"]["annotations"][REVISION] == body["status"]["currentRevision"]
