"""Tests of canary convert, and of the commands that read Argo's files as they read Flagger's."""

from __future__ import annotations

import json
from pathlib import Path

from canarycore.manifest import lint, load
from tests.adapters.cli.conftest import Canary

ROLLOUT = Path(__file__).parents[4] / "examples" / "argo" / "rollout.yaml"


def test_the_documents_go_to_stdout_and_the_gaps_to_stderr(canary: Canary) -> None:
    result = canary("convert", ROLLOUT)
    assert result.exit_code == 0
    report = load([("converted", result.stdout)])
    assert [each.name for each in report.canaries] == ["checkout"]
    assert [each.name for each in report.templates] == ["checkout-success-rate"]
    assert [
        problem
        for problem in lint([piece.document.content for piece in report.documents])
        if problem.severity == "error"
    ] == []
    assert f"{ROLLOUT}:24  warning  spec.strategy.canary.abortScaleDownDelaySeconds" in result.stderr
    assert "1 part has no equivalent" in result.stderr


def test_json_has_the_documents_and_the_gaps(canary: Canary) -> None:
    result = json.loads(canary("convert", ROLLOUT, "--json").stdout)
    kinds = [body["kind"] for body in result["documents"]]
    assert kinds == ["Deployment", "Canary", "MetricTemplate", "Service", "Ingress"]
    assert [gap["line"] for gap in result["gaps"]] == [24]


def test_templates_may_be_in_another_file(canary: Canary, tmp_path: Path) -> None:
    for number, part in enumerate(ROLLOUT.read_text().split("---\n")):
        (tmp_path / f"{number}.yaml").write_text(part)
    assert json.loads(canary("convert", tmp_path, "--json").stdout)["gaps"][0]["line"] == 24
    report = json.loads(canary("lint", tmp_path, "--json").stdout)
    assert (report["errors"], report["canaries"]) == (0, ["checkout.default"])


def test_files_without_a_rollout_are_bad_input(canary: Canary, manifest: Path, broken: Path) -> None:
    result = canary("convert", manifest)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "found no Rollout, expected" in result.stderr
    assert canary("convert", broken).exit_code == 2


def test_a_canary_that_loses_nothing_becomes_a_rollout_again(canary: Canary, tmp_path: Path) -> None:
    converted = tmp_path / "canary.yaml"
    converted.write_text(canary("convert", ROLLOUT).stdout)
    result = canary("convert", converted, "--to", "argo")
    assert (result.exit_code, result.stderr) == (0, "0 parts have no equivalent\n")
    again = tmp_path / "rollout.yaml"
    again.write_text(result.stdout)
    documents = json.loads(canary("convert", again, "--json").stdout)["documents"]
    kinds = [body["kind"] for body in documents]
    assert kinds == ["Deployment", "Canary", "MetricTemplate", "Service", "Service", "Ingress"]


def test_a_canary_that_would_lose_something_stays_as_it_is(canary: Canary, tmp_path: Path) -> None:
    converted = tmp_path / "canary.yaml"
    converted.write_text(canary("convert", ROLLOUT).stdout.replace("threshold: 1", "threshold: 5"))
    result = canary("convert", converted, "--to", "argo")
    assert result.exit_code == 1
    assert result.stdout == converted.read_text()
    assert "spec.analysis.threshold  [no-equivalent]" in result.stderr
    assert "found 5, expected 1" in result.stderr


def test_files_without_a_canary_are_bad_input_for_a_rollout(canary: Canary, broken: Path) -> None:
    result = canary("convert", ROLLOUT, "--to", "argo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "found no Canary, expected" in result.stderr
    assert canary("convert", broken, "--to", "argo").exit_code == 2


def test_lint_shows_the_gaps_beside_its_findings(canary: Canary) -> None:
    report = json.loads(canary("lint", ROLLOUT, "--json").stdout)
    assert report["errors"] == 0
    assert {"no-equivalent", "pruned-field"} <= {problem["rule"] for problem in report["problems"]}


def test_simulate_and_verify_read_a_rollout(canary: Canary) -> None:
    simulated = canary("simulate", ROLLOUT)
    assert "Promoted (Passed)" in simulated.stdout
    assert "1 part without an equivalent" in simulated.stderr
    assert canary("verify", ROLLOUT, "--faults", "0").exit_code == 0
