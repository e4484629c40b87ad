"""How Go writes numbers and durations: Flagger's texts have them, so ours do."""

from __future__ import annotations

import math

_UNITS_MS = ((3_600_000, "h"), (60_000, "m"))


def number(value: float) -> str:
    """`value` as Go's `%v` prints a float64: 99, 99.5, 1e+21."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    return text if "e" not in text or abs(value) < 1e-4 or abs(value) >= 1e21 else f"{value:f}".rstrip("0")


def milliseconds(value: float) -> str:
    """`value` milliseconds as Go's `time.Duration` prints them: 500ms, 1.2s, 1m0s. Fractions are cut off."""
    total = int(value)
    if total == 0:
        return "0s"
    sign, total = ("-", -total) if total < 0 else ("", total)
    if total < 1000:
        return f"{sign}{total}ms"
    text, rest = "", total
    for size, unit in _UNITS_MS:
        if total >= size:
            text += f"{rest // size}{unit}"
            rest %= size
    return f"{sign}{text}{number(rest / 1000)}s"
