"""Chats against a room on loopback: alerts, further attempts and refusals."""

import pytest
from aiohttp import web
from yarl import URL

from canarycore import Phase, Rollout, TargetRef
from canarycore.errors import Refused, WorldError
from canarycore.notices import Channel, Notice, NoticeKind
from canarycore_notifiers.chat import CHAT_ATTEMPTS
from canarycore_notifiers.gchat import GoogleChatNotifier
from canarycore_notifiers.msteams import CARD_TYPE, TeamsNotifier, TeamsWorkflowNotifier
from canarycore_notifiers.slack import DiscordNotifier, RocketNotifier, SlackNotifier
from canarycore_runtime.ports import AlertContent
from canarycore_runtime.testing.contracts import NotifierContract
from tests.adapters.notifiers.conftest import SECRET, TOKEN, self_signed

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)
KINDS = (SlackNotifier, DiscordNotifier, RocketNotifier, TeamsNotifier, TeamsWorkflowNotifier, GoogleChatNotifier)
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def alert(kind=NoticeKind.NEW_REVISION_ALERT):
    return Notice(kind, "key", Phase.PROGRESSING, ROLLOUT.names, ("5",))


def slack(room, **options):
    return SlackNotifier(room.address, **{"channel": "dev", "username": "bot", **options})


async def test_an_alert_has_its_fields(room):
    def describe(rollout, notice):
        fields = (("Rollout", rollout.name), ("Details", str(notice.details)))
        return AlertContent(text=notice.text, fields=fields)

    async with slack(room, content=describe) as notifier:
        await notifier.publish(ROLLOUT, alert())

    (attachment,) = room.payloads[0]["attachments"]
    assert attachment["text"] == "New revision detected, progressing canary analysis."
    assert attachment["author_name"] == "podinfo.test"
    assert [(field["title"], field["value"]) for field in attachment["fields"]] == [
        ("Rollout", "podinfo"),
        ("Details", "True"),
    ]


@pytest.mark.parametrize(
    ("kind", "colour"),
    [
        (NoticeKind.NEW_REVISION_ALERT, "good"),
        (NoticeKind.GATE_PROMOTION_ALERT, "good"),
        (NoticeKind.ROLLING_BACK_CHECKS_ALERT, "danger"),
    ],
)
async def test_only_an_error_looks_like_one(room, kind, colour):
    async with slack(room) as notifier:
        await notifier.publish(ROLLOUT, alert(kind))
    assert room.payloads[0]["attachments"][0]["color"] == colour


async def test_events_are_not_for_chats(room):
    async with slack(room) as notifier:
        await notifier.publish(ROLLOUT, Notice(NoticeKind.NEW_REVISION, "key", Phase.PROGRESSING, ROLLOUT.names))
    assert not room.requests


@every
async def test_the_token_goes_to_slack_alone(room, kind):
    async with kind(room.address, token=TOKEN, channel="dev", username="bot") as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert [authorization for _, _, authorization, _ in room.requests] == [
        f"Bearer {TOKEN}" if kind is SlackNotifier else None
    ]


@every
async def test_an_alert_has_its_text_and_links_from_the_caller(room, kind):
    def describe(rollout, notice):
        links = (("Dashboard", "https://grafana.test/d?var-name=podinfo&var-ns=test"),)
        return AlertContent(text=f"own text of {rollout.name}: {notice.phase.value}", links=links)

    async with kind(room.address, channel="dev", username="bot", content=describe) as notifier:
        await notifier.publish(ROLLOUT, alert())
    sent = str(room.payloads[0])
    assert "own text of podinfo: Progressing" in sent
    assert alert().text not in sent
    assert "Dashboard" in sent
    assert "https://grafana.test/d?var-name=podinfo&var-ns=test" in sent


@pytest.mark.parametrize(
    ("host", "is_workflow"),
    [
        ("prod-11.westeurope.logic.azure.com", True),
        ("default0a1b.2c.environment.api.powerplatform.com:80", True),
        ("outlook.webhook.test", False),
        ("logic.azure.com.evil.test", False),
    ],
)
async def test_a_webhook_of_teams_gets_a_card_for_workflows_by_its_host(room, host, is_workflow):
    """The room is the proxy, so that the real host of a workflow is in the request and nothing leaves the machine."""
    query = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=a-b_c%2Bd"
    options = {"proxy": f"http://127.0.0.1:{room.port}", "channel": "dev", "username": "bot"}
    async with TeamsNotifier(f"http://{host}/workflows/7e2c/invoke?{query}", **options) as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert room.hosts == [host.removesuffix(":80")]
    (payload,) = room.payloads
    assert ("attachments" in payload, "@type" in payload) == (is_workflow, not is_workflow)
    assert not is_workflow or payload["attachments"][0]["contentType"] == CARD_TYPE
    received = URL(room.requests[0][1]).query
    assert dict(received) == dict(URL(f"http://x/?{query}").query)


async def test_the_signature_of_a_workflow_is_in_no_error(room):
    room.answers = [(401, "The SAS token sig=s3cret-signature is invalid")]
    async with TeamsWorkflowNotifier(f"{room.address}?sp=run&sig=s3cret-signature") as notifier:
        with pytest.raises(Refused, match="msteams-workflow answered with status 401") as refused:
            await notifier.publish(ROLLOUT, alert())
    assert "s3cret" not in str(refused.value)


async def test_a_workflow_that_accepts_an_alert_for_later_has_it(room):
    room.answers = [(202, "")]
    async with TeamsWorkflowNotifier(room.address) as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert len(room.requests) == 1


async def test_it_goes_through_the_proxy(room):
    proxy = f"http://127.0.0.1:{room.port}"
    async with SlackNotifier("http://chat.test/hook", proxy=proxy, channel="dev", username="bot") as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert room.hosts == ["chat.test"]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_temporary_failure_gets_another_attempt(room, status):
    room.answers = [(status, "later"), (status, "later"), (200, "ok")]
    async with slack(room) as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert len(room.requests) == 3


async def test_a_lasting_failure_is_an_error_that_is_not_final(room):
    room.answers = [(503, "later")]
    async with slack(room) as notifier:
        with pytest.raises(WorldError, match="slack answered with status 503 Service Unavailable: later") as caught:
            await notifier.publish(ROLLOUT, alert())
    assert not isinstance(caught.value, Refused)
    assert len(room.requests) == CHAT_ATTEMPTS


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, "no_service"), "slack answered with status 404 Not Found: no_service"),
        ((400, f"no such hook: /services/{SECRET}"), "slack answered with status 400 Bad Request: no such hook: …"),
        ((200, '{"ok": false, "error": "channel_not_found"}'), "slack refused it: channel_not_found"),
        ((302, ""), "slack failed: the server redirects a POST with status 302, which loses its body"),
    ],
)
async def test_a_final_refusal_is_raised_at_once_with_the_room_s_words(room, answer, words):
    room.answers = [answer, (200, "ok")]
    async with slack(room) as notifier:
        with pytest.raises(Refused) as caught:
            await notifier.publish(ROLLOUT, alert())
    assert str(caught.value).startswith(words)
    assert SECRET not in str(caught.value)


async def test_a_redirect_that_keeps_the_message_is_followed(room):
    room.answers = [(308, ""), (200, "ok")]
    async with slack(room) as notifier:
        await notifier.publish(ROLLOUT, alert())
    assert [path for _, path, _, _ in room.requests] == [f"/services/{SECRET}", "/elsewhere"]
    assert room.payloads[0] == room.payloads[1]


async def test_a_room_that_hangs_is_an_error(room):
    room.delay = 2.0
    async with slack(room, timeout=0.1) as notifier:
        with pytest.raises(WorldError, match=r"no answer within 0\.1 s"):
            await notifier.publish(ROLLOUT, alert())


async def test_an_unreachable_room_is_an_error(room):
    room.port = 9
    async with slack(room) as notifier:
        with pytest.raises(WorldError, match=r"slack failed: cannot connect to 127\.0\.0\.1:9"):
            await notifier.publish(ROLLOUT, alert())


async def test_a_certificate_is_checked(room, tmp_path):
    app = web.Application()
    app.router.add_post("/{path:.*}", room.respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self_signed(tmp_path))
    await site.start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}/hook"

    async with SlackNotifier(address, channel="dev", username="bot") as notifier:
        with pytest.raises(WorldError, match="certificate"):
            await notifier.publish(ROLLOUT, alert())

    await runner.cleanup()
    assert not room.requests


class Bench:
    """The contract's receiver."""

    def __init__(self, room, adapter):
        self.room, self.adapter, self.secret = room, adapter, SECRET

    def adapter_at(self, url):
        return type(self.adapter)(url, token=TOKEN, channel="dev", username="bot", timeout=0.2)

    async def refuse(self, *, refuse):
        self.room.answers = [(500, f"broken: /services/{SECRET} with {TOKEN}") if refuse else (200, "ok")]
        self.room.requests.clear()

    async def delivered_texts(self):
        return tuple(str(payload) for payload in self.room.payloads)


@every
class TestThePortsContract(NotifierContract):
    channel = Channel.ALERT

    @pytest.fixture
    async def bench(self, room, kind):
        async with kind(room.address, token=TOKEN, channel="dev", username="bot") as adapter:
            yield Bench(room, adapter)


async def test_the_token_is_in_no_error(room):
    room.answers = [(400, f"bad token {TOKEN}")]
    async with slack(room, token=TOKEN) as notifier:
        with pytest.raises(Refused, match="bad token …"):
            await notifier.publish(ROLLOUT, alert())
