"""Bounds of chance on a count, for tests of real traffic: Envoy draws a side for each request."""

from __future__ import annotations

from canarycore.policy._tails import at_most

DOUBT = 1e-7
"""How likely chance alone must be to make a count as small, or as great, as one that is believed."""

STRAYS = 3
"""Requests that a busy machine may send while some routes are in force and deliver when the next ones are."""


def is_share(part: int, whole: int, percent: float) -> bool:
    """Whether `part` of `whole` requests may be what chance, and strays, make of so many percent."""
    share = percent / 100
    not_too_few = at_most(part + STRAYS, whole, share) > DOUBT
    return not_too_few and 1.0 - at_most(part - STRAYS - 1, whole, share) > DOUBT
