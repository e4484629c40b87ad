"""Parts of the examples with real proxies: a store in memory, a notifier that prints, hooks that nobody needs."""

from attrs import evolve

from canarycore import Rollout, Status
from canarycore.errors import Conflict
from canarycore.notices import Channel, Notice
from canarycore.questions import HookAnswer, HookQuestion
from canarycore_runtime import StoredRollout


class MemoryStore:
    """The port StatusStore for rollouts of this process. Yours is durable: a row of a database, an object, a file."""

    def __init__(self, *rollouts: Rollout) -> None:
        self.records = {
            f"{each.namespace}/{each.name}": StoredRollout(rollout=each, status=Status(), version="1")
            for each in rollouts
        }

    async def keys(self) -> tuple[str, ...]:
        return tuple(self.records)

    async def load(self, key: str) -> StoredRollout | None:
        return self.records.get(key)

    async def commit(self, key: str, status: Status, version: str) -> str:
        record = self.records[key]
        if record.version != version:
            raise Conflict(f"{key} is no longer at version {version}")
        self.records[key] = evolve(record, status=status, version=str(int(version) + 1))
        return self.records[key].version


class Printer:
    """The port Notifier: it prints the events."""

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        del rollout
        if notice.channel is Channel.EVENT:
            print(f"  {notice.phase.value:<12} {notice.text}", flush=True)


class NoHooks:
    """The port HookPort of policies without hooks."""

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        raise NotImplementedError(f"{rollout.name} has no hook {question.hook.name}")
