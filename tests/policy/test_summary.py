"""Intervals and percentiles of a summary."""

from __future__ import annotations

import json

import pytest

from canarycore.policy import Mean, Outcome, Run, Share, summarise


def _run(outcome: Outcome = Outcome.PROMOTED, minutes: float = 1.0, bad: int = 0) -> Run:
    return Run(
        outcome=outcome,
        reason="Passed" if outcome is Outcome.PROMOTED else "FailedChecks",
        seconds=60 * minutes,
        requests=100,
        canary_requests=10,
        bad_requests=bad,
        excess_bad_requests=float(bad),
    )


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (8, 1000, 0.0041, 0.0157)],
)
def test_a_share_has_its_wilson_interval(count: int, of: int, low: float, high: float) -> None:
    assert Share(count, of).interval == pytest.approx((low, high), abs=5e-5)


def test_a_summary_has_times_per_outcome() -> None:
    summary = summarise([_run(minutes=2), _run(minutes=4), _run(Outcome.ROLLED_BACK, minutes=9)])
    assert (summary.minutes.value, summary.p50_minutes) == (5.0, 4.0)
    assert summary.minutes_to_promotion is not None
    assert summary.minutes_to_promotion.value == 3.0
    assert summary.minutes_to_rollback == Mean(9.0, None)
    assert dict(summary.reasons) == {"Passed": 2, "FailedChecks": 1}


def test_the_95th_percentile_is_near_the_worst_runs() -> None:
    summary = summarise([_run(minutes=minutes) for minutes in range(1, 102)])
    assert (summary.p50_minutes, summary.p95_minutes) == (51.0, 96.0)


def test_one_run_has_means_without_intervals() -> None:
    data = summarise([_run(bad=3)]).to_json()
    assert (data["mean_bad_requests"], data["mean_bad_requests_ci95"]) == (3.0, None)
    assert data["mean_minutes_to_rollback"] is None
    json.dumps(data, allow_nan=False)


def test_a_summary_of_no_runs_raises() -> None:
    with pytest.raises(ValueError, match="no runs"):
        summarise([])
