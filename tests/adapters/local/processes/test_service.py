"""Tests of the built-in service: its paths and its faults."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from canarycore_local.processes.faults import Faults
from canarycore_local.processes.service import application


@pytest.fixture
async def serve():
    """A function that starts the service with faults and returns a client."""
    clients = []

    async def start_service(faults=""):
        client = TestClient(TestServer(application("v2", Faults.parse(faults))))
        clients.append(client)
        await client.start_server()
        return client

    yield start_service
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "part"),
    [
        ("GET", "/", 200, {"version": "v2", "message": "greetings from v2"}),
        ("GET", "/version", 200, {"version": "v2"}),
        ("GET", "/healthz", 200, {"status": "OK"}),
        ("GET", "/readyz", 200, {"status": "OK"}),
        ("GET", "/status/503", 503, {"status": 503}),
        ("POST", "/status/201", 201, {"status": 201}),
        ("GET", "/delay/0.01", 200, {"delay": 0.01}),
    ],
)
async def test_the_paths_answer(serve, method, path, status, part):
    client = await serve()

    response = await client.request(method, path)

    assert response.status == status
    assert part.items() <= (await response.json()).items()


async def test_headers_are_shown_and_a_token_depends_on_the_body(serve):
    client = await serve()

    headers = await (await client.get("/headers", headers={"X-Mine": "yes"})).json()
    tokens = [(await (await client.post("/token", data=body)).json())["token"] for body in ("a", "a", "b")]

    assert headers["X-Mine"] == ["yes"]
    assert tokens[0] == tokens[1] != tokens[2]


async def test_errors_have_status_500_and_spare_health_checks(serve):
    client = await serve("errors=100%")

    assert (await client.get("/")).status == 500
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).status == 200


async def test_latency_delays_an_answer(serve):
    client = await serve("latency=200ms")
    start = asyncio.get_running_loop().time()

    await client.get("/")

    assert asyncio.get_running_loop().time() - start >= 0.2


async def test_latency_is_never_added_to_health_checks(serve):
    client = await serve("latency=10m")

    async with asyncio.timeout(60):
        assert (await client.get("/readyz")).status == 200


@pytest.mark.parametrize("faults", ["start=never", "start=slow:1m"])
async def test_a_service_that_is_not_ready_is_alive(serve, faults):
    client = await serve(faults)

    assert (await client.get("/readyz")).status == 503
    assert (await client.get("/healthz")).status == 200
