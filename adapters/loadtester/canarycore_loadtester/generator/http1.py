"""A client of HTTP/1.1: one connection with one request in flight."""

from __future__ import annotations

import asyncio
import os
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_loadtester.generator.plan import LoadPlan

LONGEST_HEAD = 64 * 1024
"""The longest head of an answer, and the longest line with the size of a chunk, in bytes."""

CLOSED = "connection closed"
"""The error of a request whose connection the server closed."""

CONNECTION_ERRORS = (OSError, UnicodeError)
"""The errors of a connection that cannot be made. A host that no name server can be asked for is a UnicodeError."""

_SWITCHING = 101


class BadAnswer(Exception):
    """An answer that is no HTTP/1.1."""


class Results(Protocol):
    """The receiver of results: the engine."""

    def finish(self, slot: Slot, outcome: str, *, is_failed: bool, size: int = 0) -> None:
        """Count the request of a slot, which is free afterwards. `outcome` is a status or the name of an error."""


class Slot(ABC):
    """A place for one request in flight."""

    due: float
    """The time at which the request was due."""
    sent: float
    """The time at which the client sent it."""

    def __init__(self, results: Results) -> None:
        self.due = self.sent = 0.0
        self._loop = asyncio.get_running_loop()
        self._results = results
        self._is_busy = False

    @abstractmethod
    async def open(self) -> None:
        """Connect before the first request, to leave the connection out of its latency. Ignores errors."""

    @abstractmethod
    def send(self, due: float) -> None:
        """Send a request. The client reports its result to `Results.finish`, never before this call returns."""

    @abstractmethod
    def abort(self, reason: str) -> None:
        """End the request in flight as failed."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def _begin(self, due: float) -> None:
        self.due, self.sent, self._is_busy = due, self._loop.time(), True

    def _finish(self, outcome: str, *, is_failed: bool, size: int = 0) -> None:
        if self._is_busy:
            self._is_busy = False
            self._results.finish(self, outcome, is_failed=is_failed, size=size)


class ResponseReader:
    """A reader of the answers of one connection. It skips bodies and keeps only their size."""

    status: int
    """The status of the answer; 0 before it is known."""
    keep_alive: bool
    """Whether the connection carries another request."""
    size: int
    """The bytes of the answer so far, with its head."""

    def __init__(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self.begin()

    def begin(self) -> None:
        """Expect a new answer."""
        self.status = 0
        self.keep_alive = True
        self.size = 0
        self._line = b""  # the unfinished head, or the unfinished line of a chunk
        self._rest = 0  # bytes of the body, or of the chunk, to come
        self._state: Callable[[bytes], tuple[bytes, bool]] = self._read_head

    @property
    def is_begun(self) -> bool:
        """Whether a byte of the answer has come."""
        return self.size > 0

    def feed(self, data: bytes) -> bool:
        """Read bytes. Return whether the answer is complete. Raise BadAnswer."""
        self.size += len(data)
        while data:
            data, is_complete = self._state(data)
            if is_complete:
                if data:
                    self.keep_alive = False  # bytes that nobody asked for
                return True
        return False

    def end(self) -> bool:
        """Note that the connection ended. Return whether this completes the answer."""
        return self._state == self._read_to_end

    def _read_head(self, data: bytes) -> tuple[bytes, bool]:
        data = self._line + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > LONGEST_HEAD:
                raise BadAnswer(f"a head of more than {LONGEST_HEAD} bytes")
            self._line = data
            return b"", False
        self._line = b""
        return self._begin_body(data[:end].lower().split(b"\r\n"), data[end + 4 :])

    def _begin_body(self, lines: list[bytes], data: bytes) -> tuple[bytes, bool]:
        first = lines[0]
        if not first.startswith(b"http/1.") or not first[9:12].isdigit():
            raise BadAnswer("no status line of HTTP/1.1")
        status = int(first[9:12])
        length, is_chunked, keep_alive = None, False, first[7:8] == b"1"
        for line in lines[1:]:
            if line.startswith(b"content-length:"):
                length = _number(line[15:], 10)
            elif line.startswith(b"transfer-encoding:"):
                is_chunked = line.endswith(b"chunked")
            elif line.startswith(b"connection:"):
                keep_alive = b"close" not in line and (keep_alive or b"keep-alive" in line)
        if 100 <= status < 200 and status != _SWITCHING:
            return data, False  # an interim answer: the real one follows
        self.status, self.keep_alive = status, keep_alive
        if self._is_head or status in {_SWITCHING, 204, 304}:
            return data, True
        if is_chunked:
            self._state = self._read_size
            return data, False
        if length is None:
            self.keep_alive = False
            self._state = self._read_to_end
            return data, False
        if len(data) >= length:
            return data[length:], True
        self._rest, self._state = length - len(data), self._read_rest
        return b"", False

    def _read_rest(self, data: bytes) -> tuple[bytes, bool]:
        if len(data) < self._rest:
            self._rest -= len(data)
            return b"", False
        return data[self._rest :], True

    def _read_to_end(self, _: bytes) -> tuple[bytes, bool]:
        return b"", False

    def _read_size(self, data: bytes) -> tuple[bytes, bool]:
        line, data = self._read_line(data)
        if line is not None:
            size = _number(line.partition(b";")[0], 16)
            self._rest, self._state = size + 2, self._read_chunk if size else self._read_trailer
        return data, False

    def _read_chunk(self, data: bytes) -> tuple[bytes, bool]:
        if len(data) < self._rest:
            self._rest -= len(data)
            return b"", False
        data, self._state = data[self._rest :], self._read_size
        return data, False

    def _read_trailer(self, data: bytes) -> tuple[bytes, bool]:
        line, data = self._read_line(data)
        return data, line == b""

    def _read_line(self, data: bytes) -> tuple[bytes | None, bytes]:
        data = self._line + data
        line, separator, rest = data.partition(b"\r\n")
        if not separator:
            if len(data) > LONGEST_HEAD:
                raise BadAnswer(f"a line of more than {LONGEST_HEAD} bytes")
            self._line = data
            return None, b""
        self._line = b""
        return line, rest


def _number(text: bytes, base: int) -> int:
    digits = text.strip()
    if not digits.isalnum() or len(digits) > 16:
        raise BadAnswer("a length that is no number")
    try:
        return int(digits, base)
    except ValueError:
        raise BadAnswer("a length that is no number") from None


def request_bytes(plan: LoadPlan) -> bytes:
    """Return the bytes of a request."""
    names = {name.lower() for name, _ in plan.headers}
    headers = list(plan.headers)
    if "host" not in names:
        headers.insert(0, ("Host", plan.target.authority))
    if "user-agent" not in names:
        headers.append(("User-Agent", "canarycore-loadtester"))
    if plan.body or plan.method in {"POST", "PUT", "PATCH"}:
        headers = [header for header in headers if header[0].lower() != "content-length"]
        headers.append(("Content-Length", str(len(plan.body))))
    if not plan.keep_alive:
        headers.append(("Connection", "close"))
    lines = [f"{plan.method} {plan.target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + plan.body


def tls_of(plan: LoadPlan, protocol: str) -> ssl.SSLContext | None:
    """Return the TLS context for the plan's target; None for plain http. `protocol` is its name in ALPN."""
    if plan.target.scheme != "https":
        return None
    context = ssl.create_default_context()
    if not plan.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


class Wire(asyncio.Protocol):
    """A connection, which reports to its owner as long as the owner uses it."""

    transport: asyncio.WriteTransport

    def __init__(self, owner: WireOwner) -> None:
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Become the owner's connection."""
        self.transport = cast("asyncio.WriteTransport", transport)
        self._owner.wire = self
        self._owner.begin_wire()

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the owner."""
        if self._owner.wire is self:
            self._owner.read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection."""
        if self._owner.wire is self:
            self._owner.wire = None
            self._owner.end_wire(describe_error(exc) if exc else CLOSED)


class WireOwner(ABC):
    """The user of one `Wire` after another."""

    wire: Wire | None
    """The connection in use; None if there is none."""

    def __init__(self, plan: LoadPlan, tls: ssl.SSLContext | None) -> None:
        self._plan, self._tls = plan, tls
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[None] | None = None
        self.wire = None

    @abstractmethod
    def begin_wire(self) -> None:
        """Use the new connection."""

    @abstractmethod
    def read(self, data: bytes) -> None:
        """Read bytes from the connection."""

    @abstractmethod
    def end_wire(self, reason: str) -> None:
        """Note that the other side closed the connection."""

    def close(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if (wire := self._leave_wire()) is not None:
            wire.transport.abort()

    def _leave_wire(self) -> Wire | None:
        """Use no connection any more, and return the one in use."""
        wire, self.wire = self.wire, None
        return wire

    async def _open_wire(self) -> None:
        target = self._plan.target
        await self._loop.create_connection(lambda: Wire(self), target.host, target.port, ssl=self._tls)


class Http1Slot(WireOwner, Slot):
    """One connection. It connects again after the server closed it."""

    def __init__(self, plan: LoadPlan, tls: ssl.SSLContext | None, request: bytes, results: Results) -> None:
        WireOwner.__init__(self, plan, tls)
        Slot.__init__(self, results)
        self._request = request
        self._reader = ResponseReader(is_head=plan.method == "HEAD")
        self._answers = 0  # on this connection

    async def open(self) -> None:
        """Connect before the first request."""
        with suppress(*CONNECTION_ERRORS):  # the first request tries again, and counts the error
            async with asyncio.timeout(self._plan.timeout):
                await self._open_wire()

    def send(self, due: float) -> None:
        """Send a request, after a connection if there is none."""
        self._begin(due)
        self._reader.begin()
        if self.wire is None:
            self._connecting = self._loop.create_task(self._connect_and_send())
        else:
            self.wire.transport.write(self._request)

    def abort(self, reason: str) -> None:
        """End the request in flight as failed."""
        self.close()
        self._finish(reason, is_failed=True)

    def begin_wire(self) -> None:
        """Use a new connection."""
        self._answers = 0

    def read(self, data: bytes) -> None:
        """Read a part of the answer."""
        if not self._is_busy:
            self.close()  # bytes that nobody asked for
            return
        try:
            is_complete = self._reader.feed(data)
        except BadAnswer as error:
            self.abort(f"bad answer: {error}")
            return
        if is_complete:
            self._complete()

    def end_wire(self, reason: str) -> None:
        """Note that the server closed the connection."""
        if not self._is_busy:
            return
        if self._reader.end():
            self._complete()
        elif self._answers and not self._reader.is_begun and self._plan.is_repeatable:
            self._connecting = self._loop.create_task(self._connect_and_send())  # it was closed as idle
        else:
            self._finish(reason, is_failed=True)

    async def _connect_and_send(self) -> None:
        try:
            await self._open_wire()
        except CONNECTION_ERRORS as error:
            self._finish(describe_error(error), is_failed=True)
            return
        if self.wire is not None:
            self.wire.transport.write(self._request)

    def _complete(self) -> None:
        self._answers += 1
        if not self._reader.keep_alive or not self._plan.keep_alive:
            self.close()
        status = self._reader.status
        self._finish(str(status), is_failed=status >= 500, size=self._reader.size)


def describe_error(error: BaseException) -> str:
    """Return a short text for an error, the same for all errors of its kind."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(number).lower()
    return type(error).__name__
