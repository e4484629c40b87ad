"""Hypothesis profiles, once for all tests: HYPOTHESIS_PROFILE chooses one (default: `ci` where CI is set, else `dev`).

dev    few examples, for the inner loop
ci     more, always the same ones, so that a red run is red again
smoke  a few, always the same ones: for a second run of tests that another session runs in full
deep   many; together with `-m deep`; fewer in CI, where each run draws the same ones
"""

from __future__ import annotations

import os
import signal

import pytest
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
