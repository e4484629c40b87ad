"""The imports of the core, and their cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.projects import OURS, ROOT, imported

CORE = ROOT / "canarycore"
ACTING = {"time", "random", "asyncio", "logging", "socket", "os"}
EVERYWHERE = (frozenset(sys.stdlib_module_names) - ACTING) | {"attrs", "attr", "canarycore"}
BESIDES = {
    "manifest": {"ruamel", "cattrs"},
    "machine.py": {"transitions"},
    "codec.py": {"cattrs"},
    "policy": {"numpy", "matplotlib", "random"},
    "testing": {"random", "hypothesis", "cattrs"},
    "simulation": {"random"},
}
"""The modules that a part of the core may import in addition to `EVERYWHERE`."""

FILES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_file_of_the_core_imports_no_module_that_acts(path: Path):
    part = path.relative_to(CORE).parts[0]
    assert imported(path) - EVERYWHERE <= BESIDES.get(part, set())


def modules_after(program: str) -> set[str]:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.split())


def test_importing_canarycore_loads_no_event_loop_and_no_adapter():
    loaded = modules_after("import canarycore")
    packages = {name.replace("-", "_") for name in OURS} - {"canarycore"}
    assert not loaded & (packages | {"asyncio", "socket", "random", "ruamel.yaml", "transitions", "cattrs"})


def test_the_command_starts_without_loading_any_adapter():
    loaded = modules_after("import canarycore_cli.main")
    assert not loaded & {"canarycore_local", "canarycore_metrics", "canarycore_hooks", "aiohttp"}
