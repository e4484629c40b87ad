"""What is kept of a primary's earlier revisions, so that a promotion can be taken back.

A ControllerRevision `<primary>-<revision>` holds the pod template, and the names and checksums of the configs that it
runs on; a config's content is kept beside it, in an object of the same kind, before a promotion overwrites it: who may
not read Secrets may not read what is kept of them. All of it is the Canary's and goes when it goes. The primary's
annotation names the revisions that are kept; it changes in the same write as the template.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from canarycore.errors import Refused
from canarycore_kubernetes.configs import (
    CONFIGS,
    ConfigUse,
    config_facts,
    config_spots,
    given_back,
    kept_config,
    kept_name,
    overwritten,
    primary_config,
    used,
)
from canarycore_kubernetes.kinds import CONFIG_MAP, CONTROLLER_REVISION, SECRET
from canarycore_kubernetes.names import KEPT, KEPT_FOR, SUFFIX, annotation, primary_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from canarycore_kubernetes.means import Means
    from canarycore_runtime.mesh import Json, Kind

KEEP = 2
"""How many earlier revisions are kept."""

_KINDS: dict[str, Kind] = {kind.kind.lower(): kind for kind in (CONFIG_MAP, SECRET)}


def kept_of(primary: Json) -> tuple[str, ...]:
    """The revisions that a primary can be restored to, the newest first."""
    return tuple(filter(None, annotation(primary, KEPT).split(",")))


async def store(means: Means, owner: Json, primary: Json, revision: str, data: Json) -> None:
    """Keep this of what the primary carries, under the name of the revision."""
    metadata = primary["metadata"]
    await means.make(
        {
            "apiVersion": CONTROLLER_REVISION.api_version,
            "kind": CONTROLLER_REVISION.kind,
            "metadata": {
                "name": f"{metadata['name']}-{revision}",
                "namespace": metadata["namespace"],
                "labels": {KEPT_FOR: metadata["name"]},
                "ownerReferences": [owner],
            },
            "revision": metadata.get("generation", 0),
            "data": data,
        }
    )


async def stored(means: Means, namespace: str, primary: str, revision: str) -> Json:
    """What was kept. Raises Refused if nothing was."""
    found = await means.cluster.get(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")
    if found is None:
        raise Refused(f"revision {revision} of {primary}.{namespace} was not kept: it cannot be restored")
    data: Json = found["data"]
    return data


async def drop(means: Means, namespace: str, primary: str, revision: str) -> None:
    """Keep this revision no longer."""
    await means.cluster.delete(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")


# ------------------------------------------------------------------------------------------- a template and its configs


async def keep(means: Means, owner: Json, primary: Json, revision: str) -> None:
    """Keep the pod template that the primary carries, and which configs it runs on."""
    template = primary["spec"]["template"]
    checksums = await _checksums(means, primary["metadata"]["namespace"], template)
    await store(means, owner, primary, revision, {"template": template, "configs": checksums})


async def _checksums(means: Means, namespace: str, template: Json) -> Mapping[str, str]:
    """The checksums of the copies that a primary runs on, by kind and name."""
    checksums = {}
    for use in used(config_spots(template["spec"])) if means.reading.tracked else ():
        facts = (await means.cluster.cache(CONFIGS[use.kind]).ready()).get(namespace, use.name)
        if facts is not None and facts.owners:
            checksums[str(use)] = facts.checksum
    return checksums


async def kept_template(means: Means, namespace: str, primary: str, revision: str, owner: Json) -> Json:
    """The pod template that was kept of a revision, after its configs were given back. Raises Refused if none was."""
    data = await stored(means, namespace, primary, revision)
    for config, checksum in data["configs"].items():
        kind, _, name = config.partition("/")
        await _give_config_back(means, ConfigUse(_KINDS[kind], name), namespace, checksum, owner)
    template: Json = data["template"]
    return template


async def _give_config_back(means: Means, config: ConfigUse, namespace: str, checksum: str, owner: Json) -> None:
    present = (await means.cluster.cache(CONFIGS[config.kind]).ready()).get(namespace, config.name)
    if present is not None and present.checksum == checksum:
        return
    kept = await means.cluster.get(config.kind, namespace, kept_name(config.name, checksum))
    if kept is None:
        raise Refused(f"{config} was not kept as the revision had it (checksum {checksum})")
    if present is None:
        original = kept | {"metadata": kept["metadata"] | {"name": config.name.removesuffix(SUFFIX)}}
        await means.make(primary_config(original, owner, ()))
    else:
        await means.change(config.kind, namespace, config.name, lambda found: given_back(found, kept))


async def copy_configs(means: Means, owner: Json, bodies: Iterable[Json], primary: str) -> None:
    """Make the copies of these configs that the primary is to run on. What is overwritten is kept."""
    for body in bodies:
        kind = _KINDS[body["kind"].lower()]
        namespace, name = body["metadata"]["namespace"], primary_of(body["metadata"]["name"])
        facts = (await means.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        content = config_facts(body).checksum
        if facts is not None and facts.checksum == content and owner["name"] in facts.owners:
            continue
        found = await means.cluster.get(kind, namespace, name)
        if found is None:
            await means.cluster.create(primary_config(body, owner, means.prefixes))
            continue
        if config_facts(found).checksum != content:
            await means.make(kept_config(found, owner, primary))
        await means.change(kind, namespace, name, partial(_like, body, owner, means.prefixes))


def _like(body: Json, owner: Json, prefixes: tuple[str, ...], found: Json) -> Json:
    return overwritten(found, primary_config(body, owner, prefixes, found))


async def forget(means: Means, namespace: str, primary: str, revisions: Collection[str], still: Iterable[str]) -> None:
    """Drop what was kept of these revisions, but for configs that those which are `still` kept have too."""
    dropped, needed = set[tuple[str, str]](), set[tuple[str, str]]()
    for revision in revisions:
        dropped |= await _configs_of(means, namespace, primary, revision)
    for revision in still if dropped else ():
        needed |= await _configs_of(means, namespace, primary, revision)
    for config, checksum in sorted(dropped - needed):
        kind, _, name = config.partition("/")
        await means.cluster.delete(_KINDS[kind], namespace, kept_name(name, checksum))
    for revision in revisions:
        await drop(means, namespace, primary, revision)


async def _configs_of(means: Means, namespace: str, primary: str, revision: str) -> set[tuple[str, str]]:
    found = await means.cluster.get(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")
    return set() if found is None else set(found["data"]["configs"].items())
