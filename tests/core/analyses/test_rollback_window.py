"""A return to an earlier promoted revision skips the steps that the rollback window does not name."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import (
    CommandKind,
    HookType,
    Ladder,
    OnFailure,
    Phase,
    Reason,
    RollbackWindow,
    Status,
    Strategy,
)
from canarycore.bounds import REVISIONS
from canarycore.codec import from_json, to_json
from canarycore.errors import FieldError
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.questions import HookQuestion, MetricAnswer
from canarycore.simulation import AnswerHook, ByRevision, Constant, Deploy, Edit, SendCommand, SetMetrics
from tests.core.scenarios import HEADER, hook, idle, kinds, policy

GOOD = SetMetrics(Constant(MetricAnswer(value=100.0)))


def windowed(revisions=3, steps=(), **changes):
    return policy(rollback_window=RollbackWindow(revisions=revisions, steps=steps), **changes)


def after(rollout, *revisions):
    """Return a cluster in which these revisions were promoted after v1, one after the other."""
    world = idle(rollout)
    for revision in revisions:
        world.do(Deploy(revision)).run()
        assert world.status.promoted == revision
    return world


def returning(world, *actions):
    """Deploy v1 again, and return the rules of its rollout and the weights that it committed."""
    start = len(world.history)
    world.do(Deploy("v1"), *actions).run()
    records = [record for record in world.history[start:] if record.decision is not None]
    rules = [record.decision.explanation.rule for record in records]
    weights = [record.decision.status.rung.weight for record in records]
    return rules, [weight for weight in dict.fromkeys(weights) if weight]


def test_a_return_skips_the_steps():
    world = after(windowed(), "v2")
    rules, weights = returning(world)
    assert (weights, world.status.promoted, world.status.phase) == ([], "v1", Phase.SUCCEEDED)
    assert Rule.RETURNED in rules
    assert world.status.reason is Reason.SKIPPED


def test_a_return_takes_the_steps_that_the_window_names():
    world = after(windowed(steps=(60,)), "v2")
    rules, weights = returning(world)
    assert weights == [60]
    assert {Rule.ADVANCED, Rule.PROMOTED} <= set(rules)
    assert world.status.reason is Reason.PASSED


def test_a_return_that_fails_a_named_step_is_rolled_back():
    world = after(windowed(steps=(60,)), "v2")
    returning(world, SetMetrics(ByRevision(bad=("v1",))))
    assert (world.status.phase, world.status.promoted) == (Phase.FAILED, "v2")
    assert (world.status.rejected, world.status.history) == (("v1",), ())


def test_a_new_revision_takes_every_step():
    world = after(windowed())
    start = len(world.history)
    world.do(Deploy("v2")).run()
    weights = {record.decision.status.rung.weight for record in world.history[start:] if record.decision}
    assert {20, 60} <= weights
    assert NoticeKind.STEPS_SKIPPED not in kinds(world)


def test_without_a_window_a_return_takes_every_step():
    _, weights = returning(after(policy(), "v2"))
    assert weights == [20, 60]


@pytest.mark.parametrize(("revisions", "skips"), [(1, False), (2, True)])
def test_the_window_counts_the_revisions_before_the_promoted_one(revisions, skips):
    _, weights = returning(after(windowed(revisions), "v2", "v3"))
    assert weights == ([] if skips else [20, 60])


def test_one_event_says_that_steps_are_skipped():
    world = after(windowed(steps=(60,)), "v2")
    returning(world)
    (notice,) = [each for record in world.history for each in record.notices if each.kind is NoticeKind.STEPS_SKIPPED]
    assert notice.text == "Revision v1 of podinfo.test was promoted before: its rollout skips to weight 60"


def test_a_rejected_revision_never_skips_steps_again():
    world = after(windowed(), "v2")
    world.do(Deploy("v1"), SendCommand(CommandKind.ABORT)).run()
    assert (world.status.phase, world.status.history) == (Phase.FAILED, ())
    world.do(Deploy("v2")).run()
    _, weights = returning(world)
    assert (weights, world.status.promoted) == ([20, 60], "v1")


def test_a_revision_that_was_retried_after_its_rejection_never_skips_steps():
    world = idle(windowed()).do(Deploy("v2"), SetMetrics(ByRevision(bad=("v2",)))).run()
    world.do(GOOD, SendCommand(CommandKind.RETRY)).run()
    world.do(Deploy("v3")).run()
    assert (world.status.promoted, world.status.history) == ("v3", ("v1",))


def test_nobody_returns_forward():
    world = after(windowed(), "v2", "v3")
    returning(world)
    assert world.status.history == ()
    start = len(world.history)
    world.do(Deploy("v3")).run()
    assert {20, 60} <= {record.decision.status.rung.weight for record in world.history[start:] if record.decision}
    assert world.status.history == ("v1",)


def test_the_history_is_bounded():
    world = after(policy(skip_analysis=True), *[f"r{number}" for number in range(REVISIONS.most + 3)])
    assert len(world.status.history) == REVISIONS.most
    assert world.status.history[0] == f"r{REVISIONS.most + 1}"


def test_a_withdrawn_rollout_leaves_the_history():
    world = after(windowed(), "v2")
    world.do(Deploy("v3")).run(until=lambda each: each.status.rung.weight > 0)
    world.do(Deploy("v2")).run()
    assert (world.status.reason, world.status.history) == (Reason.WITHDRAWN, ("v1",))


def test_a_return_that_arrives_during_a_rollout_skips_the_steps():
    world = after(windowed(), "v2")
    world.do(Deploy("v3")).run(until=lambda each: each.status.rung.weight > 0)
    rules, _ = returning(world)
    assert {Rule.RESTARTED, Rule.RETURNED} <= set(rules)
    assert (world.status.promoted, world.status.rejected) == ("v1", ())


def test_a_return_in_place_ends_at_full_weight():
    ladder = Ladder(steps=(20, 60), in_place=True)
    _, weights = returning(after(windowed(ladder=ladder), "v2"))
    assert weights == [100]


BAKES = {
    "weights": {"ladder": Ladder(steps=(20, 60), bake=45.0)},
    "a/b": {"ladder": Ladder(strategy=Strategy.AB, iterations=2, bake=45.0), "match": HEADER},
    "blue/green": {"ladder": Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, bake=45.0)},
}


@pytest.mark.parametrize("steps", [(), (100,)])
@pytest.mark.parametrize("fields", BAKES.values(), ids=BAKES)
def test_a_return_bakes_only_if_the_window_names_all_requests(fields, steps):
    gate = hook(HookType.CONFIRM_PROMOTION)
    world = after(windowed(steps=steps, hooks=(gate,), **fields), "v2")
    start, begin = len(world.history), world.now
    world.do(AnswerHook(gate.name, (False,)), Deploy("v1")).run(until=Phase.WAITING_PROMOTION)
    assert world.state.routes.weight == 0
    world.do(AnswerHook(gate.name, (True,))).run()
    weights = {record.decision.status.rung.weight for record in world.history[start:] if record.decision}
    assert weights == {0, *steps}
    assert (world.now - begin >= 45.0) or not steps
    assert world.status.promoted == "v1"


@pytest.mark.parametrize("steps", [(), (100,)])
def test_a_blue_green_return_skips_the_iterations(steps):
    ladder = Ladder(strategy=Strategy.BLUE_GREEN, iterations=5)
    world = after(windowed(steps=steps, ladder=ladder), "v2")
    rules, weights = returning(world)
    assert weights == [*steps]
    assert rules.count(Rule.ADVANCED) == len(steps)
    assert world.status.promoted == "v1"


def test_an_ab_return_skips_the_iterations_whatever_their_number():
    ladder = Ladder(strategy=Strategy.AB, iterations=10_000_000)
    world = idle(windowed(ladder=ladder, match=HEADER, skip_analysis=True)).do(Deploy("v2")).run()
    world.do(Edit(evolve(world.rollout, skip_analysis=False)))
    rules, _ = returning(world)
    assert Rule.RETURNED in rules


@pytest.mark.parametrize("ladder", [Ladder(steps=(20, 60)), Ladder(strategy=Strategy.BLUE_GREEN, iterations=3)])
@pytest.mark.parametrize("steps", [(), (60,), (100,)])
def test_a_return_keeps_its_hooks_and_gates(ladder, steps):
    hooks = tuple(map(hook, (HookType.CONFIRM_ROLLOUT, HookType.PRE_ROLLOUT, HookType.CONFIRM_PROMOTION)))
    world = after(windowed(steps=steps, ladder=ladder, hooks=hooks), "v2")
    start = len(world.history)
    world.do(AnswerHook("confirm-promotion", (False, True)))
    rules, _ = returning(world)
    assert Rule.GATED_PROMOTION in rules
    decisions = [record.decision for record in world.history[start:] if record.decision is not None]
    called = {
        question.hook.name
        for decision in decisions
        for question, _ in decision.explanation.answers
        if isinstance(question, HookQuestion)
    }
    assert called == {"confirm-rollout", "pre-rollout", "confirm-promotion"}
    assert world.status.promoted == "v1"


def test_a_return_that_fails_freezes_if_the_policy_says_so():
    world = after(windowed(steps=(60,), on_failure=OnFailure.FREEZE), "v2")
    world.do(Deploy("v1"), SetMetrics(ByRevision(bad=("v1",)))).run(until=lambda each: each.status.is_frozen)
    assert (world.status.rung.weight, world.status.rejected, world.status.history) == (60, (), ("v1",))


def test_a_status_survives_a_round_trip_with_its_history():
    status = Status(history=("v2", "v1"))
    assert from_json(to_json(status), Status) == status
    assert from_json(to_json(windowed(steps=(20,))), type(windowed())).rollback_window.steps == (20,)


@pytest.mark.parametrize("fields", [{"revisions": 0}, {"revisions": 21}, {"revisions": 1, "steps": (60, 20)}])
def test_a_window_out_of_its_bounds_is_refused(fields):
    with pytest.raises(FieldError, match="RollbackWindow"):
        RollbackWindow(**fields)
