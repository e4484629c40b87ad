"""A runner that is stopped, cancelled or killed at any step of its event loop leaves nothing half-applied.

The next runner reaches the same end as an undisturbed one: the same decisions in the same order, none of them twice,
the same cluster, and every notice published.
"""

import asyncio
from itertools import count

import pytest

from canarycore import Hook, HookType, Ladder, Phase
from canarycore.effects import Promote
from canarycore.notices import Notice
from canarycore.simulation import ByRevision, Deploy, SetMetrics
from canarycore_runtime import Limits, Runner
from canarycore_runtime.testing import SimulatedLoop
from tests.adapters.runtime.simulated_rollouts import KEY, SMOKE, deployed, passes, rollout

AFTER = Hook(name="after", type=HookType.POST_ROLLOUT, url="http://tests/after")
POLICY = rollout(ladder=Ladder(step=50, top=50), hooks=(SMOKE, AFTER), threshold=1)


class SteppedLoop(SimulatedLoop):
    """Counts its steps once `at` is set; from that step on it makes one of the `blows` a step."""

    at: int | None = None
    steps = 0
    blows = ()

    def _run_once(self) -> None:
        if self.at is not None:
            self.steps += 1
            if 0 <= self.steps - self.at < len(self.blows):
                self.blows[self.steps - self.at]()
        super()._run_once()


def stopped(life: asyncio.Task):
    """Ctrl-C: the body of the context is cancelled, and the runner has its grace."""
    return (life.cancel,)


def stopped_twice(life: asyncio.Task):
    """An impatient Ctrl-C: the second one abandons what the first one waits for."""
    return (life.cancel, life.cancel)


def killed(life: asyncio.Task):
    """Every task is cancelled wherever it is; the second time no write is waited for."""
    main = asyncio.current_task()

    def blow() -> None:
        for task in asyncio.all_tasks() - {main}:
            task.cancel()

    return (blow, blow)


async def scene(end, grace: float, at: int, bad: tuple[str, ...]):
    """One rollout of v2, disturbed at loop step `at` (-9: never). Returns its clusters and whether it was."""
    loop = asyncio.get_running_loop()
    clusters = deployed(POLICY)
    clusters.do(KEY, SetMetrics(ByRevision(bad)))
    async with Runner(clusters.parts()):
        await passes(5)
    clusters.do(KEY, Deploy("v2"))

    async def live() -> None:
        async with Runner(clusters.parts(), Limits(grace=grace)):
            await passes(60)

    life = asyncio.ensure_future(live())
    loop.at, loop.blows = at, end(life)
    await asyncio.wait({life})
    disturbed = life.cancelled()
    loop.at = None
    async with Runner(clusters.parts()):
        await passes(100)
    return clusters, disturbed


def play(*args):
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        return runner.run(scene(*args))


def outcome(clusters):
    state = clusters.state(KEY)
    status = state.status
    return {
        "phase": status.phase,
        "revisions": (status.applied, status.promoted, state.primary.revision),
        "routes": state.routes,
        "canary": state.target.desired,
        "steps": clusters.steps(KEY),
    }


def told(clusters):
    return {notice.kind for _, notice in clusters.of_key(KEY, Notice)}


@pytest.mark.parametrize(("bad", "phase"), [((), Phase.SUCCEEDED), (("v2",), Phase.FAILED)])
@pytest.mark.parametrize(
    ("end", "grace"),
    [
        (killed, 10.0),
        (stopped, 10.0),
        pytest.param(stopped, 0.0, marks=pytest.mark.deep),
        pytest.param(stopped_twice, 10.0, marks=pytest.mark.deep),
    ],
)
def test_the_next_runner_reaches_the_same_end_after_a_stop_at_any_step(end, grace, bad, phase):
    undisturbed, _ = play(end, grace, -9, bad)
    expected = outcome(undisturbed)
    assert expected["phase"] is phase
    for at in count(1):
        clusters, disturbed = play(end, grace, at, bad)
        assert outcome(clusters) == expected, f"ended at step {at} of the event loop"
        assert told(clusters) >= told(undisturbed), f"ended at step {at} of the event loop"
        if (end, grace) == (stopped, 10.0):
            assert told(clusters) == told(undisturbed), "a cycle under way was not finished within the grace"
        if not disturbed:
            break
    assert at > 50


def test_a_promotion_is_carried_out_once_or_repeated_without_effect():
    """However often the effect is sent, the primary changes once: from v1 to v2."""
    for at in range(60, 120, 3):
        clusters, _ = play(killed, 0.0, at, ())
        assert {effect for _, effect in clusters.effects(KEY) if isinstance(effect, Promote)} == {Promote("v2")}
        assert clusters.state(KEY).kept == ("v1",)
