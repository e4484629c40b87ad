"""The error of a template."""

from __future__ import annotations

from canarycore.text import LONGEST_SHOWN, clip

__all__ = ["TemplateError", "show"]


class TemplateError(ValueError):
    """A template is not valid, or cannot be rendered. The message has the part, what was expected, and the line."""


def show(text: str) -> str:
    """Return a part of a template for a message."""
    return clip(text, LONGEST_SHOWN)
