"""The warden: no process is lost, none is left behind."""

import asyncio
import json
import os
import signal
import sys

import pytest

from canarycore.errors import WorldError
from canarycore_local.processes.supervisor import find, own, stop_everything
from tests.adapters.local.conftest import marked

pytestmark = pytest.mark.e2e

SLEEP = ("sleep", "1000")
STUBBORN = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(1000)")
WITH_A_CHILD = ("sh", "-c", "sleep 1000 & exec sleep 1000")


async def start(processes, folder, name="one", argv=SLEEP):
    await processes.start(name, argv, folder / f"{name}.log", env={"MINE": "yes"}, note={"port": 1})


async def gone(mark, seconds=10):
    async with asyncio.timeout(seconds):
        while marked(mark):  # noqa: ASYNC110 - processes do not tell when they are gone
            await asyncio.sleep(0.05)


async def test_a_process_is_started_once_by_its_name(tmp_path, clean):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path)
        first = (await processes.all())["one"]
        await start(processes, tmp_path)

        assert (await processes.all())["one"] == first
        assert (first.running, first.note) == (True, {"port": 1})
        await processes.end()


async def test_whoever_comes_back_in_time_finds_every_process_as_it_was(tmp_path, clean):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path)
        before = await processes.all()
    async with own(tmp_path) as processes:
        assert await processes.all() == before
        await processes.end()


async def test_when_nobody_comes_back_everything_ends(tmp_path, clean):
    async with own(tmp_path, patience=0.5) as processes:
        await start(processes, tmp_path)
        await start(processes, tmp_path, "two", WITH_A_CHILD)

    await gone(clean)
    assert await find(tmp_path) is None


async def test_while_somebody_is_there_nothing_ends(tmp_path, clean):
    async with own(tmp_path, patience=0.3) as processes:
        await start(processes, tmp_path)
        await asyncio.sleep(1.0)
        assert (await processes.all())["one"].running
        await processes.end()


@pytest.mark.parametrize("argv", [SLEEP, STUBBORN, WITH_A_CHILD])
async def test_at_the_end_nothing_is_left_not_even_what_processes_started(tmp_path, clean, argv):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path, argv=argv)
        await asyncio.sleep(0.3)
        await processes.end()

    await gone(clean)


async def test_a_warden_that_is_killed_takes_its_processes_with_it(tmp_path, clean):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path)
        os.kill(json.loads((tmp_path / "warden.json").read_text())["pid"], signal.SIGKILL)

        await gone(clean)
        with pytest.raises(WorldError, match="the warden of the processes is gone"):
            await processes.all()
    async with own(tmp_path) as processes:
        assert await processes.all() == {}
        await processes.end()


async def test_two_owners_at_once_find_one_warden(tmp_path, clean):
    async with own(tmp_path) as first, own(tmp_path) as second:
        await start(first, tmp_path)
        assert (await second.all()).keys() == {"one"}
        await first.end()


async def test_two_that_start_a_warden_at_once_share_it(tmp_path, clean):
    async def enter():
        async with own(tmp_path) as processes:
            await start(processes, tmp_path)
            return await processes.all()

    first, second = await asyncio.gather(enter(), enter())

    assert first == second
    assert await stop_everything(tmp_path)


async def test_a_stopped_process_ends_by_its_grace_and_its_name_can_be_used_again(tmp_path, clean):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path, argv=STUBBORN)
        async with asyncio.timeout(10):
            while not (tmp_path / "one.log").read_text():  # noqa: ASYNC110 - it has not set its handler yet
                await asyncio.sleep(0.02)
        await processes.stop("one", grace=0.2)
        with pytest.raises(WorldError, match="one is still running"):
            await processes.forget("one")
        async with asyncio.timeout(10):
            while (await processes.all())["one"].running:  # noqa: ASYNC110 - it does not tell its end
                await asyncio.sleep(0.02)
        ended = (await processes.all())["one"]
        await processes.forget("one")
        await start(processes, tmp_path)

        assert ended.exit == -signal.SIGKILL
        assert (await processes.all())["one"].pid != ended.pid
        await processes.end()


async def test_a_command_that_is_not_there_is_a_trouble_with_its_name(tmp_path, clean):
    async with own(tmp_path) as processes:
        with pytest.raises(WorldError, match=r"could not start one: FileNotFoundError.*no-such-command"):
            await start(processes, tmp_path, argv=("no-such-command",))
        await processes.end()


async def test_a_cancelled_question_leaves_the_connection_in_order(tmp_path, clean):
    async with own(tmp_path) as processes:
        await start(processes, tmp_path)
        for _ in range(20):
            question = asyncio.ensure_future(processes.all())
            await asyncio.sleep(0)
            question.cancel()
        await processes.stop("one")
        assert "one" in await processes.all()
        await processes.end()


async def test_stopping_where_nothing_runs_says_so(tmp_path):
    assert not await stop_everything(tmp_path)
