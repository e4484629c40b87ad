"""HTTP servers of tests: any application on a free port of this machine, and the answers of a Prometheus server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application until the end of the block; yield its address."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def read_query(request: web.Request) -> str:
    """Return the query of a request to Prometheus, which has it in its body or its address."""
    return str((await request.post()).get("query") or request.query.get("query", ""))


def vector(value: object = None) -> web.Response:
    """Return Prometheus' answer with one value of now; without a value, one that found none."""
    result = [] if value is None else [{"metric": {}, "value": [time.time(), str(value)]}]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})
