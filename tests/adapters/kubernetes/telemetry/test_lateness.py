"""A missed interval has one line in the log, and a condition while it lasts."""

from __future__ import annotations

import logging

import pytest

from canarycore import Decision, Explanation, Observation, Phase, Rollout, Rung, Status, TargetRef
from canarycore.driver import CycleResult, Observed
from canarycore.phases import Rule
from canarycore_kubernetes.resources.status_codec import read_status, write_status
from canarycore_kubernetes.telemetry.lateness import TOLERATED_LATENESS, LatenessTracker
from canarycore_runtime.runner import CycleReport

KEY = "test/podinfo"
ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)
CLIMBING = Status(phase=Phase.PROGRESSING, since=1.0, rung=Rung(weight=10))
HIGHER = Status(phase=Phase.PROGRESSING, since=1.0, rung=Rung(weight=20))


@pytest.fixture
def lateness():
    return LatenessTracker()


def look(lateness, late, after=HIGHER, before=CLIMBING):
    explanation = Explanation(Rule.NOTED, before.phase, after.phase)
    seen = Observed(ROLLOUT, before, Observation(now=0.0))
    lateness.record_cycle(CycleReport(KEY, seen, CycleResult(Decision(after, (), None, explanation), None), late))


def test_a_late_cycle_has_a_condition_with_its_lateness(lateness):
    look(lateness, 3.21)
    (condition,) = lateness.conditions(KEY, HIGHER)
    assert (condition["type"], condition["status"], condition["reason"]) == ("MissedInterval", "True", "Late")
    assert "3.2 s late" in condition["message"]


def test_a_cycle_in_time_has_no_condition_nor_does_another_rollout(lateness):
    look(lateness, TOLERATED_LATENESS)
    assert lateness.conditions(KEY, HIGHER) == ()
    look(lateness, 2 * TOLERATED_LATENESS)
    assert lateness.conditions("test/other", HIGHER) == ()


def test_the_condition_ends_with_a_decision_in_time_and_not_with_an_idle_cycle(lateness):
    look(lateness, 5.0)
    look(lateness, 0.0, after=CLIMBING)
    assert lateness.conditions(KEY, HIGHER)
    look(lateness, 0.0)
    assert lateness.conditions(KEY, HIGHER) == ()


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED], ids=lambda phase: phase.value)
def test_a_rollout_at_rest_has_no_interval_to_miss(lateness, phase):
    resting = Status(phase=phase, since=1.0)
    look(lateness, 5.0)
    assert lateness.conditions(KEY, resting) == ()
    look(lateness, 0.0)
    look(lateness, 5.0, before=resting)
    assert lateness.conditions(KEY, HIGHER) == ()


def test_the_log_has_one_line_when_the_lateness_begins(lateness, caplog):
    with caplog.at_level(logging.WARNING, "canarycore.controller"):
        for late in (2.0, 3.0, 0.0, 4.0):
            look(lateness, late)
    assert [record.getMessage() for record in caplog.records] == [
        "interval missed: test/podinfo began its cycle 2.0 s late",
        "interval missed: test/podinfo began its cycle 4.0 s late",
    ]


def test_a_status_with_the_condition_is_read_as_without_it(lateness):
    look(lateness, 5.0)
    status = Status(phase=Phase.PROGRESSING, since=1.0, analysed_at=1.0, rung=Rung(weight=20))
    patch = write_status(ROLLOUT, status, lateness.conditions(KEY, status))
    found = {name: value for name, value in patch.items() if value is not None}
    assert "MissedInterval" in [condition["type"] for condition in found["conditions"]]
    assert read_status(ROLLOUT, found) == (status, False)
