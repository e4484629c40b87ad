"""Reading of objects that others wrote: a value of the wrong type counts as absent, and nothing raises.

    for rule in get_items(virtual_service, "spec", "http"):
        host = get_text(rule, "route", "host")

An API server checks some kinds strictly and others not at all, and a mesh may extend its own. A reader names the type
that it can use; it decides what an absent value means, as it has to anyway. So an object of unknown form has unknown
routes or no counts, instead of stopping whoever looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def get_value(body: object, *path: str) -> Any:
    """The value at a path, of whatever type; None where a part of the path is absent or no mapping."""
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def get_mapping(body: object, *path: str) -> dict[str, Any]:
    """The mapping at a path itself, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, dict) else {}


def get_list(body: object, *path: str) -> list[Any]:
    """The list at a path itself, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, list) else []


def get_items(body: object, *path: str) -> list[dict[str, Any]]:
    """The mappings in the list at a path. An item of another type counts as an empty mapping and keeps its place."""
    return [get_mapping(item) for item in get_list(body, *path)]


def get_text(body: object, *path: str) -> str:
    """The text at a path, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, str) else ""


def get_texts(body: object, *path: str) -> dict[str, str]:
    """The texts in the mapping at a path, such as labels and annotations; values of other types are left out."""
    return {name: value for name, value in get_mapping(body, *path).items() if isinstance(value, str)}


def get_integer(body: object, *path: str, least: int = 0) -> int | None:
    """The whole number at a path; None where there is none, or one below `least` or beyond 64 bits."""
    value = get_value(body, *path)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if least <= value < _LIMIT else None


_LIMIT = 2**63
"""The first number beyond those of the API."""


def get_time(body: object, *path: str) -> float | None:
    """The moment at a path (RFC 3339), in seconds since the epoch; None where there is none."""
    try:
        return datetime.fromisoformat(get_text(body, *path)).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_json(text: str) -> Any:
    """Return the data of a JSON text, such as an annotation; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_percent(value: object) -> int | None:
    """A weight from 0 to 100, as a number or as its text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 100 else None


_DIGITS = 3
"""Digits of 100."""
