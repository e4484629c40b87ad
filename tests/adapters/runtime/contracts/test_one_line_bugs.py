"""Twelve adapters, each with a bug of one line: the contract suites catch every one."""

from __future__ import annotations

import inspect

import pytest
from attrs import evolve

from canarycore import Routes
from canarycore.questions import HookAnswer, MetricAnswer
from canarycore_runtime.testing.clusters import (
    SimulatedHooks,
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedRouter,
    SimulatedStore,
    SimulatedWorkload,
)
from canarycore_runtime.testing.contracts import (
    HookContract,
    MetricSourceContract,
    NotifierContract,
    RouterContract,
    StatusStoreContract,
    WorkloadContract,
)
from tests.adapters.runtime.contracts.test_contracts import (
    HookBench,
    MetricBench,
    NotifierBench,
    RouterBench,
    StoreBench,
    WorkloadBench,
)
from tests.adapters.runtime.contracts.test_contracts_bite import bench


class HasNumbersForVersions(SimulatedStore):
    async def load(self, key):
        stored = await super().load(key)
        return stored and evolve(stored, version=int(stored.version))


class ForgetsCommands(SimulatedStore):
    async def load(self, key):
        stored = await super().load(key)
        return stored and evolve(stored, command=None)


class NamesCommandsByKind(SimulatedStore):
    async def load(self, key):
        stored = await super().load(key)
        return (stored and stored.command and evolve(stored, command=evolve(stored.command, id=stored.command.kind.value))) or stored  # fmt: skip  # noqa: E501 - one line


class HidesDeletedRollouts(SimulatedStore):
    async def load(self, key):
        stored = await super().load(key)
        return None if stored is None or stored.deleted else stored


class ForgetsHandledCommands(SimulatedStore):
    async def commit(self, key, status, version):
        return await super().commit(key, status.but(handled=""), version)


class RaisesAnotherError(SimulatedStore):
    async def commit(self, key, status, version):
        assert (await self.load(key)).version == version, "another process committed first"
        return await super().commit(key, status, version)


class RestoresAnyRevision(SimulatedWorkload):
    async def restore_primary(self, rollout, revision):
        if revision in (await self.observe(rollout)).restorable:
            await super().restore_primary(rollout, revision)


class NeverRestores(SimulatedWorkload):
    async def restore(self, rollout):
        await self.scale_up(rollout)


class SeesTheCanaryWhereNothingRoutes(SimulatedRouter):
    async def observe(self, rollout):
        return await super().observe(rollout) or Routes(weight=100)


class AnswersWithText(SimulatedMetrics):
    async def query(self, rollout, question):
        answer = await super().query(rollout, question)
        return answer if answer.value is None else MetricAnswer(value=str(answer.value))


class AnswersWithANumber(SimulatedHooks):
    async def call(self, rollout, question):
        answer = await super().call(rollout, question)
        return HookAnswer(passed=int(answer.passed), text=answer.text)


class LetsAnyErrorOut(SimulatedNotifier):
    async def publish(self, rollout, notice):
        if self._clusters.refuses_notices:
            raise ValueError("status 500")
        await super().publish(rollout, notice)


BUGS = {
    HasNumbersForVersions: (StatusStoreContract, StoreBench),
    ForgetsCommands: (StatusStoreContract, StoreBench),
    NamesCommandsByKind: (StatusStoreContract, StoreBench),
    HidesDeletedRollouts: (StatusStoreContract, StoreBench),
    ForgetsHandledCommands: (StatusStoreContract, StoreBench),
    RaisesAnotherError: (StatusStoreContract, StoreBench),
    RestoresAnyRevision: (WorkloadContract, WorkloadBench),
    NeverRestores: (WorkloadContract, WorkloadBench),
    SeesTheCanaryWhereNothingRoutes: (RouterContract, RouterBench),
    AnswersWithText: (MetricSourceContract, MetricBench),
    AnswersWithANumber: (HookContract, HookBench),
    LetsAnyErrorOut: (NotifierContract, NotifierBench),
}


def cases(suite):
    """Yield each test of a suite, with its parameters."""
    for name, test in inspect.getmembers(suite, inspect.isfunction):
        if not name.startswith("test_") or "caplog" in inspect.signature(test).parameters:
            continue
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        if not marks:
            yield name, {}
        for mark in marks:
            yield from ((name, {mark.args[0]: value}) for value in mark.args[1])


async def failures(suite, kind, adapter):
    """Return the tests of a suite that fail for an adapter."""
    failed = set()
    for name, arguments in cases(suite):
        try:
            await getattr(suite(), name)(bench(kind, adapter), **arguments)
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a test may fail in any way
            failed.add(name)
    return failed


@pytest.mark.parametrize("adapter", BUGS)
async def test_a_bug_of_one_line_fails_a_test_of_its_suite(adapter):
    assert await failures(*BUGS[adapter], adapter)


SOUND = {
    SimulatedStore: (StatusStoreContract, StoreBench),
    SimulatedWorkload: (WorkloadContract, WorkloadBench),
    SimulatedRouter: (RouterContract, RouterBench),
    SimulatedMetrics: (MetricSourceContract, MetricBench),
    SimulatedHooks: (HookContract, HookBench),
    SimulatedNotifier: (NotifierContract, NotifierBench),
}


@pytest.mark.parametrize("adapter", SOUND)
async def test_the_same_adapter_without_the_bug_fails_none(adapter):
    assert await failures(*SOUND[adapter], adapter) == set()
