"""A router of one's own in the life of a rollout: `canarycore.testing.stateful` with real routes in a simulated world.

    class Mine(RouterMachine):
        policies = {"by weight": MY_POLICY}

        def router(self) -> Router:
            return MyRouter(self.proxy)      # made in __init__: a data plane that nobody else uses

    TestMine = Mine.TestCase

Whatever happens there, routes that were set must be the ones that are observed, by every process, and the rollout must
go on as with simulated routes. Each process has an adapter of its own: what one kept to itself is lost when it dies.
Needs `pip install canarycore-runtime[testing]`.
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
    """See the module. Everything but the routes is simulated. `mine`: the adapter of the process under test."""

    mine: Router

    def __init__(self) -> None:
        super().__init__()
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()

    def router(self) -> Router:
        """A new adapter on the data plane of this series."""
        raise NotImplementedError("a subclass provides the router")

    def platform(self) -> Platform:
        self.mine = self.router()
        return _Routed(self)

    @rule(routes=st.sampled_from(sorted(ROUTES)))
    def route_by_hand(self, routes: str) -> None:
        """Somebody else does it by the same means."""
        router, rollout, wanted = self.router(), self.cluster.state.rollout, ROUTES[routes]
        self.loop.run_until_complete(router.restore(rollout) if wanted is None else router.set_routes(rollout, wanted))

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.loop.close()


class _Routed(Platform):
    """Routes are the router's, in place of the state's."""

    def __init__(self, machine: RouterMachine) -> None:
        self._machine = machine

    def look(self, state: State) -> State:
        """What is observed is what is, not what this process did last: another one observes it too."""
        found, there = (self._observed(state, by) for by in (self._machine.mine, self._machine.router()))
        self._demand(found, there, "what another process observes")
        return super().look(found)

    def apply(self, state: State, effect: Effect) -> State:
        router, run = self._machine.mine, self._machine.loop.run_until_complete
        if isinstance(effect, SetRoutes):
            run(router.set_routes(state.rollout, effect.routes))
            observed = self._observed(state, router)
            self._demand(observed, state.but(routes=effect.routes), "what was set")
            return observed
        if isinstance(effect, Restore):
            run(router.restore(state.rollout))
            return self._observed(super().apply(state, effect), router)
        return super().apply(state, effect)

    def restart(self) -> None:
        self._machine.mine = self._machine.router()

    def _observed(self, state: State, by: Router) -> State:
        return state.but(routes=self._machine.loop.run_until_complete(by.observe(state.rollout)))

    def _demand(self, found: State, wanted: State, why: str) -> None:
        cycles = "\n".join(map(str, self._machine.cluster.history[-3:]))
        message = f"found {found.routes}, expected {why}: {wanted.routes}\n\nThe cycles before:\n{cycles}"
        assert found.routes == wanted.routes, message
