"""A histogram of latencies."""

from __future__ import annotations

import math
from collections import Counter

from attrs import define, field

_SMALLEST = 1e-6
_STEP = math.log(1.005)


@define
class Latencies:
    """A histogram of latencies with buckets of 0.5 %. Its size does not grow with the number of requests."""

    count: int = 0
    total: float = 0.0
    """The sum, in seconds."""
    least: float = math.inf
    most: float = 0.0
    _buckets: Counter[int] = field(factory=Counter, repr=False)

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a latency."""
        self.count += times
        self.total += seconds * times
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)
        self._buckets[int(math.log(max(seconds / _SMALLEST, 1.0)) / _STEP)] += times

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 without latencies."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, fraction: float) -> float:
        """Return the latency in seconds that `fraction` (0 to 1) of all do not exceed; 0 without latencies."""
        rank, below = fraction * self.count, 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= rank:
                middle = _SMALLEST * math.exp(_STEP * (bucket + 0.5))
                return min(max(middle, self.least), self.most)
        return 0.0
