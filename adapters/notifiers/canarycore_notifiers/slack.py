"""Slack's format: one attachment, with the text and its fields. Discord and Rocket.Chat read it too.

Alerts contain texts of hooks and metric providers. Each chat has markup that notifies all members of a room, or that
hides the target of a link. The notifier escapes it, so that the chat shows it as text.
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
            "color": self.bad if message.is_error else self.good,
            "author_name": message.about,
            "text": self.escape_markup(message.text),
            "mrkdwn_in": ["text"],
            "fields": [
                {"title": self.escape_markup(title), "value": self.escape_markup(value), "short": False}
                for title, value in message.fields
            ]
            + [
                {"title": self.escape_markup(title), "value": self.format_link(address), "short": False}
                for title, address in message.links
            ],
        }
        return {
            "channel": self.channel,
            "username": self.username,
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [attachment],
        }

    def escape_markup(self, text: str) -> str:
        """Return the text without markup: `<!channel>`, `<@U1>` and `<https://…|text>` begin with `<`."""
        return _OPENING_BRACKET.sub("&lt;", text)

    def format_link(self, address: str) -> str:
        """Return an address that the chat shows as a link."""
        return f"<{address}>"

    def complaint(self, answer: str) -> str:
        """Slack's Web API answers with status 200 and `{"ok": false, "error": "channel_not_found"}`."""
        document = _parse_object(answer)
        return str(document.get("error") or "no reason given") if document.get("ok") is False else ""


class _AtSignNotifier(SlackNotifier):
    """A chat that also mentions people by `@`, and that has no character references."""

    def escape_markup(self, text: str) -> str:
        """Return the text without markup: a zero-width space separates `@` and `<` from the next character."""
        return _MENTION.sub("\\g<0>\u200b", text)

    def format_link(self, address: str) -> str:
        """Return the address without a mention: the chat finds it in the text."""
        return address.replace("@", "%40")


class DiscordNotifier(_AtSignNotifier):
    """A webhook of Discord that reads Slack's format: its address ends with /slack."""

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


_OPENING_BRACKET = re.compile(r"<(?=\S)")
_MENTION = re.compile(r"[@<](?=\S)")


def _parse_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; empty when there is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
