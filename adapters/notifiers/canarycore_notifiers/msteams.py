"""Microsoft Teams: a message card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_notifiers.chat import ChatNotifier, Json

if TYPE_CHECKING:
    from canarycore_notifiers.message import Message

GOOD = "0076D7"
BAD = "FF0000"


class TeamsNotifier(ChatNotifier):
    """An incoming webhook of Teams."""

    name = "msteams"

    def payload(self, message: Message) -> Json:
        section = {
            "activityTitle": message.text,
            "activitySubtitle": message.about,
            "facts": [{"name": title, "value": value} for title, value in message.fields],
        }
        return {
            "@type": "MessageCard",
            "@context": "http://schema.org/extensions",
            "themeColor": BAD if message.is_error else GOOD,
            "summary": message.about,
            "sections": [section],
        }
