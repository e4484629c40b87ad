"""Receivers that hang take nothing that a receiver of another namespace needs."""

import asyncio
import socket
import threading

import pytest
from aiohttp import web
from attrs import evolve

from canarycore import Hook, HookType, Phase, Rollout, TargetRef
from canarycore.notices import Channel, Notice, NoticeKind
from canarycore.questions import HookQuestion
from canarycore_hooks.webhook import LOOKUPS, EventHook, WebhookClient
from canarycore_runtime import Limits, Runner
from canarycore_runtime.testing import SimulatedClusters
from tests.adapters.runtime.simulated_rollouts import Deploy, rollout

HANGING = 200
GOOD = "/good"
"""The only path that is answered."""


class Receiver:
    """A receiver that answers the path GOOD only, and counts the requests that hang."""

    def __init__(self):
        self.hanging, self.answered = 0, 0
        self.changed = asyncio.Event()

    async def respond(self, request):
        if request.path == GOOD:
            self.answered += 1
            return web.Response(text="ok")
        self.hanging += 1
        self.changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.hanging -= 1

    async def has_hanging(self, count):
        """Wait until so many requests hang."""
        async with asyncio.timeout(60):
            while self.hanging < count:
                self.changed.clear()
                await self.changed.wait()

    def url(self, path):
        return f"{self.origin}{path}"


@pytest.fixture
async def listen():
    runners = []

    async def start():
        receiver, app = Receiver(), web.Application()
        app.router.add_post("/{path:.*}", receiver.respond)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        receiver.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
        return receiver

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def client():
    async with WebhookClient() as client:
        yield client


async def call(client, namespace, url):
    owner = Rollout(name="podinfo", namespace=namespace, target=TargetRef(name="podinfo"), skip_analysis=True)
    hook = Hook(name="hook", type=HookType.ROLLOUT, url=url, timeout=600.0)
    return await client.call(owner, HookQuestion("key", hook, Phase.PROGRESSING, "revision"))


async def until(holds):
    while not holds():  # noqa: ASYNC110 - nobody tells it
        await asyncio.sleep(0.02)


async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("where", ["the same server", "another server"])
async def test_a_hook_is_answered_while_200_hooks_of_another_namespace_hang(client, listen, where):
    slow = await listen()
    good = slow if where == "the same server" else await listen()
    tasks = [asyncio.create_task(call(client, "evil", slow.url("/hang"))) for _ in range(HANGING)]
    await slow.has_hanging(HANGING)

    answer = await call(client, "good", good.url(GOOD))

    assert answer.passed
    assert slow.hanging == HANGING
    assert not any(task.done() for task in tasks)
    await end(tasks)


async def test_an_event_arrives_while_200_event_hooks_of_another_namespace_hang(client, listen):
    receiver = await listen()
    told = Notice(
        NoticeKind.NEW_REVISION, "key", Phase.PROGRESSING, (("target", "podinfo"), ("primary", "podinfo-primary"))
    )
    assert told.channel is Channel.EVENT

    def owner(namespace, path):
        hook = Hook(name="event", type=HookType.EVENT, url=receiver.url(path), timeout=600.0)
        target = TargetRef(name="podinfo")
        return Rollout(name="podinfo", namespace=namespace, target=target, skip_analysis=True, hooks=(hook,))

    events = EventHook(client)
    tasks = [
        asyncio.create_task(events.publish(owner("evil", "/hang"), evolve(told, key=str(number))))
        for number in range(HANGING)
    ]
    await receiver.has_hanging(HANGING)

    await events.publish(owner("good", GOOD), told)

    assert receiver.hanging == HANGING
    await end(tasks)


async def test_a_rollout_ends_while_the_hooks_of_300_rollouts_of_another_namespace_hang(client, listen):
    """All of it through the runner, whose lanes let some of the hooks through."""
    receiver = await listen()
    evil = Hook(name="evil", type=HookType.PRE_ROLLOUT, url=receiver.url("/hang"), timeout=600.0)
    good = evolve(evil, name="good", url=receiver.url(GOOD))
    hostile = [rollout(f"app-{number}", namespace="evil", hooks=(evil,), interval=0.2) for number in range(300)]
    honest = [rollout(f"app-{number}", namespace="good", hooks=(good,), interval=0.2) for number in range(5)]
    clusters = SimulatedClusters([*hostile, *honest], do=[Deploy("v1")])
    limits = Limits(resync=0.5)
    async with Runner(evolve(clusters.parts(), hooks=client), limits):
        async with asyncio.timeout(120):
            await until(lambda: _are(clusters, clusters.keys, Phase.INITIALIZED))
            for key in clusters.keys:
                clusters.do(key, Deploy("v2"))
            await receiver.has_hanging(limits.lane)
            await until(lambda: _are(clusters, [f"good/{one.name}" for one in honest], Phase.SUCCEEDED))
        assert receiver.hanging == limits.lane
        troubled = {clusters.state(f"evil/{one.name}").status.failed_checks for one in hostile}
    assert troubled == {0}


def _are(clusters, keys, phase):
    return all(clusters.state(key).status.phase is phase for key in keys)


async def test_a_hook_is_answered_while_all_names_of_another_namespace_are_looked_up(client, listen, monkeypatch):
    """A name server that hangs is played: everything else looks names up as ever."""
    receiver, release, looked_up = await listen(), threading.Event(), []
    really = socket.getaddrinfo

    def look_up(host, *given, **options):
        if host.endswith(".hang.test"):
            looked_up.append(host)
            release.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return really(host, *given, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    tasks = [asyncio.create_task(call(client, "evil", f"http://{n}.hang.test/")) for n in range(LOOKUPS)]
    async with asyncio.timeout(60):
        await until(lambda: len(looked_up) == LOOKUPS)

    url = receiver.url(GOOD).replace("127.0.0.1", "localhost")
    answer = await call(client, "good", url)

    assert answer.passed
    assert not any(task.done() for task in tasks)
    release.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.passed for answer in answers} == {False}


async def test_sessions_of_receivers_without_calls_are_closed(client, listen, monkeypatch):
    receivers = [await listen() for _ in range(3)]
    monkeypatch.setattr(client._sessions, "_spare", 2)
    for receiver in receivers:
        await call(client, "one", receiver.url(GOOD))
        await call(client, "two", receiver.url(GOOD))
    assert len(client._sessions) == 4


async def test_names_that_hang_take_a_bounded_number_of_threads_however_many_hooks_give_up(client, monkeypatch):
    has_ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: has_ended.wait(60))
    owner = Rollout(name="podinfo", namespace="hostile", target=TargetRef(name="podinfo"), skip_analysis=True)
    before = threading.active_count()

    async def call_once(number):
        hook = Hook(name="hook", type=HookType.ROLLOUT, url=f"http://h{number}.example/", timeout=0.5)
        return await client.call(owner, HookQuestion("key", hook, Phase.PROGRESSING, "revision"))

    try:
        answers = await asyncio.gather(*(call_once(number) for number in range(2 * LOOKUPS)))
        threads = threading.active_count() - before
    finally:
        has_ended.set()
    assert not any(answer.passed for answer in answers)
    assert threads <= LOOKUPS
