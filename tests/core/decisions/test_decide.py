"""`decide` is total, stays on the table, and rests."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from canarycore import Inputs, Observation, Rollout, Status, converge, decide, goal
from canarycore.phases import TRANSITIONS, WAITS
from canarycore.questions import Ask
from canarycore.testing import strategies as some


def decided(rollout: Rollout, status: Status, world: Observation, data: st.DataObject):
    """The decision, whatever the questions are answered with."""
    answers = {}
    for _ in range(50):
        outcome = decide(rollout, status, Inputs(world, answers))
        if not isinstance(outcome, Ask):
            return outcome
        assert outcome.questions, "an Ask must ask something"
        for question in outcome.questions:
            assert question.key not in answers, f"{question.key} was answered already"
            answers[question.key] = data.draw(some.answers_to(question))
    raise AssertionError("it goes on asking")


def holds_to_its_word(rollout, status, world, data):
    decision = decided(rollout, status, world, data)
    explanation = decision.explanation
    event(explanation.rule.name)
    assert (status.phase, explanation.rule, decision.status.phase) in TRANSITIONS
    assert explanation.before is status.phase
    assert explanation.after is decision.status.phase
    if explanation.rule in WAITS:
        assert decision.status is status
    else:
        assert decision.status != status
    assert str(explanation)
    for notice in decision.notices:
        assert notice.text
    assert decision.wake is None or decision.wake >= world.now
    converge(goal(rollout, decision.status), world)


anything = given(rollout=some.rollouts(), status=some.statuses(), world=some.observations(), data=st.data())


@anything
def test_decide_is_total_and_never_off_the_table(rollout, status, world, data):
    holds_to_its_word(rollout, status, world, data)


@pytest.mark.deep
@pytest.mark.parametrize("part", range(20))
@anything
@settings(max_examples=max(settings.default.max_examples // 20, 1))
def test_decide_is_total_and_never_off_the_table_for_long(part, rollout, status, world, data):
    """In parts, as what Hypothesis remembers of one run slows it down; together they are the profile's number."""
    holds_to_its_word(rollout, status, world, data)


@given(some.rollouts(), some.statuses(), some.observations(), st.data())
def test_deciding_twice_from_the_same_inputs_gives_the_same_decision(rollout, status, world, data):
    answers = {}
    while isinstance(outcome := decide(rollout, status, Inputs(world, answers)), Ask):
        answers.update({question.key: data.draw(some.answers_to(question)) for question in outcome.questions})
    assert decide(rollout, status, Inputs(world, answers)) == outcome


@given(some.rollouts(), some.statuses(), some.observations(), st.data())
def test_a_wait_wakes_after_now_or_at_the_next_change(rollout, status, world, data):
    decision = decided(rollout, status, world, data)
    if decision.explanation.rule in WAITS and not converge(goal(rollout, status), world).effects:
        assert decision.wake is None or decision.wake > world.now
