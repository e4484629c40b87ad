"""The load test: requests straight to the canary, where a policy sends it no others during its analysis.

A blue/green rollout without a mirror needs traffic from its owner, such as from the load tester of a cluster. Here a
second generator sends it, with a header that Envoy routes to the canary. The metrics include these requests; the counts
of users' requests do not.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from canarycore import Strategy
from canarycore_local.envoy.router import TEST_HEADER
from canarycore_local.requests.generator import TrafficPlan, open_generator

if TYPE_CHECKING:
    from types import TracebackType

    from canarycore import Rollout

RATE = 20.0
"""Requests per second."""


def needs_load_test(rollout: Rollout) -> bool:
    """Whether only a load test reaches the canary during the analysis of this policy."""
    ladder = rollout.ladder
    return ladder.strategy is Strategy.BLUE_GREEN and not ladder.mirror


class LoadTest:
    """A load test with a switch. The end of its context switches it off."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._traffic = TrafficPlan(rate=RATE, path=path, headers={TEST_HEADER: "load"})
        self._running = AsyncExitStack()
        self._is_on = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def switch(self, *, on: bool) -> None:
        """Start or stop the load test. Stopping returns after the last answer."""
        if on and not self._is_on:
            generator = await self._running.enter_async_context(open_generator(self._address, self._traffic))
            generator.start()
        elif self._is_on and not on:
            await self._running.aclose()
        self._is_on = on
