"""Effects that the cluster refuses for good: tried ever more rarely, at once after a change, up to the deadline."""

import asyncio
from itertools import pairwise

import pytest
from attrs import evolve

from canarycore import Phase
from canarycore.errors import Refused
from canarycore_runtime import Limits, Runner
from canarycore_runtime.testing import simulated
from tests.adapters.runtime.simulated_rollouts import KEY, deployed, instead, passes, release, rollout

STEADY = {"jitter": lambda: 1.0}
"""Back-off without chance: the whole of it."""

REASON = "VirtualService podinfo is invalid: spec.http"


class Wall:
    """An effect that is refused until the wall is open. It notes the times of the attempts."""

    def __init__(self):
        self.times, self.is_open = [], False

    async def __call__(self, method, *args):
        self.times.append(asyncio.get_running_loop().time())
        if not self.is_open:
            raise Refused(REASON)
        return await method(*args)


def walled(clusters, wall, port, effect):
    return instead(evolve(clusters.parts(), changes=()), port, KEY, wall, only=effect)


@simulated
async def test_a_refused_effect_is_tried_ever_more_rarely():
    clusters, wall = deployed(rollout(interval=5)), Wall()
    limits = Limits(backoff=1, max_backoff=4, max_refusal_backoff=64, resync=1000)
    async with Runner(walled(clusters, wall, "router", "set_routes"), limits, **STEADY):
        await passes(200)
    waits = [after - before for before, after in pairwise(wall.times)]
    assert len(waits) <= 14
    assert waits[-1] >= 32


@simulated
async def test_a_change_tries_a_refused_effect_again():
    clusters, wall = deployed(rollout()), Wall()
    limits = Limits(backoff=60, max_backoff=600, max_refusal_backoff=1000, patience=1)
    async with Runner(walled(clusters, wall, "workload", "initialise"), limits, **STEADY) as runner:
        await passes(10)
        wall.is_open = True
        runner.wake(KEY)
        await passes(2)
    assert len(wall.times) == 2


@pytest.mark.parametrize(("port", "effect", "seconds"), [("router", "set_routes", 5), ("workload", "scale_up", 0)])
@simulated
async def test_the_deadline_ends_an_analysis_whose_effect_is_refused(port, effect, seconds):
    """The wall closes so many seconds after the new revision, before the effect is due."""
    clusters, wall = deployed(rollout(progress_deadline=60)), Wall()
    wall.is_open = True
    async with Runner(instead(clusters.parts(), port, KEY, wall, only=effect), Limits(), **STEADY):
        await passes(60)
        wall.is_open = bool(seconds)
        await release(clusters)
        await passes(seconds)
        wall.is_open = False
        await passes(45)
        assert clusters.phase(KEY) is Phase.PROGRESSING
        await passes(60)
        wall.is_open = True
        await passes(60)
    assert clusters.phase(KEY) is Phase.FAILED


@simulated
async def test_a_refusal_that_ends_lets_the_analysis_go_on():
    clusters, wall = deployed(rollout(progress_deadline=600)), Wall()
    async with Runner(clusters.parts(), Limits(), **STEADY) as runner:
        await release(clusters)
        await passes(5)
        runner._parts = runner._rollouts[KEY].driver.parts = instead(
            clusters.parts(), "router", KEY, wall, only="set_routes"
        )
        await passes(60)
        assert clusters.phase(KEY) is Phase.PROGRESSING
        wall.is_open = True
        await passes(400)
    assert clusters.phase(KEY) is Phase.SUCCEEDED
