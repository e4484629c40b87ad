"""The plug-ins of Acme pass the contract suites of canarycore."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from canarycore.notices import Channel
from canarycore_acme.mesh import AcmeMesh
from canarycore_acme.metrics import open_source
from canarycore_acme.notifier import open_notifier
from canarycore_runtime.testing.contracts import (
    MeshContract,
    MetricSourceContract,
    NotifierContract,
    PluginContract,
    Reply,
)

TIMEOUT = 0.5
TOKEN = "acme-token-of-the-tests"


class TestTheMeshIsAPlugin(PluginContract):
    port, name = "meshes", "acme"


class TestTheMetricsAreAPlugin(PluginContract):
    port, name = "metrics", "acme"


class TestTheNotifierIsAPlugin(PluginContract):
    port, name = "notifiers", "acme"


class Server:
    """An HTTP server with one answer: (status, body), or None for a server that hangs."""

    def __init__(self) -> None:
        self.answer: tuple[int, str] | None = (200, "{}")
        self.bodies: list[str] = []

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line[15:]) for line in head.splitlines() if line.startswith("content-length:")), 0)
        body = (await reader.readexactly(length)).decode()
        if self.answer is None:
            await asyncio.sleep(10 * TIMEOUT)
        else:
            status, text = self.answer
            if status == 200:
                self.bodies.append(body)
            kind = "Content-Type: application/json\r\nConnection: close\r\n"
            writer.write(f"HTTP/1.1 {status} X\r\n{kind}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        writer.close()


class MeshBench:
    mesh, provider, spec, objects = AcmeMesh(), "acme", {}, ()


class TestTheMesh(MeshContract):
    @pytest.fixture
    def bench(self):
        return MeshBench()


ANSWERS = {
    Reply.GOOD: (200, '{"value": 99.5}'),
    Reply.BAD: (200, '{"value": 42}'),
    Reply.EMPTY: (200, "{}"),
    Reply.NAN: (200, '{"value": NaN}'),
    Reply.INFINITE: (200, '{"value": Infinity}'),
    Reply.NEGATIVE_INFINITE: (200, '{"value": -Infinity}'),
    Reply.SERVER_ERROR: (500, "out of order"),
    Reply.BAD_JSON: (200, "<html>"),
    Reply.HANG: None,
}


class MetricBench:
    """A server of Acme's metrics."""

    secret = TOKEN
    cannot = frozenset()
    ordinary: dict[str, str] = {}

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def answering(self, reply):
        if reply is Reply.UNREACHABLE:
            return await self.at("http://127.0.0.1:1")
        server = Server()
        server.answer = ANSWERS[reply]
        return await self.at(await self._stack.enter_async_context(server.listening()))

    async def at(self, address):
        source = open_source(address, secret={"token": TOKEN}, seconds=TIMEOUT)
        return await self._stack.enter_async_context(source)

    def body(self, number):
        return f'{{"value": {number}}}'


class TestTheMetrics(MetricSourceContract):
    @pytest.fixture
    async def bench(self):
        async with AsyncExitStack() as stack:
            yield MetricBench(stack)


class NotifierBench:
    """A server of Acme's chat."""

    secret = TOKEN

    def __init__(self, adapter, server):
        self.adapter, self._server = adapter, server

    async def refuse(self, *, refuse):
        self._server.answer = (500 if refuse else 200, "{}")

    async def delivered_texts(self):
        return tuple(json.loads(body)["text"] for body in self._server.bodies)

    def adapter_at(self, url):
        return open_notifier(url, token=TOKEN, seconds=TIMEOUT)


class TestTheNotifier(NotifierContract):
    channel = Channel.ALERT

    @pytest.fixture
    async def bench(self):
        server = Server()
        async with server.listening() as url, open_notifier(url, token=TOKEN, seconds=TIMEOUT) as adapter:
            yield NotifierBench(adapter, server)
