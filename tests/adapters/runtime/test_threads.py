"""Blocking calls: each owner has its own threads, and a call that hangs affects no other owner."""

import asyncio
import socket
import threading

import pytest

from canarycore_runtime import threads
from canarycore_runtime.threads import NameLookup, Threads


@pytest.fixture
def release():
    """Blocking calls wait for it; it is set in the end, or their threads would stay."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_call_returns_what_the_function_returns():
    assert await Threads().run(lambda first, second: first + second, 1, 2) == 3


async def test_a_call_raises_what_the_function_raises():
    def fail():
        raise LookupError("no such name")

    with pytest.raises(LookupError, match="no such name"):
        await Threads().run(fail)


async def test_calls_that_hang_leave_the_threads_of_others_free(release):
    hanging = [asyncio.create_task(Threads().run(release.wait)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await Threads().run(lambda: "done") == "done"
    assert not any(task.done() for task in hanging)
    release.set()
    assert await asyncio.gather(*hanging) == [True] * 100


async def test_calls_that_hang_leave_the_threads_of_the_loop_free(release):
    hanging = [asyncio.create_task(Threads().run(release.wait)) for _ in range(100)]
    assert await asyncio.to_thread(lambda: "done") == "done"
    assert not any(task.done() for task in hanging)
    release.set()
    await asyncio.gather(*hanging)


async def test_a_thread_that_a_cancelled_caller_left_counts_until_it_ends(release):
    own = Threads(1)
    first = asyncio.create_task(own.run(release.wait))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(own.run(lambda: "done"))
    await asyncio.sleep(0.05)
    assert not second.done()
    release.set()
    assert await second == "done"


async def test_no_thread_of_a_call_keeps_the_process_alive(release):
    hanging = asyncio.create_task(Threads().run(release.wait))
    await asyncio.sleep(0)
    own = [thread for thread in threading.enumerate() if thread.name == "canarycore call"]
    assert own
    assert all(thread.daemon for thread in own)
    release.set()
    await hanging


async def test_a_system_without_threads_is_an_error_of_the_system(monkeypatch):
    def full(self):
        raise RuntimeError("can't start new thread")

    own = Threads(1)
    monkeypatch.setattr(threads.threading.Thread, "start", full)
    for _ in range(2):
        with pytest.raises(OSError, match="no thread can be started"):
            await own.run(print)


async def test_a_name_is_looked_up_as_the_system_does():
    found = await NameLookup(Threads()).getaddrinfo("localhost", 80)
    assert {address[4][0] for address in found} & {"127.0.0.1", "::1"}


async def test_names_that_hang_leave_the_threads_of_the_loop_free(release, monkeypatch):
    """A name server that hangs is played: no name of the system's own may hang."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **options: release.wait())
    hanging = [asyncio.create_task(NameLookup(Threads()).getaddrinfo("name", 80)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 20) == "done"
    assert not any(task.done() for task in hanging)
    release.set()
    await asyncio.gather(*hanging)
