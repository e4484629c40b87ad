"""HTML in which every text is escaped: only `element` and constants of the page make markup.

    element("a", "shop/<podinfo>", href="canary/shop/podinfo", aria_label="…")

A text of a tenant can neither end an element nor begin one.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from canarycore.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

LONGEST_SHOWN_TEXT = 4096
"""Most characters of one text on a page."""

_VOID = frozenset({"input", "link", "meta"})


class Markup(str):
    """HTML that is safe to show."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
"""A text, markup, nothing, or several of them."""


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return an element. An underscore in an attribute's name stands for a hyphen, unless it ends the name.

    A text is escaped, markup is not. An attribute that is None or False is left out; one that is True has no value.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    end = "" if name in _VOID else f"</{name}>"
    return Markup(f"<{name}{shown}>{join(children)}{end}")


def join(children: Child) -> Markup:
    """Return children in a row, with texts escaped."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(_escape(children))
    return Markup("".join(map(join, children)))


def _attribute(name: str, value: str | float | bool) -> str:
    shown = name.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {shown}" if value else ""
    return f' {shown}="{_escape(str(value))}"'


def _escape(text: str) -> str:
    return escape(escape_controls(text, LONGEST_SHOWN_TEXT))
