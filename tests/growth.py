"""Whether work grows no faster than its input: a ratio, so that a slow or busy machine changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

FLOOR = 0.02
"""Seconds below which a time says nothing about growth."""

LIMIT = 10.0
"""How many times as long four times the input may take: linear work takes 4, quadratic 16."""


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest processor time of some repeats: what else the machine does only lengthens them."""
    times = []
    for _ in range(repeats):
        start = thread_time()
        work()
        times.append(thread_time() - start)
    return min(times)


def is_linear(work: Callable[[int], Callable[[], object]], size: int, tries: int = 3) -> bool:
    """Whether four times the size takes at most ten times as long. `work(size)` prepares the work of that size.

    One repeat of the greater size suffices: a longer one only causes a further try.
    """
    for _ in range(tries):
        few, many = seconds(work(size)), seconds(work(4 * size), repeats=1)
        if many < FLOOR or many <= LIMIT * few:
            return True
    return False
