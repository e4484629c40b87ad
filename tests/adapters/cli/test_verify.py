"""Tests of canary verify: it explores a policy, and its exit code is for scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import Result

from canarycore.verification import STRATEGIES, ViolationError, verify
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


# ------------------------------------------------------------------------------------------------ promises of a user

PROMISES = """\
from canarycore.policy import Behaviour, Scenario
from canarycore.simulation import Promise

SCENARIO = Scenario(new=Behaviour(error_rate=0.3))
FEW = Promise("at most {most} bad requests", lambda rollout: rollout.bad_requests <= {most})
"""
OWN_POLICY = MANIFEST.partition("    webhooks:")[0]


def verified(canary: Canary, folder: Path, promises: str | None, *options: str, name: str = "own") -> Result:
    manifest, file = folder / "canary.yaml", folder / f"{name}.py"
    manifest.write_text(OWN_POLICY)
    if promises is not None:
        file.write_text(promises)
    try:
        return canary("verify", manifest, "--promise", file, "--faults", "0", *options)
    finally:
        sys.modules.pop("own", None)


def test_a_broken_promise_exits_with_1_and_is_printed_as_a_program(canary: Canary, tmp_path: Path) -> None:
    result = verified(canary, tmp_path, PROMISES.format(most=200))
    assert result.exit_code == 1
    assert "promise (at most 200 bad requests): Progressing of " in result.stdout
    assert "\nfrom own import FEW\n" in result.stdout
    assert "\n    promises=(FEW,),\n    scenario=Scenario(new=Behaviour(error_rate=0.3)),\n" in result.stdout


def test_the_program_of_a_broken_promise_breaks_it(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = verified(canary, tmp_path, PROMISES.format(most=200), "--json")
    report, _ = map(json.loads, result.stdout.splitlines())
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ViolationError, match="at most 200 bad requests"):
        exec(report["found"][0]["script"], {})
    sys.modules.pop("own", None)


def test_a_promise_that_holds_exits_with_0(canary: Canary, tmp_path: Path) -> None:
    assert verified(canary, tmp_path, PROMISES.format(most=10_000)).exit_code == 0


def test_the_policy_keeps_its_own_waits_under_promises(canary: Canary, tmp_path: Path) -> None:
    assert "verified with" not in verified(canary, tmp_path, PROMISES.format(most=10_000)).stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "found no such file, expected a Python file"),
        ("", "found no promise, expected one such as NAME = Promise("),
        ("x = 1 / 0", "it raised ZeroDivisionError: division by zero"),
        ("x = (", "it raised SyntaxError"),
        ("raise SystemExit(0)", "it raised SystemExit: 0"),
        (PROMISES.format(most=1) + "ANOTHER = Scenario()", "found 2 scenarios, expected at most one"),
    ],
)
def test_a_file_without_usable_promises_is_bad_input(
    canary: Canary, tmp_path: Path, text: str | None, message: str
) -> None:
    result = verified(canary, tmp_path, text)
    assert result.exit_code == 2
    assert "own.py: " in result.stderr
    assert message in result.stderr


def test_a_file_with_the_name_of_a_module_in_use_is_bad_input(canary: Canary, tmp_path: Path) -> None:
    result = verified(canary, tmp_path, PROMISES.format(most=1), name="json")
    assert (result.exit_code, "the name of a module in use" in result.stderr) == (2, True)


def test_a_promise_that_raises_ends_with_its_error(canary: Canary, tmp_path: Path) -> None:
    text = "from canarycore.simulation import Promise\nMINE = Promise('mine', lambda rollout: 1 / 0)"
    result = verified(canary, tmp_path, text)
    assert result.exit_code == 1
    assert "the promise 'mine' raised ZeroDivisionError: division by zero" in result.stderr


def test_promises_need_a_manifest(canary: Canary, tmp_path: Path) -> None:
    result = canary("verify", "--promise", tmp_path / "own.py")
    assert (result.exit_code, "found no MANIFEST" in result.stderr) == (2, True)


def test_faults_and_situations_can_be_left_out(canary: Canary) -> None:
    narrow = ("--without", "gates", "--without", "ActorAction", "--without", "Crash")
    result = canary("verify", "--strategy", "canary", "--faults", "0", "--jobs", "1", "--json", *narrow)
    assert "gates" not in {json.loads(line).get("situation") for line in result.stdout.splitlines()}
    all_steps, fewer = (canary("verify", *ONE_TRIAL, "--json", *options) for options in ((), narrow))
    states = [json.loads(result.stdout.splitlines()[-1])["states"] for result in (all_steps, fewer)]
    assert states[1] < states[0]


def test_an_unknown_name_cannot_be_left_out(canary: Canary) -> None:
    result = canary("verify", "--without", "crashes")
    assert result.exit_code == 2
    assert "--without crashes: expected one of ActorAction, AnswerHook, " in result.stderr
