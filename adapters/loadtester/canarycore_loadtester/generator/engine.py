"""The schedule of a load: request number i is due at start + i / rate, whatever the server does.

A request that is due while a slot is free is sent at once. Otherwise it waits for a slot, and its latency counts from
the time at which it was due. Requests that still wait at the end count too, with the time that they waited. The
backlog needs no memory: it is the range of numbers between the last request that was sent and the last that is due.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import Counter, deque
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore_loadtester.generator.http1 import Http1Slot, request_bytes, tls_of
from canarycore_loadtester.generator.latencies import Latencies
from canarycore_loadtester.generator.plan import LoadPlan, Protocol

if TYPE_CHECKING:
    from canarycore_loadtester.generator.http1 import Slot

MOST_OUTCOMES = 50
"""Most kinds of errors that a result distinguishes."""

OTHER = "other errors"
TIMED_OUT = "timeout"

REST_AFTER_ERROR = 0.05
"""Seconds until a slot without an answer is free again: without a schedule, a dead server must not cost all CPU."""

_SWEEP = 0.05
_MOST_STEPS = 100_000


@define
class LoadResult:
    """The result of a load."""

    seconds: float = 0.0
    """The time from the start to the last answer."""
    outcomes: Counter[str] = field(factory=Counter)
    """The number of answers by status, and of errors by name."""
    answers: int = 0
    """The number of requests with an answer, whatever its status."""
    failed: int = 0
    """The number of requests without an answer or with a status of 500 and above."""
    unsent: int = 0
    """The number of requests that were due and waited for a slot until the end."""
    size: int = 0
    """The bytes of all answers."""
    latencies: Latencies = field(factory=Latencies)
    """From the time at which a request was due to the end of its answer, errors included."""
    lateness: Latencies = field(factory=Latencies)
    """From the time at which a request was due to its sending."""

    @property
    def rate(self) -> float:
        """The answers per second."""
        return self.answers / self.seconds if self.seconds else 0.0


class LoadEngine:
    """The run of one load."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._result = LoadResult()
        self._slots: list[Slot] = []
        self._free: deque[Slot] = deque()
        self._busy: set[Slot] = set()
        self._sent = 0
        self._begin = self._end = 0.0
        self._most = plan.requests or math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._done = asyncio.Event()

    async def run(self) -> LoadResult:
        """Send all requests, and return the result after the last answer. A cancellation closes all connections."""
        self._slots = self._open_slots()
        try:
            if self._plan.keep_alive:
                await asyncio.gather(*(slot.open() for slot in self._slots))
            await self._send_all()
        finally:
            for slot in self._slots:
                slot.close()
        return self._result

    def finish(self, slot: Slot, outcome: str, *, is_failed: bool, size: int = 0) -> None:
        """Count the request of a slot, and use the slot for the next request."""
        now, result = self._loop.time(), self._result
        result.latencies.add(now - slot.due)
        result.lateness.add(slot.sent - slot.due)
        result.outcomes[outcome if len(result.outcomes) < MOST_OUTCOMES or outcome in result.outcomes else OTHER] += 1
        result.size += size
        result.failed += is_failed
        self._busy.discard(slot)
        if size:
            result.answers += 1
            self._release(slot)
        else:
            self._loop.call_later(REST_AFTER_ERROR, self._release, slot)

    # ------------------------------------------------------------------------------------------------------ internal

    async def _send_all(self) -> None:
        self._begin = self._loop.time()
        self._end = self._begin + self._plan.duration if self._plan.duration else math.inf
        self._free.extend(self._slots)
        sweep = self._loop.create_task(self._sweep())
        try:
            self._dispatch()
            await self._done.wait()
        finally:
            sweep.cancel()
            if self._timer is not None:
                self._timer.cancel()
        self._result.seconds = max(self._loop.time() - self._begin, self._span)
        self._count_unsent()

    def _due(self, number: int, now: float) -> float:
        return now if self._plan.rate is None else self._begin + number / self._plan.rate

    def _release(self, slot: Slot) -> None:
        self._free.append(slot)
        self._dispatch()

    def _dispatch(self) -> None:
        """Send the requests that are due, as far as slots are free, and set the timer for the next.

        The first call after the end is the last that sends: a timer of ours that was late costs no request.
        """
        now = self._loop.time()
        while self._free and self._sent < self._most and not self._is_closed:
            due = self._due(self._sent, now)
            if due >= self._end:
                break
            if due > now:
                self._wake_at(due)
                return
            slot = self._free.popleft()
            self._busy.add(slot)
            self._sent += 1
            slot.send(due)
        self._is_closed |= now >= self._end
        if self._is_over(now) and not self._busy:
            self._done.set()

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._dispatch)

    def _is_over(self, now: float) -> bool:
        return self._sent >= self._most or self._is_closed or self._due(self._sent, now) >= self._end

    @property
    def _span(self) -> float:
        """The seconds of the schedule, which end after its last request."""
        rate, duration = self._plan.rate, self._plan.duration or math.inf
        return min(duration, self._most / rate) if rate is not None else 0.0

    async def _sweep(self) -> None:
        """End requests that take too long, and the load at its end."""
        while True:
            await asyncio.sleep(_SWEEP)
            now = self._loop.time()
            for slot in [slot for slot in self._busy if now - slot.sent > self._plan.timeout]:
                slot.abort(TIMED_OUT)
            self._dispatch()

    def _count_unsent(self) -> None:
        """Count the requests that were due before the end and were never sent, with the time that they waited."""
        rate, duration = self._plan.rate, self._plan.duration
        if rate is None or duration is None:
            return
        last = int(min(math.ceil(rate * duration), self._most))
        unsent = self._result.unsent = max(0, last - self._sent)
        step = max(1, unsent // _MOST_STEPS)
        for number in range(self._sent, last, step):
            self._result.latencies.add(duration - number / rate, min(step, last - number))

    def _open_slots(self) -> list[Slot]:
        plan = self._plan
        if plan.protocol is Protocol.HTTP1:
            tls, request = tls_of(plan, "http/1.1"), request_bytes(plan)
            return [Http1Slot(plan, tls, request, self) for _ in range(plan.connections)]
        from canarycore_loadtester.generator.http2 import Http2Connection

        connection = Http2Connection(plan, tls_of(plan, "h2"))
        return [connection.slot(self) for _ in range(plan.connections)]


async def run_load(plan: LoadPlan) -> LoadResult:
    """Run a load on the current event loop. Its timers are as exact as those of the loop (1 ms with epoll)."""
    return await LoadEngine(plan).run()


def run_alone(plan: LoadPlan) -> LoadResult:
    """Run a load on a loop of its own, with timers that are exact to some microseconds."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(run_load(plan))
