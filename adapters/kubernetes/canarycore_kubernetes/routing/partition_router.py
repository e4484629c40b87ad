"""The port Router for all targets: by the objects of a mesh, or by the partition of a StatefulSet.

The owner's own Services lead to all pods of a StatefulSet. So the numbers of pods alone split the requests, and the
router writes no Service and no route. A Service has ready endpoints as long as any pod is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_kubernetes.api.kinds import STATEFUL_SET
from canarycore_kubernetes.api.ownership import NameConflictError, Owner
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.scaling.stateful_sets import ScaledSet

if TYPE_CHECKING:
    from canarycore import Rollout, RouteRefusal, Routes
    from canarycore_kubernetes.api.ownership import ForeignObject


class TargetRouter(MeshRouter):
    """A router that chooses the way by the rollout's target."""

    async def observe(self, rollout: Rollout) -> Routes | RouteRefusal | None:
        if not is_stateful(rollout):
            return await super().observe(rollout)
        shares = await self._set_of(rollout).observe()
        routes = None if shares is None else shares.routes()
        if routes is not None:
            self._record_weight(rollout, routes)
        return routes

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Write the weight and its partition, and take back one pod that is too many for it."""
        if not is_stateful(rollout):
            await super().set_routes(rollout, routes)
            return
        objection = "" if self._claims is None else await self._claims.objection(rollout)
        if objection:
            raise NameConflictError(Owner(namespace=rollout.namespace, name=rollout.name, reference=None), objection)
        scaled = self._set_of(rollout)
        await scaled.write({}, weight=routes.weight)
        await scaled.evict_next()
        self._record_weight(rollout, routes)

    async def prepare(self, rollout: Rollout) -> None:
        if not is_stateful(rollout):
            await super().prepare(rollout)

    async def restore(self, rollout: Rollout) -> None:
        """Do nothing for a StatefulSet: the workload port gives its partition back."""
        if not is_stateful(rollout):
            await super().restore(rollout)

    async def foreign_objects(self, rollout: Rollout) -> tuple[ForeignObject, ...]:
        return () if is_stateful(rollout) else await super().foreign_objects(rollout)

    def _set_of(self, rollout: Rollout) -> ScaledSet:
        return ScaledSet(
            cluster=self._cluster,
            namespace=rollout.namespace,
            name=rollout.target.name,
            key=f"{rollout.namespace}/{rollout.name}",
            promoted=self._canaries.require(rollout).status.promoted,
            clock=self._clock,
        )


def is_stateful(rollout: Rollout) -> bool:
    """Check whether the target is a StatefulSet."""
    return rollout.target.kind == STATEFUL_SET.kind
