"""Rehearsals that run are found by other commands; those that were killed are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canarycore_cli import rehearsals
from canarycore_cli.console import BadInput


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "canarycore"


def _elsewhere(key: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that has registered a rehearsal."""
    program = (
        "import sys; from pathlib import Path; from canarycore_cli.rehearsals import registered\n"
        "with registered(sys.argv[1], Path(sys.argv[2])):\n"
        "    print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", program, key, str(folder)], **pipes)  # type: ignore[call-overload]
    process.stdout.readline()
    return process  # type: ignore[no-any-return]


def test_a_rehearsal_is_found_while_it_runs(tmp_path: Path) -> None:
    process = _elsewhere("test/app", tmp_path)
    found = rehearsals.choose("", None)
    assert (found.key, found.folder, found.pid) == ("test/app", tmp_path, process.pid)
    process.communicate("")
    assert rehearsals.running() == ()


def test_a_killed_rehearsal_leaves_no_record(tmp_path: Path, cache: Path) -> None:
    process = _elsewhere("test/app", tmp_path)
    process.kill()
    process.communicate()
    assert list((cache / "running").iterdir()) != []
    assert rehearsals.running() == ()
    assert list((cache / "running").iterdir()) == []


def test_several_rehearsals_are_told_apart_by_name_or_folder(tmp_path: Path) -> None:
    others = [_elsewhere("test/app", tmp_path / "one"), _elsewhere("prod/web", tmp_path / "two")]
    for name, state_dir, key in [
        ("app", None, "test/app"),
        ("app.test", None, "test/app"),
        ("prod/web", None, "prod/web"),
        ("", tmp_path / "two", "prod/web"),
    ]:
        assert rehearsals.choose(name, state_dir).key == key
    with pytest.raises(BadInput, match="found 2 running rehearsals"):
        rehearsals.choose("", None)
    with pytest.raises(BadInput, match=r"no running rehearsal of other; running are: .*test/app"):
        rehearsals.choose("other", None)
    for process in others:
        process.communicate("")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    process = _elsewhere("test/app", tmp_path)
    with pytest.raises(BadInput, match="is running in"):
        rehearsals.refuse_if_running(tmp_path)
    process.communicate("")
    rehearsals.refuse_if_running(tmp_path)


def test_only_what_a_rehearsal_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    rehearsals.clear(folder)
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="found other files"):
        rehearsals.clear(folder)
    (folder / "script.json").write_text("{}")
    rehearsals.clear(folder)
    assert not folder.exists()


def test_what_was_killed_before_it_had_begun_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for name in ("canary.log", "options.json", "trace.ndjson", "owner.lock", "script.json.draft"):
        (folder / name).touch()
    rehearsals.clear(folder)
    assert not folder.exists()


def test_the_last_rehearsal_is_the_one_to_resume(cache: Path) -> None:
    with pytest.raises(BadInput, match="found no rehearsal to resume"):
        rehearsals.latest_folder()
    for age, name in enumerate(["newest", "older", "oldest"]):
        folder = cache / "rehearsals" / name
        folder.mkdir(parents=True)
        (folder / "script.json").write_text(json.dumps(name))
        os.utime(folder / "script.json", (1_000_000 - age, 1_000_000 - age))
    assert rehearsals.latest_folder().name == "newest"
