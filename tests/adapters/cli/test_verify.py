"""Tests of canary verify: it explores a policy, and its exit code is for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from canarycore.verification import STRATEGIES, verify
from canarycore_cli import verify as command
from tests.adapters.cli.conftest import MANIFEST, Canary
from tests.verify import drivers

ONE_TRIAL = ("--strategy", "canary", "--situation", "skipAnalysis")


def test_verify_accepts_a_manifest(canary: Canary, manifest: Path) -> None:
    manifest.write_text(MANIFEST.partition("    webhooks:")[0])
    result = canary("verify", manifest, "--jobs", "1")
    assert result.exit_code == 0
    assert "\napp.test " in result.stdout
    assert "\n  as written " in result.stdout
    assert "verified with progress deadline 120 instead of 600" in result.stdout
    assert " 0 violations in " in result.stdout


def test_the_last_line_of_json_has_the_totals(canary: Canary) -> None:
    result = canary("verify", *ONE_TRIAL, "--json")
    trial, totals = map(json.loads, result.stdout.splitlines())
    assert (trial["strategy"], trial["situation"], trial["found"]) == ("canary", "skipAnalysis", [])
    assert totals["violations"] == 0
    assert all(totals[name] > 0 for name in ("states", "transitions", "schedules"))


def test_processes_share_the_trials(canary: Canary) -> None:
    result = canary("verify", "--situation", "skipAnalysis", "--faults", "0", "--jobs", "2", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["strategy"] for line in lines[:-1]] == list(STRATEGIES)


def test_a_violation_exits_with_4_and_is_printed_as_a_program(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        command, "verify", lambda *args, **options: verify(*args, **options, driver=drivers.effects_first)
    )
    result = canary("verify", *ONE_TRIAL)
    assert result.exit_code == 4
    assert "I5 (a decision is durable before its first effect)" in result.stdout
    assert "\nreplay(\n    Trial(" in result.stdout


@pytest.mark.parametrize("option", ["--strategy", "--situation"])
def test_an_unknown_name_is_bad_input(canary: Canary, option: str) -> None:
    result = canary("verify", option, "waterfall")
    assert result.exit_code == 2
    assert f"{option} waterfall: expected one of" in result.stderr


def test_the_table_fits_into_80_columns(canary: Canary) -> None:
    result = canary("verify", "--situation", "skipAnalysis", "--faults", "0", "--jobs", "1")
    rows = [line for line in result.stdout.splitlines() if line.startswith("  skipAnalysis")]
    assert len(rows) == len(STRATEGIES)
    assert "…" not in result.stdout
    assert max(map(len, rows)) <= 80
