"""Values from outside in messages: short, whatever they are."""

from __future__ import annotations

LONGEST_SHOWN = 60
"""Characters of a value that a message repeats."""

_MOST_BITS = 128
"""A greater whole number is told by its size: Python refuses to write one of more than 4,300 digits."""


def shorten(value: object) -> str:
    """Return `value` for a message, as `repr` writes it, cut after `LONGEST_SHOWN` characters.

    The cost does not depend on the size of the value.
    """
    match value:
        case str() | bytes():
            return repr(value) if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]!r}..."
        case int() if value.bit_length() > _MOST_BITS:
            return "a number of more than 38 digits"
        case None | int() | float():
            return repr(value)
        case _:
            return f"a {type(value).__name__}"
