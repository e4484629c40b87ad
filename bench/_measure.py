"""Measuring on a machine that others use too: in turns, several times, medians.

Ours and its peer are run alternately, so that a busy moment falls on both; a ratio within one run therefore says more
than either figure. Work in this process is timed by its own CPU time, started interpreters by the clock on the wall.
"""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 9
ROUND_SECONDS = 0.15

Timer = "Callable[[], float]"


@frozen(kw_only=True)
class Row:
    """One figure. Either `per_second` (of `unit`) or `seconds`; `ratio` is ours to the peer's, more is faster.

    `peer` says what it stands beside, `peer_per_second` / `peer_seconds` how fast that was; None where there is none.
    """

    name: str
    unit: str
    per_second: float | None = None
    seconds: float | None = None
    peer: str | None = None
    peer_per_second: float | None = None
    peer_seconds: float | None = None
    ratio: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: without what does not apply, except `peer` and `ratio`, which every row has."""
        return {key: value for key, value in asdict(self).items() if value is not None or key in {"peer", "ratio"}}


def throughput(
    name: str,
    unit: str,
    ours: Callable[[], object],
    peer: str | None = None,
    theirs: Callable[[], object] | None = None,
) -> Row:
    """How often a second `ours` runs, beside `theirs`. Both are called without arguments, again and again."""
    times = _in_turns([_per_call(ours)] if theirs is None else [_per_call(ours), _per_call(theirs)])
    per_second = 1 / times[0]
    if theirs is None:
        return Row(name=name, unit=unit, per_second=per_second)
    return Row(
        name=name,
        unit=unit,
        per_second=per_second,
        peer=peer,
        peer_per_second=1 / times[1],
        ratio=times[1] / times[0],
    )


def duration(name: str, unit: str, ours: Callable[[], float], peer: str, theirs: Callable[[], float]) -> Row:
    """How long `ours` takes, beside `theirs`. Both return seconds that they measured themselves."""
    seconds, peer_seconds = _in_turns([ours, theirs])
    return Row(
        name=name, unit=unit, seconds=seconds, peer=peer, peer_seconds=peer_seconds, ratio=peer_seconds / seconds
    )


def _in_turns(timers: list[Callable[[], float]]) -> list[float]:
    rounds = [[timer() for timer in timers] for _ in range(ROUNDS)]
    return [median(column) for column in zip(*rounds, strict=True)]


def _per_call(work: Callable[[], object]) -> Callable[[], float]:
    """A timer of one call, from as many calls as fill a round."""
    work()
    started = process_time()
    count = 0
    while process_time() - started < ROUND_SECONDS / 3:
        work()
        count += 1
    calls = range(max(1, 3 * count))

    def timer() -> float:
        before = process_time()
        for _ in calls:
            work()
        return (process_time() - before) / len(calls)

    return timer
