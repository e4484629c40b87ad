"""The controller's Prometheus metrics: Flagger's metrics under their names, and a few more.

Two metrics have the documented value where Flagger's do not: `flagger_canary_status` is 0 in every phase of a rollout,
not only in Progressing, and `flagger_canary_duration_seconds` measures a whole rollout, not one cycle.

The exporter removes the series of a Canary with the Canary, and the series of a check with the check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from canarycore import Phase, Reason, Strategy
from canarycore.phases import IDLE
from canarycore.text import escape_controls
from canarycore_kubernetes.telemetry.lateness import TOLERATED_LATENESS

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Iterable

    from canarycore import Decision, Rollout, Status
    from canarycore_runtime import CycleReport

RUNNING, SUCCESSFUL, FAILED = 0, 1, 2
"""The values of `flagger_canary_status`."""

STRATEGIES = {Strategy.WEIGHTS: "canary", Strategy.AB: "ab-testing", Strategy.BLUE_GREEN: "blue-green"}
"""The values of the label `deployment_strategy`."""

LONGEST_LABEL = 128
"""Most characters of a label's value that an owner chooses: the name of a check."""

M = TypeVar("M", Gauge, Counter, Histogram)

ROLLOUT_SECONDS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
LATE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class Exporter:
    """The metrics of a controller. Give `record_cycle` to the runner as `on_cycle`."""

    def __init__(self, *, version: str, provider: str) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        registry = self.registry

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        info = gauge("flagger_info", "Version and mesh provider.", "version", "mesh_provider")
        info.labels(version, provider).set(1)
        self._total = gauge("flagger_canary_total", "Canaries.", "namespace")
        self._status = gauge(
            "flagger_canary_status", "The last rollout: 0 running, 1 successful, 2 failed.", "name", "namespace"
        )
        self._weight = gauge("flagger_canary_weight", "Percent of requests.", "workload", "namespace")
        self._analysis = gauge("flagger_canary_metric_analysis", "A check's last value.", "name", "namespace", "metric")
        outcome = ("name", "namespace", "deployment_strategy", "analysis_status")
        self._successes = Counter("flagger_canary_successes", "Rollouts that succeeded.", outcome, registry=registry)
        self._failures = Counter("flagger_canary_failures", "Rollouts that failed.", outcome, registry=registry)
        self._duration = Histogram(
            "flagger_canary_duration_seconds",
            "A rollout, from its start to its end.",
            ("name", "namespace"),
            buckets=ROLLOUT_SECONDS,
            registry=registry,
        )
        self._late = Histogram(
            "canarycore_late_seconds", "How late cycles begin.", buckets=LATE_SECONDS, registry=registry
        )
        self._missed = Counter(
            "canarycore_intervals_missed",
            "Cycles that began more than a second late.",
            ("name", "namespace"),
            registry=registry,
        )
        self._troubles = Counter(
            "canarycore_troubles", "Cycles with an error of the cluster or of a provider.", ("name", "namespace"),
            registry=registry,
        )  # fmt: skip
        self._lost_alerts = Counter(
            "canarycore_alerts_given_up", "Alerts that a chat did not accept.", ("name", "namespace"), registry=registry
        )
        self._leader = gauge("canarycore_leader", "Whether this replica leads.")
        self._began: dict[str, float] = {}
        self._series: dict[str, set[tuple[Gauge | Counter | Histogram, tuple[str, ...]]]] = {}

    def set_leader(self, leads: bool) -> None:
        """Set whether this replica leads."""
        self._leader.set(leads)

    def count_lost_alert(self, rollout: Rollout) -> None:
        """Count an alert that the controller has given up on."""
        self._series_of(f"{rollout.namespace}/{rollout.name}", self._lost_alerts, rollout.name, rollout.namespace).inc()

    def set_totals(self, canaries: Tally[str]) -> None:
        """Set the number of Canaries per namespace."""
        self._total.clear()
        for namespace, number in canaries.items():
            self._total.labels(namespace).set(number)

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

    def forget(self, key: str) -> None:
        """Remove all series of a Canary that is gone."""
        self._began.pop(key, None)
        for metric, labels in self._series.pop(key, ()):
            metric.remove(*labels)

    def _series_of(self, key: str, metric: M, *labels: str) -> M:
        """Return a series, and register it as one of the Canary `key`."""
        self._series.setdefault(key, set()).add((metric, labels))
        return metric.labels(*labels)

    def _record_decision(self, key: str, rollout: Rollout, before: Status, decision: Decision) -> None:
        after, target, namespace = decision.status, rollout.target.name, rollout.namespace
        self._series_of(key, self._status, target, namespace).set(_status(after))
        self._series_of(key, self._weight, f"{target}-primary", namespace).set(100 - after.rung.weight)
        self._series_of(key, self._weight, target, namespace).set(after.rung.weight)
        self._forget_checks(key, rollout)
        for metric, value in _values(decision):
            self._series_of(key, self._analysis, target, namespace, _label(metric)).set(value)
        if after.phase is not before.phase:
            self._record_phase(key, rollout, before, after)

    def _forget_checks(self, key: str, rollout: Rollout) -> None:
        """Remove the series of checks that the Canary no longer has."""
        known = {_label(check.name) for check in rollout.checks}
        series = self._series[key]
        stale = {(metric, labels) for metric, labels in series if metric is self._analysis and labels[-1] not in known}
        series -= stale
        for metric, labels in stale:
            metric.remove(*labels)

    def _record_phase(self, key: str, rollout: Rollout, before: Status, after: Status) -> None:
        labels = (rollout.target.name, rollout.namespace)
        if before.phase in IDLE and after.phase not in IDLE and after.since is not None:
            self._began[key] = after.since
        outcome = {Phase.SUCCEEDED: self._successes, Phase.FAILED: self._failures}.get(after.phase)
        if outcome is None:
            return
        analysis = "skipped" if after.reason is Reason.SKIPPED else "completed"
        self._series_of(key, outcome, *labels, STRATEGIES[rollout.ladder.strategy], analysis).inc()
        began = self._began.pop(key, None)
        if began is not None and after.since is not None:
            self._series_of(key, self._duration, *labels).observe(max(0.0, after.since - began))


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
