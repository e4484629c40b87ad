"""Tests of canary simulate: one run as a log, many runs as probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import MANIFEST, Canary

KEYS = {
    "runs",
    "promoted",
    "rolled_back",
    "p_rollback",
    "p_rollback_ci95",
    "mean_minutes",
    "mean_bad_requests",
    "mean_excess_bad_requests",
    "p50_minutes",
    "p95_minutes",
}


def test_many_runs_print_probabilities_with_intervals(canary: Canary, manifest: Path) -> None:
    completed = canary("simulate", manifest, "--error-rate", "0.001,0.02", "--rps", "10", "--runs", "300", "--json")
    result = json.loads(completed.stdout)
    low, high = result["p_rollback_ci95"]
    assert completed.exit_code == 0
    assert set(result) >= KEYS
    assert result["promoted"] + result["rolled_back"] == result["runs"] == 300
    assert low < result["p_rollback"] < high
    assert result["p_rollback"] == pytest.approx(0.849, abs=0.08)  # more than 3 bad of 300 at 2%, four standard errors


def test_one_run_prints_its_events_and_the_same_keys(canary: Canary, manifest: Path) -> None:
    result = json.loads(canary("simulate", manifest, "--json").stdout)
    assert set(result) >= KEYS
    assert (result["outcome"], result["reason"], result["runs"]) == ("promoted", "Passed", 1)
    events = [event["text"] for event in result["events"] if event["kind"] == "event"]
    assert events[:3] == [
        "New revision detected! Scaling up app.test",
        "Starting canary analysis for app.test",
        "Advance app.test canary weight 50",
    ]
    decisions = [event for event in result["events"] if event["kind"] == "decision"]
    assert decisions[0]["text"] == "Initialized → Progressing: the target has a new revision"


def test_one_run_prints_flaggers_texts_with_times(canary: Canary, manifest: Path) -> None:
    output = canary("simulate", manifest, "--error-rate", "0,50%").stdout
    assert "0:02:00  Failed             0%  Rolling back app.test failed checks threshold reached 1" in output
    assert output.splitlines()[-1].startswith("Rolled back (FailedChecks) after 2m00s")


def test_many_runs_print_a_table(canary: Canary, manifest: Path) -> None:
    output = canary("simulate", manifest, "--runs", "20").stdout
    assert "promoted" in output
    assert "100.0%" in output
    assert "20 runs" in output


def test_a_seed_repeats_its_result(canary: Canary, manifest: Path) -> None:
    run = ("simulate", manifest, "--error-rate", "0,1%", "--runs", "50", "--json", "--seed")
    assert canary(*run, "1").stdout == canary(*run, "1").stdout != canary(*run, "2").stdout


def test_the_number_of_processes_changes_no_result(canary: Canary, manifest: Path) -> None:
    run = ("simulate", manifest, "--error-rate", "0,1%", "--runs", "60", "--json")
    assert canary(*run).stdout == canary(*run, "--jobs", "2").stdout


def test_a_denied_gate_leaves_the_rollout_undecided(canary: Canary, manifest: Path) -> None:
    result = json.loads(canary("simulate", manifest, "--gate", "gate=deny", "--json").stdout)
    assert (result["outcome"], result["promoted"], result["rolled_back"]) == ("undecided", 0, 0)


def test_slow_responses_roll_back(canary: Canary, tmp_path: Path) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(MANIFEST.replace("request-success-rate", "request-duration").replace("min: 99", "max: 500"))
    result = json.loads(canary("simulate", path, "--latency", "100,900", "--json").stdout)
    assert result["outcome"] == "rolled back"


def test_a_broken_manifest_prints_all_problems(canary: Canary, broken: Path) -> None:
    result = canary("simulate", broken)
    assert result.exit_code == 2
    assert "spec.targetRef.name" in result.stderr
    assert "spec.service.port" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--error-rate", "0.01"), "two fractions"),
        (("--error-rate", "0,2"), "two fractions"),
        (("--latency", "fast,slow"), "two P99s"),
        (("--gate", "gate"), "NAME=approve"),
        (("--gate", "other=deny"), "it has gate"),
        (("--failures", "gate=often"), "NAME=FRACTION"),
        (("--match-share", "12"), "a fraction"),
        (("--canary", "other"), "expected one of app.test"),
    ],
)
def test_an_invalid_option_names_the_expected_form(
    canary: Canary, manifest: Path, options: tuple[str, ...], message: str
) -> None:
    result = canary("simulate", manifest, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_option_selects_one_of_several_canaries(canary: Canary, tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    path.write_text(MANIFEST + "---\n" + MANIFEST.replace("name: app", "name: two"))
    refused = canary("simulate", path)
    assert (refused.exit_code, "app.test, two.test" in refused.stderr) == (2, True)
    assert canary("simulate", path, "--canary", "two").exit_code == 0
