"""The contract of a StatusStore.

A stale commit never wins, and a commit is durable when it returns. Commands of operators and deletions by owners reach
every process, and no commit loses them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import pytest
from attrs import evolve

from canarycore import CommandKind, Phase, Reason, Rollout, Rung, Status
from canarycore.errors import Conflict
from canarycore_runtime.ports import ALLOWED_ERRORS
from canarycore_runtime.testing.contracts._samples import notice, rollout

if TYPE_CHECKING:
    from canarycore_runtime.ports import StatusStore, StoredRollout

RIVALS = 8
"""Processes that commit at the same time."""

STATUS = Status(
    phase=Phase.PROGRESSING,
    reason=Reason.NONE,
    since=12.5,
    analysed_at=20.25,
    rung=Rung(weight=20),
    failed_checks=1,
    applied="two",
    promoted="one",
    outbox=(notice("notice-1"), notice("notice-2")),
)


class StoreBench(Protocol):
    """A storage and the owner of its rollouts."""

    async def handle(self) -> StatusStore:
        """Return a new adapter on the same storage, as another process has it."""

    async def put(self, rollout: Rollout) -> str:
        """Put the rollout of an owner into the storage, and return its key."""

    async def remove(self, key: str) -> None:
        """Remove a rollout at once and for good."""

    async def send_command(self, key: str, kind: CommandKind, weight: int = 0) -> None:
        """Send a command to a rollout, as an operator does. weight: percent, for SKIP_TO."""

    async def delete(self, key: str) -> None:
        """Delete a rollout with `revert_on_deletion`, as its owner does."""


@pytest.mark.asyncio
class StatusStoreContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> StoreBench:
        raise NotImplementedError("a subclass provides the bench")

    async def test_a_rollout_that_was_asked_for_is_listed_and_loaded(self, bench: StoreBench) -> None:
        wanted = rollout("podinfo")
        key = await bench.put(wanted)
        store = await bench.handle()
        assert await store.keys() == (key,)
        stored = await _load(store, key)
        assert (stored.rollout.full_name, stored.rollout.ladder) == (wanted.full_name, wanted.ladder)
        assert not stored.deleted

    async def test_a_new_rollout_has_a_blank_status(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        assert (await _load(await bench.handle(), key)).status == Status()

    async def test_an_unknown_rollout_is_none(self, bench: StoreBench) -> None:
        assert await (await bench.handle()).load("default/unknown") is None

    async def test_a_commit_is_seen_whole_by_another_process(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        writer, reader = await bench.handle(), await bench.handle()
        version = await writer.commit(key, STATUS, (await _load(writer, key)).version)
        stored = await _load(reader, key)
        assert stored.status == STATUS
        assert stored.version == version

    async def test_a_commit_changes_the_version(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        before = (await _load(store, key)).version
        assert await store.commit(key, STATUS, before) != before

    async def test_commits_follow_each_other_by_the_version_returned(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        version = await store.commit(key, STATUS, (await _load(store, key)).version)
        await store.commit(key, STATUS.but(failed_checks=2), version)
        assert (await _load(store, key)).status.failed_checks == 2

    async def test_a_stale_commit_is_a_conflict_and_writes_nothing(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        first, second = await bench.handle(), await bench.handle()
        version = (await _load(first, key)).version
        await first.commit(key, STATUS, version)
        with pytest.raises(Conflict):
            await second.commit(key, STATUS.but(phase=Phase.FAILED), version)
        assert (await _load(second, key)).status == STATUS

    async def test_exactly_one_of_simultaneous_commits_wins(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        stores = [await bench.handle() for _ in range(RIVALS)]
        version = (await _load(stores[0], key)).version
        outcomes = await asyncio.gather(
            *(store.commit(key, STATUS.but(holds=number), version) for number, store in enumerate(stores)),
            return_exceptions=True,
        )
        winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, str)]
        assert len(winners) == 1
        assert all(isinstance(outcome, str | Conflict) for outcome in outcomes)
        assert (await _load(stores[0], key)).status.holds == winners[0]

    async def test_a_commit_leaves_other_rollouts_alone(self, bench: StoreBench) -> None:
        ours, others = await bench.put(rollout("podinfo")), await bench.put(rollout("backend"))
        store = await bench.handle()
        version = (await _load(store, others)).version
        await store.commit(ours, STATUS, (await _load(store, ours)).version)
        assert (await _load(store, others)).status == Status()
        await store.commit(others, STATUS, version)

    async def test_a_rollout_that_is_gone_takes_no_commit_and_does_not_come_back(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        version = (await _load(store, key)).version
        await bench.remove(key)
        with pytest.raises(ALLOWED_ERRORS):
            await store.commit(key, STATUS, version)
        assert await store.load(key) is None
        assert key not in await store.keys()

    async def test_versions_and_keys_are_texts(self, bench: StoreBench) -> None:
        """A number would be another version than its text after a restart."""
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        loaded = (await _load(store, key)).version
        committed = await store.commit(key, STATUS, loaded)
        assert [type(text) for text in (key, *await store.keys(), loaded, committed)] == [str] * 4
        assert type((await _load(store, key)).version) is str

    async def test_a_version_of_another_rollout_or_of_nothing_is_a_conflict(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        stale = (await _load(store, key)).version
        await store.commit(key, STATUS, stale)
        for version in (stale, f"{stale}0"):
            with pytest.raises(Conflict):
                await store.commit(key, Status(), version)
        assert (await _load(store, key)).status == STATUS

    # commands ---------------------------------------------------------------------------------------------------

    async def test_without_a_command_there_is_none(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        assert (await _load(await bench.handle(), key)).command is None

    @pytest.mark.parametrize("kind", CommandKind)
    async def test_a_command_reaches_another_process(self, bench: StoreBench, kind: CommandKind) -> None:
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        await _load(store, key)
        weight = 40 if kind is CommandKind.SKIP_TO else 0
        await bench.send_command(key, kind, weight)
        command = (await _load(store, key)).command
        assert command is not None
        assert (command.kind, command.weight) == (kind, weight)

    async def test_the_newest_command_counts(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        await bench.send_command(key, CommandKind.PAUSE)
        await bench.send_command(key, CommandKind.ABORT)
        command = (await _load(await bench.handle(), key)).command
        assert command is not None
        assert command.kind is CommandKind.ABORT

    async def test_each_command_has_an_id_of_its_own_that_stays(self, bench: StoreBench) -> None:
        """A rollout handles each id once, so a second pause with the first one's id would do nothing."""
        key = await bench.put(rollout("podinfo"))
        ids = []
        for _ in range(2):
            await bench.send_command(key, CommandKind.PAUSE)
            for _ in range(2):
                command = (await _load(await bench.handle(), key)).command
                assert command is not None
                ids.append(command.id)
        assert ids[0] == ids[1]
        assert ids[2] == ids[3]
        assert ids[0] != ids[2]

    async def test_a_command_is_for_its_rollout_only(self, bench: StoreBench) -> None:
        ours, others = await bench.put(rollout("podinfo")), await bench.put(rollout("backend"))
        await bench.send_command(ours, CommandKind.PAUSE)
        assert (await _load(await bench.handle(), others)).command is None

    async def test_a_command_during_a_cycle_is_not_lost(self, bench: StoreBench) -> None:
        """It arrives between a load and the commit: the commit conflicts, or leaves the command alone."""
        key = await bench.put(rollout("podinfo"))
        store = await bench.handle()
        version = (await _load(store, key)).version
        await bench.send_command(key, CommandKind.ABORT)
        with suppress(Conflict):
            await store.commit(key, STATUS, version)
        command = (await _load(store, key)).command
        assert command is not None
        assert command.kind is CommandKind.ABORT

    async def test_a_handled_command_is_recorded(self, bench: StoreBench) -> None:
        key = await bench.put(rollout("podinfo"))
        await bench.send_command(key, CommandKind.PAUSE)
        store = await bench.handle()
        stored = await _load(store, key)
        assert stored.command is not None
        await store.commit(key, STATUS.but(handled=stored.command.id), stored.version)
        after = await _load(await bench.handle(), key)
        assert after.status.handled == stored.command.id
        assert after.command is None or after.command.id == stored.command.id

    # deletion ---------------------------------------------------------------------------------------------------

    async def test_a_deletion_reaches_another_process_with_the_status(self, bench: StoreBench) -> None:
        key, store = await _begun(bench)
        await bench.delete(key)
        stored = await _load(store, key)
        assert stored.deleted
        assert stored.status == STATUS
        assert key in await store.keys()

    async def test_a_deleted_rollout_takes_commits_until_its_end(self, bench: StoreBench) -> None:
        key, store = await _begun(bench)
        await bench.delete(key)
        ending = STATUS.but(phase=Phase.TERMINATING)
        await store.commit(key, ending, (await _load(store, key)).version)
        stored = await _load(store, key)
        assert stored.deleted
        assert stored.status == ending

    async def test_a_deletion_during_a_cycle_is_not_lost(self, bench: StoreBench) -> None:
        key, store = await _begun(bench)
        stored = await _load(store, key)
        await bench.delete(key)
        with suppress(Conflict):
            await store.commit(key, STATUS.but(holds=1), stored.version)
        assert (await _load(store, key)).deleted


async def _begun(bench: StoreBench) -> tuple[str, StatusStore]:
    """Return the key of a rollout with a status and `revert_on_deletion`, and its store."""
    key = await bench.put(evolve(rollout("podinfo"), revert_on_deletion=True))
    store = await bench.handle()
    await store.commit(key, STATUS, (await _load(store, key)).version)
    return key, store


async def _load(store: StatusStore, key: str) -> StoredRollout:
    stored = await store.load(key)
    assert stored is not None, f"the store lacks {key} after a put"
    return stored
