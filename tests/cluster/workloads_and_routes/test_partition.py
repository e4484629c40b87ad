"""Rollouts of a StatefulSet by its partition, with the controllers of Kubernetes and ours in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from canarycore_kubernetes.api.kinds import CANARY, EVENT, POD
from canarycore_kubernetes.api.metadata import REVISION
from canarycore_kubernetes.scaling.partition import ALL_STABLE
from canarycore_kubernetes.scaling.stateful_sets import MARKS, REVISION_OF_POD
from canarycore_planes.control_plane.api import eventually
from canarycore_planes.control_plane.kubelet import PodRule
from tests.cluster.databases import LABELS, StoredDatabase, canary, service, stateful_set, tag
from tests.cluster.rollouts import Controllers

REPLICAS = 4
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
STEPS = {"stepWeights": [25, 50]}
HOLD = {"steps": [{"weight": 25}, {"weight": 50, "approval": True}]}
BUDGET = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/db"


def budget(least):
    spec = {"minAvailable": least, "selector": {"matchLabels": LABELS}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db"}, "spec": spec}


class Database(StoredDatabase):
    """A StatefulSet with its Services, under a Canary. `least` is the fewest ready endpoints since the last `mark`."""

    def __init__(self, api, namespace):
        super().__init__(api, namespace)
        self.least, self.most = REPLICAS, {}
        self._ended = threading.Event()

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
            return self.is_at(phase, weight) and (images is None or self.images() == images)

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


def is_ready(body):
    conditions = body["status"].get("conditions", ())
    return "deletionTimestamp" not in body["metadata"] and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )


pytestmark = pytest.mark.usefixtures("own_definitions")


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
        for body in (service(), target or stateful_set(REPLICAS), canary(analysis, **spec)):
            api.create(body, namespace)
        process = start()
        database.reach("Initialized", images="1" * REPLICAS)
        eventually(lambda: database.partition == ALL_STABLE)
        with database.watched():
            yield database, process

    return begin


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_promotion_passes_each_share_and_leaves_one_pod_out_at_most(begun, policy):
    with begun(HOLD, target=stateful_set(REPLICAS, podManagementPolicy=policy)) as (database, _):
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


def test_a_rollback_gives_every_pod_its_stable_revision_again_one_by_one(begun):
    with begun(HOLD) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        database.command("abort 1")
        database.reach("Failed", images="1111")
        eventually(lambda: database.partition == ALL_STABLE)
    assert database.least >= REPLICAS - 1
    assert database.most["2"] == 2
    assert database.body["status"]["updateRevision"] != database.body["status"]["currentRevision"]


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_revision_that_never_gets_ready_is_taken_back(begun, plane, namespace, policy):
    """Kubernetes waits for a broken pod for ever, even where its template is the former one again."""
    plane.kubelet.rules(PodRule(namespace=namespace, image="db:2", mode="crash"))
    target = stateful_set(REPLICAS, podManagementPolicy=policy)
    with begun(STEPS, target=target, progressDeadlineSeconds=3) as (database, _):
        database.bring("db:2")
        database.reach("Failed", images="1111")
        eventually(lambda: database.partition == ALL_STABLE)
    assert database.least >= REPLICAS - 1
    assert database.most["2"] == 1


@pytest.mark.parametrize(
    ("command", "phase", "images"), [("approve 1", "Succeeded", "2222"), ("abort 1", "Failed", "1111")]
)
def test_another_process_goes_on_after_a_kill(begun, start, command, phase, images):
    with begun(HOLD) as (database, process):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        process.kill()
        process.join()
        second = start()
        database.command(command)
        eventually(lambda: database.images() != "1122", 60)
        second.kill()  # in the middle of the way to the end
        second.join()
        start()
        database.reach(phase, images=images)
        eventually(lambda: database.partition == ALL_STABLE)
    assert database.least >= REPLICAS - 1


def test_an_apply_that_resets_the_partition_is_repaired_and_reported(begun, plane, namespace):
    with begun(HOLD) as (database, _):
        database.set_partition(0)
        eventually(lambda: database.partition == ALL_STABLE)
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        database.mark()
        plane.kubelet.rules(PodRule(namespace=namespace, image="db:2", after=5))
        database.set_partition(0)
        eventually(lambda: database.partition == 2)
        eventually(lambda: any("at 1/99, setting 50/50" in text for text in database.events))
        database.until("1122")
        database.set_partition(ALL_STABLE)
        eventually(lambda: database.partition == 2)
        database.command("abort 1")
        database.reach("Failed", images="1111")
    assert database.least >= REPLICAS - 1
    assert database.most["2"] <= 3, "Kubernetes replaces one pod before the repair"


def test_an_apply_with_a_revision_and_a_partition_is_held_behind_the_gate(begun, plane, namespace):
    """Kubernetes may have begun with the first pod, which goes back."""
    plane.kubelet.rules(PodRule(namespace=namespace, image="db:2", after=5))
    gate = {"webhooks": [{"name": "gate", "type": "confirm-rollout", "url": "http://127.0.0.1:9/closed"}]}
    with begun(STEPS | gate) as (database, _):
        database.bring("db:2", updateStrategy={"rollingUpdate": {"partition": 0}})
        database.reach("Waiting", images="1111")
        assert database.partition == ALL_STABLE
    assert database.most.get("2", 0) <= 1
    assert database.least >= REPLICAS - 1


def test_a_later_revision_replaces_no_pod_that_the_first_one_has_not(begun):
    with begun(HOLD) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        database.bring("db:3")
        eventually(lambda: database.status["lastAppliedSpec"] == database.body["status"]["updateRevision"])
        database.reach("Progressing", 50, "1133")
        database.command("approve 1")
        database.reach("Succeeded", images="3333")
    assert database.least >= REPLICAS - 1


def test_a_revision_that_comes_in_a_promotion_is_tested_too(begun, plane, namespace):
    """The promotion is not complete, so the stable revision is the former one again."""
    with begun(HOLD) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        slow = [PodRule(namespace=namespace, image=image, after=5) for image in ("db:2", "db:3")]
        plane.kubelet.rules(*slow)
        database.command("approve 1")
        eventually(lambda: database.partition == 0, 60)
        database.bring("db:3")
        database.reach("Progressing", 50, "1133")
        assert database.most["3"] <= 2
        database.command("abort 2")
        database.reach("Failed", images="1111")
    assert database.least >= REPLICAS - 1


def test_the_owner_may_scale_in_a_rollout(begun):
    with begun(HOLD) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        database.patch(replicas=6)
        database.reach("Progressing", 50, "111222")
        database.patch(replicas=2)
        database.reach("Progressing", 50, "12")
        database.command("approve 1")
        database.reach("Succeeded", images="22")
        database.patch(replicas=3)
        database.until("222")


def test_a_disruption_budget_delays_the_way_back_and_is_reported(begun, api, namespace):
    with begun(HOLD) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        api.create(budget(REPLICAS), namespace)
        eventually(lambda: "currentHealthy" in api.get(BUDGET.format(namespace)).get("status", {}))
        database.command("abort 1")
        eventually(lambda: any("disruption budget" in each["message"] for each in database.status["conditions"]), 60)
        assert database.images() == "1122"
        api.patch(BUDGET.format(namespace), {"spec": {"minAvailable": REPLICAS - 1}})
        database.reach("Failed", images="1111")
    assert database.least >= REPLICAS - 1


def test_a_deleted_canary_gives_the_partition_back(begun, api, namespace):
    target = stateful_set(REPLICAS, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    with begun(HOLD, target=target, revertOnDeletion=True) as (database, _):
        database.bring("db:2")
        database.reach("Progressing", 50, "1122")
        api.delete(CANARY.path(namespace, "db"))
        eventually(lambda: api.get(CANARY.path(namespace, "db")) is None, 60)
        database.until("1222")
    assert database.partition == 1
    assert not set(database.body["metadata"].get("annotations", {})) & set(MARKS)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"replicas": 1}, "spec.replicas: found 1, expected 2"),
        ({"updateStrategy": {"type": "OnDelete"}}, "expected RollingUpdate"),
    ],
)
def test_an_unsound_stateful_set_is_left_alone_and_reported(api, namespace, start, spec, text):
    database = Database(api, namespace)
    for body in (stateful_set(REPLICAS, **spec), canary(STEPS)):
        api.create(body, namespace)
    start()
    eventually(lambda: any(text in each["message"] for each in database.status.get("conditions", ())), 60)
    assert not database.body["metadata"].get("annotations")


def test_nothing_but_the_stateful_set_and_its_pods_is_touched(begun, plane, namespace):
    mark = plane.audit.mark()
    with begun(STEPS) as (database, _):
        database.bring("db:2")
        database.reach("Succeeded", images="2222")
    written = {
        (found.verb, found.resource)
        for found in plane.audit.requests(mark, user=f"system:serviceaccount:{namespace}:canarycore")
        if found.verb not in {"get", "list", "watch"}
    }
    own = {"canaries.flagger.app", "canaries.flagger.app/status", "events"}
    own.add("selfsubjectaccessreviews.authorization.k8s.io")  # a question
    assert {resource for _, resource in written} - own == {"statefulsets.apps"}
    assert all(pod["metadata"]["labels"][REVISION_OF_POD] for pod in database.api.list(POD.path(namespace)))
