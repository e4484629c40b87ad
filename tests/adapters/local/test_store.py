"""The store: the port's contract, and commands from other processes."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from canarycore import CommandKind, Phase, Rollout, Status, TargetRef
from canarycore.errors import Conflict, WorldError
from canarycore_local.store import SqliteStore
from canarycore_runtime.testing.contracts import StatusStoreContract

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)


class Bench:
    """A file with several handles."""

    def __init__(self, path):
        self.path = path

    async def handle(self):
        return SqliteStore(self.path)

    async def put(self, rollout):
        return await SqliteStore(self.path).put(rollout)

    async def remove(self, key):
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("DELETE FROM rollouts WHERE key = ?", (key,))

    async def send_command(self, key, kind, weight=0):
        await SqliteStore(self.path).send_command(key, kind, weight)

    async def delete(self, key):
        await SqliteStore(self.path).delete(key)


class TestTheStoreContract(StatusStoreContract):
    @pytest.fixture
    def bench(self, tmp_path):
        return Bench(tmp_path / "status.sqlite")


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path / "status.sqlite")
    await store.put(ROLLOUT)
    return store


async def test_a_command_of_another_process_is_loaded(store, tmp_path):
    program = """
import asyncio, pathlib, sys
from canarycore import CommandKind
from canarycore_local.store import SqliteStore
asyncio.run(SqliteStore(pathlib.Path(sys.argv[1])).send_command("test/podinfo", CommandKind.SKIP_TO, 40))
"""
    arguments = (sys.executable, "-c", program, str(tmp_path / "status.sqlite"))
    await asyncio.to_thread(subprocess.run, arguments, check=True)

    command = (await store.load("test/podinfo")).command

    assert (command.kind, command.weight) == (CommandKind.SKIP_TO, 40)


async def test_each_command_has_its_own_id_and_load_returns_the_newest(store):
    ids = []
    for kind in (CommandKind.PAUSE, CommandKind.RESUME, CommandKind.PAUSE):
        await store.send_command("test/podinfo", kind)
        command = (await store.load("test/podinfo")).command
        assert command.kind is kind
        ids.append(command.id)

    assert len(set(ids)) == 3


async def test_a_command_to_a_missing_rollout_names_the_existing_ones(store):
    with pytest.raises(WorldError, match=r"found no rollout test/backend in .*, expected one of: test/podinfo"):
        await store.send_command("test/backend", CommandKind.ABORT)


async def test_an_edit_keeps_the_status_and_conflicts_with_decisions_about_the_old_rollout(store):
    before = await store.load("test/podinfo")
    version = await store.commit("test/podinfo", Status(phase=Phase.SUCCEEDED), before.version)

    await store.put(
        Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True, threshold=7)
    )

    after = await store.load("test/podinfo")
    assert (after.rollout.threshold, after.status.phase) == (7, Phase.SUCCEEDED)
    with pytest.raises(Conflict):
        await store.commit("test/podinfo", Status(), version)


async def test_putting_an_unchanged_rollout_changes_nothing(store):
    before = await store.load("test/podinfo")

    await store.put(ROLLOUT)

    assert await store.load("test/podinfo") == before


async def test_a_deleted_rollout_is_loaded_as_deleted(store):
    await store.delete("test/podinfo")

    assert (await store.load("test/podinfo")).deleted


@pytest.mark.parametrize("change", ["command", "delete", "put"])
async def test_changes_yields_commands_deletions_and_edits_but_no_commits(store, change):
    changes = store.changes()
    change_key = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.3)
    await store.commit("test/podinfo", Status(), (await store.load("test/podinfo")).version)
    await asyncio.sleep(0.3)
    assert not change_key.done()

    match change:
        case "command":
            await store.send_command("test/podinfo", CommandKind.ABORT)
        case "delete":
            await store.delete("test/podinfo")
        case "put":
            await store.put(Rollout(name="other", target=TargetRef(name="other"), skip_analysis=True))

    assert await asyncio.wait_for(change_key, 5) == ("default/other" if change == "put" else "test/podinfo")
    await changes.aclose()


async def test_a_file_that_is_no_store_raises_an_error_with_its_path(tmp_path):
    path = tmp_path / "status.sqlite"
    path.write_text("this is a letter, and quite a long one, as letters go; it is no database" * 20)

    with pytest.raises(WorldError, match=r"the store .*status\.sqlite failed"):
        await SqliteStore(path).keys()
