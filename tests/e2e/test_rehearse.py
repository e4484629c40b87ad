"""Tests of canary rehearse as users run it: a separate process, a real Envoy, real requests."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from random import Random
from urllib.parse import urlsplit

import pytest

from canarycore import CommandKind
from tests.chance import is_share
from tests.e2e.conftest import Canary, Line, Rehearsal, receiver

pytestmark = pytest.mark.e2e

SHORTEST = 7.5
"""The shortest duration of a rehearsal in seconds: five intervals, one of them to drain."""

RESULT = {"outcome", "reason", "seconds", "requests", "bad_requests", "requests_by_version", "splits"}


def _weights(rehearsal: Rehearsal) -> list[int]:
    return [line["weight"] for line in rehearsal.all("weight")]


def _texts(rehearsal: Rehearsal) -> list[str]:
    return [line["text"] for line in rehearsal.all("event")]


def _answered_by_the_canary(split: Line) -> int:
    return round(split["requests"] * split["measured"] / 100)


def test_a_healthy_version_is_promoted_and_no_request_is_lost(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    code, result = rehearsal.end()
    assert (code, result["outcome"], result["reason"]) == (0, "Succeeded", "Passed")
    assert set(result) == RESULT
    assert result["bad_requests"] == 0
    assert _weights(rehearsal) == [0, 20, 50, 0]
    assert sum(result["requests_by_version"].values()) == result["requests"]
    assert "Promotion completed! Scaling down app.test" in _texts(rehearsal)
    assert canary.remaining_processes() == []


def test_each_rung_gets_its_percentage_of_the_traffic(canary: Canary) -> None:
    """With a thousand requests a rung, the test finds a split that is 10 points off 996 times in 1000."""
    code, result = canary.rehearse(canary.manifest, "--speed", "5", "--rps", "200").end()
    assert code == 0
    assert [split["weight"] for split in result["splits"]] == [0, 20, 50, 0]
    for split in result["splits"]:
        assert split["requests"] > 500, split
        assert is_share(_answered_by_the_canary(split), split["requests"], split["weight"]), split


def test_every_decision_has_its_reason(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    rehearsal.end()
    passed = next(line for line in rehearsal.all("decision") if line["rule"] == "ADVANCED" and line["checks"])
    check = passed["checks"][0]
    assert (check["name"], check["verdict"], check["minimum"]) == ("request-success-rate", "pass", 97.0)
    assert check["samples"] > 0
    assert passed["explanation"].startswith("Progressing: the rung passed")
    assert [hook["name"] for hook in passed["hooks"]] == ["load"]


def test_a_version_with_errors_is_rolled_back(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest, "--new", "errors=40%")
    code, result = rehearsal.end()
    assert (code, result["outcome"], result["reason"]) == (3, "Failed", "FailedChecks")
    assert _weights(rehearsal)[-1] == 0
    assert "Rolling back app.test failed checks threshold reached 2" in _texts(rehearsal)
    assert canary.remaining_processes() == []


def test_a_version_that_crashes_is_rolled_back_and_gets_no_request(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest, "--new", "start=crash")
    code, result = rehearsal.end()
    assert (code, result["reason"]) == (3, "ProgressDeadlineExceeded")
    assert list(result["requests_by_version"]) == ["v1"]
    assert (_weights(rehearsal), result["bad_requests"]) == ([0], 0)


def test_versions_roll_out_one_after_the_other(canary: Canary) -> None:
    manifest = canary.manifest
    # an acceptance test would meet the errors too, and sometimes stop the version before any user meets it
    manifest.write_text(manifest.read_text().replace("type: pre-rollout", "type: post-rollout"))
    rehearsal = canary.rehearse(manifest, "--new", "errors=40%", "--then", "healthy")
    code, result = rehearsal.end()
    assert (code, result["outcome"]) == (0, "Succeeded")
    assert set(result["requests_by_version"]) == {"v1", "v2", "v3"}
    assert "Canary failed! Scaling down app.test" in _texts(rehearsal)


def test_another_process_aborts_a_rehearsal(canary: Canary) -> None:
    rehearsal = canary.rehearse_until(20)
    aborted = canary.run("abort")
    assert (aborted.returncode, "Failed (Aborted)" in aborted.stdout) == (0, True)
    code, result = rehearsal.end()
    assert (code, result["outcome"], result["reason"]) == (3, "Failed", "Aborted")
    assert _weights(rehearsal) == [0, 20, 0]


def test_another_process_pauses_resumes_skips_and_promotes(canary: Canary) -> None:
    rehearsal = canary.rehearse_until(20)
    assert canary.run("pause", "app").returncode == 0
    states = json.loads(canary.run("status", "--json").stdout)
    assert [(state["canary"], state["paused"], state["weight"]) for state in states] == [("test/app", True, 20)]
    assert canary.run("resume", "test/app").returncode == 0
    assert canary.run("skip-to", "37").returncode == 0
    rehearsal.until(kind="weight", weight=37)
    assert canary.run("promote", "--state-dir", canary.state).returncode == 0
    code, result = rehearsal.end()
    assert (code, result["reason"]) == (0, "Commanded")
    assert "status" not in canary.run("status").stdout
    assert "the command promote" in canary.run("explain", "--state-dir", canary.state, "--last", "50").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_processes(canary: Canary, number: signal.Signals) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    address = urlsplit(rehearsal.until(kind="start")["address"])
    rehearsal.until(kind="weight", weight=20)
    rehearsal.process.send_signal(number)
    assert rehearsal.end()[0] == 1
    assert canary.remaining_processes() == []
    with socket.socket() as probe:
        assert probe.connect_ex((address.hostname or "", address.port or 0)) != 0


def test_a_killed_rehearsal_is_resumed_to_the_same_end(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    rehearsal.until(kind="weight", weight=50)
    rehearsal.process.kill()
    rehearsal.process.wait(timeout=10)
    again = canary.rehearse("--resume")
    code, result = again.end()
    assert (code, result["outcome"], result["bad_requests"]) == (0, "Succeeded", 0)
    assert 20 not in _weights(again)
    assert canary.remaining_processes() == []


def test_one_folder_has_one_rehearsal_at_a_time(canary: Canary) -> None:
    first = canary.rehearse_until(20)
    second = canary.run("rehearse", canary.manifest, "--state-dir", canary.state)
    assert (second.returncode, "is running in" in second.stderr) == (2, True)
    assert first.process.poll() is None


def test_a_denied_gate_stops_the_rollout_at_its_weight(canary: Canary) -> None:
    manifest = canary.manifest
    gate = "      - name: go\n        type: confirm-promotion\n        url: http://tester/\n"
    manifest.write_text(manifest.read_text() + gate)
    rehearsal = canary.rehearse(manifest, "--gate", "go=deny")
    rehearsal.until(kind="event", text="Halt app.test advancement waiting for promotion approval go")
    assert canary.run("abort").returncode == 0
    assert rehearsal.end()[1]["reason"] == "Aborted"


def test_foreign_files_in_the_state_folder_stay_unchanged(canary: Canary) -> None:
    canary.state.mkdir()
    (canary.state / "thesis.txt").write_text("years of work")
    refused = canary.run("rehearse", canary.manifest, "--state-dir", canary.state)
    assert (refused.returncode, "found other files" in refused.stderr) == (2, True)
    assert (canary.state / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("seed", range(4))
def test_a_rehearsal_killed_at_any_moment_promotes_once_and_loses_no_request(canary: Canary, seed: int) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    rehearsal.until(kind="start")
    time.sleep(Random(seed).uniform(0.0, SHORTEST))
    rehearsal.process.kill()
    rehearsal.process.wait(timeout=10)
    again = canary.rehearse("--resume")
    code, result = again.end()
    assert (code, result["outcome"], result["bad_requests"]) == (0, "Succeeded", 0)
    trace = (canary.state / "trace.ndjson").read_text()
    # a decision is missing in the trace if the process was killed between its commit and its line
    assert trace.count('"rule": "PROMOTED"') <= 1
    assert canary.remaining_processes() == []


@pytest.mark.parametrize(("new", "code"), [("healthy", 0), ("errors=60%", 3)])
def test_a_load_test_and_no_users_decide_blue_green(canary: Canary, new: str, code: int) -> None:
    manifest = canary.manifest
    manifest.write_text(manifest.read_text().replace("stepWeights: [20, 50]", "iterations: 2"))
    rehearsal = canary.rehearse(manifest, "--new", new)
    exit_code, result = rehearsal.end()
    assert (exit_code, result["bad_requests"]) == (code, 0)
    checks = [check for line in rehearsal.all("decision") for check in line["checks"]]
    assert all(check["samples"] > 0 for check in checks)
    assert _weights(rehearsal) == ([0, 100, 0] if code == 0 else [0])


@pytest.mark.parametrize("phase", ["Waiting", "Progressing", "WaitingPromotion", "Promoting", "Finalising"])
def test_an_abort_in_every_phase_ends_in_failed_with_all_traffic_on_the_primary(canary: Canary, phase: str) -> None:
    manifest = canary.manifest
    kind = {"Waiting": "confirm-rollout", "WaitingPromotion": "confirm-promotion"}.get(phase)
    if kind:
        gate = f"      - name: go\n        type: {kind}\n        url: http://tester/\n"
        manifest.write_text(manifest.read_text() + gate)
    rehearsal = canary.rehearse(manifest, *(("--gate", "go=deny") if kind else ()))
    rehearsal.until(kind="decision", phase=phase)
    canary.send_command(CommandKind.ABORT)
    code, result = rehearsal.end()
    assert (code, result["outcome"], result["reason"], result["bad_requests"]) == (3, "Failed", "Aborted", 0)
    assert _weights(rehearsal)[-1] == 0
    assert canary.remaining_processes() == []


def test_a_rehearsal_runs_the_users_own_commands(canary: Canary) -> None:
    """The server has no /readyz, and listens on $PORT."""
    serve = f"{sys.executable} -m http.server $PORT --bind 127.0.0.1 --directory"
    (canary.folder / "one").mkdir()
    (canary.folder / "two").mkdir()
    rehearsal = canary.rehearse(
        canary.manifest, "--old-cmd", f"{serve} {canary.folder}/one", "--new-cmd", f"{serve} {canary.folder}/two"
    )
    code, result = rehearsal.end()
    assert (code, result["outcome"], result["bad_requests"]) == (0, "Succeeded", 0)
    assert set(result["requests_by_version"]) == {"v1", "v2"}


def test_a_rehearsal_ends_without_a_reader(canary: Canary) -> None:
    rehearsal = canary.rehearse(canary.manifest)
    rehearsal.until(kind="start")
    assert rehearsal.process.stdout is not None
    rehearsal.process.stdout.close()
    assert rehearsal.process.wait(timeout=30) == 1
    assert rehearsal.process.stderr is not None
    assert "Traceback" not in rehearsal.process.stderr.read()
    assert canary.remaining_processes() == []


def test_live_hooks_get_calls_and_events(canary: Canary) -> None:
    """One gate opens at its third call; another hook receives events."""
    with receiver(gate=[403, 403, 200]) as webhooks:
        manifest = canary.manifest
        hooks = "".join(
            f"      - name: {name}\n        type: {kind}\n        url: {webhooks.url}/{name}\n"
            for name, kind in (("gate", "confirm-promotion"), ("events", "event"))
        )
        manifest.write_text(manifest.read_text().replace("http://tester/", f"{webhooks.url}/load") + hooks)
        code, _ = canary.rehearse(manifest, "--hooks", "live").end()
    assert code == 0
    assert [call["phase"] for call in webhooks.calls["gate"]] == ["Progressing", "WaitingPromotion", "WaitingPromotion"]
    events = [call["metadata"]["eventMessage"] for call in webhooks.calls["events"]]
    assert "Halt app.test advancement waiting for promotion approval gate" in events
    assert "Promotion completed! Scaling down app.test" in events
    assert len(webhooks.calls["load"]) >= 3
