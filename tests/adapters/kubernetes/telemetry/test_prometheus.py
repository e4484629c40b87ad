"""The metrics have correct values: statuses, weights, outcomes and the duration of a rollout."""

from __future__ import annotations

import pytest
from attrs import evolve
from prometheus_client import generate_latest

from canarycore import (
    Check,
    CheckKind,
    Decision,
    Explanation,
    Ladder,
    Observation,
    Phase,
    Reason,
    Rollout,
    Rung,
    Status,
    TargetRef,
    judge,
)
from canarycore.driver import CycleResult, Observed
from canarycore.errors import WorldError
from canarycore.phases import PROMOTED, Rule
from canarycore.questions import MetricAnswer
from canarycore.simulation import Constant, Deploy, SetMetrics, SimulatedCluster
from canarycore_kubernetes.telemetry.prometheus import LONGEST_LABEL, Exporter
from canarycore_runtime.runner import CycleReport

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), ladder=Ladder(steps=(50,)))
PLACE = {"name": "podinfo", "namespace": "test"}


@pytest.fixture
def exporter():
    return Exporter(version="1.0.0", provider="istio")


def tell(exporter, before, after, *, late=0.0, troubles=()):
    """A look at the rollout that leads from one status to another."""
    explanation = Explanation(Rule.NOTED, before.phase, after.phase)
    rest = CycleResult(Decision(after, (), None, explanation), None, (), troubles)
    exporter.record_cycle(CycleReport("test/podinfo", Observed(ROLLOUT, before, Observation(now=0.0)), rest, late))


def value(exporter, sample, **labels):
    return exporter.registry.get_sample_value(sample, labels or PLACE)


@pytest.mark.parametrize(
    ("phase", "status"),
    [(phase, 2 if phase is Phase.FAILED else phase in PROMOTED) for phase in Phase],
)
def test_a_status_is_1_where_a_rollout_ended_well_2_where_it_failed_and_0_in_between(exporter, phase, status):
    tell(exporter, Status(), Status(phase=phase, since=0.0))
    assert value(exporter, "flagger_canary_status") == status


def test_both_weights_are_exported_and_add_up(exporter):
    status = Status(phase=Phase.PROGRESSING, since=0.0, rung=Rung(weight=30))
    tell(exporter, status, status)
    told = [
        value(exporter, "flagger_canary_weight", workload=name, namespace="test")
        for name in ("podinfo", "podinfo-primary")
    ]
    assert told == [30, 70]


@pytest.mark.parametrize(
    ("phase", "counter"), [(Phase.SUCCEEDED, "successes"), (Phase.FAILED, "failures")], ids=["good", "bad"]
)
@pytest.mark.parametrize(("reason", "analysis"), [(Reason.SKIPPED, "skipped"), (Reason.CHECKS, "completed")])
def test_a_rollout_counts_once_by_its_end_and_lasts_from_its_start(exporter, phase, counter, reason, analysis):
    idle = Status(phase=Phase.SUCCEEDED, since=5.0)
    climbing = Status(phase=Phase.PROGRESSING, since=100.0)
    ended = Status(phase=phase, since=340.0, reason=reason)
    for before, after in ((idle, climbing), (climbing, evolve(climbing, rung=Rung(weight=50))), (climbing, ended)):
        tell(exporter, before, after)
    tell(exporter, ended, ended)
    labels = PLACE | {"deployment_strategy": "canary", "analysis_status": analysis}
    assert value(exporter, f"flagger_canary_{counter}_total", **labels) == 1
    assert value(exporter, "flagger_canary_duration_seconds_sum") == 240
    assert value(exporter, "flagger_canary_duration_seconds_count") == 1


CHECKED = evolve(
    ROLLOUT,
    ladder=Ladder(step=50),
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
)


@pytest.mark.parametrize(("value_of_the_check", "end"), [(99.5, Phase.SUCCEEDED), (42.0, Phase.FAILED)])
def test_a_checks_last_value_is_the_one_that_the_core_judged(exporter, value_of_the_check, end):
    cluster = SimulatedCluster(CHECKED).do(SetMetrics(Constant(value_of_the_check)))
    cluster.do(Deploy("v1")).run(until=Phase.INITIALIZED)
    cluster.do(Deploy("v2")).run(until=end)
    for record in cluster.history:
        if record.decision is not None:
            before = evolve(record.decision.status, phase=record.decision.explanation.before)
            rest = CycleResult(record.decision, record.wake, record.effects, record.troubles)
            exporter.record_cycle(
                CycleReport("test/podinfo", Observed(CHECKED, before, Observation(now=record.time)), rest, lateness=0.0)
            )
    assert (
        value(exporter, "flagger_canary_metric_analysis", **PLACE, metric="request-success-rate") == value_of_the_check
    )


def test_a_late_look_and_one_that_met_trouble_are_counted(exporter):
    status = Status(phase=Phase.PROGRESSING, since=0.0)
    tell(exporter, status, status, late=0.5)
    tell(exporter, status, status, late=3.0, troubles=(WorldError("no answer"),))
    assert value(exporter, "canarycore_intervals_missed_total") == 1
    assert value(exporter, "canarycore_troubles_total") == 1


def test_a_canary_that_is_gone_leaves_no_series(exporter):
    before = {sample.name for metric in exporter.registry.collect() for sample in metric.samples if sample.labels}
    idle = Status(phase=Phase.SUCCEEDED, since=5.0)
    climbing = Status(phase=Phase.PROGRESSING, since=100.0)
    tell(exporter, idle, climbing)
    tell(exporter, climbing, Status(phase=Phase.FAILED, since=200.0), late=3.0, troubles=(WorldError("x"),))
    exporter.count_lost_alert(ROLLOUT)
    assert value(exporter, "flagger_canary_status") == 2
    exporter.forget("test/podinfo")
    after = {sample.name for metric in exporter.registry.collect() for sample in metric.samples if sample.labels}
    assert after == before


def judged(exporter, *names):
    """A look at a rollout with checks of these names, at which each was judged."""
    checks = tuple(Check(name=name, kind=CheckKind.QUERY, minimum=0.0) for name in names)
    rollout = evolve(ROLLOUT, checks=checks)
    status = Status(phase=Phase.PROGRESSING, since=0.0)
    judgements = tuple(judge(check, MetricAnswer(value=1.0)) for check in checks)
    explanation = Explanation(Rule.NOTED, status.phase, status.phase, judgements=judgements)
    rest = CycleResult(Decision(status, (), None, explanation), None, (), ())
    exporter.record_cycle(CycleReport("test/podinfo", Observed(rollout, status, Observation(now=0.0)), rest, 0.0))


def checks_of(exporter):
    (metric,) = (one for one in exporter.registry.collect() if one.name == "flagger_canary_metric_analysis")
    return {sample.labels["metric"] for sample in metric.samples}


def test_a_check_that_a_canary_no_longer_has_leaves_no_series(exporter):
    judged(exporter, "one", "two")
    judged(exporter, "two", "three")
    assert checks_of(exporter) == {"two", "three"}


def test_the_name_of_a_check_is_a_short_label_on_one_line(exporter):
    judged(exporter, "a\x1b[2J\nb\ud800", "x" * 1_000)
    assert checks_of(exporter) == {r"a\x1b[2J\nb\ud800", "x" * (LONGEST_LABEL - 1) + "…"}
    assert generate_latest(exporter.registry)
