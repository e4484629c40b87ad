"""Queries as Go templates, of which only variables are supported.

    sum(rate(http_requests_total{namespace="{{ namespace }}", pod=~"{{ target }}-.*"}[{{ interval }}]))

The supported forms are `{{ name }}`, `{{ variables.direction }}`, the same with a leading dot, and Go's dashes, which
remove the white space on their side: `{{- name -}}`. Anything else in braces is an error. So is a name without a value:
a query without it could pass by mistake.

One pass from left to right reads each character once or twice, so a hostile query costs no more than a long one.
`canarycore.bounds` limits the length of the query and of the result.
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
    """A query is not a valid template. The message has the invalid part and the known names."""


def render(text: str, values: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """Return the query with each name replaced by its value in `values`, or in `variables` after `variables.`.

    Raises TemplateError.
    """
    if len(text) > QUERY.most:
        raise TemplateError(f"the query has {len(text):,} characters: expected {QUERY}")
    pieces, length = [], 0
    for piece in _pieces(text, values, variables):
        pieces.append(piece)
        length += len(piece)
        if length > RENDERED_QUERY.most:
            raise TemplateError(f"the query is too long once its names are replaced: expected {RENDERED_QUERY}")
    return "".join(pieces)


def _pieces(text: str, values: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the text between actions and the values of the actions, in order."""
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
        yield _value(inside.strip(), values, variables)
        at = closing + len(_CLOSE)
        while cuts_after and text[at : at + 1].isspace():
            at += 1
    yield text[at:]


def _value(inside: str, values: Mapping[str, str], variables: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(inside)
    if match is None or (match["key"] and match["name"] != VARIABLES):
        raise TemplateError(
            f"{{{{ {clip(inside, LONGEST_SHOWN)} }}}} is more than a name: expected {_list_names(values, variables)}"
        )
    scope, name = (variables, match["key"]) if match["key"] else (values, match["name"])
    if name not in scope:
        raise TemplateError(
            f"{{{{ {clip(inside, LONGEST_SHOWN)} }}}} has no value: expected {_list_names(values, variables)}"
        )
    return scope[name]


def _list_names(values: Mapping[str, str], variables: Mapping[str, str]) -> str:
    names = [*sorted(values), *(f"{VARIABLES}.{name}" for name in sorted(variables))]
    return f"one of {enumerate_some(names, most=20)}"
