"""canary ui: serve a web page of the Canaries of a cluster on this machine until the process gets SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from canarycore_cli.console import OK, out
from canarycore_cli.signals import cancel_on_signals
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.page import ClusterPageSource, ClusterViewer
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_runtime.page.local import serve_locally

if TYPE_CHECKING:
    from canarycore_cli.cluster.connect import ClusterOptions


def serve(options: ClusterOptions, port: int) -> int:
    """Serve the page until a signal ends it. Returns the exit code."""
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve_until_signal(options, port))
    return OK


async def _serve_until_signal(options: ClusterOptions, port: int) -> None:
    with cancel_on_signals(signal.SIGTERM, signal.SIGINT):
        async with (
            options.client() as client,
            Cluster(client.read_only("the page"), namespace=options.selected_namespace) as cluster,
        ):
            canaries = Canaries(cluster, provider=options.provider)
            await canaries.keys()  # an error of the connection ends the command, not only a request
            viewer = ClusterViewer(client, await client.identify() or "you")
            async with serve_locally(ClusterPageSource(cluster, canaries), viewer, port=port) as address:
                out().print(address, markup=False, soft_wrap=True)
                await asyncio.Event().wait()
