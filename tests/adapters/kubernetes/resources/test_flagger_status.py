"""Adoption of rollouts that Flagger began: it only renames revisions."""

from __future__ import annotations

import pytest

from canarycore import Inputs, Observation, Phase, Rollout, Routes, Status, TargetRef, Workload, converge, decide, goal
from canarycore.effects import Promote
from canarycore.phases import Rule
from canarycore_kubernetes.resources.flagger_status import adopt_status
from canarycore_runtime.ports import Workloads

ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"))
SINCE = 1_700_000_000.0


def workload(revision, desired=2):
    return Workload(revision=revision, desired=desired, updated=desired, ready=desired, total=desired)


def flaggers(phase):
    return Status(phase=phase, since=SINCE, analysed_at=SINCE, applied="5d8c", promoted="5d8c")


def decision(status, target, primary):
    world = Observation(now=SINCE + 3600, target=target, primary=primary, routes=Routes(), scaler_paused=None)
    return decide(ROLLOUT, adopt_status(status, Workloads(target=target, primary=primary)), Inputs(world))


@pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.SUCCEEDED])
def test_at_rest_nothing_starts_and_nothing_is_written(phase):
    outcome = decision(flaggers(phase), workload("ours", 0), workload("ours"))
    assert outcome.explanation.rule is Rule.IDLE


@pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.SUCCEEDED])
def test_a_revision_that_arrived_before_the_adoption_is_analysed(phase):
    outcome = decision(flaggers(phase), workload("new"), workload("ours"))
    assert outcome.explanation.rule is Rule.STARTED
    assert outcome.status.applied == "new"


def test_a_revision_that_flagger_rejected_is_not_tried_again():
    outcome = decision(flaggers(Phase.FAILED), workload("rejected", 0), workload("ours"))
    assert outcome.explanation.rule is Rule.IDLE


def test_an_analysis_goes_on_with_the_revision_that_is_on_the_target():
    status = adopt_status(flaggers(Phase.PROGRESSING), Workloads(target=workload("new"), primary=workload("ours")))
    assert (status.applied, status.promoted, status.phase) == ("new", "ours", Phase.PROGRESSING)


def test_without_workloads_flaggers_names_stay():
    status = adopt_status(flaggers(Phase.INITIALIZING), Workloads(target=None, primary=None))
    assert (status.applied, status.promoted) == ("5d8c", "")


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.FINALISING])
def test_a_revision_that_arrives_during_a_promotion_is_not_promoted(phase):
    """Flagger has changed the primary before it says so: what passed is what the primary carries."""
    status = adopt_status(flaggers(phase), Workloads(target=workload("new"), primary=workload("passed")))
    world = Observation(now=SINCE + 3600, target=workload("new"), primary=workload("passed"), routes=Routes())
    assert not any(isinstance(effect, Promote) for effect in converge(goal(ROLLOUT, status), world).effects)
    assert decision(flaggers(phase), workload("new"), workload("passed")).status.applied == "passed"
