"""Durations in Go's notation: "1m30s", "500ms", "1.5h".

Flagger's manifests and texts use Go's time.Duration. Here a duration is a float of seconds.
"""

from __future__ import annotations

import re
from fractions import Fraction

from canarycore._go_format import NANOSECONDS, duration
from canarycore.bounds import DURATION
from canarycore.text import shorten

LONGEST = 2**63 - 1
"""Longest duration of Go in nanoseconds, about 292 years: a number of 64 bits."""

_PART = re.compile(r"(\d++\.?\d*+|\.\d++)([a-z\u00b5\u03bc]++)")
_NUMBER = re.compile(r"\d++\.?\d*+|\.\d++")
_SECOND = NANOSECONDS["s"]


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration such as "1m30s".

    The text has an optional sign, then one or more decimal numbers with a unit each, in at most
    `canarycore.bounds.DURATION` characters; a bare "0" needs no unit. Raise ValueError with the mistake otherwise.
    """
    if len(text) > DURATION.most:
        raise ValueError(f"{shorten(text)} has {len(text)} characters; a duration has {DURATION}")
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0.0
    total, at = Fraction(0), 0
    while at < len(body):
        part = _PART.match(body, at)
        if part is None:
            raise ValueError(_complaint(text, body[at:]))
        number, unit = part.groups()
        if unit not in NANOSECONDS:
            raise ValueError(f"{text!r} has the unit {unit!r}; the units are {', '.join(NANOSECONDS)}")
        total += Fraction(number) * NANOSECONDS[unit]
        at = part.end()
    if at == 0:
        raise ValueError(_complaint(text, body))
    if total > LONGEST:
        raise ValueError(f"{text!r} is longer than the 292 years that a Go duration can hold")
    return float(sign * int(total) / Fraction(_SECOND))


def _complaint(text: str, rest: str) -> str:
    if not rest:
        return f"{text!r} is empty; a duration is a number and a unit such as '30s'"
    if _NUMBER.fullmatch(rest):
        return f"{text!r} ends without a unit; write '{text}s' for seconds"
    return f"{text!r} is not a number with a unit such as '30s' or '1m30s'"


def format_duration(seconds: float) -> str:
    """Return a duration in the format of Go's `Duration.String`: "1m30s", "1.2s", "500ms", "0s"."""
    return duration(round(Fraction(seconds) * _SECOND))
