"""The saved revisions of a primary, from which a promotion can be taken back.

A ControllerRevision `<primary>-<revision>` saves the primary's pod template, and the names and checksums of its
configs. Before a promotion overwrites a config, an object of the same kind saves its content: so the content of a
Secret needs the rights of a Secret. The Canary owns these objects, and they go when it goes. An annotation of the
primary names the saved revisions; it changes in the same write as the template.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.kinds import CONFIG_MAP, CONTROLLER_REVISION, SECRET
from canarycore_kubernetes.api.metadata import KEPT_FOR, primary_name
from canarycore_kubernetes.api.ownership import CONFIG_COPY, KEPT_CONFIG, KEPT_REVISION
from canarycore_kubernetes.workloads.configs import (
    CONFIGS,
    config_facts,
    overwritten_config,
    primary_config,
    restored_config,
    saved_config,
    saved_config_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable

    from canarycore_kubernetes.api.ownership import ForeignObject
    from canarycore_kubernetes.workloads.base import OwnedObjects
    from canarycore_kubernetes.workloads.configs import ConfigVersion
    from canarycore_runtime.mesh import Json, Kind

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
                "name": f"{metadata['name']}-{revision}",
                "namespace": metadata["namespace"],
                "labels": {KEPT_FOR: metadata["name"]},
                "ownerReferences": [objects.reference],
            },
            "revision": metadata.get("generation", 0),
            "data": data,
        },
        KEPT_REVISION,
    )


async def load_revision(objects: OwnedObjects, namespace: str, primary: str, revision: str) -> Json:
    """Return the saved data. Raise Refused if there are none, or if the object of that name is foreign."""
    saved = await objects.cluster.get(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")
    if saved is None:
        raise Refused(f"revision {revision} of {primary}.{namespace} was not saved: it cannot be restored")
    objects.owner.refuse_foreign(CONTROLLER_REVISION, saved, KEPT_REVISION)
    data: Json = saved["data"]
    return data


async def delete_revisions(objects: OwnedObjects, namespace: str, primary: str, revisions: Iterable[str]) -> None:
    """Delete these saved revisions."""
    for revision in revisions:
        await objects.delete(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")


# ------------------------------------------------------------------------------------------------------------- configs


async def copy_configs(
    objects: OwnedObjects,
    namespace: str,
    configs: Iterable[ConfigVersion],
    primary: str,
    contents: Collection[str],
    prefixes: Collection[str] = (),
) -> None:
    """Copy these configs for the primary.

    contents: the names and checksums of the primary's present configs; those that a copy overwrites are saved first.
    prefixes: prefixes of the labels to copy. Raise WorldError when a config has changed since its version was read.
    """
    for config in configs:
        kind, content = config.use.kind, config.checksum
        name = primary_name(config.use.name)
        facts = (await objects.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if facts is not None and facts.checksum == content and objects.owner.name in facts.ownership.canaries:
            continue
        body = await _read_version(objects, namespace, config)
        present = await objects.cluster.get(kind, namespace, name)
        if present is None:
            await objects.create(primary_config(body, objects.reference, prefixes), CONFIG_COPY)
            continue
        objects.owner.refuse_foreign(kind, present, CONFIG_COPY)
        before = config_facts(present).checksum
        if before != content and f"{config.use}:{before}" in contents:
            await objects.ensure(saved_config(present, objects.reference, primary), KEPT_CONFIG)
        edit = partial(_overwrite, body, objects.reference, prefixes)
        await objects.change(kind, namespace, name, CONFIG_COPY, edit, body=present)


async def _read_version(objects: OwnedObjects, namespace: str, config: ConfigVersion) -> Json:
    """Return the config. Raise WorldError where its content has another checksum by now."""
    body = await objects.cluster.get(config.use.kind, namespace, config.use.name)
    if body is None or config_facts(body).checksum != config.checksum:
        raise WorldError(f"{config.use} in {namespace} has changed while it was copied: reading it again")
    return body


def _overwrite(original: Json, reference: Json, prefixes: Collection[str], copy: Json) -> Json:
    return overwritten_config(copy, primary_config(original, reference, prefixes, copy))


async def foreign_copies(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], *, names: Iterable[tuple[Kind, str]], key: str
) -> AsyncIterator[ForeignObject]:
    """Yield the foreign objects under the names of copies, and of the saved configs of `contents`.

    names: the kinds and names of the configs to copy. A change of one of these objects wakes the rollout `key`.
    """
    needed = [(kind, primary_name(name), CONFIG_COPY) for kind, name in names]
    needed += [
        (kind, saved_config_name(primary_name(name), checksum), KEPT_CONFIG)
        for kind, name, checksum in copied_configs(contents)
    ]
    for kind, name, role in needed:
        facts = (await objects.cluster.cache(CONFIGS[kind]).ready()).look(namespace, name, key)
        for foreign in () if facts is None else objects.owner.find_foreign(kind, name, facts.ownership, role):
            yield foreign


async def restore_configs(objects: OwnedObjects, namespace: str, contents: Iterable[str]) -> None:
    """Give the primary's configs these contents again. Raise Refused where one was not saved."""
    for kind, original, checksum in copied_configs(contents):
        name = primary_name(original)
        present = (await objects.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if present is not None and present.checksum == checksum and objects.owner.owns(present.ownership):
            continue
        content = await objects.cluster.get(kind, namespace, saved_config_name(name, checksum))
        if content is None:
            raise Refused(
                f"{kind.kind} {name}.{namespace} was not saved with the revision's content (checksum {checksum})"
            )
        objects.owner.refuse_foreign(kind, content, KEPT_CONFIG)
        if present is None:
            metadata = content["metadata"] | {"name": original}
            await objects.ensure(primary_config(content | {"metadata": metadata}, objects.reference, ()), CONFIG_COPY)
        else:
            await objects.change(kind, namespace, name, CONFIG_COPY, partial(restored_config, saved=content))


async def delete_saved_configs(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], still: Collection[str]
) -> None:
    """Delete the saved contents of these configs, except those in `still`."""
    for kind, original, checksum in copied_configs(set(contents).difference(still)):
        await objects.delete(kind, namespace, saved_config_name(primary_name(original), checksum))


def copied_configs(contents: Iterable[str]) -> list[tuple[Kind, str, str]]:
    """Return the kind, the original's name and the checksum of each config that the primary has a copy of."""
    parts = (content.rpartition(":") for content in sorted(contents) if ":" in content)
    return [(_KINDS[config.partition("/")[0]], config.partition("/")[2], checksum) for config, _, checksum in parts]
