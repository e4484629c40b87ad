"""Fixtures of the command line's tests: manifests, and the command `canary`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner

from canarycore_cli.main import app

MANIFEST = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: app
  namespace: test
spec:
  provider: istio
  targetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: app
  service:
    port: 80
  analysis:
    interval: 1m
    threshold: 1
    maxWeight: 50
    stepWeight: 50
    metrics:
      - name: request-success-rate
        thresholdRange:
          min: 99
        interval: 1m
    webhooks:
      - name: gate
        type: confirm-promotion
        url: http://gate/
"""


class Result(Protocol):
    exit_code: int
    stdout: str
    stderr: str
    output: str


class Canary(Protocol):
    def __call__(self, *arguments: str | Path) -> Result: ...


@pytest.fixture
def canary() -> Canary:
    """A function that runs `canary` in this process."""

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "canary.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A manifest with an error in line 11 and one in line 13."""
    path = tmp_path / "broken.yaml"
    path.write_text(MANIFEST.replace("name: app\n  service", "name: <name>\n  service").replace("port: 80", "port: no"))
    return path
