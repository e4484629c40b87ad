"""Queries that hang take nothing that another query to the same server needs."""

import asyncio

import pytest
from aiohttp import web

from canarycore_metrics.prometheus import PrometheusSource

HANGING = 200
ANSWER = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]}}


class Server:
    """Answers the query `good`, and leaves all others waiting."""

    def __init__(self):
        self.hanging = 0

    async def respond(self, request):
        if request.query.get("query") == "good":
            return web.json_response(ANSWER)
        self.hanging += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.hanging -= 1


@pytest.fixture
async def server():
    server, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.respond)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_a_query_is_answered_while_200_queries_to_the_same_server_hang(server):
    async with PrometheusSource(server.address, timeout=600.0) as source:
        tasks = [asyncio.create_task(source.value("slow")) for _ in range(HANGING)]
        async with asyncio.timeout(60):
            while server.hanging < HANGING:  # noqa: ASYNC110 - nobody tells it
                await asyncio.sleep(0.02)

        answer = await source.value("good")

        assert answer.value == 1.0
        assert server.hanging == HANGING
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
