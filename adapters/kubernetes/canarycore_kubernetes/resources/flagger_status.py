"""Rollouts that Flagger began: taken over with no rollout, no change of a weight, and no restart of a pod.

Flagger names revisions by a hash over Go structs that nobody else can compute. So the names in a status of Flagger's
are replaced by ours, from what is there: the primary carries what was promoted, and the target what was applied last.
Only at rest what was applied last is what was promoted: another revision on the target has come while nobody looked.
So has one that is there in the middle of a promotion, for Flagger changes the primary before it says that it promotes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.phases import PROMOTED, PROMOTION
from canarycore_kubernetes.resources.canaries import ValidCanary

if TYPE_CHECKING:
    from canarycore import Status
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_runtime.ports import StatusStore, StoredRollout, WorkloadPort, Workloads


class AdoptingStore:
    """The port StatusStore over another one, in our terms where a status is still in Flagger's."""

    def __init__(self, store: StatusStore, canaries: Canaries, workload: WorkloadPort) -> None:
        self._store = store
        self._canaries = canaries
        self._workload = workload

    async def keys(self) -> tuple[str, ...]:
        return await self._store.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """As it is stored, or adopted. Nothing is written: the first commit makes the status ours."""
        stored, held = await self._store.load(key), await self._canaries.find(key)
        if stored is None or not isinstance(held, ValidCanary) or not held.is_flagger_status:
            return stored
        return evolve(stored, status=adopt_status(stored.status, await self._workload.observe(stored.rollout)))

    async def commit(self, key: str, status: Status, version: str) -> str:
        return await self._store.commit(key, status, version)


def adopt_status(status: Status, seen: Workloads) -> Status:
    """Flagger's status, with revisions by our names."""
    target = seen.target.revision if seen.target is not None else ""
    primary = seen.primary.revision if seen.primary is not None else ""
    applied = primary if status.phase in PROMOTED | PROMOTION else target
    return status.but(applied=applied or status.applied, promoted=primary)
