"""Real processes behind a real Envoy show what the simulated world shows, step by step."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from canarycore.simulation import Delete, Deploy, Edit
from canarycore.simulation._program import source
from canarycore_local import workload
from canarycore_local.envoy.router import VERSION_HEADER
from canarycore_local.processes.faults import Faults
from canarycore_local.processes.versions import Version
from canarycore_local.store import STORE, SqliteStore
from canarycore_runtime.testing.contracts import ServedRequests, SimulationFidelityContract
from canarycore_runtime.testing.contracts.simulation_fidelity import BROKEN, ONE, ROLLOUT, TWO
from tests.adapters.local.conftest import KEY
from tests.adapters.local.doomed import make_adapters
from tests.house.projects import ROOT

pytestmark = pytest.mark.e2e

VERSIONS = {
    ONE: Version(label=ONE),
    TWO: Version(label=TWO),
    BROKEN: Version(label=BROKEN, faults=Faults.parse("start=never")),
}
CANNOT = {
    "with an autoscaler": "no autoscaler scales processes",
    "others write": "no other process writes, and each side has one process",
}
AT_ONCE = 20
"""The number of concurrent requests."""


class Bench:
    """The platform of the contract: one machine."""

    replicas = 1
    patience = 20.0

    def __init__(self, processes, proxy, folder):
        self.processes, self.proxy, self.folder = processes, proxy, folder
        self.store = SqliteStore(folder / STORE)
        self.revisions = {name: version.revision for name, version in VERSIONS.items()}
        self.cannot = CANNOT
        self.process = AsyncExitStack()

    async def begin(self):
        """Start the workload."""
        self.workload = await self.process.enter_async_context(
            workload.run_workload(self.processes, self.proxy, self.folder, KEY)
        )
        self.parts = make_adapters(self.folder, self.proxy, self.workload)

    async def act(self, action):
        match action:
            case Deploy(revision):
                await self.workload.deploy(VERSIONS[revision])
            case Edit(rollout):
                await self.store.put(rollout)
            case Delete():
                await self.store.delete(KEY)

    async def kill(self, doing, *, returned):
        await self.process.aclose()
        command = (sys.executable, str(Path(__file__).with_name("doomed.py")), str(self.folder), source(doing))
        doomed = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        until = b"has done it\n" if returned else b"begins\n"
        async with asyncio.timeout(self.patience):
            while await doomed.stdout.readline() != until:
                assert not doomed.stdout.at_eof(), "the process ended by itself"
        doomed.kill()
        await doomed.wait()
        await self.begin()

    async def serve(self, requests, *, matched):
        before, places = await self.reached(), asyncio.Semaphore(AT_ONCE)
        headers = {"x-canary": "insider"} if matched else {}
        async with aiohttp.ClientSession() as session:

            async def ask():
                async with places, session.get(self.proxy.address, headers=headers) as response:
                    return response.headers.get(VERSION_HEADER) if response.ok else "unanswered"

            answers = await asyncio.gather(*(ask() for _ in range(requests)))
        await asyncio.sleep(0.3)  # copies may still be under way
        primary, canary = answers.count("primary"), answers.count("canary")
        return ServedRequests(primary=primary, canary=canary, copies=await self.reached() - before - canary)

    async def reached(self):
        """Return the number of requests and copies that the canary has answered."""
        answer = await self.proxy.ask(r"/stats?format=json&filter=^cluster\.canary\.upstream_rq_completed$")
        return sum(stat["value"] for stat in answer["stats"])

    async def settle(self):
        await asyncio.sleep(workload.TICK)


class TestProcessesBehindEnvoy(SimulationFidelityContract):
    @pytest.fixture
    async def bench(self, proxy, tmp_path):
        bench = Bench(*proxy, tmp_path)
        await bench.store.put(ROLLOUT)
        await bench.begin()
        async with bench.process:
            yield bench
