"""What targets are worked on with, and how an object is changed: read, compared, and what differs is written.

A change is a merge patch of what differs. So fields of others stay theirs, a list or a pod template that is ours is
exactly what we say, and what needs no change is not written. Server-side apply would leave behind what Flagger once
wrote into a primary's template, and reset replicas that an autoscaler has taken over.

The objects changed so are the Canary's own. Each is read and judged first, and the server refuses the change where
anything came in between: then it is read again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore import Workload
from canarycore.errors import Conflict, WorldError
from canarycore_kubernetes.api.client import AlreadyExists, Outdated
from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.api.merge_patch import lock_version, merge_patch
from canarycore_kubernetes.api.metadata import owner_reference, primary_name
from canarycore_kubernetes.api.ownership import Owner, ownership_of
from canarycore_kubernetes.workloads.facts import PodFacts, ReadingOptions, pod_views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore_kubernetes.api.cache import View
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.api.ownership import Role
    from canarycore_runtime.mesh import Json, Kind

CHANGE_ATTEMPTS = 5
"""How often a change is tried while others keep changing the same object."""


@frozen(kw_only=True)
class WorkloadContext:
    """What targets are worked on with.

    prefixes: of labels that primaries get too. restored: uids of the Canaries whose targets were given back; known
    to this process only, as giving back twice does no harm.
    """

    cluster: Cluster
    reading: ReadingOptions = ReadingOptions()
    prefixes: tuple[str, ...] = ()
    restored: set[str] = field(factory=set, eq=False)

    @property
    def views(self) -> Mapping[Kind, View[PodFacts]]:
        """How Deployments and DaemonSets are held."""
        return pod_views(self.reading)


@frozen(kw_only=True)
class OwnedObjects:
    """The objects of one Canary beside it. All that is written of them is written here, and nothing foreign is."""

    cluster: Cluster

    owner: Owner
    """The Canary."""

    @property
    def reference(self) -> Json:
        """The owner reference that each of them gets."""
        assert self.owner.reference is not None, "what is beside a Canary can refer to it"
        return self.owner.reference

    async def create(self, body: Json, role: Role) -> None:
        """Create an object. Raise AlreadyExists if its name is taken, ForeignObjectError if that object is foreign."""
        try:
            await self.cluster.create(self.owner.mark(body))
        except AlreadyExists:
            kind, metadata = by_object(body), body["metadata"]
            present = await self.cluster.get(kind, metadata["namespace"], metadata["name"])
            if present is not None:
                self.owner.refuse_foreign(kind, present, role)
            raise

    async def ensure(self, body: Json, role: Role) -> None:
        """Make this object, unless an attempt before this has made it. Raises ForeignObjectError."""
        with suppress(AlreadyExists):
            await self.create(body, role)

    async def change(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        role: Role,
        wanted: Callable[[Json], Json],
        *,
        found: Json | None = None,
    ) -> Json:
        """Make the object what `wanted` makes of it; returns it.

        found: the object, if it was just read. Raises WorldError if there is none, and ForeignObjectError.
        """
        for _ in range(CHANGE_ATTEMPTS):
            present = found or await read(self.cluster, kind, namespace, name)
            self.owner.refuse_foreign(kind, present, role)
            patch, found = merge_patch(present, self._marked(present, wanted(present))), None
            if not patch:
                return present
            try:
                return await self.cluster.merge(kind, namespace, name, lock_version(patch, present))
            except Outdated:
                continue
        raise Conflict(f"{kind.plural} {namespace}/{name} is being changed by others all the time: trying again later")

    def _marked(self, present: Json, wanted: Json) -> Json:
        """Return the object as it is to be, and as the Canary's if no reference says so yet."""
        if wanted == present or ownership_of(wanted).canaries:
            return wanted
        return self.owner.mark(wanted)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete the object if it is the Canary's."""
        present = await self.cluster.get(kind, namespace, name)
        if present is None or not self.owner.owns(ownership_of(present)):
            return
        metadata = present["metadata"]
        await self.cluster.delete(kind, namespace, name, uid=metadata["uid"], version=metadata["resourceVersion"])


async def read(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Json:
    """Return an object as the server has it. Raises WorldError if there is none."""
    found = await cluster.get(kind, namespace, name)
    if found is None:
        raise WorldError(f"{kind.kind} {name}.{namespace} does not exist")
    return found


@frozen(kw_only=True)
class WorkloadTarget:
    """A rollout's target, to be worked on. `uid` is the Canary's."""

    context: WorkloadContext
    rollout: Rollout
    canary: Canary
    uid: str

    @property
    def owner(self) -> Owner:
        """The Canary."""
        return Owner(
            namespace=self.namespace,
            name=self.canary.name,
            reference=owner_reference(self.canary.name, self.uid),
        )

    @property
    def objects(self) -> OwnedObjects:
        """The objects of the Canary."""
        return OwnedObjects(cluster=self.cluster, owner=self.owner)

    async def read(self, kind: Kind) -> Json:
        """Return the target as the server has it. Raises WorldError if there is none."""
        return await read(self.cluster, kind, self.namespace, self.name)

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
        return primary_name(self.name)

    @property
    def cluster(self) -> Cluster:
        return self.context.cluster

    @property
    def restored(self) -> bool:
        """Whether the owner's objects were given back."""
        return self.uid in self.context.restored

    def is_restored(self) -> None:
        """Remember that they were."""
        self.context.restored.add(self.uid)


def podless_workload(revision: str, *, up: bool, ready: bool = True, unready_since: float | None = None) -> Workload:
    """A side of a target without pods of its own: it is there, or takes no part."""
    return Workload(
        revision=revision,
        desired=int(up),
        updated=int(up),
        ready=int(up and ready),
        total=int(up),
        unready_since=unready_since if up else None,
    )
