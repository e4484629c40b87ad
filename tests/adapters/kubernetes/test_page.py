"""The web page of a cluster's Canaries: its views, and whose rights a command uses."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest

from canarycore import CommandKind
from canarycore.errors import WorldError
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.page import ClusterPageSource, ClusterViewer, TokenDoor, find_earlier_weights
from canarycore_kubernetes.resources.canaries import COMMAND, Canaries
from canarycore_runtime.mesh import Kind
from canarycore_runtime.page.server import SignInRefused
from canarycore_runtime.page.views import EventView, WeightPoint
from tests.adapters.page.browser import Browser
from tests.cluster.controller.test_controller import canary, target
from tests.controlplane.in_memory.objects import Refusal

REVIEW = Kind(group="authentication.k8s.io", version="v1", kind="SelfSubjectReview", plural="selfsubjectreviews",
              namespaced=False)  # fmt: skip
FAILED = {
    "phase": "Failed",
    "canaryWeight": 0,
    "failedChecks": 3,
    "iterations": 0,
    "lastAppliedSpec": "abc",
    "conditions": [{"type": "Ready", "status": "False", "reason": "FailedChecks", "message": "<b>latency</b>"}],
}


@pytest.fixture
async def source(cluster):
    canaries = Canaries(cluster, provider="kubernetes")
    await canaries.keys()
    return ClusterPageSource(cluster, canaries)


def event(namespace, text, *, number=1):
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"podinfo.{number}", "namespace": namespace},
        "involvedObject": {"kind": "Canary", "name": "podinfo", "namespace": namespace},
        "type": "Warning",
        "message": text,
        "lastTimestamp": "2026-09-21T13:32:50Z",
        "count": 2,
    }


async def in_phase(source, phase):
    return [row for row in await source.read_rows() if row.phase == phase]


async def eventually(read, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not (result := await read()):  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.05)
    return result


async def test_the_page_shows_rows_conditions_and_events(source, api, namespace):
    api.create(target(namespace), namespace)
    api.create(canary(namespace), namespace)
    api.patch(f"{CANARY.path(namespace, 'podinfo')}/status", {"status": FAILED})
    api.create(event(namespace, "first"), namespace)
    api.create(event(namespace, "second", number=2), namespace)
    (row,) = await eventually(lambda: in_phase(source, "Failed"))
    assert row.key == f"{namespace}/podinfo"
    details = await source.read_details(row.key, None)
    assert [shown.text for shown in details.events] == ["second", "first"]
    assert (details.events[0].count, details.events[0].is_warning) == (2, True)
    assert [shown.message for shown in details.conditions] == ["<b>latency</b>"]
    assert dict(details.facts)["Target"] == "Deployment podinfo"
    assert await source.read_details(f"{namespace}/missing", None) is None


async def test_an_invalid_canary_shows_its_problems(source, api, namespace):
    body = canary(namespace)
    body["spec"]["analysis"]["interval"] = "often"
    api.create(body, namespace)
    (row,) = await eventually(source.read_rows)
    assert row.phase == "Cannot be used"
    assert "interval" in row.trouble
    assert (await source.read_details(row.key, None)).commands == ()


async def test_events_that_may_not_be_read_are_named(source, server, api, namespace):
    api.create(canary(namespace), namespace)
    await eventually(source.read_rows)
    server.refuse = lambda _, plural, *__: (
        Refusal(403, "Forbidden", "no events for you") if plural == "events" else None
    )
    details = await source.read_details(f"{namespace}/podinfo", None)
    assert details.events_note == (
        "The events cannot be read: no events for you. Sign in to read them with your own rights."
    )


async def test_a_token_is_asked_for_its_name_and_refused_if_the_server_refuses_it(client, server):
    server.kinds = (*server.kinds, REVIEW)
    server.refuse = lambda *_: Refusal(401, "Unauthorized", "Unauthorized") if server.tokens[-1] == "stale" else None
    async with client.without_credentials() as bare:
        door = TokenDoor(bare)
        with pytest.raises(SignInRefused, match="does not accept this token"):
            await door.admit("stale")
        for secret in ("", "two words", "line\nend", "x" * 20_000, "ü"):
            with pytest.raises(SignInRefused, match="not a bearer token"):
                await door.admit(secret)


async def test_a_client_without_credentials_sends_none(client, server, namespace):
    async with client.without_credentials() as bare:
        await bare.get(CANARY, namespace, "podinfo")
        assert server.tokens[-1] == ""
        await bare.with_token("jane").get(CANARY, namespace, "podinfo")
        assert server.tokens[-1] == "jane"
    await client.get(CANARY, namespace, "podinfo")
    assert server.tokens[-1] == "anybody"


async def test_a_command_is_the_viewers_own_write(client, server, api, namespace):
    api.create(canary(namespace), namespace)
    async with client.without_credentials() as bare:
        viewer = ClusterViewer(bare.with_token("jane"), "jane")
        await viewer.send_command(f"{namespace}/podinfo", CommandKind.PROMOTE)
        assert server.tokens[-1] == "jane"
        body = await client.get(CANARY, namespace, "podinfo")
        assert body["metadata"]["annotations"][COMMAND].startswith("promote ")
        server.refuse = lambda verb, *_: Refusal(403, "Forbidden", "jane may not") if verb == "patch" else None
        with pytest.raises(WorldError, match="jane may not"):
            await viewer.send_command(f"{namespace}/podinfo", CommandKind.ABORT)


@asynccontextmanager
async def controlled(client, namespace):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = Options(namespace=namespace, listen="127.0.0.1", port=0, page_port=port, mesh_provider="kubernetes")
    listening = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_controller(client, options, version="0", listening=lambda _: listening.set()))
        await listening.wait()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            browser = Browser(session, port)
            await eventually(lambda: answers(browser))
            yield browser
        running.cancel()


async def answers(browser):
    try:
        return (await browser.get("/"))[0].status == 200
    except aiohttp.ClientConnectorError:
        return False


async def test_the_controller_serves_the_page_and_sends_commands_with_the_viewers_token(client, server, api, namespace):
    api.create(target(namespace), namespace)
    api.create(canary(namespace), namespace)
    path = f"/canary/{namespace}/podinfo"
    users = []

    def refuse(verb, plural, _, body):
        if COMMAND in ((body.get("metadata") or {}).get("annotations") or {}):
            users.append(server.tokens[-1])
            return Refusal(403, "Forbidden", "mallory may not") if server.tokens[-1] == "mallory" else None
        return None

    server.refuse = refuse
    async with controlled(client, namespace) as browser:
        _, text = await browser.get("/")
        assert f"{namespace}/podinfo" in text
        answer, _ = await browser.post(f"{path}/command", {"command": "promote"})
        assert (answer.status, users) == (403, [])

        await browser.sign_in("mallory")
        answer, text = await browser.post(f"{path}/command", {"command": "promote"})
        assert (answer.status, users) == (403, ["mallory"])
        assert "mallory may not" in text

        await browser.sign_in("jane")
        answer, _ = await browser.post(f"{path}/command", {"command": "promote"})
        assert (answer.status, users) == (303, ["mallory", "jane"])


def test_the_events_tell_the_weights_before_the_page_began():
    texts = (
        ("2026-09-21T13:32:50Z", "Advance podinfo.shop canary weight 20"),
        ("2026-09-21T13:31:50Z", "Advance podinfo.shop canary weight 10"),
        ("2026-09-21T13:30:50+00:00", "Starting canary analysis for podinfo.shop"),
        ("never", "Advance podinfo.shop canary weight 30"),
        ("2026-09-21T13:29:50Z", "Advance podinfo.shop canary weight 9999"),
        ("2026-09-21T13:29:50Z", "another text"),
    )
    events = [EventView(at=at, text=text) for at, text in texts]
    start = datetime(2026, 9, 21, 13, 30, 50, tzinfo=UTC).timestamp()
    assert find_earlier_weights(events, ())[1:] == [
        WeightPoint(start, 0), WeightPoint(start + 60, 10), WeightPoint(start + 120, 20),
    ]  # fmt: skip
    assert find_earlier_weights(events, [WeightPoint(start + 30, 5)])[1:] == [WeightPoint(start, 0)]


async def test_viewers_share_no_events(source, server, api, namespace, client):
    api.create(canary(namespace), namespace)
    api.create(event(namespace, "first"), namespace)
    await eventually(source.read_rows)
    server.refuse = lambda _, plural, *__: (
        Refusal(403, "Forbidden", "not for bob") if plural == "events" and server.tokens[-1] == "bob" else None
    )
    async with client.without_credentials() as bare:
        for name, count in (("jane", 1), ("bob", 0), ("jane", 1)):
            details = await source.read_details(f"{namespace}/podinfo", ClusterViewer(bare.with_token(name), name))
            assert len(details.events) == count
