"""A hostile server, which every adapter with an HTTP client must survive.

    async with hostile_server(HostileReply.GZIP_BOMB) as server:
        answer = await adapter.call(rollout, question_to(server.url))

It listens on loopback, and writes bytes, valid HTTP or not, until the client stops reading.
"""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

MEMORY = 16 * 1024 * 1024
"""The most memory that an adapter may take for one answer (bytes). A bomb fills far more."""

PATIENCE = 20.0
"""The longest call of an adapter with a time limit below a second, on a busy machine too (seconds)."""

_BOMB = 128 * 1024 * 1024
_DRIP = 0.02


class HostileReply(Enum):
    """The behaviour of the server in place of an answer."""

    GZIP_BOMB = "a small body that becomes 128 MiB"
    NESTED_GZIP_BOMB = "the same, compressed twice"
    ENDLESS_BODY = "a body that never ends"
    ENDLESS_COMPRESSED_BODY = "a compressed body that never ends and has no content"
    DRIPPING_BODY = "a body that comes byte by byte, for ever"
    DRIPPING_HEADERS = "headers that come one by one, for ever"
    LONG_HEADER = "a header of a megabyte"
    FOREIGN_REDIRECT = "a redirect to another origin that keeps method and body"
    FOREIGN_REDIRECT_BY_GET = "a redirect to another origin with status 302"
    CIRCULAR_REDIRECT = "a redirect to itself"
    LONG_LABEL_REDIRECT = "a redirect to a host with a label of 64 characters"
    INVALID_REDIRECT = "a redirect to an invalid address"
    DEEP_JSON = "JSON with 30,000 nested lists"
    LONG_NUMBER = "a JSON number of 60,000 digits"
    CONTROL_CHARACTERS = "text that controls a terminal"
    UNKNOWN_CHARSET = "text in a charset that does not exist"
    SLOW_CHARSET = "text in a charset whose decoder is slow"
    UNKNOWN_ENCODING = "a content encoding that does not exist"
    BROKEN_GZIP = "invalid gzip"
    CUT_BODY = "a body shorter than its announced length"
    CUT_CHUNKS = "a broken chunk"
    NO_HTTP = "a line of another protocol"
    ODD_STATUS = "a status of 999"
    NOTHING = "an immediate end of the connection"


BOMBS = (
    HostileReply.GZIP_BOMB,
    HostileReply.NESTED_GZIP_BOMB,
    HostileReply.ENDLESS_BODY,
    HostileReply.ENDLESS_COMPRESSED_BODY,
    HostileReply.LONG_HEADER,
)
"""Replies that fill the memory of a client that keeps them."""

REDIRECTS = (HostileReply.FOREIGN_REDIRECT, HostileReply.FOREIGN_REDIRECT_BY_GET)
"""Replies that send the request to another origin."""

UNUSABLE_ADDRESSES = (
    "",
    "no address",
    "http://",
    "http://[",
    "http://host:99999999/",
    "ftp://127.0.0.1/",
    "http://127.0.0.1:1/\x00",
    f"http://{'a' * 64}.test/",
    f"http://{'a.' * 200}test/",
    "http://\ud800.test/",
)
"""Addresses without a server."""


@define
class HostileServer:
    """The state of the server."""

    url: str = ""
    """The address of the server."""

    requests: int = 0
    """Requests at this address."""

    elsewhere: int = 0
    """Requests at the other origin, to which the server redirects."""


@asynccontextmanager
async def hostile_server(
    reply: HostileReply | str, ordinary: Mapping[str, str] | None = None
) -> AsyncIterator[HostileServer]:
    """Serve `reply` to every request; a text is the body of an answer in JSON.

    `ordinary` has the bodies of paths with an ordinary answer, such as the path of a token service.
    """
    state = HostileServer()
    bodies = ordinary or {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            state.requests += 1
            body = bodies.get(head.decode("latin-1").split(" ")[1], reply)
            write = _REPLIES[body] if isinstance(body, HostileReply) else _whole(body.encode(), _JSON)
            async for part in write(other):
                writer.write(part)
                await writer.drain()
        with suppress(ConnectionError):
            writer.close()

    async def serve_elsewhere(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.elsewhere += 1
        writer.close()

    async with _listening(serve_elsewhere) as other, _listening(serve) as state.url:
        yield state


@contextmanager
def bounded_memory(most: int = MEMORY) -> Iterator[None]:
    """Raise AssertionError when Python allocates `most` bytes or more while the context is open."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    assert peak - before < most, f"found {peak - before} bytes at the worst moment, expected less than {most}"


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
) -> AsyncIterator[str]:
    """Yield the address of a server that calls `serve`, and end its tasks with the context."""
    tasks: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)  # type: ignore[misc]
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next turn


# answers ----------------------------------------------------------------------------------------------------------


def _head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]).encode()


def _whole(body: bytes = b"", *headers: str, status: str = "200 OK") -> Callable[[str], AsyncIterator[bytes]]:
    async def write(_: str) -> AsyncIterator[bytes]:
        yield _head(*headers, f"Content-Length: {len(body)}", status=status) + body

    return write


def _bytes(data: bytes) -> Callable[[str], AsyncIterator[bytes]]:
    async def write(_: str) -> AsyncIterator[bytes]:
        if data:
            yield data

    return write


def _forever(
    part: bytes, *headers: str, pause: float = 0.0, begin: bytes | None = None
) -> Callable[[str], AsyncIterator[bytes]]:
    async def write(_: str) -> AsyncIterator[bytes]:
        yield _head(*headers) if begin is None else begin
        while True:
            yield part
            await asyncio.sleep(pause)

    return write


def _redirect(status: str, target: str = "") -> Callable[[str], AsyncIterator[bytes]]:
    async def write(other: str) -> AsyncIterator[bytes]:
        yield _head(f"Location: {target or other}", "Content-Length: 0", status=status)

    return write


async def _bomb(_: str) -> AsyncIterator[bytes]:
    yield _head("Content-Type: text/plain", "Content-Encoding: gzip") + _bomb_body()


async def _nested_bomb(_: str) -> AsyncIterator[bytes]:
    body = gzip.compress(_bomb_body())
    yield _head("Content-Type: text/plain", "Content-Encoding: gzip, gzip", f"Content-Length: {len(body)}") + body


def _bomb_body() -> bytes:
    """Return a gzip stream of many members, which is cheap to make."""
    member = gzip.compress(bytes(1024 * 1024), compresslevel=1)
    return member * (_BOMB // (1024 * 1024))


_JSON = "Content-Type: application/json"
_TEXT = "Content-Type: text/plain; charset=utf-8"

_REPLIES: dict[HostileReply, Callable[[str], AsyncIterator[bytes]]] = {
    HostileReply.GZIP_BOMB: _bomb,
    HostileReply.NESTED_GZIP_BOMB: _nested_bomb,
    HostileReply.ENDLESS_BODY: _forever(b"x" * 65536, _TEXT),
    HostileReply.ENDLESS_COMPRESSED_BODY: _forever(gzip.compress(b""), _TEXT, "Content-Encoding: gzip"),
    HostileReply.DRIPPING_BODY: _forever(b"x", _TEXT, "Content-Length: 60000", pause=_DRIP),
    HostileReply.DRIPPING_HEADERS: _forever(b"X-Drip: x\r\n", begin=b"HTTP/1.1 200 OK\r\n", pause=_DRIP),
    HostileReply.LONG_HEADER: _whole(b"", f"X-Long: {'x' * 1024 * 1024}"),
    HostileReply.FOREIGN_REDIRECT: _redirect("307 Temporary Redirect"),
    HostileReply.FOREIGN_REDIRECT_BY_GET: _redirect("302 Found"),
    HostileReply.CIRCULAR_REDIRECT: _redirect("308 Permanent Redirect", "/"),
    HostileReply.LONG_LABEL_REDIRECT: _redirect("307 Temporary Redirect", f"http://{'a' * 64}.test/"),
    HostileReply.INVALID_REDIRECT: _redirect("307 Temporary Redirect", "http://[:99999999"),
    HostileReply.DEEP_JSON: _whole(b"[" * 30_000 + b"]" * 30_000, _JSON),
    HostileReply.LONG_NUMBER: _whole(b'{"ok": ' + b"1" * 60_000 + b"}", _JSON),
    HostileReply.CONTROL_CHARACTERS: _whole(b"\x1b[2J\x1b]0;owned\x07\r\nsecond\x00line", _TEXT, status="500 No"),
    HostileReply.UNKNOWN_CHARSET: _whole(b"\xff\xfe", "Content-Type: text/plain; charset=unknown"),
    HostileReply.SLOW_CHARSET: _whole(b"a" * 60_000, "Content-Type: text/plain; charset=punycode"),
    HostileReply.UNKNOWN_ENCODING: _whole(b"abc", _TEXT, "Content-Encoding: unknown"),
    HostileReply.BROKEN_GZIP: _whole(b"this is no gzip", _TEXT, "Content-Encoding: gzip"),
    HostileReply.CUT_BODY: _bytes(_head(_TEXT, "Content-Length: 1000") + b"short"),
    HostileReply.CUT_CHUNKS: _bytes(_head(_TEXT, "Transfer-Encoding: chunked") + b"zz\r\nbroken"),
    HostileReply.NO_HTTP: _bytes(b"220 mail.test ESMTP ready\r\n\r\n"),
    HostileReply.ODD_STATUS: _whole(b"odd", _TEXT, status="999 Odd"),
    HostileReply.NOTHING: _bytes(b""),
}
