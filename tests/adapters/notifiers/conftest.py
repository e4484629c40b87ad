"""A chat room on loopback with prepared answers that records its requests."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest
from aiohttp import web

from canarycore_notifiers import chat

SECRET = "s3cret-of-the-hook"
TOKEN = "t0ken-of-the-bot"


class Room:
    """Answers with `answers` in turn, the last one for ever."""

    def __init__(self):
        self.answers = [(200, "ok")]
        self.delay = 0.0
        self.requests, self.hosts = [], []

    async def respond(self, request):
        payload = await request.json() if request.method == "POST" else None
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization"), payload))
        self.hosts.append(request.host)
        await asyncio.sleep(self.delay)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, text=body, headers=headers)

    @property
    def payloads(self):
        return [payload for *_, payload in self.requests]

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"


@pytest.fixture
async def room():
    room = Room()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", room.respond)
    # no access log, and no wait for abandoned requests at the end
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    room.port = runner.addresses[0][1]
    yield room
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Retries follow at once."""
    for wait in ("_FIRST_WAIT", "_LONGEST_WAIT"):
        monkeypatch.setattr(chat, wait, 0.001)


def self_signed(folder):
    """Return a server's TLS context with an untrusted certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    command = ("openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
