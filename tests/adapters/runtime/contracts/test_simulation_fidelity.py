"""The simulated adapters show what the simulated world shows; ones that differ from it are found."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from attrs import evolve

from canarycore import Routes
from canarycore.simulation import NEVER, ScalePrimary, SetPace, State
from canarycore_runtime.testing import SimulatedClusters, key_of
from canarycore_runtime.testing.clusters import SimulatedRouter, SimulatedStore, SimulatedWorkload
from canarycore_runtime.testing.contracts import ServedRequests, SimulationFidelityContract
from canarycore_runtime.testing.contracts.simulation_fidelity import BROKEN, ROLLOUT, SCRIPTS, FidelityRun, carry_out

KEY = key_of(ROLLOUT)


class SimulatedBench:
    """Simulated adapters; a process that is killed is a task that is cancelled, at its first await or the one after."""

    replicas = 2
    patience = 1.0

    def __init__(self, awaits: int = 1, **flawed) -> None:
        self.revisions, self.cannot = {}, {}
        self.clusters = SimulatedClusters([ROLLOUT], do=[SetPace(BROKEN, NEVER)])
        self.awaits, self.flawed = awaits, {port: made(self.clusters) for port, made in flawed.items()}
        self.parts = self.new_parts()

    def new_parts(self):
        return evolve(self.clusters.parts(), **self.flawed)

    async def act(self, action):
        self.clusters.do(KEY, action)

    async def kill(self, doing, *, returned):
        task = asyncio.create_task(carry_out(self.parts, doing))
        if returned:
            await task
        else:
            for _ in range(self.awaits):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.parts = self.new_parts()

    async def serve(self, requests, *, matched):
        routes = self.clusters.state(KEY).routes
        canary = requests if matched and routes.matched else requests * routes.weight // 100
        return ServedRequests(
            primary=requests - canary, canary=canary, copies=routes.mirrored * (requests - canary) // 2
        )

    async def settle(self):
        await asyncio.sleep(0.01)


class TestSimulatedAdapters(SimulationFidelityContract):
    @pytest.fixture(params=[1, 2, 3])
    async def bench(self, request):
        return SimulatedBench(request.param)


# --------------------------------------------------------------------------------------------------- flaws are found


class PromotesWhatIsThere(SimulatedWorkload):
    async def promote(self, rollout, revision):
        await super().promote(rollout, (await self.observe(rollout)).target.revision)


class ReplacesAPrimary(SimulatedWorkload):
    async def initialise(self, rollout, revision):
        with contextlib.suppress(Exception):
            await self.promote(rollout, revision)
        await super().initialise(rollout, revision)


class LosesAPodAtEachPromotion(SimulatedWorkload):
    async def promote(self, rollout, revision):
        await super().promote(rollout, revision)
        primary = self._clusters.of(rollout).primary
        self._clusters.do(key_of(rollout), ScalePrimary(primary.desired - 1))


class ForgetsMirrors(SimulatedRouter):
    async def set_routes(self, rollout, routes):
        await super().set_routes(rollout, Routes(weight=routes.weight, matched=routes.matched))


class LastOneWins(SimulatedStore):
    async def commit(self, key, status, version):
        return await super().commit(key, status, (await self.load(key)).version)


@pytest.mark.parametrize(
    ("script", "flaw"),
    [
        ("what is refused", {"workload": PromotesWhatIsThere}),
        ("everything twice", {"workload": ReplacesAPrimary}),
        ("everything twice", {"workload": LosesAPodAtEachPromotion}),
        ("routes of every kind", {"router": ForgetsMirrors}),
        ("commits", {"store": LastOneWins}),
    ],
)
async def test_a_world_that_differs_is_found(script, flaw):
    bench = SimulatedBench(**flaw)
    bench.patience = 0.5
    with pytest.raises(AssertionError, match=r"step \d+, .*: real .*, simulated "):
        await FidelityRun(bench, [State(rollout=ROLLOUT, paces=((BROKEN, NEVER),))]).play(SCRIPTS[script])
