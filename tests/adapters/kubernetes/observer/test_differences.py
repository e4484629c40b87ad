"""The observer explains the analyses that Flagger begins after a hand-back, and no other move, by their row."""

from __future__ import annotations

import pytest

from canarycore import Decision, Inputs, Observation, Phase, Routes, Rung, Status, Workload, decide
from canarycore_kubernetes.observer.differences import Difference
from tests.core.scenarios import policy

OURS, REJECTED, FLAGGERS = "0123456789abcdef", "fedcba9876543210", "6d4f58d956"


def row(before, after, target=OURS):
    rollout = policy()
    workload = Workload(revision=target, desired=0, updated=0, ready=0, total=0)
    primary = Workload(revision=OURS, desired=2, updated=2, ready=2, total=2)
    observation = Observation(now=1000.0, target=workload, primary=primary, routes=Routes())
    ours = decide(rollout, before, Inputs(observation))
    assert isinstance(ours, Decision)
    return Difference(rollout=rollout, before=before, theirs=after, ours=ours, observation=observation).row


def status(phase, applied=OURS, weight=0):
    return Status(phase=phase, applied=applied, promoted=OURS, since=900.0, analysed_at=990.0, rung=Rung(weight=weight))


@pytest.mark.parametrize("begun", [Phase.WAITING, Phase.PROGRESSING])
@pytest.mark.parametrize(
    ("before", "target"),
    [
        (status(Phase.INITIALIZED), OURS),
        (status(Phase.SUCCEEDED), OURS),
        (status(Phase.FAILED, REJECTED), REJECTED),
        (status(Phase.FAILED), OURS),
        (status(Phase.PROGRESSING, REJECTED, weight=40), REJECTED),
    ],
)
def test_an_analysis_after_a_hand_back_has_its_row(before, target, begun):
    assert row(before, status(begun, FLAGGERS), target) == "D156"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (status(Phase.SUCCEEDED, FLAGGERS), status(Phase.PROGRESSING, "565c8797cb")),
        (status(Phase.SUCCEEDED), status(Phase.PROGRESSING, REJECTED)),
        (status(Phase.SUCCEEDED), status(Phase.PROGRESSING, FLAGGERS, weight=40)),
        (status(Phase.SUCCEEDED), status(Phase.FAILED, FLAGGERS)),
    ],
)
def test_no_other_move_has_it(before, after):
    assert row(before, after) != "D156"
