"""A router of your own, with a bug that shows only after another fault, and the state machine that finds it."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import canarycore as cc
from canarycore_runtime.testing.stateful import RouterMachine


class Proxy:
    """A data plane whose interface can only move requests. `weight` is the percentage of the canary."""

    weight = 0

    def move(self, percent: int) -> None:
        self.weight = max(0, min(self.weight + percent, 100))


class ThriftyRouter:
    """The port Router (`canarycore_runtime.ports`) for that proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy, self.last = proxy, 0

    async def observe(self, _: cc.Rollout) -> cc.Routes | None:
        return cc.Routes(weight=self.proxy.weight)

    async def set_routes(self, _: cc.Rollout, routes: cc.Routes) -> None:
        self.proxy.move(routes.weight - self.last)  # the bug: others may have changed the weight since
        self.last = routes.weight

    async def restore(self, _: cc.Rollout) -> None:
        self.proxy.weight = 0


POLICIES = {"by weight": cc.Rollout(name="podinfo", target=cc.TargetRef(name="podinfo"), ladder=cc.Ladder(step=30))}


class AnyLife(RouterMachine):
    """Any order of deployments, edits, commands, faults, other writers and time, with that router."""

    policies = POLICIES

    def __init__(self) -> None:
        super().__init__()
        self.proxy = Proxy()

    def router(self) -> ThriftyRouter:
        return ThriftyRouter(self.proxy)


SHORT = settings(
    stateful_step_count=8, max_examples=500, deadline=None, derandomize=True, database=None, report_multiple_bugs=False
)

if __name__ == "__main__":
    try:
        run_state_machine_as_test(AnyLife, settings=SHORT)
    except AssertionError as bug:
        print(bug, *bug.__notes__, sep="\n")
