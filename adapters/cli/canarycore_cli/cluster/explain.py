"""canary explain for a Canary on a cluster: print the results that its status keeps.

The status keeps them when the events of the Canary and the controller's log are gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from canarycore.errors import ManifestError
from canarycore_cli.cluster.connect import deleted, find_key
from canarycore_cli.cluster.describe import describe_results
from canarycore_cli.console import OK, out
from canarycore_kubernetes.resources.canaries import InvalidCanary

if TYPE_CHECKING:
    from canarycore import Status
    from canarycore_cli.cluster.connect import ClusterOptions


def explain(options: ClusterOptions, name: str) -> int:
    """Print the last analysis and the end of the last rollout of the Canary called `name`."""
    key, status = asyncio.run(_read_status(options, name))
    results = describe_results(status)
    for title, lines in results:
        for line in lines:
            out().print(f"{title}: {line}", markup=False)
    if not results:
        out().print(f"{key}: no analysis and no end of a rollout yet", markup=False)
    return OK


async def _read_status(options: ClusterOptions, name: str) -> tuple[str, Status]:
    async with options.overview() as overview:
        key = await find_key(overview.canaries, options, name)
        canary = await overview.canaries.find(key)
    if canary is None:
        raise deleted(key)
    if isinstance(canary, InvalidCanary):
        raise ManifestError(canary.problems)
    return key, canary.status
