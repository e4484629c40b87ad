"""Adoption of rollouts that Flagger began: it renames revisions once, and recognises a revision that came later."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import (
    Inputs,
    Ladder,
    Observation,
    Phase,
    Rollout,
    Routes,
    Rung,
    Status,
    TargetRef,
    Workload,
    converge,
    decide,
    goal,
)
from canarycore.effects import Promote
from canarycore.phases import IDLE, UNDER_WAY, Rule
from canarycore_kubernetes.resources.flagger_status import adopt_status

INTERVAL = 60.0
ROLLOUT = Rollout(
    name="podinfo", target=TargetRef(name="podinfo"), interval=INTERVAL, ladder=Ladder(step=10, top=50, mirror=True)
)
SINCE = 1_700_000_000.0
BEFORE, AFTER = SINCE - 2 * INTERVAL, SINCE + 5.0
INITIAL, ON_THE_WAY = Rung(), Rung(weight=30)
PRIMARY_ONLY = Routes()


def workload(revision, desired=2, revised_at=None):
    pods = {"desired": desired, "updated": desired, "ready": desired, "total": desired}
    return Workload(revision=revision, revised_at=revised_at, **pods)


def flaggers(phase, rung=INITIAL, applied="565c8797cb", promoted="6d4f58d956"):
    return Status(phase=phase, since=SINCE, analysed_at=SINCE, applied=applied, promoted=promoted, rung=rung)


def at_rest(phase):
    return flaggers(phase, applied="5d8c", promoted="5d8c")


def adopt(status, target, primary, routes=None):
    return adopt_status(ROLLOUT, status, target, primary, routes)


def decision(status, target, primary, routes=PRIMARY_ONLY):
    world = Observation(now=SINCE + 3600, target=target, primary=primary, routes=routes, scaler_paused=None)
    return decide(ROLLOUT, adopt(status, target, primary, routes), Inputs(world))


@pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.SUCCEEDED])
def test_at_rest_nothing_starts(phase):
    outcome = decision(at_rest(phase), workload("ours", 0, AFTER), workload("ours"))
    assert outcome.explanation.rule is Rule.IDLE


@pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.SUCCEEDED])
def test_a_revision_that_arrived_before_the_adoption_is_analysed(phase):
    outcome = decision(at_rest(phase), workload("new"), workload("ours"))
    assert outcome.explanation.rule is Rule.STARTED
    assert outcome.status.applied == "new"


@pytest.mark.parametrize("phase", [Phase.INITIALIZED, Phase.SUCCEEDED])
def test_at_rest_without_a_primary_the_target_has_the_promoted_revision(phase):
    status = adopt(at_rest(phase), workload("ours", revised_at=BEFORE), None)
    assert (status.applied, status.promoted) == ("ours", "ours")


@pytest.mark.parametrize("revised_at", [None, BEFORE])
def test_a_revision_that_flagger_rejected_is_not_tried_again(revised_at):
    outcome = decision(flaggers(Phase.FAILED), workload("rejected", 0, revised_at), workload("ours"))
    assert outcome.explanation.rule is Rule.IDLE


def test_a_revision_that_came_after_a_rejection_is_analysed():
    outcome = decision(flaggers(Phase.FAILED), workload("v4", 0, AFTER), workload("ours"))
    assert (outcome.explanation.rule, outcome.status.applied) == (Rule.STARTED, "v4")


def test_after_a_rejection_a_target_at_the_promoted_revision_is_noted():
    outcome = decision(flaggers(Phase.FAILED), workload("ours", 0, AFTER), workload("ours"))
    assert outcome.explanation.rule is Rule.NOTED


@pytest.mark.parametrize("revised_at", [None, BEFORE])
@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING_PROMOTION])
def test_an_analysis_goes_on_with_the_revision_that_is_on_the_target(phase, revised_at):
    status = adopt(flaggers(phase, ON_THE_WAY), workload("new", revised_at=revised_at), workload("ours"))
    assert (status.applied, status.promoted, status.phase, status.rung) == ("new", "ours", phase, ON_THE_WAY)


@pytest.mark.parametrize("revised_at", [SINCE - INTERVAL / 2 + 1, SINCE, AFTER])
@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING_PROMOTION])
def test_an_analysis_begins_anew_with_a_revision_that_flagger_has_not_seen(phase, revised_at):
    target = workload("v4", revised_at=revised_at)
    outcome = decision(flaggers(phase, ON_THE_WAY), target, workload("ours"), Routes(weight=30))
    assert outcome.explanation.rule is Rule.RESTARTED
    assert (outcome.status.applied, outcome.status.rung) == ("v4", Rung())


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING_PROMOTION])
def test_an_analysis_ends_when_the_owner_went_back_to_the_promoted_revision(phase):
    outcome = decision(flaggers(phase, ON_THE_WAY), workload("ours"), workload("ours"), Routes(weight=30))
    assert outcome.explanation.rule is Rule.WITHDRAWN


def test_an_analysis_that_has_just_begun_is_not_begun_again():
    status = adopt(flaggers(Phase.PROGRESSING), workload("new", revised_at=SINCE - 3), workload("ours"))
    assert status.applied == "new"


@pytest.mark.parametrize("phase", sorted(UNDER_WAY | IDLE, key=str), ids=lambda phase: phase.value)
def test_no_request_reaches_a_revision_that_flagger_has_not_seen(phase):
    """Neither the goal of the adopted status nor that of the next decision sends it any."""
    target, primary = workload("v4", revised_at=AFTER), workload("ours")
    routes = Routes(weight=30)
    status = adopt(flaggers(phase, ON_THE_WAY), target, primary, routes)
    world = Observation(now=SINCE + 3600, target=target, primary=primary, routes=routes)
    outcome = decide(ROLLOUT, status, Inputs(world))
    for reached in (status, outcome.status):
        effects = converge(goal(ROLLOUT, reached), world).effects
        assert not [effect for effect in effects if isinstance(effect, Promote)]
        assert [effect.routes.is_exposed for effect in effects if hasattr(effect, "routes")] in ([], [False])


def test_without_workloads_flaggers_names_stay():
    status = adopt(at_rest(Phase.INITIALIZING), None, None)
    assert (status.applied, status.promoted) == ("5d8c", "5d8c")


def test_a_status_of_ours_that_a_user_changed_keeps_its_names():
    ours = flaggers(Phase.PROGRESSING, ON_THE_WAY, applied="0123456789abcdef", promoted="fedcba9876543210")
    assert adopt(ours, workload("v4"), workload("0123456789abcdef")) == ours


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.FINALISING])
def test_a_revision_that_arrives_during_a_promotion_is_not_promoted(phase):
    """Flagger has changed the primary before it reports the promotion: the primary carries what passed."""
    status = adopt(at_rest(phase), workload("new"), workload("passed"))
    world = Observation(now=SINCE + 3600, target=workload("new"), primary=workload("passed"), routes=Routes())
    assert not any(isinstance(effect, Promote) for effect in converge(goal(ROLLOUT, status), world).effects)
    assert decision(at_rest(phase), workload("new"), workload("passed")).status.applied == "passed"


def test_the_weight_of_a_promotion_is_that_of_the_routes():
    """Flagger stores 0 after a gate, while all the traffic may still be on the canary."""
    passed = workload("passed")
    status = adopt(flaggers(Phase.PROMOTING), passed, passed, Routes(weight=100))
    assert status.rung == Rung(weight=100)


def test_a_mirrored_rung_is_that_of_the_routes():
    routes = evolve(Routes(), mirrored=True)
    status = adopt(flaggers(Phase.PROGRESSING), workload("new"), workload("ours"), routes)
    assert status.rung == Rung(mirrored=True)
