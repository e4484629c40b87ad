"""Webhooks against a receiver on loopback with prepared answers."""

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from urllib.parse import unquote

import pytest
from aiohttp import web
from attrs import evolve

from canarycore import Hook, HookType, Phase, Rollout, TargetRef
from canarycore.errors import WorldError
from canarycore.manifest._lint import _checks
from canarycore.notices import Notice, NoticeKind
from canarycore.questions import HookQuestion
from canarycore_hooks import webhook
from canarycore_hooks.webhook import EventHook, WebhookClient, checksum
from canarycore_runtime.deliveries import DELIVERY_ATTEMPTS, Deliveries
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.ports import HOOK_TIMEOUT
from canarycore_runtime.testing.contracts import Call, HookContract, NotifierContract
from canarycore_runtime.testing.contracts.hooks import HANG


class Receiver:
    """A receiver that gives `answers` in order and then repeats the last one, and records its requests."""

    def __init__(self):
        self.answers = [(200, "ok")]
        self.delay = 0.0
        self.kind = "text/plain"
        self.cookie = ""
        self.calls_received = []

    async def respond(self, request):
        self.calls_received.append((dict(request.headers), await request.json()))
        await asyncio.sleep(self.delay)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Location": body} if 300 <= status < 400 and body.startswith("/") else {}
        if self.cookie:
            headers["Set-Cookie"] = self.cookie
        return web.Response(status=status, text=body, content_type=self.kind, headers=headers)

    async def listen(self, **options):
        app = web.Application()
        app.router.add_post("/", self.respond)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, **options)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return runner


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Retries follow at once."""
    for wait in ("_FIRST_WAIT", "_LONGEST_WAIT"):
        monkeypatch.setattr(webhook, wait, 0.01)


@pytest.fixture
async def receiver():
    receiver = Receiver()
    runner = await receiver.listen()
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def client():
    async with WebhookClient() as client:
        yield client


def rollout(*hooks):
    return Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True, hooks=hooks)


def question(receiver, key="rev@1.0/Progressing/weight 5#1/rollout/load", **more):
    url = f"http://127.0.0.1:{receiver.port}/"
    hook = Hook(name="load", type=HookType.ROLLOUT, url=url, metadata=(("cmd", "hey"),), **{"timeout": 20.0, **more})
    return HookQuestion(key, hook, Phase.PROGRESSING, "rev")


async def test_the_payload_is_flagger_s(client, receiver):
    await client.call(rollout(), question(receiver))

    headers, payload = receiver.calls_received[0]
    assert payload == {
        "name": "podinfo",
        "namespace": "test",
        "phase": "Progressing",
        "checksum": checksum("rev"),
        "metadata": {"cmd": "hey"},
    }
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("status", "passed"), [(200, True), (201, True), (202, True), (203, False), (403, False), (501, False)]
)
async def test_a_hook_passes_up_to_202_and_says_what_the_receiver_said(client, receiver, status, passed):
    receiver.answers = [(status, "words")]

    answer = await client.call(rollout(), question(receiver, retries=3))

    assert (answer.passed, answer.text) == (passed, "words")
    assert len(receiver.calls_received) == 1


async def test_an_answer_that_repeats_the_secrets_of_the_url_has_them_blotted_out(client, receiver):
    receiver.answers = [(403, "me:s3cret may not call /hooks/T0KEN?key=hush (bWU6czNjcmV0, hush)")]
    asked = question(receiver)
    url = f"http://me:s3cret@127.0.0.1:{receiver.port}/?key=hush"

    answer = await client.call(rollout(), evolve(asked, hook=evolve(asked.hook, url=url)))

    assert receiver.calls_received[0][0]["Authorization"] == "Basic bWU6czNjcmV0"
    assert answer.text == "me:… may not call /hooks/T0KEN?… (…, …)"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_temporary_failure_gets_another_attempt_under_the_same_key(client, receiver, status):
    receiver.answers = [(status, "later"), (status, "later"), (200, "ok")]

    answer = await client.call(rollout(), question(receiver, retries=2))

    assert answer.passed
    assert len(receiver.calls_received) == 3
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.calls_received}) == 1


async def test_the_last_attempt_s_answer_counts(client, receiver):
    receiver.answers = [(500, "first"), (500, "second"), (500, "third")]

    answer = await client.call(rollout(), question(receiver, retries=1))

    assert (answer.passed, answer.text) == (False, "second")


async def test_another_question_has_another_key(client, receiver):
    await client.call(rollout(), question(receiver, key="poll 1"))
    await client.call(rollout(), question(receiver, key="poll 2"))

    assert [headers["Idempotency-Key"] for headers, _ in receiver.calls_received] == ["poll 1", "poll 2"]


async def test_a_key_with_anything_in_it_makes_a_valid_header(client, receiver):
    answer = await client.call(rollout(), question(receiver, key="gate/ünï\r\nX-Evil: yes"))

    assert answer.passed
    assert "X-Evil" not in receiver.calls_received[0][0]


async def test_a_receiver_that_hangs_does_not_pass(client, receiver):
    receiver.delay = 2.0

    answer = await client.call(rollout(), question(receiver, timeout=0.2))

    assert (answer.passed, answer.text) == (False, "no answer within 0.2 s")


async def test_the_text_of_an_answer_is_its_first_line(client, receiver):
    receiver.answers = [(400, "smoke test 3 failed\n  at line 7\n  at line 9")]

    answer = await client.call(rollout(), question(receiver))

    assert answer.text == "smoke test 3 failed"


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "text/html"])
async def test_an_answer_is_repeated_only_where_it_is_text(client, receiver, kind):
    receiver.answers, receiver.kind = [(400, "<secret/>")], kind

    answer = await client.call(rollout(), question(receiver))

    assert answer.text == ("<secret/>" if kind == "text/html" else "status 400 Bad Request")


async def test_an_attempt_and_its_repeats_have_a_limit_whatever_the_hook_says(client, receiver, monkeypatch):
    monkeypatch.setattr(webhook, "HOOK_TIMEOUT", 0.05)
    monkeypatch.setattr(webhook, "HOOK_RETRIES", 3)
    receiver.delay = 5.0

    answer = await client.call(rollout(), question(receiver, timeout=3e7, retries=100))

    assert (answer.passed, answer.text) == (False, "no answer within 0.05 s")
    assert len(receiver.calls_received) == 4


def test_the_linter_warns_of_the_limit_that_the_client_keeps():
    assert _checks.HOOK_TIMEOUT == HOOK_TIMEOUT


async def test_a_redirect_to_another_path_is_followed_with_its_body(client, receiver):
    receiver.answers = [(308, "/"), (200, "ok")]

    answer = await client.call(rollout(), question(receiver))

    assert answer.passed
    assert receiver.calls_received[0][1] == receiver.calls_received[1][1]


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_lose_the_body_is_refused_and_not_tried_again(client, receiver, status):
    receiver.answers = [(status, "/"), (200, "ok")]

    answer = await client.call(rollout(), question(receiver, retries=3))

    assert not answer.passed
    assert "configure the final address" in answer.text
    assert len(receiver.calls_received) == 1


async def test_the_client_keeps_no_cookies(client, receiver):
    receiver.cookie = "session=1; Path=/"
    await client.call(rollout(), question(receiver))
    await client.call(rollout(), question(receiver))
    assert not any("Cookie" in headers for headers, _ in receiver.calls_received)


async def test_a_host_that_the_operator_does_not_allow_is_not_called(receiver):
    async with WebhookClient(AllowedHosts.parse("*.example.com")) as client:
        answer = await client.call(rollout(), question(receiver))
    assert not answer.passed
    assert "127.0.0.1" in answer.text
    assert "--allowed-hosts" in answer.text
    assert not receiver.calls_received


async def test_an_event_hook_at_a_forbidden_host_gets_no_event(receiver, caplog):
    async with WebhookClient(AllowedHosts.parse("*.example.com")) as client:
        await EventHook(client).publish(rollout(event_hook(receiver)), notice())
    assert "--allowed-hosts" in caplog.text
    assert not receiver.calls_received


async def test_the_operator_s_own_event_hook_needs_no_permission(receiver):
    async with WebhookClient(AllowedHosts.parse("*.example.com")) as client:
        default_receivers = f"http://127.0.0.1:{receiver.port}/"
        await EventHook(client, default_receivers=default_receivers).publish(rollout(), notice())
    assert len(receiver.calls_received) == 1


async def test_a_receiver_that_is_not_there_does_not_pass(client, receiver):
    receiver.port = 9

    answer = await client.call(rollout(), question(receiver))

    assert not answer.passed
    assert "cannot connect to 127.0.0.1:9" in answer.text


async def test_an_invalid_url_is_not_repeated(client):
    hook = Hook(name="gate", type=HookType.ROLLOUT, url="http://[secret/")

    answer = await client.call(rollout(), HookQuestion("key", hook, Phase.PROGRESSING, "rev"))

    assert not answer.passed
    assert "secret" not in answer.text


@pytest.mark.parametrize(("disable_tls", "passed"), [(False, False), (True, True)])
async def test_a_certificate_is_checked_unless_the_owner_says_otherwise(client, tmp_path, disable_tls, passed):
    receiver = Receiver()
    runner = await receiver.listen(ssl_context=_self_signed(tmp_path))
    hook = Hook(name="gate", type=HookType.ROLLOUT, url=f"https://127.0.0.1:{receiver.port}/", disable_tls=disable_tls)

    answer = await client.call(rollout(), HookQuestion("key", hook, Phase.PROGRESSING, "rev"))

    await runner.cleanup()
    assert answer.passed is passed


def _self_signed(folder):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    command = ("openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def notice(kind=NoticeKind.COPYING):
    names = (("target", "podinfo.test"), ("primary", "podinfo-primary.test"))
    return Notice(kind, "rev@1.0/Promoting/COPYING", Phase.PROMOTING, names)


def event_hook(receiver, **more):
    return Hook(name="events", type=HookType.EVENT, url=f"http://127.0.0.1:{receiver.port}/", **more)


async def test_an_event_has_its_text_type_and_time(client, receiver):
    hook = event_hook(receiver, metadata=(("env", "lab"), ("eventType", "mine")))

    await EventHook(client, clock=lambda: 12.3456).publish(rollout(hook), notice())

    headers, payload = receiver.calls_received[0]
    assert headers["Idempotency-Key"] == notice().key
    assert payload["phase"] == "Promoting"
    assert payload["checksum"] == checksum("rev")
    assert payload["metadata"] == {
        "env": "lab",
        "eventMessage": "Copying podinfo.test template spec to podinfo-primary.test",
        "eventType": "Normal",
        "timestamp": "12345",
    }


def cloud_event(headers):
    """Return the attributes of a CloudEvent, as its binary mode has them in headers."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name.removeprefix("ce-"): unquote(value) for name, value in lower.items() if name.startswith("ce-")}


async def test_an_event_is_a_cloud_event_in_the_binary_mode_with_the_same_body(client, receiver):
    hook = event_hook(receiver)
    await EventHook(client, clock=lambda: 12.3456).publish(rollout(hook), notice())
    events = EventHook(client, clock=lambda: 12.3456, event_source=lambda rollout: f"/canaries/{rollout.name}")
    await events.publish(rollout(hook), notice())

    (plain, body), (headers, same_body) = receiver.calls_received
    assert cloud_event(plain) == {}
    assert same_body == body
    assert headers["Content-Type"].startswith("application/json")
    attributes = cloud_event(headers)
    assert len(attributes.pop("id")) == 32
    assert attributes == {
        "specversion": "1.0",
        "source": "/canaries/podinfo",
        "type": "canarycore.copying",
        "time": "1970-01-01T00:00:12.345Z",
        "subject": "rev",
    }


async def test_a_repeat_of_a_cloud_event_has_its_id_and_another_event_has_another(client, receiver):
    events = EventHook(client, event_source=lambda _: "/x")
    for told in (notice(), notice(), evolve(notice(), key="rev@2.0/Promoting/COPYING")):
        await events.publish(rollout(event_hook(receiver)), told)
    first, repeat, other = (cloud_event(headers)["id"] for headers, _ in receiver.calls_received)
    assert first == repeat != other


async def test_no_attribute_of_a_cloud_event_breaks_its_header(client, receiver):
    events = EventHook(client, event_source=lambda _: '//über "blue"\r\nX-Evil: 1%')
    await events.publish(rollout(event_hook(receiver)), notice())
    headers, _ = receiver.calls_received[0]
    assert "X-Evil" not in headers
    assert headers["ce-source"] == "//%C3%BCber%20%22blue%22%0D%0AX-Evil:%201%25"


async def test_a_hook_that_is_no_event_hook_gets_no_cloud_event(client, receiver):
    await client.call(rollout(), question(receiver))
    assert cloud_event(receiver.calls_received[0][0]) == {}


async def test_an_alert_is_no_event(client, receiver):
    await EventHook(client).publish(rollout(event_hook(receiver)), notice(NoticeKind.ABORTED_ALERT))

    assert not receiver.calls_received


async def test_the_operator_s_hook_gets_events_of_rollouts_without_event_hooks(client, receiver):
    events = EventHook(client, default_receivers=f"http://127.0.0.1:{receiver.port}/")

    await events.publish(rollout(), notice())
    await events.publish(rollout(event_hook(receiver, metadata=(("own", "yes"),))), notice())

    assert [payload["metadata"].get("own") for _, payload in receiver.calls_received] == [None, "yes"]


async def test_an_undelivered_event_is_an_error(client, receiver):
    receiver.answers = [(400, "no")]

    with pytest.raises(WorldError, match="event hook events failed: no"):
        await EventHook(client).publish(rollout(event_hook(receiver)), notice())


async def test_a_further_attempt_at_an_event_skips_the_hook_that_has_taken_it(client, receiver):
    receiver.answers = [(400, "no"), (200, "ok"), (200, "ok")]
    hooks = [event_hook(receiver, metadata=(("to", name),)) for name in ("one", "two")]
    events, deliveries = EventHook(client), Deliveries()

    with pytest.raises(WorldError):
        await events.broadcast(rollout(*hooks), notice(), deliveries)
    await events.broadcast(rollout(*hooks), notice(), deliveries)

    first, second, again = [payload["metadata"]["to"] for _, payload in receiver.calls_received]
    assert {first, second} == {"one", "two"}
    assert again == first, "the first was refused"


async def test_a_hook_that_keeps_failing_loses_the_event_after_the_last_attempt(client, receiver, caplog):
    receiver.answers = [(400, "no")]
    events, deliveries = EventHook(client), Deliveries()
    for _ in range(DELIVERY_ATTEMPTS - 1):
        with pytest.raises(WorldError):
            await events.broadcast(rollout(event_hook(receiver)), notice(), deliveries)

    await events.broadcast(rollout(event_hook(receiver)), notice(), deliveries)

    assert len(receiver.calls_received) == DELIVERY_ATTEMPTS
    assert "event hook events gets no further attempt" in caplog.text


class HookBench:
    """The contract's receiver, with a client that calls it."""

    def __init__(self, client, receiver):
        self.adapter, self.receiver = client, receiver
        self.url = f"http://127.0.0.1:{receiver.port}/"

    async def will_answer(self, *statuses, body=""):
        self.receiver.delay = 1.0 if HANG in statuses else 0.0
        self.receiver.answers = [(status or 200, body) for status in statuses]

    async def calls(self):
        return tuple(
            Call(headers["Idempotency-Key"], payload["name"], payload["namespace"], payload["phase"])
            for headers, payload in self.receiver.calls_received
        )


class TestTheHookContract(HookContract):
    @pytest.fixture
    async def bench(self, client, receiver):
        return HookBench(client, receiver)


class NotifierBench:
    """The contract's receiver of events."""

    def __init__(self, client, receiver):
        self.client, self.receiver = client, receiver
        self.secret = f"127.0.0.1:{receiver.port}"
        self.adapter = EventHook(client, default_receivers=f"http://{self.secret}/")

    async def refuse(self, *, refuse):
        self.receiver.answers = [(500, "no")] if refuse else [(200, "ok")]

    async def delivered_texts(self):
        return tuple(p["metadata"]["eventMessage"] for _, p in self.receiver.calls_received)

    @asynccontextmanager
    async def adapter_at(self, url):
        adapter = EventHook(self.client, default_receivers=url)
        adapter._default_hooks = (evolve(adapter._default_hooks[0], timeout=0.2),)
        yield adapter


class TestTheNotifierContract(NotifierContract):
    @pytest.fixture
    async def bench(self, client, receiver):
        return NotifierBench(client, receiver)
