"""Example requests for match conditions: the generator sends them as the matching users of an A/B test.

Exact, prefix and suffix conditions are their own examples. For a regular expression, this module builds the shortest
string that it matches. It supports no lookaround and no backreference; the user must give headers for those.

It never runs the expression, as an expression of a manifest may take years to reject a string. The construction makes
the string right, and a limit bounds the number of parts that it visits.
"""

from __future__ import annotations

import re
from re import _constants as ops  # type: ignore[attr-defined]  # the parser's names have no public home
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from canarycore.bounds import TEXT
from canarycore.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from canarycore.traffic import Match, StringMatch

_SAMPLES = "a0 -_./:;=~"


class NoExample(ValueError):
    """A condition without an example. The message names it."""


def example(match: Match) -> tuple[str, dict[str, str]]:
    """Return a path and headers that meet all conditions. Raises NoExample."""
    headers = {name: _text(condition) for name, condition in match.headers}
    return "/" if match.uri is None else _text(match.uri), headers


def _text(condition: StringMatch) -> str:
    text = _matching(condition.value) if condition.kind == "regex" else condition.value
    if text is None or not text.isprintable() or len(text) > TEXT.most:
        raise NoExample(
            f"found no example of {shorten(condition.value)}, expected a simpler condition: set the headers yourself"
        )
    return text


def _matching(regex: str) -> str | None:
    """Return the shortest string that a regular expression matches; None for an unsupported one."""
    example = _Example()
    try:
        example.add(parser.parse(regex))
    except (KeyError, ValueError, OverflowError, RecursionError, re.error):  # unknown parts, too many, or no regex
        return None
    return example.text if example.is_consistent else None


@define
class _Example:
    """A string that grows by parts of an expression."""

    text: str = ""
    """The string so far."""

    assertions: list[tuple[Any, int]] = Factory(list)
    """The assertions, such as a word boundary, and their positions in the string."""

    visited: int = 0
    """The number of visited parts."""

    @property
    def is_consistent(self) -> bool:
        """Whether all assertions hold."""
        return all(_HOLDS[kind](self.text, at) for kind, at in self.assertions)

    def add(self, nodes: Iterable[tuple[Any, Any]]) -> None:
        """Append parts of an expression. Raises KeyError for an unsupported part, ValueError for too many parts."""
        self.visit(1)
        for kind, argument in nodes:
            self.visit(1)
            _ADD[kind](self, argument)

    def visit(self, parts: int) -> None:
        """Count visited parts. Raises ValueError for too many."""
        self.visited += parts
        if self.visited > 2 * TEXT.most:
            raise ValueError("an expression of too many parts")

    def put(self, text: str) -> None:
        """Append characters."""
        self.text += text

    def expect(self, kind: Any) -> None:
        """Add an assertion at this position."""
        self.assertions.append((kind, len(self.text)))

    def repeat(self, argument: tuple[int, int, Any]) -> None:
        """Append parts for their least number of repetitions."""
        least, _, nodes = argument
        for _ in range(least):
            self.add(nodes)

    def choose(self, options: list[tuple[Any, Any]]) -> None:
        """Append one character of a set. Raises ValueError if no candidate is in the set."""
        self.visit(len(options))
        member = next((sample for sample in _candidates(options) if _is_member(sample, options)), None)
        if member is None:
            raise ValueError("a set without a known character")
        self.put(member)


def _candidates(options: list[tuple[Any, Any]]) -> Iterator[str]:
    if options[0][0] is not ops.NEGATE:
        yield from (chr(value if kind is ops.LITERAL else value[0]) for kind, value in options if kind in _NAMED)
    yield from _SAMPLES


def _is_member(sample: str, options: list[tuple[Any, Any]]) -> bool:
    """Whether a character is in a set. A negated set excludes both cases of its letters."""
    negated = options[0][0] is ops.NEGATE
    cases = {sample, sample.lower(), sample.upper()} if negated else {sample}
    return negated != any(_CONTAINS[kind](case, value) for kind, value in options for case in cases)


_NAMED = (ops.LITERAL, ops.RANGE)

_CONTAINS: dict[Any, Callable[[str, Any], bool]] = {
    ops.NEGATE: lambda _, __: False,
    ops.LITERAL: lambda sample, value: ord(sample) == value,
    ops.RANGE: lambda sample, value: value[0] <= ord(sample) <= value[1],
    ops.CATEGORY: lambda sample, value: re.fullmatch(_CATEGORIES[value], sample) is not None,
}

_CATEGORIES: dict[Any, str] = {
    ops.CATEGORY_DIGIT: r"\d",
    ops.CATEGORY_NOT_DIGIT: r"\D",
    ops.CATEGORY_SPACE: r"\s",
    ops.CATEGORY_NOT_SPACE: r"\S",
    ops.CATEGORY_WORD: r"\w",
    ops.CATEGORY_NOT_WORD: r"\W",
}


def _is_boundary(text: str, at: int) -> bool:
    """Whether a word begins or ends at this position."""
    beside = text[max(at - 1, 0) : at], text[at : at + 1]
    before, after = (re.fullmatch(r"\w", side) is not None for side in beside)
    return before != after


_HOLDS: dict[Any, Callable[[str, int], bool]] = {
    ops.AT_BEGINNING: lambda _, at: at == 0,
    ops.AT_BEGINNING_STRING: lambda _, at: at == 0,
    ops.AT_END: lambda text, at: at == len(text),
    ops.AT_END_STRING: lambda text, at: at == len(text),
    ops.AT_BOUNDARY: _is_boundary,
    ops.AT_NON_BOUNDARY: lambda text, at: bool(text) and not _is_boundary(text, at),
}

_ADD: dict[Any, Callable[[_Example, Any], None]] = {
    ops.LITERAL: lambda example, value: example.put(chr(value)),
    ops.NOT_LITERAL: lambda example, value: example.choose([(ops.NEGATE, None), (ops.LITERAL, value)]),
    ops.ANY: lambda example, _: example.put(_SAMPLES[0]),
    ops.IN: _Example.choose,
    ops.AT: _Example.expect,
    ops.BRANCH: lambda example, argument: example.add(argument[1][0]),
    ops.SUBPATTERN: lambda example, argument: example.add(argument[3]),
    ops.MAX_REPEAT: _Example.repeat,
    ops.MIN_REPEAT: _Example.repeat,
}
