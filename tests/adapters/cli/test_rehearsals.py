"""Tests of the records of running rehearsals, and of their folders."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from canarycore import Rollout, TargetRef
from canarycore_cli.console import BadInput
from canarycore_cli.rehearsal import folders
from canarycore_local.store import STORE, SqliteStore
from tests.adapters.cli.conftest import Canary


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "canarycore"


def _start_rehearsal(key: str, folder: Path) -> subprocess.Popen[str]:
    """Start another process that registers a rehearsal."""
    program = (
        "import sys; from pathlib import Path; from canarycore_cli.rehearsal.folders import registered\n"
        "with registered(sys.argv[1], Path(sys.argv[2])):\n"
        "    print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", program, key, str(folder)], **pipes)  # type: ignore[call-overload]
    process.stdout.readline()
    return process  # type: ignore[no-any-return]


def test_choose_finds_a_rehearsal_while_it_runs(tmp_path: Path) -> None:
    process = _start_rehearsal("test/app", tmp_path)
    rehearsal = folders.choose("", None)
    assert (rehearsal.key, rehearsal.folder, rehearsal.pid) == ("test/app", tmp_path, process.pid)
    process.communicate("")
    assert folders.running() == ()


def test_a_killed_rehearsal_leaves_no_record(tmp_path: Path, cache: Path) -> None:
    process = _start_rehearsal("test/app", tmp_path)
    process.kill()
    process.communicate()
    assert list((cache / "running").iterdir()) != []
    assert folders.running() == ()
    assert list((cache / "running").iterdir()) == []


def test_a_name_or_a_folder_selects_one_of_several_rehearsals(tmp_path: Path) -> None:
    processes = [_start_rehearsal("test/app", tmp_path / "one"), _start_rehearsal("prod/web", tmp_path / "two")]
    for name, state_dir, key in [
        ("app", None, "test/app"),
        ("app.test", None, "test/app"),
        ("prod/web", None, "prod/web"),
        ("", tmp_path / "two", "prod/web"),
    ]:
        assert folders.choose(name, state_dir).key == key
    with pytest.raises(BadInput, match="found 2 running rehearsals"):
        folders.choose("", None)
    with pytest.raises(BadInput, match=r"no running rehearsal of other; running are: .*test/app"):
        folders.choose("other", None)
    for process in processes:
        process.communicate("")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    process = _start_rehearsal("test/app", tmp_path)
    with pytest.raises(BadInput, match="is running in"):
        folders.refuse_if_running(tmp_path)
    process.communicate("")
    folders.refuse_if_running(tmp_path)


@pytest.mark.parametrize("names", [("thesis.txt",), ("thesis.txt", "script.json"), ("script.json",), ("trace.ndjson",)])
def test_a_foreign_folder_is_refused_and_unchanged(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("years of work")
    with pytest.raises(BadInput, match=r"--state-dir .*found other files"):
        folders.clear(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "years of work")


def test_clear_deletes_only_the_files_of_the_last_rehearsal(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folders.clear(folder)
    for name in (*folders.FILES, "script.json", "thesis.txt"):
        (folder / name).touch()
    folders.clear(folder)
    assert {path.name for path in folder.iterdir()} == {"thesis.txt", ".canarycore-rehearsal", "owner.lock"}


@pytest.mark.parametrize("name", folders.FILES)
def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "state"
    folders.clear(folder)
    (tmp_path / "thesis.txt").write_text("years of work")
    (folder / name).symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(BadInput, match="found a symbolic link"):
        folders.clear(folder)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_running_removes_only_records(cache: Path, tmp_path: Path) -> None:
    records = cache / "running"
    records.mkdir(parents=True)
    for name in ("notes.json", "1.json.bak"):
        (records / name).write_text("years of work")
    (records / "1.json").symlink_to(records / "notes.json")
    (records / "2.json").touch()
    assert folders.running() == ()
    assert {path.name for path in records.iterdir()} == {"notes.json", "1.json.bak", "1.json"}
    assert (records / "notes.json").read_text() == "years of work"


def test_a_rollouts_name_cannot_lead_out_of_the_cache(cache: Path) -> None:
    rollout = Rollout(name="../../../x", namespace="..", target=TargetRef(name="x"), skip_analysis=True)
    assert folders.default_folder(rollout).parent == cache / "rehearsals"


def test_resume_takes_the_last_rehearsal(cache: Path) -> None:
    with pytest.raises(BadInput, match="found no rehearsal to resume"):
        folders.latest_folder()
    for age, name in enumerate(["newest", "older", "oldest"]):
        folder = cache / "rehearsals" / name
        folder.mkdir(parents=True)
        (folder / "script.json").write_text(json.dumps(name))
        os.utime(folder / "script.json", (1_000_000 - age, 1_000_000 - age))
    assert folders.latest_folder().name == "newest"


def _handle_next_command(folder: Path, key: str, refusal: str) -> threading.Thread:
    """Record the next command of a rehearsal as its process would."""

    async def handle() -> None:
        store = SqliteStore(folder / STORE)
        async with asyncio.timeout(20):
            while True:
                stored = await store.load(key)
                assert stored is not None
                if stored.command is not None:
                    break
                await asyncio.sleep(0.02)
        status = stored.status.but(handled=stored.command.id, refusal=refusal)
        await store.commit(key, status, stored.version)

    thread = threading.Thread(target=lambda: asyncio.run(handle()))
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("refusal", "code", "text"),
    [("the rollout is not paused", 1, "resume was refused: the rollout is not paused"), ("", 0, "resume was handled")],
)
def test_a_refused_command_to_a_rehearsal_fails_and_says_why(
    tmp_path: Path, canary: Canary, refusal: str, code: int, text: str
) -> None:
    rollout = Rollout(name="app", namespace="test", target=TargetRef(name="app"), skip_analysis=True)
    key = asyncio.run(SqliteStore(tmp_path / STORE).put(rollout))
    process = _start_rehearsal(key, tmp_path)
    thread = _handle_next_command(tmp_path, key, refusal)
    result = canary("resume", "app")
    thread.join()
    process.communicate("")
    assert (result.exit_code, text in result.output) == (code, True), result.output
