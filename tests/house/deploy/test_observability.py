"""The chart and the kustomize components bring the dashboards and the alert rules that the library generates."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from canarycore_kubernetes.deploy.alert_rules import rule_groups
from canarycore_kubernetes.deploy.dashboards import dashboards
from tests.house.deploy.test_controller import DEPLOY, kustomized, output, read, template

pytestmark = pytest.mark.timeout(1500)  # the first test builds helm

LABEL = "grafana_dashboard"


def rendered(*values: str) -> list[Any]:
    """Return the objects of the chart that observe the controller."""
    settings = [part for value in values for part in ("--set", value)]
    kinds = ("PrometheusRule", "ServiceMonitor", "PodMonitor", "ConfigMap")
    return [body for body in read(output(*template(), *settings)) if body["kind"] in kinds]


def composed(component: str, kind: str, folder: Path) -> list[Any]:
    """Return the objects of a kind in an overlay of the base with a component."""
    base = Path(os.path.relpath(DEPLOY / "kustomize", folder))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "elsewhere",
        "resources": [str(base)],
        "components": [str(base / component)],
    }
    YAML().dump(overlay, folder / "kustomization.yaml")
    return [body for body in kustomized(folder) if body["kind"] == kind]


def models(config_map: Any) -> dict[str, Any]:
    return {name.removesuffix(".json"): json.loads(text) for name, text in config_map["data"].items()}


def test_the_chart_brings_neither_dashboards_nor_rules_unless_it_is_asked_to():
    assert rendered() == []


def test_the_chart_provisions_the_dashboards():
    (config_map,) = rendered("dashboards.enabled=true", "dashboards.annotations.grafana_folder=canary")
    assert config_map["metadata"]["labels"][LABEL] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "canary"}
    assert models(config_map) == dashboards()


def test_the_chart_brings_the_rules():
    (rule,) = rendered(
        "prometheusRule.enabled=true", "prometheusRule.namespace=monitoring", "prometheusRule.labels.release=prom"
    )
    assert rule["spec"] == rule_groups()
    assert rule["metadata"]["namespace"] == "monitoring"
    assert rule["metadata"]["labels"]["release"] == "prom"


@pytest.mark.parametrize("part", ["dashboards", "prometheusRule"])
@pytest.mark.parametrize(
    ("monitor", "endpoints"), [("serviceMonitor", "endpoints"), ("podMonitor", "podMetricsEndpoints")]
)
def test_monitors_keep_the_namespace_of_a_canary_for_dashboards_and_rules(part: str, monitor: str, endpoints: str):
    plain, kept = (
        next(body for body in rendered(f"{monitor}.enabled=true", *values) if body["kind"].endswith("Monitor"))
        for values in ((), (f"{part}.enabled=true",))
    )
    assert "honorLabels" not in plain["spec"][endpoints][0]
    assert kept["spec"][endpoints][0]["honorLabels"] is True


def test_a_component_provisions_the_dashboards(tmp_path: Path):
    (config_map,) = composed("dashboards", "ConfigMap", tmp_path)
    assert config_map["metadata"]["labels"][LABEL] == "1"
    assert config_map["metadata"]["namespace"] == "elsewhere"
    assert models(config_map) == dashboards()


def test_a_component_brings_the_rules(tmp_path: Path):
    (rule,) = composed("alerts", "PrometheusRule", tmp_path)
    assert rule["spec"] == rule_groups()
    assert rule["metadata"]["namespace"] == "elsewhere"


def test_the_plain_rules_file_has_the_same_rules():
    assert read((DEPLOY / "prometheus" / "alerts.yaml").read_text()) == [rule_groups()]
