"""The port WorkloadPort on Kubernetes: the target and its primary copy.

    workload = ClusterWorkloads(cluster, canaries, labels=options.selector_labels)

What is observed comes from caches and costs no request. An effect asks the server for whole objects where it needs
them, says what is to be so, and writes only what is not.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from canarycore.errors import WorldError
from canarycore_kubernetes.cache import UnreadableError
from canarycore_kubernetes.configs import MissingConfigError
from canarycore_kubernetes.copies import SELECTOR_LABELS
from canarycore_kubernetes.knative_target import KnativeTarget
from canarycore_kubernetes.means import Means
from canarycore_kubernetes.pods import PodTarget
from canarycore_kubernetes.service_target import ServiceTarget
from canarycore_kubernetes.targets import Reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from canarycore import Rollout
    from canarycore_kubernetes.cache import View
    from canarycore_kubernetes.canaries import Canaries
    from canarycore_kubernetes.cluster import Cluster
    from canarycore_kubernetes.events import Events
    from canarycore_kubernetes.targets import PodFacts
    from canarycore_runtime.mesh import Kind
    from canarycore_runtime.ports import Workloads


class ClusterWorkloads:
    """The targets of a cluster's Canaries.

    labels, prefixes, tracked: the controller's options --selector-labels, --include-label-prefix and
    --enable-config-tracking. before: what is done before a primary is made (`MeshRouter.prepare`: a mesh may need
    objects of its own to be there before the pods). events: where it is told that a config is missing, or that an
    object cannot be read.
    """

    def __init__(
        self,
        cluster: Cluster,
        canaries: Canaries,
        *,
        labels: tuple[str, ...] = SELECTOR_LABELS,
        prefixes: tuple[str, ...] = (),
        tracked: bool = True,
        before: Callable[[Rollout], Awaitable[None]] | None = None,
        events: Events | None = None,
    ) -> None:
        self._canaries = canaries
        self._before = before
        self._events = events
        self._means = Means(cluster=cluster, reading=Reading(labels=labels, tracked=tracked), prefixes=prefixes)

    @property
    def views(self) -> Mapping[Kind, View[PodFacts]]:
        """How Deployments and DaemonSets are held, for who else needs to know their pods' labels and ports."""
        return self._means.views

    def _target(self, rollout: Rollout) -> PodTarget | ServiceTarget | KnativeTarget:
        """The target as one that can be worked on. Raises WorldError when the Canary is gone."""
        held = self._canaries.held(rollout)
        if held.canary.spec.target_ref.knative:
            sort: type[PodTarget | ServiceTarget | KnativeTarget] = KnativeTarget
        else:
            sort = ServiceTarget if rollout.target.kind == "Service" else PodTarget
        return sort(means=self._means, rollout=rollout, canary=held.canary, uid=held.uid)

    # the port ---------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Workloads:
        try:
            return await self._target(rollout).observe()
        except (MissingConfigError, UnreadableError) as error:
            await self._tell(rollout, error)
            raise

    async def _tell(self, rollout: Rollout, missing: WorldError) -> None:
        if self._events is not None:
            uid = self._canaries.held(rollout).uid
            with suppress(WorldError):  # what is missing matters more than who could not be told
                await self._events.warn(rollout.namespace, rollout.name, uid, str(missing))

    async def tracked(self, rollout: Rollout) -> dict[str, str]:
        """The configs that belong to the target's revision, by kind and name, and checksums of what they hold."""
        target = self._target(rollout)
        return await target.tracked() if isinstance(target, PodTarget) else {}

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Create the primary copy carrying `revision`. Refused if the target carries another one."""
        if self._before is not None:
            await self._before(rollout)
        await self._target(rollout).initialise(revision)

    async def scale_up(self, rollout: Rollout) -> None:
        await self._target(rollout).scale_up()

    async def scale_down(self, rollout: Rollout) -> None:
        await self._target(rollout).scale_down()

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Make the primary carry `revision`, keeping the old one restorable. Refused if the target carries another."""
        await self._target(rollout).promote(revision)

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Make the primary carry the kept `revision` again. Refused if it was not kept."""
        await self._target(rollout).restore_primary(revision)

    async def pause_scaler(self, rollout: Rollout) -> None:
        await self._target(rollout).pause_scaler()

    async def resume_scaler(self, rollout: Rollout) -> None:
        await self._target(rollout).resume_scaler()

    async def restore(self, rollout: Rollout) -> None:
        """Give the owner's objects back as they were."""
        await self._target(rollout).restore()
