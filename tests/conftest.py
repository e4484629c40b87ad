"""Hypothesis profiles, once for all tests: HYPOTHESIS_PROFILE chooses one (default: `ci` where CI is set, else `dev`).

dev    few examples, for the inner loop
ci     more, always the same ones, so that a red run is red again
smoke  a few, always the same ones: for a second run of tests that another session runs in full
deep   many; together with `-m deep`; fewer in CI, where each run draws the same ones
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

_CI = bool(os.environ.get("CI"))
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("dev", max_examples=50, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("smoke", max_examples=10, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=10_000 if _CI else 30_000, derandomize=_CI, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if _CI else "dev"))

pytest.register_assert_rewrite("tests.cluster.contracts")  # their assertions show values, as those of test files do

# a background shell ignores Ctrl-C, and so would the processes that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Undo what a command changed in the logging of this process: its handler writes to a stream that is closed now."""
    root = logging.getLogger()
    handlers, level, was_configured = list(root.handlers), root.level, structlog.is_configured()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    if structlog.is_configured() and not was_configured:
        structlog.reset_defaults()
