"""Fixtures of the local adapter's tests: a plane (warden, Envoy, processes), and a check for remaining processes."""

import asyncio
import os
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from canarycore import Routes
from canarycore.errors import WorldError
from canarycore_local import workload
from canarycore_local.envoy import proxy as envoy
from canarycore_local.envoy.router import EnvoyRouter
from canarycore_local.processes.supervisor import own_processes
from canarycore_local.processes.versions import Version
from canarycore_local.requests.generator import TrafficPlan, open_generator
from canarycore_runtime.testing.contracts._samples import rollout

V1, V2 = Version(label="v1"), Version(label="v2")
KEY = "default/podinfo"
MARK = "CANARYCORE_TEST"


class Plane:
    """A data plane, with helpers for tests."""

    def __init__(self, processes, envoy, workload):
        self.processes, self.envoy, self.workload = processes, envoy, workload
        self.router = EnvoyRouter(envoy)
        self.rollout = rollout()

    async def until(self, condition, seconds=30):
        """Wait until the observation meets the condition, and return it."""
        async with asyncio.timeout(seconds):
            while True:
                workloads = await self.workload.observe(self.rollout)
                if condition(workloads):
                    return workloads
                await asyncio.sleep(0.02)

    async def settle(self):
        """Wait until all planned processes are ready, and all others are gone."""
        await self.until(lambda workloads: all(map(is_settled, (workloads.target, workloads.primary))))

    async def initialise(self, version=V1):
        """Run the version as target and primary, and send all traffic to the primary."""
        await self.workload.deploy(version)
        await self.settle()
        await self.workload.initialise(self.rollout, version.revision)
        await self.settle()
        await self.router.set_routes(self.rollout, Routes())

    @asynccontextmanager
    async def traffic(self, **options):
        """Run a generator while the context is open."""
        async with open_generator(self.envoy.address, TrafficPlan(**{"rate": 200.0, **options})) as generator:
            generator.start()
            yield generator


def is_settled(side):
    return side is None or side.ready == side.updated == side.total == side.desired


@pytest.fixture
async def proxy(tmp_path, clean):
    """A warden and an Envoy that end with the test."""
    async with own_processes(tmp_path) as processes:
        try:
            async with envoy.run_envoy(processes, tmp_path / "envoy") as proxy:
                yield processes, proxy
        finally:
            await processes.end()


@pytest.fixture
async def plane(proxy, tmp_path):
    """A plane with a workload."""
    async with workload.run_workload(*proxy, tmp_path, KEY) as local_workload:
        yield Plane(*proxy, local_workload)


@pytest.fixture
async def clean(monkeypatch):
    """Check that no process of the test remains: each inherits a mark in its environment."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    async with asyncio.timeout(10):
        while marked(mark):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


def marked(mark):
    """Return the command lines of processes with the mark, by process id, without this process."""
    commands = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    commands.pop(os.getpid(), None)
    return commands


async def wait_for_requests(generator, requests):
    """Wait until the open window of the generator has that many answers, and return it."""
    async with asyncio.timeout(60):
        while generator.window.requests < requests:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    return generator.window


__all__ = ["KEY", "V1", "V2", "Plane", "WorldError", "marked", "wait_for_requests"]
