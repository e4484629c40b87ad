"""Calls of ports: they raise one kind of error, and a cancelled write is finished."""

import asyncio
from contextlib import suppress

import pytest

from canarycore.errors import Conflict, Refused, Unanswered, WorldError
from canarycore.text import LONGEST_TEXT
from canarycore_runtime._calls import (
    CANCELLATION_GRACE,
    AdapterFault,
    call_port,
    call_port_detached,
    describe,
    finish_write,
)
from canarycore_runtime.ports import ALLOWED_ERRORS
from canarycore_runtime.testing import Deadlock, simulated


@simulated
async def test_a_call_that_hangs_ends_as_an_error_that_names_it_and_its_time():
    async def observe():
        await asyncio.Event().wait()

    with pytest.raises(WorldError, match=r"observe took longer than 7 s"):
        await call_port(7, observe)
    assert asyncio.get_running_loop().time() == 7


@simulated
async def test_a_call_that_ignores_its_cancellation_is_left_behind():
    has_ended = asyncio.Event()

    async def query():
        while not has_ended.is_set():
            with suppress(asyncio.CancelledError):
                await has_ended.wait()

    with pytest.raises(WorldError, match=r"query took longer than 7 s, and goes on although it was cancelled"):
        await call_port_detached(7, query)
    assert asyncio.get_running_loop().time() == 7 + 2 * CANCELLATION_GRACE
    has_ended.set()


@simulated
async def test_a_detached_call_ends_with_its_caller():
    task = asyncio.ensure_future(call_port_detached(7, asyncio.Event().wait))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_text_of_an_error_is_bounded():
    assert len(describe(ValueError("x" * 1_000_000))) < 2 * LONGEST_TEXT


@simulated
async def test_an_exception_becomes_a_world_error_with_its_cause():
    async def observe():
        raise KeyError("spec")

    with pytest.raises(WorldError, match=r"observe failed: KeyError: 'spec'") as caught:
        await call_port(7, observe)
    assert isinstance(caught.value.__cause__, KeyError)


@simulated
async def test_a_timeout_inside_an_adapter_is_not_the_time_limit_of_the_call():
    async def observe():
        raise TimeoutError("read timed out")

    with pytest.raises(WorldError, match=r"failed: TimeoutError: read timed out"):
        await call_port(7, observe)


@simulated
async def test_a_conflict_stays_a_conflict():
    async def commit():
        raise Conflict("version 1 was read")

    with pytest.raises(Conflict):
        await call_port(7, commit)


@simulated
async def test_an_adapter_that_cancels_itself_cancels_no_other_task():
    async def observe():
        raise asyncio.CancelledError

    with pytest.raises(WorldError, match="cancelled by its adapter"):
        await call_port(7, observe)


@simulated
async def test_a_cancelled_caller_stays_cancelled():
    async def observe():
        await asyncio.Event().wait()

    task = asyncio.ensure_future(call_port(7, observe))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@simulated
async def test_a_write_is_carried_to_its_end_when_its_caller_is_cancelled():
    written = []

    async def write():
        await asyncio.sleep(5)
        written.append(True)

    task = asyncio.ensure_future(finish_write(write()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written
    assert asyncio.get_running_loop().time() == 5


@simulated
async def test_a_second_cancellation_abandons_a_write():
    written = []

    async def write():
        await asyncio.sleep(5)
        written.append(True)

    task = asyncio.ensure_future(finish_write(write()))
    for _ in range(2):
        await asyncio.sleep(1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(10)
    assert not written


@simulated
async def test_a_write_that_fails_while_its_caller_is_cancelled_is_not_reported_as_lost():
    lost = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: lost.append(context))

    async def write():
        await asyncio.sleep(5)
        raise WorldError("status 500")

    task = asyncio.ensure_future(finish_write(write()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(1)
    assert not lost


@simulated
async def test_simulated_time_jumps():
    await asyncio.sleep(86400)
    assert asyncio.get_running_loop().time() == pytest.approx(86400)


def test_simulated_time_tells_a_deadlock():
    @simulated
    async def wait():
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        wait()


class OwnError(Exception):
    """An error of an adapter's library."""


@pytest.mark.parametrize(
    "error",
    [
        *(WorldError, Conflict, Refused, Unanswered, OSError, TimeoutError, ConnectionResetError),
        *(OwnError, KeyError, TypeError, ValueError, RuntimeError, AssertionError, MemoryError, StopAsyncIteration),
    ],
)
async def test_only_the_errors_that_the_ports_allow_are_no_fault(error):
    async def observe():
        raise error("status 500")

    with pytest.raises(WorldError) as caught:
        await call_port(7, observe)
    assert isinstance(caught.value, AdapterFault) is not issubclass(error, ALLOWED_ERRORS)
