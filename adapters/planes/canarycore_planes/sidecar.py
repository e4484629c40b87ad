"""The process of a pod that runs a command: it hands each request to the command, and says which version answered.

    python -m canarycore_planes.sidecar server --port '${PORT}'

It listens at $POD_IP and $PORT. The command gets a free port of 127.0.0.1 as $PORT, also in its arguments, so several
pods run on one machine. Each answer has the header X-Version: $VERSION. The pod is ready while /readyz of the command
answers 200, or 404 from a service without this path. It ends with its command, and SIGTERM goes to the command.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from http import HTTPStatus

import aiohttp
from aiohttp import web
from attrs import define

from canarycore_planes.processes import die_with_the_owner

VERSION = "X-Version"
"""The header with the version that answered."""

_HOST = "127.0.0.1"
_PORT = re.compile(r"\$(PORT\b|\{PORT\})")
_READY = "/readyz"
_MISSES = 3
"""Failed probes in a row after which a ready pod is ready no more."""
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "content-encoding"}
)
_PROBE = aiohttp.ClientTimeout(total=0.8)


@define
class Sidecar:
    """The requests of one pod."""

    session: aiohttp.ClientSession
    url: str
    """The address of the command."""
    version: str
    _misses: int = _MISSES

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer with the command's answer."""
        if request.path == _READY:
            return web.Response(status=HTTPStatus.OK if await self._is_ready() else HTTPStatus.SERVICE_UNAVAILABLE)
        body = await request.read()
        try:
            async with self.session.request(
                request.method, f"{self.url}{request.raw_path}", headers=_passed(request.headers.items()),
                data=body or None, allow_redirects=False,
            ) as answer:  # fmt: skip
                content = await answer.read()
                headers = [*_passed(answer.headers.items()), (VERSION, self.version)]
                return web.Response(status=answer.status, headers=headers, body=content)
        except (aiohttp.ClientError, OSError):
            return web.Response(status=HTTPStatus.BAD_GATEWAY, headers={VERSION: self.version})

    async def _is_ready(self) -> bool:
        try:
            async with self.session.get(f"{self.url}{_READY}", allow_redirects=False, timeout=_PROBE) as answer:
                is_well = answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        except (aiohttp.ClientError, TimeoutError, OSError):
            is_well = False
        self._misses = 0 if is_well else self._misses + 1
        return self._misses < _MISSES


def _passed(headers: object) -> list[tuple[str, str]]:
    """Return the headers that concern both ends, not one connection."""
    pairs: list[tuple[str, str]] = list(headers)  # type: ignore[call-overload]
    return [(name, value) for name, value in pairs if name.lower() not in _HOP_BY_HOP]


async def run(command: Sequence[str]) -> int:
    """Run the command, and serve until it ends. Returns its exit code."""
    with socket.create_server((_HOST, 0)) as free:
        port = str(free.getsockname()[1])
    arguments = [_PORT.sub(port, argument) for argument in command]
    environment = os.environ | {"PORT": port}
    process = await asyncio.create_subprocess_exec(*arguments, env=environment, preexec_fn=die_with_the_owner)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False) as session:
        app = web.Application(client_max_size=0)
        sidecar = Sidecar(session, f"http://{_HOST}:{port}", os.environ["VERSION"])
        app.router.add_route("*", "/{path:.*}", sidecar.serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, os.environ["POD_IP"], int(os.environ["PORT"]), backlog=512).start()
        code = await process.wait()
        await runner.cleanup()
    return code


if __name__ == "__main__":
    sys.exit(abs(asyncio.run(run(sys.argv[1:]))))
