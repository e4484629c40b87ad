"""A test of a share against chance, for real traffic: Envoy draws the side of each request."""

from __future__ import annotations

from canarycore.policy._tails import at_most

LEAST_PROBABILITY = 1e-7
"""Least probability of a count as small, or as great, by chance alone."""

STRAYS = 3
"""Requests that a busy machine may send under some routes and deliver under the next ones."""


def is_share(part: int, whole: int, percent: float) -> bool:
    """Return whether `part` of `whole` requests may be a share of so many percent, up to chance and strays."""
    share = percent / 100
    not_too_few = at_most(part + STRAYS, whole, share) > LEAST_PROBABILITY
    return not_too_few and 1.0 - at_most(part - STRAYS - 1, whole, share) > LEAST_PROBABILITY
