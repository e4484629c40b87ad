"""A check with conditions passes, fails, or is inconclusive, and an inconclusive one waits for a human."""

from __future__ import annotations

from math import inf, nan

import pytest
from attrs import evolve

from canarycore import Check, CheckKind, CheckLimits, NoData, Phase, Reason, Verdict, judge
from canarycore.codec import from_json, to_json
from canarycore.errors import WrongType, WrongValue
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer as Got
from canarycore.simulation import ByRevision, Constant, Deploy, SetMetrics, scripted
from tests.core.scenarios import SUCCESS_RATE, idle, kinds, policy


def conditional(success="", failure="", **fields):
    return Check(name="errors", kind=CheckKind.QUERY, success_condition=success, failure_condition=failure, **fields)


BOTH = conditional("result < 1", "result > 5")
SPARSE = conditional("len(result) == 0 || result < 1", "isNaN(result) || result > 5")

VERDICTS = [
    (BOTH, Got(value=0.5), Verdict.PASS),
    (BOTH, Got(value=3.0), Verdict.INCONCLUSIVE),
    (BOTH, Got(value=6.0), Verdict.FAIL),
    (BOTH, Got(), Verdict.NO_DATA),
    (BOTH, Got(value=nan), Verdict.NO_DATA),
    (BOTH, Got(value=inf), Verdict.ERROR),
    (BOTH, Got(value=0.5, error="timed out"), Verdict.ERROR),
    (conditional("result < 1"), Got(value=1.0), Verdict.FAIL),
    (conditional("result < 1"), Got(value=0.9), Verdict.PASS),
    (conditional(failure="result > 5"), Got(value=5.0), Verdict.PASS),
    (conditional(failure="result > 5"), Got(value=5.1), Verdict.FAIL),
    (conditional(failure="result > 5"), Got(), Verdict.NO_DATA),
    (conditional("result < 9", "result < 5"), Got(value=1.0), Verdict.FAIL),
    (SPARSE, Got(), Verdict.PASS),
    (SPARSE, Got(value=nan), Verdict.FAIL),
    (SPARSE, Got(value=inf), Verdict.ERROR),
    (conditional("isInf(result)"), Got(value=-inf), Verdict.PASS),
    (conditional("1 / result > 2"), Got(value=0.0), Verdict.ERROR),
    (conditional(failure="1 / result > 2"), Got(value=0.0), Verdict.ERROR),
    (conditional("result < 1 || 1 / result > 2", "result > 5"), Got(value=0.0), Verdict.PASS),
    (conditional("default(result, 0) < 1"), Got(), Verdict.PASS),
    (conditional("len(result) > 5 || result < 1"), Got(), Verdict.NO_DATA),
]


@pytest.mark.parametrize(("check", "got", "verdict"), VERDICTS)
def test_the_verdict_of_conditions(check, got, verdict):
    assert judge(check, got).verdict is verdict


@pytest.mark.parametrize("got", [Got(), Got(value=nan), Got(value=0.5), Got(value=0.5, samples=9)])
def test_a_condition_about_missing_data_does_not_replace_the_samples_that_the_policy_requires(got):
    assert judge(SPARSE, got, 10).verdict is Verdict.NO_DATA
    assert judge(SPARSE, evolve(got, value=0.5, samples=10), 10).verdict is Verdict.PASS


TEXTS = [
    (BOTH, Got(value=6.5), "Halt podinfo.test advancement errors 6.5: it meets the failure condition result > 5"),
    (conditional("result < 1"), Got(value=2.0), "Halt podinfo.test advancement errors 2: it does not meet result < 1"),
    (BOTH, Got(value=3.0), "Halt podinfo.test advancement errors 3 is inconclusive: it meets neither condition"),
    (BOTH, Got(), "Halt advancement no values found for metric: errors"),
    (
        conditional("1 / result > 2"),
        Got(value=0.0),
        "Prometheus query failed for errors: the value is 0, so a condition has no truth",
    ),
]


@pytest.mark.parametrize(("check", "got", "text"), TEXTS)
def test_the_text_names_the_condition(check, got, text):
    assert judge(check, got).text(policy(checks=(check,))) == text


WRONG = [
    ({"success_condition": "result >"}, WrongValue, "condition", "success_condition"),
    ({"failure_condition": "result"}, WrongValue, "condition", "failure_condition"),
    ({"success_condition": "result > 1", "minimum": 1.0}, WrongValue, "range-and-condition", "minimum"),
    ({"failure_condition": "result > 1", "maximum": 1.0}, WrongValue, "range-and-condition", "minimum"),
    ({"success_condition": 5}, WrongType, "type", "success_condition"),
    ({"success_condition": "true" + " " * 2000}, WrongValue, "bound", "success_condition"),
    ({}, WrongValue, "no-range", "minimum"),
]


@pytest.mark.parametrize(("fields", "error", "rule", "name"), WRONG)
def test_a_wrong_condition_is_refused_with_its_field(fields, error, rule, name):
    with pytest.raises(error) as refusal:
        Check(name="errors", kind=CheckKind.QUERY, **fields)
    assert (refusal.value.problem.rule, refusal.value.problem.path) == (rule, f"Check.{name}")


def test_conditions_survive_storage_and_changes():
    rollout = policy(checks=(BOTH, SUCCESS_RATE))
    assert from_json(to_json(rollout), type(rollout)) == rollout
    changed = evolve(BOTH, success_condition="result < 4")
    assert judge(changed, Got(value=3.0)).verdict is Verdict.PASS


# in a rollout ---------------------------------------------------------------------------------------------------------


def ended(world):
    return world.run(until=lambda each: each.status.phase in {Phase.SUCCEEDED, Phase.FAILED} or each.status.is_frozen)


def rules(world):
    return [record.decision.explanation.rule for record in world.history]


def test_values_that_meet_the_condition_of_success_promote():
    world = ended(idle(policy(checks=(BOTH,))).do(Deploy("v2")))
    assert world.status.phase is Phase.SUCCEEDED


def test_values_that_meet_the_condition_of_failure_roll_back():
    world = ended(idle(policy(checks=(BOTH,))).do(Deploy("v2"), SetMetrics(ByRevision(bad=("v2",)))))
    assert (world.status.phase, world.status.reason) == (Phase.FAILED, Reason.CHECKS)
    assert str(world.status.end.analysis.checks[0]) == (
        "errors 7.5: fail (expected success if result < 1; failure if result > 5, 1000000 requests)"
    )


@pytest.mark.parametrize("no_data", NoData)
def test_inconclusive_values_hold_and_count_as_no_failure(no_data):
    world = idle(policy(checks=(BOTH,), no_data=no_data)).do(Deploy("v2"), SetMetrics(Constant(3.0)))
    world.run(until=lambda each: each.status.holds >= 20)
    assert (world.status.phase, world.status.failed_checks) == (Phase.PROGRESSING, 0)
    assert NoticeKind.HELD in kinds(world)
    assert Rule.HALTED not in rules(world)
    assert ended(world.do(SetMetrics(Constant(0.5)))).status.phase is Phase.SUCCEEDED


def test_inconclusive_values_end_at_the_limit_of_the_policy():
    world = ended(idle(policy(checks=(BOTH,), inconclusive_limit=2)).do(Deploy("v2"), SetMetrics(Constant(3.0))))
    assert (world.status.phase, world.status.reason) == (Phase.FAILED, Reason.INCONCLUSIVE)


def test_inconclusive_values_beyond_the_limit_of_the_check_wait_for_a_human():
    check = evolve(BOTH, limits=CheckLimits(count=9, inconclusive_limit=1))
    world = ended(idle(policy(checks=(check,))).do(Deploy("v2"), SetMetrics(Constant(3.0))))
    assert (world.status.is_frozen, world.status.reason) == (True, Reason.INCONCLUSIVE)
    texts = [notice.text for record in world.history for notice in record.notices]
    assert any("2 inconclusive measurements, at most 1 allowed" in text for text in texts)


def test_a_bad_value_of_another_check_counts_although_one_is_inconclusive():
    world = idle(policy(checks=(BOTH, SUCCESS_RATE))).do(Deploy("v2"))
    world.do(SetMetrics(scripted(errors=(3.0,), request_success_rate=(50.0,)))).run()
    assert (world.status.reason, world.status.holds) == (Reason.CHECKS, 0)


def test_missing_data_of_another_check_counts_although_one_is_inconclusive():
    world = idle(policy(checks=(BOTH, SUCCESS_RATE))).do(Deploy("v2"))
    world.do(SetMetrics(scripted(errors=(3.0,), request_success_rate=(None,)))).run()
    assert (world.status.reason, world.status.holds) == (Reason.CHECKS, 0)
