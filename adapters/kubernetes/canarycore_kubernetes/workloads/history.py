"""The saved revisions of a primary, from which a promotion can be taken back.

A ControllerRevision `<primary>-<revision>` saves the primary's pod template, and the names and checksums of its
configs. Before a promotion overwrites a config, an object of the same kind saves its content: so the content of a
Secret needs the rights of a Secret. The Canary owns these objects, and they go when it goes. An annotation of the
primary names the saved revisions; it changes in the same write as the template.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.kinds import CONFIG_MAP, CONTROLLER_REVISION, SECRET
from canarycore_kubernetes.api.metadata import KEPT_FOR, label_value, saved_name
from canarycore_kubernetes.api.ownership import (
    CONFIG_COPY,
    KEPT_CONFIG,
    KEPT_REVISION,
    ForeignObjectError,
    ownership_of,
)
from canarycore_kubernetes.workloads.configs import (
    CONFIGS,
    config_facts,
    copy_names,
    overwritten_config,
    primary_config,
    restored_config,
    saved_config,
    saved_config_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable

    from canarycore_kubernetes.api.ownership import ForeignObject, Ownership
    from canarycore_kubernetes.workloads.base import OwnedObjects
    from canarycore_kubernetes.workloads.configs import ConfigVersion, CopyNames
    from canarycore_runtime.mesh import Json, Kind

    Readers = Callable[[Kind, str], Awaitable[bool]]
    """Return whether the primary of another Canary reads a config, given its kind and name."""

KEEP = 2
"""The number of saved revisions."""

_KINDS: dict[str, Kind] = {kind.kind.lower(): kind for kind in (CONFIG_MAP, SECRET)}


async def save_revision(objects: OwnedObjects, primary: Json, revision: str, data: Json) -> None:
    """Save this data about the primary under the name of its revision."""
    metadata = primary["metadata"]
    await objects.ensure(
        {
            "apiVersion": CONTROLLER_REVISION.api_version,
            "kind": CONTROLLER_REVISION.kind,
            "metadata": {
                "name": saved_name(metadata["name"], revision),
                "namespace": metadata["namespace"],
                "labels": {KEPT_FOR: label_value(metadata["name"])},
                "ownerReferences": [objects.reference],
            },
            "revision": metadata.get("generation", 0),
            "data": data,
        },
        KEPT_REVISION,
    )


async def load_revision(objects: OwnedObjects, namespace: str, primary: str, revision: str) -> Json:
    """Return the saved data. Raise Refused if there are none, or if the object of that name is foreign."""
    saved = await objects.cluster.get(CONTROLLER_REVISION, namespace, saved_name(primary, revision))
    if saved is None:
        raise Refused(f"revision {revision} of {primary}.{namespace} was not saved: it cannot be restored")
    objects.owner.refuse_foreign(CONTROLLER_REVISION, saved, KEPT_REVISION)
    data: Json = saved["data"]
    return data


async def delete_revisions(objects: OwnedObjects, namespace: str, primary: str, revisions: Iterable[str]) -> None:
    """Delete these saved revisions."""
    for revision in revisions:
        await objects.delete(CONTROLLER_REVISION, namespace, saved_name(primary, revision))


# ------------------------------------------------------------------------------------------------------------- configs


async def copy_configs(
    objects: OwnedObjects,
    namespace: str,
    configs: Iterable[ConfigVersion],
    primary: str,
    contents: Collection[str],
    prefixes: Collection[str] = (),
    *,
    readers: Readers,
) -> dict[tuple[str, str], str]:
    """Copy these configs for the primary. Return the names of the copies, by the kind and the name of the config.

    contents: the names and checksums of the primary's present configs; those that a copy replaces are saved first.
    prefixes: prefixes of the labels to copy. readers: finds the primaries of other Canaries that read a copy. Raise
    WorldError when a config has changed since its version was read.
    """
    copies = {}
    for config in configs:
        place = CopyPlace(objects=objects, namespace=namespace, kind=config.use.kind, config=config.use.name)
        name = await place.find_for(config.checksum, readers)
        copies[config.use.kind.kind, config.use.name] = name
        if await place.has(name, config.checksum):
            continue
        body = await _read_version(objects, namespace, config)
        copies[config.use.kind.kind, config.use.name] = await _write_copy(
            place, name, body, primary, contents, prefixes
        )
    return copies


async def _write_copy(
    place: CopyPlace, name: str, body: Json, primary: str, contents: Collection[str], prefixes: Collection[str]
) -> str:
    """Write the copy of a config, and save the content that it replaces. Return its name.

    The name is the Canary's own one where another Canary has taken the common object just before.
    """
    objects, kind = place.objects, place.kind
    present = await objects.cluster.get(kind, place.namespace, name)
    if name == place.names.common and present is not None and place.is_others(ownership_of(present)):
        return await _write_copy(place, place.names.own, body, primary, contents, prefixes)
    replaced = present
    if present is None and name == place.names.own:  # until now the primary has read the common one
        replaced = await objects.cluster.get(kind, place.namespace, place.names.common)
    before = "" if replaced is None else config_facts(replaced).checksum
    if present is not None:
        objects.owner.refuse_foreign(kind, present, CONFIG_COPY)
    if replaced is not None and before != config_facts(body).checksum and place.content(before) in contents:
        await objects.ensure(saved_config(replaced, objects.reference, primary, copy=name), KEPT_CONFIG)
    try:
        if present is None:
            await objects.create(primary_config(body, objects.reference, prefixes, name=name), CONFIG_COPY)
        else:
            edit = partial(_overwrite, body, objects.reference, prefixes)
            await objects.change(kind, place.namespace, name, CONFIG_COPY, edit, body=present)
    except ForeignObjectError as error:
        if name == place.names.own or not all(foreign.is_of_a_canary for foreign in error.objects):
            raise
        return await _write_copy(place, place.names.own, body, primary, contents, prefixes)
    return name


@frozen(kw_only=True)
class CopyPlace:
    """The place of one Canary's copy of one config."""

    objects: OwnedObjects
    namespace: str
    kind: Kind

    config: str
    """The name of the config."""

    @property
    def names(self) -> CopyNames:
        """The names that the copy may have."""
        return copy_names(self.config, self.objects.owner.name)

    def content(self, checksum: str) -> str:
        """Return the content of the config as the primary's annotation names it."""
        return f"{self.kind.kind.lower()}/{self.config}:{checksum}"

    def is_others(self, ownership: Ownership) -> bool:
        """Check whether another Canary owns an object, alone or too."""
        owner = self.objects.owner
        if ownership.canaries:
            return set(ownership.canaries) != {owner.name}
        return ownership.annotated_owner not in ("", owner.key)

    async def find(self, key: str = "") -> str:
        """Return the name of the copy. A change of an object that decides wakes the rollout `key`, if one is given."""
        names, cache = self.names, await self.objects.cluster.cache(CONFIGS[self.kind]).ready()
        own, common = (
            cache.look(self.namespace, name, key) if key else cache.get(self.namespace, name)
            for name in (names.own, names.common)
        )
        if own is not None or (common is not None and self.is_others(common.ownership)):
            return names.own
        return names.common

    async def find_for(self, checksum: str, readers: Readers) -> str:
        """Return the name of the copy that is to have this content.

        A primary may read the common object although its Canary does not own it: Flagger names the last writer only.
        """
        name = await self.find()
        if name == self.names.own or await self.has(name, checksum):
            return name
        return self.names.own if await readers(self.kind, name) else name

    async def has(self, name: str, checksum: str) -> bool:
        """Check whether the Canary's copy has this content."""
        cache = await self.objects.cluster.cache(CONFIGS[self.kind]).ready()
        facts = cache.get(self.namespace, name)
        return facts is not None and facts.checksum == checksum and self.objects.owner.owns(facts.ownership)

    async def read_saved(self, name: str, checksum: str) -> Json | None:
        """Return the object that has saved this content, under either name. Raise ForeignObjectError."""
        for copy in (name, self.names.other(name)):
            saved = await self.objects.cluster.get(self.kind, self.namespace, saved_config_name(copy, checksum))
            if saved is not None:
                self.objects.owner.refuse_foreign(self.kind, saved, KEPT_CONFIG)
                return saved
        return None


async def _read_version(objects: OwnedObjects, namespace: str, config: ConfigVersion) -> Json:
    """Return the config. Raise WorldError where its content has another checksum by now."""
    body = await objects.cluster.get(config.use.kind, namespace, config.use.name)
    if body is None or config_facts(body).checksum != config.checksum:
        raise WorldError(f"{config.use} in {namespace} has changed while it was copied: reading it again")
    return body


def _overwrite(original: Json, reference: Json, prefixes: Collection[str], copy: Json) -> Json:
    name = copy["metadata"]["name"]
    return overwritten_config(copy, primary_config(original, reference, prefixes, name=name, copy=copy))


async def foreign_copies(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], *, names: Iterable[tuple[Kind, str]], key: str
) -> AsyncIterator[ForeignObject]:
    """Yield the foreign objects under the names of copies, and of the saved configs of `contents`.

    names: the kinds and names of the configs to copy. A change of one of these objects wakes the rollout `key`.
    """

    async def find_copy(kind: Kind, name: str) -> str:
        return await CopyPlace(objects=objects, namespace=namespace, kind=kind, config=name).find(key)

    needed = [(kind, await find_copy(kind, name), CONFIG_COPY) for kind, name in names]
    needed += [
        (kind, saved_config_name(await find_copy(kind, name), checksum), KEPT_CONFIG)
        for kind, name, checksum in copied_configs(contents)
    ]
    for kind, name, role in needed:
        facts = (await objects.cluster.cache(CONFIGS[kind]).ready()).look(namespace, name, key)
        for foreign in () if facts is None else objects.owner.find_foreign(kind, name, facts.ownership, role):
            yield foreign


async def restore_configs(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], *, readers: Readers
) -> dict[tuple[str, str], str]:
    """Give the primary's configs these contents again. Raise Refused where one was not saved.

    Return the present name of each copy, by its kind and either name that it may have had at that time.
    """
    copies: dict[tuple[str, str], str] = {}
    for kind, original, checksum in copied_configs(contents):
        place = CopyPlace(objects=objects, namespace=namespace, kind=kind, config=original)
        name = await place.find_for(checksum, readers)
        copies |= {(kind.kind, place.names.common): name, (kind.kind, place.names.own): name}
        if await place.has(name, checksum):
            continue
        content = await place.read_saved(name, checksum)
        if content is None:
            raise Refused(
                f"{kind.kind} {name}.{namespace} was not saved with the revision's content (checksum {checksum})"
            )
        if await objects.cluster.get(kind, namespace, name) is None:
            await objects.ensure(primary_config(content, objects.reference, (), name=name), CONFIG_COPY)
        else:
            await objects.change(kind, namespace, name, CONFIG_COPY, partial(restored_config, saved=content))
    return copies


async def delete_saved_configs(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], still: Collection[str]
) -> None:
    """Delete the saved contents of these configs, except those in `still`."""
    for kind, original, checksum in copied_configs(set(contents).difference(still)):
        names = copy_names(original, objects.owner.name)
        for name in (names.common, names.own):
            await objects.delete(kind, namespace, saved_config_name(name, checksum))


def copied_configs(contents: Iterable[str]) -> list[tuple[Kind, str, str]]:
    """Return the kind, the original's name and the checksum of each config that the primary has a copy of."""
    parts = (content.rpartition(":") for content in sorted(contents) if ":" in content)
    return [(_KINDS[config.partition("/")[0]], config.partition("/")[2], checksum) for config, _, checksum in parts]
