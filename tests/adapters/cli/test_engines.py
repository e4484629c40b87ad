"""Tests of canary simulate with each engine, and of its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.adapters.cli.conftest import Canary

BAD = ("--error-rate", "0.1%,0.9%")
PNG = b"\x89PNG\r\n\x1a\n"


def test_all_engines_agree(canary: Canary, manifest: Path) -> None:
    results = {}
    for engine, runs in (("core", 60), ("vector", 20_000), ("exact", 1)):
        result = canary("simulate", str(manifest), *BAD, "--runs", str(runs), "--engine", engine, "--json")
        results[engine] = json.loads(result.stdout)
        assert results[engine]["engine"] == engine
    assert results["vector"]["p_rollback"] == pytest.approx(results["exact"]["p_rollback"], abs=0.02)
    assert results["core"]["p_rollback"] == pytest.approx(results["exact"]["p_rollback"], abs=0.3)
    assert results["vector"]["mean_minutes"] == pytest.approx(results["exact"]["mean_minutes"], rel=0.02)


def test_an_engine_that_does_not_cover_the_policy_prints_the_reason(
    canary: Canary, tmp_path: Path, manifest: Path
) -> None:
    short = tmp_path / "short.yaml"
    short.write_text(manifest.read_text().replace("interval: 1m", "interval: 30s", 1))
    result = canary("simulate", str(short), "--engine", "exact")
    assert result.exit_code == 2
    assert "longer than the interval" in result.stderr
    assert canary("simulate", str(short), "--runs", "50").exit_code == 0


def test_auto_takes_the_core_for_other_policies_and_prints_the_reason(canary: Canary, tmp_path: Path, manifest: Path):
    short = tmp_path / "short.yaml"
    short.write_text(manifest.read_text().replace("interval: 1m", "interval: 30s", 1))
    late = ("--ready-after", "20", "--test-rps", "5", "--runs", "50")
    result = canary("simulate", str(short), *late, "--json")
    output = json.loads(result.stdout)
    assert output["engine"] == "core"
    assert "the core decides every run, as" in output["assumptions"][-1]
    assert "the core decides every run, as" in " ".join(canary("simulate", str(short), *late).stdout.split())


def test_the_exact_engine_prints_its_table(canary: Canary, manifest: Path) -> None:
    result = canary("simulate", str(manifest), *BAD, "--engine", "exact")
    assert "without random draws" in result.stdout


def test_the_assumptions_name_late_pods(canary: Canary, manifest: Path) -> None:
    result = canary("simulate", str(manifest), "--ready-after", "90", "--runs", "10", "--json")
    assert any("1m30s" in note for note in json.loads(result.stdout)["assumptions"])


def test_plot_writes_a_png_or_a_page(canary: Canary, manifest: Path, tmp_path: Path) -> None:
    page, image = tmp_path / "policy.html", tmp_path / "policy.png"
    for file in (page, image):
        assert canary("simulate", str(manifest), *BAD, "--runs", "100", "--plot", str(file)).exit_code == 0
    assert image.read_bytes().startswith(PNG)
    text = page.read_text()
    assert "Probability of a rollback (exact)" in text
    assert "<script" not in text


def test_plot_refuses_another_kind_of_file(canary: Canary, manifest: Path, tmp_path: Path) -> None:
    result = canary("simulate", str(manifest), "--plot", str(tmp_path / "policy.pdf"))
    assert result.exit_code == 2
    assert ".html or .png" in result.stderr
