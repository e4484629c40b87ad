"""Tests of the generator: it keeps its rate for any service, and counts all requests."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from canarycore_local.requests.generator import UNANSWERED, Responder, Tally, TrafficPlan, open_generator


class Service:
    """A service with a delay, a status and headers."""

    def __init__(self):
        self.delay, self.status, self.headers, self.requests = 0.0, 200, {}, []

    async def respond(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def service():
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.respond)
    server = TestServer(app)
    await server.start_server()
    service.url = str(server.make_url("")).rstrip("/")
    yield service
    await server.close()


async def send(service, requests, **traffic):
    """Send at least that many requests at a high rate, and return the generator after the last answer."""
    async with open_generator(service.url, TrafficPlan(**{"rate": 500.0, **traffic})) as generator:
        generator.start()
        while len(service.requests) < requests:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
    return generator


async def test_the_generator_sends_nothing_before_its_start(service):
    async with open_generator(service.url, TrafficPlan(rate=1000)) as generator:
        await asyncio.sleep(0.05)
        assert not generator.running

    assert not service.requests


async def test_every_request_counts_once_for_its_responder(service):
    service.headers = {"x-canary-version": "canary", "x-canary-revision": "abc"}

    generator = await send(service, 20)

    assert generator.total.requests == len(service.requests)
    assert set(generator.total.tallies) == {Responder(side="canary", revision="abc")}
    assert generator.total.bad == 0


@pytest.mark.parametrize(("status", "bad"), [(200, False), (404, False), (500, True), (503, True)])
async def test_a_status_of_500_and_above_is_bad(service, status, bad):
    service.status = status

    generator = await send(service, 5)

    assert generator.total.bad == (generator.total.requests if bad else 0)


async def test_a_service_that_stalls_gets_as_many_requests_as_one_that_does_not(service):
    """The loop is open: a closed one would wait for answers and send almost nothing."""
    service.delay = 1.0

    generator = await send(service, 50, rate=500)

    assert generator.total.requests >= 50
    assert generator.total.side(UNANSWERED).quantile(0.5) >= 0.95


async def test_requests_beyond_the_most_in_flight_are_bad(service):
    service.delay = 0.5
    async with open_generator(service.url, TrafficPlan(rate=500, most_in_flight=5)) as generator:
        generator.start()
        while generator.total.requests < 20:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)

    assert len(service.requests) == 5
    assert generator.total.bad == generator.total.requests - 5


async def test_a_timeout_and_a_refused_connection_are_bad(service):
    service.delay = 1.0
    late = await send(service, 3, timeout=0.05)
    service.url, service.requests = "http://127.0.0.1:9", [None] * 3
    refused = await send(service, 3)

    assert late.total.bad == late.total.requests > 0
    assert refused.total.bad == refused.total.requests


async def test_a_request_belongs_to_the_window_of_its_start(service):
    service.delay = 0.2
    async with open_generator(service.url, TrafficPlan(rate=500)) as generator:
        generator.start()
        while len(service.requests) < 10:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)
        before = len(service.requests)
        generator.open_window("next")
        while len(service.requests) < before + 10:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    first, second = generator.windows
    assert first.requests >= before, "no request was answered before the second window"
    assert second.requests > 0
    assert first.requests + second.requests == generator.total.requests


async def test_a_share_of_requests_carries_the_matching_headers(service):
    await send(service, 200, share=30.0, matching={"X-Canary": "insider"}, matching_path="/beta", seed=3)

    matching = [request for request in service.requests if request.headers.get("X-Canary") == "insider"]
    assert {request.path for request in matching} == {"/beta"}
    assert 0.15 < len(matching) / len(service.requests) < 0.45


async def test_requests_carry_no_cookies_from_earlier_ones(service):
    service.headers = {"Set-Cookie": "who=me"}

    await send(service, 10)

    assert not any("Cookie" in request.headers for request in service.requests)


@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_a_quantile_is_within_five_percent(fraction):
    tally = Tally()
    for number in range(1, 1001):
        tally.count(bad=False, latency=number / 1000)

    assert tally.quantile(fraction) == pytest.approx(fraction, rel=0.05)


def test_a_tally_without_answers_has_no_quantile_and_no_rate():
    assert Tally().quantile(0.99) is None
    assert Tally().success_rate is None
