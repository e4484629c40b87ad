"""The port WorkloadPort on Kubernetes: the target and its primary copy.

    workload = ClusterWorkloads(cluster, canaries, ReadingOptions(labels=options.selector_labels))

Observations come from caches and cost no request. An effect reads whole objects from the server where it needs them,
and writes only the differences to their required state.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.cache import UnreadableError
from canarycore_kubernetes.api.kinds import SERVICE, STATEFUL_SET
from canarycore_kubernetes.api.ownership import ForeignObjectError, NameConflictError
from canarycore_kubernetes.resources.refusals import PODS
from canarycore_kubernetes.telemetry.troubles import PODS_REFUSED
from canarycore_kubernetes.workloads.base import WorkloadContext
from canarycore_kubernetes.workloads.configs import MissingConfigError
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.knative_workload import KnativeTarget
from canarycore_kubernetes.workloads.pod_workload import PodTarget
from canarycore_kubernetes.workloads.service_workload import ServiceTarget
from canarycore_kubernetes.workloads.stateful_workload import StatefulTarget

if TYPE_CHECKING:
    from canarycore import Rollout
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.api.ownership import ForeignObject
    from canarycore_kubernetes.resources.canaries import Canaries
    from canarycore_kubernetes.resources.claims import Claims
    from canarycore_kubernetes.resources.events import EventNotifier
    from canarycore_kubernetes.resources.refusals import BlockedRollouts
    from canarycore_kubernetes.selection.past_templates import PastTemplate
    from canarycore_kubernetes.workloads.pod_workload import TargetChange
    from canarycore_runtime.ports import Workloads

Target = PodTarget | ServiceTarget | KnativeTarget | StatefulTarget

_TARGETS: dict[str, type[Target]] = {SERVICE.kind: ServiceTarget, STATEFUL_SET.kind: StatefulTarget}
"""The targets by kind. All other kinds have pods with a primary copy; a Service of Knative has a target of its own."""

_DEFAULT_READING = ReadingOptions()


class RoutePreparer(Protocol):
    """The part of a router that a new primary needs; `MeshRouter` has it."""

    async def foreign_objects(self, rollout: Rollout) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names that the routes need."""

    async def prepare(self, rollout: Rollout) -> None:
        """Create the objects that must exist before the primary's pods."""


class ClusterWorkloads:
    """The targets of a cluster's Canaries.

    reading: how Deployments and DaemonSets are read; the router has the same. prefixes: the controller's option
    --include-label-prefix. router: prepares the routes before a primary is created, as a mesh may need objects of its
    own before the pods exist. events: records warnings about missing configs and unreadable objects. claims: finds
    Canaries that need the same names. refusals: reports targets that no longer fit their primaries.
    """

    def __init__(
        self,
        cluster: Cluster,
        canaries: Canaries,
        reading: ReadingOptions = _DEFAULT_READING,
        *,
        prefixes: tuple[str, ...] = (),
        router: RoutePreparer | None = None,
        events: EventNotifier | None = None,
        claims: Claims | None = None,
        refusals: BlockedRollouts | None = None,
    ) -> None:
        self._canaries = canaries
        self._router = router
        self._events = events
        self._claims = claims
        self._refusals = refusals
        self._context = WorkloadContext(cluster=cluster, reading=reading, prefixes=prefixes)

    def _target(self, rollout: Rollout) -> Target:
        """Return the rollout's target. Raise WorldError when the Canary is gone."""
        canary = self._canaries.require(rollout)
        kind: type[Target] = _TARGETS.get(rollout.target.kind, PodTarget)
        if canary.manifest.spec.target_ref.knative:
            kind = KnativeTarget
        target = kind(
            context=self._context,
            rollout=rollout,
            canary=canary.manifest,
            uid=canary.uid,
            is_deleted=canary.is_deleted,
        )
        return evolve(target, promoted=canary.status.promoted) if isinstance(target, StatefulTarget) else target

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Workloads:
        target = self._target(rollout)
        try:
            workloads = await target.observe()
        except (MissingConfigError, UnreadableError) as error:
            await self._warn(rollout, error)
            raise
        if self._canaries.require(rollout).is_deleted:
            # a rollout that never began has nothing to give back
            return evolve(workloads, is_restored=True) if await self._objection(target) else workloads
        mismatch = await target.selector_mismatch()
        shared = await target.shared_pods() if workloads.primary is not None else None
        if shared is not None:  # they may have existed before the controller: a warning, as they serve
            await self._warn(rollout, shared)
        if self._refusals is not None:
            self._refusals.note(target.key, "" if mismatch is None else str(mismatch))
            refused = await target.refused_pods()
            text = f"{refused.rstrip('.')}. {PODS_REFUSED.remedy}" if refused else ""
            self._refusals.note(target.key, text, PODS, PODS_REFUSED)
        # a target under other labels is not the one that the rollout began with: as if that one were missing
        return workloads if mismatch is None else evolve(workloads, target=None)

    async def _warn(self, rollout: Rollout, error: WorldError) -> None:
        if self._events is not None:
            with suppress(WorldError):  # a failed warning must not hide the error itself
                await self._events.warn(rollout, str(error))

    async def tracked(self, rollout: Rollout) -> dict[str, str]:
        """Return checksums of the configs of the target's revision, by kind and name."""
        target = self._target(rollout)
        return await target.tracked() if isinstance(target, PodTarget) else {}

    async def images(self, rollout: Rollout) -> tuple[str, str]:
        """Return the images of the target and of the primary; an empty text for a side without pods of its own."""
        target = self._target(rollout)
        return await target.images() if isinstance(target, PodTarget) else ("", "")

    async def has_former_primary(self, rollout: Rollout) -> bool:
        """Return whether the Canary owns the primary of another Deployment or DaemonSet than its target."""
        target = self._target(rollout)
        return isinstance(target, PodTarget) and await target.has_former_primary()

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Create the primary with this revision. Raise Refused if the target has another one.

        Check all names that the rollout needs before the first write, so that a refusal leaves nothing half-done.
        """
        target = await self._claim_target(rollout)
        routes = () if self._router is None else await self._router.foreign_objects(rollout)
        foreign = (*await target.foreign_objects(), *routes)
        if foreign:
            raise ForeignObjectError(target.owner, foreign)
        shared = await target.shared_pods()
        if shared is not None:
            raise shared
        if self._router is not None:
            await self._router.prepare(rollout)
        await target.initialise(revision)

    async def scale_up(self, rollout: Rollout) -> None:
        await (await self._claim_target(rollout)).scale_up()

    async def resize(self, rollout: Rollout, replicas: int) -> None:
        """Give the target the size of a step. Raise Refused where it has no replicas, or an autoscaler."""
        await (await self._claim_pods(rollout)).resize(replicas)

    async def scale_down(self, rollout: Rollout) -> None:
        await (await self._claim_target(rollout)).scale_down()

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Give the primary this revision and save its old one. Raise Refused if the target has another revision."""
        await (await self._claim_target(rollout)).promote(revision)

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Give the primary a saved revision again. Raise Refused if it was not saved."""
        await (await self._claim_target(rollout)).restore_primary(revision)

    async def pause_scaler(self, rollout: Rollout) -> None:
        await (await self._claim_target(rollout)).pause_scaler()

    async def resume_scaler(self, rollout: Rollout) -> None:
        await (await self._claim_target(rollout)).resume_scaler()

    async def restore(self, rollout: Rollout) -> None:
        """Give the owner's objects back as they were. Leave those of another Canary alone."""
        target = self._target(rollout)
        if await self._objection(target):
            target.mark_restored()
        else:
            await target.restore()

    # the hand-back ----------------------------------------------------------------------------------------------

    async def preview_return(self, rollout: Rollout, promoted: str) -> TargetChange:
        """Return the change that gives the target its promoted revision again. It writes nothing.

        promoted: the promoted revision; empty if unknown. Raise Refused where that is impossible.
        """
        return await (await self._claim_pods(rollout)).preview_return(promoted)

    async def return_target(self, rollout: Rollout, change: TargetChange) -> None:
        """Change the target as previewed. Raise Conflict if it has changed since."""
        await (await self._claim_pods(rollout)).return_target(change)

    # earlier revisions ------------------------------------------------------------------------------------------

    async def past_templates(self, rollout: Rollout) -> tuple[PastTemplate, ...]:
        """Return the pod templates that Kubernetes keeps of the target, the latest first. It writes nothing."""
        target = self._target(rollout)
        return await target.past_templates() if isinstance(target, PodTarget) else ()

    async def undo(self, rollout: Rollout, past: PastTemplate) -> None:
        """Give the target an earlier template of its own. Raise Refused or Conflict if it has changed meanwhile."""
        await (await self._claim_pods(rollout)).undo(past)

    async def _claim_pods(self, rollout: Rollout) -> PodTarget:
        target = await self._claim_target(rollout)
        if not isinstance(target, PodTarget):
            raise Refused(
                f"{rollout.target.kind.lower()} {rollout.target.name}.{rollout.namespace}: found a target without a"
                " primary copy of its pods: apply the promoted revision again, and give its steps no size"
            )
        return target

    # other Canaries ---------------------------------------------------------------------------------------------

    async def _claim_target(self, rollout: Rollout) -> Target:
        """Return the target in order to change it.

        Raise NameConflictError where another Canary has it, and SelectorMismatchError where it does not fit its
        primary.
        """
        target = self._target(rollout)
        mismatch = None if self._canaries.require(rollout).is_deleted else await target.selector_mismatch()
        if mismatch is not None:
            raise mismatch
        objection = await self._objection(target)
        if objection:
            raise NameConflictError(target.owner, objection)
        return target

    async def _objection(self, target: Target) -> str:
        """Return why the rollout must not touch its target; empty where it may."""
        other = await target.other_canary()
        if other or self._claims is None or await target.has_primary():
            return other
        return await self._claims.objection(target.rollout)
