"""What targets are worked on with, and how an object is changed: read, compared, and what differs is written.

A change is a merge patch of what differs. So fields of others stay theirs, a list or a pod template that is ours is
exactly what we say, and what needs no change is not written. Server-side apply would leave behind what Flagger once
wrote into a primary's template, and reset replicas that an autoscaler has taken over.

The objects changed so are copies of ours. Who changes one in between has done so before or after us, and no status that
moves while pods come keeps us waiting. Only the list of owners belongs to several: it is written over what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore import Workload
from canarycore.errors import Conflict, WorldError
from canarycore_kubernetes.client import Exists, Outdated
from canarycore_kubernetes.names import owner_reference, primary_of
from canarycore_kubernetes.patches import locked, merge_patch
from canarycore_kubernetes.targets import PodFacts, Reading, pod_views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore_kubernetes.cache import View
    from canarycore_kubernetes.cluster import Cluster
    from canarycore_runtime.mesh import Json, Kind

ATTEMPTS = 5
"""How often a change is tried while others keep changing the same object."""


@frozen(kw_only=True)
class Means:
    """What targets are worked on with.

    prefixes: of labels that primaries get too. restored: uids of the Canaries whose targets were given back; known
    to this process only, as giving back twice does no harm.
    """

    cluster: Cluster
    reading: Reading = Reading()
    prefixes: tuple[str, ...] = ()
    restored: set[str] = field(factory=set, eq=False)

    @property
    def views(self) -> Mapping[Kind, View[PodFacts]]:
        """How Deployments and DaemonSets are held."""
        return pod_views(self.reading)

    async def change(
        self, kind: Kind, namespace: str, name: str, wanted: Callable[[Json], Json], found: Json | None = None
    ) -> Json:
        """Make the object what `wanted` makes of it; returns it. Raises WorldError if there is none.

        found: the object, if it was just read.
        """
        for _ in range(ATTEMPTS):
            present = found or await self.read(kind, namespace, name)
            patch, found = merge_patch(present, wanted(present)), None
            if not patch:
                return present
            if "ownerReferences" in patch.get("metadata", {}):
                patch = locked(patch, present)
            try:
                return await self.cluster.merge(kind, namespace, name, patch)
            except Outdated:
                continue
        raise Conflict(f"{kind.plural} {namespace}/{name} is being changed by others all the time: trying again later")

    async def read(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object, from the server. Raises WorldError if there is none."""
        found = await self.cluster.get(kind, namespace, name)
        if found is None:
            raise WorldError(f"{kind.kind} {name}.{namespace} does not exist")
        return found

    async def make(self, body: Json) -> None:
        """Make this object, unless one of its name exists: then it was made by an attempt before this."""
        try:
            await self.cluster.create(body)
        except Exists:
            return


@frozen(kw_only=True)
class Target:
    """A rollout's target, to be worked on. `uid` is the Canary's."""

    means: Means
    rollout: Rollout
    canary: Canary
    uid: str

    @property
    def owner(self) -> Json:
        """The reference to the Canary."""
        return owner_reference(self.canary.name, self.uid)

    @property
    def key(self) -> str:
        """The rollout's."""
        return f"{self.rollout.namespace}/{self.rollout.name}"

    @property
    def namespace(self) -> str:
        return self.rollout.namespace

    @property
    def name(self) -> str:
        return self.rollout.target.name

    @property
    def primary(self) -> str:
        """The primary's name."""
        return primary_of(self.name)

    @property
    def cluster(self) -> Cluster:
        return self.means.cluster

    @property
    def restored(self) -> bool:
        """Whether the owner's objects were given back."""
        return self.uid in self.means.restored

    def is_restored(self) -> None:
        """Remember that they were."""
        self.means.restored.add(self.uid)


def running(revision: str, *, up: bool, ready: bool = True, unready_since: float | None = None) -> Workload:
    """A side of a target without pods of its own: it is there, or takes no part."""
    return Workload(
        revision=revision,
        desired=int(up),
        updated=int(up),
        ready=int(up and ready),
        total=int(up),
        unready_since=unready_since if up else None,
    )
