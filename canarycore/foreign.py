"""Readers for objects of other programs: a value of the wrong type counts as absent, and nothing raises.

    for rule in get_items(virtual_service, "spec", "http"):
        host = get_text(rule, "route", "host")

An API server checks some kinds strictly and others not at all, and a mesh may extend its own. A caller names the type
that it can use and decides what an absent value means. So an object of unknown form has unknown routes or no counts,
instead of stopping its reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def get_value(body: object, *path: str) -> Any:
    """Return the value at a path, of any type; None if a part of the path is absent or no mapping."""
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def get_mapping(body: object, *path: str) -> dict[str, Any]:
    """Return the mapping at a path itself, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, dict) else {}


def get_list(body: object, *path: str) -> list[Any]:
    """Return the list at a path itself, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, list) else []


def get_items(body: object, *path: str) -> list[dict[str, Any]]:
    """Return the mappings in the list at a path. An item of another type becomes an empty mapping in its place."""
    return [get_mapping(item) for item in get_list(body, *path)]


def get_text(body: object, *path: str) -> str:
    """Return the text at a path, or an empty one."""
    value = get_value(body, *path)
    return value if isinstance(value, str) else ""


def get_texts(body: object, *path: str) -> dict[str, str]:
    """Return the texts in the mapping at a path, such as labels and annotations, without values of other types."""
    return {name: value for name, value in get_mapping(body, *path).items() if isinstance(value, str)}


def get_integer(body: object, *path: str, least: int = 0) -> int | None:
    """Return the whole number at a path; None if there is none, or it is below `least` or beyond 64 bits."""
    value = get_value(body, *path)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if least <= value < _LIMIT else None


_LIMIT = 2**63
"""The first number beyond the API's 64 bits."""


def get_time(body: object, *path: str) -> float | None:
    """Return the time at a path (RFC 3339) in seconds since the epoch; None if there is none."""
    try:
        return datetime.fromisoformat(get_text(body, *path)).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_json(text: str) -> Any:
    """Return the data of a JSON text, such as an annotation; None if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_percent(value: object) -> int | None:
    """Return a weight from 0 to 100 from a number or its text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 100 else None


_DIGITS = 3
"""The number of digits of 100."""
