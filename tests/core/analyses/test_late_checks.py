"""`from_weight`: a check that is measured from a weight on, and ends a rollout between its steps."""

from __future__ import annotations

from attrs import evolve

from canarycore import Check, CheckKind, Ladder, Phase, Step
from canarycore.questions import MetricQuestion
from canarycore.simulation import ByRevision, Deploy, SetMetrics
from tests.core.scenarios import SUCCESS_RATE, idle, policy

LATE = Check(name="latency", kind=CheckKind.DURATION, maximum=500.0, from_weight=60)
STEPS = (Step(weight=20, hold=50.0), Step(weight=60, hold=200.0), Step(weight=80, hold=50.0))


def weights_of_questions(world, name):
    """Return the weights at which the check was measured."""
    return [
        record.committed.rung.weight
        for record in world.history
        if record.committed is not None
        for question, _ in record.answers
        if isinstance(question, MetricQuestion) and question.check.name == name
    ]


def test_a_check_is_measured_from_its_weight_on():
    world = idle(policy(ladder=Ladder(steps=STEPS), checks=(SUCCESS_RATE, LATE))).do(Deploy("v2")).run()
    assert world.phase is Phase.SUCCEEDED
    assert min(weights_of_questions(world, LATE.name)) >= 60
    assert 20 in weights_of_questions(world, SUCCESS_RATE.name)


def test_it_ends_the_rollout_while_a_step_holds():
    world = idle(policy(ladder=Ladder(steps=STEPS), checks=(LATE,))).do(Deploy("v2"))
    world.run(until=lambda world: world.status.rung.weight == 60)
    began = world.now
    world.do(SetMetrics(ByRevision(bad=("v2",)))).run(until=lambda world: world.phase is Phase.FAILED)
    assert world.now - began < STEPS[1].hold
    assert world.status.promoted == "v1"


def test_a_check_at_full_weight_is_an_analysis_after_the_switch():
    after = evolve(LATE, from_weight=100)
    world = idle(policy(ladder=Ladder(steps=(20,), bake=50.0), checks=(after,))).do(Deploy("v2"))
    world.do(SetMetrics(ByRevision(bad=("v2",)))).run()
    assert set(weights_of_questions(world, LATE.name)) <= {100, 0}
    assert (world.phase, world.status.promoted) == (Phase.FAILED, "v1")
