"""The payloads are Flagger's, byte for byte where it matters: as the recorded ones show them."""

import json

import pytest

from canarycore_notifiers.gchat import GoogleChatNotifier
from canarycore_notifiers.message import Message
from canarycore_notifiers.msteams import TeamsNotifier, TeamsWorkflowNotifier
from canarycore_notifiers.slack import DiscordNotifier, RocketNotifier, SlackNotifier
from tests.manifest.samples import shared

ADDRESS = "http://127.0.0.1/hook"
RECEIVERS = {
    "secret": SlackNotifier,
    "slack": SlackNotifier,
    "discord/slack": DiscordNotifier,
    "rocket": RocketNotifier,
    "msteams": TeamsNotifier,
    "gchat": GoogleChatNotifier,
}
FIELDS = (
    ("Target", "Deployment/podinfo.t21"),
    ("Failed checks threshold", "1"),
    ("Progress deadline", "60s"),
    ("Traffic routing", "Weight step: 50 max: 50"),
)
MESSAGES = (
    Message(about="podinfo.t21", text="New Deployment detected, initialization completed.", fields=FIELDS),
    Message(about="podinfo.t21", text="New revision detected, progressing canary analysis.", fields=FIELDS),
    Message(about="podinfo.t21", text="Failed checks threshold reached 1", is_error=True),
)


def notifier(kind, **options):
    return kind(ADDRESS, channel="dev", username="bot", **options)


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_the_payloads_are_those_of_the_recording(receiver):
    trace = json.loads((shared("golden") / "21-istio-alerts" / "trace.json").read_text())
    alerts = [step["alert"] for frame in trace["timeline"] for step in frame.get("steps", ()) if "alert" in step]
    recorded = [alert["payload"] for alert in alerts if alert["to"] == receiver]

    told = [notifier(RECEIVERS[receiver]).payload(message) for message in MESSAGES]

    assert recorded
    assert recorded == told[-len(recorded) :]


@pytest.mark.parametrize(
    ("address", "final"),
    [
        ("https://discord.example/api/webhooks/1/x", "https://discord.example/api/webhooks/1/x/slack"),
        ("https://discord.example/api/webhooks/1/x/slack", "https://discord.example/api/webhooks/1/x/slack"),
        ("https://discord.example/x?thread_id=7", "https://discord.example/x/slack?thread_id=7"),
    ],
)
def test_discord_is_asked_to_read_slack_s_format(address, final):
    assert str(DiscordNotifier(address, channel="dev", username="bot").url) == final


def test_google_chat_takes_no_markup_from_others():
    message = Message(about="podinfo.test", text="not ready: <b>x</b> & y", fields=(("<i>", "<u>"),))
    text = json.dumps(notifier(GoogleChatNotifier).payload(message))
    assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in text
    assert "&lt;i&gt;<br>" in text
    assert "<u>" not in text


@pytest.mark.parametrize("kind", [SlackNotifier, DiscordNotifier, RocketNotifier])
@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"username": "bot"}, "no channel for"), ({"channel": "dev"}, "no user name for")],
)
def test_a_chat_with_rooms_needs_one(kind, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        kind(ADDRESS, **options)


@pytest.mark.parametrize("kind", RECEIVERS.values())
@pytest.mark.parametrize(
    ("address", "options", "complaint"),
    [
        ("hush", {}, "the webhook's address of .* is not a valid URL"),
        ("http://[hush", {}, "the webhook's address of .* is not a valid URL"),
        (ADDRESS, {"proxy": "socks5://hush:1080"}, "the proxy of .* is not a valid URL"),
    ],
)
def test_invalid_settings_are_refused_at_once_and_not_repeated(kind, address, options, complaint):
    with pytest.raises(ValueError, match=complaint) as refused:
        kind(address, channel="dev", username="bot", **options)
    assert "hush" not in str(refused.value)


CALLS = (
    "<!channel>",
    "<!here|here>",
    "<@U123>",
    "<#C1>",
    "<https://evil.example|the report>",
    "@everyone",
    "<@&7>",
    "@all",
)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [SlackNotifier, DiscordNotifier, RocketNotifier, GoogleChatNotifier])
def test_a_text_from_outside_mentions_no_member_of_a_room(kind, call):
    """Names of metrics and answers of hooks are part of alerts."""
    message = Message(about="podinfo.t21", text=f"Halt {call} advancement", fields=((call, call),))
    sent = json.dumps(notifier(kind).payload(message), ensure_ascii=False)
    assert call not in sent or (kind in (SlackNotifier, GoogleChatNotifier) and call.startswith("@"))
    assert call.strip("<@!#&>|")[:3] in sent  # it is still read


LINKED = Message(
    about="podinfo.t21",
    text="Failed checks threshold reached 1",
    fields=(("Reason", "latency 700: fail (expected at most 500)"),),
    links=(("Page", "https://page.test/@podinfo"),),
    is_error=True,
)


def test_a_workflow_of_teams_gets_an_adaptive_card_without_markdown():
    assert notifier(TeamsWorkflowNotifier).payload(LINKED) == {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "fallbackText": "podinfo.t21",
                    "msteams": {"width": "Full"},
                    "body": [
                        {
                            "type": "RichTextBlock",
                            "inlines": [{"type": "TextRun", "text": "podinfo.t21", "isSubtle": True}],
                        },
                        {
                            "type": "RichTextBlock",
                            "inlines": [
                                {"type": "TextRun", "text": LINKED.text, "weight": "bolder", "color": "attention"}
                            ],
                        },
                        {
                            "type": "RichTextBlock",
                            "inlines": [
                                {"type": "TextRun", "text": "Reason: ", "weight": "bolder"},
                                {"type": "TextRun", "text": "latency 700: fail (expected at most 500)"},
                            ],
                        },
                    ],
                    "actions": [{"type": "Action.OpenUrl", "title": "Page", "url": "https://page.test/@podinfo"}],
                },
            }
        ],
    }


def test_a_workflow_shows_markup_of_others_as_text():
    card = notifier(TeamsWorkflowNotifier).payload(
        Message(about="a", text="[x](https://evil.test) <at>all</at>", fields=())
    )
    blocks = card["attachments"][0]["content"]["body"]
    assert {run["type"] for block in blocks for run in block["inlines"]} == {"TextRun"}
    assert "entities" not in str(card)


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (SlackNotifier, {"title": "Page", "value": "<https://page.test/@podinfo>", "short": False}),
        (RocketNotifier, {"title": "Page", "value": "https://page.test/%40podinfo", "short": False}),
        (DiscordNotifier, {"title": "Page", "value": "https://page.test/%40podinfo", "short": False}),
    ],
)
def test_the_format_of_slack_has_links_as_its_last_fields(kind, link):
    assert notifier(kind).payload(LINKED)["attachments"][0]["fields"][1:] == [link]


def test_old_connectors_and_google_chat_have_buttons():
    target = {"os": "default", "uri": "https://page.test/@podinfo"}
    card, space = (notifier(kind).payload(LINKED) for kind in (TeamsNotifier, GoogleChatNotifier))
    assert card["potentialAction"] == [{"@type": "OpenUri", "name": "Page", "targets": [target]}]
    button = {"textButton": {"text": "Page", "onClick": {"openLink": {"url": "https://page.test/@podinfo"}}}}
    assert space["cards"][0]["sections"][-1] == {"widgets": [{"buttons": [button]}]}


def test_a_comparison_stays_as_it_is():
    message = Message(about="podinfo.t21", text="success rate 10.00% < 99%", fields=())
    assert notifier(SlackNotifier).payload(message)["attachments"][0]["text"] == message.text
