"""Steps with a hold, an approval or checks of their own: a passing analysis alone does not leave them."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, Ladder, Phase, Reason, Rung, Step
from canarycore.errors import FieldError
from canarycore.notices import NoticeKind
from canarycore.phases import Approval, Rule
from canarycore.simulation import ByRevision, Deploy, Edit, SendCommand, SetMetrics
from tests.core.scenarios import DURATION, SUCCESS_RATE, idle, kinds, policy

HELD = policy(ladder=Ladder(steps=(Step(weight=20, hold=45.0), 60)))
APPROVED = policy(ladder=Ladder(steps=(Step(weight=20, approval=True), 60)))
UNKNOWN = Step(weight=20, metrics=("p99",))


def at_weight(weight):
    return lambda world: world.status.rung.weight == weight


def is_asked(world):
    return world.status.approval is Approval.ASKED


def test_a_step_is_left_by_the_first_pass_after_its_hold():
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(20))
    begin = world.state.now
    assert world.status.reached_at == begin
    world.run(until=at_weight(60))
    assert world.state.now - begin == 50.0, "an interval has 10 seconds"
    assert world.run().phase is Phase.SUCCEEDED


def test_each_analysis_of_a_hold_is_recorded_and_explained():
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(60))
    stays = [record for record in world.history if record.decision.explanation.rule is Rule.STAYED]
    assert len(stays) == 4
    assert str(stays[0].decision.explanation).startswith("Progressing: the rung passed, but its step is not over (35s")
    assert kinds(world).count(NoticeKind.HOLDING) == 1


def test_failed_checks_of_a_hold_roll_back():
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(20)).do(SetMetrics(ByRevision(bad=("v2",))))
    begin = world.state.now
    world.run(until=lambda world: world.phase is Phase.FAILED)
    assert (world.status.reason, world.state.now - begin) == (Reason.CHECKS, 20.0)
    assert (world.status.reached_at, world.status.rung) == (None, Rung())


def test_an_approval_is_asked_for_once_and_lasts_without_end():
    world = idle(APPROVED).do(Deploy("v2")).run(until=is_asked)
    for _ in range(5):
        world.run(until=world.state.now + 10.0)
    assert (world.phase, world.status.rung.weight) == (Phase.PROGRESSING, 20)
    assert [kind for kind in kinds(world) if kind in {NoticeKind.APPROVAL_ASKED, NoticeKind.APPROVAL_ALERT}] == [
        NoticeKind.APPROVAL_ASKED,
        NoticeKind.APPROVAL_ALERT,
    ]
    world.do(SendCommand(CommandKind.APPROVE)).run()
    assert (world.phase, world.status.approval) == (Phase.SUCCEEDED, Approval.NONE)


def test_an_approval_may_come_before_it_is_asked_for():
    world = idle(APPROVED).do(Deploy("v2")).run(until=at_weight(20)).do(SendCommand(CommandKind.APPROVE)).run()
    assert world.phase is Phase.SUCCEEDED
    assert NoticeKind.APPROVAL_ASKED not in kinds(world)


def test_an_approval_is_for_one_step_and_one_revision():
    every = policy(ladder=Ladder(steps=(Step(weight=20, approval=True), Step(weight=60, approval=True))))
    world = idle(every).do(Deploy("v2")).run(until=is_asked)
    world.do(SendCommand(CommandKind.APPROVE)).run(until=at_weight(60))
    assert world.status.approval is Approval.NONE
    world.run(until=is_asked).do(SendCommand(CommandKind.APPROVE), Deploy("v3"))
    world.run(until=lambda world: world.status.applied == "v3" and is_asked(world))
    assert world.status.rung.weight == 20


@pytest.mark.parametrize(
    ("rollout", "commands", "reason"),
    [
        (HELD, (), "the step at weight 20 waits for no approval"),
        (APPROVED, (SendCommand(CommandKind.SKIP_TO, 60),), "the step at weight 60 waits for no approval"),
        (APPROVED, (SendCommand(CommandKind.APPROVE),), "the step is approved already"),
    ],
)
def test_an_approval_that_no_step_waits_for_is_refused(rollout, commands, reason):
    world = idle(rollout).do(Deploy("v2")).run(until=at_weight(20))
    for command in (*commands, SendCommand(CommandKind.APPROVE)):
        world.do(command).step()
    assert world.status.refusal == reason


def test_a_weight_that_a_command_skips_to_holds_too():
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(20)).do(SendCommand(CommandKind.SKIP_TO, 60))
    world.step()
    world.do(SendCommand(CommandKind.SKIP_TO, 20)).step()
    begin = world.state.now
    world.run(until=at_weight(60))
    assert world.state.now - begin == 50.0


def test_a_promotion_by_command_ends_a_hold():
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(20)).do(SendCommand(CommandKind.PROMOTE))
    world.step()
    assert (world.phase, world.status.reached_at) == (Phase.PROMOTING, None)


def test_a_step_asks_for_its_own_checks_only():
    ladder = Ladder(steps=(Step(weight=20, metrics=("request-duration",)), 60))
    world = idle(policy(ladder=ladder, checks=(SUCCESS_RATE, DURATION))).do(Deploy("v2")).run()
    decisions = [record.decision for record in world.history if record.decision is not None]
    asked = [[judgement.check.name for judgement in decision.explanation.judgements] for decision in decisions]
    assert [names for names in asked if names] == [["request-duration"], ["request-success-rate", "request-duration"]]


@pytest.mark.parametrize(("steps", "seconds"), [((20, 60), 10.0), ((Step(weight=20, hold=25.0), 60), 30.0)])
def test_an_edit_of_a_hold_counts_at_once(steps, seconds):
    world = idle(HELD).do(Deploy("v2")).run(until=at_weight(20))
    begin = world.state.now
    world.do(Edit(evolve(HELD, ladder=Ladder(steps=steps)))).run(until=at_weight(60))
    assert world.state.now - begin == seconds


def test_a_hold_that_an_edit_adds_counts_from_the_next_step_on():
    world = idle(policy()).do(Deploy("v2")).run(until=at_weight(20))
    begin = world.state.now
    world.do(Edit(HELD)).run(until=at_weight(60))
    assert world.state.now - begin == 10.0


def test_an_approval_that_an_edit_asked_for_ends_with_its_step():
    world = idle(policy()).do(Deploy("v2")).run(until=at_weight(20)).do(Edit(APPROVED)).run(until=is_asked)
    world.do(Edit(policy())).run(until=at_weight(60))
    assert world.status.approval is Approval.NONE


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Step(weight=0), ("Step.weight", "found 0", "from 1 to 100")),
        (lambda: Step(weight=20, hold=-1.0), ("Step.hold", "found -1")),
        (lambda: Step(weight=20, hold=float("inf")), ("Step.hold", "found inf")),
        (lambda: Step(weight=20, approval="yes"), ("Step.approval", "True or False")),
        (lambda: Step(weight=20, metrics="p99"), ("Step.metrics", "a tuple")),
        (lambda: Ladder(steps=(Step(weight=20), 20)), ("Ladder.steps[1]", "found 20", "more than 20")),
        (lambda: Ladder(steps=("20",)), ("Ladder.steps[0]", "an object of Step")),
        (
            lambda: policy(ladder=Ladder(steps=(Step(weight=20, metrics=("p99",)),))),
            ("ladder.steps", "p99", "request-"),
        ),
    ],
)
def test_a_wrong_step_is_refused(make, parts):
    with pytest.raises(FieldError) as error:
        make()
    assert [part for part in parts if part not in str(error.value)] == []
