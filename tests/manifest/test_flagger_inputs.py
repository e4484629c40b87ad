"""Inputs that Flagger's Canary definition admits: each one runs, or a row of docs/differences.md gives the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from canarycore.errors import ManifestError
from canarycore.manifest import check_files, parse, resolve
from canarycore.manifest._parse import concerns_us
from tests.controlplane.crds import definitions
from tests.manifest.test_parse import canary, put

DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"
ANALYSIS, METRIC, HOOK, SERVICE = (
    "spec.analysis",
    "spec.analysis.metrics[0]",
    "spec.analysis.webhooks[0]",
    "spec.service",
)

RUNS = [
    *((f"{ANALYSIS}.interval", text) for text in ("1min", "0s", "0m", "5m30", "1s foo", "3ms", "90s")),
    *((f"{SERVICE}.timeout", text) for text in ("0s", "0", "infinity", "infinite", "1 minute", "-5s", "15", "")),
    (f"{SERVICE}.backendTimeout", "0s"),
    *((f"{SERVICE}.retries", {"attempts": 2, "perTryTimeout": text}) for text in ("0s", "infinity", "soon")),
    *((f"{SERVICE}.retries", {"attempts": number}) for number in (0, -1)),
    *((f"{SERVICE}.corsPolicy", {"maxAge": text}) for text in ("0s", "much", "24h")),
    *((f"metadata.{part}", value) for part in ("labels", "annotations") for value in (None, {}, {"team": None})),
    *((f"{HOOK}.metadata", value) for value in (None, {}, {"cmd": None})),
    *((f"{METRIC}.{part}", None) for part in ("interval", "thresholdRange", "query", "templateVariables")),
    (f"{METRIC}.templateVariables", {"a": None}),
    *((f"{HOOK}.timeout", text) for text in ("", "5m")),
    *((f"{SERVICE}.{part}", {"labels": {"a": None}, "annotations": None}) for part in ("apex", "primary", "canary")),
    (f"{SERVICE}.headers", {"request": {"add": {"x-a": None}}, "response": None}),
    *((f"{ANALYSIS}.threshold", number) for number in (-1, 0)),
    *((f"{ANALYSIS}.{part}", None) for part in ("stepWeights", "mirror", "alerts", "match", "sessionAffinity")),
    *((f"{ANALYSIS}.{part}", []) for part in ("metrics", "webhooks", "alerts", "match")),
    *((f"spec.{part}", None) for part in ("skipAnalysis", "progressDeadlineSeconds", "autoscalerRef", "provider")),
    ("spec.progressDeadlineSeconds", 0),
]
"""Fields with a value, null meaning one that the API server leaves out."""

REFUSED = [
    *((f"{METRIC}.interval", text, "D94") for text in ("1min", "0s", "5m30")),
    *((f"{HOOK}.timeout", text, "D94") for text in ("1min", "0s")),
    *((f"{ANALYSIS}.{part}", -1, "D95") for part in ("iterations", "stepWeight", "maxWeight", "mirrorWeight")),
    *(
        (f"{ANALYSIS}.{part}", 101, "D95")
        for part in ("stepWeight", "maxWeight", "mirrorWeight", "canaryReadyThreshold")
    ),
    (f"{ANALYSIS}.stepWeights", [0, 50], "D95"),
    (f"{ANALYSIS}.stepWeights", [50, 20], "D32"),
    (f"{ANALYSIS}.iterations", 2.5, "D95"),
    (f"{SERVICE}.port", 0, "D95"),
    (f"{SERVICE}.name", "Pod_Info", "D95"),
    (f"{SERVICE}.mirror", [{}], "D95"),
    (f"{METRIC}.name", "", "D95"),
    (f"{HOOK}.url", "", "D95"),
    ("spec.progressDeadlineSeconds", -1, "D95"),
    (f"{ANALYSIS}.match", [{"queryParams": {"q": {}}}], "D96"),
]


def with_value(path, value):
    document = canary(
        analysis={
            "metrics": [{"name": "errors", "query": "up", "interval": "1m", "thresholdRange": {"max": 1}}],
            "webhooks": [{"name": "load", "url": "http://loadtester/", "metadata": {"cmd": "hey"}}],
        }
    )
    put(document, path, value)
    return document


@pytest.mark.parametrize(("path", "value"), RUNS)
def test_an_input_that_flagger_runs_runs(path, value):
    assert resolve(parse(with_value(path, value))).interval >= 10


@pytest.mark.parametrize(("path", "value", "row"), REFUSED)
def test_an_input_that_is_refused_has_a_row(path, value, row):
    with pytest.raises(ManifestError) as refusal:
        parse(with_value(path, value))
    assert any(problem.path.startswith(path) for problem in refusal.value.problems)
    assert f"| {row} |" in DIFFERENCES.read_text()


@pytest.mark.parametrize(("text", "seconds"), [("1min", 60), ("0s", 10), ("5m30", 60), ("3ms", 10), ("90s", 90)])
def test_an_interval_counts_as_in_flagger(text, seconds):
    found = parse(with_value(f"{ANALYSIS}.interval", text))
    assert resolve(found).interval == seconds
    assert [problem.path for problem in found.warnings] == ([f"{ANALYSIS}.interval"] if seconds == 60 else [])


def test_the_linter_names_an_interval_that_counts_as_the_default():
    text = json.dumps(with_value(f"{ANALYSIS}.interval", "1min"))
    problems = [problem for problem in check_files([("a.yaml", text)]).problems if "interval" in problem.path]
    assert [(problem.path, problem.severity, problem.rule) for problem in problems] == [
        (f"{ANALYSIS}.interval", "warning", "duration")
    ]


@pytest.mark.parametrize(
    ("version", "is_ours"),
    [
        *(("flagger.app/v1beta1", True), ("flagger.app/v1alpha3", True), ("flager.app/v1beta1", True), ("v1", True)),
        *((None, True), ("canaries.example.com/v1", False), ("canaries.flanksource.com/v1", False)),
    ],
)
def test_a_canary_of_another_api_group_is_foreign(version, is_ours):
    assert concerns_us({"apiVersion": version, "kind": "Canary"}) == is_ours


def test_each_enumeration_has_flaggers_choices():
    (definition,) = (body for body in definitions("flagger") if body["spec"]["names"]["kind"] == "Canary")
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    hooks = spec["analysis"]["properties"]["webhooks"]["items"]["properties"]["type"]["enum"]
    alerts = spec["analysis"]["properties"]["alerts"]["items"]["properties"]["severity"]["enum"]
    spread = spec["service"]["properties"]["trafficDistribution"]["enum"]
    for path, choices in ((f"{HOOK}.type", hooks), (f"{SERVICE}.trafficDistribution", spread)):
        for choice in choices:
            resolve(parse(with_value(path, choice)))
    for choice in alerts:
        alert = [{"name": "a", "severity": choice, "providerRef": {"name": "chat"}}]
        resolve(parse(with_value(f"{ANALYSIS}.alerts", alert)))
