"""Simulated time for asyncio: when no task is ready, the clock jumps to the next timer.

    @simulated
    async def test_a_day_passes() -> None:
        await asyncio.sleep(86400)

All timers of the event loop follow it: sleeps, time-outs, the runner's timers. Work outside the loop (threads, sockets,
processes) takes no simulated time, so use it for code that stays inside.
"""

from __future__ import annotations

import asyncio
import selectors
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits and no timer is set, so the loop can never continue."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on simulated time, which starts at 0 seconds."""

    def __init__(self) -> None:
        self.now: float = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances the loop's time in place of a wait."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("every task waits and no timer is set, so the loop can never continue")
        self._loop.now += timeout
        return ready


def simulated(test: Callable[P, Coroutine[object, object, T]]) -> Callable[P, T]:
    """Return a function that runs a coroutine function on a new `SimulatedLoop`."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run
