"""Targets that are StatefulSets, under the provider `replicas`.

Each pod has a name and volumes of its own, so there is no primary copy. Both sides are pods of the one StatefulSet, by
their revisions (see `scaling.partition`). The names of its ControllerRevisions are our revisions. An effect writes
annotations and the partition that follows from them. Only a way back evicts pods, one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Refused
from canarycore_kubernetes.api.metadata import REVISION, UP
from canarycore_kubernetes.api.ownership import BlockedError
from canarycore_kubernetes.scaling.stateful_sets import MarkChange, ScaledSet
from canarycore_kubernetes.workloads.base import WorkloadTarget
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore_kubernetes.scaling.partition import RevisionShares


@frozen(kw_only=True)
class StatefulTarget(WorkloadTarget):
    """A StatefulSet. The methods are those of the port."""

    promoted: str = ""
    """The promoted revision by the rollout's status."""

    @property
    def _set(self) -> ScaledSet:
        return ScaledSet(
            cluster=self.cluster,
            namespace=self.namespace,
            name=self.name,
            key=self.key,
            promoted=self.promoted,
            clock=self.context.reading.clock,
        )

    async def observe(self) -> Workloads:
        """Return both sides. Raise BlockedError where the spec allows no rollout by partition."""
        shares = await self._set.observe()
        if shares is None:
            return Workloads(target=None, primary=None, is_restored=self.is_restored)
        if not self.is_deleted:
            self._set.demand_sound(shares)
            if not shares.facts.recorded:
                await self._demand_no_copies()
        return Workloads(
            target=shares.canary(),
            primary=shares.primary(),
            restorable=(shares.facts.current,) if shares.is_promoting else (),
            is_restored=self.is_restored,
        )

    async def _demand_no_copies(self) -> None:
        """Raise BlockedError where the Canary has the primary of a former target: nothing would remove it."""
        for kind, view in self.context.views.items():
            for (namespace, name), facts in (await self.cluster.cache(view).ready()).all():
                if namespace == self.namespace and self.owner.is_named_by(facts.ownership):
                    raise BlockedError(
                        f"canary {self.rollout.full_name}, spec.targetRef: found the {kind.kind} {name} of a former"
                        " target, expected a Canary of its own for a StatefulSet: the copy would stay. Delete the"
                        " Canary, and create it again."
                    )

    async def shared_pods(self) -> BlockedError | None:
        """Return a warning where Kubernetes has rolled another revision out than the rollout; None where it has not."""
        shares = await self._set.observe()
        recorded = "" if shares is None else shares.facts.recorded
        if shares is None or recorded in ("", shares.stable):
            return None
        return BlockedError(
            f"StatefulSet {self.name}.{self.namespace}: found {shares.stable} as its current revision, expected"
            f" {recorded}: somebody else changed its partition, or its template during a promotion. Its current"
            " revision counts as the stable one."
        )

    # effects ------------------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        """Record the stable revision, and hold later ones back. All pods stay as they are."""

        def begin(shares: RevisionShares) -> MarkChange | None:
            if shares.stable:
                return None
            self._set.demand_revision(shares, revision)
            self._set.demand_sound(shares)
            self._set.demand_rest(shares)
            return MarkChange(marks={REVISION: revision, UP: "true"}, weight=0)

        await self._set.change(begin)

    async def promote(self, revision: str) -> None:
        """Let Kubernetes roll the revision out to all pods."""

        def roll_out(shares: RevisionShares) -> MarkChange | None:
            if shares.stable == revision:
                return None
            self._set.demand_revision(shares, revision)
            return MarkChange(marks={REVISION: revision})

        await self._set.change(roll_out)

    async def restore_primary(self, revision: str) -> None:
        """Take a promotion back that is not complete: afterwards Kubernetes has no earlier revision to run."""

        def take_back(shares: RevisionShares) -> MarkChange | None:
            facts = shares.facts
            if shares.stable == revision:
                return None
            if not shares.is_promoting or facts.current != revision:
                raise Refused(
                    f"revision {revision} of statefulset {self.name}.{self.namespace} cannot be restored: Kubernetes"
                    f" runs {facts.current} and {facts.update}. Apply its template again."
                )
            return MarkChange(marks={REVISION: revision})

        await self._set.change(take_back)

    async def scale_up(self) -> None:
        """Let the newest revision take part, with one pod before the first weight."""
        await self._set.write({UP: "true"})

    async def scale_down(self) -> None:
        """Let the newest revision take part no longer, and replace its pods, one at each call."""
        await self._set.write({UP: None}, weight=0)
        await self._set.evict_next()

    async def restore(self) -> None:
        """Remove the annotations, and give the owner's partition back."""
        await self._set.give_back()
        self.mark_restored()
