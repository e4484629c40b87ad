"""The status of a Canary: Flagger's fields, and the sealed memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Check, CheckKind, Phase, Reason, Rollout, Rung, Status, TargetRef, judge
from canarycore.bounds import TEXT
from canarycore.notices import Notice, NoticeKind
from canarycore.questions import MetricAnswer
from canarycore.results import AnalysisResult, RolloutEnd, summarise_analysis, summarise_end
from canarycore.testing.strategies import rollouts
from canarycore_kubernetes.resources.status_codec import (
    SEALED_FIELDS,
    conditions_of,
    observed_generation,
    read_status,
    write_status,
)
from canarycore_kubernetes.telemetry.conditions import make_readiness_conditions
from canarycore_runtime.testing.contracts.store import STATUS

ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"), skip_analysis=True)

STATUSES = st.builds(
    Status,
    phase=st.sampled_from(Phase),
    since=st.none() | st.floats(1, 2e9),
    analysed_at=st.floats(0, 2e9),
    rung=st.builds(Rung, weight=st.integers(0, 100)),
    failed_checks=st.integers(0, 9),
    applied=st.text("0123456789abcdef", max_size=8),
    promoted=st.text("0123456789abcdef", max_size=8),
    paused=st.booleans(),
    handled=st.text(max_size=9),
)


def merged(found, patch):
    """As the API server merges a patch."""
    kept = {name: value for name, value in found.items() if name not in patch}
    return kept | {name: value for name, value in patch.items() if value is not None}


@given(rollout=rollouts(), status=STATUSES, before=STATUSES)
def test_a_status_written_over_any_other_is_read_back(rollout, status, before):
    found = merged(merged({}, write_status(rollout, before)), write_status(rollout, status))
    if status.since is not None:
        assert read_status(rollout, found) == (status, False)


def test_flaggers_definition_keeps_every_field():
    """It knows these, and removes all others."""
    known = {"phase", "failedChecks", "canaryWeight", "iterations", "trackedConfigs", "lastAppliedSpec"}
    known |= {"lastPromotedSpec", "lastTransitionTime", "sessionAffinityCookie", "primarySessionAffinityCookie"}
    known |= {"previousSessionAffinityCookie", "conditions"}
    given_values = {name for name, value in write_status(ROLLOUT, STATUS).items() if value is not None}
    assert given_values <= known


@given(status=STATUSES)
def test_the_fields_that_flaggers_definition_drops_are_for_readers_only(status):
    analysis = AnalysisResult(1.0, "two")
    status = status.but(
        rejected=("one",), analysis=analysis, end=RolloutEnd(1.0, Phase.FAILED, Reason.CHECKS, "one", analysis=analysis)
    )
    written = merged({}, write_status(ROLLOUT, status, generation=7))
    names = ("observedGeneration", "lastAnalysis", "lastEnd", "rejectedRevisions")
    dropped = {name: written.pop(name) for name in names}
    assert all(dropped.values())
    assert observed_generation(written) == 7
    if status.since is not None:
        restored, _ = read_status(ROLLOUT, written)
        assert (restored.analysis, restored.end) == (status.analysis, status.end)
        assert restored.rejected == ("one",)


def test_the_largest_results_keep_the_conditions_readable():
    checks = [Check(name="\U0001f600" * TEXT.most, kind=CheckKind.QUERY, maximum=1.0) for _ in range(500)]
    judgements = [judge(check, MetricAnswer(error="\U0001f600" * 9_000)) for check in checks]
    analysis = summarise_analysis((), judgements, at=1.0, revision="two", weight=20, iteration=0)
    end = summarise_end(
        Phase.FAILED, Reason.CHECKS, at=1.0, revision="one", detail="\U0001f600" * 9_000, analysis=analysis
    )
    notice = Notice(NoticeKind.ROLLING_BACK_CHECKS_ALERT, "key", Phase.FAILED, (), ("2",), end.failures)
    status = STATUS.but(phase=Phase.PROGRESSING, analysis=analysis, end=end, outbox=(notice,))
    written = write_status(ROLLOUT, status, make_readiness_conditions(status, "x" * 9_000), generation=7)
    assert conditions_of(written) is not None
    assert read_status(ROLLOUT, written)[0].end == end


@pytest.mark.parametrize("field", SEALED_FIELDS)
def test_a_changed_field_breaks_the_seal(field):
    found = merged({}, write_status(ROLLOUT, STATUS))
    found[field] = "Failed" if field == "phase" else "other" if isinstance(found[field], str) else 77
    status, flaggers = read_status(ROLLOUT, found)
    assert flaggers
    assert status.outbox == ()


def test_a_status_of_flaggers_is_taken_at_its_word():
    found = {"phase": "Progressing", "canaryWeight": 30, "failedChecks": 1, "lastAppliedSpec": "7c9", "conditions": []}
    status, flaggers = read_status(ROLLOUT, found)
    assert flaggers
    assert (status.phase, status.rung, status.failed_checks) == (Phase.PROGRESSING, Rung(weight=30), 1)


def test_a_phase_without_a_time_is_not_taken_for_a_rollout_that_has_not_begun():
    status, _ = read_status(ROLLOUT, {"phase": "Progressing", "canaryWeight": 30, "lastAppliedSpec": "7c9"})
    assert status.since == 0.0


def test_an_empty_status_is_not_flaggers():
    assert read_status(ROLLOUT, {}) == (Status(), False)
