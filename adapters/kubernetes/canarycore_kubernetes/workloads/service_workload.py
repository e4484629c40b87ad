"""Targets that are Kubernetes Services: external names, or pods that another controller runs.

They need no waiting and no scaling. `<name>-primary` and `<name>-canary` are copies of the target. The primary's
changes when a revision is promoted, the canary's when a rollout begins. An annotation names the revision of each copy.
The canary's has it only while it takes part in a rollout, in place of scaling it up.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore.errors import Refused
from canarycore.foreign import get_items, get_mapping
from canarycore_kubernetes.api.kinds import SERVICE
from canarycore_kubernetes.api.metadata import (
    KEPT_REVISIONS,
    REVISION,
    drop_gitops_keys,
    get_annotation,
    get_annotation_list,
)
from canarycore_kubernetes.api.ownership import CANARY_COPY, PRIMARY, UNOWNED, shorten_owner
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.workloads.base import WorkloadTarget, podless_workload
from canarycore_kubernetes.workloads.history import KEEP, delete_revisions, load_revision, save_revision
from canarycore_kubernetes.workloads.revision import digest
from canarycore_runtime.mesh import LAST_APPLIED
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore_kubernetes.api.ownership import ForeignObject, Role
    from canarycore_kubernetes.api.snapshots import Snapshot
    from canarycore_runtime.mesh import Json

_ASSIGNED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""Fields of a spec that the API server assigns, besides the nodePort of each port."""

HEADLESS = "None"


def service_copy(target: Json, name: str, owner: Json, *, distribution: str = "") -> Json:
    """Return a copy of a Service under another name. distribution: the Canary's `service.trafficDistribution`."""
    metadata = target["metadata"]
    annotations = drop_gitops_keys(metadata.get("annotations"))
    annotations.pop(LAST_APPLIED, None)
    return {
        "apiVersion": "v1",
        "kind": SERVICE.kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": drop_gitops_keys(metadata.get("labels")),
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": service_spec(target, distribution=distribution),
    }


def service_spec(service: Json, *, distribution: str = "") -> Json:
    """Return the spec of a Service without the fields that the API server assigns."""
    spec: Json = deepcopy(get_mapping(service, "spec"))
    headless = spec.get("clusterIP") == HEADLESS
    for field in _ASSIGNED:
        spec.pop(field, None)
    for port in get_items(spec, "ports"):
        port.pop("nodePort", None)
    if headless:
        spec["clusterIP"] = HEADLESS
    return spec | ({"trafficDistribution": distribution} if distribution else {})


def updated_copy(present: Json, copy: Json, marks: Json) -> Json:
    """Return the present copy with the content of a new one and these annotations; fields of others stay."""
    metadata, spec, before = present["metadata"], copy["spec"], get_mapping(present, "spec")
    if _EXTERNAL not in (spec.get("type"), before.get("type")):
        spec = {field: before[field] for field in _ASSIGNED if field in before} | spec
    annotations = get_mapping(metadata, "annotations") | copy["metadata"]["annotations"] | marks
    labels = get_mapping(metadata, "labels") | copy["metadata"]["labels"]
    return present | {"metadata": metadata | {"labels": labels, "annotations": annotations}, "spec": spec}


_EXTERNAL = "ExternalName"


# ------------------------------------------------------------------------------------------------------------- the port


@frozen(kw_only=True)
class ServiceTarget(WorkloadTarget):
    """A Service, and its two copies. The methods are those of the port."""

    @property
    def canary_copy(self) -> str:
        """The name of the canary's copy."""
        return f"{self.name}-canary"

    @property
    def _distribution(self) -> str:
        service = self.canary.spec.service
        return "" if service is None else service.traffic_distribution

    # observing --------------------------------------------------------------------------------------------------

    async def observe(self) -> Workloads:
        snapshot, primary = await self._look(self.name), await self._find_own(self.primary)
        target = None if snapshot is None else snapshot.body
        copy = await self._find_own(self.canary_copy)
        revision = self._revision(target, primary)
        up = copy is None or get_annotation(copy, REVISION) == revision
        revised_at = None if snapshot is None else snapshot.written_at
        return Workloads(
            target=None if target is None else evolve(podless_workload(revision, up=up), revised_at=revised_at),
            primary=None if primary is None else podless_workload(self._primary_revision(primary), up=True),
            restorable=() if primary is None else get_annotation_list(primary, KEPT_REVISIONS),
            is_restored=self.is_restored,
        )

    async def _look(self, name: str) -> Snapshot | None:
        return (await self.cluster.cache(snapshot_view(SERVICE)).ready()).look(self.namespace, name, self.key)

    async def _find_service(self, name: str) -> Json | None:
        snapshot = await self._look(name)
        return None if snapshot is None else snapshot.body

    async def _find_own(self, name: str) -> Json | None:
        """Return the copy of that name, or None where the object of that name is foreign."""
        snapshot = await self._look(name)
        return snapshot.body if snapshot is not None and self.owner.owns(snapshot.ownership) else None

    # owners -----------------------------------------------------------------------------------------------------

    async def other_canary(self) -> str:
        """Return the other Canary that has made the target or its primary; empty where there is none."""
        for name in (self.name, self.primary):
            snapshot = await self._look(name)
            ownership = UNOWNED if snapshot is None else snapshot.ownership
            if ownership.canaries and not self.owner.owns(ownership):
                return f"the Service {name} belongs to the Canary {shorten_owner(ownership.canaries[0])}"
        return ""

    async def has_primary(self) -> bool:
        """Check whether the Canary has a primary of its own."""
        return await self._find_own(self.primary) is not None

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names of the copies."""
        foreign: tuple[ForeignObject, ...] = ()
        for name, role in ((self.primary, PRIMARY), (self.canary_copy, CANARY_COPY)):
            snapshot = await self._look(name)
            if snapshot is not None:
                foreign += self.owner.find_foreign(SERVICE, name, snapshot.ownership, role)
        return foreign

    def _revision(self, target: Json | None, primary: Json | None) -> str:
        """Return the target's revision: the primary's, where both have the same content."""
        if target is None:
            return ""
        digest = self._digest(target)
        return self._primary_revision(primary) if primary is not None and self._digest(primary) == digest else digest

    def _primary_revision(self, primary: Json) -> str:
        return get_annotation(primary, REVISION) or self._digest(primary)

    def _digest(self, service: Json) -> str:
        return digest(service_spec(service, distribution=self._distribution))

    # effects ----------------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        if await self._find_own(self.primary) is not None:
            return
        target = await self._read_revision(revision)
        copies = [self._copy(target, name) for name in (self.canary_copy, self.primary)]
        for copy in copies:
            copy["metadata"]["annotations"][REVISION] = revision
        await self.objects.ensure(copies[0], CANARY_COPY)
        await self.objects.create(copies[1], PRIMARY)

    async def promote(self, revision: str) -> None:
        primary = await self.cluster.require(SERVICE, self.namespace, self.primary)
        if get_annotation(primary, REVISION) == revision:
            return
        target = await self._read_revision(revision)
        before = self._primary_revision(primary)
        names = tuple(dict.fromkeys((before, *get_annotation_list(primary, KEPT_REVISIONS))))
        self.owner.refuse_foreign(SERVICE, primary, PRIMARY)
        await save_revision(self.objects, primary, before, {"spec": service_spec(primary)})
        # while the primary's annotation still lists them
        await delete_revisions(self.objects, self.namespace, self.primary, names[KEEP:])
        marks = {REVISION: revision, KEPT_REVISIONS: ",".join(names[:KEEP])}
        await self._change(self.primary, PRIMARY, self._copy(target, self.primary), marks)

    async def restore_primary(self, revision: str) -> None:
        primary = await self.cluster.require(SERVICE, self.namespace, self.primary)
        if get_annotation(primary, REVISION) == revision:
            return
        saved = primary | await load_revision(self.objects, self.namespace, self.primary, revision)
        await self._change(self.primary, PRIMARY, self._copy(saved, self.primary), {REVISION: revision})

    async def scale_up(self) -> None:
        """Let the canary's copy take part, with the target's present content."""
        target = await self._find_service(self.name)
        if target is None:
            return
        revision = self._revision(target, await self._find_own(self.primary))
        present, copy = await self._find_own(self.canary_copy), self._copy(target, self.canary_copy)
        if present is None:
            copy["metadata"]["annotations"][REVISION] = revision
            await self.objects.create(copy, CANARY_COPY)
        elif get_annotation(present, REVISION) != revision:
            await self._change(self.canary_copy, CANARY_COPY, copy, {REVISION: revision})

    async def scale_down(self) -> None:
        """Let the canary's copy take no part, with its content as it is."""
        copy = await self._find_own(self.canary_copy)
        if copy is not None and get_annotation(copy, REVISION):
            await self.objects.change(SERVICE, self.namespace, self.canary_copy, CANARY_COPY, _without_revision)

    async def restore(self) -> None:
        """Do nothing to the target: no effect changes it."""
        self.mark_restored()

    def _copy(self, service: Json, name: str) -> Json:
        return service_copy(service, name, self.objects.reference, distribution=self._distribution)

    async def _read_revision(self, revision: str) -> Json:
        """Return the target as the server has it. Raise Refused when it has another revision."""
        target = await self.read(SERVICE)
        current = self._revision(target, await self._find_own(self.primary))
        if current != revision:
            raise Refused(f"service {self.name}.{self.namespace} carries {current}, not {revision}")
        return target

    async def _change(self, name: str, role: Role, copy: Json, marks: Json) -> None:
        await self.objects.change(
            SERVICE, self.namespace, name, role, lambda present: updated_copy(present, copy, marks)
        )


def _without_revision(copy: Json) -> Json:
    """Return the canary's copy without its revision: it takes no part in a rollout."""
    annotations = {key: text for key, text in copy["metadata"]["annotations"].items() if key != REVISION}
    return copy | {"metadata": copy["metadata"] | {"annotations": annotations}}
