"""Canaries as rollouts on any API server, under Flagger's own CustomResourceDefinition."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from canarycore import CommandKind, HookType, Phase, Reason, Rung, Status, Verdict
from canarycore.errors import Conflict, WorldError
from canarycore.notices import Notice, NoticeKind
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, EVENT, METRIC_TEMPLATE
from canarycore_kubernetes.resources.canaries import Canaries, send_command
from canarycore_kubernetes.resources.events import Events
from canarycore_kubernetes.resources.store import FINALIZER, CanaryStore
from canarycore_kubernetes.telemetry.dropped_fields import DROPPED
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.testing.contracts import StatusStoreContract
from tests.cluster.patience import until


def canary(namespace, name="podinfo", **spec):
    analysis = {"interval": "10s", "threshold": 3, "stepWeight": 20, "maxWeight": 60}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRef": target, "service": {"port": 80}, "analysis": analysis, **spec},
    }


class Opened:
    """A store of one process, and its parts."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.canaries = Canaries(cluster)
        self.store = CanaryStore(cluster, self.canaries, Events(cluster.client, time.time))

    async def loaded(self, key, wanted=lambda _: True):
        """Return the stored rollout when the condition holds: writes of others take a moment to arrive."""

        async def look():
            stored = await self.store.load(key)
            return stored if stored is not None and wanted(stored) else None

        return await until(look)

    async def gone(self, key):
        async def look():
            return await self.store.load(key) is None

        await until(look)


# the contract -------------------------------------------------------------------------------------------------------


class CaughtUp:
    """A store whose cache has heard of all that has happened: caches are a moment behind other processes."""

    def __init__(self, opened, namespace):
        self._opened = opened
        self._namespace = namespace
        self.commit = opened.store.commit

    async def keys(self):
        await self._catch_up()
        return await self._opened.store.keys()

    async def load(self, key):
        await self._catch_up()
        return await self._opened.store.load(key)

    async def _catch_up(self):
        cluster, canaries = self._opened.cluster, self._opened.canaries
        page = await anext(cluster.client.list(CANARY, self._namespace))
        there = {f"{self._namespace}/{item['metadata']['name']}": item["metadata"] for item in page["items"]}

        async def has_heard():
            keys = set(await canaries.keys())
            return keys == set(there) and all(
                int(canaries.version(key)) >= int(metadata["resourceVersion"]) for key, metadata in there.items()
            )

        await until(has_heard)


class Bench:
    def __init__(self, kubeconfig, api, stack):
        self._kubeconfig, self._api, self._stack = kubeconfig, api, stack

    async def handle(self):
        client = await self._stack.enter_async_context(connect(str(self._kubeconfig)))
        cluster = await self._stack.enter_async_context(Cluster(client, namespace="default"))
        return CaughtUp(Opened(cluster), "default")

    async def put(self, rollout):
        hooks = [{"name": hook.name, "type": hook.type.value, "url": hook.url} for hook in rollout.hooks]
        assert {hook.type for hook in rollout.hooks} <= set(HookType)
        body = canary(rollout.namespace, rollout.name)
        body["spec"]["analysis"]["webhooks"] = hooks
        body["spec"]["revertOnDeletion"] = rollout.revert_on_deletion
        self._api.create(body)
        return f"{rollout.namespace}/{rollout.name}"

    async def remove(self, key):
        self._api.delete(path(*key.split("/")))

    async def send_command(self, key, kind, weight=0):
        client = await self._stack.enter_async_context(connect(str(self._kubeconfig)))
        await send_command(client, *key.split("/"), kind, weight)

    async def delete(self, key):
        self._api.delete(path(*key.split("/")))


def path(namespace, name="podinfo"):
    return CANARY.path(namespace, name)


NOTICE = Notice(NoticeKind.STARTING, "told-1", Phase.PROGRESSING, (("target", "podinfo.test"),))
STATUS = Status(
    phase=Phase.PROGRESSING,
    since=1_700_000_000.5,
    analysed_at=1_700_000_010.25,
    rung=Rung(weight=20),
    failed_checks=1,
    applied="two",
    promoted="one",
    paused=True,
    handled="pause 1",
    outbox=(NOTICE,),
)
CONDITIONS = ["Promoted", "Ready", "Reconciling", "Canarycore"]
"""Types of the conditions of a status, beside DROPPED where the definition drops fields."""
"""The types of the conditions of that status."""


# the manifest -------------------------------------------------------------------------------------------------------


async def events(api, namespace):
    return [event["message"] for event in api.list(EVENT.path(namespace))]


# a canary that cannot be used ---------------------------------------------------------------------------------------


async def told_broken(opened, api, namespace):
    async def look():
        assert await opened.store.load(f"{namespace}/podinfo") is None
        return [entry for entry in conditions(api, namespace) if entry["type"] == "Valid"]

    (entry,) = await until(look)
    return entry["message"]


def conditions(api, namespace):
    return api.get(path(namespace)).get("status", {}).get("conditions", [])


# the finalizer ------------------------------------------------------------------------------------------------------


def finalizers(api, namespace):
    found = api.get(path(namespace))
    return None if found is None else found["metadata"].get("finalizers", [])


class StoreFixtures:
    """A kubeconfig with the rights of an installed controller."""

    @pytest.fixture
    def kubeconfig(self, plane, installed):
        """The controller's, with the rights that it is installed with."""
        return plane.kubeconfig(installed(), "controller")


class CanaryStoreContract(StoreFixtures, StatusStoreContract):
    """The promises of a status store, for Canaries."""

    @pytest.fixture
    async def bench(self, kubeconfig, api):
        async with AsyncExitStack() as stack:
            yield Bench(kubeconfig, api, stack)
        for found in api.list(CANARY.path("default")):
            api.patch(path("default", found["metadata"]["name"]), {"metadata": {"finalizers": None}})
            if "deletionTimestamp" in found["metadata"]:
                continue  # it went with its last finalizer
            api.delete(path("default", found["metadata"]["name"]))


# the stored status --------------------------------------------------------------------------------------------------


class StoreContract(StoreFixtures):
    """The promises of the store of Canaries, on any API server."""

    @pytest.fixture
    def opened(self, cluster):
        return Opened(cluster)

    @pytest.fixture
    def key(self, namespace):
        return f"{namespace}/podinfo"

    async def test_flaggers_definition_keeps_all_of_a_status(self, opened, api, namespace, key):
        api.create(canary(namespace))
        stored = await opened.loaded(key)
        await opened.store.commit(key, STATUS, stored.version)
        found = api.get(path(namespace))["status"]
        assert (found["phase"], found["canaryWeight"], found["failedChecks"]) == ("Progressing", 20, 1)
        assert (found["lastAppliedSpec"], found["lastPromotedSpec"]) == ("two", "one")
        assert [kind for condition in found["conditions"] if (kind := condition["type"]) != DROPPED] == CONDITIONS
        async with Cluster(opened.cluster.client, namespace=namespace) as other:
            assert (await Opened(other).loaded(key)).status == STATUS

    async def test_an_edit_of_the_manifest_is_observed_once(self, opened, api, plane, namespace, key):
        """Readers of kstatus wait for it. Flagger's definition drops the field, and a load must not write for ever."""
        api.create(canary(namespace))
        await opened.store.commit(key, STATUS, (await opened.loaded(key)).version)
        before = opened.canaries.get(key).observed_generation
        api.patch(path(namespace), {"spec": {"analysis": {"threshold": 7}}})
        stored = await opened.loaded(key, lambda stored: stored.rollout.threshold == 7)
        assert stored.status == STATUS
        observed = opened.canaries.get(key)
        assert before < observed.generation == observed.observed_generation
        mark = plane.audit.mark()
        for _ in range(3):
            await opened.store.load(key)
        assert not plane.audit.since(mark, namespace=namespace)

    async def test_the_plain_fields_show_the_results(self, opened, api, namespace, key):
        check = CheckResult("request-success-rate", Verdict.FAIL, 92.5, 99.0, None, 40)
        analysis = AnalysisResult(1_700_000_000.0, "two", 20, 0, (check,))
        end = RolloutEnd(1_700_000_000.0, Phase.FAILED, Reason.CHECKS, "two", "Rolling back", analysis)
        api.create(canary(namespace))
        failed = STATUS.but(phase=Phase.FAILED, reason=Reason.CHECKS, end=end, paused=False)
        version = await opened.store.commit(key, failed, (await opened.loaded(key)).version)
        cause = "Rolling back; request-success-rate 92.5: fail (expected at least 99, 40 requests)"
        status = api.get(path(namespace))["status"]
        messages = {entry["type"]: entry["message"] for entry in status["conditions"]}
        assert cause in messages["Ready"] == messages["Stalled"]
        if "lastEnd" in status:  # Flagger's definition drops it
            assert status["lastEnd"]["cause"] == cause
            assert status["lastEnd"]["lastAnalysis"]["checks"] == [
                {"name": check.name, "verdict": "fail", "value": "92.5", "range": "at least 99", "samples": 40}
            ]
        await opened.store.commit(key, STATUS, version)
        assert "lastEnd" not in api.get(path(namespace))["status"]

    async def test_a_commit_is_loaded_at_once(self, opened, api, namespace, key):
        api.create(canary(namespace))
        version = (await opened.loaded(key)).version
        for holds in range(20):
            version = await opened.store.commit(key, STATUS.but(holds=holds), version)
            stored = await opened.store.load(key)
            assert (stored.status.holds, stored.version) == (holds, version)

    async def test_a_field_that_a_status_no_longer_has_is_removed(self, opened, api, namespace, key):
        api.create(canary(namespace))
        version = await opened.store.commit(key, STATUS, (await opened.loaded(key)).version)
        await opened.store.commit(key, STATUS.but(promoted="", outbox=()), version)
        assert "lastPromotedSpec" not in api.get(path(namespace))["status"]
        assert (await opened.store.load(key)).status.promoted == ""

    async def test_a_status_that_flagger_changed_is_flaggers(self, opened, api, namespace, key):
        """It keeps conditions of others while the phase stays, so ours may still stand beside what it wrote."""
        api.create(canary(namespace))
        await opened.store.commit(key, STATUS, (await opened.loaded(key)).version)
        api.patch(f"{path(namespace)}/status", {"status": {"lastAppliedSpec": "7b8f9c", "canaryWeight": 40}})
        stored = await opened.loaded(key, lambda stored: stored.status.applied == "7b8f9c")
        assert stored.status.rung == Rung(weight=40)
        assert not stored.status.paused
        assert opened.canaries.require(stored.rollout).is_flagger_status

    async def test_after_a_conflict_the_next_load_has_the_other_write(self, opened, api, namespace, key):
        api.create(canary(namespace))
        version = (await opened.loaded(key)).version
        api.patch(path(namespace), {"metadata": {"labels": {"edited": "true"}}})
        with pytest.raises(Conflict):
            await opened.store.commit(key, STATUS, version)
        stored = await opened.loaded(key, lambda stored: stored.version != version)
        await opened.store.commit(key, STATUS, stored.version)

    async def test_a_canary_in_the_middle_of_going_is_deleted(self, opened, api, namespace, key):
        body = canary(namespace)
        body["metadata"]["finalizers"] = ["example.com/somebody-elses"]
        api.create(body)
        assert not (await opened.loaded(key)).deleted
        api.delete(path(namespace))
        await opened.loaded(key, lambda stored: stored.deleted)
        api.patch(path(namespace), {"metadata": {"finalizers": None}})
        await opened.gone(key)

    async def test_an_edit_of_the_manifest_wakes_the_rollout_and_is_loaded(self, opened, api, namespace, key):
        api.create(canary(namespace))
        await opened.loaded(key)
        changes = opened.cluster.changes()
        told = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        api.patch(path(namespace), {"spec": {"analysis": {"threshold": 7}}})
        assert await asyncio.wait_for(told, 10) == key
        assert (await opened.store.load(key)).rollout.threshold == 7
        await changes.aclose()

    async def test_a_template_supplies_its_query_and_an_edit_wakes_the_rollout(self, opened, api, namespace, key):
        provider = {"type": "prometheus", "address": "http://prometheus"}
        template = {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "MetricTemplate",
            "metadata": {"name": "errors", "namespace": namespace},
            "spec": {"provider": provider, "query": "first"},
        }
        api.create(template)
        body = canary(namespace)
        body["spec"]["analysis"]["metrics"] = [{"name": "errors", "templateRef": {"name": "errors"}}]
        api.create(body)

        def asks(query):
            return lambda stored: [check.query for check in stored.rollout.checks] == [query]

        before = await opened.loaded(key, asks("first"))
        assert (await opened.store.load(key)).rollout is before.rollout
        changes = opened.cluster.changes()
        told = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        api.patch(METRIC_TEMPLATE.path(namespace, "errors"), {"spec": {"query": "second"}})
        assert await asyncio.wait_for(told, 10) == key
        await opened.loaded(key, asks("second"))
        await changes.aclose()

    async def test_a_status_is_stored_without_reading_the_manifest_again(self, opened, api, namespace, key):
        api.create(canary(namespace))
        stored = await opened.loaded(key)
        await opened.store.commit(key, STATUS, stored.version)
        assert (await opened.store.load(key)).rollout is stored.rollout

    async def test_commands_are_handled_by_their_whole_text(self, opened, api, namespace, key):
        api.create(canary(namespace))
        await opened.loaded(key)
        said = await send_command(opened.cluster.client, namespace, "podinfo", CommandKind.SKIP_TO, 40)
        stored = await opened.loaded(key, lambda stored: stored.command is not None)
        assert (stored.command.id, stored.command.kind, stored.command.weight) == (said, CommandKind.SKIP_TO, 40)

    async def test_an_unknown_command_has_an_event(self, opened, api, namespace, key):
        body = canary(namespace)
        body["metadata"]["annotations"] = {"canarycore/command": "jump 5"}
        api.create(body)
        assert (await opened.loaded(key)).command is None
        assert any("'jump 5', expected <kind>" in message for message in await events(api, namespace))

    async def test_a_canary_that_can_never_advance_is_not_run_and_says_why(self, opened, api, namespace, key):
        api.create(canary(namespace, analysis={"interval": "10s", "threshold": 1, "stepWeight": 0}))
        message = await told_broken(opened, api, namespace)
        assert "spec.analysis.stepWeight: found neither" in message
        assert "Set stepWeight" in message
        assert await opened.store.keys() == (key,)
        (event,) = await events(api, namespace)
        assert "spec.analysis.stepWeight: found neither" in event

    async def test_references_to_other_namespaces_can_be_forbidden(self, cluster, api, namespace, key):
        canaries = Canaries(cluster, across=False)
        metric = {"name": "errors", "interval": "1m", "thresholdRange": {"max": 1}}
        foreign = {**metric, "templateRef": {"name": "errors", "namespace": "ops"}}
        api.create(
            canary(namespace, analysis={"interval": "10s", "threshold": 3, "stepWeight": 20, "metrics": [foreign]})
        )

        async def look():
            return await canaries.find(key)

        broken = await until(look)
        (problem,) = broken.problems
        assert problem.path == "spec.analysis.metrics[0].templateRef.namespace"
        assert problem.found == "metric template errors.ops"

    async def test_a_hook_at_a_forbidden_host_has_an_event(self, cluster, api, namespace, key):
        strict = Canaries(cluster, allowed=AllowedHosts.parse("*.example.com"))
        hook = {"name": "load", "type": "rollout", "url": "http://169.254.169.254/latest"}
        analysis = {"interval": "10s", "threshold": 3, "stepWeight": 20, "webhooks": [hook]}
        api.create(canary(namespace, analysis=analysis))

        async def look():
            return await strict.find(key)

        (problem,) = (await until(look)).problems
        assert problem.path == "spec.analysis.webhooks[0].url"
        assert "--allowed-hosts" in str(problem)

    async def test_why_it_cannot_be_used_is_written_once(self, opened, plane, api, namespace):
        api.create(canary(namespace, analysis={"interval": "10s", "threshold": 1, "stepWeight": 0}))
        await told_broken(opened, api, namespace)
        mark = plane.audit.mark()
        for _ in range(5):
            assert await opened.store.load(f"{namespace}/podinfo") is None
        assert not plane.audit.since(mark, namespace=namespace)

    async def test_an_invalid_canary_is_stalled_for_every_reader(self, opened, api, namespace, key):
        body = canary(namespace)
        body["spec"]["analysis"]["stepWeight"] = 0
        api.create(body)
        message = await told_broken(opened, api, namespace)
        shown = {entry["type"]: (entry["status"], entry["message"]) for entry in conditions(api, namespace)}
        assert shown == {"Ready": ("False", message), "Stalled": ("True", message), "Valid": ("False", message)}
        status = api.get(path(namespace))["status"]
        assert (status["phase"], status["canaryWeight"]) == ("", 0)
        api.patch(path(namespace), {"spec": {"analysis": {"stepWeight": 10}}})
        assert (await opened.loaded(key)).status == Status()
        assert conditions(api, namespace) == []

    async def test_a_canary_that_was_mended_runs_on_from_its_status(self, opened, api, namespace, key):
        api.create(canary(namespace))
        await opened.store.commit(key, STATUS, (await opened.loaded(key)).version)
        api.patch(path(namespace), {"spec": {"analysis": {"stepWeight": 0}}})
        await opened.gone(key)
        told = await told_broken(opened, api, namespace)
        assert f"stands still in {STATUS.phase.value}, weight {STATUS.rung.weight}" in told
        api.patch(path(namespace), {"spec": {"analysis": {"stepWeight": 10}}})
        stored = await opened.loaded(key)
        assert stored.status == STATUS
        assert [kind for entry in conditions(api, namespace) if (kind := entry["type"]) != DROPPED] == CONDITIONS
        await opened.store.commit(key, STATUS.but(holds=1), stored.version)

    async def test_a_commit_to_a_canary_that_cannot_be_used_is_refused(self, opened, api, namespace, key):
        api.create(canary(namespace))
        version = (await opened.loaded(key)).version
        api.patch(path(namespace), {"spec": {"analysis": {"stepWeight": 0}}})
        await opened.gone(key)
        with pytest.raises(WorldError):
            await opened.store.commit(key, STATUS, version)

    async def test_without_revert_on_deletion_there_is_no_finalizer(self, opened, api, namespace, key):
        api.create(canary(namespace))
        await opened.store.commit(key, STATUS, (await opened.loaded(key)).version)
        assert finalizers(api, namespace) == []
        api.delete(path(namespace))
        await opened.gone(key)

    async def test_the_finalizer_is_there_before_the_first_commit(self, opened, api, namespace, key):
        api.create(canary(namespace, revertOnDeletion=True))
        stored = await opened.loaded(key)
        assert finalizers(api, namespace) == [FINALIZER]
        await opened.store.commit(key, STATUS, stored.version)

    async def test_the_finalizer_goes_when_it_is_no_longer_wanted(self, opened, api, namespace, key):
        api.create(canary(namespace, revertOnDeletion=True))
        await opened.loaded(key)
        api.patch(path(namespace), {"spec": {"revertOnDeletion": False}})
        await opened.loaded(key, lambda stored: not stored.rollout.revert_on_deletion)
        assert finalizers(api, namespace) == []

    async def test_a_canary_goes_after_its_end_is_stored_and_reported(self, opened, api, namespace, key):
        api.create(canary(namespace, revertOnDeletion=True))
        await opened.loaded(key)
        api.delete(path(namespace))
        stored = await opened.loaded(key, lambda stored: stored.deleted)
        ended = STATUS.but(phase=Phase.TERMINATED, reason=Reason.NONE)
        await opened.store.commit(key, ended, stored.version)
        assert finalizers(api, namespace) == [FINALIZER]
        assert (await opened.store.load(key)).status.outbox == (NOTICE,)
        await opened.gone(key)
        assert finalizers(api, namespace) is None

    async def test_a_canary_whose_end_was_stored_before_a_crash_goes(self, opened, client, api, namespace, key):
        api.create(canary(namespace, revertOnDeletion=True))
        await opened.loaded(key)
        api.delete(path(namespace))
        stored = await opened.loaded(key, lambda stored: stored.deleted)
        await opened.store.commit(key, STATUS.but(phase=Phase.TERMINATED), stored.version)
        async with Cluster(client, namespace=namespace) as another:
            next_one = Opened(another)
            changes = another.changes()
            told = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            assert (await next_one.loaded(key)).status.outbox == (NOTICE,)
            assert await asyncio.wait_for(told, 10) == key  # it asks to be looked at again
            await next_one.gone(key)
            await changes.aclose()
        assert finalizers(api, namespace) is None
