"""Rows as data frames. Nothing of canarycore needs a library of data frames; this file loads one on demand."""

from __future__ import annotations

from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from canarycore.text import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARIES = ("pandas", "polars")


def make_frame(rows: Sequence[dict[str, Any]], library: str = "") -> Any:
    """Return rows with the same keys as a frame of this library, or of the first that is installed.

    Raise ModuleNotFoundError where there is none, and ValueError for another library.
    """
    if library and library not in LIBRARIES:
        raise ValueError(f"library: found {shorten(library)}, expected {' or '.join(map(repr, LIBRARIES))}")
    columns = {name: [_cell(row[name]) for row in rows] for name in rows[0]}
    for name in (library,) if library else LIBRARIES:
        try:
            module = import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            continue
        options = {"strict": False} if name == "polars" else {}  # a column may mix whole numbers and others
        return module.DataFrame(columns, **options)
    needed = library or " or ".join(LIBRARIES)
    raise ModuleNotFoundError(f"to_frame needs {needed}: pip install {library or LIBRARIES[0]}", name=needed)


def _cell(value: object) -> object:
    """Return a value that a column can hold: a plain one as it is, a member of an enumeration as its value."""
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
