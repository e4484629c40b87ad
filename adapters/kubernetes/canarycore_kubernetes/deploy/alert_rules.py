"""The alert rules for Prometheus, from the exporter's table.

    rule_groups()     # the content of a rules file, and the spec of a PrometheusRule

Each rule has a section of its name in docs/runbooks.md. `promtool` tests each rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

from canarycore_kubernetes.deploy.queries import has_increased, increase, per_second, quantile, select
from canarycore_kubernetes.telemetry.series import (
    API_ERRORS,
    API_TIME,
    BLOCKED,
    LATE,
    LEADER,
    LOST_ALERTS,
    MOST_FILES,
    OPEN_FILES,
    PROVIDER_ERRORS,
    PROVIDER_TIME,
    ROLLBACKS,
    ROLLOUT_TIME,
    STATUS,
)

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json

RUNBOOKS = "docs/runbooks.md"
"""The page with a section for each rule."""

EXPECTED_STATUSES = "404|409|410"
"""HTTP statuses with which the API server answers a healthy controller: absent objects, conflicts, old versions."""

MOST_ROLLBACKS = 5
"""Rollbacks of a fleet within an hour that are more than chance."""


@frozen(kw_only=True)
class AlertRule:
    """An alert rule."""

    name: str
    query: str
    """The alert exists for each result of this query."""
    wait: str
    """How long a result must stay before the alert fires (`for`)."""
    severity: Literal["info", "warning", "critical"]
    summary: str
    """One line for the receiver; it may have templates of Prometheus."""

    @property
    def runbook(self) -> str:
        """The section of the runbook, relative to the root of the repository."""
        return f"{RUNBOOKS}#{self.name.lower()}"

    @property
    def body(self) -> Json:
        """The rule in the form of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.query,
            **({"for": self.wait} if self.wait else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": self.runbook},
        }


_CANARY = "{{ $labels.namespace }}/{{ $labels.name }}"
_PROVIDERS = 'port!="hooks"'  # a hook that does not pass may be a closed gate
_CALLS = per_second(PROVIDER_TIME, "10m", "job", "port", "provider", match=_PROVIDERS, suffix="_count")
_FAILED_CALLS = per_second(PROVIDER_ERRORS, "10m", "job", "port", "provider", match=_PROVIDERS)

CONTROLLER_RULES = (
    AlertRule(
        name="CanarycoreAbsent",
        query=f"absent({LEADER})",
        wait="5m",
        severity="critical",
        summary="Prometheus scrapes no controller: no rollout advances, or nobody sees it.",
    ),
    AlertRule(
        name="CanarycoreNoLeader",
        query=f"sum by (job) ({LEADER}) == 0",
        wait="2m",
        severity="critical",
        summary="No replica of {{ $labels.job }} leads: all rollouts stand still.",
    ),
    AlertRule(
        name="CanarycoreTwoLeaders",
        query=f"sum by (job) ({LEADER}) > 1",
        wait="2m",
        severity="critical",
        summary="{{ $value }} replicas of {{ $labels.job }} lead at the same time.",
    ),
    AlertRule(
        name="CanarycoreLate",
        query=f"{quantile(0.99, LATE, '5m', 'job')} > 1",
        wait="10m",
        severity="warning",
        summary="Cycles of {{ $labels.job }} begin {{ $value | humanizeDuration }} late: it is overloaded.",
    ),
    AlertRule(
        name="CanarycoreApiErrors",
        query=per_second(API_ERRORS, "5m", "job", "verb", "resource", "status", match=f'status!~"{EXPECTED_STATUSES}"')
        + " > 0.05",
        wait="10m",
        severity="warning",
        summary="The API server answers {{ $labels.verb }} {{ $labels.resource }} with {{ $labels.status }}.",
    ),
    AlertRule(
        name="CanarycoreApiSlow",
        query=f"{quantile(0.9, API_TIME, '5m', 'job')} > 1",
        wait="10m",
        severity="warning",
        summary="A tenth of the requests to the API server take more than {{ $value | humanizeDuration }}.",
    ),
    AlertRule(
        name="CanarycoreProviderErrors",
        query=f"{_FAILED_CALLS} / {_CALLS} > 0.5",
        wait="10m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.provider }} ({{ $labels.port }}) fail.",
    ),
    AlertRule(
        name="CanarycoreFiles",
        query=f"{OPEN_FILES} / {MOST_FILES} > 0.8 and on (job, instance) {LEADER}",
        wait="10m",
        severity="warning",
        summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its open files.",
    ),
)
"""The rules for the operator of the controller."""

ROLLOUT_RULES = (
    AlertRule(
        name="CanarycoreBlocked",
        query=f"max by (namespace, name, reason) ({BLOCKED}) == 1",
        wait="5m",
        severity="warning",
        summary=f"Canary {_CANARY} is in trouble: {{{{ $labels.reason }}}}.",
    ),
    AlertRule(
        name="CanarycoreRolledBack",
        query=has_increased(ROLLBACKS, "15m"),
        wait="",
        severity="warning",
        summary=f"Canary {_CANARY} rolled back: {{{{ $labels.reason }}}} {{{{ $labels.check }}}}.",
    ),
    AlertRule(
        name="CanarycoreManyRollbacks",
        query=increase(ROLLOUT_TIME, "1h", "job", match='outcome="failed"', suffix="_count")
        + f" >= {MOST_ROLLBACKS} and "
        + increase(ROLLOUT_TIME, "1h", "job", match='outcome="failed"', suffix="_count")
        + " > "
        + increase(ROLLOUT_TIME, "1h", "job", match='outcome="succeeded"', suffix="_count"),
        wait="",
        severity="critical",
        summary="{{ $value | humanize }} rollouts failed within an hour, more than succeeded.",
    ),
    AlertRule(
        name="CanarycoreLongRollout",
        query=f"max by (namespace, name) ({select(STATUS)}) == 0",
        wait="24h",
        severity="info",
        summary=f"The rollout of {_CANARY} has been under way for a day.",
    ),
    AlertRule(
        name="CanarycoreAlertLost",
        query=has_increased(LOST_ALERTS, "1h"),
        wait="",
        severity="warning",
        summary=f"A chat did not accept an alert of Canary {_CANARY}.",
    ),
)
"""The rules for owners of Canaries."""

ALERT_RULES = (*CONTROLLER_RULES, *ROLLOUT_RULES)
"""All rules, in the order of the runbook."""


def rule_groups() -> Json:
    """Return the groups of all rules: the content of a rules file, and the spec of a PrometheusRule."""
    groups = {"canarycore-controller": CONTROLLER_RULES, "canarycore-rollouts": ROLLOUT_RULES}
    return {"groups": [{"name": name, "rules": [rule.body for rule in rules]} for name, rules in groups.items()]}


def alert_table() -> str:
    """Return the table of all rules in Markdown."""
    rows = [
        f"| [{rule.name}](#{rule.name.lower()}) | {rule.severity} | {_cell(rule.query)} | {rule.wait} |"
        for rule in ALERT_RULES
    ]
    return "\n".join(["", "| Alert | Severity | Query | For |", "| --- | --- | --- | --- |", *rows, "", ""])


def _cell(query: str) -> str:
    return "`" + query.replace("|", "\\|") + "`"
