"""Verdicts: the meaning of an answer, and Flagger's text about it."""

from __future__ import annotations

from math import inf, nan

import pytest
from attrs import evolve

from canarycore import Check, CheckKind, NoData, Phase, Reason, Verdict, judge
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer as Got
from canarycore.simulation import Deploy, SetMetrics, scripted
from tests.core.scenarios import DURATION, SUCCESS_RATE, idle, policy

TEMPLATE = Check(name="not-found", kind=CheckKind.TEMPLATE, minimum=1.0, maximum=5.0)
QUERY = Check(name="inline", kind=CheckKind.QUERY, maximum=2.5)
WIDE = Check(name="wide", kind=CheckKind.QUERY, minimum=-1e9)

VERDICTS = [
    (SUCCESS_RATE, Got(value=99.0), Verdict.PASS),
    (SUCCESS_RATE, Got(value=98.999), Verdict.FAIL),
    (SUCCESS_RATE, Got(value=0.0), Verdict.FAIL),
    (SUCCESS_RATE, Got(), Verdict.NO_DATA),
    (SUCCESS_RATE, Got(value=nan), Verdict.NO_DATA),
    (SUCCESS_RATE, Got(value=inf), Verdict.ERROR),
    (SUCCESS_RATE, Got(value=100.0, error="timed out"), Verdict.ERROR),
    (DURATION, Got(value=500.0), Verdict.PASS),
    (DURATION, Got(value=500.1), Verdict.FAIL),
    (DURATION, Got(value=-inf), Verdict.ERROR),
    (TEMPLATE, Got(value=0.9), Verdict.FAIL),
    (TEMPLATE, Got(value=1.0), Verdict.PASS),
    (TEMPLATE, Got(value=5.0), Verdict.PASS),
    (TEMPLATE, Got(value=5.1), Verdict.FAIL),
    (QUERY, Got(value=2.5), Verdict.PASS),
    (QUERY, Got(value=2.6), Verdict.FAIL),
    (WIDE, Got(value=-1e9), Verdict.PASS),
    (WIDE, Got(), Verdict.NO_DATA),
]


@pytest.mark.parametrize(("check", "got", "verdict"), VERDICTS)
def test_the_verdict_on(check, got, verdict):
    assert judge(check, got).verdict is verdict


@pytest.mark.parametrize(("samples", "verdict"), [(None, Verdict.NO_DATA), (9, Verdict.NO_DATA), (10, Verdict.PASS)])
def test_fewer_requests_than_min_samples_are_no_data(samples, verdict):
    assert judge(SUCCESS_RATE, Got(value=100.0, samples=samples), 10).verdict is verdict


TEXTS = [
    (SUCCESS_RATE, Got(value=98.0), "Halt podinfo.test advancement success rate 98.00% < 99%"),
    (SUCCESS_RATE, Got(value=66.666), "Halt podinfo.test advancement success rate 66.67% < 99%"),
    (
        SUCCESS_RATE,
        Got(),
        (
            "Halt advancement no values found for istio metric request-success-rate probably podinfo.test is not "
            "receiving traffic: running query failed: no values found"
        ),
    ),
    (SUCCESS_RATE, Got(error="timed out"), "Prometheus query failed: running query failed: timed out"),
    (DURATION, Got(value=1200.0), "Halt podinfo.test advancement request duration 1.2s > 500ms"),
    (DURATION, Got(value=3_600_000.0), "Halt podinfo.test advancement request duration 1h0m0s > 500ms"),
    (
        DURATION,
        Got(),
        (
            "Halt advancement no values found for istio metric request-duration probably podinfo.test is not receiving "
            "traffic"
        ),
    ),
    (TEMPLATE, Got(value=7.5), "Halt podinfo.test advancement not-found 7.50 > 5"),
    (TEMPLATE, Got(value=0.5), "Halt podinfo.test advancement not-found 0.50 < 1"),
    (TEMPLATE, Got(), "Halt advancement no values found for custom metric: not-found: no values found"),
    (TEMPLATE, Got(error="no such host"), "Metric query failed for not-found: no such host"),
    (QUERY, Got(value=3.0), "Halt podinfo.test advancement inline 3.00 > 2.5"),
    (QUERY, Got(), "Halt advancement no values found for metric: inline"),
    (QUERY, Got(error="bad"), "Prometheus query failed for inline: bad"),
]


@pytest.mark.parametrize(("check", "got", "text"), TEXTS)
def test_a_judgement_has_flaggers_text(check, got, text):
    assert judge(check, got).text(policy()) == text


def test_the_notice_is_about_the_first_failed_check_and_all_verdicts_remain():
    world = idle(policy(checks=(TEMPLATE, SUCCESS_RATE), threshold=1)).do(Deploy("v2"))
    world.do(SetMetrics(scripted(not_found=(9.0,), request_success_rate=(1.0,)))).run()
    last = next(record for record in world.history if record.decision.explanation.rule is Rule.ROLLED_BACK_CHECKS)
    assert [judgement.verdict for judgement in last.decision.explanation.judgements] == [Verdict.FAIL, Verdict.FAIL]
    assert last.notices[0].text == "Halt podinfo.test advancement success rate 1.00% < 99%"


def test_no_data_counts_as_a_failed_check_as_in_flagger():
    world = idle(policy()).do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(None,)))).run()
    assert (world.phase, world.status.reason) == (Phase.FAILED, Reason.CHECKS)


HOLDING = policy(no_data=NoData.HOLD, inconclusive_limit=3)


@pytest.mark.parametrize("nothing", [None, nan, Got(error="timed out")])
def test_no_data_holds_up_to_the_owners_limit(nothing):
    world = idle(HOLDING).do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(nothing,)))).run()
    rules = [record.decision.explanation.rule for record in world.history]
    assert (world.status.reason, world.status.failed_checks) == (Reason.INCONCLUSIVE, 0)
    assert rules.count(Rule.HELD) == 2


def test_a_bad_value_fails_although_another_check_has_no_data():
    world = idle(evolve(HOLDING, checks=(SUCCESS_RATE, DURATION))).do(Deploy("v2"))
    world.do(SetMetrics(scripted(request_success_rate=(None,), request_duration=(900.0,)))).run()
    assert (world.status.reason, world.status.holds) == (Reason.CHECKS, 0)


def test_a_held_analysis_continues_with_data():
    world = idle(HOLDING).do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(None, None, 100.0)))).run()
    assert world.phase is Phase.SUCCEEDED


def test_a_bad_value_fails_for_any_known_number_of_requests():
    world = idle(policy(min_samples=10)).do(Deploy("v2"))
    world.do(SetMetrics(scripted(request_success_rate=(Got(value=1.0, samples=10),)))).run()
    assert world.status.reason is Reason.CHECKS


def test_an_explanation_prints_value_verdict_and_rule():
    world = idle(policy()).do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(98.0,)))).run()
    halted = next(record for record in world.history if record.decision.explanation.rule is Rule.HALTED)
    assert halted.explanation == "Progressing: a check or hook failed; request-success-rate 98: fail"
