"""Google Chat: a card, with one section for the text and one for each field. Its format has no colours."""

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
        sections = [{"widgets": [{"textParagraph": {"text": text}}]} for text in texts]
        return {"cards": [{"header": header, "sections": sections}]}


def _strong(text: str) -> str:
    return f"<font color=#848484><strong>{_escape_html(text)}</strong></font>"


def _escape_html(text: str) -> str:
    """Return the text with HTML escaped, as hooks and metric providers put texts into alerts."""
    return escape(text, quote=False)
