"""Commands to a rehearsal that runs in another terminal, and how it stands.

A command is a row in the rehearsal's store; whoever runs the rollout finds it there within a moment and carries it out
once, or refuses it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

from canarycore import CommandKind
from canarycore.text import describe_state, describe_traffic
from canarycore_cli.console import TROUBLE, BadInput, fail, out, print_json
from canarycore_cli.rehearsal import folders as rehearsals
from canarycore_local.store import STORE, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from canarycore_cli.console import Json
    from canarycore_cli.rehearsal.folders import Running
    from canarycore_runtime import StoredRollout

COMMAND_PATIENCE = 10.0
"""Seconds that a command may take to be carried out before we say that it was not."""

_POLL = 0.05


def send_command(kind: str, name: str, state_dir: Path | None, weight: int = 0) -> None:
    """Give a command, and tell what became of it."""
    one = rehearsals.choose(name, state_dir)
    stored = asyncio.run(_given(one, CommandKind(kind), weight))
    if stored is None:
        fail(f"{kind} was given to {one.key}, but it has not been carried out yet", TROUBLE)
    out().print(f"{one.key}: {kind} was handled; it is now {_describe(_described(one, stored))}", markup=False)


def status(name: str, state_dir: Path | None, *, as_json: bool) -> None:
    """Print where the running rehearsals are."""
    meant = [rehearsals.choose(name, state_dir)] if name or state_dir else rehearsals.running()
    described = [_described(one, stored) for one in meant if (stored := asyncio.run(_stored(one)))]
    if as_json:
        print_json(described)
        return
    if not described:
        out().print("no rehearsal is running")
    for one in described:
        out().print(f"{one['canary']}: {_describe(one)} ({one['folder']})", markup=False)


def explain(name: str, state_dir: Path | None, last: int) -> None:
    """Print the last decisions of a trace, a sentence each."""
    folder = state_dir or (rehearsals.choose(name, None).folder if name else rehearsals.latest_folder())
    try:
        lines = (folder / rehearsals.TRACE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BadInput(f"{folder}: found no {rehearsals.TRACE}, expected the folder of a rehearsal") from None
    decisions = deque((line for line in map(_line, lines) if line.get("kind") == "decision"), maxlen=last)
    for line in decisions:
        out().print(f"{line['seconds']:>7.1f}s  {line['explanation']}", markup=False)


async def _given(one: Running, kind: CommandKind, weight: int) -> StoredRollout | None:
    """What is stored once the command was handled; None when it was not in time."""
    store = SqliteStore(one.folder / STORE)
    await store.give(one.key, kind, weight)
    given = await store.load(one.key)
    assert given is not None
    assert given.command is not None
    try:
        async with asyncio.timeout(COMMAND_PATIENCE):
            while True:
                stored = await store.load(one.key)
                if stored is None or stored.status.handled == given.command.id:
                    return stored
                await asyncio.sleep(_POLL)
    except TimeoutError:
        return None


async def _stored(one: Running) -> StoredRollout | None:
    return await SqliteStore(one.folder / STORE).load(one.key)


def _described(one: Running, stored: StoredRollout) -> Json:
    status = stored.status
    return {
        "canary": one.key,
        "phase": status.phase.value,
        "reason": status.reason.value,
        "weight": status.rung.weight,
        "iteration": status.rung.iteration,
        "failed_checks": status.failed_checks,
        "threshold": stored.rollout.threshold,
        "paused": status.paused,
        "folder": str(one.folder),
        "pid": one.pid,
    }


def _describe(state: Json) -> str:
    return describe_state(
        state["phase"],
        describe_traffic(state["weight"], iteration=state["iteration"]),
        reason=state["reason"],
        checks=(state["failed_checks"], state["threshold"]),
        flags=["paused"] if state["paused"] else [],
    )


def _line(text: str) -> Json:
    """A line of the trace; a half-written last one of a killed process is none."""
    try:
        line: Json = json.loads(text)
    except ValueError:
        return {}
    return line
