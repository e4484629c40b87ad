"""The load test: requests straight to the canary, where a policy sends it no others while it is analysed.

A blue/green rollout without a mirror is judged on traffic that its owner makes, as the load tester of a cluster does.
Here a second generator makes it, with a header that Envoy routes to the canary. These are no users' requests: they
are measured, and counted nowhere else.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from canarycore import Strategy
from canarycore_local.envoy.router import TEST_HEADER
from canarycore_local.requests.generator import TrafficPlan, generating

if TYPE_CHECKING:
    from types import TracebackType

    from canarycore import Rollout

RATE = 20.0
"""Requests a second."""


def needs_load_test(rollout: Rollout) -> bool:
    """Whether nothing but a load test reaches the canary on the rungs of this policy that are judged."""
    ladder = rollout.ladder
    return ladder.strategy is Strategy.BLUE_GREEN and not ladder.mirror


class LoadTest:
    """A load test that can be switched on and off; it is off when its context is left."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._traffic = TrafficPlan(rate=RATE, path=path, headers={TEST_HEADER: "load"})
        self._running = AsyncExitStack()
        self._on = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def switch(self, *, on: bool) -> None:
        """Send, or stop sending; returns when the last request is answered."""
        if on and not self._on:
            generator = await self._running.enter_async_context(generating(self._address, self._traffic))
            generator.start()
        elif self._on and not on:
            await self._running.aclose()
        self._on = on
