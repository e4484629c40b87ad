"""A real service that receives load, and a real load tester that serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from canarycore_loadtester.options import LoadtesterOptions
from canarycore_loadtester.server import serve


class Service:
    """A service. It remembers its requests and their times, and answers as the test says."""

    def __init__(self) -> None:
        self.address = ""
        self.status, self.delay = 200, 0.0
        self.stall = 0.0  # a further delay, of the next request alone
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.connections: set[object] = set()

    async def respond(self, request: web.Request) -> web.Response:
        self.times.append(asyncio.get_running_loop().time())
        self.requests.append(request)
        self.connections.add(request.transport)
        self.bodies.append(await request.read())
        delay, self.stall = self.delay + self.stall, 0.0
        await asyncio.sleep(delay)
        return web.Response(status=self.status, text="hello")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.respond)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


class Answer:
    """An answer of the load tester."""

    def __init__(self, status: int, text: str, headers: Any) -> None:
        self.status, self.text, self.headers = status, text, headers


class Loadtester:
    """A load tester that serves, and its client."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address, self._session = address, session

    async def __call__(self, path: str, payload: object = None, **request: Any) -> Answer:
        request.setdefault("json", payload) if "data" not in request else None
        async with self._session.post(self.address + path, **request) as response:
            return Answer(response.status, await response.text(), response.headers)

    async def task(self, command: str | None = None, *, name: str = "podinfo", **metadata: str) -> Answer:
        cmd = {} if command is None else {"cmd": command}
        return await self("/", {"name": name, "namespace": "test", "metadata": {**cmd, **metadata}})

    async def metric(self, line: str) -> float:
        async with self._session.get(f"{self.address}/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next((text.split()[-1] for text in lines if text.startswith(line)), 0.0))

    async def until(self, line: str, value: float) -> None:
        """Wait until a metric has a value."""
        async with asyncio.timeout(20):
            while await self.metric(line) != value:  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.02)


Start = Callable[..., AbstractAsyncContextManager[Loadtester]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A function that serves with the given options."""

    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[Loadtester]:
        settings = {"port": 0, "state_file": tmp_path / "state" / "gates.json", **options}
        async with serve(LoadtesterOptions(**settings)) as port, aiohttp.ClientSession() as session:
            yield Loadtester(f"http://127.0.0.1:{port}", session)

    return start


@pytest.fixture
async def loadtester(start: Start) -> AsyncIterator[Loadtester]:
    async with start() as loadtester:
        yield loadtester
