"""canary get: print the Canaries of a cluster, each as a small tree, once or whenever they change."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from canarycore import Phase
from canarycore.text import describe_state
from canarycore_cli.cluster.connect import deleted, find_key
from canarycore_cli.console import OK, JsonLines, out, print_json, weight_bar
from canarycore_kubernetes.overview import NEW, UNUSABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_kubernetes.overview import CanaryOverview, ClusterOverview, PodCounts

BAR_WIDTH = 20
"""The width of a weight bar, in characters."""

SETTLING = 0.1
"""Seconds during which `canary get --watch` gathers changes before it shows them."""

STYLES = {
    Phase.FAILED.value: "bold red",
    Phase.SUCCEEDED.value: "bold green",
    Phase.INITIALIZED.value: "green",
    UNUSABLE: "bold red",
}
"""The styles of phases; all others are yellow."""


def get(options: ClusterOptions, names: tuple[str, ...], *, watch: bool, as_json: bool) -> int:
    """Print the Canaries, and with `watch` go on until interrupted. Without `names`: all Canaries."""
    try:
        asyncio.run(_watch(options, names, as_json=as_json) if watch else _print_once(options, names, as_json=as_json))
    except KeyboardInterrupt:
        return OK
    return OK


async def _print_once(options: ClusterOptions, names: tuple[str, ...], *, as_json: bool) -> None:
    async with options.overview() as overview:
        canaries = await _read(overview, options, names)
    if as_json:
        print_json([attrs.asdict(canary) for canary in canaries])
        return
    out().print(_trees(canaries) if canaries else f"no Canary {options.scope}")


async def _watch(options: ClusterOptions, names: tuple[str, ...], *, as_json: bool) -> None:
    console = out()
    if as_json or not console.is_terminal:
        await _follow(options, names, _ChangePrinter(as_json=as_json))
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        await _follow(options, names, lambda canaries: live.update(_trees(canaries), refresh=True))


async def _follow(
    options: ClusterOptions, names: tuple[str, ...], show: Callable[[list[CanaryOverview]], None]
) -> None:
    """Show the Canaries, and again whenever one of them, its pods or its events change."""
    async with options.overview() as overview, asyncio.TaskGroup() as group:
        changed = asyncio.Event()

        async def listen() -> None:
            async for _ in overview.cluster.changes():
                changed.set()

        group.create_task(listen())
        await asyncio.sleep(0)  # so that it listens before the first read
        while True:
            changed.clear()
            show(await _read(overview, options, names))
            await changed.wait()
            await asyncio.sleep(SETTLING)


async def _read(overview: ClusterOverview, options: ClusterOptions, names: tuple[str, ...]) -> list[CanaryOverview]:
    """Return the Canaries with these names, or all. Raises BadInput if there is none of a name."""
    if not names:
        return await overview.read_all()
    keys = [await find_key(overview.canaries, options, name) for name in names]
    canaries = []
    for key in dict.fromkeys(keys):
        canary = await overview.read(key)
        if canary is None:
            raise deleted(key)
        canaries.append(canary)
    return canaries


class _ChangePrinter:
    """Prints a line for each Canary that differs from the last call."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = JsonLines() if as_json else None
        self._console = out()
        self._printed: dict[str, CanaryOverview] = {}

    def __call__(self, canaries: list[CanaryOverview]) -> None:
        for canary in canaries:
            if self._printed.get(canary.key) != canary:
                self._print(canary)
        self._printed = {canary.key: canary for canary in canaries}

    def _print(self, canary: CanaryOverview) -> None:
        if self._json is not None:
            self._json(attrs.asdict(canary))
        else:
            self._console.print(format_line(canary))


def format_line(canary: CanaryOverview) -> str:
    """Return one line about a Canary."""
    sides = (("primary", canary.primary), ("canary", canary.canary))
    pods = "".join(f"; {side} {_ready(counts)}{_in_brackets(counts.image)}" for side, counts in sides if counts)
    trouble = f"{canary.trouble}; " if canary.trouble else ""
    event = f"; {canary.event}" if canary.event and not canary.trouble else ""
    return f"{canary.key}: {trouble}{canary.describe()}{pods}{event}"


def _trees(canaries: Iterable[CanaryOverview]) -> Group:
    return Group(*map(_tree, canaries))


def _tree(canary: CanaryOverview) -> Tree:
    checks = f"{canary.failed_checks}/{canary.threshold} failed checks" if canary.threshold else ""
    phase = describe_state(canary.phase or NEW, reason=canary.reason)
    sides = [(side, counts) for side, counts in (("primary", canary.primary), ("canary ", canary.canary)) if counts]
    has_image = any(counts.image for _, counts in sides)
    tree = Tree(
        Text("  ").join(
            Text(text, style)
            for text, style in (
                (canary.key, "bold"),
                (phase, STYLES.get(canary.phase, "yellow")),
                (_progress(canary) if canary.threshold else "", ""),
                (checks, "red" if canary.failed_checks else "dim"),
                ("" if has_image or not canary.revision else f"revision {canary.revision}", ""),
                (format_age(canary.created_at, time.time()), "dim"),
                (" ".join(canary.flags), "yellow"),
            )
            if text
        )
    )
    if canary.trouble:
        tree.add(Text(canary.trouble, "red"))
    for side, counts in sides:
        tree.add(Text("  ").join(map(Text, filter(None, (side, f"{_ready(counts)} ready", counts.name, counts.image)))))
    if canary.event and not canary.trouble:  # the last event may say that all is well
        tree.add(Text(canary.event, "dim"))
    return tree


def _progress(canary: CanaryOverview) -> str:
    """Return a bar of the weight, or of the iterations of an A/B test or a blue/green rollout."""
    if not canary.iterations:
        return f"{weight_bar(canary.weight, BAR_WIDTH)} {canary.weight}%"
    percent = min(100 * canary.iteration // canary.iterations, 100)
    weight = f"  weight {canary.weight}%" if canary.weight else ""
    return f"{weight_bar(percent, BAR_WIDTH)} iteration {canary.iteration}/{canary.iterations}{weight}"


def format_age(created_at: str, now: float) -> str:
    """Return the age of a Canary, such as `age 3d`; empty for a time that is unknown. `now` is seconds since 1970."""
    try:
        seconds = max(0.0, now - datetime.fromisoformat(created_at).timestamp())
    except ValueError:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"age {int(seconds // length)}{unit}"
    return f"age {int(seconds)}s"


def _ready(counts: PodCounts) -> str:
    return f"{counts.ready}/{counts.desired}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
