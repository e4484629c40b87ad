"""Libraries that the tests use beside canarycore: a test without one is skipped, and fails in CI."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pytest


def frames_of(library: str) -> Any:
    """Return a library of data frames."""
    return _needed(library)


def dask() -> Any:
    """Return Dask's scheduler and workers."""
    return _needed("distributed")


def _needed(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is missing: the dependency group tests has it")
