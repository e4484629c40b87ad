"""One notice for several receivers: told again only to those that did not take it, and not for ever.

    deliveries = Deliveries()
    await deliveries.tell(namespace, key, receivers, tell, give_up)

An old notice helps nobody: a receiver that did not take it in TRIES tries is given up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from attrs import define

from canarycore.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

R = TypeVar("R")

DELIVERY_TRIES = 30
"""Times that a receiver is tried: with the runner's pauses in between, some ten minutes."""

AT_ONCE = 8
"""Receivers of one notice that are told at once: one that names a hundred takes a hundred connections in no moment."""

REMEMBERED_DELIVERIES = 1000
"""Notices of one namespace of which is known who has heard them, until all have."""


@define
class _DeliveryState:
    """What came of telling one receiver so far. `why` it has not taken it."""

    times: int = 0
    why: str = "it did not answer in time"
    done: bool = False


class Deliveries:
    """Remembers which receivers have heard which notice.

    A forgotten notice goes to all again; a namespace can push out its own only.
    """

    def __init__(self) -> None:
        self._open: dict[str, OrderedDict[Hashable, dict[int, _DeliveryState]]] = {}

    def __len__(self) -> int:
        """Notices that somebody has yet to hear."""
        return sum(map(len, self._open.values()))

    async def tell(
        self,
        namespace: str,
        key: Hashable,
        receivers: Sequence[R],
        tell: Callable[[R], Awaitable[str]],
        give_up: Callable[[R, str], None],
    ) -> None:
        """Tell each receiver that is not done with this namespace's `key` yet; a receiver is known by its place.

        tell: empty when the receiver is done with it, else why it should be told again. give_up: is told of a receiver
        that will not be told any more, and why. Raises WorldError when somebody should be told again. To cancel it
        counts as a try of those that had not answered.
        """
        tried = self._remembered(namespace, key)
        waiting = [(one, tried.setdefault(place, _DeliveryState())) for place, one in enumerate(receivers)]
        slots = asyncio.Semaphore(AT_ONCE)

        async def told(receiver: R, so_far: _DeliveryState) -> str:
            async with slots:
                so_far.times += 1
                if so_far.times <= DELIVERY_TRIES:
                    so_far.why = await tell(receiver)
            so_far.done = not so_far.why or so_far.times >= DELIVERY_TRIES
            if so_far.why and so_far.done:
                give_up(receiver, so_far.why)
            return "" if so_far.done else so_far.why

        troubles = await asyncio.gather(*(told(one, so_far) for one, so_far in waiting if not so_far.done))
        if any(troubles):
            raise WorldError("; ".join(filter(None, troubles)))
        self._forget(namespace, key)

    def _remembered(self, namespace: str, key: Hashable) -> dict[int, _DeliveryState]:
        notices = self._open.setdefault(namespace, OrderedDict())
        tried = notices.setdefault(key, {})
        notices.move_to_end(key)
        while len(notices) > REMEMBERED_DELIVERIES:
            notices.popitem(last=False)
        return tried

    def _forget(self, namespace: str, key: Hashable) -> None:
        notices = self._open.get(namespace, OrderedDict())
        notices.pop(key, None)
        if not notices:
            self._open.pop(namespace, None)
