"""Slack's format: one attachment, with the text and its fields. Discord and Rocket.Chat read it too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from canarycore_notifiers.chat import ChatNotifier, Json

if TYPE_CHECKING:
    from yarl import URL

    from canarycore_notifiers.message import Message


class SlackNotifier(ChatNotifier):
    """An incoming webhook, or `chat.postMessage` with a bot's token."""

    name = "slack"
    has_rooms = True
    reads_token = True
    good: ClassVar[str] = "good"
    bad: ClassVar[str] = "danger"

    def payload(self, message: Message) -> Json:
        attachment = {
            "color": self.bad if message.error else self.good,
            "author_name": message.about,
            "text": message.text,
            "mrkdwn_in": ["text"],
            "fields": [{"title": title, "value": value, "short": False} for title, value in message.fields],
        }
        return {
            "channel": self.channel,
            "username": self.username,
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [attachment],
        }

    def complaint(self, answer: str) -> str:
        """Slack's Web API answers with status 200 and `{"ok": false, "error": "channel_not_found"}`."""
        told = _object(answer)
        return str(told.get("error") or "no reason given") if told.get("ok") is False else ""


class DiscordNotifier(SlackNotifier):
    """A webhook of Discord, in its dialect of Slack's format: the address ends with /slack."""

    name = "discord"
    reads_token = False

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(address, **options)
        if not self.url.path.endswith("/slack"):
            self.url: URL = (self.url / "slack").with_query(self.url.query)


class RocketNotifier(SlackNotifier):
    """An incoming webhook of Rocket.Chat."""

    name = "rocket"
    reads_token = False
    good = "#0076D7"
    bad = "#FF0000"


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
