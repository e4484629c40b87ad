"""Exact draws that `random.Random` lacks before Python 3.13."""

from __future__ import annotations

from math import ceil, log, log1p, nextafter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_FEW = 16.0
"""Expected number of successes up to which walking from one to the next is faster."""


_BELOW_1 = nextafter(1.0, 0.0)


def binomial(random: Random, n: int, p: float) -> int:
    """Draw the number of successes in `n` independent trials of probability `p`.

    A large `n` is halved first: the uniform of the median trial is Beta-distributed, and decides on which side of `p`
    half of the trials lie (Devroye 1986, X.4.3). The work grows with the logarithm of `n`.
    """
    if p > 0.5:
        return n - binomial(random, n, 1.0 - p)
    hits = 0
    while n * p > _FEW:
        middle = n // 2 + 1
        uniform = random.betavariate(middle, n + 1 - middle)
        if uniform <= p:
            hits += middle
            n, p = n - middle, min(max((p - uniform) / (1.0 - uniform), 0.0), 1.0)
        else:
            n, p = middle - 1, min(p / uniform, 1.0)
        if p > 0.5:
            return hits + binomial(random, n, p)
    return hits + _walk(random, n, p)


def _walk(random: Random, n: int, p: float) -> int:
    """Draw the number of successes by the geometric gaps between them."""
    if n <= 0 or p <= 0.0:
        return 0
    draw, scale, position, hits = random.random, log1p(-p), 0, 0
    while True:
        gap = log(1.0 - draw()) / scale  # infinite where `p` is near the least float
        if gap >= n - position:
            return hits
        position += int(gap) + 1
        hits += 1


def percentile(random: Random, n: int, share: float) -> float:
    """Draw the sample quantile `share` of `n` > 0 uniform draws: that order statistic is Beta-distributed.

    The result is below 1, as each uniform draw is: a response time of 1 would be infinite.
    """
    rank = max(ceil(share * n), 1)
    return min(random.betavariate(rank, n + 1 - rank), _BELOW_1)
