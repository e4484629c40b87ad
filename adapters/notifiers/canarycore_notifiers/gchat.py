"""Google Chat: a card, with one section for the text, one for each field and one with a button for each link.

Its format has no colours.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from canarycore_notifiers.chat import ChatNotifier, Json

if TYPE_CHECKING:
    from canarycore_notifiers.message import Message

TITLE = "Flagger"
IMAGE = "https://flagger.app/favicon.png"


class GoogleChatNotifier(ChatNotifier):
    """A webhook of a Google Chat space."""

    name = "gchat"

    def payload(self, message: Message) -> Json:
        texts = [
            _strong(message.text),
            *(f"{_escape_html(title)}<br>{_strong(value)}" for title, value in message.fields),
        ]
        header = {"title": TITLE, "subtitle": message.about, "imageUrl": IMAGE}
        sections: list[Json] = [{"widgets": [{"textParagraph": {"text": text}}]} for text in texts]
        if message.links:
            sections.append({"widgets": [{"buttons": [_button(title, address) for title, address in message.links]}]})
        return {"cards": [{"header": header, "sections": sections}]}


def _button(title: str, address: str) -> Json:
    return {"textButton": {"text": title, "onClick": {"openLink": {"url": address}}}}


def _strong(text: str) -> str:
    return f"<font color=#848484><strong>{_escape_html(text)}</strong></font>"


def _escape_html(text: str) -> str:
    """Return the text with HTML escaped, as hooks and metric providers put texts into alerts."""
    return escape(text, quote=False)
