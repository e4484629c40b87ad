"""The built-in service: small, like podinfo, with faults on demand.

    python -m canarycore_local.processes.service --version v2 --faults errors=5%,latency=300ms

It listens on 127.0.0.1 at $PORT. Paths:

    GET  /               the version and the process id
    GET  /version        the version
    GET  /healthz        200 while the process runs
    GET  /readyz         200 once the process is ready, 503 before
    ANY  /status/{code}  an answer with that status
    ANY  /delay/{s}      an answer after that many seconds, at most 60
    ANY  /headers        the request's headers
    POST /token          a hash of the body
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import time
from typing import TYPE_CHECKING

from aiohttp import web

from canarycore_local.processes.faults import Faults, Start

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

LONGEST_DELAY = 60.0
"""The longest wait of /delay, in seconds."""

_FAULTLESS_PATHS = ("/healthz", "/readyz")


def main() -> None:
    """Serve until SIGTERM, then finish the open requests."""
    parser = argparse.ArgumentParser(description="A small HTTP service with faults on demand; listens on $PORT.")
    parser.add_argument("--version", default="v1", help="name of the version")
    parser.add_argument("--faults", type=Faults.parse, default=Faults(), help="errors=5%%,latency=300ms,start=crash")
    options = parser.parse_args()
    if options.faults.start is Start.CRASH:
        sys.exit(f"version {options.version} crashes at its start, as its faults say")
    port = os.environ.get("PORT", "")
    if not port.isdecimal():
        sys.exit(f"PORT is {port!r}: expected a port number in the environment")
    web.run_app(
        application(options.version, options.faults),
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=lambda *_: None,
        shutdown_timeout=10.0,
    )


def application(version: str, faults: Faults) -> web.Application:
    """Return the service as an aiohttp application."""
    service = _Service(version, faults)
    app = web.Application(middlewares=[service.with_faults])
    app.add_routes(
        [
            web.get("/", service.index),
            web.get("/version", service.version),
            web.get("/healthz", service.healthy),
            web.get("/readyz", service.ready),
            web.route("*", "/status/{code:[2-5][0-9][0-9]}", service.status),
            web.route("*", r"/delay/{seconds:\d+(\.\d+)?}", service.delay),
            web.route("*", "/headers", service.headers),
            web.post("/token", service.token),
        ]
    )
    return app


class _Service:
    """The handlers of the service."""

    def __init__(self, version: str, faults: Faults) -> None:
        self._version = version
        self._faults = faults
        self._ready_at = time.monotonic() + faults.start_delay
        self._random = random.Random()  # noqa: S311 - no secrets here

    @web.middleware
    async def with_faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _FAULTLESS_PATHS:
            if self._faults.latency or self._faults.jitter:
                await asyncio.sleep(self._faults.latency + self._random.uniform(0, self._faults.jitter))
            if self._random.uniform(0, 100) < self._faults.errors:
                return web.json_response({"error": "an error on demand", "version": self._version}, status=500)
        return await handler(request)

    async def index(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"message": f"greetings from {self._version}", "version": self._version, "pid": os.getpid()}
        )

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self._version})

    async def healthy(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "OK"})

    async def ready(self, _: web.Request) -> web.Response:
        if self._faults.start is Start.NEVER or time.monotonic() < self._ready_at:
            return web.json_response({"status": "not ready"}, status=503)
        return web.json_response({"status": "OK"})

    async def status(self, request: web.Request) -> web.Response:
        code = int(request.match_info["code"])
        return web.json_response({"status": code, "version": self._version}, status=code)

    async def delay(self, request: web.Request) -> web.Response:
        seconds = min(float(request.match_info["seconds"]), LONGEST_DELAY)
        await asyncio.sleep(seconds)
        return web.json_response({"delay": seconds, "version": self._version})

    async def headers(self, request: web.Request) -> web.Response:
        return web.json_response({name: request.headers.getall(name) for name in request.headers})

    async def token(self, request: web.Request) -> web.Response:
        digest = hashlib.sha256(await request.read()).hexdigest()
        return web.json_response({"token": digest, "version": self._version})


if __name__ == "__main__":
    main()
