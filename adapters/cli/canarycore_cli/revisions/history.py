"""canary history and canary undo: the revisions of a target, and the return to an earlier one.

`history` writes nothing. `undo` writes the pod template of the target; the controller then rolls it out as any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from canarycore_cli.cluster.connect import find_key
from canarycore_cli.console import OK, err, out, print_json
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.migration.rejected_targets import find_gitops_key
from canarycore_kubernetes.past_revisions import read_history
from canarycore_kubernetes.past_revisions import undo as write_target
from canarycore_kubernetes.resources.canaries import Canaries

if TYPE_CHECKING:
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.console import Json
    from canarycore_kubernetes.past_revisions import PastRevision, RevisionHistory

COLUMNS = ("REVISION", "STATE", "SINCE", "IMAGES")
"""The columns of the table."""


def history(options: ClusterOptions, name: str, *, as_json: bool) -> int:
    """Print the revisions of the target of the Canary called `name`, the latest first."""
    asyncio.run(_history(options, name, as_json=as_json))
    return OK


async def _history(options: ClusterOptions, name: str, *, as_json: bool) -> None:
    async with (
        options.client() as client,
        Cluster(client.read_only("history"), namespace=options.selected_namespace) as cluster,
    ):
        canaries = Canaries(cluster, provider=options.provider)
        revisions = await read_history(cluster, canaries, await find_key(canaries, options, name))
    if as_json:
        print_json({"canary": revisions.key, "revisions": list(map(_to_json, revisions.revisions))})
    else:
        _print(revisions)


def undo(options: ClusterOptions, name: str, revision: str) -> int:
    """Return the target of the Canary called `name` to a promoted revision; empty for the one before the present."""
    asyncio.run(_undo(options, name, revision))
    return OK


async def _undo(options: ClusterOptions, name: str, revision: str) -> None:
    async with options.client() as client, Cluster(client, namespace=options.selected_namespace) as cluster:
        canaries = Canaries(cluster, provider=options.provider)
        revisions = await read_history(cluster, canaries, await find_key(canaries, options, name))
        past = revisions.choose(revision)
        tool = await _find_tool(cluster, revisions)
        await write_target(cluster, canaries, revisions, past)
    target = revisions.rollout.target
    out().print(
        f"{revisions.key}: {target.kind} {target.name} has revision {past.revision} again ({_images(past)});"
        " canary get -w shows its rollout",
        markup=False,
    )
    if tool:
        warning = f"found {tool} on the target: its tool may apply the later revision again. Revert it in its source."
        err().print(f"{revisions.key}: {warning}", style="yellow", markup=False)


async def _find_tool(cluster: Cluster, revisions: RevisionHistory) -> str:
    """Return the mark of a GitOps tool on the target; empty if there is none."""
    target = revisions.rollout.target
    kind = by_object({"apiVersion": "apps/v1", "kind": target.kind})
    return find_gitops_key(await cluster.get(kind, revisions.rollout.namespace, target.name) or {})


def _to_json(past: PastRevision) -> Json:
    template = past.template
    return {
        "revision": past.revision,
        "running": past.running,
        "on_target": past.on_target,
        "under_test": past.under_test,
        "promoted": past.promoted,
        "rejected": past.rejected,
        "images": [] if template is None else list(template.images),
        "created_at": "" if template is None else template.created_at,
        "origin": "" if template is None else template.origin,
    }


def _print(revisions: RevisionHistory) -> None:
    if not revisions.revisions:
        out().print(f"{revisions.key}: no revision yet", markup=False)
        return
    rows = [COLUMNS, *(_row(past) for past in revisions.revisions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        out().print("  ".join((*cells, row[-1])), markup=False, highlight=False)


def _row(past: PastRevision) -> tuple[str, ...]:
    created_at = "" if past.template is None else past.template.created_at
    return past.revision, ", ".join(past.states), created_at or "-", _images(past)


def _images(past: PastRevision) -> str:
    return "not kept by Kubernetes" if past.template is None else ", ".join(past.template.images) or "no image"
