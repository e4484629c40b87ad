"""HTTP/2 and gRPC, against a server that speaks the protocol by the library h2."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from canarycore_loadtester.generator.engine import run_load
from canarycore_loadtester.generator.plan import LoadPlan, Protocol, Target


class Http2Service:
    """The behaviour of a server, and the requests that it had."""

    def __init__(self) -> None:
        self.is_grpc, self.grpc_status = False, "0"
        self.delay = 0.0
        self.last_after = 10**9
        """The number of answers after which a connection ends with GOAWAY."""
        self.most_streams = 100
        self.window = 65535
        self.port = 0
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.most_open = 0


class Http2Server(asyncio.Protocol):
    """A connection of the server."""

    def __init__(self, service: Http2Service) -> None:
        self.service, self.answers, self.open = service, 0, 0
        self.body: dict[int, bytes] = {}

    def connection_made(self, transport):
        self.transport = transport
        self.service.connections += 1
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: self.service.most_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: self.service.window,
        }
        self.h2.update_settings(settings)
        self.flush()

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.open += 1
                self.service.most_open = max(self.service.most_open, self.open)
                self.service.headers.append(dict(event.headers))
            elif isinstance(event, DataReceived):
                self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.service.bodies.append(self.body.pop(event.stream_id, b""))
                asyncio.get_running_loop().call_later(self.service.delay, self.answer, event.stream_id)
        self.flush()

    def answer(self, stream):
        if self.answers >= self.service.last_after or self.transport.is_closing():
            return
        self.answers += 1
        self.open -= 1
        if self.service.is_grpc:
            self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            self.h2.send_data(stream, b"\0\0\0\0\2\x08\x01")
            self.h2.send_headers(stream, [("grpc-status", self.service.grpc_status)], end_stream=True)
        else:
            self.h2.send_headers(stream, [(":status", "200")])
            self.h2.send_data(stream, b"hello", end_stream=True)
        if self.answers >= self.service.last_after:
            self.h2.close_connection()
            self.flush()
            self.transport.close()
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())


@asynccontextmanager
async def serving(service: Http2Service, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http2Server(service), "127.0.0.1", 0, ssl=tls)
    service.port = server.sockets[0].getsockname()[1]
    yield
    server.close()


@pytest.fixture
async def service() -> AsyncIterator[Http2Service]:
    service = Http2Service()
    async with serving(service):
        yield service


def plan(service: Http2Service, scheme: str = "http", **changes) -> LoadPlan:
    target = Target.parse(f"{scheme}://127.0.0.1:{service.port}/path")
    return LoadPlan(target=target, **{"protocol": Protocol.HTTP2, "connections": 5, "duration": 1.0, **changes})


async def test_a_load_shares_one_connection(service: Http2Service):
    result = await run_load(plan(service, rate=100.0, duration=None, requests=100, headers=(("X-Canary", "insider"),)))
    assert (result.outcomes, result.failed) == ({"200": 100}, 0)
    assert service.connections == 1
    assert service.headers[0].items() >= {":path": "/path", ":method": "GET", "x-canary": "insider"}.items()


async def test_requests_are_in_flight_together(service: Http2Service):
    service.delay = 0.2
    result = await run_load(plan(service, rate=20.0, duration=None, requests=20))
    assert result.answers == 20
    assert service.most_open >= 3
    assert 0.2 < result.latencies.quantile(0.5) < 0.6


async def test_the_limit_of_the_server_holds(service: Http2Service):
    service.delay, service.most_streams = 0.05, 2
    result = await run_load(plan(service, requests=20, duration=None))
    assert result.outcomes == {"200": 20}
    assert service.most_open <= 2


async def test_a_connection_that_the_server_ends_loses_no_request(service: Http2Service):
    service.last_after = 10
    result = await run_load(plan(service, requests=50, duration=None, connections=3))
    assert result.outcomes == {"200": 50}
    assert service.connections >= 5


async def test_a_body_waits_for_the_window(service: Http2Service):
    service.window = 100
    body = b"x" * 1000
    result = await run_load(plan(service, requests=3, duration=None, method="POST", body=body))
    assert result.outcomes == {"200": 3}
    assert service.bodies == [body] * 3


async def test_a_request_without_an_answer_times_out(service: Http2Service):
    service.delay = 60
    result = await run_load(plan(service, requests=3, duration=None, timeout=0.2))
    assert result.outcomes == {"timeout": 3}


@pytest.mark.parametrize(("status", "failed"), [("0", 0), ("14", 20)])
async def test_a_call_of_grpc_has_its_own_status(service: Http2Service, status: str, failed: int):
    service.is_grpc, service.grpc_status = True, status
    call = plan(service, protocol=Protocol.GRPC, method="POST", body=b"\0\0\0\0\0", duration=None, requests=20)
    result = await run_load(call)
    assert (result.outcomes, result.failed) == ({f"grpc {status}": 20}, failed)
    assert service.headers[0].items() >= {"te": "trailers", "content-type": "application/grpc"}.items()
    assert service.bodies[0] == b"\0\0\0\0\0"


async def test_a_dead_server_is_an_error():
    dead = Http2Service()
    dead.port = 1
    result = await run_load(plan(dead, requests=4, duration=None))
    assert result.outcomes == {"connection refused": 4}


async def test_a_server_of_another_protocol_is_an_error():
    async def other(_, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    service = Http2Service()
    service.port = server.sockets[0].getsockname()[1]
    result = await run_load(plan(service, requests=4, duration=None, timeout=2.0))
    server.close()
    assert (result.answers, result.failed) == (0, 4)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = ("openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["h2"])
    return tls


async def test_tls_carries_http2(tls: ssl.SSLContext):
    service = Http2Service()
    async with serving(service, tls):
        result = await run_load(plan(service, "https", requests=10, duration=None))
        assert result.outcomes == {"200": 10}
        strict = await run_load(plan(service, "https", requests=2, duration=None, is_verified=True))
    assert strict.outcomes == {"SSLCertVerificationError": 2}
