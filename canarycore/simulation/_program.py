"""Values as Python source, so that a failing schedule prints as a program."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from enum import Enum, Flag
from importlib import import_module
from math import isfinite
from typing import Any

import attrs

from canarycore.simulation.promises import Promise

_MODULES = (
    "canarycore",
    *(f"canarycore.{name}" for name in ("driver", "effects", "notices", "phases", "questions", "traffic")),
    "canarycore.simulation",
    "canarycore.verification",
    "canarycore.policy",
)
"""Modules whose names a program may use."""


def with_imports(program: str, promises: Iterable[Promise] = ()) -> str:
    """Put an import before `program` for each promise, and for each name that it uses from a public module."""
    names = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)]
    used = {node.id for node in names} - {node.id for node in names if isinstance(node.ctx, ast.Store)}
    homes: dict[str, list[str]] = {}
    for promise in promises:
        name = _name_of(promise)
        if name is not None:
            homes.setdefault(promise.holds.__module__, []).append(name)
            used.discard(name)
    for module in _MODULES:
        imported = used & set(vars(import_module(module)))
        used -= imported
        homes[module] = [*homes.get(module, ()), *imported]
    lines = [
        f"from {module} import {', '.join(sorted(imported))}"
        for module, imported in homes.items()
        if imported and module != "__main__"
    ]
    return "\n".join([*lines, "", program])


def source(value: object) -> str:
    """Return `value` as an expression over the names of the public modules, without default arguments.

    A lambda becomes `...`, as its source is unknown. A promise becomes its name in the module of its function.
    """
    if isinstance(value, Promise):
        return _name_of(value) or f"Promise({value.name!r}, {source(value.holds)})"
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


def _name_of(promise: Promise) -> str | None:
    """Return the name of a promise in the module of its function, or None."""
    module = sys.modules.get(promise.holds.__module__)
    return next((name for name, value in vars(module).items() if value is promise), None) if module else None


def _arguments(value: Any) -> list[str]:
    return [f"{field.alias}={source(part)}" if field.kw_only else source(part) for field, part in _fields(value)]


def _fields(value: Any) -> list[tuple[attrs.Attribute[object], object]]:
    """Return the fields to print: keyword-only ones without defaults, positional ones up to the last non-default."""
    fields = [(field, getattr(value, field.name)) for field in value.__attrs_attrs__ if field.init]
    named = [(field, part) for field, part in fields if field.kw_only and part != _default(field, value)]
    positional = [(field, part) for field, part in fields if not field.kw_only]
    while positional and positional[-1][1] == _default(positional[-1][0], value):
        positional.pop()
    return positional + named


def _default(field: attrs.Attribute[object], value: object) -> object:
    default: Any = field.default
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default
    return default.factory(value) if default.takes_self else default.factory()
