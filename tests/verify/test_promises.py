"""Promises of a user in the search: schedules that break them, endless waits, and narrower schedules."""

from __future__ import annotations

from math import inf

import pytest
from attrs import evolve

from canarycore import CommandKind, Hook, HookType, Phase, cycle
from canarycore.policy import Behaviour, Scenario
from canarycore.simulation import Deploy, Edit, Promise, PromiseFault, RolloutView, SendCommand
from canarycore.verification import (
    SITUATIONS,
    STRATEGIES,
    ActorAction,
    Answers,
    Crash,
    LateTimer,
    Trial,
    ViolationError,
    replay,
    verify,
)
from canarycore.verification._report import make_model

CANARY = STRATEGIES["canary"]
BAD = Scenario(new=Behaviour(error_rate=0.3))
SKIPPED = SITUATIONS["skipAnalysis"]("canary", CANARY)
GATE = Hook(name="gate", type=HookType.CONFIRM_PROMOTION, url="http://hooks.example/gate")


def _is_not_promoted(rollout: RolloutView) -> bool:
    return not rollout.is_promoted


def _ends_within_a_minute(rollout: RolloutView) -> bool:
    return rollout.is_over or rollout.seconds <= 60


NOT_PROMOTED = Promise("never promoted", _is_not_promoted)
WITHIN_A_MINUTE = Promise("ended within a minute", _ends_within_a_minute)
ENDS = Promise("it ends", lambda rollout: rollout.seconds < inf)


def most_bad(most: float) -> Promise:
    return Promise(f"at most {most:g} bad requests", lambda rollout: rollout.bad_requests <= most)


def broken(rollout, *promises: Promise, **options) -> dict[str, str]:
    """The promises that some schedule breaks, with how."""
    report = verify(rollout, **{"faults": 0, "promises": promises, **options})
    assert {violation.name for violation in report.violations} <= {"promise"}
    return {violation.text: violation.found for violation in report.violations}


def test_without_faults_a_bad_version_is_never_promoted():
    assert broken(CANARY, NOT_PROMOTED, scenario=BAD) == {}


def test_a_good_version_may_be_promoted_without_faults():
    assert list(broken(CANARY, NOT_PROMOTED)) == ["never promoted"]


def test_no_fault_but_an_operator_or_an_edit_promotes_a_bad_version():
    report = verify(CANARY, promises=[NOT_PROMOTED], scenario=BAD)
    (violation,) = report.violations
    assert [type(step.action) for step in violation.faults] == [SendCommand]
    assert violation.faults[0].action.kind is CommandKind.PROMOTE
    assert broken(CANARY, NOT_PROMOTED, scenario=BAD, faults=1, without=[SendCommand, Edit]) == {}


def test_the_bound_of_bad_requests_is_exact():
    """Twenty percent of 100 requests a second for 20 s, of which 30 % fail."""
    assert broken(CANARY, most_bad(120), scenario=BAD) == {}
    assert list(broken(CANARY, most_bad(119), scenario=BAD)) == ["at most 119 bad requests"]


def test_a_late_timer_harms_more_users():
    narrow = {"faults": 1, "without": [ActorAction]}
    found = verify(CANARY, promises=[most_bad(120)], scenario=BAD, **narrow).violations
    assert {type(step) for violation in found for step in violation.faults} >= {LateTimer}


def test_a_closed_gate_makes_the_time_infinite():
    assert "after an endless wait" in broken(evolve(CANARY, hooks=(GATE,)), ENDS)["it ends"]


def test_a_pause_for_good_makes_the_time_infinite():
    assert "after an endless wait" in broken(SKIPPED, ENDS, faults=1, without=[Edit])["it ends"]


def test_a_rollout_beyond_the_horizon_counts_as_endless():
    assert "after an endless wait" in broken(CANARY, WITHIN_A_MINUTE, horizon=20)["ended within a minute"]


def test_a_violation_replays_as_a_program():
    report = verify(evolve(CANARY, hooks=(GATE,)), faults=0, promises=[WITHIN_A_MINUTE], scenario=Scenario(rps=10.0))
    script = report.violations[0].script
    assert "from tests.verify.test_promises import WITHIN_A_MINUTE\n" in script
    with pytest.raises(ViolationError, match="ended within a minute"):
        exec(script, {})


def test_a_schedule_without_a_violation_replays_to_its_end():
    """The answers of a bad version are the first ones."""
    lines: list[str] = []
    about = Trial(strategy="canary", rollout=CANARY)
    replay(about, promises=[NOT_PROMOTED], scenario=BAD, report=lines.append)
    assert "Failed of v2" in lines[-1]


def test_the_answers_of_a_scenario_are_its_values():
    model = make_model(Trial(strategy="canary", rollout=CANARY), cycle, scenario=BAD)
    node = model.starts()[1]
    while not isinstance(model.free(node)[0].step, Answers):
        node = model.free(node)[0].to
    (move,) = model.free(node)
    assert [answer.value for answer in move.step.answers] == [70.0]


def test_all_promises_are_checked():
    found = broken(CANARY, NOT_PROMOTED, WITHIN_A_MINUTE, most_bad(0), scenario=Scenario(old=Behaviour(error_rate=0.1)))
    assert found.keys() == {"never promoted", "at most 0 bad requests"}


def test_a_policy_with_promises_keeps_its_waits():
    patient = evolve(CANARY, progress_deadline=600.0, threshold=10)
    assert verify(patient, 0, promises=[NOT_PROMOTED], scenario=BAD).trial.rollout == patient
    assert verify(patient, 0).trial.rollout != patient


def test_a_promise_that_raises_ends_the_search():
    with pytest.raises(PromiseFault, match="the promise 'mine' raised KeyError: 1"):
        verify(CANARY, 0, promises=[Promise("mine", lambda rollout: {}[1])])


def test_faults_can_be_left_out():
    everything, no_crash, nothing = (
        verify(SKIPPED, without=without).transitions for without in ([], [Crash], [ActorAction, Crash, LateTimer])
    )
    assert everything > no_crash > nothing


def test_an_action_can_be_left_out():
    model = make_model(Trial(strategy="canary", rollout=CANARY), cycle, without=[Deploy])
    assert Deploy not in {type(step.action) for step in model.actions}


@pytest.mark.parametrize("kind", [Phase, "Crash", Answers])
def test_what_no_schedule_has_cannot_be_left_out(kind):
    with pytest.raises(ValueError, match=r"without: found .*, expected types among ActorAction, "):
        verify(CANARY, without=[kind])
