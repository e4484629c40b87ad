"""Samples for the manifest tests: a small Canary to change, and the shared folders beside the repository."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
EXAMPLES = ROOT / "examples" / "manifests"

BASE = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "podinfo", "namespace": "test"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 9898},
        "analysis": {
            "interval": "1m",
            "threshold": 5,
            "stepWeight": 10,
            "maxWeight": 50,
            "metrics": [{"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}],
        },
    },
}
"""A Canary without problems, for the linter too."""

AB = {"stepWeight": None, "maxWeight": None, "iterations": 10, "match": [{"headers": {"x-canary": {"exact": "yes"}}}]}
BLUE_GREEN = {"stepWeight": None, "maxWeight": None, "iterations": 10}


def canary(*, analysis: Mapping | None = None, **spec) -> dict:
    """Return BASE with some fields of spec and spec.analysis replaced."""
    made = copy.deepcopy(BASE)
    made["spec"]["analysis"] |= analysis or {}
    made["spec"] |= spec
    return made


def metric(**fields) -> dict:
    """Return an analysis with one changed metric."""
    return {"metrics": [{"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}} | fields]}


def template(name: str = "errors", query: str = "up[{{ interval }}]", **provider) -> dict:
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {"provider": {"type": "prometheus", "address": "http://prometheus:9090"} | provider, "query": query},
    }


def alert_provider(**spec) -> dict:
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "AlertProvider",
        "metadata": {"name": "on-call", "namespace": "test"},
        "spec": {"type": "slack", "channel": "on-call", "secretRef": {"name": "slack"}} | spec,
    }


def annotated(document: dict, **annotations: str) -> dict:
    """Return a document with annotations below `canarycore/`, with `__` for a dot in their names."""
    texts = {f"canarycore/{name.replace('__', '.')}": text for name, text in annotations.items()}
    return {**document, "metadata": {**document["metadata"], "annotations": texts}}


def shared(folder: str) -> Path:
    """Return a folder of ../shared. Without it, skip the test with the reason; in CI, fail."""
    path = SHARED / folder
    if not path.is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{folder} is not there: {path} is missing")
    return path
