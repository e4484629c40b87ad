"""The conditions of a metric, from the manifest to the policy."""

from __future__ import annotations

import pytest

from canarycore.bounds import CONDITION
from canarycore.manifest import ManifestError, lint, parse, resolve, schema
from canarycore.manifest import problems as problems_of
from tests.manifest.samples import canary

RATE = {"name": "request-success-rate", "interval": "1m"}


def with_metric(**fields):
    return canary(analysis={"metrics": [{**RATE, **fields}]})


def errors_of(document):
    with pytest.raises(ManifestError) as error:
        resolve(parse(document))
    return [(problem.path, problem.rule) for problem in error.value.problems if problem.severity == "error"]


def test_both_conditions_are_read_and_take_the_place_of_the_range():
    document = with_metric(successCondition="result >= 99", failureCondition="result < 95")
    (check,) = resolve(parse(document)).checks
    assert (check.success_condition, check.failure_condition) == ("result >= 99", "result < 95")
    assert (check.minimum, check.maximum) == (None, None)
    assert not [problem for problem in lint([document]) if problem.severity == "error"]


def test_a_metric_of_flagger_has_none():
    (check,) = resolve(parse(with_metric(thresholdRange={"min": 99}))).checks
    assert check.conditions is None


@pytest.mark.parametrize("limits", [{"thresholdRange": {"min": 99}}, {"thresholdRange": {}}, {"threshold": 99}])
def test_a_range_beside_a_condition_is_refused(limits):
    (field,) = limits
    document = with_metric(successCondition="result >= 99", **limits)
    assert errors_of(document) == [(f"spec.analysis.metrics[0].{field}", "range-and-condition")]


WRONG = {
    "result >": "the end in 'result >'",
    "result": "a number in 'result'",
    "result.ok > 1": "'.' at character 7 in 'result.ok > 1'",
}


@pytest.mark.parametrize("condition", WRONG)
@pytest.mark.parametrize("field", ["successCondition", "failureCondition"])
def test_a_text_outside_the_language_is_refused_with_its_place(field, condition):
    with pytest.raises(ManifestError) as error:
        parse(with_metric(**{field: condition}))
    (problem,) = error.value.problems
    assert (problem.path, problem.rule) == (f"spec.analysis.metrics[0].{field}", "condition")
    assert (problem.found, bool(problem.expected), bool(problem.remedy)) == (WRONG[condition], True, True)


@pytest.mark.parametrize("value", [5, True, ["result > 1"], {"a": 1}, "true" + " " * CONDITION.most])
def test_a_value_that_is_no_text_or_too_long_is_refused(value):
    assert errors_of(with_metric(successCondition=value))[0][0] == "spec.analysis.metrics[0].successCondition"


def test_the_definition_bounds_the_length_of_a_condition():
    analysis = schema("Canary")["properties"]["analysis"]["properties"]
    fields = analysis["metrics"]["items"]["properties"]
    assert fields["successCondition"] == fields["failureCondition"]
    assert fields["successCondition"]["maxLength"] == CONDITION.most


def test_a_policy_in_code_has_the_findings_of_its_conditions():
    (rollout,) = [resolve(parse(with_metric(successCondition="result > 1 && result < 0")))]
    (finding,) = [problem for problem in problems_of(rollout) if problem.rule.startswith("condition")]
    assert (finding.rule, finding.path) == ("condition-never", "checks[0].success_condition")
