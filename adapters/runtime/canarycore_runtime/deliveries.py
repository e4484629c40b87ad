"""The record of deliveries: which receivers have taken a notice.

Two layers record the fate of a notice:

    outbox        durable, in the status: the notices that some receiver may still lack
    Deliveries    in memory, per receiver: a further attempt at a notice skips the receivers that have taken it

The core marks a notice as published (`CycleMemory.published`) once all its receivers are settled, and the next commit
takes it out of the outbox. A crash loses the second layer only. Then each receiver of a notice in the outbox may get it
once more, under the same key.

The runner has one `Deliveries` for each notice and notifier. A notifier with several receivers (`Broadcaster`) records
each of them:

    await deliveries.send_to_missing(receivers, send, give_up)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from attrs import Factory, define

from canarycore.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

R = TypeVar("R")

DELIVERY_ATTEMPTS = 30
"""Attempts per receiver and notice, about ten minutes with the runner's pauses. An old notice has no value, so the
notifier gives it up then."""

SIMULTANEOUS_DELIVERIES = 8
"""Receivers of one notice that an attempt sends to at the same time. It bounds the connections that one rollout with
many receivers opens."""


@define
class _Delivery:
    """The delivery to one receiver."""

    attempts: int = 0
    """Attempts so far, including the present one."""

    error: str = "it did not answer in time"
    """Why the last attempt failed; empty after a success. A cancelled attempt leaves the text that was there."""

    is_settled: bool = False
    """Whether the receiver has taken the notice, or the notifier has given it up."""


@define(eq=False)
class Deliveries:
    """The deliveries of one notice by one notifier."""

    is_complete: bool = False
    """Whether the notifier has nothing more to do for the notice."""

    _by_place: dict[int, _Delivery] = Factory(dict)

    async def send_to_missing(
        self,
        receivers: Sequence[R],
        send: Callable[[R], Awaitable[str]],
        give_up: Callable[[R, str], None],
    ) -> None:
        """Send the notice to each receiver that is not settled; its place in `receivers` identifies a receiver.

        `send` returns an empty text when the receiver is settled, else why it needs another attempt. After
        `DELIVERY_ATTEMPTS` failures this calls `give_up` with the receiver and the last error. Raises WorldError when a
        receiver needs another attempt. A cancellation counts as an attempt for each receiver that had not answered.
        """
        open_slots = asyncio.Semaphore(SIMULTANEOUS_DELIVERIES)

        async def attempt(receiver: R, delivery: _Delivery) -> str:
            async with open_slots:
                delivery.attempts += 1
                if delivery.attempts <= DELIVERY_ATTEMPTS:
                    delivery.error = await send(receiver)
            delivery.is_settled = not delivery.error or delivery.attempts >= DELIVERY_ATTEMPTS
            if delivery.error and delivery.is_settled:
                give_up(receiver, delivery.error)
            return "" if delivery.is_settled else delivery.error

        pairs = [(one, self._by_place.setdefault(place, _Delivery())) for place, one in enumerate(receivers)]
        errors = await asyncio.gather(*(attempt(one, delivery) for one, delivery in pairs if not delivery.is_settled))
        if any(errors):
            raise WorldError("; ".join(filter(None, errors)))
