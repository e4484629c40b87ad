"""A client of HTTP/2: one connection with several streams, for plain requests and for unary calls of gRPC.

A server may end a connection at any time (GOAWAY), for example after a number of requests. The client then opens a new
one, and repeats the requests without an answer if they may be repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        RemoteSettingsChanged,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
        WindowUpdated,
    )
    from h2.exceptions import H2Error
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-loadtester[http2]") from _missing

from canarycore_loadtester.generator.http1 import CLOSED, CONNECTION_ERRORS, Slot, WireOwner, describe_error
from canarycore_loadtester.generator.plan import LoadPlan, Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from h2.events import Event

    from canarycore_loadtester.generator.http1 import Results

_CONNECTION_HEADERS = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "te"}
"""Headers that HTTP/2 does not have, or that this client writes itself."""

_Headers = list[tuple[str, str]]


def request_headers(plan: LoadPlan) -> _Headers:
    """Return the headers of a request, with the pseudo-headers first."""
    target, ours = plan.target, [(name.lower(), value) for name, value in plan.headers]
    authority = next((value for name, value in ours if name == "host"), target.authority)
    headers = [
        (":method", plan.method),
        (":scheme", target.scheme),
        (":authority", authority),
        (":path", target.path),
        *((name, value) for name, value in ours if name not in _CONNECTION_HEADERS),
    ]
    names = {name for name, _ in headers}
    if "user-agent" not in names:
        headers.append(("user-agent", "canarycore-loadtester"))
    if plan.protocol is Protocol.GRPC:
        headers += [("te", "trailers"), ("content-type", "application/grpc")]
    elif plan.body:
        headers.append(("content-length", str(len(plan.body))))
    return headers


class Http2Slot(Slot):
    """A place for one stream."""

    unsent: bytes
    """The part of the body that the server's window did not take yet."""

    def __init__(self, connection: Http2Connection, results: Results) -> None:
        super().__init__(results)
        self.unsent = b""
        self._connection = connection
        self._outcome, self._size, self._repeats = "", 0, 0

    async def open(self) -> None:
        """Connect before the first request."""
        await self._connection.open()

    def send(self, due: float) -> None:
        """Send a request on a new stream."""
        self._begin(due)
        self._repeats = 0
        self.begin()
        self._connection.enqueue(self)

    def begin(self) -> None:
        """Expect a new answer."""
        self._outcome, self._size = "", 0

    def abort(self, reason: str) -> None:
        """End the request in flight as failed."""
        self._connection.forget(self)
        self.fail(reason)

    def close(self) -> None:
        """Close the connection, which all slots share."""
        self._connection.close()

    def read_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Note the status in headers or trailers. A call of gRPC has its own status, in either."""
        for name, value in headers:
            self._size += len(name) + len(value)
            if name == b":status" and not self._outcome:
                self._outcome = value.decode("latin-1")
            elif name == b"grpc-status" and self._connection.is_grpc:
                self._outcome = f"grpc {value.decode('latin-1')[:8]}"

    def read_data(self, size: int) -> None:
        """Count bytes of the body."""
        self._size += size

    def complete(self) -> None:
        """End the request with an answer."""
        outcome = self._outcome or "no status"
        is_failed = outcome != "grpc 0" if self._connection.is_grpc else outcome >= "500"
        self._finish(outcome, is_failed=is_failed, size=max(self._size, 1))

    def fail(self, reason: str) -> None:
        """End the request without an answer."""
        self._finish(reason, is_failed=True)

    def may_repeat(self, *, is_repeatable: bool) -> bool:
        """Check whether to send the request again after its connection ended, and count the attempt."""
        self._repeats += 1
        return is_repeatable and not self._outcome and self._repeats == 1


class Http2Connection(WireOwner):
    """The connection of all slots."""

    is_grpc: bool
    """Whether the requests are calls of gRPC."""

    def __init__(self, plan: LoadPlan, tls: ssl.SSLContext | None) -> None:
        super().__init__(plan, tls)
        self.is_grpc = plan.protocol is Protocol.GRPC
        self._headers = request_headers(plan)
        self._waiting: deque[Http2Slot] = deque()
        self._streams: dict[int, Http2Slot] = {}
        self._h2 = _client()
        self._is_flushing = self._is_reading = False

    def slot(self, results: Results) -> Http2Slot:
        """Return a new slot of this connection."""
        return Http2Slot(self, results)

    async def open(self) -> None:
        """Connect, if not done yet. Ignores errors: the first request meets them again."""
        if self.wire is None:
            self._connect()
            assert self._connecting is not None
            await asyncio.wait([self._connecting], timeout=self._plan.timeout)

    def enqueue(self, slot: Http2Slot) -> None:
        """Send the request of a slot as soon as the connection has room for a stream."""
        self._waiting.append(slot)
        self._advance()

    def forget(self, slot: Http2Slot) -> None:
        """Reset the stream of a slot."""
        if slot in self._waiting:
            self._waiting.remove(slot)
        for number in [number for number, other in self._streams.items() if other is slot]:
            del self._streams[number]
            try:
                self._h2.reset_stream(number, ErrorCodes.CANCEL)
            except H2Error:
                continue  # it has ended
            self._flush_soon()

    def begin_wire(self) -> None:
        """Use a new connection."""
        self._h2 = _client()
        self._h2.initiate_connection()
        self._flush()

    def read(self, data: bytes) -> None:
        """Read frames."""
        try:
            events = self._h2.receive_data(data)
        except H2Error as error:
            self._flush()  # our last frame says why
            self._restart(f"bad answer: {type(error).__name__}")
            return
        self._is_reading = True  # a later event may say that the connection takes no more streams
        for event in events:
            self._handle(event)
        self._is_reading = False
        self._advance()
        self._flush_soon()

    def end_wire(self, reason: str) -> None:
        """Note that the server closed the connection."""
        self._restart(reason)

    # ------------------------------------------------------------------------------------------------------ internal

    def _connect(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._connecting = self._loop.create_task(self._connect_once())

    async def _connect_once(self) -> None:
        try:
            async with asyncio.timeout(self._plan.timeout):
                await self._open_wire()
        except CONNECTION_ERRORS as error:  # a TimeoutError is one too
            reason = describe_error(error)
            while self._waiting:
                self._waiting.popleft().fail(reason)
            return
        self._advance()

    def _handle(self, event: Event) -> None:
        slot = self._streams.get(getattr(event, "stream_id", None) or 0)
        match event:
            case DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                if slot is not None:
                    slot.read_data(event.flow_controlled_length or 0)
            case ResponseReceived() | TrailersReceived() if slot is not None:
                slot.read_headers(cast("list[tuple[bytes, bytes]]", event.headers or []))
            case StreamEnded() if slot is not None:
                del self._streams[event.stream_id or 0]
                slot.complete()
            case StreamReset() if slot is not None:
                del self._streams[event.stream_id or 0]
                slot.fail("stream reset")
            case WindowUpdated() | RemoteSettingsChanged():
                for number, other in self._streams.items():
                    self._send_body(number, other)
            case ConnectionTerminated():
                self._restart(CLOSED)
            case _:
                pass

    def _advance(self) -> None:
        """Open streams for the waiting requests, as many as the server allows."""
        if not self._waiting or self._is_reading:
            return
        if self.wire is None:
            self._connect()
            return
        most = min(self._h2.remote_settings.max_concurrent_streams, self._plan.connections)
        while self._waiting and len(self._streams) < most:
            slot = self._waiting.popleft()
            number = self._h2.get_next_available_stream_id()
            self._streams[number] = slot
            has_body = bool(self._plan.body)
            self._h2.send_headers(number, self._headers, end_stream=not has_body)
            if has_body:
                slot.unsent = self._plan.body
                self._send_body(number, slot)
        self._flush_soon()

    def _send_body(self, number: int, slot: Http2Slot) -> None:
        """Send as much of a body as the server's windows take."""
        while slot.unsent:
            size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(slot.unsent))
            if size <= 0:
                return
            part, slot.unsent = slot.unsent[:size], slot.unsent[size:]
            self._h2.send_data(number, part, end_stream=not slot.unsent)
        self._flush_soon()

    def _restart(self, reason: str) -> None:
        """Leave this connection. Repeat its requests on a new one, or fail them."""
        if (wire := self._leave_wire()) is not None:
            wire.transport.close()
        streams, self._streams = self._streams, {}
        for slot in streams.values():
            if slot.may_repeat(is_repeatable=self._plan.is_repeatable or self.is_grpc):
                slot.begin()
                self._waiting.append(slot)
            else:
                slot.fail(reason)
        if self._waiting:
            self._connect()

    def _flush_soon(self) -> None:
        """Write the frames of all requests of this turn of the loop at once."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        data = self._h2.data_to_send()
        if data and self.wire is not None:
            self.wire.transport.write(data)


def _client() -> H2Connection:
    return H2Connection(H2Configuration(client_side=True, header_encoding=None))
