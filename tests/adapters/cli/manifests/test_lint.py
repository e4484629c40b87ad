"""Tests of canary lint: it prints all problems, and its exit code is for scripts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.adapters.cli.conftest import MANIFEST, Canary

GROUP = "flagger.app/v1beta1"


def test_a_clean_manifest_exits_with_0(canary: Canary, manifest: Path) -> None:
    result = canary("lint", manifest)
    assert (result.exit_code, result.stdout) == (0, "clean in 1 file with 1 usable Canary\n")


def test_an_error_has_file_line_path_found_expected_and_remedy(canary: Canary, broken: Path) -> None:
    result = canary("lint", broken)
    assert result.exit_code == 2
    assert f"{broken}:11  error  spec.targetRef.name  [placeholder]" in result.stdout
    assert f"{broken}:13  error  spec.service.port" in result.stdout
    assert "    found '<name>', expected " in result.stdout
    assert "    Replace the placeholder <name>" in result.stdout


def test_json_has_the_same_fields(canary: Canary, broken: Path) -> None:
    report = json.loads(canary("lint", broken, "--json").stdout)
    assert (report["files"], report["errors"], report["canaries"]) == (1, 2, [])
    keys = {"file", "line", "path", "found", "expected", "remedy", "rule", "severity"}
    assert all(keys == set(problem) for problem in report["problems"])


def test_lint_reads_all_yaml_below_a_folder(canary: Canary, tmp_path: Path, manifest: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.yml").write_text(MANIFEST.replace("name: app", "name: two"))
    (tmp_path / "notes.txt").write_text("no: [yaml")
    report = json.loads(canary("lint", tmp_path, "--json").stdout)
    assert (report["files"], report["canaries"]) == (2, ["two.test", "app.test"])


def test_warnings_fail_only_with_strict(canary: Canary, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text(MANIFEST.replace("  service:\n", "  servise: {}\n  service:\n"))
    assert canary("lint", odd).exit_code == 0
    assert canary("lint", odd, "--strict").exit_code == 2


def test_a_missing_file_is_bad_input(canary: Canary, tmp_path: Path) -> None:
    path = tmp_path / "missing.yaml"
    result = canary("lint", path)
    assert result.exit_code == 2
    assert str(path) in result.stderr.replace("\n", "")


def test_an_unreadable_file_is_reported_and_the_others_are_checked(canary: Canary, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: caf\xe9")
    (tmp_path / "b.yaml").write_text(MANIFEST.replace("port: 80", "port: eighty"))
    (tmp_path / "c.yaml").write_text("a: [")
    result = canary("lint", tmp_path, "--json")
    problems = json.loads(result.stdout)["problems"]
    found = {(Path(problem["file"]).name, problem["rule"]) for problem in problems}
    assert result.exit_code == 2
    assert {("a.yaml", "unreadable-file"), ("b.yaml", "type")} == found


def test_a_repository_is_linted_without_an_error_about_what_is_no_manifest(canary: Canary, tmp_path: Path) -> None:
    files = {
        "app/kustomization.yaml": f"resources: [canary.yaml]\npatches:\n- path: patch.yaml\n# {GROUP}\n",
        "app/canary.yaml": MANIFEST,
        "app/patch.yaml": f"apiVersion: {GROUP}\nkind: Canary\nmetadata:\n  name: app\nspec:\n  skipAnalysis: true\n",
        "overlay/kustomization.yaml": f"patchesStrategicMerge:\n  - 'patches/a.yaml' # {GROUP}\nresources: [../app]\n",
        "overlay/patches/a.yaml": f"apiVersion: {GROUP}\nkind: Canary\nspec:\n  skipAnalysis: true\n",
        "app/values.yaml": "replicas: 2\n",
        "app/json-patch.yaml": "- op: replace\n  path: /spec/analysis/maxWeight\n  value: 30\n",
        "chart/Chart.yaml": "name: chart\n",
        "chart/templates/canary.yaml": MANIFEST.replace("name: app", "name: {{ .Values.name }}"),
        "chart/templates/hpa.yaml": "{{- if .Values.hpa }}\nkind: HorizontalPodAutoscaler\n{{- end }}\n",
        "checks/canary.yaml": "apiVersion: canaries.flanksource.com/v1\nkind: Canary\nspec: {}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    report = json.loads(canary("lint", tmp_path, "--json").stdout)
    assert (report["files"], report["errors"], report["canaries"]) == (1, 0, ["app.test"])
    assert [problem["rule"] for problem in report["problems"]] == ["unrendered-chart"]


def test_a_rule_is_ignored_everywhere_or_at_a_line(canary: Canary, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    field = "  servise: {}\n  service:\n"
    odd.write_text(MANIFEST.replace("  service:\n", field))
    (problem,) = json.loads(canary("lint", odd, "--json").stdout)["problems"]
    assert canary("lint", odd, "--strict", "--ignore", problem["rule"]).exit_code == 0
    assert canary("lint", odd, "--strict", "--ignore", "other").exit_code == 2
    comment = f"# canary-lint: ignore other, {problem['rule']}"
    for commented in (f"  servise: {{}} {comment}\n  service:\n", f"  {comment}\n{field}"):
        odd.write_text(MANIFEST.replace("  service:\n", commented))
        assert canary("lint", odd, "--strict").exit_code == 0
    odd.write_text(f"{comment}\n" + MANIFEST.replace("  service:\n", field))
    assert canary("lint", odd, "--strict").exit_code == 2


def test_an_empty_folder_is_bad_input(canary: Canary, tmp_path: Path) -> None:
    result = canary("lint", tmp_path)
    assert result.exit_code == 2
    assert "no file that ends in .yaml" in result.stderr


def test_a_path_that_is_too_long_is_bad_input(canary: Canary) -> None:
    result = canary("lint", "x" * 5_000)
    assert (result.exit_code, "File name too long" in result.stderr) == (2, True)
