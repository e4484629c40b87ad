"""Values as Python source, so that a failing schedule prints as a program."""

from __future__ import annotations

import ast
from enum import Enum, Flag
from importlib import import_module
from math import isfinite
from typing import Any

import attrs

_MODULES = (
    "canarycore",
    *(f"canarycore.{name}" for name in ("driver", "effects", "notices", "phases", "questions", "traffic")),
    "canarycore.simulation",
    "canarycore.verification",
)
"""Modules whose names a program may use."""


def with_imports(program: str) -> str:
    """Put an import before `program` for each name that it uses from a public module."""
    used = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
    lines = []
    for module in _MODULES:
        names = sorted(used & set(vars(import_module(module))))
        used -= set(names)
        lines += [f"from {module} import {', '.join(names)}"] if names else []
    return "\n".join([*lines, "", program])


def source(value: object) -> str:
    """Return `value` as an expression over the names of the public modules, without default arguments.

    A lambda becomes `...`, as its source is unknown.
    """
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
    name = getattr(value, "__name__", None)
    return repr(value) if name is None else "..." if name == "<lambda>" else name


def _arguments(value: Any) -> list[str]:
    return [f"{field.alias}={source(part)}" if field.kw_only else source(part) for field, part in _fields(value)]


def _fields(value: Any) -> list[tuple[attrs.Attribute[object], object]]:
    """Return the fields to print: keyword-only ones without defaults, positional ones up to the last non-default."""
    fields = [(field, getattr(value, field.name)) for field in value.__attrs_attrs__ if field.init]
    named = [(field, part) for field, part in fields if field.kw_only and part != _default(field)]
    positional = [(field, part) for field, part in fields if not field.kw_only]
    while positional and positional[-1][1] == _default(positional[-1][0]):
        positional.pop()
    return positional + named


def _default(field: attrs.Attribute[object]) -> object:
    default = field.default
    return default.factory() if isinstance(default, attrs.Factory) and not default.takes_self else default  # type: ignore[arg-type, attr-defined]
