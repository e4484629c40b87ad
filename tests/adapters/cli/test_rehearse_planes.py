"""Tests of canary rehearse --plane: the input that it refuses before anything starts, and its printed story."""

from __future__ import annotations

from pathlib import Path

import pytest

from canarycore_cli.rehearsal.planes import BenchPrinter
from tests.adapters.cli.conftest import MANIFEST, Canary

CONTOUR = MANIFEST.replace("provider: istio", "provider: contour")


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program and no cache: a command that went on would end with all that is missing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


@pytest.fixture
def contour(tmp_path: Path) -> Path:
    path = tmp_path / "contour.yaml"
    path.write_text(CONTOUR)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plane", "nginx"), "expected contour or skipper"),
        (("--plane", "skipper"), "found contour, expected skipper (--plane skipper). Use --plane contour."),
        (("--plane", "contour", "--speed", "5"), "shorten spec.analysis.interval"),
        (("--plane", "contour", "--seed", "5"), "--seed with --plane"),
        (("--plane", "contour", "--hooks", "pass"), "--hooks with --plane"),
        (("--plane", "contour", "--metric", "a=1"), "--metric with --plane"),
        (("--plane", "contour", "--metrics-server", "http://a"), "--metrics-server with --plane"),
        (("--plane", "contour", "--state-dir", "a"), "A bench leaves nothing behind"),
        (("--plane", "contour", "--resume"), "A bench leaves nothing behind"),
        (("--plane", "contour", "--page"), "Use --json"),
        (("--plane", "contour", "--gate", "other=approve"), "it has gate"),
        (("--plane", "contour", "--new", "errors=much"), "errors=much: expected a percentage"),
        (("--plane", "contour", "--new", "errors=1%", "--new-cmd", "server"), "expected one of them"),
        (("--build",), "--build: found no --plane"),
    ],
)
def test_a_refused_option_names_the_remedy(
    canary: Canary, contour: Path, options: tuple[str, ...], message: str
) -> None:
    result = canary("rehearse", contour, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_provider_without_a_data_plane_is_sent_to_the_embedded_envoy(canary: Canary, manifest: Path) -> None:
    result = canary("rehearse", manifest, "--plane", "contour")
    assert result.exit_code == 2
    assert "found istio, expected contour (--plane contour). Leave --plane out" in result.stderr


def test_a_plane_needs_a_manifest_or_a_build(canary: Canary) -> None:
    assert "(or --build)" in canary("rehearse", "--plane", "contour").stderr


def test_missing_programs_are_one_error_before_anything_starts(canary: Canary, contour: Path, tmp_path: Path) -> None:
    result = canary("rehearse", contour, "--plane", "contour")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "this machine lacks" in result.stderr
    assert "  etcd: found none on the PATH" in result.stderr
    assert not (tmp_path / "cache").exists()


def test_a_build_without_go_starts_nothing(canary: Canary) -> None:
    result = canary("rehearse", "--plane", "skipper", "--build")
    assert result.exit_code == 1
    assert "install Go" in result.stderr


def test_a_canary_that_is_suspended_is_refused(canary: Canary, contour: Path) -> None:
    contour.write_text(CONTOUR.replace("  provider: contour\n", "  provider: contour\n  suspend: true\n"))
    assert "spec.suspend" in canary("rehearse", contour, "--plane", "contour").stderr


def test_the_story_ends_with_the_routing_objects_and_the_lost_requests(capsys: pytest.CaptureFixture[str]) -> None:
    printer = BenchPrinter()
    for weight, phase in ((0, "Initialized"), (40, "Progressing"), (0, "Succeeded")):
        objects = [{"kind": "HTTPProxy", "spec": {"weight": weight, "note": "a\x1b[31mb"}}]
        printer({"seconds": 1.0, "kind": "weight", "weight": weight, "phase": phase})
        printer({"seconds": 1.0, "kind": "objects", "weight": weight, "phase": phase, "objects": objects})
    printer({"seconds": 2.0, "kind": "split", "weight": 40, "requests": 10, "bad": 1, "versions": {"v1": 6, "v2": 4}})
    printer(
        {
            "outcome": "Succeeded", "reason": "", "seconds": 60.0, "requests": 10, "answered": 9, "lost": 1,
            "bad_requests": 1, "requests_by_version": {"v1": 6, "v2": 3, "unanswered": 1}, "splits": [],
        }
    )  # fmt: skip
    output = capsys.readouterr().out
    assert "10 requests, answered by v1 60.0%, v2 40.0%, 1 bad" in output
    assert "the controller wrote, at weight 40 (Progressing):\n    kind: HTTPProxy\n" in output
    assert "the controller wrote, at weight 0 (Succeeded):" in output
    assert "(Initialized):" not in output
    assert "9 requests answered by a pod, 1 lost" in output
    assert "\x1b" not in output
