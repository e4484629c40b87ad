"""Queries as owners write them: Go templates, of which a query needs variables only.

    sum(rate(http_requests_total{namespace="{{ namespace }}", pod=~"{{ target }}-.*"}[{{ interval }}]))

Known are `{{ name }}`, `{{ variables.direction }}`, the same with a leading dot, and Go's dashes, which cut the white
space on their side: `{{- name -}}`. Anything else in braces is an error, and so is a name without a value: a query with
a hole in it could pass where it should not.

One pass from left to right reads each character once or twice, so a hostile query costs no more than a long one. Its
length and that of the result are bounded (`canarycore.bounds`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from canarycore.bounds import QUERY, RENDERED_QUERY
from canarycore.text import LONGEST_SHOWN, clip, enumerate_some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES = "variables"

_OPEN, _CLOSE = "{{", "}}"
_NAME = re.compile(r"\.?(?P<name>\w++)(\.(?P<key>[\w-]++))?")


class TemplateError(ValueError):
    """A query that cannot be rendered; the message says what was found and what is known."""


def render(text: str, words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """The query with each name replaced: by one of `words`, or of `variables` after `variables.`.

    Raises TemplateError.
    """
    if len(text) > QUERY.most:
        raise TemplateError(f"the query has {len(text):,} characters: expected {QUERY}")
    pieces, length = [], 0
    for piece in _pieces(text, words, variables):
        pieces.append(piece)
        length += len(piece)
        if length > RENDERED_QUERY.most:
            raise TemplateError(f"the query is too long once its names are replaced: expected {RENDERED_QUERY}")
    return "".join(pieces)


def _pieces(text: str, words: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[str]:
    """The text between actions and the values of the actions, in turn."""
    at = 0
    while (opening := text.find(_OPEN, at)) >= 0:
        closing = text.find(_CLOSE, opening + len(_OPEN))
        if closing < 0:
            raise TemplateError("a {{ without its }}: expected a name in between, such as {{ namespace }}")
        inside = text[opening + len(_OPEN) : closing]
        cuts_before = inside[:1] == "-" and inside[1:2].isspace()
        inside = inside[2:] if cuts_before else inside
        cuts_after = inside[-1:] == "-" and inside[-2:-1].isspace()
        inside = inside[:-2] if cuts_after else inside
        yield text[at:opening].rstrip() if cuts_before else text[at:opening]
        yield _value(inside.strip(), words, variables)
        at = closing + len(_CLOSE)
        while cuts_after and text[at : at + 1].isspace():
            at += 1
    yield text[at:]


def _value(inside: str, words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    found = _NAME.fullmatch(inside)
    if found is None or (found["key"] and found["name"] != VARIABLES):
        raise TemplateError(
            f"{{{{ {clip(inside, LONGEST_SHOWN)} }}}} is more than a name: expected {_known(words, variables)}"
        )
    of, name = (variables, found["key"]) if found["key"] else (words, found["name"])
    if name not in of:
        raise TemplateError(
            f"{{{{ {clip(inside, LONGEST_SHOWN)} }}}} has no value: expected {_known(words, variables)}"
        )
    return of[name]


def _known(words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    names = [*sorted(words), *(f"{VARIABLES}.{name}" for name in sorted(variables))]
    return f"one of {enumerate_some(names, most=20)}"
