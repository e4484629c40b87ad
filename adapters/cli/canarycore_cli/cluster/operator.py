"""promote, abort, pause, resume, retry and skip-to, for a Canary on a cluster.

A command is an annotation. The controller carries it out or refuses it, and records its id in the status, with the
reason of a refusal. The functions here write the annotation and wait for that id.
"""

from __future__ import annotations

import asyncio

from canarycore import CommandKind
from canarycore.errors import ManifestError
from canarycore_cli.cluster.connect import ClusterOptions, deleted, find_key
from canarycore_cli.console import TROUBLE, fail, out
from canarycore_kubernetes.resources.canaries import Canaries, ValidCanary
from canarycore_kubernetes.resources.canaries import send_command as annotate

COMMAND_PATIENCE = 10.0
"""Seconds that the controller has to handle a command before `canary` gives up waiting."""

_POLL = 0.05
"""Seconds between reads of the local cache; they cost the API server nothing."""


def send_command(kind: str, name: str, options: ClusterOptions, weight: int = 0, *, is_awaited: bool = True) -> None:
    """Send a command to a Canary, wait until the controller has handled it, and print the new state.

    A refused command ends with exit code 1 and the reason, as does one that the controller has not handled in time.
    Without `is_awaited` this only writes the command.
    """
    asyncio.run(_send_command(CommandKind(kind), name, options, weight, is_awaited=is_awaited))


async def _send_command(
    kind: CommandKind, name: str, options: ClusterOptions, weight: int, *, is_awaited: bool
) -> None:
    async with options.overview() as overview:
        canaries = overview.canaries
        key = await find_key(canaries, options, name)
        rollout = (await _find_valid(canaries, key)).rollout
        command = await annotate(overview.cluster.client, rollout.namespace, rollout.name, kind, weight)
        if not is_awaited:
            out().print(f"{key}: {kind.value} was written; canary describe shows what became of it", markup=False)
            return
        try:
            async with asyncio.timeout(COMMAND_PATIENCE):
                refusal = await _wait_for_record(canaries, key, command)
        except TimeoutError:
            fail(
                f"{key}: the controller has not handled {kind.value} within {COMMAND_PATIENCE:g} s."
                f" It does so once it runs and the phase allows the command.",
                TROUBLE,
            )
        state = await overview.read(key)
        if state is None:
            raise deleted(key)
    if refusal:
        fail(f"{key}: {kind.value} was refused: {refusal}; the Canary is still {state.describe()}", TROUBLE)
    out().print(f"{key}: {kind.value} was handled; the Canary is now {state.describe()}", markup=False)


async def _wait_for_record(canaries: Canaries, key: str, command: str) -> str:
    """Wait until the controller has handled the command, and return why it refused it; empty if it did not."""
    while True:
        canary = await _find_valid(canaries, key)
        if canary.status.handled == command:
            return canary.status.refusal
        await asyncio.sleep(_POLL)


async def _find_valid(canaries: Canaries, key: str) -> ValidCanary:
    canary = await canaries.find(key)
    if canary is None:
        raise deleted(key)
    if not isinstance(canary, ValidCanary):
        raise ManifestError(canary.problems)
    return canary
