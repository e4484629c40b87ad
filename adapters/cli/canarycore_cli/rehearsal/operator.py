"""Commands to a rehearsal that runs in another terminal, its state, and its decisions.

A command is a row in the rehearsal's store. The process that runs the rollout reads it within a second, and carries it
out once or refuses it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

from canarycore import CommandKind
from canarycore.phases import Approval
from canarycore.text import describe_state, describe_traffic
from canarycore_cli.console import TROUBLE, BadInput, fail, out, print_json
from canarycore_cli.rehearsal import folders
from canarycore_local.store import STORE, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from canarycore_cli.console import Json
    from canarycore_cli.rehearsal.folders import RunningRehearsal
    from canarycore_runtime import StoredRollout

COMMAND_PATIENCE = 10.0
"""Seconds that the rehearsal has to handle a command before `canary` gives up waiting."""

_POLL = 0.05


def send_command(kind: str, name: str, state_dir: Path | None, weight: int = 0, *, is_awaited: bool = True) -> None:
    """Send a command to a rehearsal, wait until it is handled, and print the new state.

    A refused command ends with exit code 1 and the reason, as does one that the rehearsal has not handled in time.
    Without `is_awaited` this only writes the command.
    """
    rehearsal = folders.choose(name, state_dir)
    if not is_awaited:
        asyncio.run(SqliteStore(rehearsal.folder / STORE).send_command(rehearsal.key, CommandKind(kind), weight))
        out().print(f"{rehearsal.key}: {kind} was written; canary explain shows what became of it", markup=False)
        return
    stored = asyncio.run(_send(rehearsal, CommandKind(kind), weight))
    if stored is None:
        fail(f"{rehearsal.key}: the rehearsal has not handled {kind} within {COMMAND_PATIENCE:g} s", TROUBLE)
    state, refusal = _describe(_state(rehearsal, stored)), stored.status.refusal
    if refusal:
        fail(f"{rehearsal.key}: {kind} was refused: {refusal}; the Canary is still {state}", TROUBLE)
    out().print(f"{rehearsal.key}: {kind} was handled; the Canary is now {state}", markup=False)


def status(name: str, state_dir: Path | None, *, as_json: bool) -> None:
    """Print the state of the running rehearsals."""
    selected = [folders.choose(name, state_dir)] if name or state_dir else folders.running()
    states = [_state(rehearsal, stored) for rehearsal in selected if (stored := asyncio.run(_load(rehearsal)))]
    if as_json:
        print_json(states)
        return
    if not states:
        out().print("no rehearsal is running")
    for state in states:
        out().print(f"{state['canary']}: {_describe(state)} ({state['folder']})", markup=False)


def explain(name: str, state_dir: Path | None, last: int) -> None:
    """Print the last decisions of a rehearsal's trace, one sentence each."""
    folder = state_dir or (folders.choose(name, None).folder if name else folders.latest_folder())
    try:
        lines = (folder / folders.TRACE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BadInput(f"{folder}: found no {folders.TRACE}, expected the folder of a rehearsal") from None
    decisions = deque((line for line in map(_parse_line, lines) if line.get("kind") == "decision"), maxlen=last)
    for line in decisions:
        out().print(f"{line['seconds']:>7.1f}s  {line['explanation']}", markup=False)


async def _send(rehearsal: RunningRehearsal, kind: CommandKind, weight: int) -> StoredRollout | None:
    """Send a command, and return the rollout once the command is handled; None when the time is up."""
    store = SqliteStore(rehearsal.folder / STORE)
    await store.send_command(rehearsal.key, kind, weight)
    sent = await store.load(rehearsal.key)
    assert sent is not None
    assert sent.command is not None
    try:
        async with asyncio.timeout(COMMAND_PATIENCE):
            while True:
                stored = await store.load(rehearsal.key)
                if stored is None or stored.status.handled == sent.command.id:
                    return stored
                await asyncio.sleep(_POLL)
    except TimeoutError:
        return None


async def _load(rehearsal: RunningRehearsal) -> StoredRollout | None:
    return await SqliteStore(rehearsal.folder / STORE).load(rehearsal.key)


def _state(rehearsal: RunningRehearsal, stored: StoredRollout) -> Json:
    status = stored.status
    return {
        "canary": rehearsal.key,
        "phase": status.phase.value,
        "reason": status.reason.value,
        "weight": status.rung.weight,
        "iteration": status.rung.iteration,
        "failed_checks": status.failed_checks,
        "threshold": stored.rollout.threshold,
        "paused": status.paused and not status.is_frozen,
        "frozen": status.is_frozen,
        "waiting_for_approval": status.approval is Approval.ASKED,
        "folder": str(rehearsal.folder),
        "pid": rehearsal.pid,
    }


def _describe(state: Json) -> str:
    return describe_state(
        state["phase"],
        describe_traffic(state["weight"], iteration=state["iteration"]),
        reason=state["reason"],
        checks=(state["failed_checks"], state["threshold"]),
        flags=[name.replace("_", " ") for name in ("paused", "frozen", "waiting_for_approval") if state[name]],
    )


def _parse_line(text: str) -> Json:
    """Parse a line of the trace; an empty object for the half-written last line of a killed process."""
    try:
        line: Json = json.loads(text)
    except ValueError:
        return {}
    return line
