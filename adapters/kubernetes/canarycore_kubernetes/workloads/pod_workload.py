"""Targets that run pods: Deployments and DaemonSets.

An annotation of the primary names its revision (see `facts.revisions`). A promotion reads the target and its configs
once, refuses any revision but the requested one, and copies exactly these reads. It saves the primary's old content
first and changes the primary last: until then the primary names, and runs, its old revision.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import Workload
from canarycore.errors import Refused
from canarycore.foreign import get_texts
from canarycore.manifest.routing import splits_by_pods
from canarycore.text import LONGEST_SHOWN, escape_controls
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT, SECRET, SERVICE
from canarycore_kubernetes.api.merge_patch import lock_version, merge_patch
from canarycore_kubernetes.api.metadata import (
    CONTENTS,
    KEPT_REVISIONS,
    PRIMARY_SUFFIX,
    REVISION,
    get_annotation,
    get_annotation_list,
    primary_name,
)
from canarycore_kubernetes.api.ownership import (
    PRIMARY,
    SCALER_COPY,
    BlockedError,
    ForeignObjectError,
    MissingObjectError,
    shorten_owner,
)
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.scaling.autoscalers import PAUSE, RESUME, SCALERS, ScalerFacts, primary_scaler, with_scale
from canarycore_kubernetes.selection.past_templates import read_templates
from canarycore_kubernetes.selection.selectors import (
    SelectorMismatchError,
    SharedPodsError,
    existing_selectors,
    selects,
    tells_apart,
    workload_selector,
)
from canarycore_kubernetes.workloads.base import WorkloadTarget
from canarycore_kubernetes.workloads.configs import (
    CONFIGS,
    ConfigVersion,
    MissingConfigError,
    config_facts,
    unread_secret,
)
from canarycore_kubernetes.workloads.facts import PROXIES, pod_facts, revisions
from canarycore_kubernetes.workloads.history import (
    KEEP,
    copied_configs,
    copy_configs,
    delete_revisions,
    delete_saved_configs,
    foreign_copies,
    load_revision,
    restore_configs,
    save_revision,
)
from canarycore_kubernetes.workloads.primary import (
    Copying,
    marked_copy,
    primary_copy,
    promoted_copy,
    restored_copy,
    returned_target,
    with_past_template,
)
from canarycore_kubernetes.workloads.revision import SCALED_TO_ZERO, contents, copied_contents
from canarycore_runtime.mesh import RenderContext
from canarycore_runtime.ports import Workloads
from canarycore_runtime.workloads.pod_split import ALL, count_pods
from canarycore_runtime.workloads.written_size import ANNOTATION, WrittenSize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.ownership import ForeignObject, Ownership, Role
    from canarycore_kubernetes.selection.past_templates import PastTemplate
    from canarycore_kubernetes.workloads.configs import ConfigFacts, ConfigUse
    from canarycore_kubernetes.workloads.facts import PodFacts
    from canarycore_runtime.mesh import Json, Kind

_KINDS = {kind.kind: kind for kind in (DEPLOYMENT, DAEMON_SET)}

_SCALE_UP: Json = {"spec": {"template": {"spec": {"nodeSelector": {SCALED_TO_ZERO: None}}}}}
_SCALE_DOWN: Json = {"spec": {"template": {"spec": {"nodeSelector": {SCALED_TO_ZERO: "true"}}}}}
"""Merge patches that scale a DaemonSet: no node has this label."""


HAND_BACK_MANAGER = "canarycore-migrate"
"""The recorded writer of a target's return. It counts as the owner: the target gets a revision of the owner's."""

UNDO_MANAGER = "canarycore-undo"
"""The recorded writer of an undo, for the same reason."""


@frozen(kw_only=True)
class TargetChange:
    """A change of a target."""

    before: Json
    """The target as the server has it."""
    after: Json
    """The target after the change."""


@frozen(kw_only=True)
class PodTarget(WorkloadTarget):
    """A Deployment or a DaemonSet, and its primary. The methods are those of the port."""

    @property
    def kind(self) -> Kind:
        return _KINDS[self.rollout.target.kind]

    # observing --------------------------------------------------------------------------------------------------

    async def observe(self) -> Workloads:
        target, primary = await self._sides()
        scaler = await self._scaler(self.key)
        configs = await self._target_configs(target, primary)
        target_revision, primary_revision = await self._revisions(target, primary, configs)
        context = RenderContext(canary=self.canary, rollout=self.rollout)
        own = {} if target is None else target.template.selector
        primarys = {} if primary is None else primary.template.selector
        services = (context.primary,) if self.rollout.ladder.routed else (context.primary, context.apex)
        observed = _workload(target, target_revision, _revised_at(target, configs))
        if target is not None and observed is not None and self._lacks_pods(target, primary):
            observed = evolve(observed, desired=0)  # it is to be scaled up before it serves alone
        if target is not None and observed is not None and (target.size is not None or self.rollout.ladder.sizes):
            replicas = _own_replicas(target, primary)
            observed = observed if replicas == observed.desired else evolve(observed, own=replicas)
        return Workloads(
            target=await self._reachable(observed, own, context.canary_service),
            primary=await self._reachable(_workload(primary, primary_revision), primarys, *services),
            scaler_paused=None if scaler is None else scaler.paused,
            restorable=() if primary is None else primary.saved_revisions,
            is_restored=self.is_restored,
        )

    async def images(self) -> tuple[str, str]:
        """Return the images of the target and of the primary; an empty text for a missing one."""
        target, primary = ("" if side is None else side.template.image for side in await self._sides())
        return target, primary

    async def _reachable(
        self, workload: Workload | None, selector: Mapping[str, str], *services: str
    ) -> Workload | None:
        """Return the workload with only those pods ready that requests reach by these Services.

        A Service that is missing, or leads elsewhere, is about to be written: only then does its reach count.
        """
        if workload is None or not workload.desired:
            return workload
        cache = await self.cluster.cache(snapshot_view(SERVICE)).ready()
        for name in services:
            service = cache.look(self.namespace, name, self.key)
            if service is None or get_texts(service.body, "spec", "selector") != selector:
                continue
            reach = await self.context.endpoints.look(self.namespace, name, self.key)
            if reach.ready < workload.ready:
                since = reach.empty_since if workload.unready_since is None else workload.unready_since
                workload = evolve(workload, ready=reach.ready, unready_since=since)
        return workload

    async def _sides(self) -> tuple[PodFacts | None, PodFacts | None]:
        """Return the target and the Canary's own primary; a change of one of them wakes the rollout."""
        cache = await self._cache()
        target = cache.look(self.namespace, self.name, self.key)
        return target, self._owned(cache.look(self.namespace, self.primary, self.key))

    async def _cache(self) -> Cache[PodFacts]:
        return await self.cluster.cache(self.context.views[self.kind]).ready()

    def _owned(self, primary: PodFacts | None) -> PodFacts | None:
        """Return the primary if it is the Canary's own; a rollout has no primary where the object is foreign."""
        return primary if primary is not None and self.owner.owns(primary.ownership) else None

    async def _find_primary(self) -> PodFacts | None:
        return self._owned((await self._cache()).get(self.namespace, self.primary))

    async def _target_configs(
        self, target: PodFacts | None, primary: PodFacts | None
    ) -> dict[ConfigUse, ConfigFacts | None]:
        """Return the facts of the target's configs. Raise MissingConfigError where one is missing that pods need."""
        promoted = () if primary is None else primary.contents
        configs = {} if target is None else await self._find_configs(target.template.configs, promoted)
        self._require_configs(configs)
        return configs

    async def _revisions(
        self, target: PodFacts | None, primary: PodFacts | None, configs: Mapping[ConfigUse, ConfigFacts | None]
    ) -> tuple[str, str]:
        return revisions(target, primary, configs, await self._primary_configs(primary))

    async def tracked(self) -> dict[str, str]:
        """Return checksums of the target's unshared configs, as in Flagger's `status.trackedConfigs`."""
        target = (await self._cache()).get(self.namespace, self.name)
        configs = {} if target is None else await self._find_configs(target.template.configs)
        return {str(use): facts.text for use, facts in configs.items() if facts is not None and not facts.is_shared}

    async def _primary_configs(self, primary: PodFacts | None) -> dict[ConfigUse, ConfigFacts | None]:
        """Return the facts of a primary's configs if no annotation names its revision; else they are not needed."""
        return {} if primary is None or primary.revision else await self._find_configs(primary.template.configs)

    async def _find_configs(
        self, configs: Iterable[ConfigUse], promoted: Iterable[str] = ()
    ) -> dict[ConfigUse, ConfigFacts | None]:
        """Return the facts of these configs. promoted: the names and checksums of the primary's configs."""
        return {use: await self._find_config(use, promoted) for use in configs}

    async def _find_config(self, use: ConfigUse, promoted: Iterable[str]) -> ConfigFacts | None:
        if use.kind is SECRET and not self.context.reading.secrets:
            return unread_secret(use, promoted)
        return (await self.cluster.cache(CONFIGS[use.kind]).ready()).look(self.namespace, use.name, self.key)

    def _require_configs(self, configs: Mapping[ConfigUse, object]) -> None:
        """Raise MissingConfigError where a config is missing that pods need in order to start."""
        for use, facts in configs.items():
            if facts is None and use.is_required:
                raise MissingConfigError(
                    f"{use.kind.kind.lower()} {use.name}.{self.namespace} get query error: not found: "
                    f"{self.kind.kind.lower()} {self.name} needs it; create it, or make the reference to it optional"
                )

    async def selector_mismatch(self) -> SelectorMismatchError | None:
        """Return the refusal of a target whose labels do not fit the existing primary's selector; None if they do."""
        target, primary = await self._sides()
        if target is None or primary is None or not primary.template.selector:
            return None
        own, primarys = target.template.selector, primary.template.selector
        if tells_apart(own, primarys):
            return None
        return SelectorMismatchError(self.kind.kind, self.name, self.namespace, own, primarys)

    async def refused_pods(self) -> str:
        """Return why the cluster refuses to create the pods of a side; empty if it does not."""
        for name, facts in zip((self.name, self.primary), await self._sides(), strict=True):
            if facts is not None and facts.refused_pods:
                return f"{self.kind.kind} {name} cannot create pods: {facts.refused_pods}"
        return ""

    async def shared_pods(self) -> SharedPodsError | None:
        """Return the refusal of a primary that shares its pods with another workload, or would; None if it does not.

        Its selector must not select the pods of another workload, and no other Canary's primary may select its pods.
        """
        target, primary = await self._sides()
        if target is None:
            return None
        pods = target.template.pods
        labels: Mapping[str, str] = {**target.template.labels, **pods.primary}
        if primary is not None:
            selector, labels = primary.template.selector, primary.template.labels
            pods = existing_selectors(target.template.selector, selector, self.context.reading.labels)
        if not pods.primary.get(pods.label):
            return None
        for index, kind in zip(self.context.pods, self.context.views, strict=True):
            # two workloads share pods only where both have the primary's value of its label
            others = await index.find((self.namespace, pods.label, pods.primary[pods.label]), self.key)
            for (_, name), other in others.items():
                theirs = other.template.selector if other.ownership.canaries else {}
                shares = selects(pods.primary, other.template.labels) or selects(theirs, labels)
                if shares and name != self.name and not self.owner.owns(other.ownership):
                    other_name = f"{kind.kind} {name}"
                    return SharedPodsError(self.kind.kind, self.name, self.namespace, pods.primary, other_name)
        return None

    # owners -----------------------------------------------------------------------------------------------------

    async def other_canary(self) -> str:
        """Return the other Canary that has made the target or its primary; empty where there is none."""
        cache = await self._cache()
        for name in (self.name, self.primary):
            facts = cache.look(self.namespace, name, self.key)
            others = () if facts is None or self.owner.owns(facts.ownership) else facts.ownership.canaries
            if others:
                return f"the {self.kind.kind} {name} belongs to the Canary {shorten_owner(others[0])}"
        return ""

    async def has_primary(self) -> bool:
        """Check whether the Canary has a primary of its own."""
        return await self._find_primary() is not None

    async def has_former_primary(self) -> bool:
        """Return whether the Canary owns the primary of another Deployment or DaemonSet than its target."""
        for kind, view in self.context.views.items():
            for (namespace, name), facts in (await self.cluster.cache(view).ready()).all():
                is_other = name.endswith(PRIMARY_SUFFIX) and (kind, name) != (self.kind, self.primary)
                if namespace == self.namespace and is_other and self.owner.is_named_by(facts.ownership):
                    return True
        return False

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names of the copies, and of the objects that a promotion saves."""
        cache = await self._cache()
        target = cache.get(self.namespace, self.name)
        primary = cache.look(self.namespace, self.primary, self.key)
        foreign = () if primary is None else self._find_foreign(self.kind, self.primary, primary.ownership, PRIMARY)
        configs = {} if target is None else await self._find_configs(target.template.configs)
        names = [(use.kind, use.name) for use, facts in configs.items() if facts is not None and not facts.is_shared]
        saved = () if self._owned(primary) is None or primary is None else primary.contents
        copies = foreign_copies(self.objects, self.namespace, saved, names=names, key=self.key)
        await self._require_own_scaler()
        return (*foreign, *[copy async for copy in copies], *await self._foreign_scaler())

    async def _foreign_scaler(self) -> tuple[ForeignObject, ...]:
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return ()
        view, name = SCALERS[reference.kind], primary_name(reference.name)
        facts = (await self.cluster.cache(view).ready()).look(self.namespace, name, self.key)
        return () if facts is None else self._find_foreign(view.kind, name, facts.ownership, SCALER_COPY)

    def _find_foreign(self, kind: Kind, name: str, ownership: Ownership, role: Role) -> tuple[ForeignObject, ...]:
        return self.owner.find_foreign(kind, name, ownership, role)

    def _refuse_foreign(self, foreign: Collection[ForeignObject]) -> None:
        """Raise ForeignObjectError before the first write, where a foreign object has a needed name."""
        if foreign:
            raise ForeignObjectError(self.owner, foreign)

    # the primary ------------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        if await self._find_primary() is not None:
            return
        target, configs, copying = await self._read_revision(revision)
        primary_copy(target, copying)  # a refusal comes before the first write
        copies = await self._copy_configs(configs, ())
        await self.objects.create(primary_copy(target, evolve(copying, copies=copies)), PRIMARY)

    async def promote(self, revision: str) -> None:
        facts = await self._require_primary()
        if facts.revision == revision:
            return
        target, configs, copying = await self._read_revision(revision)
        primary_copy(target, copying)  # a refusal comes before the first write
        self._refuse_foreign(await self.foreign_objects())
        _, before = await self._revisions(None, facts, {})
        primary = await self._read_primary(facts)
        if get_annotation(primary, REVISION) == revision:  # an earlier attempt succeeded, but its answer was lost
            return
        replaced = get_annotation_list(primary, CONTENTS)
        names = tuple(dict.fromkeys((before, *get_annotation_list(primary, KEPT_REVISIONS))))
        data = {"template": primary["spec"]["template"], "configs": replaced}
        await save_revision(self.objects, primary, before, data)
        copying = evolve(copying, copies=await self._copy_configs(configs, replaced))
        await self._delete_revisions(names[KEEP:], names[:KEEP])  # while the primary's annotation still lists them
        await self._change(lambda body: promoted_copy(body, target, copying, names[:KEEP]), primary)

    async def _copy_configs(
        self, configs: Iterable[ConfigVersion], contents: Collection[str]
    ) -> dict[tuple[str, str], str]:
        """Copy these configs. Return the names of the copies. contents: those of the primary's present configs."""
        return await copy_configs(
            self.objects,
            self.namespace,
            configs,
            self.primary,
            contents,
            self.context.prefixes,
            readers=self._has_other_reader,
        )

    async def _has_other_reader(self, kind: Kind, name: str) -> bool:
        """Check whether the primary of another Canary reads a config."""
        for view in self.context.views.values():
            for (namespace, workload), facts in (await self.cluster.cache(view).ready()).all():
                if namespace != self.namespace or (workload, view.kind) == (self.primary, self.kind):
                    continue
                is_primary = bool(facts.ownership.canaries) and not self.owner.owns(facts.ownership)
                if is_primary and any(use.kind == kind and use.name == name for use in facts.template.configs):
                    return True
        return False

    async def _read_primary(self, facts: PodFacts) -> Json:
        """Return the primary. Record the contents of Flagger's configs on it first, before a copy overwrites them."""
        primary = await self.cluster.require(self.kind, self.namespace, self.primary)
        configs = facts.template.configs
        if facts.revision or facts.contents or not configs:
            return primary
        current = copied_contents(configs, await self._primary_configs(facts), text=True)
        return await self._change(lambda body: marked_copy(body, "", current), primary)

    async def restore_primary(self, revision: str) -> None:
        facts = await self._require_primary()
        if facts.revision == revision:
            return
        if revision not in facts.saved_revisions:
            names = ", ".join(facts.saved_revisions) or "none"
            raise Refused(f"revision {revision} of {self.primary}.{self.namespace} was not saved: found {names}")
        data = await load_revision(self.objects, self.namespace, self.primary, revision)
        copied = [(kind, name) for kind, name, _ in copied_configs(data["configs"])]
        foreign = foreign_copies(self.objects, self.namespace, (), names=copied, key=self.key)
        self._refuse_foreign([copy async for copy in foreign])
        copies = await restore_configs(self.objects, self.namespace, data["configs"], readers=self._has_other_reader)
        await self._change(lambda body: restored_copy(body, data["template"], revision, data["configs"], copies))

    async def _delete_revisions(self, revisions: Iterable[str], still: Iterable[str]) -> None:
        """Delete these saved revisions, with their configs except those of the revisions in `still`."""
        configs = [content for revision in revisions for content in await self._saved_configs(revision)]
        if configs:
            needed = {content for revision in still for content in await self._saved_configs(revision)}
            await delete_saved_configs(self.objects, self.namespace, configs, needed)
        await delete_revisions(self.objects, self.namespace, self.primary, revisions)

    async def _saved_configs(self, revision: str) -> list[str]:
        try:
            data = await load_revision(self.objects, self.namespace, self.primary, revision)
        except Refused:
            return []
        configs: list[str] = data["configs"]
        return configs

    async def _require_primary(self) -> PodFacts:
        """Return the primary's facts. Raise MissingObjectError where there is none."""
        facts = await self._find_primary()
        if facts is None:
            raise MissingObjectError(f"{self.kind.kind.lower()} {self.primary}.{self.namespace} does not exist")
        return facts

    async def _read_revision(self, revision: str) -> tuple[Json, list[ConfigVersion], Copying]:
        """Return the target, its configs to copy, and the parameters of the copy, as the server has them now.

        It reads one config at a time and drops its content: together they may be larger than the memory. Raise Refused
        when they make another revision.
        """
        target = await self.read(self.kind)
        facts = pod_facts(self.context.reading, target)
        configs = {use: await self._read_config(use) for use in facts.template.configs}
        self._require_configs(configs)
        primary = await self._find_primary()
        current, _ = revisions(facts, primary, configs, await self._primary_configs(primary))
        if current != revision:
            raise Refused(f"{self.kind.kind.lower()} {self.name}.{self.namespace} carries {current}, not {revision}")
        versions = [
            ConfigVersion(use=use, checksum=config.checksum)
            for use, config in configs.items()
            if config is not None and not config.is_shared
        ]
        copying = Copying(
            owner=self.objects.reference,
            revision=revision,
            contents=tuple(contents(facts.template.configs, configs, text=False)),
            labels=self.context.reading.labels,
            selector=None if primary is None else primary.template.selector or None,
            prefixes=self.context.prefixes,
            keeps_replicas=self.rollout.autoscaled or splits_by_pods(self.rollout.provider),
        )
        return target, versions, copying

    async def _read_config(self, use: ConfigUse) -> ConfigFacts | None:
        body = await self.cluster.get(use.kind, self.namespace, use.name)
        return None if body is None else config_facts(body)

    async def _change(self, edit: Callable[[Json], Json], body: Json | None = None) -> Json:
        return await self.objects.change(self.kind, self.namespace, self.primary, PRIMARY, edit, body=body)

    async def _merge(self, target: PodFacts, patch: Json) -> None:
        """Patch the target. Raise Conflict where its owner has created it again meanwhile."""
        metadata = patch.get("metadata", {}) | {"uid": target.template.uid}
        await self.cluster.merge(self.kind, self.namespace, self.name, patch | {"metadata": metadata})

    # scale ------------------------------------------------------------------------------------------------------

    async def scale_up(self) -> None:
        cache = await self._cache()
        target = cache.get(self.namespace, self.name)
        primary = self._owned(cache.get(self.namespace, self.primary))
        if target is not None and target.size is not None:
            await self._rescale(primary)
            return
        if target is None or (target.desired > 0 and not self._lacks_pods(target, primary)):
            return
        if self.kind is DAEMON_SET:
            await self._merge(target, _SCALE_UP)
        elif self.rollout.autoscaled:
            scaler = await self._scaler()
            await self._merge(target, _replicas(1 if scaler is None else scaler.minimum))
        else:
            await self._merge(target, _replicas(1 if primary is None else self._first_pods(primary.whole or 1)))

    async def resize(self, replicas: int) -> None:
        """Give the target the size of a step. Record it beside the owner's number, in the same patch."""
        if self.kind is not DEPLOYMENT or self.rollout.autoscaled:
            raise Refused(
                f"{self.kind.kind.lower()} {self.name}.{self.namespace}: found a step with a size, expected a "
                "Deployment without an autoscaler: remove size of the steps."
            )
        await self._rescale(await self._find_primary(), replicas)

    async def _rescale(self, primary: PodFacts | None, replicas: int = 0) -> None:
        """Give the target these replicas, or those of its owner. Raise Conflict while others keep changing it.

        It decides by the object as the server has it: an owner's number that the cache lacks would be lost.
        """

        def rescaled(target: Json) -> Json:
            facts = pod_facts(self.context.reading, target)
            own = _own_replicas(facts, primary)
            size = None if replicas in (0, own) else WrittenSize(replicas=replicas, own=own)
            if (facts.desired, facts.size) == (replicas or own, size):
                return target
            annotations = target["metadata"].get("annotations", {}) | _size_mark(size)
            metadata = target["metadata"] | {"annotations": annotations}
            return target | {"metadata": metadata, "spec": target["spec"] | {"replicas": replicas or own}}

        await self.cluster.rewrite(self.kind, self.namespace, self.name, rescaled)

    def _first_pods(self, replicas: int) -> int:
        """Return the canary's replicas before its first requests: all, or its first share by numbers of pods."""
        if self.is_deleted or not splits_by_pods(self.rollout.provider):
            return replicas
        first = next((rung.weight for rung in self.rollout.ladder.rungs if rung.weight), ALL)
        return count_pods(replicas, first).canary

    def _lacks_pods(self, target: PodFacts, primary: PodFacts | None) -> bool:
        """Return whether the target, which the Canary gives back, has a share of the app's pods only."""
        if not self.is_deleted or primary is None or not splits_by_pods(self.rollout.provider):
            return False
        return target.desired < primary.whole

    async def scale_down(self) -> None:
        """Scale the target to zero. Its autoscaler does nothing there, so copy it for the primary first."""
        target = (await self._cache()).get(self.namespace, self.name)
        if target is None or target.desired == 0:
            return
        await self._copy_scaler()
        down = _SCALE_DOWN if self.kind is DAEMON_SET else _replicas(0)
        unmarked = {} if target.size is None else {"metadata": {"annotations": _size_mark(None)}}
        await self._merge(target, down | unmarked)

    async def restore(self) -> None:
        """Run the target at the primary's scale, under its own autoscaler."""
        await self.resume_scaler()
        cache = await self._cache()
        target, primary = cache.get(self.namespace, self.name), self._owned(cache.get(self.namespace, self.primary))
        if self.kind is DAEMON_SET or primary is None or not primary.desired:
            await self.scale_up()
        elif target is not None and target.size is not None:
            await self._rescale(primary)
        elif target is not None and target.desired != primary.whole:
            await self._merge(target, _replicas(primary.whole))
        self.mark_restored()

    # the hand-back ----------------------------------------------------------------------------------------------

    async def preview_return(self, promoted: str) -> TargetChange:
        """Return the change that gives the target the primary's revision. It writes nothing.

        promoted: the promoted revision; empty if unknown. Raise Refused where the result would be another revision.
        """
        await self._require_primary()
        target = await self.read(self.kind)
        primary = await self.cluster.require(self.kind, self.namespace, self.primary)
        facts = pod_facts(self.context.reading, primary)
        copies = {use: await self._read_config(use) for use in facts.template.configs}
        carried = facts.contents or copied_contents(facts.template.configs, copies, text=True)
        originals = {
            (use.kind.kind, use.name): content.partition(":")[0].partition("/")[2]
            for use, content in zip(facts.template.configs, carried, strict=False)
        }
        selector = workload_selector(target)
        if not tells_apart(selector, facts.template.selector):
            raise SelectorMismatchError(self.kind.kind, self.name, self.namespace, selector, facts.template.selector)
        pods = existing_selectors(selector, facts.template.selector, self.context.reading.labels)
        change = TargetChange(before=target, after=returned_target(target, primary, pods, originals))
        await self._require_promoted(change.after, facts, copies, promoted)
        return change

    async def _require_promoted(
        self, target: Json, primary: PodFacts, copies: Mapping[ConfigUse, ConfigFacts | None], promoted: str
    ) -> None:
        """Raise Refused unless a target has the primary's revision, and that is the promoted one."""
        name = f"{self.kind.kind.lower()} {self.name}.{self.namespace}"
        if promoted and primary.revision not in ("", promoted):
            raise Refused(f"{name}: the primary carries {primary.revision}, not the promoted {promoted}: wait for it")
        facts = pod_facts(self.context.reading, target)
        configs = {use: await self._read_config(use) for use in facts.template.configs}
        self._require_configs(configs)
        current, carried = revisions(facts, primary, configs, copies)
        if current == carried:
            return
        if facts.template.shape == primary.template.shape:
            names = ", ".join(map(str, facts.template.configs))
            raise Refused(
                f"{name}: found other contents of {names} than the promoted revision has. Apply their former contents,"
                f" which the copies of {self.primary} have, and repeat."
            )
        raise Refused(f"{name}: found no way to rebuild the promoted revision: apply its manifest again")

    async def return_target(self, change: TargetChange) -> None:
        """Change the target. Raise Conflict if it has changed since the preview."""
        await self._write_target(change, HAND_BACK_MANAGER)

    async def _write_target(self, change: TargetChange, manager: str) -> None:
        patch = lock_version(merge_patch(change.before, change.after), change.before)
        await self.cluster.client.merge(self.kind, self.namespace, self.name, patch, manager=manager)

    # earlier revisions ------------------------------------------------------------------------------------------

    async def past_templates(self) -> tuple[PastTemplate, ...]:
        """Return the pod templates that Kubernetes keeps of the target, the latest first; one for each revision."""
        target, primary = await self.read(self.kind), await self._find_primary()
        primary_configs = await self._primary_configs(primary)
        templates: dict[str, PastTemplate] = {}
        found = [each async for each in read_templates(self.cluster.client, target, self.kind, PROXIES)]
        for each in sorted(found, key=lambda one: (one.number, one.created_at), reverse=True):
            facts = pod_facts(self.context.reading, target | {"spec": target["spec"] | {"template": each.template}})
            configs = await self._find_configs(facts.template.configs, () if primary is None else primary.contents)
            revision, _ = revisions(facts, primary, configs, primary_configs)
            templates.setdefault(revision, evolve(each, revision=revision))
        return tuple(templates.values())

    async def undo(self, past: PastTemplate) -> None:
        """Give the target an earlier template of its own. Raise Refused if that is another revision by now."""
        target = await self.read(self.kind)
        after = with_past_template(target, past.template)
        facts = pod_facts(self.context.reading, after)
        configs = {use: await self._read_config(use) for use in facts.template.configs}
        self._require_configs(configs)
        primary = await self._find_primary()
        revision, _ = revisions(facts, primary, configs, await self._primary_configs(primary))
        if revision != past.revision:
            raise Refused(
                f"{self.kind.kind.lower()} {self.name}.{self.namespace}: its configs have changed meanwhile: found"
                f" {revision}, expected {past.revision}: repeat"
            )
        await self._write_target(TargetChange(before=target, after=after), UNDO_MANAGER)

    # the autoscaler ---------------------------------------------------------------------------------------------

    async def pause_scaler(self) -> None:
        scaler = await self._scaler()
        if scaler is not None and scaler.paused is False:
            await self._require_own_scaler()
            await self._copy_scaler()
            await self._merge_scaler(PAUSE)

    async def resume_scaler(self) -> None:
        scaler = await self._scaler()
        if scaler is not None and scaler.paused and self._is_own_scaler(scaler):
            await self._merge_scaler(RESUME)

    async def _require_own_scaler(self) -> None:
        """Raise BlockedError where pausing the autoscaler would stop another workload than the target."""
        scaler, reference = await self._scaler(self.key), self.canary.spec.autoscaler_ref
        if scaler is None or reference is None or self._is_own_scaler(scaler):
            return
        scaled = escape_controls(" ".join(filter(None, scaler.scales)), LONGEST_SHOWN)
        raise BlockedError(
            f"canary {self.rollout.full_name}, spec.autoscalerRef: the {reference.kind} {reference.name} scales "
            f"{scaled}, expected one that scales the target {self.name}: paused, it would stop another workload. Name "
            "the target's own autoscaler, or leave the reference out."
        )

    def _is_own_scaler(self, scaler: ScalerFacts) -> bool:
        """Check whether the autoscaler scales the target, or is of a kind that needs no pause."""
        kind, name = scaler.scales
        return scaler.paused is None or (kind in {"", self.kind.kind} and name in {"", self.name})

    async def _scaler(self, key: str = "") -> ScalerFacts | None:
        """Return the facts of the target's autoscaler. A change of it wakes the rollout `key`, if one is given."""
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return None
        cache = await self.cluster.cache(SCALERS[reference.kind]).ready()
        place = (self.namespace, reference.name)
        return cache.look(*place, key) if key else cache.get(*place)

    async def _merge_scaler(self, patch: Json) -> None:
        reference = self.canary.spec.autoscaler_ref
        assert reference is not None, "a found autoscaler has a reference"
        await self.cluster.merge(SCALERS[reference.kind].kind, self.namespace, reference.name, patch)

    async def _copy_scaler(self) -> None:
        """Scale the primary as the target; update the copy only while both have the same revision."""
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return
        view = SCALERS[reference.kind]
        name = primary_name(reference.name)
        present = (await self.cluster.cache(view).ready()).get(self.namespace, name)
        has_copy = present is not None and self.owner.owns(present.ownership)
        workloads = await self.observe()
        target, primary = workloads.target, workloads.primary
        if has_copy and (target is None or primary is None or target.revision != primary.revision):
            return
        scaler = await self.cluster.require(view.kind, self.namespace, reference.name)
        copy = primary_scaler(scaler, self.canary, self.objects.reference)
        if has_copy:
            edit = partial(with_scale, copy=copy)
            await self.objects.change(view.kind, self.namespace, name, SCALER_COPY, edit)
        else:
            await self.objects.ensure(copy, SCALER_COPY)


def _replicas(count: int) -> Json:
    return {"spec": {"replicas": count}}


def _size_mark(size: WrittenSize | None) -> dict[str, str | None]:
    """Return the annotation that records a size; None removes it."""
    return {ANNOTATION: None if size is None else str(size)}


def _own_replicas(target: PodFacts, primary: PodFacts | None) -> int:
    """Return the replicas that the target's owner wants: of a target that is scaled to zero, those of its primary."""
    return target.own or (primary.whole if primary is not None else 0) or 1


def _revised_at(target: PodFacts | None, configs: Mapping[ConfigUse, ConfigFacts | None]) -> float | None:
    """Return when the owner last wrote the template or one of its configs, at the latest; None if unknown."""
    if target is None:
        return None
    times = (target.template.written_at, *(facts.written_at for facts in configs.values() if facts is not None))
    return max((time for time in times if time is not None), default=None)


def _workload(facts: PodFacts | None, revision: str, revised_at: float | None = None) -> Workload | None:
    if facts is None:
        return None
    return Workload(
        revision=revision,
        desired=facts.desired,
        updated=facts.updated,
        ready=facts.ready,
        total=facts.total,
        unready_since=facts.unready_since,
        stuck=facts.stuck,
        revised_at=revised_at,
    )
