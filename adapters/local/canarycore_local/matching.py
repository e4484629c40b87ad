"""A request that meets a match condition: what the generator sends to play the users of an A/B test.

Exact, prefix and suffix conditions are their own example. For a regular expression the shortest string is built that it
matches; one that looks around or back has no such string here, and its example must be given by hand.
"""

from __future__ import annotations

import re
from re import _constants as ops  # type: ignore[attr-defined]  # the parser's names have no public home
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from canarycore.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore import Match, StringMatch

_SAMPLES = "a0 -_./:;=~"

_LONGEST = 1024
"""Characters of an example: conditions such as `((a{1000}){1000}){1000}` have none of a sensible length."""


class NoExample(ValueError):
    """No string could be found that meets a condition; the message says which."""


def example(match: Match) -> tuple[str, dict[str, str]]:
    """A path and headers that meet all of the conditions. Raises NoExample."""
    headers = {name: _text(condition) for name, condition in match.headers}
    return "/" if match.uri is None else _text(match.uri), headers


def _text(condition: StringMatch) -> str:
    if condition.kind != "regex":
        return condition.value
    try:
        text = "".join(map(_shortest, parser.parse(condition.value)))
    except (KeyError, re.error, RecursionError, OverflowError) as error:
        raise NoExample(
            f"no example of {shorten(condition.value)} can be made: give the headers to send by hand"
        ) from error
    if re.fullmatch(condition.value, text) is None:
        raise NoExample(f"{shorten(text)} does not match {shorten(condition.value)}: give the headers to send by hand")
    return text


def _shortest(node: tuple[Any, Any]) -> str:
    kind, argument = node
    return _SHORTEST[kind](argument)


def _all(nodes: Iterable[tuple[Any, Any]]) -> str:
    return "".join(map(_shortest, nodes))


def _repeated(argument: tuple[int, int, Any]) -> str:
    least, _, nodes = argument
    text = _all(nodes)
    if len(text) * least > _LONGEST:
        raise NoExample(f"an example has more than {_LONGEST} characters: give the headers to send by hand")
    return text * least


def _member(options: list[tuple[Any, Any]]) -> str:
    return next(sample for sample in _candidates(options) if _is_member(sample, options))


def _candidates(options: list[tuple[Any, Any]]) -> str:
    named = [chr(value if kind is ops.LITERAL else value[0]) for kind, value in options if kind in _NAMED]
    return "".join(named) + _SAMPLES


def _is_member(sample: str, options: list[tuple[Any, Any]]) -> bool:
    negated = options[0][0] is ops.NEGATE
    return negated != any(_CONTAINS[kind](sample, value) for kind, value in options)


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

_SHORTEST: dict[Any, Callable[[Any], str]] = {
    ops.LITERAL: chr,
    ops.NOT_LITERAL: lambda value: _member([(ops.NEGATE, None), (ops.LITERAL, value)]),
    ops.ANY: lambda _: _SAMPLES[0],
    ops.IN: _member,
    ops.AT: lambda _: "",
    ops.BRANCH: lambda argument: _all(argument[1][0]),
    ops.SUBPATTERN: lambda argument: _all(argument[3]),
    ops.MAX_REPEAT: _repeated,
    ops.MIN_REPEAT: _repeated,
    ops.POSSESSIVE_REPEAT: _repeated,
}
