"""The controller's Prometheus metrics: Flagger's metrics under their names, and our own. `series` has the table.

Two metrics have the documented value where Flagger's do not: `flagger_canary_status` is 0 in every phase of a rollout,
not only in Progressing, and `flagger_canary_duration_seconds` measures a whole rollout, not one cycle.

The exporter removes the series of a Canary with the Canary, those of a check with the check, and those of a former
target with the target. A replica that no longer leads removes the series of all Canaries: the next leader has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from canarycore import Phase, Reason, Strategy, Verdict
from canarycore.phases import IDLE
from canarycore.text import escape_controls
from canarycore_kubernetes.telemetry import series as table
from canarycore_kubernetes.telemetry.lateness import TOLERATED_LATENESS
from canarycore_runtime.registry import installed

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Iterable

    from canarycore import Decision, Rollout, Status
    from canarycore_kubernetes.api.client import RequestReport
    from canarycore_kubernetes.telemetry.calls import ProviderReport
    from canarycore_kubernetes.telemetry.series import ExportedSeries
    from canarycore_runtime import CycleReport

RUNNING, SUCCESSFUL, FAILED = 0, 1, 2
"""The values of `flagger_canary_status`."""

STRATEGIES = {Strategy.WEIGHTS: "canary", Strategy.AB: "ab-testing", Strategy.BLUE_GREEN: "blue-green"}
"""The values of the label `deployment_strategy`."""

OUTCOMES = {Phase.SUCCEEDED: "succeeded", Phase.FAILED: "failed"}
"""The values of the label `outcome`."""

_EARLY = frozenset({Phase.WAITING, Phase.PROGRESSING})
"""The phases with which a rollout begins."""

LONGEST_LABEL = 128
"""Most characters of a label's value that an owner chooses: the name of a check."""

MOST_FAILED_CHECKS = 20
"""Most series of `canarycore_rollbacks_total` of one Canary: an owner may rename the checks for each rollout."""

MOST_RESOURCES = 200
"""Most series of requests to the API server."""

OTHER = "other"
"""The label of everything beyond a limit."""

M = TypeVar("M", Gauge, Counter, Histogram)


class Exporter:
    """The metrics of a controller. Give `record_cycle` to the runner as `on_cycle`."""

    def __init__(self, *, version: str, provider: str) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        make_gauge(table.INFO, self.registry).labels(version, provider).set(1)
        self._total = make_gauge(table.TOTAL, self.registry)
        self._status = make_gauge(table.STATUS, self.registry)
        self._weight = make_gauge(table.WEIGHT, self.registry)
        self._analysis = make_gauge(table.ANALYSIS, self.registry)
        self._successes = make_counter(table.SUCCESSES, self.registry)
        self._failures = make_counter(table.FAILURES, self.registry)
        self._duration = make_histogram(table.DURATION, self.registry)
        self._phase = make_gauge(table.PHASE, self.registry)
        self._blocked = make_gauge(table.BLOCKED, self.registry)
        self._rollbacks = make_counter(table.ROLLBACKS, self.registry)
        self._rollout_time = make_histogram(table.ROLLOUT_TIME, self.registry)
        self._troubles = make_counter(table.TROUBLES, self.registry)
        self._missed = make_counter(table.MISSED, self.registry)
        self._lost_alerts = make_counter(table.LOST_ALERTS, self.registry)
        self._leader = make_gauge(table.LEADER, self.registry)
        self._late = make_histogram(table.LATE, self.registry)
        self._api_time = make_histogram(table.API_TIME, self.registry)
        self._api_errors = make_counter(table.API_ERRORS, self.registry)
        self._provider_time = make_histogram(table.PROVIDER_TIME, self.registry)
        self._provider_errors = make_counter(table.PROVIDER_ERRORS, self.registry)
        self._began: dict[str, float] = {}
        self._targets: dict[str, str] = {}
        self._in_trouble: set[str] = set()
        self._series: dict[str, set[tuple[Gauge | Counter | Histogram, tuple[str, ...]]]] = {}
        self._resources: set[tuple[str, ...]] = set()
        self._providers = {port: frozenset(installed(port)) for port in ("metrics", "notifiers", "hooks")}
        for outcome in OUTCOMES.values():
            for strategy in STRATEGIES.values():
                self._rollout_time.labels(outcome, strategy)  # at zero, so that the first rollout is an increase

    # the controller ------------------------------------------------------------------------------------------------

    def set_leader(self, leads: bool) -> None:
        """Set whether this replica leads. The series of all Canaries go with the lead."""
        self._leader.set(leads)
        if not leads:
            for key in tuple(self._series):
                self.forget(key)

    def set_totals(self, canaries: Tally[str]) -> None:
        """Set the number of Canaries per namespace."""
        self._total.clear()
        for namespace, number in canaries.items():
            self._total.labels(namespace).set(number)

    def record_request(self, report: RequestReport) -> None:
        """Record a request to the API server."""
        verb, resource = _describe_request(report)
        labels = self._bounded(verb, resource)
        self._api_time.labels(*labels).observe(report.seconds)
        if report.error:
            self._api_errors.labels(*self._bounded(verb, resource, report.error)).inc()

    def record_call(self, report: ProviderReport) -> None:
        """Record a call of a provider. Owners choose its name, so only names of adapters get a series."""
        provider = report.provider if report.provider in self._providers[report.port] else OTHER
        self._provider_time.labels(report.port, provider).observe(report.seconds)
        if report.has_failed:
            self._provider_errors.labels(report.port, provider).inc()

    def _bounded(self, *labels: str) -> tuple[str, ...]:
        """Return the labels, or `other` for each once there are MOST_RESOURCES combinations."""
        if labels not in self._resources:
            if len(self._resources) >= MOST_RESOURCES:
                return (OTHER,) * len(labels)
            self._resources.add(labels)
        return labels

    # Canaries ------------------------------------------------------------------------------------------------------

    def count_lost_alert(self, rollout: Rollout) -> None:
        """Count an alert that the controller has given up on."""
        self._series_of(f"{rollout.namespace}/{rollout.name}", self._lost_alerts, rollout.name, rollout.namespace).inc()

    def record_cycle(self, report: CycleReport) -> None:
        """Record a cycle."""
        self._late.observe(max(report.lateness, 0.0))
        namespace, _, name = report.key.partition("/")
        if report.lateness > TOLERATED_LATENESS:
            self._series_of(report.key, self._missed, name, namespace).inc()
        if report.result.errors:
            self._series_of(report.key, self._troubles, name, namespace).inc()
        if report.observed is not None and report.result.decision is not None:
            self._record_decision(report.key, report.observed.rollout, report.observed.status, report.result.decision)

    def record_trouble(self, key: str, reason: str) -> None:
        """Record the reason why a Canary is in trouble; empty without trouble."""
        namespace, _, name = key.partition("/")
        if reason:
            self._in_trouble.add(key)
            self._only_series_of(key, self._blocked, name, namespace, reason).set(1)
        elif key in self._in_trouble:
            self._in_trouble.remove(key)
            self._remove(key, self._blocked)

    def forget(self, key: str) -> None:
        """Remove all series of a Canary that is gone."""
        self._began.pop(key, None)
        self._targets.pop(key, None)
        self._in_trouble.discard(key)
        for metric, labels in self._series.pop(key, ()):
            metric.remove(*labels)

    def _series_of(self, key: str, metric: M, *labels: str) -> M:
        """Return a series, and register it as one of the Canary `key`."""
        self._series.setdefault(key, set()).add((metric, labels))
        return metric.labels(*labels)

    def _only_series_of(self, key: str, metric: M, *labels: str) -> M:
        """Return a series, and remove the other series of this metric of the Canary `key`."""
        if (metric, labels) not in self._series.get(key, ()):
            self._remove(key, metric)
        return self._series_of(key, metric, *labels)

    def _remove(self, key: str, *metrics: Gauge | Counter | Histogram, known: frozenset[str] = frozenset()) -> None:
        """Remove the series of these metrics of a Canary, except those whose last label is `known`."""
        series = self._series.get(key, set())
        stale = {(metric, labels) for metric, labels in series if metric in metrics and labels[-1] not in known}
        series -= stale
        for metric, labels in stale:
            metric.remove(*labels)

    def _record_decision(self, key: str, rollout: Rollout, before: Status, decision: Decision) -> None:
        after, target, namespace = decision.status, rollout.target.name, rollout.namespace
        self._follow_target(key, target)
        self._series_of(key, self._status, target, namespace).set(_status(after))
        self._series_of(key, self._weight, f"{target}-primary", namespace).set(100 - after.rung.weight)
        self._series_of(key, self._weight, target, namespace).set(after.rung.weight)
        self._only_series_of(key, self._phase, rollout.name, namespace, target, after.phase.value).set(1)
        self._remove(key, self._analysis, known=frozenset(_label(check.name) for check in rollout.checks))
        for metric, value in _values(decision):
            self._series_of(key, self._analysis, target, namespace, _label(metric)).set(value)
        self._record_beginning(key, before, after)
        if after.phase in OUTCOMES and after.phase is not before.phase:
            self._record_end(key, rollout, after)

    def _follow_target(self, key: str, target: str) -> None:
        """Remove the series of a former target: an owner may change the target at any time."""
        if self._targets.setdefault(key, target) != target:
            self._targets[key] = target
            flagger = (self._status, self._weight, self._analysis, self._successes, self._failures, self._duration)
            self._remove(key, *flagger)

    def _record_beginning(self, key: str, before: Status, after: Status) -> None:
        """Record when a rollout began. A new process that takes over an analysis takes the beginning of its phase."""
        has_begun = before.phase in IDLE and after.phase not in IDLE
        if after.since is not None and (has_begun or (after.phase in _EARLY and key not in self._began)):
            self._began[key] = after.since

    def _record_end(self, key: str, rollout: Rollout, after: Status) -> None:
        labels, strategy = (rollout.target.name, rollout.namespace), STRATEGIES[rollout.ladder.strategy]
        outcome = self._successes if after.phase is Phase.SUCCEEDED else self._failures
        analysis = "skipped" if after.reason is Reason.SKIPPED else "completed"
        self._series_of(key, outcome, *labels, strategy, analysis).inc()
        if after.phase is Phase.FAILED:
            self._count_rollback(key, rollout, after)
        began = self._began.pop(key, None)
        if began is not None and after.since is not None:
            seconds = max(0.0, after.since - began)
            self._series_of(key, self._duration, *labels).observe(seconds)
            self._rollout_time.labels(OUTCOMES[after.phase], strategy).observe(seconds)

    def _count_rollback(self, key: str, rollout: Rollout, after: Status) -> None:
        labels = (rollout.name, rollout.namespace, after.reason.value, _failed_check(after))
        known = {labels for metric, labels in self._series.get(key, ()) if metric is self._rollbacks}
        if labels not in known and len(known) >= MOST_FAILED_CHECKS:
            labels = (*labels[:3], OTHER)
        self._series_of(key, self._rollbacks, *labels).inc()


def make_gauge(series: ExportedSeries, registry: CollectorRegistry) -> Gauge:
    """Return a new gauge of the table in a registry."""
    return Gauge(series.name, series.text, series.labels, registry=registry)


def make_counter(series: ExportedSeries, registry: CollectorRegistry) -> Counter:
    """Return a new counter of the table in a registry."""
    return Counter(series.name, series.text, series.labels, registry=registry)


def make_histogram(series: ExportedSeries, registry: CollectorRegistry) -> Histogram:
    """Return a new histogram of the table in a registry."""
    return Histogram(series.name, series.text, series.labels, registry=registry, buckets=series.buckets)


def _describe_request(report: RequestReport) -> tuple[str, str]:
    """Return verb and resource of a request: (`list`, `deployments.apps`)."""
    _, root, *parts = report.path.split("/")
    group = parts.pop(0) if root == "apis" else ""
    parts = parts[3:] if parts[1:2] == ["namespaces"] and len(parts) > 3 else parts[1:]
    plural, is_one = parts[0] if parts else OTHER, len(parts) > 1
    verb = _VERBS.get(report.method) or ("get" if is_one else "list")
    return verb, f"{plural}.{group}" if group else plural


_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete", "WATCH": "watch"}


def _failed_check(status: Status) -> str:
    """Return the first failed check of the analysis that ended a rollout, or its hook; empty without one."""
    analysis = None if status.end is None or not status.end.failures else status.end.analysis
    if analysis is None:
        return ""
    if analysis.hook:
        return _label(f"hook {analysis.hook}")
    return next((_label(check.name) for check in analysis.checks if check.verdict is not Verdict.PASS), "")


def _label(name: str) -> str:
    return escape_controls(name, LONGEST_LABEL)


def _status(status: Status) -> int:
    if status.phase is Phase.FAILED:
        return FAILED
    return SUCCESSFUL if status.phase in IDLE else RUNNING


def _values(decision: Decision) -> Iterable[tuple[str, float]]:
    """Yield the value of each check that this decision judged: (name, value in the check's unit)."""
    for judgement in decision.explanation.judgements:
        if judgement.answer.value is not None:
            yield judgement.check.name, judgement.answer.value
