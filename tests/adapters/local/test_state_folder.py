"""Tests of a rehearsal's folder: it is private, and foreign files in it stay safe."""

import os
import stat
from pathlib import Path

import pytest

from canarycore_local.envoy import proxy as envoy
from canarycore_local.rehearsal import FILES, RehearsalError, clear, read_script, rehearse, resume, stop
from canarycore_local.state_folder import (
    MARKER,
    claim,
    demand_private,
    make_empty,
    open_private,
    read_private,
    remove,
    write_private,
)
from canarycore_local.store import SqliteStore
from canarycore_local.workload import log_name
from canarycore_runtime import Runner
from tests.adapters.local import owner

OTHER_USER = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def folder(tmp_path):
    """A folder that a rehearsal has claimed."""
    folder = tmp_path / "state"
    claim(folder)
    return folder


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# owners of folders ---------------------------------------------------------------------------------------------------


def test_a_new_folder_is_private_with_any_umask(tmp_path, umask):
    (tmp_path / "state").mkdir()
    claim(tmp_path / "state")
    write_private(tmp_path / "state" / "file", "text")
    assert (mode(tmp_path / "state"), mode(tmp_path / "state" / "file")) == (0o700, 0o600)


def test_claiming_an_empty_folder_makes_it_private(tmp_path):
    tmp_path.chmod(0o777)
    claim(tmp_path)
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("name", ["thesis.txt", "script.json", "status.sqlite", "trace.ndjson"])
def test_a_folder_with_foreign_files_is_refused_and_unchanged(tmp_path, name):
    (tmp_path / name).write_text("years of work")
    tmp_path.chmod(0o755)
    with pytest.raises(RehearsalError, match=r"found other files .*expected an empty folder.*choose another folder"):
        claim(tmp_path)
    clear(tmp_path)
    assert contents(tmp_path) == {name: b"years of work"}
    assert mode(tmp_path) == 0o755


def test_a_claimed_folder_can_be_claimed_again(folder):
    (folder / "thesis.txt").write_text("years of work")
    claim(folder)


@ROOT_ONLY
def test_a_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, OTHER_USER, -1)
    with pytest.raises(RehearsalError, match=r"found a folder of user 65534, expected your own"):
        claim(tmp_path)


@pytest.mark.parametrize("wider", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(folder, wider):
    folder.chmod(wider)
    for call in (claim, demand_private, clear):
        with pytest.raises(RehearsalError, match=f"found the mode {wider:04o}"):
            call(folder)


def test_a_folder_that_others_can_only_read_becomes_private(folder):
    (folder / "plan.json").touch()
    (folder / "plan.json").chmod(0o644)
    folder.chmod(0o755)
    demand_private(folder, FILES)
    assert (mode(folder), mode(folder / "plan.json")) == (0o700, 0o600)


def test_an_unusable_path_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(RehearsalError, match=r"cannot be used.*choose another folder") as refused:
        claim(tmp_path / ("x" * 300))
    assert len(str(refused.value)) < 1300


@pytest.mark.parametrize("place", ["file", "link", "link to a rehearsal"])
def test_a_link_or_a_file_in_place_of_a_folder_is_refused(tmp_path, folder, place):
    path = tmp_path / "other"
    if place == "file":
        path.touch()
    else:
        (tmp_path / "documents").mkdir()
        path.symlink_to(tmp_path / "documents" if place == "link" else folder)
    with pytest.raises(RehearsalError, match=r"found (a symbolic link|a file that is no folder)"):
        claim(path)


# owners of files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_behind_a_link_is_never_read_written_or_deleted(tmp_path, folder, name):
    """Neither the file itself nor a folder on its path may be a link."""
    precious = tmp_path / "documents"
    precious.mkdir()
    (precious / Path(name).name).write_text("years of work")
    link = folder / Path(name).parts[0]
    link.symlink_to(precious if "/" in name else precious / name)

    for call in (lambda: demand_private(folder, FILES), lambda: clear(folder), lambda: remove(folder, [name])):
        with pytest.raises(RehearsalError, match="found a symbolic link"):
            call()
    assert (precious / Path(name).name).read_text() == "years of work"
    assert link.is_symlink()


@pytest.mark.parametrize("how", ["r", "w", "a", "ab", "r+"])
def test_a_file_behind_a_link_is_not_opened(tmp_path, how):
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(RehearsalError, match="found a symbolic link"):
        open_private(tmp_path / "link", how)
    with pytest.raises(RehearsalError, match="found a symbolic link"):
        make_empty(tmp_path / "link")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("how", ["r", "w", "a"])
def test_a_file_that_others_can_write_is_not_opened(tmp_path, how):
    (tmp_path / "script.json").write_text("kept")
    (tmp_path / "script.json").chmod(0o666)
    with pytest.raises(RehearsalError, match="found the mode 0666"):
        open_private(tmp_path / "script.json", how)
    assert (tmp_path / "script.json").read_text() == "kept"


@ROOT_ONLY
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_user_is_refused(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}")
    os.chown(folder / name, OTHER_USER, -1)
    for call in (lambda: demand_private(folder, FILES), lambda: clear(folder), lambda: read_private(folder / name)):
        with pytest.raises(RehearsalError, match="of user 65534, expected your own"):
            call()


def test_a_pipe_is_refused_at_once(folder):
    os.mkfifo(folder / "plan.json")
    for how in ("r", "w"):
        with pytest.raises(RehearsalError, match="found a special file"):
            open_private(folder / "plan.json", how)


async def test_a_store_is_private_with_any_umask(tmp_path, umask):
    store = SqliteStore(tmp_path / "status.sqlite")
    await store.put(owner.ROLLOUT)
    await store.keys()
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


# deletion -------------------------------------------------------------------------------------------------------------


def test_clear_deletes_only_files_of_a_rehearsal(folder):
    foreign_files = [
        "thesis.txt",
        "script.json.bak",
        "logs/app.log",
        "logs/primary-abc.log",
        "envoy/notes",
        "envoy/routes/mine.json",
        "more/script.json",
    ]
    for name in (*foreign_files, *FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")
    (folder / "link").symlink_to(folder.parent)

    clear(folder)

    remaining = contents(folder)
    assert set(remaining) == {*foreign_files, MARKER, "owner.lock"}
    assert all(remaining[name] == b"years of work" for name in foreign_files)
    assert (folder / "link").is_symlink()


def test_clear_deletes_nothing_when_it_cannot_delete_all(folder):
    (folder / "plan.json").write_text("{}")
    (folder / "script.json").mkdir()
    with pytest.raises(RehearsalError, match="found a folder, expected a regular file"):
        clear(folder)
    assert (folder / "plan.json").exists()


async def test_a_foreign_folder_is_neither_stopped_nor_resumed(tmp_path):
    (tmp_path / "warden.json").write_text('{"socket": "/nowhere"}')
    (tmp_path / "script.json").write_text("{}")
    assert not await stop(tmp_path)
    with pytest.raises(RehearsalError, match="found no rehearsal to resume"):
        read_script(tmp_path)
    with pytest.raises(RehearsalError, match="found no rehearsal to resume"):
        async with resume(tmp_path):
            pass


@pytest.mark.e2e
@pytest.mark.parametrize("umask", [0o000, 0o277], indirect=True, ids=oct)
async def test_all_files_of_a_rehearsal_are_listed_and_private(tmp_path, clean, umask):
    folder = tmp_path / "state"
    async with rehearse(folder, owner.SCRIPT) as rehearsal, Runner(rehearsal.parts):
        await rehearsal.play()
        during = {path: mode(path) for path in folder.rglob("*")}
    after = {path: mode(path) for path in folder.rglob("*")}

    for modes in (during, after):
        assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
        assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    logs = {log_name(side, version.revision) for side in envoy.EnvoySide for version in owner.SCRIPT.versions}
    expected = {*FILES, *logs, MARKER, "owner.lock", "warden.lock"}
    assert {str(path.relative_to(folder)) for path in (*during, *after) if path.is_file()} <= expected

    (folder / "thesis.txt").write_text("years of work")
    clear(folder)
    assert set(contents(folder)) == {"thesis.txt", MARKER, "owner.lock", "warden.lock"}
    async with rehearse(folder, owner.SCRIPT):
        pass
    assert (folder / "thesis.txt").read_text() == "years of work"
