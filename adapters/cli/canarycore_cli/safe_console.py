"""A console that text from outside cannot control.

Names, events, errors and answers of servers reach the terminal. All of them pass through `SafeConsole`, which reads no
markup and escapes control characters, line ends and marks that reorder text. Code that wants several lines prints
several texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Span, Text

from canarycore.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

LONGEST_LINE = 20_000
"""The longest text on the console, in characters."""


class SafeConsole(Console):
    """A console that prints each text literally and on one line, also in tables and trees."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to an escaped Text. Rich calls this for each printed string, cell and label."""
        return super().render_str(escape_controls(text, LONGEST_LINE), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object. Rich calls this for each part of an object."""
        shown = escape_text(renderable) if isinstance(renderable, Text) else renderable
        return super().render(shown, options)


def escape_text(text: Text) -> Text:
    """Return a styled text with its control characters escaped and its styles kept."""
    if escape_controls(text.plain, LONGEST_LINE) == text.plain:
        return text
    escaped = text.blank_copy()
    bounds = sorted({bound for span in text.spans for bound in (span.start, span.end)})
    for part in text.divide(bounds):
        shown = escape_controls(part.plain, LONGEST_LINE)
        spans = [Span(0, len(shown), span.style) for span in part.spans]
        escaped.append_text(Text(shown, spans=spans))
    return escaped
