"""What is kept of a primary's earlier revisions, so that a promotion can be taken back.

A ControllerRevision `<primary>-<revision>` holds what the primary carried: its pod template, and which configs with
which checksums. A config's content is kept beside it, in an object of the same kind, before a promotion overwrites it:
who may not read Secrets may not read what is kept of them. All of it is the Canary's and goes when it goes. The
primary's annotation names the revisions that are kept; it changes in the same write as the template.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from canarycore.errors import Refused
from canarycore_kubernetes.configs import (
    CONFIGS,
    config_facts,
    given_back,
    kept_config,
    kept_name,
    overwritten,
    primary_config,
)
from canarycore_kubernetes.kinds import CONFIG_MAP, CONTROLLER_REVISION, SECRET
from canarycore_kubernetes.names import KEPT_FOR, primary_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from canarycore_kubernetes.means import Means
    from canarycore_runtime.mesh import Json, Kind

KEEP = 2
"""How many earlier revisions are kept."""

_KINDS: dict[str, Kind] = {kind.kind.lower(): kind for kind in (CONFIG_MAP, SECRET)}


async def keep(means: Means, owner: Json, primary: Json, revision: str, data: Json) -> None:
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


async def kept(means: Means, namespace: str, primary: str, revision: str) -> Json:
    """What was kept. Raises Refused if nothing was."""
    found = await means.cluster.get(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")
    if found is None:
        raise Refused(f"revision {revision} of {primary}.{namespace} was not kept: it cannot be restored")
    data: Json = found["data"]
    return data


async def forget(means: Means, namespace: str, primary: str, revisions: Iterable[str]) -> None:
    """Keep these revisions no longer."""
    for revision in revisions:
        await means.cluster.delete(CONTROLLER_REVISION, namespace, f"{primary}-{revision}")


# ------------------------------------------------------------------------------------------------------------- configs


async def copy_configs(
    means: Means, owner: Json, bodies: Iterable[Json], primary: str, contents: Collection[str]
) -> None:
    """Make the copies of these configs that the primary is to run on.

    contents: what the primary carries now; what is overwritten of that is kept.
    """
    for body in bodies:
        kind = _KINDS[body["kind"].lower()]
        namespace, original = body["metadata"]["namespace"], body["metadata"]["name"]
        name, content = primary_of(original), config_facts(body).checksum
        facts = (await means.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if facts is not None and facts.checksum == content and owner["name"] in facts.owners:
            continue
        found = await means.cluster.get(kind, namespace, name)
        if found is None:
            await means.cluster.create(primary_config(body, owner, means.prefixes))
            continue
        before = config_facts(found).checksum
        if before != content and f"{kind.kind.lower()}/{original}:{before}" in contents:
            await means.make(kept_config(found, owner, primary))
        await means.change(kind, namespace, name, partial(_like, body, owner, means.prefixes), found)


def _like(body: Json, owner: Json, prefixes: tuple[str, ...], found: Json) -> Json:
    return overwritten(found, primary_config(body, owner, prefixes, found))


async def give_configs_back(means: Means, namespace: str, contents: Iterable[str], owner: Json) -> None:
    """Let the copies hold this again. Raises Refused where it was not kept."""
    for kind, original, checksum in _copied(contents):
        name = primary_of(original)
        present = (await means.cluster.cache(CONFIGS[kind]).ready()).get(namespace, name)
        if present is not None and present.checksum == checksum:
            continue
        content = await means.cluster.get(kind, namespace, kept_name(name, checksum))
        if content is None:
            raise Refused(f"{kind.kind} {name}.{namespace} was not kept as the revision had it (checksum {checksum})")
        if present is None:
            metadata = content["metadata"] | {"name": original}
            await means.make(primary_config(content | {"metadata": metadata}, owner, ()))
        else:
            await means.change(kind, namespace, name, partial(given_back, kept=content))


async def forget_configs(means: Means, namespace: str, contents: Iterable[str], still: Collection[str]) -> None:
    """Keep what these configs held no longer, but for what is `still` needed."""
    for kind, original, checksum in _copied(set(contents).difference(still)):
        await means.cluster.delete(kind, namespace, kept_name(primary_of(original), checksum))


def _copied(contents: Iterable[str]) -> list[tuple[Kind, str, str]]:
    """(kind, original's name, checksum) of the configs that a primary has copies of."""
    parts = (content.rpartition(":") for content in sorted(contents) if ":" in content)
    return [(_KINDS[config.partition("/")[0]], config.partition("/")[2], checksum) for config, _, checksum in parts]
