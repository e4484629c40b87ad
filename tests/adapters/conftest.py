"""A provider on loopback that answers as it is told."""

import asyncio

import pytest
from aiohttp import web


class Server:
    """`answer`: (status, body), or what makes one of a request; remembers the requests and their bodies."""

    def __init__(self):
        self.answer, self.delay, self.requests, self.bodies = (200, ""), 0.0, [], []

    async def respond(self, request):
        self.requests.append(request)
        self.bodies.append(await request.text())
        await asyncio.sleep(self.delay)
        status, body = self.answer(request) if callable(self.answer) else self.answer
        return web.Response(status=status, text=body)


@pytest.fixture
async def scripted():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.respond)
    # the log of a test's server is no log of ours, and nobody waits for an answer that nobody waits for
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
