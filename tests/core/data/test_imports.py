"""The cost of `import canarycore`, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

import pytest

LOOK = "import sys; before = set(sys.modules); import {}; print(*sorted(set(sys.modules) - before))"


def imported_by(module: str) -> set[str]:
    """Return the modules that `import module` loads in a fresh interpreter."""
    run = subprocess.run([sys.executable, "-c", LOOK.format(module)], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


@pytest.fixture(scope="module")
def core() -> set[str]:
    return imported_by("canarycore")


NOT_NEEDED = ["asyncio", "logging", "socket", "random", "hashlib", "transitions", "cattrs", "hypothesis", "ruamel"]


@pytest.mark.parametrize("module", [*NOT_NEEDED, "canarycore.simulation", "canarycore.manifest"])
def test_the_core_does_without(core, module):
    assert module not in core


def test_the_core_pulls_in_no_adapter(core):
    ours = {name.partition(".")[0] for name in core if name.startswith("canarycore")}
    assert ours == {"canarycore"}


def test_the_simulation_needs_no_hypothesis():
    assert not {"hypothesis", "asyncio", "transitions"} & imported_by("canarycore.simulation")


def test_the_machine_loads_transitions_only_when_it_is_built():
    assert "transitions" not in imported_by("canarycore.machine")


def test_strategies_without_hypothesis_say_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import canarycore.testing.strategies"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "pip install canarycore[testing]" in run.stderr


def seconds_of(module: str) -> float:
    """Return the processor seconds that `import module` takes in a fresh interpreter."""
    code = f"import time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_the_core_takes_at_most_three_times_as_long_as_attrs():
    """Both of a pair meet the same load, so their ratio is steadier than the least time of either."""
    assert median(seconds_of("canarycore") / seconds_of("attrs") for _ in range(15)) <= 3
