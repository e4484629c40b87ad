"""The programs of Prometheus, from the PATH (Debian: prometheus)."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(name):
    """Return the path of a program. Without it, skip the test; in CI, fail."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"not on the PATH: {name}")
    return path
