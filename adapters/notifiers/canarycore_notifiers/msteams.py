"""Microsoft Teams: an Adaptive Card for a workflow, and a message card for an old connector.

Teams has ended its connectors; a workflow ("Send webhook alerts to a channel") takes their place, and takes Adaptive
Cards only. The host of an address tells which of them it leads to. For a workflow behind another host, such as a
gateway, there is a type of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_notifiers.chat import ChatNotifier, Json

if TYPE_CHECKING:
    from canarycore_notifiers.message import Message

GOOD = "0076D7"
BAD = "FF0000"

WORKFLOW_DOMAINS = (
    *(".logic.azure.com", ".logic.azure.us", ".logic.azure.cn"),
    *(".api.powerplatform.com", ".api.powerplatform.us", ".api.powerplatform.partner.microsoftonline.cn"),
)
"""Domains of the addresses of workflows."""

CARD_TYPE = "application/vnd.microsoft.card.adaptive"
"""The media type of an Adaptive Card."""


class TeamsNotifier(ChatNotifier):
    """A webhook of Teams: a workflow if its host is one of workflows, or else an old connector."""

    name = "msteams"

    def payload(self, message: Message) -> Json:
        return _adaptive_card(message) if self._is_workflow else _message_card(message)

    @property
    def _is_workflow(self) -> bool:
        return (self.url.host or "").endswith(WORKFLOW_DOMAINS)


class TeamsWorkflowNotifier(TeamsNotifier):
    """A workflow of Teams at any address."""

    name = "msteams-workflow"

    @property
    def _is_workflow(self) -> bool:
        return True


# workflows ----------------------------------------------------------------------------------------------------------


def _adaptive_card(message: Message) -> Json:
    """Return a message with a card. All texts are runs, in which a card has no Markdown."""
    colour = "attention" if message.is_error else "accent"
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": message.about,
        "msteams": {"width": "Full"},
        "body": [
            _block(_run(message.about, isSubtle=True)),
            _block(_run(message.text, weight="bolder", color=colour)),
            *(_block(_run(f"{title}: ", weight="bolder"), _run(value)) for title, value in message.fields),
        ],
    }
    if message.links:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": title, "url": address} for title, address in message.links
        ]
    return {"type": "message", "attachments": [{"contentType": CARD_TYPE, "contentUrl": None, "content": card}]}


def _block(*runs: Json) -> Json:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **style: object) -> Json:
    return {"type": "TextRun", "text": text, **style}


# connectors ---------------------------------------------------------------------------------------------------------


def _message_card(message: Message) -> Json:
    section = {
        "activityTitle": message.text,
        "activitySubtitle": message.about,
        "facts": [{"name": title, "value": value} for title, value in message.fields],
    }
    card: Json = {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": BAD if message.is_error else GOOD,
        "summary": message.about,
        "sections": [section],
    }
    if message.links:
        card["potentialAction"] = [
            {"@type": "OpenUri", "name": title, "targets": [{"os": "default", "uri": address}]}
            for title, address in message.links
        ]
    return card
