"""Routes that their controller refuses: nothing is scaled down by them, and the progress deadline ends the wait."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import Inputs, Observation, Phase, RouteRefusal, Status, Workload, converge, decide, goal
from canarycore.effects import PauseScaler, ScaleDown
from canarycore.notices import NoticeKind
from canarycore.phases import ALIVE, Pending, Rule
from tests.core.scenarios import policy

PODS = {"desired": 2, "updated": 2, "ready": 2, "total": 2}
REFUSAL = RouteRefusal("HTTPRoute podinfo.test is refused: no CORS", since=100.0)
OBSERVATION = Observation(
    now=105.0,
    target=Workload(revision="v2", **PODS),
    primary=Workload(revision="v1", **PODS),
    refusal=REFUSAL,
)
STATUS = Status(since=90.0, analysed_at=90.0, applied="v2", promoted="v1")
ROLLOUT = policy(progress_deadline=60.0, checks=())


def decision_of(phase, now=105.0, **observed):
    observation = evolve(OBSERVATION, now=now, **observed)
    return decide(ROLLOUT, STATUS.but(phase=phase), Inputs(observation))


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase in ALIVE])
def test_nothing_is_scaled_down_by_refused_routes(phase):
    status = STATUS.but(phase=phase, applied="v1", pending=(Pending.SETTLE,))
    effects = converge(goal(ROLLOUT, status), OBSERVATION).effects
    assert not [effect for effect in effects if isinstance(effect, (ScaleDown, PauseScaler))]


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING_PROMOTION])
def test_an_analysis_waits_and_says_why(phase):
    explanation = decision_of(phase).explanation
    assert explanation.rule is Rule.CONVERGING
    assert "no CORS" in str(explanation)


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.WAITING_PROMOTION])
def test_the_deadline_rolls_back_with_the_reason(phase):
    assert decision_of(phase, now=159.0).wake == 160.0
    decision = decision_of(phase, now=160.0)
    assert decision.explanation.rule is Rule.ROLLED_BACK_DEADLINE
    assert any("no CORS" in notice.text for notice in decision.notices)


def test_the_deadline_counts_from_the_last_analysis_if_the_refusal_has_no_time():
    refusal = evolve(REFUSAL, since=None)
    assert decision_of(Phase.PROGRESSING, now=149.0, refusal=refusal).status.phase is Phase.PROGRESSING
    assert decision_of(Phase.PROGRESSING, now=150.0, refusal=refusal).status.phase is Phase.FAILED


def test_a_promotion_that_no_route_follows_fails_with_the_reason():
    primary = Workload(revision="v2", **PODS)
    decision = decision_of(Phase.PROMOTING, now=160.0, primary=primary)
    assert decision.explanation.rule is Rule.PROMOTION_FAILED
    assert any("no CORS" in notice.text for notice in decision.notices)


def test_an_initialisation_waits_with_an_alert_after_the_deadline():
    """The target still has its traffic and its pods."""
    primary = Workload(revision="v2", **PODS)
    early, late = (decision_of(Phase.INITIALIZING, now=now, primary=primary) for now in (105.0, 160.0))
    assert early.explanation.rule is late.explanation.rule is Rule.INITIALISING
    assert "no CORS" in str(early.explanation)
    assert NoticeKind.UNROUTED_ALERT not in [notice.kind for notice in early.notices]
    assert NoticeKind.UNROUTED_ALERT in [notice.kind for notice in late.notices]
