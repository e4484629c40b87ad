"""Slots: bounds on simultaneous work, of which one namespace can use up only its own share.

`FairSlots` bounds one resource of all namespaces. `ServerLanes` bounds questions: a question takes a slot of its server
and a slot of all questions. It waits for both before its time limit begins. A wait that takes too long raises
`NoSlotError`: the runner holds the question, as nothing is known about the server.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from attrs import frozen

from canarycore.errors import Unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from canarycore_runtime._calls import Limits


class NoSlotError(Unanswered):
    """No slot came free in time, so the runner did not ask the question: this is no answer and no failure."""


class FairSlots:
    """A semaphore of `total` slots, of which one namespace gets at most `share`.

    A namespace with fewer than `reserve` slots gets one even when all are taken. So the namespaces together may exceed
    the total by their reserves, but no namespace can lock out another. Waiting namespaces take turns.
    """

    def __init__(self, total: int, share: int, reserve: int = 1) -> None:
        self._total = total
        self._share = share
        self._reserve = reserve
        self._all_taken = 0
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, namespace: str) -> AsyncIterator[None]:
        """Hold a slot while the context is open."""
        await self.acquire(namespace)
        try:
            yield
        finally:
            self.release(namespace)

    async def acquire(self, namespace: str) -> None:
        """Take a slot, in the order of arrival within the namespace."""
        if namespace not in self._waiting and self._has_free(namespace):
            self._take(namespace)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._withdraw(namespace, waiter)
            raise

    def release(self, namespace: str) -> None:
        """Return a slot, and pass it to the namespace whose turn it is."""
        self._all_taken -= 1
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]  # else the counter keeps every namespace for ever
        # while all slots are taken this one is a reserve of its namespace
        candidates = tuple(self._waiting) if self._all_taken < self._total else (namespace,)
        for candidate in candidates:
            if candidate in self._waiting and self._has_free(candidate) and self._grant(candidate):
                return

    def taken(self, namespace: str) -> int:
        """Return how many slots the namespace has now."""
        return self._taken[namespace]

    def _has_free(self, namespace: str) -> bool:
        taken = self._taken[namespace]
        if taken >= self._share:
            return False
        return taken < self._reserve or self._all_taken < self._total

    def _take(self, namespace: str) -> None:
        self._all_taken += 1
        self._taken[namespace] += 1

    def _grant(self, namespace: str) -> bool:
        """Give a slot to the first waiter of the namespace, and pass the turn to the next namespace."""
        waiters, is_granted = self._waiting[namespace], False
        while waiters and not is_granted:
            waiter = waiters.popleft()
            if is_granted := not waiter.done():
                self._take(namespace)
                waiter.set_result(None)
        self._waiting.move_to_end(namespace)
        self._drop_if_empty(namespace)
        return is_granted

    def _withdraw(self, namespace: str, waiter: asyncio.Future[None]) -> None:
        """Leave the queue, or return a slot that arrived at the moment of the cancellation."""
        if not waiter.cancelled():
            self.release(namespace)
            return
        if waiter in self._waiting.get(namespace, ()):
            self._waiting[namespace].remove(waiter)
            self._drop_if_empty(namespace)

    def _drop_if_empty(self, namespace: str) -> None:
        if not self._waiting[namespace]:
            del self._waiting[namespace]


class ServerLanes:
    """The slots of questions: a lane of slots for each server in use, and the slots of all questions."""

    def __init__(self, *, lane: int, server: int, namespace: int, total: int, wait: float) -> None:
        """Bound questions by `Limits` of the same names. A question waits at most `wait` seconds for its slots."""
        self._lane = lane
        self._server = server
        self._wait = wait
        self._all = FairSlots(total, namespace, reserve=min(lane, namespace, _RESERVE))
        self._open: WeakValueDictionary[str, FairSlots] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, namespace: str, server: str) -> AsyncIterator[None]:
        """Hold both slots while the context is open. Raises NoSlotError when they do not come free in time."""
        lane = self._lane_of(server)
        try:
            async with asyncio.timeout(self._wait):
                await self._enter(lane, namespace)
        except TimeoutError:
            raise NoSlotError(self._reason(lane, namespace, server)) from None
        try:
            yield
        finally:
            self._all.release(namespace)
            lane.release(namespace)

    async def _enter(self, lane: FairSlots, namespace: str) -> None:
        await lane.acquire(namespace)
        try:
            await self._all.acquire(namespace)
        except BaseException:
            lane.release(namespace)
            raise

    def _lane_of(self, server: str) -> FairSlots:
        lane = self._open.get(server)
        if lane is None:
            lane = self._open[server] = FairSlots(self._server, self._lane)
        return lane

    def _reason(self, lane: FairSlots, namespace: str, server: str) -> str:
        return (
            f"{server}: not asked yet, because no slot came free within {self._wait:g} s: namespace {namespace!r} waits"
            f" for {lane.taken(namespace)} answers there and {self._all.taken(namespace)} in all."
            " The next attempt follows when one of them arrives or runs out of time."
        )


_RESERVE = 4
"""Questions that each namespace may ask regardless of the questions of other namespaces."""


@frozen(kw_only=True)
class RunnerCapacity:
    """The slots that all rollouts of a runner share."""

    cycles: FairSlots
    """Slots of cycles under way."""

    questions: ServerLanes
    """Slots of questions that wait for their answers, by server."""

    notices: ServerLanes
    """Slots of attempts at notices, by notifier."""

    @classmethod
    def under(cls, limits: Limits) -> Self:
        """Return free slots under these limits."""
        bounds = {
            "lane": limits.lane,
            "server": limits.server,
            "namespace": limits.namespace,
            "total": limits.questions,
        }
        return cls(
            cycles=FairSlots(limits.cycles, share=limits.cycles - limits.cycles // 3, reserve=1 + limits.cycles // 16),
            questions=ServerLanes(**bounds, wait=limits.slot_wait),
            notices=ServerLanes(**bounds, wait=limits.publish),
        )
