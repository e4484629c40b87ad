"""The notices and decisions of a rollout that waits for an event that usually comes."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import (
    Decision,
    HookType,
    Inputs,
    Observation,
    Phase,
    Reason,
    Rollout,
    Routes,
    Rung,
    Status,
    Workload,
    decide,
)
from canarycore.notices import NoticeKind, Severity
from canarycore.phases import Rule
from canarycore.simulation import AnswerHook, Deploy
from tests.core.scenarios import hook, idle, policy

PROMOTING = Status(
    phase=Phase.PROMOTING, since=90.0, analysed_at=90.0, rung=Rung(weight=60), applied="v2", promoted="v1"
)


def pods(revision: str, ready: int = 2) -> Workload:
    return Workload(revision=revision, desired=2, updated=2, ready=ready, total=2)


OBSERVATION = Observation(now=95.0, target=pods("v2"), primary=pods("v2"), routes=Routes(weight=60))


def decision_of(status: Status, observation: Observation, rollout: Rollout | None = None) -> Decision:
    decision = decide(rollout or policy(), status, Inputs(observation, {}))
    assert isinstance(decision, Decision)
    return decision


def texts_of(decision: Decision) -> list[str]:
    return [notice.text for notice in decision.notices]


def test_the_notice_of_a_restoration_names_the_revision():
    failed = Status(phase=Phase.FAILED, since=90.0, analysed_at=90.0, applied="v2", promoted="v1", drain_until=91.0)
    decision = decision_of(failed, evolve(OBSERVATION, routes=Routes(weight=100), restorable=("v1",)))
    assert decision.explanation.rule is Rule.CONVERGING
    assert "Taking podinfo-primary.test back to revision v1" in texts_of(decision)


def test_a_promotion_without_a_target_says_so_and_waits():
    decision = decision_of(PROMOTING, evolve(OBSERVATION, target=None, primary=pods("v1"), routes=Routes()))
    assert (decision.explanation.rule, decision.wake) == (Rule.CONVERGING, 100.0)
    assert "deployment podinfo.test not found: waiting for it" in texts_of(decision)


@pytest.mark.parametrize(
    ("revision", "rule", "phase"),
    [("v1", Rule.WITHDRAWN, Phase.SUCCEEDED), ("v3", Rule.RESTARTED, Phase.PROGRESSING)],
)
def test_a_promotion_that_has_not_begun_follows_the_target(revision, rule, phase):
    decision = decision_of(PROMOTING, evolve(OBSERVATION, target=pods(revision), primary=pods("v1")))
    assert (decision.explanation.rule, decision.status.phase) == (rule, phase)


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        (evolve(OBSERVATION, primary=pods("v1")), "it does not take the revision over"),
        (evolve(OBSERVATION, routes=Routes(weight=5)), "routes do not follow"),
    ],
    ids=["revision", "routes"],
)
@pytest.mark.parametrize(
    ("now", "rule", "wake"), [(159.0, Rule.CONVERGING, 160.0), (160.0, Rule.PROMOTION_FAILED, 160.0)]
)
def test_a_stuck_promotion_fails_past_the_deadline_with_a_reason(observation, why, now, rule, wake):
    """The deadline of a minute counts from the time of the next analysis."""
    decision = decision_of(PROMOTING, evolve(observation, now=now))
    assert (decision.explanation.rule, decision.wake) == (rule, wake)
    failed = [text for text in texts_of(decision) if "romotion" in text]
    expected = [
        f"Promotion of podinfo.test failed, primary not ready: {why}",
        f"Promotion failed, primary not ready: {why}",
    ]
    assert failed == (expected if rule is Rule.PROMOTION_FAILED else [])


def test_a_rollout_without_a_target_has_no_revision():
    decision = decision_of(Status(), Observation(now=5.0))
    assert (decision.status.phase, decision.status.applied, decision.status.since) == (Phase.INITIALIZING, "", 5.0)


def test_every_gate_must_open_before_a_rollout_starts():
    gates = (hook(HookType.CONFIRM_ROLLOUT, "first"), hook(HookType.CONFIRM_ROLLOUT, "second"))
    world = idle(policy(hooks=gates)).do(AnswerHook("second", (False,)), Deploy("v2")).run(until=30.0)
    assert world.phase is Phase.WAITING
    assert "Confirm-rollout check first passed" in world.texts


def test_a_skipped_analysis_appears_in_the_last_notices():
    drained = Status(
        phase=Phase.FINALISING, since=80.0, analysed_at=80.0, applied="v2", promoted="v1", reason=Reason.SKIPPED
    )
    decision = decision_of(drained, evolve(OBSERVATION, routes=Routes()))
    assert decision.status.phase is Phase.SUCCEEDED
    assert [notice.kind for notice in decision.notices] == [
        NoticeKind.SUCCEEDED_SKIPPED,
        NoticeKind.SUCCEEDED_SKIPPED_ALERT,
    ]


@pytest.mark.parametrize(
    ("kind", "event_type", "severity", "details"),
    [
        (NoticeKind.STARTING, "Normal", None, False),
        (NoticeKind.CHECK_FAILED, "Warning", None, False),
        (NoticeKind.SUCCEEDED_ALERT, "Normal", Severity.INFO, False),
        (NoticeKind.NEW_REVISION_ALERT, "Normal", Severity.INFO, True),
        (NoticeKind.FAILOVER_ALERT, "Normal", Severity.ERROR, False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_kind_of_notice_has_a_type_and_a_severity(kind, event_type, severity, details):
    text = kind.value
    assert ("Warning" if text.warning else "Normal", text.severity, text.details) == (event_type, severity, details)


def test_a_rollout_without_checks_has_its_sources_online():
    decision = decision_of(
        Status(since=0.0, applied="v1"), Observation(now=5.0, target=pods("v1")), policy(checks=(), interval=10.0)
    )
    assert texts_of(decision) == ["all the metrics providers are available!"]


def test_a_clock_that_went_back_brings_no_analysis_early():
    status = Status(phase=Phase.PROGRESSING, since=100.0, analysed_at=100.0, applied="v2", promoted="v1")
    decision = decision_of(status, evolve(OBSERVATION, now=95.0, primary=pods("v1"), routes=Routes()))
    assert (decision.explanation.rule, decision.wake) == (Rule.NOT_DUE, 110.0)


def test_a_new_revision_begins_with_no_failed_and_no_held_analysis():
    status = evolve(PROMOTING, phase=Phase.PROGRESSING, failed_checks=1, holds=3)
    restarted = decision_of(status, evolve(OBSERVATION, target=pods("v3"), primary=pods("v1"))).status
    assert (restarted.applied, restarted.failed_checks, restarted.holds, restarted.rung) == ("v3", 0, 0, Rung())
