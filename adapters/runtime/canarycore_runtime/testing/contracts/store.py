"""The contract of a StatusStore: a stale commit never wins, and a commit is durable when it returns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import Phase, Reason, Rollout, Rung, Status
from canarycore.errors import Conflict, WorldError
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
        with pytest.raises(WorldError):
            await store.commit(key, STATUS, version)
        assert await store.load(key) is None
        assert key not in await store.keys()


async def _load(store: StatusStore, key: str) -> StoredRollout:
    stored = await store.load(key)
    assert stored is not None, f"the store lacks {key} after a put"
    return stored
