"""A server that answers as nobody should: it hangs, drips, floods, bombs, redirects, or answers with nonsense.

    async with HostileServer() as server:           # in this loop
        await client.get(server.url("gzip bomb"))
        server.requests                             # everything that was sent to it, credentials included

    with hostile_servers(folder) as servers:        # in a process of its own, which may burn a core
        servers.url("redirect")
        servers.server.requests, servers.elsewhere.requests

`ANSWERS` is the table of what it can do; a new way to misbehave is one row. The first part of a URL's path names the
answer, so any path may follow it. An answer that redirects leads to `elsewhere`, which is another origin.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from struct import pack
from typing import Self
from urllib.parse import quote, unquote

from attrs import define, field, frozen

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"
ELSEWHERE = "localhost"
"""Another name of the same machine: with another port it is another host for every client."""

MEBIBYTE = 2**20
BOMB = 1024 * MEBIBYTE
"""Bytes that a bomb unpacks to."""

LONGEST_REQUEST = 4 * MEBIBYTE
SEPARATOR = b"\n--- the next request ---\n"


@frozen
class Exchange:
    """One request under way."""

    writer: asyncio.StreamWriter
    elsewhere: str
    """The address that redirects lead to."""

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, body: bytes | str, status: str = "200 OK", **headers: str) -> None:
        """A whole answer. Underscores of header names stand for hyphens."""
        content = body.encode() if isinstance(body, str) else body
        await self.send(head(status, Content_Length=str(len(content)), **headers), content)


Answer = Callable[[Exchange], Awaitable[None]]


def head(status: str = "200 OK", **headers: str) -> bytes:
    """The lines before a body. Underscores of header names stand for hyphens."""
    given = {"Content_Type": "application/json", "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


# ------------------------------------------------------------------------------------------------------- the answers


async def hang(_: Exchange) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


async def drip_head(exchange: Exchange) -> None:
    """Send one header line a second, for ever."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.send(f"X-{number}: x\r\n".encode())
        await asyncio.sleep(1)


async def drip(exchange: Exchange) -> None:
    """Send one byte of the body ten times a second, for ever."""
    await exchange.send(head(Content_Length=str(MEBIBYTE)))
    while True:
        await exchange.send(b" ")
        await asyncio.sleep(0.1)


async def flood(exchange: Exchange) -> None:
    """Send a body without an end, as fast as it is taken."""
    await exchange.send(head())
    while True:
        await exchange.send(b"x" * 2**16)


async def flood_head(exchange: Exchange) -> None:
    """Send headers without an end, as fast as they are taken."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.send(f"X-{number}: {'x' * 4000}\r\n".encode())


async def bomb(exchange: Exchange) -> None:
    """Send 1 MiB that unpacks to 1 GiB."""
    await exchange.answer(gzip_bomb(), Content_Encoding="gzip")


async def bomb_deflate(exchange: Exchange) -> None:
    """The same for the other encoding that every client takes."""
    await exchange.answer(deflate_bomb(), Content_Encoding="deflate")


async def redirect(exchange: Exchange) -> None:
    """Lead to another origin, with the same method and body."""
    await exchange.answer("", "307 Temporary Redirect", Location=f"{exchange.elsewhere}/stolen")


async def redirect_to_get(exchange: Exchange) -> None:
    """Lead to another origin, by a GET."""
    await exchange.answer("", "302 Found", Location=f"{exchange.elsewhere}/stolen")


async def redirect_for_ever(exchange: Exchange) -> None:
    """Lead back here, to a path that leads back here."""
    await exchange.answer("", "308 Permanent Redirect", Location="/redirect%20for%20ever/again")


async def reset(exchange: Exchange) -> None:
    """Promise a body and end the connection in the middle."""
    await exchange.send(head(Content_Length="1000"), b'{"status":')


async def nonsense(exchange: Exchange) -> None:
    """Answer in no HTTP at all."""
    await exchange.send(b"\x00\xff\x1b[2J" * 1000)


def said(body: bytes | str, status: str = "200 OK", **headers: str) -> Answer:
    """An answer that always says the same."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(body, status, **headers)

    return answer


def sampled(value: str) -> str:
    """The answer of a Prometheus: one sample of this value, which is JSON."""
    return f'{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,{value}]}}]}}}}'


ANSWERS: dict[str, Answer] = {
    "hang": hang,
    "drip head": drip_head,
    "drip": drip,
    "flood": flood,
    "flood head": flood_head,
    "gzip bomb": bomb,
    "deflate bomb": bomb_deflate,
    "redirect": redirect,
    "redirect to get": redirect_to_get,
    "redirect for ever": redirect_for_ever,
    "reset": reset,
    "nonsense": nonsense,
    "no gzip": said("not packed", Content_Encoding="gzip"),
    "deep json": said("[" * 100_000 + "]" * 100_000),
    "deep object": said('{"data":' * 100_000 + "1" + "}" * 100_000),
    "wide json": said("[" + "{}," * 300_000 + "{}]"),
    "long number": said(sampled(f'"{"9" * 100_000}"')),
    "whole number": said(sampled("9" * 100_000)),
    "true": said(sampled("true")),
    "infinite": said(sampled('"+Inf"')),
    "no number": said(sampled('"1e1e1"')),
    "null": said("null"),
    "nulls": said('{"status":"success","data":null,"items":null,"results":null,"facts":[null],"series":null}'),
    "long field": said("a,b\n" + "x" * 200_000 + ",1\n", Content_Type="text/csv"),
    "odd charset": said("{}", Content_Type="application/json; charset=zlib_codec"),
    "unknown charset": said("{}", Content_Type="application/json; charset=x-nobody-knows"),
    "odd type": said("{}", Content_Type=";;=\x7f"),
    "escapes": said("\x1b]0;owned\x07\x1b[2J\x1b[1;31mfake\r\nline", "500 Internal Server Error"),
    "secrets": said("root:x:0:0:root:/root:/bin/bash\nINTERNAL", "403 Forbidden", Content_Type="text/html"),
    "later": said("", "429 Too Many Requests", Retry_After="999999999999"),
    "busy": said("", "503 Service Unavailable"),
    "odd status": said("", "999 Nobody Knows"),
    "good": said(sampled('"100"')),
}  # fmt: skip
"""The answers by name: the behaviour of each."""


@cache
def gzip_bomb(size: int = BOMB) -> bytes:
    """About a thousandth of `size` bytes, which unpack to `size` zeros."""
    return b"\x1f\x8b\x08" + bytes(7) + _packed_zeros(size) + pack("<II", _checksum(zlib.crc32, size), size % 2**32)


@cache
def deflate_bomb(size: int = BOMB) -> bytes:
    """The same in zlib's own format."""
    return b"\x78\xda" + _packed_zeros(size) + pack(">I", _checksum(zlib.adler32, size))


def _packed_zeros(size: int) -> bytes:
    """One mebibyte, packed by itself, again and again: to pack all of them takes seconds."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // MEBIBYTE) + packer.flush()


def _checksum(algorithm: Callable[..., int], size: int) -> int:
    zeros, value = bytes(MEBIBYTE), algorithm(b"")
    for _ in range(size // MEBIBYTE):
        value = algorithm(zeros, value)
    return value


# -------------------------------------------------------------------------------------------------------- the server


@define(eq=False)
class HostileServer:
    """Serves every answer of the table while its context is open, and keeps what was sent to it."""

    elsewhere: str = ""
    """The address that redirects lead to."""
    log: Path | None = None
    """A file that also gets every request, for another process."""
    host: str = LOOPBACK
    """The name under which it is reached."""
    address: str = ""
    """Where it is reached, once it is open."""
    requests: list[bytes] = field(factory=list)
    """Everything that was sent to it: the lines before the body, and the body."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, limit=LONGEST_REQUEST)
        self.address = f"http://{self.host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, answer: str, path: str = "") -> str:
        """Where this answer is given. Raises KeyError for one that the table does not have."""
        return address_of(self.address, answer, path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError):
                name = await self._read(reader)
                await ANSWERS.get(name, ANSWERS["good"])(Exchange(writer, self.elsewhere))
        except asyncio.CancelledError:
            pass  # asyncio would report it: it is how the server ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Keep the request; returns the name of the answer that it asks for."""
        lines = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        request = lines + await reader.readexactly(min(length, LONGEST_REQUEST))
        self.requests.append(request)
        if self.log is not None:
            with self.log.open("ab") as file:
                file.write(request + SEPARATOR)
        path = lines.split(b" ", 2)[1].decode(errors="replace")
        return unquote(path.lstrip("/").partition("/")[0].partition("?")[0])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def address_of(server: str, answer: str, path: str = "") -> str:
    """The URL of an answer at a server's address."""
    assert answer in ANSWERS, f"{answer}: expected one of {', '.join(ANSWERS)}"
    return f"{server}/{quote(answer)}{path}"


# --------------------------------------------------------------------------------------------- in a process of its own


@frozen
class RemoteServer:
    """A hostile server in another process."""

    address: str
    log: Path | None
    """The file with all that was sent to it."""

    def url(self, answer: str, path: str = "") -> str:
        return address_of(self.address, answer, path)

    @property
    def requests(self) -> list[bytes]:
        """Return all that was sent to it so far."""
        return self.log.read_bytes().split(SEPARATOR)[:-1] if self.log and self.log.exists() else []


@frozen
class RemoteServers:
    """The server, and the other origin that it redirects to."""

    server: RemoteServer
    elsewhere: RemoteServer

    def url(self, answer: str, path: str = "") -> str:
        return self.server.url(answer, path)

    @property
    def requests(self) -> list[bytes]:
        """Return all that was sent to either."""
        return [*self.server.requests, *self.elsewhere.requests]


@contextmanager
def hostile_servers(folder: Path) -> Iterator[RemoteServers]:
    """Both, in one process of their own. `folder` gets what was sent to them."""
    logs = [folder / "hostile-requests", folder / "elsewhere-requests"]
    command = [sys.executable, "-m", __name__, *map(str, logs)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = process.stdout.readline().split()
        yield RemoteServers(*(RemoteServer(*pair) for pair in zip(addresses, logs, strict=True)))


@asynccontextmanager
async def _both(logs: list[Path]) -> AsyncIterator[list[str]]:
    async with (
        HostileServer(log=logs[1], host=ELSEWHERE) as elsewhere,
        HostileServer(elsewhere.address, log=logs[0]) as server,
    ):
        yield [server.address, elsewhere.address]


async def _serve(logs: list[Path]) -> None:
    """Until the owner closes our standard input, or has ended."""
    gzip_bomb(), deflate_bomb()
    async with _both(logs) as addresses:
        print(*addresses, flush=True)  # noqa: T201 - the owner reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve([Path(name) for name in sys.argv[1:]]))
