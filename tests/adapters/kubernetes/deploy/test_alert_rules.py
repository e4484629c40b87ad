"""The alert rules: Prometheus loads them, each fires in its case and not in a healthy one, and each has a runbook."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

from canarycore_kubernetes.deploy.alert_rules import ALERT_RULES, rule_groups
from canarycore_kubernetes.telemetry.series import SERIES
from tests.adapters.kubernetes.deploy.prometheus import find_program

ROOT = Path(__file__).parents[4]
RUNBOOKS = ROOT / "docs" / "runbooks.md"


@frozen
class AlertCase:
    """Series in promtool's notation, one value a minute, and the alert that they cause."""

    series: dict[str, str]
    at: str
    labels: dict[str, str]
    summary: str
    healthy: dict[str, str]
    """Series that cause no alert at the same time."""


JOB = {"job": "c"}
PODINFO = {"namespace": "test", "name": "podinfo"}


def leaders(one, other):
    return {'canarycore_leader{job="c",instance="a"}': one, 'canarycore_leader{job="c",instance="b"}': other}


def buckets(name, labels="", **counts):
    bounds = {"one": "1", "more": "2.5", "all": "+Inf"}
    return {f'{name}_bucket{{job="c",{labels}le="{bounds[bound]}"}}': values for bound, values in counts.items()}


def calls(failed):
    labels = '{job="c",port="metrics",provider="datadog"}'
    return {
        f"canarycore_provider_errors_total{labels}": failed,
        f"canarycore_provider_request_seconds_count{labels}": "0+60x60",
    }


def files(number):
    instance = '{job="c",instance="a"}'
    return {
        f"process_open_fds{instance}": f"{number}x60",
        f"process_max_fds{instance}": "1000x60",
        f"canarycore_leader{instance}": "0x60",
    }


def ended(failed, succeeded):
    name = 'canarycore_rollout_seconds_count{job="c",deployment_strategy="canary",outcome='
    return {f'{name}"failed"}}': failed, f'{name}"succeeded"}}': succeeded}


ROLLBACKS = 'canarycore_rollbacks_total{namespace="test",name="podinfo",reason="FailedChecks",check="errors"}'
LOST = 'canarycore_alerts_given_up_total{namespace="test",name="podinfo"}'
API_ERRORS = 'canarycore_api_errors_total{{job="c",verb="get",resource="secrets",status="{}"}}'
BLOCKED = 'canarycore_blocked{job="c",namespace="test",name="podinfo",reason="Forbidden"}'
STATUS = 'flagger_canary_status{job="c",namespace="test",name="podinfo"}'
LATE, API_TIME = "canarycore_late_seconds", "canarycore_api_request_seconds"

CASES = {
    "CanarycoreAbsent": AlertCase(
        {},
        "6m",
        {},
        "Prometheus scrapes no controller: no rollout advances, or nobody sees it.",
        leaders("1x60", "0x60"),
    ),
    "CanarycoreNoLeader": AlertCase(
        leaders("0x60", "0x60"), "3m", JOB, "No replica of c leads: all rollouts stand still.", leaders("0x60", "1x60")
    ),
    "CanarycoreTwoLeaders": AlertCase(
        leaders("1x60", "1x60"), "3m", JOB, "2 replicas of c lead at the same time.", leaders("0x60", "1x60")
    ),
    "CanarycoreLate": AlertCase(
        buckets(LATE, one="0x60", more="0+60x60", all="0+60x60"),
        "20m",
        JOB,
        "Cycles of c begin 2.485s late: it is overloaded.",
        buckets(LATE, one="0+60x60", more="0+60x60", all="0+60x60"),
    ),
    "CanarycoreApiErrors": AlertCase(
        {API_ERRORS.format(403): "0+60x60"},
        "20m",
        JOB | {"verb": "get", "resource": "secrets", "status": "403"},
        "The API server answers get secrets with 403.",
        {API_ERRORS.format(404): "0+60x60", API_ERRORS.format(503): "0+1x60"},
    ),
    "CanarycoreApiSlow": AlertCase(
        buckets(API_TIME, 'verb="get",', one="0x60", more="0+60x60", all="0+60x60"),
        "20m",
        JOB,
        "A tenth of the requests to the API server take more than 2.35s.",
        buckets(API_TIME, 'verb="get",', one="0+60x60", more="0+60x60", all="0+60x60"),
    ),
    "CanarycoreProviderErrors": AlertCase(
        calls("0+60x60"),
        "30m",
        JOB | {"port": "metrics", "provider": "datadog"},
        "100% of the calls of datadog (metrics) fail.",
        calls("0+6x60"),
    ),
    "CanarycoreFiles": AlertCase(
        files(900), "12m", JOB | {"instance": "a"}, "a uses 90% of its open files.", files(500)
    ),
    "CanarycoreBlocked": AlertCase(
        {BLOCKED: "1x60"},
        "6m",
        PODINFO | {"reason": "Forbidden"},
        "Canary test/podinfo is in trouble: Forbidden.",
        {BLOCKED: "1x2 stale"},
    ),
    "CanarycoreRolledBack": AlertCase(
        {ROLLBACKS: "_x19 1x60"},
        "21m",
        PODINFO | {"reason": "FailedChecks", "check": "errors"},
        "Canary test/podinfo rolled back: FailedChecks errors.",
        {ROLLBACKS: "1x60"},
    ),
    "CanarycoreManyRollbacks": AlertCase(
        ended("0+1x90", "0x90"),
        "60m",
        JOB,
        "60 rollouts failed within an hour, more than succeeded.",
        ended("0+1x90", "0+2x90"),
    ),
    "CanarycoreLongRollout": AlertCase(
        {STATUS: "0x1600"},
        "25h",
        PODINFO,
        "The rollout of test/podinfo has been under way for a day.",
        {STATUS: "0x700 1x1 0x900"},
    ),
    "CanarycoreAlertLost": AlertCase(
        {LOST: "_x69 1x60"},
        "71m",
        PODINFO,
        "A chat did not accept an alert of Canary test/podinfo.",
        {LOST: "1x130"},
    ),
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(json.dumps(rule_groups()))  # JSON is YAML
    return path


def run_promtool(*arguments):
    done = subprocess.run([find_program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def assert_alerts(rules, name, series, at, expected):
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": expected}],
    }
    path = rules.with_name(f"{name}.yaml")
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    run_promtool("test", "rules", str(path))


@pytest.mark.e2e
def test_prometheus_accepts_the_rules(rules):
    run_promtool("check", "rules", str(rules))


def test_each_rule_has_a_case():
    assert CASES.keys() == {rule.name for rule in ALERT_RULES}


@pytest.mark.e2e
@pytest.mark.parametrize("rule", ALERT_RULES, ids=lambda rule: rule.name)
def test_a_rule_fires_in_its_case(rules, rule):
    case = CASES[rule.name]
    alert = {
        "exp_labels": case.labels | {"severity": rule.severity},
        "exp_annotations": {"summary": case.summary, "runbook_url": rule.runbook},
    }
    assert_alerts(rules, rule.name, case.series, case.at, [alert])


@pytest.mark.e2e
@pytest.mark.parametrize("rule", ALERT_RULES, ids=lambda rule: rule.name)
def test_a_rule_is_silent_in_a_healthy_case(rules, rule):
    case = CASES[rule.name]
    assert_alerts(rules, rule.name, case.healthy, case.at, [])


@pytest.mark.e2e
def test_a_second_rollback_fires_too(rules):
    case = CASES["CanarycoreRolledBack"]
    alert = {
        "exp_labels": case.labels | {"severity": "warning"},
        "exp_annotations": {"summary": case.summary, "runbook_url": "docs/runbooks.md#canarycorerolledback"},
    }
    assert_alerts(rules, "CanarycoreRolledBack", {ROLLBACKS: "1x39 2x60"}, "41m", [alert])


def test_a_rule_names_only_exported_series():
    names = {series.name for series in SERIES}
    used = re.findall(r"\b(?:canarycore|flagger|process|python)_\w+", json.dumps([rule.query for rule in ALERT_RULES]))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used} <= names


def test_each_rule_has_a_section_of_the_runbook():
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sections == [rule.name for rule in ALERT_RULES]
    assert {rule.runbook for rule in ALERT_RULES} == {f"docs/runbooks.md#{name.lower()}" for name in sections}
