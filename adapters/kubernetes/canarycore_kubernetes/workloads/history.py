"""What is kept of a primary's earlier revisions, so that a promotion can be taken back.

A ControllerRevision `<primary>-<revision>` holds what the primary carried: its pod template, and which configs with
which checksums. A config's content is kept beside it, in an object of the same kind, before a promotion overwrites it:
who may not read Secrets may not read what is kept of them. All of it is the Canary's and goes when it goes. The
primary's annotation names the revisions that are kept; it changes in the same write as the template.
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
    kept_config,
    kept_name,
    overwritten_config,
    primary_config,
    restored_config,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable

    from canarycore_kubernetes.api.ownership import ForeignObject
    from canarycore_kubernetes.workloads.base import OwnedObjects
    from canarycore_kubernetes.workloads.configs import ConfigVersion
    from canarycore_runtime.mesh import Json, Kind

KEEP = 2
"""How many earlier revisions are kept."""

_KINDS: dict[str, Kind] = {kind.kind.lower(): kind for kind in (CONFIG_MAP, SECRET)}


async def save_revision(objects: OwnedObjects, primary: Json, revision: str, data: Json) -> None:
    """Keep this of what the primary carries, under the name of the revision."""
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


async def saved_revision(objects: OwnedObjects, namespace: str, primary: str, revision: str) -> Json:
    """Return the saved data. Raises Refused if there are none, or if another owner has an object of that name."""
    found = await objects.cluster.get(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")
    if found is None:
        raise Refused(f"revision {revision} of {primary}.{namespace} was not kept: it cannot be restored")
    objects.owner.refuse_foreign(CONTROLLER_REVISION, found, KEPT_REVISION)
    data: Json = found["data"]
    return data


async def delete_revisions(objects: OwnedObjects, namespace: str, primary: str, revisions: Iterable[str]) -> None:
    """Keep these revisions no longer."""
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
    """Make the copies of these configs that the primary is to run on.

    contents: what the primary carries now; what is overwritten of that is kept. prefixes: of labels that are copied.
    Raises WorldError when a config is another one by now.
    """
    for config in configs:
        kind, content = config.use.kind, config.checksum
        name = primary_name(config.use.name)
        facts = (await objects.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if facts is not None and facts.checksum == content and objects.owner.name in facts.ownership.canaries:
            continue
        body = await _read_version(objects, namespace, config)
        found = await objects.cluster.get(kind, namespace, name)
        if found is None:
            await objects.create(primary_config(body, objects.reference, prefixes), CONFIG_COPY)
            continue
        objects.owner.refuse_foreign(kind, found, CONFIG_COPY)
        before = config_facts(found).checksum
        if before != content and f"{config.use}:{before}" in contents:
            await objects.ensure(kept_config(found, objects.reference, primary), KEPT_CONFIG)
        like = partial(_like, body, objects.reference, prefixes)
        await objects.change(kind, namespace, name, CONFIG_COPY, like, found=found)


async def _read_version(objects: OwnedObjects, namespace: str, config: ConfigVersion) -> Json:
    """Read the config, which has to hold what it held when it was looked at."""
    body = await objects.cluster.get(config.use.kind, namespace, config.use.name)
    if body is None or config_facts(body).checksum != config.checksum:
        raise WorldError(f"{config.use} in {namespace} has changed while it was copied: it is looked at again")
    return body


def _like(body: Json, reference: Json, prefixes: Collection[str], found: Json) -> Json:
    return overwritten_config(found, primary_config(body, reference, prefixes, found))


async def foreign_copies(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], *, names: Iterable[tuple[Kind, str]], key: str
) -> AsyncIterator[ForeignObject]:
    """The foreign objects under the names of copies, and of what is kept of `contents`.

    names: the kinds and names of the configs that are copied. The rollout `key` is woken when one of them goes.
    """
    wanted = [(kind, primary_name(name), CONFIG_COPY) for kind, name in names]
    wanted += [
        (kind, kept_name(primary_name(name), checksum), KEPT_CONFIG)
        for kind, name, checksum in copied_configs(contents)
    ]
    for kind, name, role in wanted:
        facts = (await objects.cluster.cache(CONFIGS[kind]).ready()).look(namespace, name, key)
        for one in () if facts is None else objects.owner.find_foreign(kind, name, facts.ownership, role):
            yield one


async def give_configs_back(objects: OwnedObjects, namespace: str, contents: Iterable[str]) -> None:
    """Let the copies hold this again. Raises Refused where it was not kept."""
    for kind, original, checksum in copied_configs(contents):
        name = primary_name(original)
        present = (await objects.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if present is not None and present.checksum == checksum and objects.owner.owns(present.ownership):
            continue
        content = await objects.cluster.get(kind, namespace, kept_name(name, checksum))
        if content is None:
            raise Refused(f"{kind.kind} {name}.{namespace} was not kept as the revision had it (checksum {checksum})")
        objects.owner.refuse_foreign(kind, content, KEPT_CONFIG)
        if present is None:
            metadata = content["metadata"] | {"name": original}
            await objects.ensure(primary_config(content | {"metadata": metadata}, objects.reference, ()), CONFIG_COPY)
        else:
            await objects.change(kind, namespace, name, CONFIG_COPY, partial(restored_config, kept=content))


async def forget_configs(
    objects: OwnedObjects, namespace: str, contents: Iterable[str], still: Collection[str]
) -> None:
    """Keep what these configs held no longer, but for what is `still` needed."""
    for kind, original, checksum in copied_configs(set(contents).difference(still)):
        await objects.delete(kind, namespace, kept_name(primary_name(original), checksum))


def copied_configs(contents: Iterable[str]) -> list[tuple[Kind, str, str]]:
    """(kind, original's name, checksum) of the configs that a primary has copies of."""
    parts = (content.rpartition(":") for content in sorted(contents) if ":" in content)
    return [(_KINDS[config.partition("/")[0]], config.partition("/")[2], checksum) for config, _, checksum in parts]
