"""Whole rehearsals: real traffic, real processes, a policy that decides."""

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
from canarycore_local.requests.generator import TrafficPlan, generating
from canarycore_local.store import SqliteStore
from canarycore_runtime import Runner
from tests.adapters.local import owner
from tests.adapters.local.conftest import marked
from tests.chance import is_share

V1, V2 = owner.SCRIPT.versions
LONGEST = 4.5
"""Seconds that the rehearsal of `owner` takes at least: whoever is killed is killed in the middle."""


def test_times_are_divided_but_no_deadline_below_what_a_process_takes_to_start():
    rollout = evolve(owner.ROLLOUT, interval=60, drain=1, progress_deadline=600)

    fast = accelerate(rollout, 20)
    faster = accelerate(rollout, 1000)

    assert (fast.interval, fast.drain, fast.progress_deadline) == (3.0, 0.05, 30.0)
    assert [check.window for check in fast.checks] == [0.5]
    assert faster.progress_deadline == STARTING
    assert accelerate(evolve(rollout, progress_deadline=4), 20).progress_deadline == 4
    assert accelerate(rollout, 1) == rollout


async def run(folder, **changes):
    """A rehearsal from beginning to end."""
    script = evolve(owner.SCRIPT, traffic=TrafficPlan(rate=200), **changes)
    async with rehearse(folder, script, owner.stage(folder)) as rehearsal, Runner(rehearsal.parts):
        rehearsal.final = await rehearsal.play()
        rehearsal.left = await rehearsal.parts.router.observe(rehearsal.rollout)
        rehearsal.world = await rehearsal.workload.observe(rehearsal.rollout)
    return rehearsal


def told(folder):
    """The texts told, without repeats."""
    lines = [tuple(json.loads(line)) for line in (folder / "told.jsonl").read_text().splitlines()]
    return [tell for tell, _ in dict.fromkeys(lines)]


@pytest.mark.e2e
async def test_a_good_version_is_promoted_and_no_request_is_lost(tmp_path, clean):
    rehearsal = await run(tmp_path)

    assert (rehearsal.final.phase, rehearsal.final.promoted) == (Phase.SUCCEEDED, V2.revision)
    assert rehearsal.generator.total.bad == 0
    assert (rehearsal.left, rehearsal.world.target.desired) == (Routes(), 0)
    assert [split.routes.weight for split in rehearsal.splits()] == [0, 20, 40, 60, 0]
    for split in rehearsal.splits():
        window = split.window
        assert is_share(window.side("canary").requests, window.requests, split.routes.weight), split


@pytest.mark.e2e
async def test_a_bad_version_is_rolled_back_and_only_its_share_of_users_saw_it(tmp_path, clean):
    bad = Version(label="bad", faults=Faults(errors=50))
    rehearsal = await run(tmp_path, versions=(V1, bad), rollout=evolve(owner.ROLLOUT, threshold=2))

    total = rehearsal.generator.total
    assert (rehearsal.final.phase, rehearsal.final.reason) == (Phase.FAILED, Reason.CHECKS)
    assert rehearsal.final.promoted == V1.revision
    assert (rehearsal.left, rehearsal.world.target.desired) == (Routes(), 0)
    assert 0 < total.bad == total.revisions()[bad.revision].bad


@pytest.mark.e2e
async def test_a_version_that_crashes_on_start_is_rolled_back_and_sees_no_request(tmp_path, clean):
    rollout = evolve(owner.ROLLOUT, progress_deadline=3)
    bad = Version(label="bad", faults=Faults.parse("start=crash"))
    rehearsal = await run(tmp_path, versions=(V1, bad), rollout=rollout)

    assert (rehearsal.final.phase, rehearsal.final.reason) == (Phase.FAILED, Reason.DEADLINE)
    assert set(rehearsal.generator.total.revisions()) == {V1.revision}
    assert rehearsal.generator.total.bad == 0


@pytest.mark.e2e
async def test_metrics_agree_with_what_users_saw(tmp_path, clean):
    """Envoy's counters and the generator's, once every request that met the canary is answered."""
    check = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=1.0, window=10_000.0)
    slow = Check(name="request-duration", kind=CheckKind.DURATION, maximum=10_000.0, window=10_000.0)
    version = Version(label="slow", faults=Faults.parse("errors=10%,latency=100ms"))
    script = evolve(owner.SCRIPT, versions=(V1, version), traffic=TrafficPlan(rate=200))
    script = evolve(script, rollout=evolve(owner.ROLLOUT, checks=(check, slow)))

    async with rehearse(tmp_path, script) as rehearsal, Runner(rehearsal.parts):
        await rehearsal.play()
        questions = [MetricQuestion(one.name, one, version.revision) for one in rehearsal.rollout.checks]
        rate, duration = [await rehearsal.parts.metrics.query(rehearsal.rollout, one) for one in questions]

    seen = rehearsal.generator.total.side("canary")
    assert (rate.samples, rate.value) == (seen.requests, pytest.approx(seen.success_rate))
    assert 100 <= duration.value <= 1.1 * 1000 * seen.quantile(0.999)


@pytest.mark.e2e
async def test_several_versions_are_rolled_out_one_after_the_other(tmp_path, clean):
    versions = (V1, Version(label="bad", faults=Faults(errors=90)), V2)
    rehearsal = await run(tmp_path, versions=versions, rollout=evolve(owner.ROLLOUT, threshold=1))

    assert (rehearsal.final.phase, rehearsal.final.promoted) == (Phase.SUCCEEDED, V2.revision)
    assert told(tmp_path).count("FAILED") == 1
    assert told(tmp_path).count("SUCCEEDED") == 1


@pytest.mark.e2e
async def test_a_command_of_another_process_is_carried_out(tmp_path, clean):
    async def abort_in_time(rehearsal):
        async with asyncio.timeout(30):
            while (await rehearsal.store.load(rehearsal.key)).status.phase is not Phase.PROGRESSING:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await SqliteStore(tmp_path / "status.sqlite").give(rehearsal.key, CommandKind.ABORT)

    async with rehearse(tmp_path, owner.SCRIPT) as rehearsal, Runner(rehearsal.parts), asyncio.TaskGroup() as group:
        group.create_task(abort_in_time(rehearsal))
        final = await rehearsal.play()

    assert (final.phase, final.reason) == (Phase.FAILED, Reason.ABORTED)


@pytest.mark.e2e
async def test_a_folder_is_rehearsed_in_once_and_by_one_process(tmp_path, clean):
    with pytest.raises(RehearsalError, match="holds no rehearsal to resume"):
        async with resume(tmp_path):
            pass
    async with rehearse(tmp_path, owner.SCRIPT):
        with pytest.raises(RehearsalError, match="another process rehearses in"):
            async with resume(tmp_path):
                pass
    with pytest.raises(RehearsalError, match="holds a rehearsal already: resume it"):
        async with rehearse(tmp_path, owner.SCRIPT):
            pass


@pytest.mark.e2e
@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, ValueError])
async def test_however_it_is_left_nothing_runs_afterwards(tmp_path, clean, error):
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
async def test_what_a_killed_process_left_running_can_be_stopped(tmp_path, clean):
    process = await _start(tmp_path)
    await _serving(tmp_path)
    process.kill()
    await process.wait()
    assert len(marked(clean)) >= 3

    assert await stop(tmp_path)

    assert not await stop(tmp_path)


def moments(number):
    """Seconds after which the rehearsing process is killed, the same in every run."""
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
    """Traffic of our own goes on throughout: what users would lose is seen, not what the killed generator lost."""
    process = await _start(folder)
    watch = asyncio.create_task(_watch(folder))
    await asyncio.sleep(moment)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()
    try:
        async with resume(folder, owner.stage(folder)) as rehearsal, Runner(rehearsal.parts):
            found = await rehearsal.store.load(rehearsal.key)
            final = await rehearsal.play()
            left = await rehearsal.parts.router.observe(rehearsal.rollout)
            watch.cancel()
            users = await watch
    except RehearsalError:
        assert not (folder / "script.json").exists(), "it was killed before it had begun"
        watch.cancel()
        return

    assert (final.phase, final.promoted, final.applied) == (Phase.SUCCEEDED, V2.revision, V2.revision)
    if not found.status.is_settled:  # else it was over, and stopped serving by itself
        assert left == Routes()
        assert users.total.bad == 0
    assert users.total.requests > 0
    assert told(folder).count("COPYING") == 1
    assert told(folder).count("SUCCEEDED") == 1
    assert not marked(mark)


async def _start(folder):
    command = (sys.executable, owner.__file__, str(folder))
    return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)


async def _watch(folder):
    """Users of the rehearsal's Envoy from the moment it serves until the watch is cancelled."""
    address = await _serving(folder)
    async with generating(address, TrafficPlan(rate=50)) as users:
        users.start()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    return users


async def _serving(folder):
    """The address of the rehearsal's Envoy, once the primary answers there."""
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
