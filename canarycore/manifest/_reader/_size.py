"""The size of an object, before anything of it is read.

One walk counts values, levels and characters, and ends at the first bound that is exceeded. So the reading that follows
has a bounded cost, whatever the API server or a file delivers.
"""

from __future__ import annotations

from collections.abc import Mapping

from canarycore import bounds
from canarycore.errors import Problem
from canarycore.manifest._reader._path import join
from canarycore.text import shorten

_MOST_BITS = 64 + 1
"""Bits of a whole number, with its sign."""

_Place = tuple["_Place", str | int] | None
"""A place as the place around it and the key there: a path is written only where something is wrong."""


def find_excess(
    document: object,
    at: str = "",
    *,
    values: bounds.Bound = bounds.VALUES,
    texts: bounds.Bound = bounds.TEXTS,
    depth: bounds.Bound = bounds.DEPTH,
) -> Problem | None:
    """Return the first bound that a document exceeds, or None. `at` is the document's path."""
    pending: list[tuple[object, int, _Place]] = [(document, 0, None)]
    count, characters = 1, 0
    while pending:
        value, level, place = pending.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, Mapping | list | tuple):
            count += len(value)
            if level == depth.most:
                return _exceeds(at, place, "a value on a deeper level", depth)
            if count > values.most:
                return _exceeds(at, place, "more values", values)
            if isinstance(value, Mapping):
                for key, inner in value.items():
                    if not isinstance(key, str):
                        return _odd_key(at, place, key)
                    characters += len(key)
                    if len(key) > bounds.KEY.most:
                        return _exceeds(at, place, f"the key {shorten(key)} of {len(key)} characters", bounds.KEY)
                    pending.append((inner, level + 1, (place, key)))
            else:
                pending += ((inner, level + 1, (place, index)) for index, inner in enumerate(value))
        elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
            return _exceeds(at, place, shorten(value), bounds.DIGITS)
        if characters > texts.most:
            return _exceeds(at, place, "more text", texts)
    return None


def _exceeds(at: str, place: _Place, found: str, bound: bounds.Bound) -> Problem:
    return Problem(
        path=_path(at, place),
        found=found,
        expected=f"{bound} in {bound.of}",
        remedy="Remove what is not needed.",
        rule="bound",
    )


def _odd_key(at: str, place: _Place, key: object) -> Problem:
    return Problem(
        path=_path(at, place),
        found=f"the key {shorten(key)}",
        expected="a text as the key",
        remedy="Put it in quotes.",
        rule="type",
    )


def _path(at: str, place: _Place) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    for key in reversed(keys):
        at = join(at, key)
    return at
