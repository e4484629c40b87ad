"""Tests of versions as processes: the port's contract, and requests during promotions and crashes."""

import asyncio
import os
import signal
import sys
import time

import pytest

from canarycore import Routes
from canarycore.errors import WorldError
from canarycore_local import workload
from canarycore_local.envoy.proxy import EnvoySide
from canarycore_local.processes.faults import Faults
from canarycore_local.processes.versions import Version
from canarycore_runtime.testing.contracts import WorkloadContract
from tests.adapters.local.conftest import KEY, V1, V2, Plane, wait_for_requests

pytestmark = pytest.mark.e2e

FOREIGN = Version(label="foreign", command=f"{sys.executable} -m http.server --bind 127.0.0.1 $PORT")


class Bench:
    """The platform of the contract."""

    def __init__(self, plane):
        self.plane, self.adapter, self.rollout = plane, plane.workload, plane.rollout

    async def deploy(self, label):
        version = Version(label=label)
        await self.plane.workload.deploy(version)
        return version.revision

    async def settle(self):
        await self.plane.settle()


class TestTheWorkloadContract(WorkloadContract):
    @pytest.fixture
    async def bench(self, plane):
        return Bench(plane)


async def pids(plane, side):
    """Return the process ids of one side, without stopping processes."""
    return {
        process.pid
        for process in (await plane.processes.all()).values()
        if process.note.get("side") == side.value and process.running and not process.stopping
    }


@pytest.mark.parametrize("faults", ["", "latency=300ms,jitter=200ms"])
async def test_a_promotion_loses_no_request(plane, faults):
    version = Version(label="v2", faults=Faults.parse(faults))
    await plane.initialise(V1)
    await plane.workload.deploy(version)
    await plane.settle()
    async with plane.traffic(rate=200) as generator:
        await plane.router.set_routes(plane.rollout, Routes(weight=50))
        await wait_for_requests(generator, 200)
        await plane.workload.promote(plane.rollout, version.revision)
        await plane.settle()
        await plane.router.set_routes(plane.rollout, Routes())
        await plane.workload.scale_down(plane.rollout)
        await plane.settle()
        generator.open_window("after")
        await wait_for_requests(generator, 200)

    assert generator.total.bad == 0
    assert set(generator.window.revisions()) == {version.revision}


async def test_the_old_primary_finishes_its_requests(plane):
    await plane.initialise(V1)
    await plane.workload.deploy(V2)
    await plane.settle()
    async with plane.traffic(rate=1, path="/delay/4") as generator:
        while (await plane.envoy.hosts())[EnvoySide.PRIMARY].popitem()[1].active == 0:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
        await plane.workload.promote(plane.rollout, V2.revision)
        await plane.settle()

    assert V1.revision in generator.total.revisions()
    assert generator.total.bad == 0


async def test_a_crashed_process_is_reported_and_restarted(plane):
    await plane.initialise(V1)
    (pid,) = await pids(plane, EnvoySide.PRIMARY)

    os.kill(pid, signal.SIGKILL)
    crashed = await plane.until(lambda workloads: not workloads.primary.ready)
    await plane.settle()

    assert crashed.primary.unready_since is not None
    assert await pids(plane, EnvoySide.PRIMARY) not in (set(), {pid})


async def test_a_process_that_hangs_gets_no_requests(plane):
    await plane.initialise(V1)
    (pid,) = await pids(plane, EnvoySide.PRIMARY)

    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        while (await plane.envoy.hosts())[EnvoySide.PRIMARY]:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    assert not (await plane.workload.observe(plane.rollout)).primary.ready
    os.kill(pid, signal.SIGCONT)
    await plane.settle()


@pytest.mark.parametrize("faults", ["start=crash", "start=never"])
async def test_a_version_that_does_not_start_is_never_ready_and_gets_no_requests(plane, faults):
    await plane.initialise(V1)
    await plane.workload.scale_down(plane.rollout)
    await plane.settle()

    await plane.workload.deploy(Version(label="bad", faults=Faults.parse(faults)))
    await plane.workload.scale_up(plane.rollout)
    await asyncio.sleep(3)

    workloads = await plane.workload.observe(plane.rollout)
    assert (workloads.target.ready, workloads.primary.ready) == (0, 1)
    assert workloads.target.unready_since is not None
    assert (await plane.envoy.hosts())[EnvoySide.CANARY] == {}
    with pytest.raises(WorldError, match="no process of the canary is ready"):
        plane.workload.address(EnvoySide.CANARY)


async def test_the_old_primary_serves_until_the_new_one_is_ready(plane):
    await plane.initialise(V1)
    bad = Version(label="bad", faults=Faults.parse("start=crash"))
    await plane.workload.deploy(bad)
    async with plane.traffic(rate=200) as generator:
        await plane.workload.promote(plane.rollout, bad.revision)
        await wait_for_requests(generator, 400)
        workloads = await plane.workload.observe(plane.rollout)
        await plane.workload.restore_primary(plane.rollout, V1.revision)
        await wait_for_requests(generator, 600)
        await plane.until(
            lambda workloads: workloads.primary.ready == workloads.primary.updated == workloads.primary.total == 1
        )

    assert (workloads.primary.revision, workloads.primary.ready) == (bad.revision, 1)
    assert workloads.primary.unready_since is None
    assert generator.total.bad == 0


async def test_restarts_of_a_crash_loop_back_off(plane, tmp_path):
    await plane.workload.deploy(Version(label="bad", faults=Faults.parse("start=crash")))
    start = time.monotonic()

    async with asyncio.timeout(60):
        while _crashes(tmp_path) < 5:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)

    assert time.monotonic() - start > 0.25 + 0.5 + 1 + 2


def _crashes(folder):
    return sum(log.read_text().count("crashes at its start") for log in (folder / "logs").glob("*"))


async def test_a_command_without_readyz_is_ready_when_it_answers_at_its_port(plane):
    await plane.initialise(FOREIGN)

    async with plane.traffic(rate=100) as generator:
        await wait_for_requests(generator, 50)

    assert generator.total.bad == 0
    assert set(generator.total.revisions()) == {FOREIGN.revision}


async def test_a_target_scaled_up_with_another_version_does_not_use_old_processes(plane):
    """Even within one step of the loop: processes that were scaled away do not count as capacity."""
    await plane.initialise(V1)

    await plane.workload.scale_down(plane.rollout)
    await plane.workload.deploy(Version(label="bad", faults=Faults.parse("start=never")))
    await plane.workload.scale_up(plane.rollout)

    await plane.until(lambda workloads: workloads.target.total == 1 and workloads.target.ready == 0)


async def test_a_successor_takes_over_the_plan_and_the_processes(proxy, tmp_path):
    async with workload.run_workload(*proxy, tmp_path, KEY) as predecessor:
        plane = Plane(*proxy, predecessor)
        await plane.initialise(V1)
        await plane.workload.deploy(V2)
        await plane.settle()
        await plane.workload.promote(plane.rollout, V2.revision)
        await plane.settle()
        before, running = await predecessor.observe(plane.rollout), await pids(plane, EnvoySide.PRIMARY)
    async with workload.run_workload(*proxy, tmp_path, KEY) as successor:
        after = await successor.observe(plane.rollout)

    assert after == before
    assert await pids(plane, EnvoySide.PRIMARY) == running
    assert before.restorable == (V1.revision, V2.revision)


async def test_changes_yields_the_rollouts_key(plane):
    changes = plane.workload.changes()

    await plane.workload.deploy(V1)

    assert await asyncio.wait_for(anext(changes), 10) == KEY
    await changes.aclose()


async def test_a_killed_envoy_is_an_error(plane):
    await plane.initialise(V1)
    envoy = (await plane.processes.all())["envoy"]

    os.kill(envoy.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        with pytest.raises(WorldError, match="Envoy does not answer"):
            await plane.until(lambda _: False)
