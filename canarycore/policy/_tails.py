"""Binomial tails to nearly full precision, with the standard library only.

A probability is computed from its deviance, as in Loader (2000), "Fast and accurate computation of binomial
probabilities": log-gammas of large numbers would cancel, deviances do not. A tail is the probability at its edge times
the sum of the ratios outward from there. The ratios are positive and fall, so the sum subtracts nothing. The sum starts
from no success instead where the edge is low and no success is likely enough.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, lgamma, log, log1p, pi, sqrt

_TINY = 1e-18

_FEW, _FAINT = 64, -100.0
"""Most successes of a tail to sum from no success, and the least logarithm of the probability of no success."""


@lru_cache(maxsize=4096)
def at_most(k: int, n: int, p: float) -> float:
    """Return the probability of at most `k` successes in `n` independent trials of probability `p`."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 0.0
    if k <= _FEW and (none := n * log1p(-p)) > _FAINT:
        return _from_none(k, n, exp(none), p / (1.0 - p))
    if k + 1 > (n + 1) * p:
        return 1.0 - _outward(n - k - 1, n, 1.0 - p, p)
    return _outward(k, n, p, 1.0 - p)


def order_statistic_below(u: float, n: int, share: float) -> float:
    """Return the probability that the sample quantile `share` of `n` > 0 uniform draws is at most `u`."""
    rank = max(ceil(share * n), 1)
    return 1.0 - at_most(rank - 1, n, min(max(u, 0.0), 1.0))


def _from_none(k: int, n: int, none: float, odds: float) -> float:
    """Return the probability of at most `k` successes of `n`, summed from no success upwards."""
    term = total = none
    for hits in range(k):
        term *= (n - hits) / (hits + 1) * odds
        total += term
    return min(total, 1.0)


def _outward(k: int, n: int, p: float, q: float) -> float:
    """Return the lower tail up to `k` below the mean. `q` is 1 - `p`, and exact where `p` is rounded to 1."""
    odds = q / p
    term = total = _exactly(k, n, p, q)
    while k > 0 and term > total * _TINY:
        term *= k / (n - k + 1) * odds
        total += term
        k -= 1
    return min(total, 1.0)


def _exactly(k: int, n: int, p: float, q: float) -> float:
    if k == 0:
        return float(q**n)
    rest = n - k
    deviance = _stirling(n) - _stirling(k) - _stirling(rest) - _deviance(k, n * p) - _deviance(rest, n * q)
    return exp(deviance) * sqrt(n / (2.0 * pi * k * rest))


def _stirling(n: int) -> float:
    """Return the error of Stirling's formula for log n!."""
    if n < 16:
        return lgamma(n + 1.0) - (n + 0.5) * log(n) + n - 0.5 * log(2.0 * pi)
    square = 1.0 / (n * n)
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - square / 1188) * square) * square) * square) / n


def _deviance(x: float, mean: float) -> float:
    """Return x log(x / mean) + mean - x, without cancellation where x is near the mean."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * log(x / mean) + mean - x
    ratio = (x - mean) / (x + mean)
    total, power, number = (x - mean) * ratio, 2.0 * x * ratio, 1
    while True:
        power *= ratio * ratio
        more = total + power / (2 * number + 1)
        if more == total:
            return total
        total, number = more, number + 1
