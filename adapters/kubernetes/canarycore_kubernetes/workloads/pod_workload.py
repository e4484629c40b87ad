"""Targets that run pods: Deployments and DaemonSets.

The primary is a copy of the workload that says what it carries: see `targets.revisions`. A promotion reads the target
and its configs once, refuses what is not the revision that was asked for, and copies exactly what was read. What it
overwrites is kept first, and the primary is changed last: until then it says, and runs, what it did before.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import Workload
from canarycore.errors import Refused, WorldError
from canarycore.text import LONGEST_SHOWN, escape_controls
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT, SECRET
from canarycore_kubernetes.api.metadata import (
    CONTENTS,
    KEPT_REVISIONS,
    REVISION,
    get_annotation,
    get_annotation_list,
    primary_name,
)
from canarycore_kubernetes.api.ownership import PRIMARY, SCALER_COPY, BlockedError, ForeignObjectError, shorten_owner
from canarycore_kubernetes.workloads.autoscalers import PAUSE, RESUME, SCALERS, ScalerFacts, primary_scaler, with_scale
from canarycore_kubernetes.workloads.base import WorkloadTarget, read
from canarycore_kubernetes.workloads.configs import (
    CONFIGS,
    ConfigVersion,
    MissingConfigError,
    config_facts,
    unread_secret,
)
from canarycore_kubernetes.workloads.facts import pod_facts, revisions
from canarycore_kubernetes.workloads.history import (
    KEEP,
    copied_configs,
    copy_configs,
    delete_revisions,
    foreign_copies,
    forget_configs,
    give_configs_back,
    save_revision,
    saved_revision,
)
from canarycore_kubernetes.workloads.primary import Copying, marked_copy, primary_copy, promoted_copy, restored_copy
from canarycore_kubernetes.workloads.revision import SCALED_TO_ZERO, contents, copied_contents
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.ownership import ForeignObject, Ownership, Role
    from canarycore_kubernetes.workloads.configs import ConfigFacts, ConfigUse
    from canarycore_kubernetes.workloads.facts import PodFacts
    from canarycore_runtime.mesh import Json, Kind

_KINDS = {kind.kind: kind for kind in (DEPLOYMENT, DAEMON_SET)}

_UP: Json = {"spec": {"template": {"spec": {"nodeSelector": {SCALED_TO_ZERO: None}}}}}
_DOWN: Json = {"spec": {"template": {"spec": {"nodeSelector": {SCALED_TO_ZERO: "true"}}}}}
"""How a DaemonSet is scaled: there are no nodes with this label."""


@frozen(kw_only=True)
class PodTarget(WorkloadTarget):
    """A Deployment or a DaemonSet, and its primary. The methods are those of the port."""

    @property
    def kind(self) -> Kind:
        return _KINDS[self.rollout.target.kind]

    # what is seen -----------------------------------------------------------------------------------------------

    async def observe(self) -> Workloads:
        cache = await self._cache()
        target = cache.look(self.namespace, self.name, self.key)
        primary = self._own(cache.look(self.namespace, self.primary, self.key))
        scaler = await self._scaler(self.key)
        carried = await self._revisions(target, primary)
        return Workloads(
            target=_workload(target, carried[0]),
            primary=_workload(primary, carried[1]),
            scaler_paused=None if scaler is None else scaler.paused,
            kept=() if primary is None else primary.kept,
            restored=self.restored,
        )

    async def _cache(self) -> Cache[PodFacts]:
        return await self.cluster.cache(self.context.views[self.kind]).ready()

    def _own(self, primary: PodFacts | None) -> PodFacts | None:
        """Return the primary, or None where what has its name is foreign: the rollout has no primary then."""
        return primary if primary is not None and self.owner.owns(primary.ownership) else None

    async def _found_primary(self) -> PodFacts | None:
        return self._own((await self._cache()).get(self.namespace, self.primary))

    async def _revisions(self, target: PodFacts | None, primary: PodFacts | None) -> tuple[str, str]:
        promoted_copy = () if primary is None else primary.contents
        mine = {} if target is None else await self._looked_up(target.written.configs, promoted_copy)
        self._demand(mine)
        return revisions(target, primary, mine, await self._copies(primary))

    async def tracked(self) -> dict[str, str]:
        """What the target's configs hold, but for those that both sides share: Flagger's `status.trackedConfigs`."""
        target = (await self._cache()).get(self.namespace, self.name)
        held = {} if target is None else await self._looked_up(target.written.configs)
        return {str(use): facts.text for use, facts in held.items() if facts is not None and not facts.shared}

    async def _copies(self, primary: PodFacts | None) -> dict[ConfigUse, ConfigFacts | None]:
        """What the configs of a primary hold that does not say so itself."""
        return {} if primary is None or primary.carries else await self._looked_up(primary.written.configs)

    async def _looked_up(
        self, configs: Iterable[ConfigUse], promoted_copy: Iterable[str] = ()
    ) -> dict[ConfigUse, ConfigFacts | None]:
        """Return the facts of these configs. promoted: the contents that the primary names."""
        return {use: await self._look_up(use, promoted_copy) for use in configs}

    async def _look_up(self, use: ConfigUse, promoted_copy: Iterable[str]) -> ConfigFacts | None:
        if use.kind is SECRET and not self.context.reading.secrets:
            return unread_secret(use, promoted_copy)
        return (await self.cluster.cache(CONFIGS[use.kind]).ready()).look(self.namespace, use.name, self.key)

    def _demand(self, held: Mapping[ConfigUse, object]) -> None:
        """Raise MissingConfigError where a config is missing without which no pod starts."""
        for use, found in held.items():
            if found is None and use.required:
                raise MissingConfigError(
                    f"{use.kind.kind.lower()} {use.name}.{self.namespace} get query error: not found: "
                    f"{self.kind.kind.lower()} {self.name} needs it; create it, or make the reference to it optional"
                )

    # whose it is ------------------------------------------------------------------------------------------------

    async def other_canary(self) -> str:
        """Return the other Canary that has made the target, or its primary; empty where there is none."""
        cache = await self._cache()
        for name in (self.name, self.primary):
            facts = cache.look(self.namespace, name, self.key)
            others = () if facts is None or self.owner.owns(facts.ownership) else facts.ownership.canaries
            if others:
                return f"the {self.kind.kind} {name} belongs to the Canary {shorten_owner(others[0])}"
        return ""

    async def has_primary(self) -> bool:
        """Tell whether the Canary has a primary copy of its own."""
        return await self._found_primary() is not None

    async def foreign_objects(self) -> tuple[ForeignObject, ...]:
        """Return the foreign objects under the names of what is made, and of what is kept at a promotion."""
        cache = await self._cache()
        target = cache.get(self.namespace, self.name)
        primary = cache.look(self.namespace, self.primary, self.key)
        found = () if primary is None else self._foreign(self.kind, self.primary, primary.ownership, PRIMARY)
        held = {} if target is None else await self._looked_up(target.written.configs)
        names = [(use.kind, use.name) for use, facts in held.items() if facts is not None and not facts.shared]
        saved_revision = () if self._own(primary) is None or primary is None else primary.contents
        copies = foreign_copies(self.objects, self.namespace, saved_revision, names=names, key=self.key)
        await self._demand_own_scaler()
        return (*found, *[one async for one in copies], *await self._foreign_scaler())

    async def _foreign_scaler(self) -> tuple[ForeignObject, ...]:
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return ()
        view, name = SCALERS[reference.kind], primary_name(reference.name)
        facts = (await self.cluster.cache(view).ready()).look(self.namespace, name, self.key)
        return () if facts is None else self._foreign(view.kind, name, facts.ownership, SCALER_COPY)

    def _foreign(self, kind: Kind, name: str, ownership: Ownership, role: Role) -> tuple[ForeignObject, ...]:
        return self.owner.find_foreign(kind, name, ownership, role)

    def _refuse(self, found: Collection[ForeignObject]) -> None:
        """Raise ForeignObjectError before anything is written, where something foreign is in the way."""
        if found:
            raise ForeignObjectError(self.owner, found)

    # the primary ------------------------------------------------------------------------------------------------

    async def initialise(self, revision: str) -> None:
        if await self._found_primary() is not None:
            return
        target, configs, copying = await self._carrying(revision)
        copy = primary_copy(target, copying)
        await copy_configs(self.objects, self.namespace, configs, self.primary, (), self.context.prefixes)
        await self.objects.create(copy, PRIMARY)

    async def promote(self, revision: str) -> None:
        facts = await self._primary_facts()
        if facts.carries == revision:
            return
        target, configs, copying = await self._carrying(revision)
        primary_copy(target, copying)  # what is refused is refused before anything is written
        self._refuse(await self.foreign_objects())
        _, before = await self._revisions(None, facts)
        primary = await self._read_primary(facts)
        if get_annotation(primary, REVISION) == revision:  # an answer was lost
            return
        held = get_annotation_list(primary, CONTENTS)
        names = tuple(dict.fromkeys((before, *get_annotation_list(primary, KEPT_REVISIONS))))
        data = {"template": primary["spec"]["template"], "configs": held}
        await save_revision(self.objects, primary, before, data)
        await copy_configs(self.objects, self.namespace, configs, self.primary, held, self.context.prefixes)
        await self._forget(names[KEEP:], names[:KEEP])  # before nobody knows of them any more
        await self._change(lambda found: promoted_copy(found, target, copying, names[:KEEP]), primary)

    async def _read_primary(self, facts: PodFacts) -> Json:
        """The primary. One that does not say what its configs hold is made to, while they can still tell."""
        primary = await read(self.cluster, self.kind, self.namespace, self.primary)
        configs = facts.written.configs
        if facts.carries or facts.contents or not configs:
            return primary
        held = copied_contents(configs, await self._copies(facts), text=True)
        return await self._change(lambda found: marked_copy(found, "", held), primary)

    async def restore_primary(self, revision: str) -> None:
        facts = await self._primary_facts()
        if facts.carries == revision:
            return
        if revision not in facts.kept:
            names = ", ".join(facts.kept) or "none"
            raise Refused(f"revision {revision} of {self.primary}.{self.namespace} was not kept: kept are {names}")
        data = await saved_revision(self.objects, self.namespace, self.primary, revision)
        copied = [(kind, name) for kind, name, _ in copied_configs(data["configs"])]
        copies = foreign_copies(self.objects, self.namespace, (), names=copied, key=self.key)
        self._refuse([one async for one in copies])
        await give_configs_back(self.objects, self.namespace, data["configs"])
        await self._change(lambda found: restored_copy(found, data["template"], revision, data["configs"]))

    async def _forget(self, revisions: Iterable[str], still: Iterable[str]) -> None:
        """Keep these revisions no longer."""
        configs = [content for revision in revisions for content in await self._kept_configs(revision)]
        if configs:
            needed = {content for revision in still for content in await self._kept_configs(revision)}
            await forget_configs(self.objects, self.namespace, configs, needed)
        await delete_revisions(self.objects, self.namespace, self.primary, revisions)

    async def _kept_configs(self, revision: str) -> list[str]:
        try:
            data = await saved_revision(self.objects, self.namespace, self.primary, revision)
        except Refused:
            return []
        configs: list[str] = data["configs"]
        return configs

    async def _primary_facts(self) -> PodFacts:
        facts = await self._found_primary()
        if facts is None:
            raise WorldError(f"{self.kind.kind.lower()} {self.primary}.{self.namespace} does not exist")
        return facts

    async def _carrying(self, revision: str) -> tuple[Json, list[ConfigVersion], Copying]:
        """The target, the configs that are to be copied, and how, as they are on the server at this moment.

        One config after the other is read and left again: together they may be larger than the memory. Raises Refused
        when together they are another revision than the one that is asked for.
        """
        target = await self.read(self.kind)
        facts = pod_facts(self.context.reading, target)
        mine = {use: await self._config_facts(use) for use in facts.written.configs}
        self._demand(mine)
        primary = await self._found_primary()
        found, _ = revisions(facts, primary, mine, await self._copies(primary))
        if found != revision:
            raise Refused(f"{self.kind.kind.lower()} {self.name}.{self.namespace} carries {found}, not {revision}")
        configs = [
            ConfigVersion(use=use, checksum=facts.checksum)
            for use, facts in mine.items()
            if facts is not None and not facts.shared
        ]
        copying = Copying(
            owner=self.objects.reference,
            revision=revision,
            contents=tuple(contents(facts.written.configs, mine, text=False)),
            labels=self.context.reading.labels,
            prefixes=self.context.prefixes,
            copied=frozenset((config.use.kind.kind, config.use.name) for config in configs),
            autoscaled=self.rollout.autoscaled,
        )
        return target, configs, copying

    async def _config_facts(self, use: ConfigUse) -> ConfigFacts | None:
        body = await self.cluster.get(use.kind, self.namespace, use.name)
        return None if body is None else config_facts(body)

    async def _change(self, wanted: Callable[[Json], Json], found: Json | None = None) -> Json:
        return await self.objects.change(self.kind, self.namespace, self.primary, PRIMARY, wanted, found=found)

    async def _merge(self, patch: Json) -> None:
        await self.cluster.merge(self.kind, self.namespace, self.name, patch)

    # scale ------------------------------------------------------------------------------------------------------

    async def scale_up(self) -> None:
        cache = await self._cache()
        target = cache.get(self.namespace, self.name)
        if target is None or target.desired > 0:
            return
        primary = self._own(cache.get(self.namespace, self.primary))
        if self.kind is DAEMON_SET:
            await self._merge(_UP)
        elif self.rollout.autoscaled:
            scaler = await self._scaler()
            await self._merge(_replicas(1 if scaler is None else scaler.minimum))
        else:
            await self._merge(_replicas(1 if primary is None else primary.desired or 1))

    async def scale_down(self) -> None:
        """With an autoscaler the primary's own is there first, as the target's is of no use at zero."""
        target = (await self._cache()).get(self.namespace, self.name)
        if target is None or target.desired == 0:
            return
        await self._copy_scaler()
        await self._merge(_DOWN if self.kind is DAEMON_SET else _replicas(0))

    async def restore(self) -> None:
        """Run the target as the primary ran, under its own autoscaler."""
        await self.resume_scaler()
        cache = await self._cache()
        target, primary = cache.get(self.namespace, self.name), self._own(cache.get(self.namespace, self.primary))
        if self.kind is DAEMON_SET or primary is None or not primary.desired:
            await self.scale_up()
        elif target is not None and target.desired != primary.desired:
            await self._merge(_replicas(primary.desired))
        self.is_restored()

    # the autoscaler ---------------------------------------------------------------------------------------------

    async def pause_scaler(self) -> None:
        scaler = await self._scaler()
        if scaler is not None and scaler.paused is False:
            await self._demand_own_scaler()
            await self._copy_scaler()
            await self._merge_scaler(PAUSE)

    async def resume_scaler(self) -> None:
        scaler = await self._scaler()
        if scaler is not None and scaler.paused and self._is_own_scaler(scaler):
            await self._merge_scaler(RESUME)

    async def _demand_own_scaler(self) -> None:
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
        """Tell whether an autoscaler may be paused: it scales the target, or is one that need not be paused."""
        kind, name = scaler.scales
        return scaler.paused is None or (kind in {"", self.kind.kind} and name in {"", self.name})

    async def _scaler(self, key: str = "") -> ScalerFacts | None:
        """What is held of the target's autoscaler, on behalf of the rollout `key`."""
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return None
        cache = await self.cluster.cache(SCALERS[reference.kind]).ready()
        place = (self.namespace, reference.name)
        return cache.look(*place, key) if key else cache.get(*place)

    async def _merge_scaler(self, patch: Json) -> None:
        reference = self.canary.spec.autoscaler_ref
        assert reference is not None, "there is a scaler, so it was referred to"
        await self.cluster.merge(SCALERS[reference.kind].kind, self.namespace, reference.name, patch)

    async def _copy_scaler(self) -> None:
        """Let the primary scale as the target does; anew only when it carries what the target does."""
        reference = self.canary.spec.autoscaler_ref
        if reference is None:
            return
        view = SCALERS[reference.kind]
        name = primary_name(reference.name)
        present = (await self.cluster.cache(view).ready()).get(self.namespace, name)
        is_there = present is not None and self.owner.owns(present.ownership)
        seen = await self.observe()
        if is_there and (seen.target is None or seen.primary is None or seen.target.revision != seen.primary.revision):
            return
        scaler = await read(self.cluster, view.kind, self.namespace, reference.name)
        wanted = primary_scaler(scaler, self.canary, self.objects.reference)
        if is_there:
            like = partial(with_scale, wanted=wanted)
            await self.objects.change(view.kind, self.namespace, name, SCALER_COPY, like)
        else:
            await self.objects.ensure(wanted, SCALER_COPY)


def _replicas(count: int) -> Json:
    return {"spec": {"replicas": count}}


def _workload(facts: PodFacts | None, revision: str) -> Workload | None:
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
    )
