"""Settings of Hypothesis under which a state machine draws the same series of steps each time."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

SAME_SERIES = settings(
    stateful_step_count=15,
    report_multiple_bugs=False,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
"""Tests add the number of series (`max_examples`)."""
