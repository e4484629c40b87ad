"""The table of all exported series: name, kind, labels, help text and unit.

The exporter, the dashboards, the alert rules and the table in docs/kubernetes.md come from it. A test compares it with
the answer of `/metrics`.

Flagger's series have Flagger's names and labels; their `name` is the name of the target, as in Flagger. In the series
of canarycore, `name` is the name of the Canary. Every label has few values: names of objects that exist, or names from
a list in the code. Names that an owner chooses freely are shortened, and limited in number for each Canary.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

ROLLOUT_SECONDS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
LATE_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)
REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.25, 1, 2.5, 5, 10)
PROVIDER_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)


class SeriesKind(StrEnum):
    """The type of a series in Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class SeriesUnit(StrEnum):
    """The unit of the values of a series."""

    NUMBER = "number"
    SWITCH = "0 or 1"
    PERCENT = "percent"
    SECONDS = "seconds"
    UNIX_TIME = "seconds since 1970"
    BYTES = "bytes"


@frozen(kw_only=True)
class ExportedSeries:
    """A series of the exporter, or of one of prometheus_client's collectors."""

    name: str
    """The name in Prometheus; a histogram's without `_bucket`, `_sum` and `_count`."""
    kind: SeriesKind
    labels: tuple[str, ...] = ()
    text: str
    """The meaning of the value, as a sentence."""
    unit: SeriesUnit = SeriesUnit.NUMBER
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets."""
    is_collected: bool = False
    """Whether a collector of prometheus_client exports it."""

    def __str__(self) -> str:
        return self.name


def _gauge(name: str, text: str, *labels: str, unit: SeriesUnit = SeriesUnit.NUMBER) -> ExportedSeries:
    return ExportedSeries(name=name, kind=SeriesKind.GAUGE, labels=labels, text=text, unit=unit)


def _counter(name: str, text: str, *labels: str) -> ExportedSeries:
    return ExportedSeries(name=name, kind=SeriesKind.COUNTER, labels=labels, text=text)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> ExportedSeries:
    return ExportedSeries(
        name=name, kind=SeriesKind.HISTOGRAM, labels=labels, text=text, unit=SeriesUnit.SECONDS, buckets=buckets
    )


def _collected(
    kind: SeriesKind, name: str, text: str, *labels: str, unit: SeriesUnit = SeriesUnit.NUMBER
) -> ExportedSeries:  # fmt: skip
    return ExportedSeries(name=name, kind=kind, labels=labels, text=text, unit=unit, is_collected=True)


_CANARY = ("name", "namespace")
_OUTCOME = (*_CANARY, "deployment_strategy", "analysis_status")

# Flagger's series --------------------------------------------------------------------------------------------------

INFO = _gauge("flagger_info", "Version and mesh provider.", "version", "mesh_provider", unit=SeriesUnit.SWITCH)
TOTAL = _gauge("flagger_canary_total", "Canaries.", "namespace")
STATUS = _gauge("flagger_canary_status", "The last rollout: 0 running, 1 successful, 2 failed.", *_CANARY)
WEIGHT = _gauge("flagger_canary_weight", "Percent of requests.", "workload", "namespace", unit=SeriesUnit.PERCENT)
ANALYSIS = _gauge("flagger_canary_metric_analysis", "A check's last value.", *_CANARY, "metric")
SUCCESSES = _counter("flagger_canary_successes_total", "Rollouts that succeeded.", *_OUTCOME)
FAILURES = _counter("flagger_canary_failures_total", "Rollouts that failed.", *_OUTCOME)
DURATION = _histogram(
    "flagger_canary_duration_seconds", "A rollout, from its start to its end.", *_CANARY, buckets=ROLLOUT_SECONDS
)

# rollouts ----------------------------------------------------------------------------------------------------------

PHASE = _gauge(
    "canarycore_phase", "The phase of a Canary, and its target.", *_CANARY, "target", "phase", unit=SeriesUnit.SWITCH
)
BLOCKED = _gauge(
    "canarycore_blocked",
    "A Canary in trouble, by the reason of its condition Blocked.",
    *_CANARY,
    "reason",
    unit=SeriesUnit.SWITCH,
)
ROLLBACKS = _counter(
    "canarycore_rollbacks_total",
    "Failed rollouts, by reason and by the first failed check.",
    *_CANARY,
    "reason",
    "check",
)
ROLLOUT_TIME = _histogram(
    "canarycore_rollout_seconds",
    "A rollout of any Canary, from its start to its end, by outcome and strategy.",
    "outcome",
    "deployment_strategy",
    buckets=ROLLOUT_SECONDS,
)
TROUBLES = _counter("canarycore_troubles_total", "Cycles with an error of the cluster or of a provider.", *_CANARY)
MISSED = _counter("canarycore_intervals_missed_total", "Cycles that began more than a second late.", *_CANARY)
LOST_ALERTS = _counter("canarycore_alerts_given_up_total", "Alerts that a chat did not accept.", *_CANARY)

# the controller ----------------------------------------------------------------------------------------------------

LEADER = _gauge("canarycore_leader", "Whether this replica leads.", unit=SeriesUnit.SWITCH)
LATE = _histogram("canarycore_late_seconds", "How late cycles begin.", buckets=LATE_SECONDS)
API_TIME = _histogram(
    "canarycore_api_request_seconds",
    "A request to the API server; of a watch, the time until it begins.",
    "verb",
    "resource",
    buckets=REQUEST_SECONDS,
)
API_ERRORS = _counter(
    "canarycore_api_errors_total",
    "Requests that the API server refused, by HTTP status, or did not answer (`unreachable`).",
    "verb",
    "resource",
    "status",
)
PROVIDER_TIME = _histogram(
    "canarycore_provider_request_seconds",
    "A query of metrics, a call of a hook or an alert, by port and provider.",
    "port",
    "provider",
    buckets=PROVIDER_SECONDS,
)
PROVIDER_ERRORS = _counter(
    "canarycore_provider_errors_total",
    "Queries and alerts that failed, and hooks that did not pass, by port and provider.",
    "port",
    "provider",
)

# the process -------------------------------------------------------------------------------------------------------

CPU = _collected(SeriesKind.COUNTER, "process_cpu_seconds_total", "CPU time.", unit=SeriesUnit.SECONDS)
MEMORY = _collected(SeriesKind.GAUGE, "process_resident_memory_bytes", "Resident memory.", unit=SeriesUnit.BYTES)
VIRTUAL = _collected(SeriesKind.GAUGE, "process_virtual_memory_bytes", "Virtual memory.", unit=SeriesUnit.BYTES)
BEGINNING = _collected(
    SeriesKind.GAUGE, "process_start_time_seconds", "When the process began.", unit=SeriesUnit.UNIX_TIME
)
OPEN_FILES = _collected(SeriesKind.GAUGE, "process_open_fds", "Open files and connections.")
MOST_FILES = _collected(SeriesKind.GAUGE, "process_max_fds", "Most open files and connections.")
PYTHON = _collected(
    SeriesKind.GAUGE,
    "python_info",
    "Version of Python.",
    "implementation",
    "major",
    "minor",
    "patchlevel",
    "version",
    unit=SeriesUnit.SWITCH,
)
COLLECTIONS = _collected(
    SeriesKind.COUNTER, "python_gc_collections_total", "Runs of the garbage collector.", "generation"
)
COLLECTED = _collected(
    SeriesKind.COUNTER, "python_gc_objects_collected_total", "Objects that it collected.", "generation"
)
UNCOLLECTABLE = _collected(
    SeriesKind.COUNTER, "python_gc_objects_uncollectable_total", "Objects that it could not collect.", "generation"
)

# the observer ------------------------------------------------------------------------------------------------------

ADOPTABLE = _gauge(
    "canarycore_observe_adoptable", "Whether taking over would begin no rollout.", *_CANARY, unit=SeriesUnit.SWITCH
)
MOVES = _counter(
    "canarycore_observe_moves_total",
    "Moves of a status, by the result of their comparison with our decision: agreed, assumed, differs, hidden.",
    *_CANARY,
    "result",
)
DIFFERENCES = _counter(
    "canarycore_observe_differences_total",
    "Differences to our decisions, by the row that explains them.",
    *_CANARY,
    "row",
)

OBSERVER_SERIES: tuple[ExportedSeries, ...] = (INFO, ADOPTABLE, MOVES, DIFFERENCES)
"""All series of an observer."""

SERIES: tuple[ExportedSeries, ...] = (
    *(INFO, TOTAL, STATUS, WEIGHT, ANALYSIS, SUCCESSES, FAILURES, DURATION),
    *(PHASE, BLOCKED, ROLLBACKS, ROLLOUT_TIME, TROUBLES, MISSED, LOST_ALERTS),
    *(LEADER, LATE, API_TIME, API_ERRORS, PROVIDER_TIME, PROVIDER_ERRORS),
    *(CPU, MEMORY, VIRTUAL, BEGINNING, OPEN_FILES, MOST_FILES),
    *(PYTHON, COLLECTIONS, COLLECTED, UNCOLLECTABLE),
)
"""All series of a controller, in the order of the table in the docs."""


def series_table(exported: tuple[ExportedSeries, ...] = SERIES) -> str:
    """Return the table of series in Markdown."""
    rows = [
        f"| `{series.name}` | {series.kind.value} | {_code(series.labels)} | {series.text} | {series.unit.value} |"
        for series in exported
    ]
    return "\n".join(
        ["", "| Series | Kind | Labels | Value | Unit |", "| --- | --- | --- | --- | --- |", *rows, "", ""]
    )


def _code(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
