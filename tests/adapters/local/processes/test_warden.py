"""Tests of the warden: it keeps all processes, and ends them all."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from canarycore.errors import WorldError
from canarycore_local.processes import supervisor
from canarycore_local.processes.supervisor import find_processes, own_processes, stop_processes
from canarycore_local.processes.warden import RECORD
from tests.adapters.local.conftest import marked

pytestmark = pytest.mark.e2e

SLEEP = ("sleep", "1000")
STUBBORN = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(1000)")
WITH_A_CHILD = ("sh", "-c", "sleep 1000 & exec sleep 1000")


async def start(processes, folder, name="one", argv=SLEEP):
    await processes.start(name, argv, folder / f"{name}.log", env={"MINE": "yes"}, note={"port": 1})


async def start_stubborn(processes, folder):
    """Start a process that ignores SIGTERM, and wait until it does."""
    await start(processes, folder, argv=STUBBORN)
    async with asyncio.timeout(10):
        while not (folder / "one.log").read_text():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


async def wait_until_gone(mark, seconds=10):
    async with asyncio.timeout(seconds):
        while marked(mark):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def test_a_name_starts_one_process(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        await start(processes, tmp_path)
        first = (await processes.all())["one"]
        await start(processes, tmp_path)

        assert (await processes.all())["one"] == first
        assert (first.running, first.note) == (True, {"port": 1})
        await processes.end()


async def test_an_owner_that_returns_in_time_finds_all_processes(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        await start(processes, tmp_path)
        before = await processes.all()
    async with own_processes(tmp_path) as processes:
        assert await processes.all() == before
        await processes.end()


async def test_everything_ends_when_no_owner_returns(tmp_path, clean):
    async with own_processes(tmp_path, patience=0.5) as processes:
        await start(processes, tmp_path)
        await start(processes, tmp_path, "two", WITH_A_CHILD)

    await wait_until_gone(clean)
    assert await find_processes(tmp_path) is None


async def test_nothing_ends_while_an_owner_is_connected(tmp_path, clean):
    async with own_processes(tmp_path, patience=0.3) as processes:
        await start(processes, tmp_path)
        await asyncio.sleep(1.0)
        assert (await processes.all())["one"].running
        await processes.end()


@pytest.mark.parametrize("argv", [SLEEP, STUBBORN, WITH_A_CHILD])
async def test_the_end_reaches_processes_and_their_children(tmp_path, clean, argv):
    async with own_processes(tmp_path) as processes:
        await start(processes, tmp_path, argv=argv)
        await asyncio.sleep(0.3)
        await processes.end()

    await wait_until_gone(clean)


async def test_the_processes_of_a_killed_warden_end(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        await start(processes, tmp_path)
        os.kill(json.loads((tmp_path / "warden.json").read_text())["pid"], signal.SIGKILL)

        await wait_until_gone(clean)
        with pytest.raises(WorldError, match="the warden of the processes is gone"):
            await processes.all()
    async with own_processes(tmp_path) as processes:
        assert await processes.all() == {}
        await processes.end()


async def test_two_owners_share_one_warden(tmp_path, clean):
    async with own_processes(tmp_path) as first, own_processes(tmp_path) as second:
        await start(first, tmp_path)
        assert (await second.all()).keys() == {"one"}
        await first.end()


async def test_two_owners_that_start_at_once_share_one_warden(tmp_path, clean):
    async def enter():
        async with own_processes(tmp_path) as processes:
            await start(processes, tmp_path)
            return await processes.all()

    first, second = await asyncio.gather(enter(), enter())

    assert first == second
    assert await stop_processes(tmp_path)


async def test_a_warden_that_starts_too_late_serves_nobody(tmp_path, clean, monkeypatch):
    """Its owner has found another warden meanwhile; when that one ends, the folder's lock is free."""
    start_warden = supervisor._start_warden

    def start_late(folder, patience):
        first = start_warden(folder, patience)
        while not (folder / RECORD).exists():
            time.sleep(0.02)
        command = "sleep 1; exec %s -m canarycore_local.processes.warden %s"
        late = subprocess.Popen(["sh", "-c", command % (sys.executable, folder)], stdin=subprocess.DEVNULL)
        started.extend((first, late))
        return late

    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(supervisor, "_start_warden", start_late)
    async with own_processes(tmp_path) as processes:
        first, late = started
        assert processes.warden == first.pid
        assert late.poll() is not None
        await processes.end()
    await asyncio.to_thread(first.wait)


async def test_a_stubborn_process_is_killed_after_its_grace_and_frees_its_name(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        await start_stubborn(processes, tmp_path)
        await processes.stop("one", grace=0.2)
        with pytest.raises(WorldError, match="one is still running"):
            await processes.forget("one")
        async with asyncio.timeout(10):
            while (await processes.all())["one"].running:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)
        ended = (await processes.all())["one"]
        await processes.forget("one")
        await start(processes, tmp_path)

        assert ended.exit == -signal.SIGKILL
        assert (await processes.all())["one"].pid != ended.pid
        await processes.end()


async def test_a_missing_command_raises_an_error_with_its_name(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        with pytest.raises(WorldError, match=r"could not start one: FileNotFoundError.*no-such-command"):
            await start(processes, tmp_path, argv=("no-such-command",))
        await processes.end()


async def test_a_cancelled_request_leaves_the_connection_intact(tmp_path, clean):
    async with own_processes(tmp_path) as processes:
        await start(processes, tmp_path)
        for _ in range(20):
            request = asyncio.ensure_future(processes.all())
            await asyncio.sleep(0)
            request.cancel()
        await processes.stop("one")
        assert "one" in await processes.all()
        await processes.end()


async def test_stop_returns_false_without_a_warden(tmp_path):
    assert not await stop_processes(tmp_path)


async def test_an_owner_that_comes_during_the_end_starts_another_warden(tmp_path, clean):
    async with own_processes(tmp_path) as former:
        await start_stubborn(former, tmp_path)
        request = asyncio.ensure_future(former.end())
        await asyncio.sleep(0.2)  # the end has begun, and lasts for the grace of the stubborn process

        async with own_processes(tmp_path) as processes:
            assert await processes.all() == {}
            await start(processes, tmp_path)
            await request
            assert (await processes.all())["one"].running
            await processes.end()


async def test_two_owners_may_ask_for_the_end_at_once(tmp_path, clean):
    async with own_processes(tmp_path) as first, own_processes(tmp_path) as second:
        await start(first, tmp_path)
        await asyncio.gather(first.end(), second.end())

    assert not marked(clean)
