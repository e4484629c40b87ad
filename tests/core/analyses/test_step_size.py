"""The size of a step: the replicas of the canary, apart from its weight."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import (
    CanarySize,
    CommandKind,
    Decision,
    Inputs,
    Ladder,
    Observation,
    Phase,
    Routes,
    Status,
    Step,
    Workload,
    decide,
)
from canarycore import Rung as Place
from canarycore._goal import converge, goal
from canarycore.effects import Promote, Resize, ScaleUp, SetRoutes
from canarycore.errors import FieldError
from canarycore.simulation import Deploy, Edit, Scaler, ScaleTarget, SendCommand, SetPace, SetScaler
from canarycore.simulation.state import NEVER, after
from tests.core.scenarios import idle, policy

ONE, HALF, FULL = CanarySize(replicas=1), CanarySize(percent=50), CanarySize(percent=100)
OWN = 4
SIZED = policy(ladder=Ladder(steps=(Step(weight=20, size=ONE), 40, Step(weight=60, size=HALF))))


def started(rollout=SIZED, *, own=OWN):
    """Return a cluster whose owner wants `own` replicas, with a new revision."""
    world = idle(rollout)
    world.state = world.state.but(replicas=own, primary=evolve(world.state.primary, desired=own, mine=own))
    return world.do(Deploy("v2"))


def at_weight(weight):
    return lambda world: world.state.routes == Routes(weight=weight)


def sizes_and_weights(world):
    """Return each written size of the canary and weight, in order."""
    shown = []
    for record in world.history:
        for effect in record.effects:
            if isinstance(effect, Resize):
                shown.append(f"{effect.replicas} pods")
            if isinstance(effect, ScaleUp):
                shown.append("all pods")
            if isinstance(effect, SetRoutes):
                shown.append(f"{effect.routes.weight}%")
            if isinstance(effect, Promote):
                shown.append("promote")
    return shown


def test_each_size_comes_before_its_weight_and_all_pods_before_the_promotion():
    world = started().run()
    expected = ["1 pods", "20%", "40%", "2 pods", "60%", "all pods", "promote", "0%"]
    assert sizes_and_weights(world)[-8:] == expected
    assert (world.phase, world.state.primary.desired, world.state.sized) == (Phase.SUCCEEDED, OWN, None)


def test_without_sizes_a_canary_has_all_pods_from_the_start():
    world = started(policy(ladder=Ladder(steps=(20, 60)))).run()
    assert sizes_and_weights(world)[-5:] == ["all pods", "20%", "60%", "promote", "0%"]


def test_the_first_size_holds_from_the_start_and_each_one_up_to_the_next():
    ladder = Ladder(steps=(Step(weight=5, size=ONE), 10, Step(weight=20, size=HALF), 30), bake=60.0)
    assert [str(ladder.size_on(rung)) for rung in ladder.rungs] == ["1", "1", "1", "50%", "50%", "100%"]


def test_steps_before_the_first_size_have_all_pods():
    ladder = Ladder(steps=(5, Step(weight=20, size=ONE)))
    assert [str(ladder.size_on(rung)) for rung in ladder.rungs] == ["100%", "100%", "1"]


def test_a_mirror_before_the_steps_has_the_size_of_the_first():
    ladder = Ladder(steps=(Step(weight=5, size=ONE), 10), mirror=True)
    assert [str(ladder.size_on(rung)) for rung in ladder.rungs] == ["1", "1", "1", "1"]


@pytest.mark.parametrize(("own", "percent", "count"), [(10, 25, 3), (4, 25, 1), (3, 1, 1), (7, 100, 7), (0, 50, 1)])
def test_a_percentage_is_rounded_up_to_at_least_one_pod(own, percent, count):
    assert CanarySize(percent=percent).count(own) == count


@pytest.mark.parametrize("wrong", [{}, {"replicas": 1, "percent": 1}, {"percent": 101}, {"replicas": -1}])
def test_a_size_is_one_number_above_0(wrong):
    with pytest.raises(FieldError):
        CanarySize(**wrong)


def test_a_size_beside_an_autoscaler_is_refused():
    with pytest.raises(FieldError, match="change the replicas against each other"):
        evolve(SIZED, autoscaled=True)


def test_traffic_waits_until_the_pods_of_the_size_are_ready():
    world = started().run(until=at_weight(40))
    world.do(SetPace("target", after(15.0))).run(until=lambda each: each.status.rung == Place(weight=60))
    world.run(until=lambda each: each.state.target.desired == 2)
    assert world.state.routes == Routes(weight=40)
    assert world.run(until=at_weight(60)).observation.target.ready == 2


def test_a_size_whose_pods_never_get_ready_rolls_back_at_the_deadline():
    world = started().run(until=at_weight(40)).do(SetPace("target", NEVER)).run()
    assert (world.phase, world.state.target.desired, world.state.sized) == (Phase.FAILED, 0, None)
    assert "60%" not in sizes_and_weights(world)


def test_a_smaller_size_comes_after_the_drain_of_a_new_revision():
    """A revision that arrives while the canary is large loses its traffic first, then its pods."""
    world = started().run(until=at_weight(60)).do(Deploy("v3"))
    world.run(until=lambda each: each.state.target.desired == 1)
    last = sizes_and_weights(world)[-2:]
    assert last == ["0%", "1 pods"]
    assert world.state.now >= world.status.analysed_at + SIZED.drain


def test_a_rollback_at_a_small_size_keeps_the_owners_number():
    world = started().run(until=at_weight(40)).do(SendCommand(CommandKind.ABORT, id="abort")).run()
    assert (world.phase, world.state.target.desired, world.state.sized) == (Phase.FAILED, 0, None)
    world.do(Edit(policy(ladder=Ladder(steps=(20, 60)))), Deploy("v3")).run(until=at_weight(20))
    assert world.state.target.desired == OWN


def test_the_owners_new_number_counts_from_the_next_cycle_on():
    world = started().run(until=at_weight(60)).do(ScaleTarget(10))
    world.run(until=lambda each: each.state.sized is not None and each.state.sized.own == 10)
    assert world.run(until=lambda each: each.state.target.desired == 5).state.routes == Routes(weight=60)
    assert "all pods" in sizes_and_weights(world.run(until=lambda each: each.phase is Phase.FINALISING))
    assert world.state.target.desired == 10


def test_an_edit_that_removes_the_sizes_brings_all_pods_before_the_next_weight():
    world = started().run(until=at_weight(20)).do(Edit(policy(ladder=Ladder(steps=(20, 60))))).run(until=at_weight(60))
    assert sizes_and_weights(world)[-2:] == ["all pods", "60%"]
    assert world.state.target.desired == OWN


def test_a_rollout_without_an_analysis_has_no_sizes():
    world = started(evolve(SIZED, skip_analysis=True)).run()
    assert not [each for each in sizes_and_weights(world) if each.endswith(" pods") and each != "all pods"]
    assert world.phase is Phase.SUCCEEDED


# any cluster --------------------------------------------------------------------------------------------------------

counts = st.integers(0, 6)


@st.composite
def observations(draw):
    desired = draw(counts)
    target = Workload(
        revision="v2",
        desired=desired,
        updated=min(draw(counts), desired),
        ready=draw(counts),
        total=draw(counts),
        own=draw(st.sampled_from([0, 4, 5])),
    )
    primary = Workload(revision="v1", desired=4, updated=4, ready=4, total=4)
    weight = draw(st.sampled_from([0, 20, 40, 60]))
    return Observation(now=draw(st.sampled_from([100.0, 102.0, 200.0])), target=target, primary=primary,
                       routes=Routes(weight=weight))  # fmt: skip


def under_test(weight):
    return Status(phase=Phase.PROGRESSING, since=1.0, analysed_at=100.0, rung=Place(weight=weight), applied="v2",
                  promoted="v1")  # fmt: skip


@given(observations(), st.sampled_from([0, 20, 40, 60]))
def test_no_plan_gives_more_traffic_to_a_canary_that_has_not_its_size(observation: Observation, weight: int):
    target, rollout = observation.target, SIZED
    plan = converge(goal(rollout, under_test(weight)), observation)
    wanted = rollout.ladder.size_on(Place(weight=weight)).count(target.own or target.desired)
    raised = [
        each for each in plan.effects if isinstance(each, SetRoutes) and each.routes.weight > observation.routes.weight
    ]
    assert not raised or (target.desired == wanted <= target.ready)


@given(observations(), st.sampled_from([0, 20, 40, 60]))
def test_no_plan_takes_pods_from_a_canary_before_its_traffic(observation: Observation, weight: int):
    plan = converge(goal(SIZED, under_test(weight)), observation)
    shrunk = [each for each in plan.effects if isinstance(each, Resize) and each.replicas < observation.target.desired]
    assert not shrunk or (observation.routes.weight <= weight and observation.now >= 100.0 + SIZED.drain)


@given(observations())
def test_a_repeated_plan_for_a_canary_of_its_size_resizes_nothing(observation: Observation):
    plan = converge(goal(SIZED, under_test(20)), observation)
    for effect in plan.effects:
        if isinstance(effect, Resize):
            own = observation.target.own or observation.target.desired
            sized = evolve(observation, target=evolve(observation.target, desired=effect.replicas, own=own))
            again = converge(goal(SIZED, under_test(20)), sized)
            assert not [each for each in again.effects if isinstance(each, Resize | ScaleUp)]


def test_a_size_above_the_owners_number_does_not_hold_a_promotion():
    world = started(policy(ladder=Ladder(steps=(Step(weight=20, size=CanarySize(replicas=9)), 60)))).run()
    assert (world.phase, world.state.primary.desired) == (Phase.SUCCEEDED, OWN)


@pytest.mark.parametrize(("weight", "phase"), [(20, Phase.FAILED), (60, Phase.PROGRESSING)])
def test_one_pod_of_a_size_that_never_gets_ready_rolls_back_before_its_traffic(weight: int, phase: Phase):
    """The platform reports no shortage of one pod of many. With its traffic, the canary had its size before."""
    rollout = policy(ladder=Ladder(steps=(20, Step(weight=60, size=CanarySize(replicas=9)))), progress_deadline=60.0)
    target = Workload(revision="v2", desired=9, updated=9, ready=8, total=9, own=10)
    primary = Workload(revision="v1", desired=10, updated=10, ready=10, total=10)
    observation = Observation(now=160.0, target=target, primary=primary, routes=Routes(weight=weight))
    outcome = decide(rollout, under_test(60), Inputs(observation=observation))
    assert isinstance(outcome, Decision)
    assert outcome.status.phase is phase


def test_beside_an_autoscaler_nobody_named_a_size_changes_nothing():
    world = started().do(SetScaler(Scaler(minimum=2))).run()
    assert not [each for each in sizes_and_weights(world) if each.endswith(" pods") and each != "all pods"]
    assert world.phase is Phase.SUCCEEDED
