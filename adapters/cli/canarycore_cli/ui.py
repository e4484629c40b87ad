"""canary ui: serve a web page of the Canaries of a cluster on this machine until the process gets SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import secrets
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from canarycore_cli.console import OK, out
from canarycore_cli.signals import cancel_on_signals
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.page import ClusterViewer, KeyDoor, open_page
from canarycore_kubernetes.resources.canaries import Canaries

if TYPE_CHECKING:
    from canarycore_cli.cluster.connect import ClusterOptions

LOOPBACK = "127.0.0.1"
"""The address that the page listens on: only this machine reaches it."""


def serve(options: ClusterOptions, port: int) -> int:
    """Serve the page until a signal ends it. Returns the exit code."""
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve_until_signal(options, port))
    return OK


async def _serve_until_signal(options: ClusterOptions, port: int) -> None:
    with cancel_on_signals(signal.SIGTERM, signal.SIGINT):
        async with (
            options.client() as client,
            Cluster(client, namespace=options.selected_namespace) as cluster,
        ):
            canaries = Canaries(cluster, provider=options.provider)
            await canaries.keys()  # an error of the connection ends the command, not only a request
            key = secrets.token_urlsafe(24)
            door = KeyDoor(key, ClusterViewer(client, await client.identify() or "you"))
            async with open_page(cluster, canaries, door, host=LOOPBACK, port=port) as listening:
                out().print(f"http://{LOOPBACK}:{listening}/sign-in#key={key}", markup=False, soft_wrap=True)
                await asyncio.Event().wait()
