"""`python -m tests.cluster.labs.quick ARGUMENTS` is `canary ARGUMENTS`, whose minutes are half a second.

The manifests of the labs stay as they are on their pages. This controller resolves them with a short interval and a
short drain, and its answers of Prometheus may take long: the bench waits with a bad one for the page's faults.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from canarycore import Rollout
from canarycore_cli.main import app
from canarycore_kubernetes import controller
from canarycore_kubernetes.resources import canaries
from canarycore_metrics.source import HttpSource
from tests.cluster.labs.bench import FAULTS_WITHIN

INTERVAL = 0.5
DRAIN = 0.5
DEADLINE = 20.0
"""Seconds that take the place of the page's. A slow machine needs some for the pods of a release that gets ready."""


def hasten() -> None:
    """Resolve each Canary of this process with the seconds of a test."""
    controller.START_SPREAD = 0.1
    HttpSource.default_timeout = FAULTS_WITHIN + 5
    resolve = canaries.resolve

    def resolve_quickly(*arguments: Any, **options: Any) -> Rollout:
        rollout = resolve(*arguments, **options)
        return evolve(rollout, interval=INTERVAL, drain=DRAIN, progress_deadline=DEADLINE)

    canaries.resolve = resolve_quickly


if __name__ == "__main__":
    hasten()
    app(prog_name="canary")
