"""What the tests of the local adapter share: a plane (a warden, an Envoy, processes), an eye on what is left."""

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
from canarycore_local.processes.supervisor import own
from canarycore_local.processes.versions import Version
from canarycore_local.requests.generator import TrafficPlan, generating
from canarycore_runtime.testing.contracts._samples import rollout

V1, V2 = Version(label="v1"), Version(label="v2")
KEY = "default/podinfo"
MARK = "CANARYCORE_TEST"


class Plane:
    """A data plane with helpers to work at."""

    def __init__(self, processes, envoy, workload):
        self.processes, self.envoy, self.workload = processes, envoy, workload
        self.router = EnvoyRouter(envoy)
        self.rollout = rollout()

    async def until(self, condition, seconds=30):
        """Wait until what is observed meets the condition; returns it."""
        async with asyncio.timeout(seconds):
            while True:
                seen = await self.workload.observe(self.rollout)
                if condition(seen):
                    return seen
                await asyncio.sleep(0.02)

    async def settle(self):
        """Wait until the processes are as planned: ready, or gone."""
        await self.until(lambda seen: all(map(is_settled, (seen.target, seen.primary))))

    async def initialise(self, version=V1):
        """A primary and a target carry the version; all traffic goes to the primary."""
        await self.workload.deploy(version)
        await self.settle()
        await self.workload.initialise(self.rollout, version.revision)
        await self.settle()
        await self.router.set_routes(self.rollout, Routes())

    @asynccontextmanager
    async def traffic(self, **options):
        """A generator that sends."""
        async with generating(self.envoy.address, TrafficPlan(**{"rate": 200.0, **options})) as generator:
            generator.start()
            yield generator


def is_settled(side):
    return side is None or side.ready == side.updated == side.total == side.desired


@pytest.fixture
async def proxy(tmp_path, clean):
    """A warden and an Envoy that end with the test."""
    async with own(tmp_path) as processes:
        try:
            async with envoy.running(processes, tmp_path / "envoy") as proxy:
                yield processes, proxy
        finally:
            await processes.end()


@pytest.fixture
async def plane(proxy, tmp_path):
    """The same with a workload."""
    async with workload.running(*proxy, tmp_path, KEY) as working:
        yield Plane(*proxy, working)


@pytest.fixture
async def clean(monkeypatch):
    """Whatever the test started is gone at its end: every process inherits a mark in its environment."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    async with asyncio.timeout(10):
        while marked(mark):  # noqa: ASYNC110 - processes do not tell when they are gone
            await asyncio.sleep(0.05)


def marked(mark):
    """The processes that carry the mark, this one aside."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    found.pop(os.getpid(), None)
    return found


async def enough(generator, requests):
    """Wait until the open window of the generator has so many answers."""
    async with asyncio.timeout(60):
        while generator.window.requests < requests:  # noqa: ASYNC110 - it counts, it does not tell
            await asyncio.sleep(0.01)
    return generator.window


__all__ = ["KEY", "V1", "V2", "Plane", "WorldError", "enough", "marked"]
