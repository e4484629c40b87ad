"""Slack's format: one attachment, with the text and its fields. Discord and Rocket.Chat read it too.

Hooks and metrics put words of their own into alerts. Each chat has words that call everybody of a room, or that hide
where a link leads; they are written so that they are shown and do nothing.
"""

from __future__ import annotations

import json
import re
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
            "text": self.plain(message.text),
            "mrkdwn_in": ["text"],
            "fields": [
                {"title": self.plain(title), "value": self.plain(value), "short": False}
                for title, value in message.fields
            ],
        }
        return {
            "channel": self.channel,
            "username": self.username,
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [attachment],
        }

    def plain(self, text: str) -> str:
        """A text that calls nobody: `<!channel>`, `<@U1>` and `<https://…|text>` begin with this character."""
        return _BEFORE_A_WORD.sub("&lt;", text)

    def complaint(self, answer: str) -> str:
        """Slack's Web API answers with status 200 and `{"ok": false, "error": "channel_not_found"}`."""
        told = _object(answer)
        return str(told.get("error") or "no reason given") if told.get("ok") is False else ""


class _AtSignNotifier(SlackNotifier):
    """Chats that know people by `@` too, and no character by another name."""

    def plain(self, text: str) -> str:
        """A text that calls nobody: a space without width parts `@` and `<` from what follows."""
        return _AT_A_WORD.sub("\\g<0>\u200b", text)


class DiscordNotifier(_AtSignNotifier):
    """A webhook of Discord, in its dialect of Slack's format: the address ends with /slack."""

    name = "discord"
    reads_token = False

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(address, **options)
        if not self.url.path.endswith("/slack"):
            self.url: URL = (self.url / "slack").with_query(self.url.query)


class RocketNotifier(_AtSignNotifier):
    """An incoming webhook of Rocket.Chat."""

    name = "rocket"
    reads_token = False
    good = "#0076D7"
    bad = "#FF0000"


_BEFORE_A_WORD = re.compile(r"<(?=\S)")
_AT_A_WORD = re.compile(r"[@<](?=\S)")


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
