"""The metrics have correct values: statuses, weights, outcomes and the duration of a rollout."""

from __future__ import annotations

from collections import Counter

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
    Verdict,
    judge,
)
from canarycore.driver import CycleResult, Observed
from canarycore.errors import WorldError
from canarycore.phases import PROMOTED, Rule
from canarycore.questions import MetricAnswer
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore.simulation import Constant, Deploy, SetMetrics, SimulatedCluster
from canarycore_kubernetes.api.client import UNREACHABLE, RequestReport
from canarycore_kubernetes.telemetry.calls import ProviderReport
from canarycore_kubernetes.telemetry.prometheus import (
    LONGEST_LABEL,
    MOST_FAILED_CHECKS,
    MOST_RESOURCES,
    OTHER,
    Exporter,
)
from canarycore_kubernetes.telemetry.series import SERIES, SeriesKind
from canarycore_runtime.runner import CycleReport

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), ladder=Ladder(steps=(50,)))
PLACE = {"name": "podinfo", "namespace": "test"}


@pytest.fixture
def exporter():
    return Exporter(version="1.0.0", provider="istio")


def tell(exporter, before, after, *, late=0.0, troubles=(), rollout=ROLLOUT):
    """A look at the rollout that leads from one status to another."""
    explanation = Explanation(Rule.NOTED, before.phase, after.phase)
    rest = CycleResult(Decision(after, (), None, explanation), None, (), troubles)
    exporter.record_cycle(CycleReport("test/podinfo", Observed(rollout, before, Observation(now=0.0)), rest, late))


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


def exported(exporter):
    return {
        (f"{metric.name}_total" if metric.type == "counter" else metric.name, metric.type)
        for metric in exporter.registry.collect()
    }


def test_the_table_has_exactly_the_exported_series(exporter):
    assert exported(exporter) == {(series.name, series.kind.value) for series in SERIES}
    assert len({series.name for series in SERIES}) == len(SERIES)


def test_the_table_has_the_labels_and_texts_of_each_series(exporter):
    cycle_of_everything(exporter)
    suffixes = {SeriesKind.HISTOGRAM: "_count", SeriesKind.COUNTER: "", SeriesKind.GAUGE: ""}
    by_name = {series.name + suffixes[series.kind]: series for series in SERIES}
    samples = {
        sample.name: (tuple(sample.labels), metric.documentation)
        for metric in exporter.registry.collect()
        for sample in metric.samples
        if sample.name in by_name
    }
    assert samples.keys() == by_name.keys(), "each series has a value after a rollout"
    for name, series in by_name.items():
        labels, text = samples[name]
        assert set(labels) == set(series.labels), name
        assert series.is_collected or text == series.text, name


def cycle_of_everything(exporter):
    """Record a rollout that fails, one that succeeds, troubles, requests and calls."""
    exporter.set_leader(True)
    exporter.set_totals(Counter({"test": 1}))
    for phase in (Phase.FAILED, Phase.SUCCEEDED):
        tell(exporter, Status(phase=Phase.SUCCEEDED, since=5.0), Status(phase=Phase.PROGRESSING, since=100.0))
        tell(exporter, Status(phase=Phase.PROGRESSING, since=100.0), Status(phase=phase, since=200.0), late=3.0)
    tell(exporter, Status(), Status(), troubles=(WorldError("no answer"),))
    exporter.count_lost_alert(ROLLOUT)
    judged(exporter, "errors")
    exporter.record_trouble("test/podinfo", "Forbidden")
    exporter.record_request(RequestReport(method="GET", path="/api/v1/services", seconds=0.1, error="403"))
    exporter.record_call(ProviderReport(port="metrics", provider="prometheus", seconds=0.1, has_failed=True))


# rollouts -----------------------------------------------------------------------------------------------------------


def labels_of(exporter, sample):
    return [found.labels for metric in exporter.registry.collect() for found in metric.samples if found.name == sample]


def test_a_canary_in_trouble_has_one_series_with_the_reason(exporter):
    for reason in ("Forbidden", "QuotaExceeded"):
        exporter.record_trouble("test/podinfo", reason)
    assert labels_of(exporter, "canarycore_blocked") == [PLACE | {"reason": "QuotaExceeded"}]
    exporter.record_trouble("test/podinfo", "")
    assert labels_of(exporter, "canarycore_blocked") == []


def test_a_canary_is_in_one_phase(exporter):
    for phase in (Phase.PROGRESSING, Phase.PROMOTING):
        tell(exporter, Status(phase=Phase.PROGRESSING, since=0.0), Status(phase=phase, since=0.0))
    assert labels_of(exporter, "canarycore_phase") == [PLACE | {"target": "podinfo", "phase": "Promoting"}]


def fail(exporter, check, reason=Reason.CHECKS, *, hook=""):
    """Record a rollback by a check."""
    results = (CheckResult("good", Verdict.PASS), CheckResult(check, Verdict.FAIL))
    analysis = AnalysisResult(150.0, "v2", checks=results, hook=hook)
    end = RolloutEnd(200.0, Phase.FAILED, reason, "v2", "", analysis)
    failed = Status(phase=Phase.FAILED, since=200.0, reason=reason, end=end)
    tell(exporter, Status(phase=Phase.PROGRESSING, since=100.0), failed)


def test_a_rollback_counts_by_its_reason_and_the_first_failed_check(exporter):
    fail(exporter, "errors")
    fail(exporter, "errors")
    fail(exporter, "errors", hook="smoke")
    fail(exporter, "errors", Reason.DEADLINE)
    counted = {
        (found["reason"], found["check"]): value(exporter, "canarycore_rollbacks_total", **found)
        for found in labels_of(exporter, "canarycore_rollbacks_total")
    }
    assert counted == {
        ("FailedChecks", "errors"): 2,
        ("FailedChecks", "hook smoke"): 1,
        ("ProgressDeadlineExceeded", ""): 1,
    }


def test_renamed_checks_make_a_limited_number_of_series(exporter):
    for number in range(3 * MOST_FAILED_CHECKS):
        fail(exporter, f"check {number}")
    checks = [found["check"] for found in labels_of(exporter, "canarycore_rollbacks_total")]
    assert len(checks) == MOST_FAILED_CHECKS + 1
    assert OTHER in checks


def test_a_former_target_leaves_no_series(exporter):
    rollouts = [evolve(ROLLOUT, target=TargetRef(name=f"target-{number}")) for number in range(3)]
    for rollout in rollouts:
        tell(exporter, Status(), Status(phase=Phase.SUCCEEDED, since=0.0), rollout=rollout)
    assert labels_of(exporter, "flagger_canary_status") == [{"name": "target-2", "namespace": "test"}]
    assert {found["name"] for found in labels_of(exporter, "flagger_canary_successes_total")} == {"target-2"}


def test_a_replica_that_no_longer_leads_has_no_series_of_canaries(exporter):
    cycle_of_everything(exporter)
    exporter.set_leader(False)
    assert exporter.registry.get_sample_value("canarycore_leader") == 0
    canaries = [found for series in SERIES for found in labels_of(exporter, series.name) if "name" in found]
    assert canaries == []


@pytest.mark.parametrize(("phase", "outcome"), [(Phase.SUCCEEDED, "succeeded"), (Phase.FAILED, "failed")])
def test_a_rollout_lasts_by_outcome_and_each_outcome_begins_at_zero(exporter, phase, outcome):
    labels = {"deployment_strategy": "canary", "outcome": outcome}
    assert value(exporter, "canarycore_rollout_seconds_count", **labels) == 0
    tell(exporter, Status(phase=Phase.SUCCEEDED, since=5.0), Status(phase=Phase.PROGRESSING, since=100.0))
    tell(exporter, Status(phase=Phase.PROGRESSING, since=100.0), Status(phase=phase, since=160.0))
    assert value(exporter, "canarycore_rollout_seconds_sum", **labels) == 60


def test_a_rollout_that_another_process_began_lasts_from_the_beginning_of_its_analysis(exporter):
    progressing = Status(phase=Phase.PROGRESSING, since=100.0, rung=Rung(weight=30))
    tell(exporter, progressing, evolve(progressing, rung=Rung(weight=50)))
    tell(exporter, progressing, Status(phase=Phase.WAITING_PROMOTION, since=140.0))
    tell(exporter, Status(phase=Phase.WAITING_PROMOTION, since=140.0), Status(phase=Phase.FAILED, since=160.0))
    assert value(exporter, "flagger_canary_duration_seconds_sum") == 60


# requests and calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("GET", "/api/v1/namespaces/test/services/podinfo", "get", "services"),
        ("GET", "/apis/apps/v1/deployments", "list", "deployments.apps"),
        ("GET", "/apis/apps/v1/namespaces/test/deployments", "list", "deployments.apps"),
        ("WATCH", "/apis/flagger.app/v1beta1/canaries", "watch", "canaries.flagger.app"),
        ("PATCH", "/apis/flagger.app/v1beta1/namespaces/test/canaries/a/status", "patch", "canaries.flagger.app"),
        ("POST", "/api/v1/namespaces/test/events", "create", "events"),
        ("DELETE", "/api/v1/namespaces/namespaces/configmaps/x", "delete", "configmaps"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/api/v1/namespaces/test", "get", "namespaces"),
    ],
)
def test_a_request_is_measured_by_verb_and_resource(exporter, method, path, verb, resource):
    exporter.record_request(RequestReport(method=method, path=path, seconds=0.5))
    exporter.record_request(RequestReport(method=method, path=path, seconds=0.5, error=UNREACHABLE))
    labels = {"verb": verb, "resource": resource}
    assert value(exporter, "canarycore_api_request_seconds_sum", **labels) == 1.0
    assert value(exporter, "canarycore_api_errors_total", **labels, status=UNREACHABLE) == 1


def test_the_resources_of_requests_make_a_limited_number_of_series(exporter):
    for number in range(2 * MOST_RESOURCES):
        path = f"/apis/example.com/v1/kind{number}"
        exporter.record_request(RequestReport(method="GET", path=path, seconds=0.5, error="404"))
    series = [len(labels_of(exporter, f"canarycore_api_{name}")) for name in ("request_seconds_count", "errors_total")]
    assert sum(series) <= MOST_RESOURCES + 2


def test_a_provider_without_an_adapter_has_no_series_of_its_own(exporter):
    for number in range(100):
        exporter.record_call(
            ProviderReport(port="metrics", provider=f"made-up-{number}", seconds=1.0, has_failed=bool(number % 2))
        )
    exporter.record_call(ProviderReport(port="metrics", provider="prometheus", seconds=1.0, has_failed=False))
    made_up = {"port": "metrics", "provider": OTHER}
    assert value(exporter, "canarycore_provider_errors_total", **made_up) == 50
    assert {found["provider"] for found in labels_of(exporter, "canarycore_provider_request_seconds_count")} == {
        "prometheus",
        OTHER,
    }
