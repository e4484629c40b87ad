"""Values as the Python source that makes them, so that a failing schedule can be run again."""

from __future__ import annotations

from enum import Enum, Flag
from math import isfinite
from typing import Any

import attrs


def source(value: object) -> str:
    """`value` as an expression over the names of `canarycore` and `canarycore.simulation`; defaults are left out."""
    if isinstance(value, Flag) and value:
        return " | ".join(f"{type(value).__name__}.{part.name}" for part in value)
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, float) and not isfinite(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        inner = ", ".join(map(source, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(source, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(source, value)))}}}"
    if attrs.has(type(value)) and not isinstance(value, type):
        return f"{type(value).__name__}({', '.join(_arguments(value))})"
    return getattr(value, "__name__", None) or repr(value)


def _arguments(value: Any) -> list[str]:
    return [f"{field.alias}={source(part)}" if field.kw_only else source(part) for field, part in _given(value)]


def _given(value: Any) -> list[tuple[attrs.Attribute[object], object]]:
    """The fields to write: keyword-only ones that differ from their default, positional ones up to the last such."""
    fields = [(field, getattr(value, field.name)) for field in value.__attrs_attrs__ if field.init]
    named = [(field, part) for field, part in fields if field.kw_only and part != _default(field)]
    placed = [(field, part) for field, part in fields if not field.kw_only]
    while placed and placed[-1][1] == _default(placed[-1][0]):
        placed.pop()
    return placed + named


def _default(field: attrs.Attribute[object]) -> object:
    default = field.default
    return default.factory() if isinstance(default, attrs.Factory) and not default.takes_self else default  # type: ignore[arg-type, attr-defined]
