"""Tests of the command as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command

from canarycore.policy import Engine
from canarycore.text import format_timespan
from canarycore_cli.main import EngineName, app
from tests.adapters.cli.conftest import Canary

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_help_lists_every_command(canary: Canary) -> None:
    output = canary("--help").stdout
    assert [command for command in COMMANDS if command not in output] == []
    assert len(COMMANDS) >= 16
    assert "3 rollback" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(canary: Canary, command: str) -> None:
    result = canary(command, "--help")
    assert (result.exit_code, "Usage" in result.stdout) == (0, True)


def test_version_prints_the_version(canary: Canary) -> None:
    assert canary("--version").stdout.startswith("canary ")


def test_the_option_has_all_engines() -> None:
    assert [name.value for name in EngineName] == [engine.value for engine in Engine]


def test_help_imports_no_heavy_module() -> None:
    """The runtime, the local adapter and HTTP clients are imported by the commands that need them."""
    program = (
        "import sys; from canarycore_cli.main import app\n"
        "loaded = {name.partition('.')[0] for name in sys.modules} | set(sys.modules)\n"
        "heavy = {'canarycore.policy', 'canarycore_local', 'canarycore_runtime', 'aiohttp'}\n"
        "heavy |= {'asyncio', 'ruamel', 'hypothesis'}\n"
        "print(sorted(loaded & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"


def test_get_imports_no_heavy_module() -> None:
    """A user waits for each module before the first answer of the server."""
    program = (
        "import sys; import canarycore_cli.main, canarycore_cli.cluster.get\n"
        "heavy = {'kubernetes_asyncio.client.models.v1_pod', 'canarycore.policy', 'canarycore_kubernetes.controller'}\n"
        "heavy |= {'structlog', 'prometheus_client', 'numpy', 'hypothesis', 'transitions', 'canarycore.simulation'}\n"
        "print(sorted(set(sys.modules) & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2s"), (12.0, "12s"), (59.7, "1m00s"), (125, "2m05s"), (3720, "1h02m")]
)
def test_time_spans_are_short(seconds: float, text: str) -> None:
    assert format_timespan(seconds) == text
