"""The HTTP endpoints of the controller: /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from prometheus_client import CollectorRegistry


@asynccontextmanager
async def serve_probes(
    host: str | None, port: int, registry: CollectorRegistry, ready: Callable[[], str]
) -> AsyncIterator[int]:
    """Serve the endpoints while the context is open, and yield the port; port 0 takes a free one.

    `ready` returns an empty text if the process can do its work, else the reason: kinds that are missing in the caches,
    or rights to lead. A replica that waits for the Lease is alive and ready, so that a rolling update ends.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def readyz(_: web.Request) -> web.Response:
        missing = ready()
        return web.Response(text=missing or "OK", status=503 if missing else 200)

    async def metrics(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, registry)  # takes seconds with 10,000 Canaries
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _start(web.TCPSite(runner, host, port))
        address = runner.addresses[0]
        yield int(address[1])
    finally:
        await runner.cleanup()


async def _start(site: web.TCPSite) -> None:
    """Start a site to the end even if cancelled: asyncio forgets the open socket of a start that is interrupted."""
    start = asyncio.create_task(site.start())
    try:
        await asyncio.shield(start)
    finally:
        await asyncio.wait([start])
