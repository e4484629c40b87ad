"""What canary rehearse refuses before anything is started, and how its story is told in words."""

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
    ("options", "words"),
    [
        (("--new", "errors=much"), "errors=much: expected a percentage"),
        (("--new", "speed=1"), "unknown fault 'speed'"),
        (("--new", "errors=1%", "--new-cmd", "server"), "expected one of them"),
        (("--gate", "nobody=approve"), "it has gate"),
        (("--gate", "gate=perhaps"), "NAME=approve"),
        (("--metric", "orders"), "NAME=VALUE"),
        (("--canary", "other"), "expected one of app.test"),
    ],
)
def test_options_that_cannot_be_used_are_refused_with_what_was_expected(
    canary: Canary, manifest: Path, options: tuple[str, ...], words: str
) -> None:
    result = canary("rehearse", manifest, *options)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("found", "instead", "words"),
    [
        ("request-success-rate\n", "orders\n        query: orders\n", "--metric orders=VALUE"),
        ("  provider: istio\n", "  provider: istio\n  suspend: true\n", "spec.suspend"),
        ("    stepWeight: 50\n", "", "canary.yaml:14  error  spec.analysis.stepWeight"),
    ],
)
def test_a_policy_that_could_not_come_to_an_end_is_refused(
    canary: Canary, manifest: Path, found: str, instead: str, words: str
) -> None:
    manifest.write_text(MANIFEST.replace(found, instead))
    result = canary("rehearse", manifest)
    assert result.exit_code == 2
    assert words in result.stderr


def test_there_must_be_something_to_rehearse(canary: Canary) -> None:
    assert "expected the file with the Canary" in canary("rehearse").stderr
    assert "found no rehearsal to resume" in canary("rehearse", "--resume").stderr


def test_commands_need_a_rehearsal_that_runs(canary: Canary) -> None:
    for command in (("promote",), ("abort", "app"), ("pause",), ("resume",), ("retry",), ("skip-to", "50")):
        result = canary(*command)
        assert (result.exit_code, "found no running rehearsal" in result.stderr) == (2, True)
    assert canary("status").stdout == "no rehearsal is running\n"
    assert canary("status", "--json").stdout == "[]\n"


def test_a_missing_distribution_is_named(canary: Canary, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("canarycore_local", "canarycore_cli.re"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "canarycore_local", None)
    result = canary("rehearse", manifest)
    assert result.exit_code == 2
    assert "pip install 'canarycore-local'" in result.stderr


def test_the_story_is_told_in_words() -> None:
    page = StringIO()
    teller = PlainPrinter(Console(file=page, width=200))
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
        teller(line)
    assert page.getvalue().splitlines() == [
        "    1.0s  Advance [x] canary weight 20",
        "    3.0s  trouble: Envoy is away",
        "    4.0s    weight 20: 19.5% answered by the canary, 600 requests, 1 bad",
        "Rolled back (FailedChecks) after 1m05s",
        "900 requests (v1 780, v2 120); users saw 1 bad ones",
    ]
