"""A Canary whose target was renamed or replaced by one of another kind: its rollout begins anew.

The status names revisions of the former target. Without its primary the new target could never be analysed. So the
rollout starts with an empty status: the controller creates a primary of the new target, and the traffic stays on the
former primary until the new one is ready. After that the router removes the former one as a leftover.

    NewTargetStore(store, workload)                     begins the rollout anew
    await begin_anew(stored, primary, workload)         the rollout as that store loads it, for those who only look
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import evolve

from canarycore import Status
from canarycore.errors import WorldError
from canarycore.phases import OVER

if TYPE_CHECKING:
    from canarycore import Rollout, TargetRef, Workload
    from canarycore_runtime.ports import StatusStore, StoredRollout, Workloads


@runtime_checkable
class Primaries(Protocol):
    """The part of the workloads that shows the primaries of a Canary; `ClusterWorkloads` has it."""

    async def observe(self, rollout: Rollout) -> Workloads:
        """Return the target and its primary."""

    async def has_former_primary(self, rollout: Rollout) -> bool:
        """Return whether the Canary owns the primary of another target."""


async def begin_anew(stored: StoredRollout, primary: Workload | None, workload: object) -> StoredRollout:
    """Return the rollout as the controller decides from it, without storing anything. primary: that of the target."""
    if not names_target(stored.status):
        return stored
    is_new = await has_only_former_primary(workload, stored.rollout, primary)
    return evolve(stored, status=forget_former_target(stored.status, is_new=is_new))


async def has_only_former_primary(workload: object, rollout: Rollout, primary: Workload | None) -> bool:
    """Return whether the target has no primary, but the Canary has the primary of another target."""
    return primary is None and isinstance(workload, Primaries) and await workload.has_former_primary(rollout)


def forget_former_target(status: Status, *, is_new: bool) -> Status:
    """Return the status; without all but its last command if the target is new and the status is about another one."""
    if not is_new or not names_target(status):
        return status
    return Status(handled=status.handled, refusal=status.refusal)


def names_target(status: Status) -> bool:
    """Check whether a status names revisions of a target."""
    return bool(status.promoted) and status.phase not in OVER


class NewTargetStore:
    """The port StatusStore over another store; it begins the rollout of a Canary with a new target anew."""

    def __init__(self, store: StatusStore, workload: Primaries) -> None:
        self._store = store
        self._workload = workload
        self._targets: dict[str, TargetRef] = {}

    async def keys(self) -> tuple[str, ...]:
        return await self._store.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """Return a stored rollout, without its status if that is about a former target.

        The first commit stores the new status. A target that this process has seen with its primary costs nothing.
        """
        stored = await self._store.load(key)
        if stored is None:
            self._targets.pop(key, None)
            return None
        if self._targets.get(key) == stored.rollout.target:
            return stored
        if names_target(stored.status):
            try:
                primary = (await self._workload.observe(stored.rollout)).primary
                begun = await begin_anew(stored, primary, self._workload)
            except WorldError:  # the cycle reports it
                return stored
            if begun.status is not stored.status:
                return begun
        self._targets[key] = stored.rollout.target
        return stored

    async def commit(self, key: str, status: Status, version: str) -> str:
        return await self._store.commit(key, status, version)
