"""The controller takes over what Flagger leaves: one stored status, no lost revision, no command carried out twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from canarycore import Inputs, Phase, Rung, Status, decide
from canarycore.errors import Conflict
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.controller import make_canaries, open_adapters
from canarycore_kubernetes.observer.followed_canary import FollowedCanary
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import COMMAND
from canarycore_kubernetes.resources.commands import HANDLED
from canarycore_kubernetes.resources.flagger_status import adopt
from canarycore_kubernetes.resources.new_targets import begin_anew, has_only_former_primary
from canarycore_kubernetes.resources.status_codec import MEMORY
from canarycore_runtime.ports import observe_rollout
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until

NAMESPACE = "taken-over"
KEY = f"{NAMESPACE}/podinfo"
PATH = CANARY.path(NAMESPACE, "podinfo")
TARGET = DEPLOYMENT.path(NAMESPACE, "podinfo")
OPTIONS = Options(namespace=NAMESPACE, metrics_server="http://127.0.0.1:9")
LAST_TICK = 1_750_000_000
LONG_BEFORE, LATER = LAST_TICK - 3600, LAST_TICK + 5
COMMANDED = {"f:metadata": {"f:annotations": {f"f:{COMMAND}": {}}}}
REVISED = {"f:spec": {"f:template": {"f:spec": {}}}}


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(manager, seconds, fields):
    return {
        "managedFields": [{"manager": manager, "operation": "Update", "time": rfc3339(seconds), "fieldsV1": fields}]
    }


def revision(image, seconds):
    body = target(NAMESPACE, image)
    return body | {"metadata": body["metadata"] | written("helm", seconds, REVISED)}


def write_as_flagger(api, phase, weight=0, **fields):
    """Replace the status as Flagger does: of the conditions only its own stays."""
    condition = {"type": "Promoted", "status": "Unknown", "reason": phase, "message": "…"}
    status = {"phase": phase, "canaryWeight": weight, "failedChecks": 0, "iterations": 0, "conditions": [condition]}
    status |= {"lastAppliedSpec": "565c8797cb", "lastPromotedSpec": "6d4f58d956"}
    api.patch(f"{PATH}/status", {"status": status | {"lastTransitionTime": rfc3339(LAST_TICK)} | fields})


def give(api, command, seconds):
    metadata = {"annotations": {COMMAND: command}} | written("kubectl-annotate", seconds, COMMANDED)
    api.patch(PATH, {"metadata": metadata})


@pytest.fixture
def left(api):
    """A Canary of Flagger's with a primary, and a target with another revision."""
    body = api.create(canary(NAMESPACE))
    api.create(revision("podinfo:2", LONG_BEFORE))
    primary = target(NAMESPACE, "podinfo:1")
    primary["metadata"] |= {
        "name": "podinfo-primary",
        "ownerReferences": [owner_reference("podinfo", body["metadata"]["uid"])],
    }
    primary["spec"]["selector"]["matchLabels"] = {"app": "podinfo-primary"}
    primary["spec"]["template"]["metadata"]["labels"] = {"app": "podinfo-primary"}
    api.create(primary)
    return api


class Opened:
    def __init__(self, cluster, canaries, parts):
        self.canaries, self.parts, self._cluster = canaries, parts, cluster

    async def decide(self):
        """Decide as a cycle of the controller does."""
        stored = await self.parts.store.load(KEY)
        observation = await observe_rollout(self.parts, stored, now=LAST_TICK + 3600.0)
        return decide(stored.rollout, stored.status, Inputs(observation))

    async def follow(self, api):
        """Wait until the caches have the newest Canary and target."""
        version = api.get(PATH)["metadata"]["resourceVersion"]
        await until(lambda: self.canaries.version(KEY) == version)
        version, cache = api.get(TARGET)["metadata"]["generation"], None
        for view_cache in self._cluster._caches.values():
            cache = view_cache if view_cache.view.kind is DEPLOYMENT else cache
        if cache is not None:
            await until(lambda: cache.get(NAMESPACE, "podinfo").template.generation == version)


@pytest.fixture
async def opened(client, left):
    async with Cluster(client, namespace=NAMESPACE) as cluster:
        canaries = make_canaries(cluster, OPTIONS)
        async with open_adapters(cluster, canaries, OPTIONS) as parts:
            await canaries.keys()
            yield Opened(cluster, canaries, parts)


def has_memory(api):
    return MEMORY in [condition["type"] for condition in api.get(PATH)["status"]["conditions"]]


async def test_a_revision_after_the_takeover_of_a_failed_rollout_is_analysed(opened, api):
    """Nothing but the stored status tells that it is another one: its time of writing is unknown."""
    write_as_flagger(api, "Failed")
    await opened.follow(api)
    assert (await opened.decide()).status.phase is Phase.FAILED
    api.patch(TARGET, revision("podinfo:4", LATER) | {"metadata": {"managedFields": []}})
    await opened.follow(api)
    assert (await opened.decide()).explanation.rule is Rule.STARTED


@pytest.mark.parametrize("phase", [phase.value for phase in Phase if phase is not Phase.TERMINATED])
async def test_the_adopted_status_is_stored_once(opened, api, plane, phase):
    write_as_flagger(api, phase)
    await opened.follow(api)
    mark = plane.audit.mark()
    statuses = {(await opened.parts.store.load(KEY)).status for _ in range(3)}
    assert len(statuses) == 1
    assert has_memory(api)
    assert sum(count for (verb, what), count in plane.audit.since(mark).items() if verb == "patch") == 1


@pytest.mark.parametrize("phase", ["Progressing", "WaitingPromotion"])
async def test_a_revision_between_flagger_and_the_controller_starts_at_weight_0(opened, api, phase):
    write_as_flagger(api, phase, 40)
    api.patch(TARGET, revision("podinfo:4", LATER))
    await opened.follow(api)
    decision = await opened.decide()
    assert (decision.explanation.rule, decision.status.rung) == (Rule.RESTARTED, Rung())


async def test_a_changed_config_between_flagger_and_the_controller_starts_at_weight_0(opened, api):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}
    metadata = {"name": "env", "namespace": NAMESPACE, **written("helm", LATER, {"f:data": {"f:a": {}}})}
    api.create(config | {"metadata": metadata})
    body = revision("podinfo:2", LONG_BEFORE)
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "env"}}]
    write_as_flagger(api, "Progressing", 40)
    api.patch(TARGET, body)
    await opened.follow(api)
    assert (await opened.decide()).explanation.rule is Rule.RESTARTED


async def test_an_analysis_goes_on_at_its_weight(opened, api):
    write_as_flagger(api, "Progressing", 40)
    await opened.follow(api)
    decision = await opened.decide()
    assert decision.status.rung == Rung(weight=40)


@pytest.mark.parametrize("phase", ["Failed", "Progressing", "Promoting", "Succeeded"])
@pytest.mark.parametrize("seconds", [LONG_BEFORE, LATER])
async def test_describe_the_observer_and_the_controller_adopt_the_same_status(opened, api, phase, seconds):
    write_as_flagger(api, phase, 40 if phase == "Progressing" else 0)
    give(api, "abort x", seconds)
    api.patch(TARGET, revision("podinfo:4", seconds))
    await opened.follow(api)
    flaggers = await opened.canaries.load(KEY)
    found = opened.canaries.require(flaggers.rollout)
    seen = await observe_rollout(opened.parts, flaggers, now=LAST_TICK + 3600.0)
    described = adopt(flaggers, found, target=seen.target, primary=seen.primary, routes=seen.routes)
    followed = FollowedCanary(key=KEY)
    followed.move_to(found, None)
    followed.add(flaggers.rollout, seen, found.commanded_at)
    stored = await opened.parts.store.load(KEY)
    assert described.status == stored.status == followed.adopt(found.status, seen)


@pytest.mark.parametrize("is_flaggers", [True, False])
async def test_describe_the_observer_and_the_controller_begin_anew_with_a_new_target(opened, api, is_flaggers):
    write_as_flagger(api, "Succeeded")
    await opened.follow(api)
    if not is_flaggers:
        await opened.parts.store.load(KEY)
    renamed = target(NAMESPACE, "shop:1")
    renamed["metadata"]["name"] = "shop"
    api.create(renamed)
    api.patch(PATH, {"spec": {"targetRef": {"name": "shop"}}})
    version = api.get(PATH)["metadata"]["resourceVersion"]
    await until(lambda: opened.canaries.version(KEY) == version)
    before = await opened.canaries.load(KEY)
    found = opened.canaries.require(before.rollout)
    assert found.is_flagger_status is is_flaggers
    seen = await observe_rollout(opened.parts, before, now=LAST_TICK + 3600.0)
    described = adopt(before, found, target=seen.target, primary=seen.primary, routes=seen.routes)
    described = await begin_anew(described, seen.primary, opened.parts.workload)
    followed = FollowedCanary(key=KEY)
    followed.move_to(found, None)
    followed.add(before.rollout, seen, found.commanded_at)
    followed.has_new_target |= await has_only_former_primary(opened.parts.workload, before.rollout, seen.primary)
    stored = await opened.parts.store.load(KEY)
    assert described.status == stored.status == followed.adopt(found.status, seen) == Status()


# commands -----------------------------------------------------------------------------------------------------------


async def handle(opened, api, command):
    """Let the controller handle a command, as a cycle does."""
    give(api, command, LATER)
    await opened.follow(api)
    stored = await opened.parts.store.load(KEY)
    observation = await observe_rollout(opened.parts, stored, now=LAST_TICK + 3600.0)
    decision = decide(stored.rollout, stored.status, Inputs(observation))
    assert decision.explanation.rule is Rule.ABORTED
    await opened.parts.store.commit(KEY, decision.status, stored.version)


async def test_a_command_is_not_carried_out_again_after_flagger_has_replaced_the_status(opened, api):
    write_as_flagger(api, "Progressing", 20)
    await handle(opened, api, "abort x")
    write_as_flagger(api, "Progressing", 40, lastTransitionTime=rfc3339(LAST_TICK - 60))
    await opened.follow(api)
    assert (await opened.decide()).explanation.rule is not Rule.ABORTED


async def test_a_command_is_not_carried_out_again_after_its_status_is_lost(opened, api):
    write_as_flagger(api, "Progressing", 20)
    await handle(opened, api, "abort x")
    api.patch(
        f"{PATH}/status",
        {"status": {"phase": None, "lastAppliedSpec": None, "lastPromotedSpec": None, "conditions": None}},
    )
    await opened.follow(api)
    assert (await opened.parts.store.load(KEY)).status.handled == "abort x"


async def test_a_command_older_than_the_rollout_of_flagger_is_refused(opened, api):
    give(api, "abort x", LONG_BEFORE)
    write_as_flagger(api, "Progressing", 20)
    await opened.follow(api)
    assert (await opened.decide()).explanation.rule is not Rule.ABORTED
    (notice,) = (await opened.parts.store.load(KEY)).status.outbox
    assert notice.kind is NoticeKind.REFUSED
    assert "Refused command abort: it is not surely newer" in notice.text


async def test_a_command_between_flagger_and_the_controller_is_carried_out(opened, api):
    write_as_flagger(api, "Progressing", 20)
    give(api, "abort x", LATER)
    await opened.follow(api)
    assert (await opened.decide()).explanation.rule is Rule.ABORTED


async def test_a_command_that_came_with_a_new_canary_is_refused(opened, api):
    give(api, "promote x", LATER)
    await opened.follow(api)
    status = (await opened.parts.store.load(KEY)).status
    assert (status.since, status.handled) == (None, "promote x")


async def test_a_command_whose_commit_was_lost_is_carried_out_later(opened, api, monkeypatch):
    """The record is there, but the status is still the one before."""
    write_as_flagger(api, "Progressing", 20)
    give(api, "abort x", LATER)
    await opened.follow(api)
    stored, merge = await opened.parts.store.load(KEY), opened._cluster.merge

    async def lose_status(*args, subresource="", **options):
        if subresource == "status":
            raise Conflict("lost")
        return await merge(*args, **options)

    monkeypatch.setattr(opened._cluster, "merge", lose_status)
    with pytest.raises(Conflict, match="lost"):
        await opened.parts.store.commit(KEY, stored.status.but(handled="abort x"), stored.version)
    monkeypatch.undo()
    await opened.follow(api)
    assert "abort x" in api.get(PATH)["metadata"]["annotations"][HANDLED]
    assert (await opened.decide()).explanation.rule is Rule.ABORTED


async def test_a_command_that_only_the_status_records_gets_its_record(opened, api):
    write_as_flagger(api, "Progressing", 20)
    await handle(opened, api, "abort x")
    api.patch(PATH, {"metadata": {"annotations": {HANDLED: None}}})
    await opened.follow(api)
    await opened.parts.store.load(KEY)
    assert api.get(PATH)["metadata"]["annotations"][HANDLED] == "- abort x"
