"""Targets that are Kubernetes Services: external names, or pods that somebody else runs.

There is nothing to wait for, and nothing to scale. `<name>-primary` and `<name>-canary` are copies of the target; the
primary's follows when a revision is promoted, the canary's when a rollout begins. Annotations say which revision each
copy carries, and the canary's only while it takes part in a rollout: that is its being scaled up.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from attrs import frozen

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
from canarycore_kubernetes.workloads.base import WorkloadTarget, podless_workload, read
from canarycore_kubernetes.workloads.history import KEEP, delete_revisions, save_revision, saved_revision
from canarycore_kubernetes.workloads.revision import digest
from canarycore_runtime.mesh import LAST_APPLIED
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore_kubernetes.api.ownership import ForeignObject, Role
    from canarycore_kubernetes.api.snapshots import Snapshot
    from canarycore_runtime.mesh import Json

_ASSIGNED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""Fields of a spec that the API server gives out; nodePort in each port is another."""

HEADLESS = "None"


def service_copy(target: Json, name: str, owner: Json, *, distribution: str = "") -> Json:
    """A copy of a Service under another name. distribution: the Canary's `service.trafficDistribution`."""
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
    """What somebody wrote of a Service, rather than the API server gave out."""
    spec: Json = deepcopy(get_mapping(service, "spec"))
    headless = spec.get("clusterIP") == HEADLESS
    for field in _ASSIGNED:
        spec.pop(field, None)
    for port in get_items(spec, "ports"):
        port.pop("nodePort", None)
    if headless:
        spec["clusterIP"] = HEADLESS
    return spec | ({"trafficDistribution": distribution} if distribution else {})


def like(found: Json, copy: Json, marks: Json) -> Json:
    """The copy `found`, saying what `copy` does, with these annotations; what others put on it stays."""
    metadata, spec, before = found["metadata"], copy["spec"], get_mapping(found, "spec")
    if _EXTERNAL not in (spec.get("type"), before.get("type")):
        spec = {field: before[field] for field in _ASSIGNED if field in before} | spec
    annotations = get_mapping(metadata, "annotations") | copy["metadata"]["annotations"] | marks
    labels = get_mapping(metadata, "labels") | copy["metadata"]["labels"]
    return found | {"metadata": metadata | {"labels": labels, "annotations": annotations}, "spec": spec}


_EXTERNAL = "ExternalName"


# ------------------------------------------------------------------------------------------------------------- the port


@frozen(kw_only=True)
class ServiceTarget(WorkloadTarget):
    """A Service, and its two copies. The methods are those of the port."""

    @property
    def twin(self) -> str:
        """The name of the canary's copy."""
        return f"{self.name}-canary"

    @property
    def _distribution(self) -> str:
        service = self.canary.spec.service
        return "" if service is None else service.traffic_distribution

    # what is seen -----------------------------------------------------------------------------------------------

    async def observe(self) -> Workloads:
        target, primary = await self._found(self.name), await self._found_own(self.primary)
        twin = await self._found_own(self.twin)
        revision = self._revision(target, primary)
        up = twin is None or get_annotation(twin, REVISION) == revision
        return Workloads(
            target=None if target is None else podless_workload(revision, up=up),
            primary=None if primary is None else podless_workload(self._carried(primary), up=True),
            kept=() if primary is None else get_annotation_list(primary, KEPT_REVISIONS),
            restored=self.restored,
        )

    async def _look(self, name: str) -> Snapshot | None:
        return (await self.cluster.cache(snapshot_view(SERVICE)).ready()).look(self.namespace, name, self.key)

    async def _found(self, name: str) -> Json | None:
        found = await self._look(name)
        return None if found is None else found.body

    async def _found_own(self, name: str) -> Json | None:
        """Return the copy of that name, or None where what has the name is foreign."""
        found = await self._look(name)
        return found.body if found is not None and self.owner.owns(found.ownership) else None

    # whose it is ------------------------------------------------------------------------------------------------

    async def other_canary(self) -> str:
        """Return the other Canary that has made the target, or its primary; empty where there is none."""
        for name in (self.name, self.primary):
            found = await self._look(name)
            ownership = UNOWNED if found is None else found.ownership
            if ownership.canaries and not self.owner.owns(ownership):
                return f"the Service {name} belongs to the Canary {shorten_owner(ownership.canaries[0])}"
        return ""

    async def has_primary(self) -> bool:
        """Tell whether the Canary has a primary copy of its own."""
        return await self._found_own(self.primary) is not None

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names of the copies."""
        found: tuple[ForeignObject, ...] = ()
        for name, role in ((self.primary, PRIMARY), (self.twin, CANARY_COPY)):
            held = await self._look(name)
            if held is not None:
                found += self.owner.find_foreign(SERVICE, name, held.ownership, role)
        return found

    def _revision(self, target: Json | None, primary: Json | None) -> str:
        """The revision that the target carries: the primary's, where both say the same."""
        if target is None:
            return ""
        written = self._digest(target)
        return self._carried(primary) if primary is not None and self._digest(primary) == written else written

    def _carried(self, primary: Json) -> str:
        return get_annotation(primary, REVISION) or self._digest(primary)

    def _digest(self, service: Json) -> str:
        return digest(service_spec(service, distribution=self._distribution))

    # what is done -----------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        if await self._found_own(self.primary) is not None:
            return
        target = await self._target_carrying(revision)
        copies = [self._copy(target, name) for name in (self.twin, self.primary)]
        for copy in copies:
            copy["metadata"]["annotations"][REVISION] = revision
        await self.objects.ensure(copies[0], CANARY_COPY)
        await self.objects.create(copies[1], PRIMARY)

    async def promote(self, revision: str) -> None:
        primary = await read(self.cluster, SERVICE, self.namespace, self.primary)
        if get_annotation(primary, REVISION) == revision:
            return
        target = await self._target_carrying(revision)
        carried = self._carried(primary)
        names = tuple(dict.fromkeys((carried, *get_annotation_list(primary, KEPT_REVISIONS))))
        self.owner.refuse_foreign(SERVICE, primary, PRIMARY)
        await save_revision(self.objects, primary, carried, {"spec": service_spec(primary)})
        await delete_revisions(
            self.objects, self.namespace, self.primary, names[KEEP:]
        )  # before nobody knows of them any more
        marks = {REVISION: revision, KEPT_REVISIONS: ",".join(names[:KEEP])}
        await self._change(self.primary, PRIMARY, self._copy(target, self.primary), marks)

    async def restore_primary(self, revision: str) -> None:
        primary = await read(self.cluster, SERVICE, self.namespace, self.primary)
        if get_annotation(primary, REVISION) == revision:
            return
        before = primary | await saved_revision(self.objects, self.namespace, self.primary, revision)
        await self._change(self.primary, PRIMARY, self._copy(before, self.primary), {REVISION: revision})

    async def scale_up(self) -> None:
        """The canary's copy takes part, and is what the target is now."""
        target = await self._found(self.name)
        if target is None:
            return
        revision = self._revision(target, await self._found_own(self.primary))
        twin, copy = await self._found_own(self.twin), self._copy(target, self.twin)
        if twin is None:
            copy["metadata"]["annotations"][REVISION] = revision
            await self.objects.create(copy, CANARY_COPY)
        elif get_annotation(twin, REVISION) != revision:
            await self._change(self.twin, CANARY_COPY, copy, {REVISION: revision})

    async def scale_down(self) -> None:
        """The canary's copy stays as it is, and takes no part."""
        twin = await self._found_own(self.twin)
        if twin is not None and get_annotation(twin, REVISION):
            await self.objects.change(SERVICE, self.namespace, self.twin, CANARY_COPY, _resting)

    async def restore(self) -> None:
        """The target was never changed."""
        self.is_restored()

    async def pause_scaler(self) -> None:
        """There is none."""

    async def resume_scaler(self) -> None:
        """There is none."""

    def _copy(self, service: Json, name: str) -> Json:
        return service_copy(service, name, self.objects.reference, distribution=self._distribution)

    async def _target_carrying(self, revision: str) -> Json:
        """The target as it is on the server. Raises Refused when it is another revision than the one asked for."""
        target = await self.read(SERVICE)
        found = self._revision(target, await self._found_own(self.primary))
        if found != revision:
            raise Refused(f"service {self.name}.{self.namespace} carries {found}, not {revision}")
        return target

    async def _change(self, name: str, role: Role, copy: Json, marks: Json) -> None:
        await self.objects.change(SERVICE, self.namespace, name, role, lambda found: like(found, copy, marks))


def _resting(twin: Json) -> Json:
    """Return the canary's copy, taking no part in a rollout."""
    annotations = {key: text for key, text in twin["metadata"]["annotations"].items() if key != REVISION}
    return twin | {"metadata": twin["metadata"] | {"annotations": annotations}}
