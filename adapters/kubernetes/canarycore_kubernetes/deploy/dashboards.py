"""The Grafana dashboards, from the exporter's table: the fleet, one Canary, and the controller.

    dashboards()["fleet"]     # the JSON model, for Grafana's import, its provisioning or its sidecar

The description and the unit of a panel are those of its series in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from canarycore_kubernetes.deploy.queries import increase, per_second, quantile, select, total
from canarycore_kubernetes.telemetry.series import (
    ANALYSIS,
    API_ERRORS,
    API_TIME,
    BEGINNING,
    BLOCKED,
    COLLECTED,
    COLLECTIONS,
    CPU,
    DURATION,
    FAILURES,
    INFO,
    LATE,
    LEADER,
    LOST_ALERTS,
    MEMORY,
    MISSED,
    MOST_FILES,
    OPEN_FILES,
    PHASE,
    PROVIDER_ERRORS,
    PROVIDER_TIME,
    PYTHON,
    ROLLBACKS,
    ROLLOUT_TIME,
    STATUS,
    SUCCESSES,
    TOTAL,
    TROUBLES,
    UNCOLLECTABLE,
    VIRTUAL,
    WEIGHT,
    SeriesUnit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_kubernetes.telemetry.series import ExportedSeries
    from canarycore_runtime.mesh import Json

SCHEMA_VERSION = 39
"""The version of Grafana's dashboard model: Grafana 10.4 and later read it as it is."""

COLUMNS = 24
"""The width of a dashboard in Grafana's units."""

WINDOW = "$__rate_interval"
"""Grafana's shortest useful window for a rate."""

RANGE = "$__range"
"""The time that the viewer has chosen."""

UNITS = {
    SeriesUnit.NUMBER: "short",
    SeriesUnit.SWITCH: "short",
    SeriesUnit.PERCENT: "percent",
    SeriesUnit.SECONDS: "s",
    SeriesUnit.UNIX_TIME: "dateTimeFromNow",
    SeriesUnit.BYTES: "bytes",
}
"""Grafana's names of the units."""

PanelView = Literal["timeseries", "stat", "table"]


@frozen(kw_only=True)
class DashboardPanel:
    """A panel."""

    title: str
    series: ExportedSeries
    """The series that gives the description and the unit."""
    queries: tuple[tuple[str, str], ...]
    """Each query with the legend of its results."""
    view: PanelView = "timeseries"
    unit: str = ""
    """Grafana's unit; empty for the unit of the series."""
    width: int = 12
    height: int = 8
    names: tuple[str, ...] = ()
    """The words for the values 0, 1, 2 and so on; without them the values are numbers."""


@frozen(kw_only=True)
class DashboardVariable:
    """A variable that the viewer chooses from the values of a label."""

    name: str
    series: ExportedSeries
    label: str
    match: str = ""
    """The conditions on labels of the series."""
    has_all: bool = False
    """Whether the viewer may choose all values at once."""


@frozen(kw_only=True)
class Dashboard:
    """A dashboard."""

    name: str
    """The end of its uid, and the name of its file."""
    title: str
    variables: tuple[DashboardVariable, ...] = ()
    panels: tuple[DashboardPanel, ...]


def _stat(title: str, series: ExportedSeries, query: str, legend: str = "", **options: Any) -> DashboardPanel:
    options = {"width": 4, "height": 4} | options
    return DashboardPanel(title=title, series=series, queries=((query, legend),), view="stat", **options)


def _graph(title: str, series: ExportedSeries, *queries: tuple[str, str], **options: Any) -> DashboardPanel:
    return DashboardPanel(title=title, series=series, queries=queries, **options)


def _table(title: str, series: ExportedSeries, query: str, **options: Any) -> DashboardPanel:
    return DashboardPanel(title=title, series=series, queries=((query, ""),), view="table", **options)


_NAMED = "{{namespace}}/{{name}}"
_STATES = ("running", "successful", "failed")


def _top(query: str) -> str:
    """Return the ten greatest results of a query."""
    return f"topk(10, {query})"


FLEET = Dashboard(
    name="fleet",
    title="canarycore: all Canaries",
    panels=(
        _stat("Canaries", TOTAL, f"sum(max by (namespace) ({TOTAL}))"),
        _stat("Rollouts under way", STATUS, f"sum({STATUS} == bool 0)"),
        _stat("Last rollout failed", STATUS, f"sum({STATUS} == bool 2)"),
        _stat("In trouble", BLOCKED, f"sum({BLOCKED}) or vector(0)"),
        _stat("Replicas that lead", LEADER, f"sum({LEADER})"),
        _stat("Alerts lost", LOST_ALERTS, f"sum({LOST_ALERTS}) or vector(0)"),
        _graph("Canaries by phase", PHASE, (total(PHASE, "phase"), "{{phase}}")),
        _graph("Canaries in trouble by reason", BLOCKED, (total(BLOCKED, "reason"), "{{reason}}")),
        _table("Canaries in trouble", BLOCKED, total(BLOCKED, "namespace", "name", "reason")),
        _table("Rollbacks by reason and check", ROLLBACKS, total(ROLLBACKS, "namespace", "name", "reason", "check")),
        _graph(
            "Rollouts that ended",
            ROLLOUT_TIME,
            (increase(ROLLOUT_TIME, WINDOW, "outcome", suffix="_count"), "{{outcome}}"),
            unit="short",
        ),
        _graph(
            "Duration of a rollout",
            ROLLOUT_TIME,
            (quantile(0.5, ROLLOUT_TIME, RANGE, "outcome"), "{{outcome}}: median"),
            (quantile(0.9, ROLLOUT_TIME, RANGE, "outcome"), "{{outcome}}: 90 %"),
        ),
        _table("Successful rollouts", SUCCESSES, total(SUCCESSES, "deployment_strategy", "analysis_status")),
        _table("Failed rollouts", FAILURES, total(FAILURES, "deployment_strategy", "analysis_status")),
        _graph(
            "Missed intervals, the most",
            MISSED,
            (_top(increase(MISSED, WINDOW, "namespace", "name")), _NAMED),
        ),
        _graph(
            "Cycles with errors, the most",
            TROUBLES,
            (_top(increase(TROUBLES, WINDOW, "namespace", "name")), _NAMED),
        ),
    ),
)

_CANARY = 'namespace="$namespace", name="$canary"'
_TARGET = 'namespace="$namespace", name="$target"'

CANARY = Dashboard(
    name="canary",
    title="canarycore: one Canary",
    variables=(
        DashboardVariable(name="namespace", series=PHASE, label="namespace"),
        DashboardVariable(name="canary", series=PHASE, label="name", match='namespace="$namespace"'),
        DashboardVariable(name="target", series=PHASE, label="target", match=_CANARY),
    ),
    panels=(
        _stat("Phase", PHASE, select(PHASE, _CANARY), "{{phase}}", width=6),
        _stat("Last rollout", STATUS, select(STATUS, _TARGET), names=_STATES, width=6),
        _stat("Trouble", BLOCKED, select(BLOCKED, _CANARY), "{{reason}}", width=6),
        _stat("Alerts lost", LOST_ALERTS, f"{select(LOST_ALERTS, _CANARY)} or vector(0)", width=6),
        _graph(
            "Weight",
            WEIGHT,
            (select(WEIGHT, 'namespace="$namespace", workload=~"${target}(-primary)?"'), "{{workload}}"),
        ),
        _graph("Checks", ANALYSIS, (select(ANALYSIS, _TARGET), "{{metric}}")),
        _table("Rollbacks by reason and check", ROLLBACKS, total(ROLLBACKS, "reason", "check", match=_CANARY)),
        _graph(
            "Duration of a rollout",
            DURATION,
            (quantile(0.5, DURATION, RANGE, match=_TARGET), "median"),
            (quantile(0.9, DURATION, RANGE, match=_TARGET), "90 %"),
        ),
        _graph(
            "Rollouts",
            SUCCESSES,
            (total(SUCCESSES, "analysis_status", match=_TARGET), "successful, analysis {{analysis_status}}"),
            (total(FAILURES, "analysis_status", match=_TARGET), "failed, analysis {{analysis_status}}"),
        ),
        _graph(
            "Missed intervals and cycles with errors",
            MISSED,
            (increase(MISSED, WINDOW, match=_CANARY), "missed intervals"),
            (increase(TROUBLES, WINDOW, match=_CANARY), "cycles with errors"),
        ),
    ),
)

_JOB = 'job=~"$job"'
_PROVIDER = "{{port}} {{provider}}"

CONTROLLER = Dashboard(
    name="controller",
    title="canarycore: the controller",
    variables=(DashboardVariable(name="job", series=LEADER, label="job", has_all=True),),
    panels=(
        _graph("Leader", LEADER, (select(LEADER, _JOB), "{{instance}}")),
        _table("Versions", INFO, f"max by (instance, version, mesh_provider) ({select(INFO, _JOB)})", width=6),
        _table("Python", PYTHON, f"max by (instance, version) ({select(PYTHON, _JOB)})", width=6),
        _graph(
            "Lateness of cycles",
            LATE,
            (quantile(0.5, LATE, WINDOW, match=_JOB), "median"),
            (quantile(0.99, LATE, WINDOW, match=_JOB), "99 %"),
        ),
        _graph("Cycles", LATE, (per_second(LATE, WINDOW, match=_JOB, suffix="_count"), "cycles"), unit="ops"),
        _graph(
            "Requests to the API server",
            API_TIME,
            (per_second(API_TIME, WINDOW, "verb", "resource", match=_JOB, suffix="_count"), "{{verb}} {{resource}}"),
            unit="reqps",
        ),
        _graph(
            "Time of requests to the API server, 99 %",
            API_TIME,
            (quantile(0.99, API_TIME, WINDOW, "verb", "resource", match=_JOB), "{{verb}} {{resource}}"),
        ),
        _graph(
            "Errors of the API server",
            API_ERRORS,
            (
                per_second(API_ERRORS, WINDOW, "verb", "resource", "status", match=_JOB),
                "{{verb}} {{resource}}: {{status}}",
            ),
            unit="reqps",
        ),
        _graph(
            "Calls of providers",
            PROVIDER_TIME,
            (
                per_second(PROVIDER_TIME, WINDOW, "port", "provider", match=_JOB, suffix="_count"),
                "{{port}} {{provider}}",
            ),
            unit="reqps",
        ),
        _graph(
            "Time of calls of providers, 99 %",
            PROVIDER_TIME,
            (quantile(0.99, PROVIDER_TIME, WINDOW, "port", "provider", match=_JOB), _PROVIDER),
        ),
        _graph(
            "Errors of providers",
            PROVIDER_ERRORS,
            (per_second(PROVIDER_ERRORS, WINDOW, "port", "provider", match=_JOB), _PROVIDER),
            unit="reqps",
        ),
        _graph("CPU", CPU, (per_second(CPU, WINDOW, "instance", match=_JOB), "{{instance}}"), unit="percentunit"),
        _graph(
            "Memory",
            MEMORY,
            (select(MEMORY, _JOB), "{{instance}}: resident"),
            (select(VIRTUAL, _JOB), "{{instance}}: virtual"),
        ),
        _graph(
            "Open files",
            OPEN_FILES,
            (select(OPEN_FILES, _JOB), "{{instance}}"),
            (select(MOST_FILES, _JOB), "{{instance}}: limit"),
        ),
        _graph(
            "Garbage collector",
            COLLECTIONS,
            (per_second(COLLECTIONS, WINDOW, "generation", match=_JOB), "runs of generation {{generation}}"),
            (per_second(COLLECTED, WINDOW, "generation", match=_JOB), "objects of generation {{generation}}"),
            unit="ops",
        ),
        _stat("Uncollectable objects", UNCOLLECTABLE, f"sum({select(UNCOLLECTABLE, _JOB)})", width=6),
        _stat("Beginning", BEGINNING, f"1000 * {select(BEGINNING, _JOB)}", "{{instance}}", width=6),
    ),
)

DASHBOARDS = (FLEET, CANARY, CONTROLLER)
"""All dashboards."""


def dashboards() -> dict[str, Json]:
    """Return the JSON model of each dashboard by its name."""
    return {dashboard.name: _model(dashboard) for dashboard in DASHBOARDS}


def _model(dashboard: Dashboard) -> Json:
    return {
        "uid": f"canarycore-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["canarycore"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_SOURCE, *map(_variable, dashboard.variables)]},
        "links": [
            {
                "type": "dashboards",
                "title": "canarycore",
                "tags": ["canarycore"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": list(_panels(dashboard)),
    }


_DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(variable: DashboardVariable) -> Json:
    query = f"label_values({select(variable.series, variable.match)}, {variable.label})"
    return {
        "name": variable.name,
        "type": "query",
        "datasource": _DATA_SOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "includeAll": variable.has_all,
        **({"allValue": ".*", "current": {"text": "All", "value": "$__all"}} if variable.has_all else {}),
    }


def _panels(dashboard: Dashboard) -> Iterator[Json]:
    """Yield the panels, placed from left to right and from top to bottom."""
    left, top, row_height = 0, 0, 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if left + panel.width > COLUMNS:
            left, top, row_height = 0, top + row_height, 0
        yield {
            "id": number,
            "type": panel.view,
            "title": panel.title,
            "description": panel.series.text,
            "datasource": _DATA_SOURCE,
            "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
            "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
            "options": _options(panel),
            "targets": [_target(panel, *query, place) for place, query in enumerate(panel.queries)],
            **({"transformations": [_WITHOUT_TIME]} if panel.view == "table" else {}),
        }
        left, row_height = left + panel.width, max(row_height, panel.height)


def _defaults(panel: DashboardPanel) -> Json:
    names = {str(value): {"text": name} for value, name in enumerate(panel.names)}
    return {
        "unit": panel.unit or UNITS[panel.series.unit],
        "noValue": "none",
        **({"mappings": [{"type": "value", "options": names}]} if names else {}),
    }


def _options(panel: DashboardPanel) -> Json:
    """Return the options of a view. A series that is 0 or 1 shows its labels and not its value."""
    if panel.view == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if panel.view == "table":
        return {"showHeader": True}
    legend = panel.queries[0][1]
    text = "value" if not legend else "name" if panel.series.unit is SeriesUnit.SWITCH else "value_and_name"
    return {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": text, "colorMode": "none"}


_WITHOUT_TIME = {"id": "organize", "options": {"excludeByName": {"Time": True}}}


def _target(panel: DashboardPanel, query: str, legend: str, place: int) -> Json:
    is_instant = panel.view == "table"
    return {
        "refId": "ABCDEFGH"[place],
        "datasource": _DATA_SOURCE,
        "expr": query,
        "legendFormat": legend,
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if is_instant else "time_series",
    }
