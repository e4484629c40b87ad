"""A Canary whose target was renamed or replaced by one of another kind: its rollout begins anew.

The status names revisions of the former target. Without its primary the new target could never be analysed. So the
rollout starts with an empty status: the controller creates a primary of the new target, and the traffic stays on the
former primary until the new one is ready. After that the router removes the former one as a leftover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from canarycore import Status
from canarycore.errors import WorldError
from canarycore.phases import OVER

if TYPE_CHECKING:
    from canarycore import Rollout, TargetRef
    from canarycore_runtime.ports import StatusStore, StoredRollout, Workloads


class Primaries(Protocol):
    """The part of the workloads that shows the primaries of a Canary; `ClusterWorkloads` has it."""

    async def observe(self, rollout: Rollout) -> Workloads:
        """Return the target and its primary."""

    async def has_former_primary(self, rollout: Rollout) -> bool:
        """Return whether the Canary owns the primary of another target."""


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
        if stored.status.promoted and stored.status.phase not in OVER:
            try:
                if await self._is_new_target(stored):
                    return evolve(stored, status=Status(handled=stored.status.handled))
            except WorldError:  # the cycle reports it
                return stored
        self._targets[key] = stored.rollout.target
        return stored

    async def _is_new_target(self, stored: StoredRollout) -> bool:
        """Return whether the target has no primary, but the Canary has the primary of another target."""
        workloads = await self._workload.observe(stored.rollout)
        return workloads.primary is None and await self._workload.has_former_primary(stored.rollout)

    async def commit(self, key: str, status: Status, version: str) -> str:
        return await self._store.commit(key, status, version)
