"""A trace, replayed and compared: the two stories after all rows, and where they still part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from tests.conformance.drivers.port import Replay, replay
from tests.conformance.rows.case import Case, cut, explain
from tests.conformance.rows.looks import without_answers
from tests.conformance.rows.table import DROPPING, ROWS, refusal
from tests.conformance.story import Story, differences
from tests.conformance.trace import Trace, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.drivers.port import Driver


@frozen(kw_only=True)
class Verdict:
    """`used`: ids of the rows that were needed. `parts`: one text per channel in which the stories differ."""

    trace: Trace
    ours: Replay
    case: Case
    used: tuple[str, ...]
    parts: tuple[str, ...]


def judge(folder: Path, driver: Callable[[Trace], Driver]) -> Verdict:
    """Replay the trace in `folder` against a controller, and compare."""
    trace = read(folder)
    recorded = trace.recorded
    case, dropped = explain(Case(trace=trace, expected=recorded), DROPPING)
    played = without_answers(trace, recorded, case.expected)
    ours = replay(played, driver(played))
    return compared(trace, evolve(case, found=ours.story), ours, dropped)


def compared(trace: Trace, case: Case, ours: Replay, used: tuple[str, ...] = ()) -> Verdict:
    """Both stories, made comparable by the rows."""
    refused = refusal(ours.refused)
    if refused and ours.refused_at < 0:
        return Verdict(trace=trace, ours=ours, case=case, used=refused, parts=())
    if refused:
        case = evolve(case, expected=cut(case.expected, ours.refused_at, ()))
    case, more = explain(case, ROWS)
    parts = tuple(differences(case.expected, case.found))
    if not parts and ours.unmet and not case.expected.open_end:
        parts = (f"the waits of actions {ours.unmet} never came true",)
    return Verdict(trace=trace, ours=ours, case=case, used=tuple(sorted({*used, *refused, *more})), parts=parts)


def as_flagger(folder: Path) -> tuple[str, ...]:
    """Where a controller that did exactly what Flagger did would differ from what we promise."""
    trace = read(folder)
    recorded = trace.recorded
    case, _ = explain(Case(trace=trace, expected=recorded), DROPPING)
    return compared(trace, evolve(case, found=Story(recorded.ticks)), Replay(story=recorded)).parts
