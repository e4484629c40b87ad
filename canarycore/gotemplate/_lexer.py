"""The tokens of a template, as Go's lexer splits it (text/template/parse/lex.go)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.gotemplate._errors import TemplateError, show

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["KEYWORDS", "Lexeme", "tokens"]

KEYWORDS = frozenset({"if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil"})
"""Words with a meaning of their own."""

_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<raw>`[^`]*`)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]+)?
                   |0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?|\.[0-9][0-9_]*(?:[eE][+-]?[0-9_]+)?)
                 i?)
    | (?P<field>\.\w+)
    | (?P<variable>\$\w*)
    | (?P<name>\w+)
    | (?P<mark>:=|[=|(),.])
    """,
    re.VERBOSE,
)


@frozen
class Lexeme:
    """A piece of a template: "text", "open", "close", or what a group of `_TOKEN` is named."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[Lexeme]:
    """Yield the tokens of a template. Raises TemplateError."""
    at, line, trims = 0, 1, False
    while True:
        opening = text.find("{{", at)
        piece = text[at:] if opening < 0 else text[at:opening]
        shown = piece.lstrip(_SPACE) if trims else piece
        inside = opening + 2
        if opening >= 0 and text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in set(_SPACE):
            shown, inside = shown.rstrip(_SPACE), inside + 2
        if shown:
            yield Lexeme("text", shown, line)
        if opening < 0:
            return
        line += piece.count("\n")
        if text.startswith("/*", inside):
            at, trims = _comment(text, inside, line)
        else:
            yield Lexeme("open", "{{", line)
            end = yield from _action(text, inside, line)
            trims = text[end - 3 : end - 2] == "-" and text[end - 4 : end - 3] in set(_SPACE) and end - 4 >= opening + 2
            at = end
            yield Lexeme("close", "}}", line)
        line += text.count("\n", opening, at)


def _comment(text: str, begin: int, line: int) -> tuple[int, bool]:
    """Return the end of a comment's action, and whether it trims the text behind it."""
    end = text.find("*/", begin)
    if end < 0:
        raise TemplateError(f"line {line}: a comment without its */")
    end += 2
    if text.startswith("}}", end):
        return end + 2, False
    if text[end : end + 1] in set(_SPACE) and text.startswith("-}}", end + 1):
        return end + 4, True
    raise TemplateError(f"line {line}: more than a comment between its braces: expected */ right before }}}}")


def _action(text: str, at: int, line: int) -> Generator[Lexeme, None, int]:
    """Yield the tokens of an action; return the end of its braces."""
    begin, before = at, "space"
    while True:
        if text.startswith("}}", at):
            return at + 2
        if text[at : at + 1] in set(_SPACE) and text.startswith("-}}", at + 1):
            return at + 4
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse(text, begin, at, line)
        assert match is not None
        kind = str(match.lastgroup)
        if kind == "space" and text.startswith("-}}", match.end()):
            return match.end() + 3
        if kind in _WORDS and before in _WORDS and not (kind == "field" and before != "number"):
            _refuse(text, begin, at, line)
        if kind == "variable" and match.group() == "$" and text[match.end() : match.end() + 1] not in _AFTER_WORD:
            _refuse(text, begin, match.end(), line)
        yield Lexeme(kind, match.group(), line + text.count("\n", begin, at))
        at, before = match.end(), kind


_WORDS = frozenset({"raw", "string", "char", "number", "field", "variable", "name"})
"""Tokens that need something between them, except for a field behind another token."""

_AFTER_WORD = frozenset({"", " ", "\t", "\r", "\n", ".", ",", "|", ":", "=", ")", "(", "}", "-"})


def _refuse(text: str, begin: int, at: int, line: int) -> None:
    if at >= len(text):
        raise TemplateError(
            f"line {line}: {{{{ {show(text[begin:].strip())} has no }}}}: expected the end of the action"
        )
    raise TemplateError(f"line {line}: {show(text[at : at + 20])!r} is no part of Go's template language")
