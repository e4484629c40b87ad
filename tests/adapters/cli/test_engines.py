"""canary simulate with each engine, and its pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.adapters.cli.conftest import Canary

BAD = ("--error-rate", "0.1%,0.9%")
PNG = b"\x89PNG\r\n\x1a\n"


def test_each_engine_tells_the_same_probability(canary: Canary, manifest: Path) -> None:
    told = {}
    for engine, runs in (("core", 60), ("vector", 20_000), ("exact", 1)):
        result = canary("simulate", str(manifest), *BAD, "--runs", str(runs), "--engine", engine, "--json")
        told[engine] = json.loads(result.stdout)
        assert told[engine]["engine"] == engine
    assert told["vector"]["p_rollback"] == pytest.approx(told["exact"]["p_rollback"], abs=0.02)
    assert told["core"]["p_rollback"] == pytest.approx(told["exact"]["p_rollback"], abs=0.3)
    assert told["vector"]["mean_minutes"] == pytest.approx(told["exact"]["mean_minutes"], rel=0.02)


def test_an_engine_that_does_not_cover_the_policy_says_so(canary: Canary, tmp_path: Path, manifest: Path) -> None:
    often = tmp_path / "often.yaml"
    often.write_text(manifest.read_text().replace("interval: 1m", "interval: 30s", 1))
    result = canary("simulate", str(often), "--engine", "exact")
    assert result.exit_code == 2
    assert "longer than the interval" in result.stderr
    assert canary("simulate", str(often), "--runs", "50").exit_code == 0


def test_the_core_decides_what_arrays_do_not_cover_and_it_is_told_why(canary: Canary, tmp_path: Path, manifest: Path):
    often = tmp_path / "often.yaml"
    often.write_text(manifest.read_text().replace("interval: 1m", "interval: 30s", 1))
    late = ("--ready-after", "20", "--test-rps", "5", "--runs", "50")
    result = canary("simulate", str(often), *late, "--json")
    told = json.loads(result.stdout)
    assert told["engine"] == "core"
    assert "the core decides every run, as" in told["assumptions"][-1]
    assert "the core decides every run, as" in " ".join(canary("simulate", str(often), *late).stdout.split())


def test_the_exact_engine_prints_its_table(canary: Canary, manifest: Path) -> None:
    result = canary("simulate", str(manifest), *BAD, "--engine", "exact")
    assert "without random draws" in result.stdout


def test_late_pods_are_told_among_the_assumptions(canary: Canary, manifest: Path) -> None:
    result = canary("simulate", str(manifest), "--ready-after", "90", "--runs", "10", "--json")
    assert any("1m30s" in note for note in json.loads(result.stdout)["assumptions"])


def test_a_picture_is_a_png_or_a_page_of_its_own(canary: Canary, manifest: Path, tmp_path: Path) -> None:
    page, image = tmp_path / "policy.html", tmp_path / "policy.png"
    for file in (page, image):
        assert canary("simulate", str(manifest), *BAD, "--runs", "100", "--plot", str(file)).exit_code == 0
    assert image.read_bytes().startswith(PNG)
    text = page.read_text()
    assert "Probability of a rollback (exact)" in text
    assert "<script" not in text


def test_a_picture_of_another_kind_is_refused(canary: Canary, manifest: Path, tmp_path: Path) -> None:
    result = canary("simulate", str(manifest), "--plot", str(tmp_path / "policy.pdf"))
    assert result.exit_code == 2
    assert ".html or .png" in result.stderr
