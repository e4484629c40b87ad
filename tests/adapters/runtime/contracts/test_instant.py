"""InstantWorkload: a thing without pods behind the port of workloads, and routers of whole percent."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from canarycore import CanarySize, Ladder, Step
from canarycore.effects import SetRoutes
from canarycore.errors import Refused
from canarycore.simulation import Deploy
from canarycore_runtime import InstantWorkload, Runner
from canarycore_runtime.testing import simulated
from canarycore_runtime.testing.contracts import WorkloadContract
from canarycore_runtime.testing.contracts._samples import rollout as sample
from canarycore_runtime.testing.contracts.workload import EFFECTS
from tests.adapters.runtime.simulated_rollouts import KEY, Diary, rollout


class Pointer(InstantWorkload):
    """A candidate and a stable version in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.names = {"candidate": "", "stable": ""}
        self.writes = 0

    async def candidate(self, _) -> str:
        return self.names["candidate"]

    async def stable(self, _) -> str:
        return self.names["stable"]

    async def set_stable(self, _, revision: str) -> None:
        self.names["stable"] = revision
        self.writes += 1


class PointerBench:
    """A bench whose owner names candidates."""

    def __init__(self) -> None:
        self.adapter, self.rollout = Pointer(), sample()

    async def deploy(self, label: str) -> str:
        self.adapter.names["candidate"] = label
        return label

    async def settle(self) -> None:
        """Nothing starts."""


class TestPointer(WorkloadContract):
    @pytest.fixture
    def bench(self) -> PointerBench:
        return PointerBench()


async def test_a_promotion_writes_once():
    bench = PointerBench()
    await bench.adapter.initialise(bench.rollout, await bench.deploy("one"))
    await bench.deploy("two")
    for _ in range(2):
        await bench.adapter.promote(bench.rollout, "two")
    assert bench.adapter.writes == 2


async def test_a_candidate_that_changes_is_not_promoted_under_its_former_name():
    bench = PointerBench()
    await bench.adapter.initialise(bench.rollout, await bench.deploy("one"))
    await bench.deploy("three")
    with pytest.raises(Refused, match="the candidate is three, expected two"):
        await bench.adapter.promote(bench.rollout, "two")
    assert bench.adapter.names["stable"] == "one"


async def test_a_new_process_knows_no_version_to_return_to_and_says_so():
    bench = PointerBench()
    await bench.deploy("two")
    bench.adapter.names["stable"] = "two"
    with pytest.raises(Refused, match="expected one to return to: none is known"):
        await bench.adapter.restore_primary(bench.rollout, "one")


async def test_a_candidate_after_a_restore_is_a_rollout_again():
    bench = PointerBench()
    await bench.adapter.initialise(bench.rollout, await bench.deploy("one"))
    await bench.adapter.restore(bench.rollout)
    await bench.deploy("two")
    assert not (await bench.adapter.observe(bench.rollout)).is_restored


class CoarseRouter:
    """The simulated router, without its claim to take tenths."""

    def __init__(self, router) -> None:
        self.observe, self.set_routes, self.restore = router.observe, router.set_routes, router.restore


@simulated
async def test_the_runner_refuses_tenths_for_a_router_of_whole_percent():
    clusters, reports = Diary([rollout(ladder=Ladder(steps=(5, 50), tenths=True))]), []
    parts = clusters.parts()
    async with Runner(evolve(parts, router=CoarseRouter(parts.router)), on_cycle=reports.append):
        await asyncio.sleep(30)
    assert "the router takes whole percent. Remove tenths" in str(reports[0].result.errors[0])
    assert clusters.log == []


class FixedWorkload:
    """The simulated workload, without its method resize."""

    def __init__(self, workload) -> None:
        for name in EFFECTS.keys() | {"observe", "restore_primary"}:
            setattr(self, name, getattr(workload, name))


SIZED = Ladder(steps=(Step(weight=5, size=CanarySize(replicas=1)), 50))


@simulated
async def test_the_runner_refuses_sizes_for_a_workload_that_it_cannot_resize():
    clusters, reports = Diary([rollout(ladder=SIZED)]), []
    parts = clusters.parts()
    async with Runner(evolve(parts, workload=FixedWorkload(parts.workload)), on_cycle=reports.append):
        await asyncio.sleep(30)
    assert "found a size, expected none" in str(reports[0].result.errors[0])
    assert clusters.log == []


@simulated
async def test_a_router_that_takes_tenths_gets_them():
    clusters = Diary([rollout(ladder=Ladder(steps=(5,), tenths=True))])
    clusters.do(KEY, Deploy("v1"))
    async with Runner(clusters.parts()):
        await asyncio.sleep(60)
        clusters.do(KEY, Deploy("v2"))
        await asyncio.sleep(60)
    assert 5 in {effect.routes.permille for _, effect in clusters.effects(KEY) if isinstance(effect, SetRoutes)}
