"""Adoption of rollouts that Flagger began, without a new rollout, a change of weight or a restart of a pod.

    adopted = adopt(stored, canary, observation)      the rollout with a status in our terms
    AdoptingStore(store, canaries, workload, router)  stores it once, before any decision rests on it

Flagger names a revision by a hash over Go structs that no other program can compute. So the adoption replaces the names
in Flagger's status by our names of the observed revisions: the primary carries the promoted revision, and the target
the last applied one. At rest the last applied revision is the promoted one; a different revision on the target is new.
The same holds during a promotion, because Flagger changes the primary before it reports the promotion.

A revision that arrived after Flagger's last look keeps Flagger's name of the one before. So it differs from the last
applied one, and its analysis starts at weight 0. The API server's times of writing reveal it: Flagger looks at the
target in each tick, and writes a status for each move. A time counts the owner's writes only, and is an upper bound; in
doubt, a revision is new, because an analysis too many is safe. Without a known time the revision is the old one.

The adopted status is stored at once. Computed again at each load, it would take each later revision for the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore import Phase, RouteRefusal, Rung, Strategy
from canarycore.phases import ACTIVE, PROMOTED, PROMOTION
from canarycore_kubernetes.api.metadata import is_revision
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.resources.commands import refuse_old_command

if TYPE_CHECKING:
    from canarycore import Rollout, Routes, Status, Workload
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_runtime.ports import Router, StatusStore, StoredRollout, WorkloadPort


class AdoptingStore:
    """The port StatusStore over another store; it adopts the statuses that Flagger wrote.

    `workload` and `router` observe the rollouts to adopt.
    """

    def __init__(self, store: StatusStore, canaries: Canaries, workload: WorkloadPort, router: Router) -> None:
        self._store = store
        self._canaries = canaries
        self._workload = workload
        self._router = router

    async def keys(self) -> tuple[str, ...]:
        return await self._store.keys()

    async def load(self, key: str) -> StoredRollout | None:
        """Return a stored rollout. If Flagger wrote its status, adopt and store the status first.

        Raise Conflict if the Canary has changed meanwhile.
        """
        stored, canary = await self._store.load(key), await self._canaries.find(key)
        if stored is None or not isinstance(canary, ValidCanary) or not canary.is_flagger_status:
            return stored
        workloads = await self._workload.observe(stored.rollout)
        observed = await self._router.observe(stored.rollout)
        routes = None if isinstance(observed, RouteRefusal) else observed
        adopted = adopt(stored, canary, target=workloads.target, primary=workloads.primary, routes=routes)
        return evolve(adopted, version=await self._store.commit(key, adopted.status, stored.version))

    async def commit(self, key: str, status: Status, version: str) -> str:
        return await self._store.commit(key, status, version)


def adopt(
    stored: StoredRollout,
    canary: ValidCanary,
    *,
    target: Workload | None,
    primary: Workload | None,
    routes: Routes | None,
) -> StoredRollout:
    """Return the rollout as the controller decides from it, without storing anything."""
    if not canary.is_flagger_status:
        return stored
    status = adopt_status(stored.rollout, stored.status, target, primary, routes)
    return evolve(stored, status=refuse_old_command(stored.rollout, status, stored.command, canary.commanded_at))


def adopt_status(
    rollout: Rollout, status: Status, target: Workload | None, primary: Workload | None, routes: Routes | None
) -> Status:
    """Return Flagger's status in our terms: with our names of the revisions, and the weight that the routes have.

    A user may have changed a status of ours. It has our names already, so nothing changes.
    """
    if is_revision(status.applied) and (is_revision(status.promoted) or not status.promoted):
        return status
    carried = primary.revision if primary is not None else ""
    known = target.revision if target is not None and not _is_new(rollout, status, target, primary) else ""
    applied = (carried if status.phase in PROMOTED | PROMOTION else "") or known or status.applied
    promoted = carried or (applied if status.phase in PROMOTED else status.promoted)
    rejected = (known,) if status.phase is Phase.FAILED and known not in ("", promoted) else ()
    return status.but(applied=applied, promoted=promoted, rejected=rejected, rung=_rung(rollout, status, routes))


# ---------------------------------------------------------------------------------------------------------- details


def _is_new(rollout: Rollout, status: Status, target: Workload, primary: Workload | None) -> bool:
    """Return whether the target got its revision after Flagger's last look at it.

    Two ticks lie between the arrival of a revision and the first weight or the rejection: at the first one Flagger
    starts the analysis. So a revision that came within half an interval before this status has not been analysed. On
    the initial rung no request reaches the canary, and only a later write counts.
    """
    if primary is not None and target.revision == primary.revision:
        return status.applied != status.promoted  # the owner took the revision under test back
    if target.revised_at is None or not status.since:
        return False
    is_analysed = status.phase is Phase.FAILED or (status.phase in ACTIVE and not status.rung.is_initial)
    return target.revised_at > status.since - (rollout.interval / 2 if is_analysed else 0.0)


def _rung(rollout: Rollout, status: Status, routes: Routes | None) -> Rung:
    """Return the rung of the routes where Flagger's status lacks it: in Promoting, and with mirrored requests."""
    rung, phase = status.rung, status.phase
    if routes is None:
        return rung
    if phase is Phase.PROMOTING:
        return Rung(weight=routes.weight, matched=routes.matched, mirrored=routes.mirrored, iteration=rung.iteration)
    ladder = rollout.ladder
    is_mirrored = ladder.mirror and ladder.strategy is Strategy.WEIGHTS and routes.mirrored
    return Rung(mirrored=True) if phase is Phase.PROGRESSING and is_mirrored and rung.is_initial else rung
