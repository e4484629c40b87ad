"""Numbers and durations in Go's format, as in Flagger's texts."""

from __future__ import annotations

import math

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""The units of a duration in nanoseconds. Go has no day, as its length varies."""


def number(value: float) -> str:
    """Return `value` as Go's `%v` prints a float64: 99, 99.5, 1e+21."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)  # for the remaining values, repr uses an exponent where Go does


def duration(nanoseconds: int) -> str:
    """Return `nanoseconds` as Go's `time.Duration` prints them: 0s, 500ms, 1.2s, 1m0s, 1h0m0s."""
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    if left < NANOSECONDS["s"]:
        unit = next(unit for unit in ("ms", "\u00b5s", "ns") if left >= NANOSECONDS[unit])
        return f"{sign}{_decimal(left, NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(left, NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, NANOSECONDS['s'])}s"
    if hours:
        text = f"{hours}h{minutes}m{text}"
    elif minutes:
        text = f"{minutes}m{text}"
    return sign + text


def _decimal(nanoseconds: int, unit: int) -> str:
    """Return `nanoseconds` in `unit`, exact and without trailing zeros."""
    whole, rest = divmod(nanoseconds, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
