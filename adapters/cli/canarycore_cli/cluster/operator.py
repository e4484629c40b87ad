"""promote, abort, pause, resume, retry and skip-to, for a Canary on a cluster.

A command is an annotation. The controller hears of it at once, carries it out or refuses it, and notes its id in the
status; that is waited for.
"""

from __future__ import annotations

import asyncio

from canarycore import CommandKind
from canarycore.errors import ManifestError
from canarycore_cli.cluster.connect import Where, one
from canarycore_cli.cluster.overview import looking
from canarycore_cli.console import TROUBLE, fail, out
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.resources.canaries import send_command as annotate

COMMAND_PATIENCE = 10.0
"""Seconds that a command may take to be handled before we say that it was not."""

_POLL = 0.05  # of what is held here already: the cluster is not asked


def send_command(kind: str, name: str, where: Where, weight: int = 0) -> None:
    """Give a command, and tell what became of it."""
    asyncio.run(_given(CommandKind(kind), name, where, weight))


async def _given(kind: CommandKind, name: str, where: Where, weight: int) -> None:
    async with looking(where) as (cluster, look):
        key, held = await one(look.canaries, where, name)
        if not isinstance(held, ValidCanary):
            raise ManifestError(held.problems)
        id_ = await annotate(cluster.client, held.rollout.namespace, held.rollout.name, kind, weight)
        try:
            async with asyncio.timeout(COMMAND_PATIENCE):
                while True:
                    if held.status.handled == id_:
                        break
                    await asyncio.sleep(_POLL)
                    _, held = await one(look.canaries, where, key)
                    if not isinstance(held, ValidCanary):
                        raise ManifestError(held.problems)
        except TimeoutError:
            fail(
                f"{kind.value} was given to {key}, but it has not been carried out yet: is the controller running?",
                TROUBLE,
            )
        stand = await look.stand(key, held)
    out().print(f"{key}: {kind.value} was handled; it is now {stand.words}", markup=False)
