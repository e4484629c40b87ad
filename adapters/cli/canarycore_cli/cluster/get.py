"""canary get: the Canaries of a cluster, each as a small tree, and as they change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs
from rich.console import Group
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from canarycore import Phase
from canarycore_cli.cluster.overview import looking
from canarycore_cli.console import OK, JsonLines, out, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.overview import CanaryOverview, PodCounts

CELLS = 20
"""Characters of a weight bar."""

SETTLING = 0.1
"""Seconds within which changes are shown together."""

STYLES = {
    Phase.FAILED.value: "bold red",
    Phase.SUCCEEDED.value: "bold green",
    Phase.INITIALIZED.value: "green",
    "cannot be used": "bold red",
}
"""Of phases; the others are under way."""


def get(where: Where, name: str, *, watch: bool, as_json: bool) -> int:
    """Print where the Canaries stand; with `watch` until it is interrupted."""
    try:
        asyncio.run(_watched(where, name, as_json=as_json) if watch else _once(where, name, as_json=as_json))
    except KeyboardInterrupt:
        return OK
    return OK


async def _once(where: Where, name: str, *, as_json: bool) -> None:
    async with looking(where, name) as (_, look):
        stands = await look.stands()
    if as_json:
        print_json([attrs.asdict(stand) for stand in stands])
        return
    out().print(_trees(stands) if stands else f"no Canary {where.words}")


async def _watched(where: Where, name: str, *, as_json: bool) -> None:
    console = out()
    if as_json or not console.is_terminal:
        await _follow(where, name, _Lines(as_json=as_json))
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        await _follow(where, name, lambda stands: live.update(_trees(stands), refresh=True))


async def _follow(where: Where, name: str, show: Callable[[list[CanaryOverview]], None]) -> None:
    """Show the Canaries, and again whenever one of them, its pods or its events change."""
    async with looking(where, name) as (cluster, look), asyncio.TaskGroup() as group:
        changed = asyncio.Event()

        async def hear() -> None:
            async for _ in cluster.changes():
                changed.set()

        group.create_task(hear())
        await asyncio.sleep(0)  # it listens from here on
        while True:
            changed.clear()
            show(await look.stands())
            await changed.wait()
            await asyncio.sleep(SETTLING)


class _Lines:
    """A line for each Canary that is not as it was."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = JsonLines() if as_json else None
        self._console = out()
        self._shown: dict[str, CanaryOverview] = {}

    def __call__(self, stands: list[CanaryOverview]) -> None:
        for stand in stands:
            if self._shown.get(stand.key) != stand:
                self._print(stand)
        self._shown = {stand.key: stand for stand in stands}

    def _print(self, stand: CanaryOverview) -> None:
        if self._json is not None:
            self._json(attrs.asdict(stand))
        else:
            self._console.print(line(stand))


def line(stand: CanaryOverview) -> str:
    """A Canary in a line."""
    sides = (("primary", stand.primary), ("canary", stand.canary))
    pods = "".join(f"; {side} {_ready(pods)}" for side, pods in sides if pods is not None)
    rest = "".join(f"; {text}" for text in (stand.trouble, stand.event) if text)
    return f"{stand.key}: {stand.words}{pods}{rest}"


def _trees(stands: Iterable[CanaryOverview]) -> Group:
    return Group(*map(_tree, stands))


def _tree(stand: CanaryOverview) -> Tree:
    filled = round(stand.weight * CELLS / 100)
    bar = f"{'█' * filled}{'░' * (CELLS - filled)} {stand.weight}%" if stand.threshold else ""
    checks = f"{stand.failed_checks}/{stand.threshold} failed checks" if stand.threshold else ""
    marks = " ".join(name for name in ("paused", "suspended") if getattr(stand, name))
    phase = (stand.phase or "not looked at yet") + (f" ({stand.reason})" if stand.reason else "")
    tree = Tree(
        Text("  ").join(
            Text(text, style)
            for text, style in (
                (stand.key, "bold"),
                (phase, STYLES.get(stand.phase, "yellow")),
                (bar, ""),
                (checks, "red" if stand.failed_checks else "dim"),
                (marks, "yellow"),
            )
            if text
        )
    )
    for side, pods in (("primary", stand.primary), ("canary ", stand.canary)):
        if pods is not None:
            tree.add(Text(f"{side}  {_ready(pods)} ready  {pods.name}"))
    if stand.trouble:
        tree.add(Text(stand.trouble, "red"))
    if stand.event:
        tree.add(Text(stand.event, "dim"))
    return tree


def _ready(pods: PodCounts) -> str:
    return f"{pods.ready}/{pods.desired}"
