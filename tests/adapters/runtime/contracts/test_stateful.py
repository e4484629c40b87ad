"""A right router survives any life of a rollout; each flaw is found."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from canarycore import Routes
from canarycore.verification import STRATEGIES
from canarycore_runtime.testing.stateful import RouterMachine
from tests.same_series import SAME_SERIES

ALWAYS_THE_SAME = settings(SAME_SERIES, max_examples=300, phases=(Phase.generate,))


class Proxy:
    """A data plane."""

    routes: Routes | None = None


class Right:
    """A router that does what it promises."""

    def __init__(self, proxy):
        self.proxy = proxy

    async def observe(self, rollout):
        return self.proxy.routes

    async def set_routes(self, rollout, routes):
        self.proxy.routes = routes

    async def restore(self, rollout):
        self.proxy.routes = None


class Adds(Right):
    async def set_routes(self, rollout, routes):
        before = 0 if self.proxy.routes is None else self.proxy.routes.weight
        self.proxy.routes = Routes(weight=min(before + routes.weight, 100))


class KeepsTheMirror(Right):
    async def set_routes(self, rollout, routes):
        mirrored = self.proxy.routes is not None and self.proxy.routes.mirrored
        weight, matched = routes.weight, routes.matched
        self.proxy.routes = Routes(weight=weight, matched=matched, mirrored=mirrored or routes.mirrored)


class WritesLater(Right):
    """A router that delays the first of two writes."""

    held: Routes | None = None

    async def set_routes(self, rollout, routes):
        self.held, self.proxy.routes = routes, self.held or self.proxy.routes


class BelievesItself(Right):
    """A router that ignores other writers until its process dies."""

    believed: Routes | None = None

    async def observe(self, rollout):
        return self.believed or self.proxy.routes

    async def set_routes(self, rollout, routes):
        if routes != self.believed:
            self.believed = self.proxy.routes = routes


def machine(made) -> type[RouterMachine]:
    class Mine(RouterMachine):
        policies = STRATEGIES

        def __init__(self):
            super().__init__()
            self.proxy = Proxy()

        def router(self):
            return made(self.proxy)

    return Mine


class TestARightRouter(machine(Right).TestCase):
    """As many series as the profile says."""


@pytest.mark.parametrize("flawed", [Adds, KeepsTheMirror, WritesLater, BelievesItself])
def test_a_flaw_is_found(flawed):
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(flawed), settings=ALWAYS_THE_SAME)
