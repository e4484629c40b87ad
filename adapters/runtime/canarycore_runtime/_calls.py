"""Calls of ports: bounded in time and number, with one kind of error.

An adapter may raise, hang, or cancel itself. `call_port` turns each into a `WorldError`, so nothing else reaches the
core, and the failure concerns one rollout only. An error that no port allows, such as a TypeError, is an
`AdapterFault`. `call_port_detached` also abandons an adapter that goes on after its
cancellation. `finish_write` completes a write although its caller is cancelled.
"""

from __future__ import annotations

import asyncio
from math import ceil, floor
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen
from attrs.validators import ge, gt

from canarycore.errors import WorldError
from canarycore.text import LONGEST_TEXT, clip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

CANCELLATION_GRACE = 1.0
"""Seconds that a cancelled adapter has to end before the runner abandons it."""


class AdapterFault(WorldError):
    """An adapter raised an error that its port does not allow, or answered with another type.

    It needs a change of the program. Until then the rollout is held: no check fails, and the runner goes on trying.
    """


EARLY = 1e-6
"""Seconds by which a timer may be early; `decide` tolerates as much."""


@frozen(kw_only=True)
class Limits:
    """The bounds of a runner: simultaneous work, waits and pauses. Times are in seconds."""

    cycles: int = field(default=64, validator=ge(1))
    """Cycles under way at the same time. A cycle that waits for an answer does not count. One namespace has at most
    two thirds of them: its slow cycles leave room for those of others that are due at the same moment. Even when all
    are taken, a namespace with few may begin one more, up to a sixteenth of them and one."""

    lane: int = field(default=32, validator=ge(1))
    """Questions of one namespace that one server has at the same time. For notices, each notifier is a server."""

    server: int = field(default=128, validator=ge(1))
    """Questions of all namespaces that one server has at the same time."""

    namespace: int = field(default=128, validator=ge(1))
    """Questions of one namespace at the same time, at all servers together."""

    questions: int = field(default=512, validator=ge(1))
    """Questions at the same time, of all namespaces at all servers together."""

    slot_wait: float = field(default=30.0, validator=gt(0))
    """The longest wait of a question for a slot under these bounds. Then the runner holds the question: it decides
    nothing without it, counts no failure, and asks again after a back-off."""

    call: float = field(default=30.0, validator=gt(0))
    """The longest call of a port, from the moment that it has its slot. A hook has its own time limit for each attempt,
    and this one in addition."""

    publish: float = field(default=5.0, validator=gt(0))
    """The longest attempt of one notifier at one notice."""

    backoff: float = field(default=0.1, validator=gt(0))
    """The first wait after a failure; it doubles with each further one."""

    max_backoff: float = field(default=30.0, validator=gt(0))
    """The longest wait after a failure."""

    max_refusal_backoff: float = field(default=300.0, validator=gt(0))
    """The longest wait before an effect that the cluster refuses for good is tried again without a change."""

    patience: float = field(default=1.0, validator=ge(0))
    """The longest that a change waits for a rollout whose effects fail or whose cluster does not follow them."""

    resync: float = field(default=60.0, validator=gt(0))
    """The time between lists of the store, and the longest time between cycles of a rollout that waits for a change: a
    source may miss one."""

    spread: float = field(default=0.0, validator=ge(0))
    """The longest time over which the runner spreads the first cycles of the rollouts that its first list finds. Each
    has its own moment by its key, the same after a restart."""

    pace: float = field(default=1.0, validator=gt(0))
    """Rollouts per second while the runner spreads them, so that a few rollouts begin soon."""

    grace: float = field(default=10.0, validator=ge(0))
    """The time that `Runner.stop` leaves to cycles under way before it cancels them."""

    step: float = field(default=0.0, validator=ge(0))
    """The length of a time step; 0 for continuous time. The runner starts all cycles due within a step together at its
    end, which costs less than a wake-up for each, and uses the beginning of the present step as the time of an
    observation. So an interval of whole steps stays exact, however long answers take. A change starts a cycle at
    once."""

    def refusal_delay(self, attempts: int) -> float:
        """Return the pause in seconds after so many refused attempts: half of a doubling back-off.

        So the next cycle, which waits for half of its own back-off at least, does try again.
        """
        return min(self.max_refusal_backoff, self.backoff * 2.0 ** min(attempts - 1, 60)) / 2

    def now(self, moment: float) -> float:
        """Return the beginning of the step that contains a moment (seconds since the epoch)."""
        return floor((moment + EARLY) / self.step) * self.step if self.step else moment

    def end(self, moment: float) -> float:
        """Return the end of the step that contains a moment (seconds since the epoch)."""
        return ceil((moment - EARLY) / self.step) * self.step if self.step else moment


async def call_port(seconds: float, port: Callable[..., Awaitable[T]], *args: object) -> T:
    """Return the port's answer. Raises WorldError, by the adapter or with a description of its failure, and only it.

    The failure is an AdapterFault unless the adapter raised a WorldError or an OSError, or took too long.
    """
    name = _name_of(port)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await port(*args)
    except WorldError:
        raise
    except asyncio.CancelledError as error:
        if is_cancelled_from_outside():
            raise
        raise WorldError(f"{name} was cancelled by its adapter") from error
    except OSError as error:
        if limit.expired():
            raise WorldError(f"{name} took longer than {seconds:g} s") from error
        raise WorldError(f"{name} failed: {describe(error)}") from error
    except Exception as error:
        raise AdapterFault(f"{name} failed: {describe(error)}") from error


async def call_port_detached(seconds: float, port: Callable[..., Awaitable[T]], *args: object) -> T:
    """Like `call_port`, but abandon an adapter that ignores its cancellation."""
    task = asyncio.ensure_future(call_port(seconds, port, *args))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # else asyncio logs a lost exception
    try:
        await asyncio.wait({task}, timeout=seconds + CANCELLATION_GRACE)
    finally:
        if task.cancel():
            await asyncio.wait({task}, timeout=CANCELLATION_GRACE)
    if not task.done() or task.cancelled():
        raise WorldError(f"{_name_of(port)} took longer than {seconds:g} s, and goes on although it was cancelled")
    return task.result()


def check_type(port: str, answer: object, *expected: type) -> None:
    """Raise AdapterFault if the answer of a port has none of these types."""
    if not isinstance(answer, expected):
        names = " or ".join(["None" if kind is NoneType else kind.__name__ for kind in expected])
        raise AdapterFault(f"{port} answered with {type(answer).__name__}, expected {names}")


def describe(error: BaseException) -> str:
    """Return an error's type and a bounded text, or the type alone where the text of the error raises.

    A WorldError has its text alone.
    """
    kind = type(error).__name__
    try:
        text = clip(str(error), LONGEST_TEXT)
        return text if text and isinstance(error, WorldError) else f"{kind}: {text}"
    except Exception:  # noqa: BLE001 - an adapter's error may raise anything
        return kind


def _name_of(port: Callable[..., Any]) -> str:
    return getattr(port, "__qualname__", type(port).__name__)


def is_cancelled_from_outside() -> bool:
    """Check whether the owner of this task cancelled it; else a CancelledError comes from an adapter."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def finish_write(write: Coroutine[Any, Any, T]) -> T:
    """Return the result of `write`. A first cancellation waits for it, a second one abandons it."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    finally:
        if not task.cancel() and not task.cancelled():
            task.exception()  # else asyncio logs a lost exception
