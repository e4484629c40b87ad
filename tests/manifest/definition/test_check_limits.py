"""The fields of a metric that make it an analysis of its own, from the manifest to the policy."""

from __future__ import annotations

import pytest

from canarycore import CheckLimits
from canarycore.manifest import ManifestError, lint, parse, resolve
from canarycore.manifest import problems as problems_of
from tests.manifest.samples import canary

RATE = {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}
LIMITS = {
    "initialDelay": "90s",
    "every": "2m",
    "count": 3,
    "failureLimit": 1,
    "inconclusiveLimit": 0,
    "consecutiveErrorLimit": 4,
    "consecutiveSuccessLimit": 2,
}


def with_metric(**fields):
    return canary(analysis={"metrics": [{**RATE, **fields}]})


def test_each_field_is_read():
    (check,) = resolve(parse(with_metric(**LIMITS, dryRun=True))).checks
    assert check.dry_run
    assert check.limits == CheckLimits(
        initial_delay=90.0,
        every=120.0,
        count=3,
        failure_limit=1,
        inconclusive_limit=0,
        error_limit=4,
        success_limit=2,
    )


def test_a_metric_of_flagger_has_none():
    rollout = resolve(parse(with_metric()))
    assert rollout.checks[0].limits == CheckLimits()
    assert not rollout.has_limits
    assert not rollout.has_late_checks


def test_a_check_may_begin_at_a_weight():
    (check,) = resolve(parse(with_metric(fromWeight=20))).checks
    assert check.from_weight == 20


def test_a_check_that_begins_beyond_the_last_weight_is_a_finding():
    late = canary(analysis={"stepWeight": 10, "maxWeight": 30, "metrics": [{**RATE, "fromWeight": 31}]})
    (finding,) = [problem for problem in lint([late]) if problem.rule == "late-check"]
    assert finding.path == "spec.analysis.metrics[0].fromWeight"
    for changes in ({"bake": "30m"}, {"maxWeight": 40}):
        analysis = late["spec"]["analysis"] | changes
        assert "late-check" not in {problem.rule for problem in lint([canary(analysis=analysis)])}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 0),
        ("failureLimit", -1),
        ("consecutiveErrorLimit", "two"),
        ("initialDelay", "soon"),
        ("every", "9" * 40 + "h"),
        ("dryRun", "perhaps"),
        ("fromWeight", 101),
        ("fromWeight", -1),
    ],
)
def test_a_wrong_value_is_one_problem_with_its_path(field, value):
    with pytest.raises(ManifestError) as caught:
        parse(with_metric(**{field: value}))
    assert [problem.path for problem in caught.value.problems] == [f"spec.analysis.metrics[0].{field}"]


def test_a_policy_whose_metrics_run_dry_checks_nothing():
    text = "only metrics that run dry, and no webhooks"
    assert text in [problem.found for problem in lint([with_metric(dryRun=True)]) if problem.rule == "no-checks"]
    assert "no-checks" in {problem.rule for problem in problems_of(resolve(parse(with_metric(dryRun=True))))}
