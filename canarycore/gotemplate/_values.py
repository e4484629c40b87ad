"""Values of templates: their truth, their types' names and their texts, as Go has them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isinf, isnan
from typing import Any, Final

from canarycore._enum import TextEnum

__all__ = ["MISSING", "Missing", "Value", "describe", "float_text", "is_true", "text_of"]


class Missing(TextEnum):
    """The value of a key that a mapping lacks. It is false, and has no text."""

    MISSING = "<no value>"


MISSING: Final = Missing.MISSING

Value = Any
"""None, bool, int, float, str, MISSING, or a mapping of str keys to values."""

_LARGE, _SMALL = 6, -4
"""The exponents from which on, and below which, Go writes a float in scientific notation (`%v`, `%g`)."""

_TYPES = {bool: "bool", int: "int", float: "float64", str: "string"}


def is_true(value: Value) -> bool:
    """Check whether a value counts as true: it is neither absent nor zero nor empty."""
    return value is not MISSING and bool(value)


def describe(value: Value) -> str:
    """Return the name of a value's type in Go."""
    if value is None or value is MISSING:
        return "untyped nil"
    return "map[string]string" if isinstance(value, Mapping) else _TYPES[type(value)]


def text_of(value: Value) -> str:
    """Return the text of a value as `fmt.Sprint` writes it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{name}:{text_of(value[name])}' for name in sorted(value))}]"
    return str(value)


def float_text(value: float) -> str:
    """Return the shortest text of a float (`%v`, `%g`)."""
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value == inf else "-Inf"
    digits, exponent = _shortest(value)
    sign = "-" if str(value).startswith("-") else ""
    if not _SMALL <= exponent < _LARGE:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}{f'.{fraction}' if fraction else ''}"


def _shortest(value: float) -> tuple[str, int]:
    """Return the fewest digits that identify a float, and the exponent of the first one."""
    mantissa, _, exponent = f"{abs(value):.17e}".partition("e")
    for precision in range(17):
        short = f"{abs(value):.{precision}e}"
        if float(short) == abs(value):
            mantissa, _, exponent = short.partition("e")
            break
    return mantissa.replace(".", "").rstrip("0") or "0", int(exponent)
