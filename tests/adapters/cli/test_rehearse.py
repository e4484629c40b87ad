"""Tests of canary rehearse: the input that it refuses before its start, and its printed story."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from canarycore_cli.rehearsal.plain import PlainPrinter
from tests.adapters.cli.conftest import MANIFEST, Canary

pytest.importorskip("canarycore_local", reason="canarycore-local is not installed")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--new", "errors=much"), "errors=much: expected a percentage"),
        (("--new", "speed=1"), "unknown fault 'speed'"),
        (("--new", "errors=1%", "--new-cmd", "server"), "expected one of them"),
        (("--gate", "other=approve"), "it has gate"),
        (("--gate", "gate=perhaps"), "NAME=approve"),
        (("--metric", "orders"), "NAME=VALUE"),
        (("--canary", "other"), "expected one of app.test"),
    ],
)
def test_an_invalid_option_names_the_expected_form(
    canary: Canary, manifest: Path, options: tuple[str, ...], message: str
) -> None:
    result = canary("rehearse", manifest, *options)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("request-success-rate\n", "orders\n        query: orders\n", "--metric orders=VALUE"),
        ("  provider: istio\n", "  provider: istio\n  suspend: true\n", "spec.suspend"),
        ("    stepWeight: 50\n", "", "canary.yaml:14  error  spec.analysis.stepWeight"),
    ],
)
def test_a_policy_that_cannot_end_is_refused(canary: Canary, manifest: Path, old: str, new: str, message: str) -> None:
    manifest.write_text(MANIFEST.replace(old, new))
    result = canary("rehearse", manifest)
    assert result.exit_code == 2
    assert message in result.stderr


def test_rehearse_needs_a_manifest_or_an_interrupted_rehearsal(canary: Canary) -> None:
    assert "expected the file with the Canary" in canary("rehearse").stderr
    assert "found no rehearsal to resume" in canary("rehearse", "--resume").stderr


def test_commands_need_a_running_rehearsal(canary: Canary) -> None:
    for command in (("promote",), ("abort", "app"), ("pause",), ("resume",), ("retry",), ("skip-to", "50")):
        result = canary(*command)
        assert (result.exit_code, "found no running rehearsal" in result.stderr) == (2, True)
    assert canary("status").stdout == "no rehearsal is running\n"
    assert canary("status", "--json").stdout == "[]\n"


def test_a_missing_distribution_is_an_error_with_its_name(
    canary: Canary, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("canarycore_local", "canarycore_cli.re"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "canarycore_local", None)
    result = canary("rehearse", manifest)
    assert result.exit_code == 2
    assert "pip install 'canarycore-local'" in result.stderr


def test_the_printer_writes_one_line_an_event() -> None:
    output = StringIO()
    printer = PlainPrinter(Console(file=output, width=200))
    routes = {"weight": 20, "mirrored": False, "matched": False}
    for line in (
        {
            "seconds": 1.0,
            "kind": "event",
            "type": "Normal",
            "text": "Advance [x] canary weight 20",
            "phase": "Progressing",
        },
        {"seconds": 2.0, "kind": "decision", "explanation": "for the trace only"},
        {"seconds": 3.0, "kind": "trouble", "text": "Envoy is away"},
        {"seconds": 3.5, "kind": "trouble", "text": "Envoy is away"},
        {"seconds": 4.0, "kind": "split", **routes, "measured": 19.5, "requests": 600, "bad": 1},
        {"outcome": "Failed", "reason": "FailedChecks", "seconds": 65.0, "requests": 900, "bad_requests": 1}
        | {"requests_by_version": {"v1": 780, "v2": 120}},
    ):
        printer(line)
    assert output.getvalue().splitlines() == [
        "    1.0s  Advance [x] canary weight 20",
        "    3.0s  trouble: Envoy is away",
        "    4.0s    weight 20: 19.5% answered by the canary, 600 requests, 1 bad",
        "Rolled back (FailedChecks) after 1m05s",
        "900 requests (v1 780, v2 120); users saw 1 bad ones",
    ]
