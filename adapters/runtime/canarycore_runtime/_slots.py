"""How much is done at once, shared so that a namespace can use up only its own part.

`Slots` bound one thing that all namespaces share. `Lanes` bound questions: a question takes a slot of the server that
it goes to and one of all questions. A question waits for its slots before its time limit begins; a wait that takes too
long is a `NoSlotError`, which holds the question and says nothing about the server.
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
    """No slot came free in time. The question was not put, so this is no answer and no failure."""


class Slots:
    """At most `total` slots, of which one namespace has at most `share`.

    A namespace that has fewer than `reserve` slots gets one even when all are taken. So many namespaces together exceed
    the total by their reserves, and none of them is ever locked out by the others. Namespaces that wait take turns.
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
        """Hold a slot meanwhile."""
        await self.acquire(namespace)
        try:
            yield
        finally:
            self.release(namespace)

    async def acquire(self, namespace: str) -> None:
        """Take a slot, after those of the namespace that came before."""
        if namespace not in self._waiting and self._has_free(namespace):
            self._take(namespace)
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            self._give_back(namespace, place)
            raise

    def release(self, namespace: str) -> None:
        """Give a slot back; it goes to the namespace whose turn it is."""
        self._all_taken -= 1
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]  # or each namespace that there ever was would be kept
        # while all are taken this one is a reserve, and goes back to its namespace
        candidates = tuple(self._waiting) if self._all_taken < self._total else (namespace,)
        for candidate in candidates:
            if candidate in self._waiting and self._has_free(candidate) and self._grant(candidate):
                return

    def taken(self, namespace: str) -> int:
        """The slots that the namespace has now."""
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
        """Give a slot to the first of the namespace that still waits; then it is the turn of the other namespaces."""
        places, granted = self._waiting[namespace], False
        while places and not granted:
            place = places.popleft()
            if granted := not place.done():
                self._take(namespace)
                place.set_result(None)
        self._waiting.move_to_end(namespace)
        self._drop_if_empty(namespace)
        return granted

    def _give_back(self, namespace: str, place: asyncio.Future[None]) -> None:
        """Leave the queue, or give back the slot that was granted at the moment of the cancellation."""
        if not place.cancelled():
            self.release(namespace)
            return
        if place in self._waiting.get(namespace, ()):
            self._waiting[namespace].remove(place)
            self._drop_if_empty(namespace)

    def _drop_if_empty(self, namespace: str) -> None:
        if not self._waiting[namespace]:
            del self._waiting[namespace]


class Lanes:
    """A lane per server, open while somebody is in it or waits for it, and the slots of all questions.

    lane: questions of one namespace at one server. server: questions of all namespaces at one server. namespace:
    questions of one namespace at all servers. total: all questions. wait: how long a question waits for its slots
    (seconds).
    """

    def __init__(self, *, lane: int, server: int, namespace: int, total: int, wait: float) -> None:
        self._lane = lane
        self._server = server
        self._wait = wait
        self._all = Slots(total, namespace, reserve=min(lane, namespace, _RESERVE))
        self._open: WeakValueDictionary[str, Slots] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, namespace: str, server: str) -> AsyncIterator[None]:
        """Hold both slots meanwhile. Raises NoSlotError when they do not come free in time."""
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

    async def _enter(self, lane: Slots, namespace: str) -> None:
        await lane.acquire(namespace)
        try:
            await self._all.acquire(namespace)
        except BaseException:
            lane.release(namespace)
            raise

    def _lane_of(self, server: str) -> Slots:
        lane = self._open.get(server)
        if lane is None:
            lane = self._open[server] = Slots(self._server, self._lane)
        return lane

    def _reason(self, lane: Slots, namespace: str, server: str) -> str:
        return (
            f"{server}: not asked yet, as no slot came free within {self._wait:g} s: namespace {namespace!r} waits for"
            f" {lane.taken(namespace)} answers there and {self._all.taken(namespace)} in all."
            " It is asked as soon as one of them is in, or has run out of time."
        )


_RESERVE = 4
"""Questions that each namespace may put however many the others have put."""


@frozen(kw_only=True)
class Capacity:
    """The slots that all rollouts of a runner share."""

    cycles: Slots
    """Cycles under way."""
    questions: Lanes
    """Questions that wait for their answers, by the servers that they go to."""
    notices: Lanes
    """Notices on their way, by notifier."""

    @classmethod
    def under(cls, limits: Limits) -> Self:
        """The capacity that these limits leave, all of it free."""
        bounds = {
            "lane": limits.lane,
            "server": limits.server,
            "namespace": limits.namespace,
            "total": limits.questions,
        }
        return cls(
            cycles=Slots(limits.cycles, limits.cycles),
            questions=Lanes(**bounds, wait=limits.slot_wait),
            notices=Lanes(**bounds, wait=limits.tell),
        )
