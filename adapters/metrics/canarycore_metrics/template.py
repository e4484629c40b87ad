"""Queries as owners write them: Go templates, of which a query needs variables only.

    sum(rate(http_requests_total{namespace="{{ namespace }}", pod=~"{{ target }}-.*"}[{{ interval }}]))

Known are `{{ name }}`, `{{ variables.direction }}`, the same with a leading dot, and Go's dashes, which cut the white
space on their side: `{{- name -}}`. Anything else in braces is an error, and so is a name without a value: a query with
a hole in it could pass where it should not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = "variables"

_ACTION = re.compile(r"(?P<before>\s*(?=\{\{-\s))?\{\{(-\s)?(?P<inside>.*?)(?P<dash>\s-)?\}\}(?(dash)\s*)", re.DOTALL)
_NAME = re.compile(r"\.?(?P<name>\w+)(\.(?P<key>[\w-]+))?")


class TemplateError(ValueError):
    """A query that cannot be rendered; the message says what was found and what is known."""


def render(text: str, words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """The query with each name replaced: by one of `words`, or of `variables` after `variables.`."""
    rendered = _ACTION.sub(lambda found: _value(found["inside"].strip(), words, variables), text)
    if "{{" in _ACTION.sub("", text):
        raise TemplateError("a {{ without its }}: expected a name in between, such as {{ namespace }}")
    return rendered


def _value(inside: str, words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    found = _NAME.fullmatch(inside)
    if found is None or (found["key"] and found["name"] != VARIABLES):
        raise TemplateError(f"{{{{ {inside} }}}} is more than a name: expected {_known(words, variables)}")
    of, name = (variables, found["key"]) if found["key"] else (words, found["name"])
    if name not in of:
        raise TemplateError(f"{{{{ {inside} }}}} has no value: expected {_known(words, variables)}")
    return of[name]


def _known(words: Mapping[str, str], variables: Mapping[str, str]) -> str:
    return "one of " + ", ".join([*sorted(words), *(f"{VARIABLES}.{name}" for name in sorted(variables))])
