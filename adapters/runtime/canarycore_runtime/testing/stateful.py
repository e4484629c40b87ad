"""A stateful test of a router: `canarycore.testing.stateful` with real routes in a simulated cluster.

    class Mine(RouterMachine):
        policies = {"by weight": MY_POLICY}

        def router(self) -> Router:
            return MyRouter(self.proxy)      # __init__ makes a data plane of its own

    TestMine = Mine.TestCase

After every action, each process must observe the routes that the rollout set, and the rollout must go on as with
simulated routes. Each process has its own adapter, whose memory ends with the process. This module needs
`pip install canarycore-runtime[testing]`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import rule

from canarycore.effects import Restore, SetRoutes
from canarycore.simulation import Platform
from canarycore.testing.stateful import ROUTES, RolloutMachine

if TYPE_CHECKING:
    from canarycore.effects import Effect
    from canarycore.simulation import State
    from canarycore_runtime.ports import Router


class RouterMachine(RolloutMachine):
    """A rollout with simulated workloads and metrics, and the routes of a real router."""

    mine: Router
    """The adapter of the process under test."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()

    def router(self) -> Router:
        """Return a new adapter on the data plane of this run."""
        raise NotImplementedError("a subclass provides the router")

    def platform(self) -> Platform:
        """Return the simulated platform with the router's routes."""
        self.mine = self.router()
        return _RouterPlatform(self)

    @rule(routes=st.sampled_from(sorted(ROUTES)))
    def route_by_hand(self, routes: str) -> None:
        """Set routes by hand, through an adapter of another process."""
        router, rollout, new = self.router(), self.cluster.state.rollout, ROUTES[routes]
        self.loop.run_until_complete(router.restore(rollout) if new is None else router.set_routes(rollout, new))

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.loop.close()


class _RouterPlatform(Platform):
    """A platform with the router's routes in place of the state's."""

    def __init__(self, machine: RouterMachine) -> None:
        self._machine = machine

    def look(self, state: State) -> State:
        """Return the state with the observed routes, after a check that another process observes the same."""
        own, other = (self._observed(state, router) for router in (self._machine.mine, self._machine.router()))
        self._demand(own, other, "as another process observes")
        return super().look(own)

    def apply(self, state: State, effect: Effect) -> State:
        router, run = self._machine.mine, self._machine.loop.run_until_complete
        if isinstance(effect, SetRoutes):
            run(router.set_routes(state.rollout, effect.routes))
            observed = self._observed(state, router)
            self._demand(observed, state.but(routes=effect.routes), "as set")
            return observed
        if isinstance(effect, Restore):
            run(router.restore(state.rollout))
            return self._observed(super().apply(state, effect), router)
        return super().apply(state, effect)

    def restart(self) -> None:
        self._machine.mine = self._machine.router()

    def _observed(self, state: State, router: Router) -> State:
        return state.but(routes=self._machine.loop.run_until_complete(router.observe(state.rollout)))

    def _demand(self, found: State, expected: State, reason: str) -> None:
        cycles = "\n".join(map(str, self._machine.cluster.history[-3:]))
        message = f"found {found.routes}, expected {expected.routes}, {reason}\n\nThe cycles before:\n{cycles}"
        assert found.routes == expected.routes, message
