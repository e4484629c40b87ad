"""Targets that are Kubernetes Services: external names, or pods that somebody else runs.

There is nothing to wait for, and nothing to scale. `<name>-primary` is a copy of the target that follows it when a
revision is promoted; the router gives the canary's side a copy too. Annotations of the primary say which revision it
carries, and which one takes part as the canary: that is the target's being scaled up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Refused
from canarycore_kubernetes.keeping import KEEP, drop, kept_of, store, stored
from canarycore_kubernetes.kinds import SERVICE
from canarycore_kubernetes.means import Target, running
from canarycore_kubernetes.names import KEPT, REVISION, TESTED, annotation
from canarycore_kubernetes.packed import packed
from canarycore_kubernetes.revision import digest
from canarycore_kubernetes.services import ASSIGNED, copied_service
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json


def like(found: Json, copy: Json, marks: Json) -> Json:
    """The copy `found`, saying what `copy` does, with these annotations; what others put on it stays."""
    metadata, spec = found["metadata"], copy["spec"]
    if _EXTERNAL not in {spec.get("type"), found["spec"].get("type")}:
        spec = {field: found["spec"][field] for field in ASSIGNED if field in found["spec"]} | spec
    annotations = metadata.get("annotations", {}) | copy["metadata"]["annotations"] | marks
    labels = metadata.get("labels", {}) | copy["metadata"]["labels"]
    return found | {"metadata": metadata | {"labels": labels, "annotations": annotations}, "spec": spec}


_EXTERNAL = "ExternalName"
"""The type of Service to which the API server assigns nothing."""


@frozen(kw_only=True)
class ServiceTarget(Target):
    """A Service, and its primary. The methods are those of the port."""

    async def observe(self) -> Workloads:
        target, primary = await self._found(self.name), await self._found(self.primary)
        revision = self._revision(target, primary)
        return Workloads(
            target=None if target is None else running(revision, up=_takes_part(primary, revision)),
            primary=None if primary is None else running(self._carried(primary), up=True),
            kept=() if primary is None else kept_of(primary),
            restored=self.restored,
        )

    async def _found(self, name: str) -> Json | None:
        found = (await self.cluster.cache(packed(SERVICE)).ready()).look(self.namespace, name, self.key)
        return None if found is None else found.body

    def _revision(self, target: Json | None, primary: Json | None) -> str:
        """The revision that the target carries: the primary's, where both say the same."""
        if target is None:
            return ""
        written = self._written(target)
        return self._carried(primary) if primary is not None and self._written(primary) == written else written

    def _carried(self, primary: Json) -> str:
        return annotation(primary, REVISION) or self._written(primary)

    def _written(self, service: Json) -> str:
        return digest(self._copy(service)["spec"])

    # what is done -----------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        if await self._found(self.primary) is not None:
            return
        copy = self._copy(await self._target_carrying(revision))
        metadata = copy["metadata"] | {"ownerReferences": [self.owner]}
        metadata["annotations"] |= {REVISION: revision}
        await self.cluster.create(copy | {"metadata": metadata})

    async def promote(self, revision: str) -> None:
        primary = await self.means.read(SERVICE, self.namespace, self.primary)
        if annotation(primary, REVISION) == revision:
            return
        target = await self._target_carrying(revision)
        carried = self._carried(primary)
        kept = tuple(dict.fromkeys((carried, *kept_of(primary))))
        await store(self.means, self.owner, primary, carried, {"spec": self._copy(primary)["spec"]})
        await self._change(target, {REVISION: revision, KEPT: ",".join(kept[:KEEP])})
        for dropped in kept[KEEP:]:
            await drop(self.means, self.namespace, self.primary, dropped)

    async def restore_primary(self, revision: str) -> None:
        primary = await self.means.read(SERVICE, self.namespace, self.primary)
        if annotation(primary, REVISION) == revision:
            return
        kept = await stored(self.means, self.namespace, self.primary, revision)
        await self._change(primary | kept, {REVISION: revision})

    async def scale_up(self) -> None:
        """The target takes part as it is now."""
        primary = await self._found(self.primary)
        revision = self._revision(await self._found(self.name), primary)
        if revision and not _takes_part(primary, revision):
            await self._mark(revision)

    async def scale_down(self) -> None:
        """The target takes no part."""
        primary = await self._found(self.primary)
        if primary is not None and annotation(primary, TESTED):
            await self._mark(None)

    async def pause_scaler(self) -> None:
        """There is none."""

    async def resume_scaler(self) -> None:
        """There is none."""

    async def restore(self) -> None:
        """The target was never changed."""
        self.is_restored()

    def _copy(self, service: Json) -> Json:
        return copied_service(self.canary, service, self.primary)

    async def _target_carrying(self, revision: str) -> Json:
        """The target as it is on the server. Raises Refused when it is another revision than the one asked for."""
        target = await self.means.read(SERVICE, self.namespace, self.name)
        found = self._revision(target, await self._found(self.primary))
        if found != revision:
            raise Refused(f"service {self.name}.{self.namespace} carries {found}, not {revision}")
        return target

    async def _change(self, source: Json, marks: Json) -> None:
        copy = self._copy(source)
        await self.means.change(SERVICE, self.namespace, self.primary, lambda found: like(found, copy, marks))

    async def _mark(self, revision: str | None) -> None:
        patch = {"metadata": {"annotations": {TESTED: revision}}}
        await self.cluster.merge(SERVICE, self.namespace, self.primary, patch)


def _takes_part(primary: Json | None, revision: str) -> bool:
    """Whether the target is scaled up; before there is a primary it is all that there is."""
    return primary is None or annotation(primary, TESTED) == revision
