"""Tests of canary simulate: one run as a log, many runs as probabilities."""

from __future__ import annotations

import json
from itertools import pairwise
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


PODS = ("--rps", "300", "--pod-rps", "100", "--pods", "4,1", "--primary-autoscaler", "1,6,75%", "--ready-after", "20")


def test_one_run_prints_the_pods_and_the_lost_requests(canary: Canary, manifest: Path) -> None:
    output = " ".join(canary("simulate", manifest, *PODS).stdout.split())
    assert "a pod takes 100 requests per second, more are lost; 4 pods of the primary" in output
    assert "primary from 1 to 6 pods at 75%, down after 5m00s" in output
    assert "primary 4 ready pods at 75%, canary 1 ready pod at 0%" in output
    assert "canary 1 ready pod at 150%; 50.0 requests a second lost" in output
    assert "3000 of them lost" in output


def test_json_has_the_pods_over_time(canary: Canary, manifest: Path) -> None:
    result = json.loads(canary("simulate", manifest, *PODS, "--json").stdout)
    pods = result["pods"]
    assert set(pods[0]) == {
        "seconds", "until", "primary_ready", "primary_load", "canary_ready", "canary_load", "lost_rps"
    }  # fmt: skip
    lost = sum(each["lost_rps"] * (each["until"] - each["seconds"]) for each in pods)
    assert result["mean_lost_requests"] == pytest.approx(lost)
    assert result["mean_peak_load"] == max(each["canary_load"] for each in pods) == 1.5
    assert all(earlier["until"] == later["seconds"] for earlier, later in pairwise(pods))
    assert "pods" not in json.loads(canary("simulate", manifest, "--json").stdout)


def test_many_runs_print_the_lost_requests_by_the_core(canary: Canary, manifest: Path) -> None:
    output = " ".join(canary("simulate", manifest, *PODS, "--runs", "5").stdout.split())
    assert "lost, as no pod took them 3,000.0" in output
    assert "highest load of a pod 150%" in output
    assert "the core decides every run, as pods have a capacity (Scenario.pods)" in output


@pytest.mark.parametrize("engine", ["exact", "vector"])
def test_another_engine_refuses_pods_and_names_the_field(canary: Canary, manifest: Path, engine: str) -> None:
    result = canary("simulate", manifest, *PODS, "--runs", "5", "--engine", engine)
    assert result.exit_code == 2
    assert "pods have a capacity (Scenario.pods)" in " ".join(result.stderr.split())


def test_a_policy_that_follows_capacity_asks_for_a_limit_of_pods(canary: Canary, tmp_path: Path) -> None:
    path = tmp_path / "follows.yaml"
    path.write_text(MANIFEST.replace("analysis:", "analysis:\n    rollback: {stepWeight: 25, follow: capacity}", 1))
    note = "no step waits for capacity (change this by --pod-rps)"
    assert note in " ".join(canary("simulate", path).stdout.split())
    assert note not in " ".join(canary("simulate", path, *PODS).stdout.split())


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
        (("--pods", "4,1"), "expected --pod-rps"),
        (("--primary-autoscaler", "1,6,75%"), "expected --pod-rps"),
        (("--pod-rps", "10"), "--pod-rps needs it"),
        (("--pod-rps", "10", "--pods", "4"), "the number of pods of each side"),
        (("--pod-rps", "10", "--pods", "4,1", "--canary-autoscaler", "1,2"), "the desired load of a pod"),
        (("--pod-rps", "10", "--pods", "0,1"), "Pods.primary"),
        (("--pod-rps", "0", "--pods", "1,1"), "Pods.capacity"),
        (("--pod-rps", "10", "--pods", "1,1", "--primary-autoscaler", "3,2,50%"), "Autoscaler.maximum"),
        (("--pod-rps", "9", "--pods", "1,1", "--canary-autoscaler", "1,2,50%", "--scale-interval", "0"), "interval"),
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
