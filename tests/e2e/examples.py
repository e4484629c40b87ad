"""The programs of examples/ as modules: their tests call their functions."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from tests.house.projects import ROOT

EXAMPLES = ROOT / "examples"


def load_example(name: str) -> ModuleType:
    """Return an example as a module; it finds the modules beside it, as a program does."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))
