"""Explanations: the reason for a decision, as data and as a sentence."""

from __future__ import annotations

import math

import pytest

from canarycore import Check, CheckKind, Explanation, Judgement, Phase, Verdict, judge
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer as Got
from tests.core.scenarios import policy

LATENCY = Check(name="latency", kind=CheckKind.QUERY, maximum=500.0)


@pytest.mark.parametrize(
    ("explanation", "text"),
    [
        (Explanation(Rule.IDLE, Phase.SUCCEEDED, Phase.SUCCEEDED), "Succeeded: nothing to do"),
        (
            Explanation(Rule.STARTED, Phase.INITIALIZED, Phase.PROGRESSING),
            "Initialized → Progressing: the target has a new revision",
        ),
        (
            Explanation(Rule.UNREADY, Phase.PROGRESSING, Phase.PROGRESSING, "0 of 2 are available"),
            "Progressing: pods are not ready (0 of 2 are available)",
        ),
        (
            Explanation(
                Rule.HALTED,
                Phase.PROGRESSING,
                Phase.PROGRESSING,
                judgements=(judge(LATENCY, Got(value=600.0)), judge(LATENCY, Got(error="timed out"))),
            ),
            "Progressing: a check or hook failed; latency 600: fail; latency: error (timed out)",
        ),
    ],
)
def test_a_reason_prints_as_a_sentence(explanation, text):
    assert str(explanation) == text


@pytest.mark.parametrize(
    ("got", "error"),
    [
        (Got(error="timed out"), "timed out"),
        (Got(value=math.inf), "the value is +Inf"),
        (Got(value=1.0), ""),
        (Got(), ""),
    ],
)
def test_a_judgement_gives_the_reason_for_a_missing_value(got, error):
    assert judge(LATENCY, got).error == error


@pytest.mark.parametrize(
    ("value", "verdict", "thin"),
    [(99.0, Verdict.NO_DATA, True), (None, Verdict.NO_DATA, False), (math.nan, Verdict.NO_DATA, False),
     (99.0, Verdict.PASS, False), (99.0, Verdict.FAIL, False)],
)  # fmt: skip
def test_only_a_value_from_too_few_requests_is_thin(value, verdict, thin):
    assert Judgement(LATENCY, verdict, Got(value=value)).is_thin is thin


def test_a_bound_of_zero_appears_in_the_text():
    errors = Check(name="errors", kind=CheckKind.QUERY, maximum=0.0)
    told = judge(errors, Got(value=2.0)).text(policy())
    assert told == "Halt podinfo.test advancement errors 2.00 > 0"
