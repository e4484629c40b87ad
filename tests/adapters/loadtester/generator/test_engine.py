"""The schedule: requests go out when they are due, and latencies count from then."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from canarycore_loadtester.generator.engine import TIMED_OUT, run_load
from canarycore_loadtester.generator.latencies import Latencies
from canarycore_loadtester.generator.plan import LoadPlan, Target
from canarycore_loadtester.generator.report import render
from tests.adapters.loadtester.conftest import Service
from tests.adapters.runtime.raw_http_server import raw_server


def plan(address: str, **changes) -> LoadPlan:
    settings = {"connections": 4, "duration": 1.0, "rate": 50.0, **changes}
    return LoadPlan(target=Target.parse(f"{address}/path?q=1"), **settings)


async def test_a_load_has_the_rate_of_its_schedule(service: Service):
    result = await run_load(plan(service.address, duration=None, requests=50))
    assert result.outcomes == {"200": 50}
    assert result.answers == len(service.requests) == 50
    assert result.rate <= 50.1
    assert result.failed == result.unsent == 0
    gaps = [after - before for before, after in pairwise(service.times)]
    assert sum(gaps) > 0.9


async def test_a_slow_server_does_not_slow_the_schedule_down(service: Service):
    service.delay = 0.3
    result = await run_load(plan(service.address, connections=50))
    assert result.answers == 50
    assert result.latencies.least > 0.3
    assert result.seconds < 50 * service.delay / 2, "one after another they would take 15 s"


async def test_a_request_that_waits_for_a_connection_counts_its_wait(service: Service):
    """One connection and answers of 0.1 s: ten requests a second leave, fifty are due."""
    service.delay = 0.1
    result = await run_load(plan(service.address, connections=1))
    assert 1 <= result.answers <= 12
    assert result.answers + result.unsent == 50
    assert result.latencies.count == 50
    assert result.latencies.quantile(0.5) > 0.3
    assert "Never sent:" in render(plan(service.address), result)


async def test_a_stall_delays_every_request_that_is_due_meanwhile(service: Service):
    asyncio.get_running_loop().call_later(0.3, setattr, service, "stall", 0.5)
    result = await run_load(plan(service.address, connections=1, duration=1.5))
    assert result.latencies.most > 0.45
    late = sum(result.latencies.quantile(step / 100) > 0.1 for step in range(100))
    assert late > 20  # a closed loop would count one late request of 75


async def test_without_a_rate_an_answer_is_followed_by_the_next_request(service: Service):
    service.delay = 0.05
    result = await run_load(plan(service.address, rate=None))
    assert 4 < result.answers <= 84
    assert 0.05 < result.latencies.quantile(0.5) < 0.5


async def test_a_number_of_requests_ends_a_load(service: Service):
    result = await run_load(plan(service.address, rate=None, duration=None, requests=30))
    assert result.outcomes == {"200": 30}


async def test_a_request_has_its_method_path_headers_and_body(service: Service):
    headers = (("X-Canary", "insider"), ("Host", "podinfo.test"))
    await run_load(plan(service.address, method="POST", headers=headers, body=b"{test: 2}", requests=1, rate=None))
    (request,) = service.requests
    assert (request.method, request.path_qs) == ("POST", "/path?q=1")
    assert (request.headers["X-Canary"], request.headers["Host"]) == ("insider", "podinfo.test")
    assert service.bodies == [b"{test: 2}"]


@pytest.mark.parametrize(("keeps", "connections"), [(True, 1), (False, 10)])
async def test_connections_are_kept_unless_the_plan_closes_them(service: Service, keeps: bool, connections: int):
    await run_load(plan(service.address, connections=1, rate=None, duration=None, requests=10, keep_alive=keeps))
    assert len(service.connections) == connections


async def test_statuses_of_the_server_are_failures(service: Service):
    service.status = 500
    result = await run_load(plan(service.address, rate=None, requests=5, duration=None))
    assert (result.outcomes, result.failed, result.answers) == ({"500": 5}, 5, 5)
    assert "[500]\t5 responses" in render(plan(service.address), result)


async def test_a_request_without_an_answer_times_out(service: Service):
    service.delay = 60
    result = await run_load(plan(service.address, connections=2, rate=None, requests=2, duration=None, timeout=0.2))
    assert (result.outcomes, result.failed, result.answers) == ({TIMED_OUT: 2}, 2, 0)
    assert result.seconds < 2


async def test_a_dead_server_costs_errors_and_little_cpu():
    result = await run_load(plan("http://127.0.0.1:1", connections=2, rate=None, duration=0.5))
    assert result.outcomes.keys() == {"connection refused"}
    assert 2 <= result.failed <= 24  # each slot rests after an error


async def test_a_host_that_is_no_name_is_an_error():
    result = await run_load(plan(f"http://{'a' * 70}.test", rate=None, duration=None, requests=2))
    assert (result.failed, result.answers) == (2, 0)
    assert result.seconds < 10


async def test_a_server_may_close_an_idle_connection():
    """The request that meets the end of a connection is sent again on a new one."""

    async def closing(_):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async with raw_server(closing) as server:
        result = await run_load(plan(server.address, connections=1, rate=20.0, duration=None, requests=20))
    assert result.outcomes == {"200": 20}


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 20"])
async def test_an_answer_of_another_protocol_is_an_error(raw: bytes):
    async def other(_):
        yield raw

    async with raw_server(other) as server:
        result = await run_load(plan(server.address, connections=1, requests=3, duration=None, rate=None))
    assert (result.failed, result.answers) == (3, 0)


async def test_a_cancelled_load_closes_its_connections(service: Service):
    service.delay = 60
    load = asyncio.create_task(run_load(plan(service.address)))
    await asyncio.sleep(0.2)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    await asyncio.sleep(0.1)
    assert all(transport.is_closing() for transport in service.connections)


def test_a_histogram_is_exact_to_one_percent():
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(number / 1000)
    for fraction in (0.1, 0.5, 0.9, 0.99, 1.0):
        assert latencies.quantile(fraction) == pytest.approx(fraction, rel=0.01)
    assert (latencies.count, latencies.least, latencies.most) == (1000, 0.001, 1.0)
    assert latencies.mean == pytest.approx(0.5005)


def test_a_histogram_without_latencies_has_zeros():
    assert (Latencies().quantile(0.5), Latencies().mean) == (0.0, 0.0)
