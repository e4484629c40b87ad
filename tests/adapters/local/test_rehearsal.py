"""Tests of whole rehearsals: real traffic, real processes, real decisions."""

import asyncio
import json
import random
import signal
import sys
from contextlib import suppress

import aiohttp
import pytest
from attrs import evolve

from canarycore import Check, CheckKind, CommandKind, Phase, Reason, Routes
from canarycore.errors import WorldError
from canarycore.questions import MetricQuestion
from canarycore_local.processes.faults import Faults
from canarycore_local.processes.versions import Version
from canarycore_local.rehearsal import STARTING, RehearsalError, accelerate, rehearse, resume, stop
from canarycore_local.requests.generator import TrafficPlan, open_generator
from canarycore_local.store import SqliteStore
from canarycore_runtime import Runner
from tests.adapters.local import owner
from tests.adapters.local.conftest import marked
from tests.chance import is_share

V1, V2 = owner.SCRIPT.versions
LONGEST = 4.5
"""The shortest duration of the rehearsal in `owner`, in seconds; kills happen before."""


def test_acceleration_divides_times_but_keeps_deadlines_long_enough_for_a_start():
    rollout = evolve(owner.ROLLOUT, interval=60, drain=1, progress_deadline=600)

    fast = accelerate(rollout, 20)
    faster = accelerate(rollout, 1000)

    assert (fast.interval, fast.drain, fast.progress_deadline) == (3.0, 0.05, 30.0)
    assert [check.window for check in fast.checks] == [0.5]
    assert faster.progress_deadline == STARTING
    assert accelerate(evolve(rollout, progress_deadline=4), 20).progress_deadline == 4
    assert accelerate(rollout, 1) == rollout


async def run(folder, **changes):
    """Run a rehearsal from beginning to end, and return it."""
    script = evolve(owner.SCRIPT, traffic=TrafficPlan(rate=200), **changes)
    async with rehearse(folder, script, owner.stage(folder)) as rehearsal, Runner(rehearsal.parts):
        rehearsal.final = await rehearsal.play()
        rehearsal.final_routes = await rehearsal.parts.router.observe(rehearsal.rollout)
        rehearsal.final_workloads = await rehearsal.workload.observe(rehearsal.rollout)
    return rehearsal


def read_notices(folder):
    """Return the kinds of the published notices, without repeats."""
    lines = [tuple(json.loads(line)) for line in (folder / "notices.jsonl").read_text().splitlines()]
    return [kind for kind, _ in dict.fromkeys(lines)]


@pytest.mark.e2e
async def test_a_good_version_is_promoted_and_no_request_is_lost(tmp_path, clean):
    rehearsal = await run(tmp_path)

    assert (rehearsal.final.phase, rehearsal.final.promoted) == (Phase.SUCCEEDED, V2.revision)
    assert rehearsal.generator.total.bad == 0
    assert (rehearsal.final_routes, rehearsal.final_workloads.target.desired) == (Routes(), 0)
    assert [split.routes.weight for split in rehearsal.splits()] == [0, 20, 40, 60, 0]
    for split in rehearsal.splits():
        window = split.window
        assert is_share(window.side("canary").requests, window.requests, split.routes.weight), split


@pytest.mark.e2e
async def test_a_bad_version_is_rolled_back_and_has_all_bad_requests(tmp_path, clean):
    bad = Version(label="bad", faults=Faults(errors=50))
    rehearsal = await run(tmp_path, versions=(V1, bad), rollout=evolve(owner.ROLLOUT, threshold=2))

    total = rehearsal.generator.total
    assert (rehearsal.final.phase, rehearsal.final.reason) == (Phase.FAILED, Reason.CHECKS)
    assert rehearsal.final.promoted == V1.revision
    assert (rehearsal.final_routes, rehearsal.final_workloads.target.desired) == (Routes(), 0)
    assert 0 < total.bad == total.revisions()[bad.revision].bad


@pytest.mark.e2e
async def test_a_version_that_crashes_at_its_start_is_rolled_back_and_gets_no_request(tmp_path, clean):
    rollout = evolve(owner.ROLLOUT, progress_deadline=3)
    bad = Version(label="bad", faults=Faults.parse("start=crash"))
    rehearsal = await run(tmp_path, versions=(V1, bad), rollout=rollout)

    assert (rehearsal.final.phase, rehearsal.final.reason) == (Phase.FAILED, Reason.DEADLINE)
    assert set(rehearsal.generator.total.revisions()) == {V1.revision}
    assert rehearsal.generator.total.bad == 0


@pytest.mark.e2e
async def test_metrics_agree_with_the_generator(tmp_path, clean):
    """Compare the counters of Envoy and of the generator after the last answer of the canary."""
    check = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=1.0, window=10_000.0)
    slow = Check(name="request-duration", kind=CheckKind.DURATION, maximum=10_000.0, window=10_000.0)
    version = Version(label="slow", faults=Faults.parse("errors=10%,latency=100ms"))
    script = evolve(owner.SCRIPT, versions=(V1, version), traffic=TrafficPlan(rate=200))
    script = evolve(script, rollout=evolve(owner.ROLLOUT, checks=(check, slow)))

    async with rehearse(tmp_path, script) as rehearsal, Runner(rehearsal.parts):
        await rehearsal.play()
        questions = [MetricQuestion(check.name, check, version.revision) for check in rehearsal.rollout.checks]
        rate, duration = [await rehearsal.parts.metrics.query(rehearsal.rollout, question) for question in questions]

    tally = rehearsal.generator.total.side("canary")
    assert (rate.samples, rate.value) == (tally.requests, pytest.approx(tally.success_rate))
    assert 100 <= duration.value <= 1.1 * 1000 * tally.quantile(0.999)


@pytest.mark.e2e
async def test_versions_roll_out_one_after_the_other(tmp_path, clean):
    versions = (V1, Version(label="bad", faults=Faults(errors=90)), V2)
    rehearsal = await run(tmp_path, versions=versions, rollout=evolve(owner.ROLLOUT, threshold=1))

    assert (rehearsal.final.phase, rehearsal.final.promoted) == (Phase.SUCCEEDED, V2.revision)
    assert read_notices(tmp_path).count("FAILED") == 1
    assert read_notices(tmp_path).count("SUCCEEDED") == 1


@pytest.mark.e2e
async def test_a_rehearsal_carries_out_commands_of_other_processes(tmp_path, clean):
    async def abort_in_time(rehearsal):
        async with asyncio.timeout(30):
            while (await rehearsal.store.load(rehearsal.key)).status.phase is not Phase.PROGRESSING:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await SqliteStore(tmp_path / "status.sqlite").send_command(rehearsal.key, CommandKind.ABORT)

    async with rehearse(tmp_path, owner.SCRIPT) as rehearsal, Runner(rehearsal.parts), asyncio.TaskGroup() as group:
        group.create_task(abort_in_time(rehearsal))
        final = await rehearsal.play()

    assert (final.phase, final.reason) == (Phase.FAILED, Reason.ABORTED)


@pytest.mark.e2e
async def test_a_folder_has_one_rehearsal_and_one_process(tmp_path, clean):
    with pytest.raises(RehearsalError, match="found no rehearsal to resume"):
        async with resume(tmp_path):
            pass
    async with rehearse(tmp_path, owner.SCRIPT):
        with pytest.raises(RehearsalError, match="another process rehearses there"):
            async with resume(tmp_path):
                pass
    with pytest.raises(RehearsalError, match="found a rehearsal: resume it"):
        async with rehearse(tmp_path, owner.SCRIPT):
            pass


@pytest.mark.e2e
@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, ValueError])
async def test_all_processes_end_with_the_context(tmp_path, clean, error):
    addresses = []

    async def leave():
        async with rehearse(tmp_path, owner.SCRIPT) as rehearsal:
            addresses.append(rehearsal.address)
            async with asyncio.timeout(20):
                while len(marked(clean)) < 3:  # noqa: ASYNC110 - warden, Envoy and a version
                    await asyncio.sleep(0.05)
            raise error

    with pytest.raises(error):
        await leave()

    assert not marked(clean)
    with pytest.raises(OSError, match="Cannot connect"):
        await _get(addresses[0])


@pytest.mark.e2e
async def test_stop_ends_the_processes_of_a_killed_rehearsal(tmp_path, clean):
    process = await _start(tmp_path)
    await _serving(tmp_path)
    process.kill()
    await process.wait()
    assert len(marked(clean)) >= 3

    assert await stop(tmp_path)

    assert not await stop(tmp_path)


def moments(number):
    """Return the moments of kills in seconds, the same in every run."""
    draw = random.Random(7)
    return [round(draw.uniform(0, LONGEST), 2) for _ in range(number)]


@pytest.mark.e2e
@pytest.mark.parametrize("moment", moments(3))
async def test_a_killed_rehearsal_is_resumed_to_the_same_end(tmp_path, clean, moment):
    await _kill_and_resume(tmp_path, clean, moment)


@pytest.mark.deep
@pytest.mark.parametrize("moment", moments(30)[3:])
async def test_a_rehearsal_killed_at_any_moment_is_resumed_to_the_same_end(tmp_path, clean, moment):
    await _kill_and_resume(tmp_path, clean, moment)


async def _kill_and_resume(folder, mark, moment):
    """Kill and resume a rehearsal under separate traffic, whose counts survive the killed generator."""
    process = await _start(folder)
    watch = asyncio.create_task(_watch(folder))
    await asyncio.sleep(moment)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()
    try:
        async with resume(folder, owner.stage(folder)) as rehearsal, Runner(rehearsal.parts):
            stored = await rehearsal.store.load(rehearsal.key)
            final = await rehearsal.play()
            routes = await rehearsal.parts.router.observe(rehearsal.rollout)
            watch.cancel()
            users = await watch
    except RehearsalError:
        assert not (folder / "script.json").exists(), "the process was killed before the rehearsal began"
        watch.cancel()
        return

    assert (final.phase, final.promoted, final.applied) == (Phase.SUCCEEDED, V2.revision, V2.revision)
    if not stored.status.is_settled:  # otherwise it had ended, and stopped serving
        assert routes == Routes()
        assert users.total.bad == 0
    assert users.total.requests > 0
    assert read_notices(folder).count("COPYING") == 1
    assert read_notices(folder).count("SUCCEEDED") == 1
    assert not marked(mark)


async def _start(folder):
    command = (sys.executable, owner.__file__, str(folder))
    return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)


async def _watch(folder):
    """Send requests to the rehearsal's Envoy until cancelled, and return the generator."""
    address = await _serving(folder)
    async with open_generator(address, TrafficPlan(rate=50)) as users:
        users.start()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    return users


async def _serving(folder):
    """Wait until the primary answers, and return the URL of the rehearsal's Envoy."""
    while True:
        with suppress(OSError, ValueError, KeyError, WorldError):
            admin = await asyncio.to_thread((folder / "envoy" / "admin").read_text)
            listeners = json.loads(await _get(f"http://{admin.strip()}/listeners?format=json"))
            port = listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"]
            address = f"http://127.0.0.1:{port}"
            if "greetings" in await _get(address):
                return address
        await asyncio.sleep(0.05)


async def _get(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()
