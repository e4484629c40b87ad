"""The primary's query in the copy of a trigger of KEDA.

    rename_in_query('sum(rate(web_hits{app="web"}[1m]))', {"web": "web-primary"})

A query is text of another system, so the known places are few: a quoted value (PromQL, NRQL, SQL), and a tag of
Datadog (`app:web`). The value names the app as a whole, or begins a pattern of its pods' names (`web-[0-9a-z]+`). All
other text stays: names of metrics, paths and hosts, and the values of labels that a primary shares with its target.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED = re.compile(r"namespace|cluster|container|image|host|path|uri|url", re.IGNORECASE)
"""Labels with the same value for a primary and its target: their names have one of these words."""

_QUOTED = re.compile(r"""(["'])(?:(?!\1)[^\\]|\\.)*+\1|`[^`]*+`""", re.DOTALL)
_LABEL = re.compile(r"(?:^|[^\w.])([A-Za-z_][\w.]*+)\W*+$")
_TAG = re.compile(r"(?<![\w.:/-])([A-Za-z_][\w.-]*+):([\w.-]++)(?![\w.:/-])")

_LONGEST_LABEL = 256
"""Characters before a value in which its label stands."""


def rename_in_query(query: str, names: Mapping[str, str]) -> str:
    """Return a query with other names at the known places. names: the new name of each name."""
    rename = _Renaming(names)
    parts, end = [], 0
    for quoted in _QUOTED.finditer(query):
        parts.append(_TAG.sub(rename.tag, query[end : quoted.start()]))
        end = quoted.end()
        label = _LABEL.search(query[max(0, quoted.start() - _LONGEST_LABEL) : quoted.start()])
        text = quoted.group()
        parts.append(text if label and SHARED.search(label[1]) else text[0] + rename.value(text[1:-1]) + text[-1])
    return "".join([*parts, _TAG.sub(rename.tag, query[end:])])


class _Renaming:
    """The replacement of names in values."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        # at the start of the value or of an alternative; at its end, or where a pattern goes on
        self._place = re.compile(
            rf"(?:(?<=[\^(|])|(?<!.))(?:{either})(?=$|[)|(\[*%]|\.[*+]|-[\[(*%]|-\.[*+]|-\\)", re.DOTALL
        )

    def value(self, text: str) -> str:
        return self._place.sub(lambda match: self._names[match.group()], text)

    def tag(self, match: re.Match[str]) -> str:
        label, value = match.groups()
        return match.group() if SHARED.search(label) else f"{label}:{self._names.get(value, value)}"
