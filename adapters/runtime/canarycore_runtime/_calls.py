"""How a port is called: for a bounded time, in a bounded number at once, and with one kind of error coming back.

An adapter may raise, hang, or cancel itself. `call` turns each into a `WorldError`, so that nothing else reaches the
core, and only the rollout that asked is concerned. `call_detached` leaves behind an adapter that goes on although it is
cancelled. `whole` carries a write to its end when its caller is cancelled.
"""

from __future__ import annotations

import asyncio
from math import ceil, floor
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen
from attrs.validators import ge, gt

from canarycore.errors import WorldError
from canarycore.text import LONGEST_TEXT, clip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

STUBBORN = 1.0
"""Seconds that a cancelled adapter has to end, before it is left behind."""

EARLY = 1e-6
"""Seconds by which a timer may be early; `decide` forgives as much."""


@frozen(kw_only=True)
class Limits:
    """How much a runner does at once, and how long it waits. Times are in seconds.

    cycles: how many cycles are under way at once; one that waits for an answer does not count.
    lane, server: how many questions one server has before it at once, from one namespace and from all of them. For
    notices, each notifier is a server.
    namespace, questions: how many questions are put at once, by one namespace and by all of them, whatever the servers.
    slot_wait: how long a question waits for its turn under these bounds. Then it is held: nothing is decided without
    it, it counts as no failure, and it is put again after a back-off.
    call: how long one call of a port may take, from the moment that it has its turn; a hook has its own time-out for
    each attempt, and this on top.
    tell: how long one notifier may take over one notice.
    backoff, backoff_most: the first and the longest wait after a failure; it doubles in between.
    patience: the longest that a change waits for a rollout whose effects fail or whose world does not follow.
    resync: the store is listed so often, and a rollout that waits for a change is looked at anyway: one may be missed.
    spread: the rollouts found first are first looked at over so many seconds at most, each at a moment of its own,
    which its key tells: the same after a restart. pace: rollouts a second, so that few are not kept waiting.
    grace: how long `stop` waits for cycles under way before it cancels them.
    step: time goes in steps so long: what is due within one is looked at together at its end, which costs less than to
    wake up for each, and what a look takes for now is the beginning of its step. So intervals of whole steps are kept
    to the moment, however long answers take. A change is looked at at once. 0: time flows.
    """

    cycles: int = field(default=64, validator=ge(1))
    lane: int = field(default=32, validator=ge(1))
    server: int = field(default=128, validator=ge(1))
    namespace: int = field(default=128, validator=ge(1))
    questions: int = field(default=512, validator=ge(1))
    slot_wait: float = field(default=30.0, validator=gt(0))
    call: float = field(default=30.0, validator=gt(0))
    tell: float = field(default=5.0, validator=gt(0))
    backoff: float = field(default=0.1, validator=gt(0))
    backoff_most: float = field(default=30.0, validator=gt(0))
    patience: float = field(default=1.0, validator=ge(0))
    resync: float = field(default=60.0, validator=gt(0))
    spread: float = field(default=0.0, validator=ge(0))
    pace: float = field(default=1.0, validator=gt(0))
    grace: float = field(default=10.0, validator=ge(0))
    step: float = field(default=0.0, validator=ge(0))

    def now(self, moment: float) -> float:
        """The beginning of the step that a moment is in (seconds since the epoch, as are the others)."""
        return floor((moment + EARLY) / self.step) * self.step if self.step else moment

    def end(self, moment: float) -> float:
        """The end of that step; the moment itself if it is one."""
        return ceil((moment - EARLY) / self.step) * self.step if self.step else moment


async def call(seconds: float, port: Callable[..., Awaitable[T]], *args: object) -> T:
    """The port's answer. Raises WorldError (the adapter's own, or one that says what happened), never anything else."""
    name = _name_of(port)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await port(*args)
    except WorldError:
        raise
    except asyncio.CancelledError as error:
        if cancelled_from_outside():
            raise
        raise WorldError(f"{name} was cancelled by its adapter") from error
    except Exception as error:
        if limit.expired():
            raise WorldError(f"{name} took longer than {seconds:g} s") from error
        raise WorldError(f"{name} failed: {describe(error)}") from error


async def call_detached(seconds: float, port: Callable[..., Awaitable[T]], *args: object) -> T:
    """Like `call`, for an adapter that may swallow its cancellation: then it is left behind, and holds nothing up."""
    task = asyncio.ensure_future(call(seconds, port, *args))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # or asyncio reports it as lost
    try:
        await asyncio.wait({task}, timeout=seconds + STUBBORN)
    finally:
        if task.cancel():
            await asyncio.wait({task}, timeout=STUBBORN)
    if not task.done() or task.cancelled():
        raise WorldError(f"{_name_of(port)} took longer than {seconds:g} s, and goes on although it was cancelled")
    return task.result()


def describe(error: BaseException) -> str:
    """Return an error's type and a bounded text; an adapter's error may fail to tell its text."""
    kind = type(error).__name__
    try:
        return f"{kind}: {clip(str(error), LONGEST_TEXT)}"
    except Exception:  # noqa: BLE001 - whatever an adapter's error raises
        return kind


def _name_of(port: Callable[..., Any]) -> str:
    return getattr(port, "__qualname__", type(port).__name__)


def cancelled_from_outside() -> bool:
    """Whether somebody wants this task to end; a CancelledError without that is an adapter's own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def whole(write: Coroutine[Any, Any, T]) -> T:
    """The outcome of `write`; a first cancellation waits for it, a second one abandons it."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    finally:
        if not task.cancel() and not task.cancelled():
            task.exception()  # looked at, or asyncio reports it as lost
