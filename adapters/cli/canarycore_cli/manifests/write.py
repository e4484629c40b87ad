"""Objects as YAML text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


def write_yaml(bodies: Iterable[Json], file: TextIO) -> None:
    """Write objects as a stream of YAML documents. A text of several lines keeps them if all can be printed."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 120
    yaml.allow_unicode = False  # no text from outside reorders a line of a terminal
    yaml.representer.ignore_aliases = lambda *_: True
    for body in bodies:
        yaml.dump(_with_lines(body), file)


def _with_lines(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_lines(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_lines(inner) for inner in value]
    return LiteralScalarString(value) if isinstance(value, str) and _has_plain_lines(value) else value


def _has_plain_lines(text: str) -> bool:
    lines = text.rstrip("\n").split("\n")
    return len(lines) > 1 and all(map(str.isprintable, lines))
