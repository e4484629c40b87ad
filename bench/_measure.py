"""Measurements on a shared machine: in turns, several times, medians.

The rounds of canarycore and its peer alternate, so that a busy moment affects both. So the ratio within a run is more
reliable than either figure. The timer of work in this process is its CPU time, that of a started interpreter wall time.
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
    """One figure, as a rate or as a duration."""

    name: str
    unit: str
    """The counted work, such as "decisions"."""
    per_second: float | None = None
    """The rate; None if the row is a duration."""
    seconds: float | None = None
    """The duration; None if the row is a rate."""
    peer: str | None = None
    """The tool beside it; None if there is none."""
    peer_per_second: float | None = None
    peer_seconds: float | None = None
    ratio: float | None = None
    """The speed in relation to the peer's: above 1 is faster."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON, without fields that are None; `peer` and `ratio` are always present."""
        return {key: value for key, value in asdict(self).items() if value is not None or key in {"peer", "ratio"}}


def throughput(
    name: str,
    unit: str,
    ours: Callable[[], object],
    peer: str | None = None,
    theirs: Callable[[], object] | None = None,
) -> Row:
    """Return how often a second `ours` runs, beside `theirs`. Both take no arguments and run many times."""
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


def duration(
    name: str, unit: str, ours: Callable[[], float], peer: str, theirs: Callable[[], float], *, rounds: int = ROUNDS
) -> Row:
    """Return how long `ours` takes, beside `theirs`. Both measure and return their seconds."""
    seconds, peer_seconds = _in_turns([ours, theirs], rounds)
    return Row(
        name=name, unit=unit, seconds=seconds, peer=peer, peer_seconds=peer_seconds, ratio=peer_seconds / seconds
    )


def _in_turns(timers: list[Callable[[], float]], rounds: int = ROUNDS) -> list[float]:
    rows = [[timer() for timer in timers] for _ in range(rounds)]
    return [median(column) for column in zip(*rows, strict=True)]


def _per_call(work: Callable[[], object]) -> Callable[[], float]:
    """Return a timer of one call; it makes as many calls as fill a round."""
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
