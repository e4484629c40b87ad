"""The base of all targets: their context, and the Canary's own objects.

A change reads an object, compares it with its required state, and writes a merge patch of the difference. So others
keep their fields, our lists and pod templates are exactly as required, and an object without a difference is not
written. Server-side apply would keep fields that Flagger once wrote into a primary's template, and would reset replicas
that an autoscaler has taken over.

A change refuses objects that are not the Canary's own. The server refuses the patch if the object has changed since it
was read; then the change begins again after a pause.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore import Workload
from canarycore_kubernetes.api.client import AlreadyExists
from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.api.metadata import PRIMARY_SUFFIX, owner_reference, primary_name
from canarycore_kubernetes.api.ownership import Owner, ownership_of
from canarycore_kubernetes.selection.endpoints import Endpoints
from canarycore_kubernetes.selection.index import Index
from canarycore_kubernetes.workloads.facts import PodFacts, ReadingOptions, pod_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore_kubernetes.api.cache import Place, View
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.api.ownership import BlockedError, ForeignObject, Role
    from canarycore_runtime.mesh import Json, Kind


def _primary_labels(place: Place, facts: PodFacts) -> Iterator[tuple[str, str, str]]:
    """Yield the namespace and each label of a workload's pods whose value is a primary's."""
    for label, value in facts.template.labels.items():
        if value.endswith(PRIMARY_SUFFIX):
            yield place[0], label, value


@frozen(kw_only=True)
class WorkloadContext:
    """The things that all targets of a cluster share."""

    cluster: Cluster
    reading: ReadingOptions = ReadingOptions()

    prefixes: tuple[str, ...] = ()
    """Prefixes of the labels that primaries copy from their targets."""

    restored: set[str] = field(factory=set, eq=False)
    """The uids of the Canaries whose targets were given back. Only this process has them: a repeat does no harm."""

    endpoints: Endpoints = field(init=False, eq=False)
    """The ready endpoints of Services."""

    pods: tuple[Index[PodFacts], ...] = field(init=False, eq=False)
    """The workloads by namespace and each label of their pods whose value is a primary's; one index for each kind."""

    @pods.default
    def _index_pods(self) -> tuple[Index[PodFacts], ...]:
        return tuple(Index(self.cluster, view, _primary_labels) for view in self.views.values())

    @endpoints.default
    def _open_endpoints(self) -> Endpoints:
        return Endpoints(self.cluster, self.reading.clock)

    @property
    def views(self) -> Mapping[Kind, View[PodFacts]]:
        """The views of Deployments and DaemonSets."""
        return pod_views(self.reading)


@frozen(kw_only=True)
class OwnedObjects:
    """The objects of one Canary in its namespace. All writes to them are here, and none to foreign objects."""

    cluster: Cluster

    owner: Owner
    """The Canary."""

    @property
    def reference(self) -> Json:
        """The owner reference of each object."""
        assert self.owner.reference is not None, "an object in a Canary's namespace can refer to it"
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
        """Create an object unless an earlier attempt did. Raise ForeignObjectError."""
        with suppress(AlreadyExists):
            await self.create(body, role)

    async def change(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        role: Role,
        edit: Callable[[Json], Json],
        *,
        body: Json | None = None,
    ) -> Json:
        """Change the object as `edit` returns it. Return the new object.

        body: the object, if it was just read. Raise MissingObjectError if there is none, and ForeignObjectError.
        """

        def edited(present: Json) -> Json:
            self.owner.refuse_foreign(kind, present, role)
            return self._mark(present, edit(present))

        return await self.cluster.rewrite(kind, namespace, name, edited, body=body)

    def _mark(self, present: Json, edited: Json) -> Json:
        """Return the edited object, marked as the Canary's unless an owner reference names a Canary."""
        if edited == present or ownership_of(edited).canaries:
            return edited
        return self.owner.mark(edited)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete the object if it is the Canary's."""
        present = await self.cluster.get(kind, namespace, name)
        if present is None or not self.owner.owns(ownership_of(present)):
            return
        metadata = present["metadata"]
        await self.cluster.delete(kind, namespace, name, uid=metadata["uid"], version=metadata["resourceVersion"])


@frozen(kw_only=True)
class WorkloadTarget:
    """The target of one rollout."""

    context: WorkloadContext
    rollout: Rollout
    canary: Canary

    uid: str
    """The uid of the Canary."""

    is_deleted: bool = False
    """Whether the owner deleted the Canary."""

    @property
    def owner(self) -> Owner:
        """The Canary as the owner of objects."""
        return Owner(
            namespace=self.namespace,
            name=self.canary.name,
            reference=owner_reference(self.canary.name, self.uid),
        )

    @property
    def objects(self) -> OwnedObjects:
        """The objects of the Canary."""
        return OwnedObjects(cluster=self.cluster, owner=self.owner)

    async def selector_mismatch(self) -> BlockedError | None:
        """Return the refusal of a target whose labels do not fit the existing primary; None if there is none."""
        return None

    async def refused_pods(self) -> str:
        """Return why the cluster refuses to create the pods of a side; empty if it does not."""
        return ""

    async def shared_pods(self) -> BlockedError | None:
        """Return the refusal of a new primary that would share its pods with another workload; None if it would not."""
        return None

    async def other_canary(self) -> str:
        """Return the other Canary that has made the target or its primary; empty where there is none, or no copy."""
        return ""

    async def has_primary(self) -> bool:
        """Check whether the Canary has a primary of its own: a target without copies has none."""
        return False

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names of the copies: there are none without copies."""
        return ()

    async def pause_scaler(self) -> None:
        """Pause the owner's autoscaler of the target, if it has one that needs a pause."""

    async def resume_scaler(self) -> None:
        """Resume the owner's autoscaler of the target, if the rollout has paused it."""

    async def read(self, kind: Kind) -> Json:
        """Return the target as the server has it. Raise MissingObjectError if there is none."""
        return await self.cluster.require(kind, self.namespace, self.name)

    @property
    def key(self) -> str:
        """The rollout's key, `namespace/name`."""
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
    def is_restored(self) -> bool:
        """Whether the owner's objects were given back."""
        return self.uid in self.context.restored

    def mark_restored(self) -> None:
        """Record that the owner's objects were given back."""
        self.context.restored.add(self.uid)


def podless_workload(revision: str, *, up: bool, ready: bool = True, unready_since: float | None = None) -> Workload:
    """Return the workload of a side without pods of its own. up: whether it takes part in a rollout."""
    return Workload(
        revision=revision,
        desired=int(up),
        updated=int(up),
        ready=int(up and ready),
        total=int(up),
        unready_since=unready_since if up else None,
    )
