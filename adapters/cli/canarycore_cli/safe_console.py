"""A console that no text from outside can drive.

Names, events, errors and answers of servers reach the terminal. `SafeConsole` is the one place where all of them pass:
it reads no markup in a text, and writes out control characters, line ends and marks that reorder text. A line that is
meant as several is printed as several.
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
"""Characters of a text that are shown at most."""


class SafeConsole(Console):
    """A console whose texts, in tables and trees too, are shown as they are, on one line each, without effects."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a Text of a string: of each that is printed, and of each cell and label."""
        return super().render_str(escape_controls(text, LONGEST_LINE), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything; rich comes here with all that it consists of."""
        shown = escape_text(renderable) if isinstance(renderable, Text) else renderable
        return super().render(shown, options)


def escape_text(text: Text) -> Text:
    """Return the styled text with its controls written out, each part in the style that it had."""
    if escape_controls(text.plain, LONGEST_LINE) == text.plain:
        return text
    escaped = text.blank_copy()
    bounds = sorted({bound for span in text.spans for bound in (span.start, span.end)})
    for part in text.divide(bounds):
        shown = escape_controls(part.plain, LONGEST_LINE)
        spans = [Span(0, len(shown), span.style) for span in part.spans]
        escaped.append_text(Text(shown, spans=spans))
    return escaped
