"""Objects as YAML text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, TextIO

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


def write_yaml(bodies: Iterable[Json], file: TextIO) -> None:
    """Write objects as a stream of YAML documents.

    A text of several lines keeps them if all can be printed. A document with characters that cannot be printed has
    ASCII alone, so that no text from outside reorders a line of a terminal.
    """
    for body in bodies:
        text = _to_yaml(body, allow_unicode=True)
        file.write(text if _is_printable(text) else _to_yaml(body, allow_unicode=False))


def _to_yaml(body: Json, *, allow_unicode: bool) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 120
    yaml.allow_unicode = allow_unicode
    yaml.representer.ignore_aliases = lambda *_: True
    text = io.StringIO()
    yaml.dump(_with_lines(body), text)
    return text.getvalue()


def _is_printable(text: str) -> bool:
    return all(map(str.isprintable, text.split("\n")))


def _with_lines(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_lines(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_lines(inner) for inner in value]
    has_lines = isinstance(value, str) and "\n" in value.rstrip("\n")
    return LiteralScalarString(value) if has_lines and _is_printable(value) else value
