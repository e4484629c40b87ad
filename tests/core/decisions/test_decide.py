"""`decide` is total, stays on the transition table, and comes to rest."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from canarycore import Inputs, Observation, Rollout, Status, converge, decide, goal
from canarycore.phases import TRANSITIONS, WAITS
from canarycore.questions import Ask
from canarycore.testing import strategies as some


def answer_and_decide(rollout: Rollout, status: Status, observation: Observation, data: st.DataObject):
    """Return the decision after answering every question at random."""
    answers = {}
    for _ in range(50):
        outcome = decide(rollout, status, Inputs(observation, answers))
        if not isinstance(outcome, Ask):
            return outcome
        assert outcome.questions, "an Ask must ask something"
        for question in outcome.questions:
            assert question.key not in answers, f"{question.key} was answered already"
            answers[question.key] = data.draw(some.answers_to(question))
    raise AssertionError("it goes on asking")


def check_decision(rollout, status, observation, data):
    decision = answer_and_decide(rollout, status, observation, data)
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
    assert decision.wake is None or decision.wake >= observation.now
    converge(goal(rollout, decision.status), observation)


anything = given(rollout=some.rollouts(), status=some.statuses(), observation=some.observations(), data=st.data())


@anything
def test_decide_is_total_and_never_off_the_table(rollout, status, observation, data):
    check_decision(rollout, status, observation, data)


@pytest.mark.deep
@pytest.mark.parametrize("part", range(20))
@anything
@settings(max_examples=max(settings.default.max_examples // 20, 1))
def test_decide_is_total_and_never_off_the_table_for_long(part, rollout, status, observation, data):
    """Run in parts, as Hypothesis slows down in a long run; together they run the profile's number of examples."""
    check_decision(rollout, status, observation, data)


@given(some.rollouts(), some.statuses(), some.observations(), st.data())
def test_deciding_twice_from_the_same_inputs_gives_the_same_decision(rollout, status, observation, data):
    answers = {}
    while isinstance(outcome := decide(rollout, status, Inputs(observation, answers)), Ask):
        answers.update({question.key: data.draw(some.answers_to(question)) for question in outcome.questions})
    assert decide(rollout, status, Inputs(observation, answers)) == outcome


@given(some.rollouts(), some.statuses(), some.observations(), st.data())
def test_a_wait_wakes_after_now_or_at_the_next_change(rollout, status, observation, data):
    decision = answer_and_decide(rollout, status, observation, data)
    if decision.explanation.rule in WAITS and not converge(goal(rollout, status), observation).effects:
        assert decision.wake is None or decision.wake > observation.now
