"""Adoption of rollouts that Flagger began, without a new rollout, a change of weight or a restart of a pod.

Flagger names a revision by a hash over Go structs that no other program can compute. So the adoption replaces the names
in Flagger's status by our names of the observed revisions: the primary carries the promoted revision, and the target
the last applied one. At rest the last applied revision is the promoted one; a different revision on the target is new.
The same holds during a promotion, because Flagger changes the primary before it reports the promotion.
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
    """The port StatusStore over another store; it adopts the statuses that Flagger wrote."""

    def __init__(self, store: StatusStore, canaries: Canaries, workload: WorkloadPort) -> None:
        self._store = store
        self._canaries = canaries
        self._workload = workload

    async def keys(self) -> tuple[str, ...]:
        return await self._store.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """Return a stored rollout, adopted if Flagger wrote its status. The first commit stores the adopted status."""
        stored, canary = await self._store.load(key), await self._canaries.find(key)
        if stored is None or not isinstance(canary, ValidCanary) or not canary.is_flagger_status:
            return stored
        return evolve(stored, status=adopt_status(stored.status, await self._workload.observe(stored.rollout)))

    async def commit(self, key: str, status: Status, version: str) -> str:
        return await self._store.commit(key, status, version)


def adopt_status(status: Status, workloads: Workloads) -> Status:
    """Return Flagger's status with our names of the revisions."""
    target = workloads.target.revision if workloads.target is not None else ""
    primary = workloads.primary.revision if workloads.primary is not None else ""
    applied = primary if status.phase in PROMOTED | PROMOTION else target
    return status.but(applied=applied or status.applied, promoted=primary)
