"""Looking into documents of foreign kinds, which nobody has checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dig(document: object, *keys: str) -> Any:
    """A value deep inside a document, or None."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def items(value: object) -> list[Any]:
    """The items of a list; none of anything else."""
    return value if isinstance(value, list) else []
