"""The views of the web page: plain data, the same for a cluster, a rehearsal and a simulation.

    row = make_row(rollout, status, weights=history.weights(key))
    details = make_details(rollout, status, row, now=now)

A view refers to the core's own results, so the page shows what the status keeps.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import CommandKind, Phase, Status
from canarycore.phases import ACTIVE, BEFORE_PROMOTION, PROMOTED, UNDER_WAY, Approval
from canarycore.results import AnalysisResult, RolloutEnd, format_time
from canarycore.text import describe_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from canarycore import Rollout

NEW = "Not looked at yet"
"""The phase of a rollout before its first decision."""


class Tone(Enum):
    """The tone of a state, which decides its colour. The text beside it says the same."""

    GOOD = "good"
    BUSY = "busy"
    BAD = "bad"


class StateFilter(Enum):
    """A selection of rollouts in the list."""

    ALL = "all"
    BUSY = "busy"
    BAD = "bad"
    GOOD = "good"


@frozen
class WeightPoint:
    """A weight from a moment on."""

    at: float
    """The moment, in seconds since 1970, or since the start of a simulation."""
    weight: int
    """Percent of requests to the new version."""


@frozen(kw_only=True)
class RolloutRow:
    """A rollout in the list."""

    key: str
    """The rollout, as `namespace/name`."""
    phase: str
    """The phase, as users see it."""
    tone: Tone
    """The tone of the state."""
    state: str
    """The state in words."""
    weight: int = 0
    """Percent of requests to the new version."""
    trouble: str = ""
    """The reason why the rollout does not go on, or empty."""
    cause: str = ""
    """The checks that failed, or the cause of the last rollback, or empty."""
    weights: tuple[WeightPoint, ...] = ()
    """The weight over time, oldest first."""


@frozen(kw_only=True)
class ConditionView:
    """A condition of a status."""

    type: str
    """The type."""
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str = ""
    """The reason, in one word."""
    message: str = ""
    """The message."""


@frozen(kw_only=True)
class EventView:
    """An event about a rollout."""

    at: str
    """The last time of the event (RFC 3339)."""
    text: str
    """The message."""
    is_warning: bool = False
    """Whether the event is a warning."""
    count: int = 1
    """The number of repetitions, at least 1."""


@frozen(kw_only=True)
class RolloutDetails:
    """A rollout on a page of its own."""

    row: RolloutRow
    """The rollout in the list."""
    facts: tuple[tuple[str, str], ...] = ()
    """Names and values, such as the policy and the pods."""
    until: float = 0.0
    """The end of the chart, on the clock of the weights."""
    analyses: tuple[AnalysisResult, ...] = ()
    """The analyses, newest first."""
    end: RolloutEnd | None = None
    """The end of the last rollout."""
    conditions: tuple[ConditionView, ...] = ()
    """The conditions."""
    events: tuple[EventView, ...] = ()
    """The events, newest first."""
    events_note: str = ""
    """The reason why there are no events to show, or empty."""
    commands: tuple[CommandKind, ...] = ()
    """The commands that the rollout would carry out in its phase."""
    pending: str = ""
    """The kind of a command that nobody has handled yet, or empty."""


@frozen(kw_only=True)
class Visitor:
    """The person who looks at a page."""

    form_token: str
    """The token of the person's forms."""
    name: str = ""
    """The name of a viewer who has signed in, or empty."""
    may_command: bool = False
    """Whether the viewer may send commands to the rollout on the page."""


def make_row(rollout: Rollout, status: Status, *, trouble: str = "", weights: Sequence[WeightPoint] = ()) -> RolloutRow:
    """Return the row of a rollout. `trouble` is why it does not go on, or empty."""
    phase, rung = NEW if status.since is None else status.phase.value, status.rung
    return RolloutRow(
        key=f"{rollout.namespace}/{rollout.name}",
        phase=phase,
        tone=_tone(status.phase, trouble),
        state=describe_state(
            phase,
            str(rung),
            reason=status.reason.value,
            checks=(status.failed_checks, rollout.threshold),
            flags=[*status.flags, *(["suspended"] if rollout.suspend else [])],
        ),
        weight=round(rung.percent),
        trouble=trouble,
        cause=_cause(status),
        weights=tuple(weights),
    )


def make_broken_row(key: str, phase: str, trouble: str) -> RolloutRow:
    """Return the row of a rollout whose manifest is invalid."""
    return RolloutRow(key=key, phase=phase, tone=Tone.BAD, state=phase, trouble=trouble)


def make_details(
    rollout: Rollout,
    status: Status,
    row: RolloutRow,
    *,
    now: float,
    facts: Iterable[tuple[str, str]] = (),
    analyses: Sequence[AnalysisResult] = (),
    conditions: Iterable[ConditionView] = (),
    events: Iterable[EventView] = (),
    events_note: str = "",
    pending: str = "",
) -> RolloutDetails:
    """Return the page of a rollout. `now` is on the clock of the weights, `analyses` are newest first."""
    own = (
        ("Target", f"{rollout.target.kind} {rollout.target.name}"),
        ("Provider", rollout.provider),
        ("Revision", status.applied or "none yet"),
        ("Promoted revision", status.promoted or "none yet"),
        ("In this phase since", format_time(status.since) if status.since else ""),
    )
    ends = [point.at for point in row.weights]
    return RolloutDetails(
        row=row,
        facts=tuple((name, value) for name, value in (*facts, *own) if value),
        until=now if status.phase in UNDER_WAY else max(ends, default=now),
        analyses=tuple(analyses) or (() if status.analysis is None else (status.analysis,)),
        end=status.end,
        conditions=tuple(conditions),
        events=tuple(events),
        events_note=events_note,
        commands=find_commands(status),
        pending=pending,
    )


def find_commands(status: Status) -> tuple[CommandKind, ...]:
    """Return the commands that make sense in the status. The rollout itself decides, and may refuse them."""
    phase = status.phase
    useful = {
        CommandKind.PROMOTE: phase in BEFORE_PROMOTION or phase is Phase.FAILED,
        CommandKind.ABORT: phase in UNDER_WAY,
        CommandKind.PAUSE: phase in UNDER_WAY and not status.paused,
        CommandKind.RESUME: phase in UNDER_WAY and status.paused,
        CommandKind.APPROVE: phase in ACTIVE and status.approval is Approval.ASKED,
        CommandKind.RETRY: phase is Phase.FAILED,
    }
    return tuple(kind for kind, is_useful in useful.items() if is_useful)


def select_rows(rows: Iterable[RolloutRow], text: str, state: StateFilter) -> list[RolloutRow]:
    """Return the rows whose key contains the text, in the state: first the bad ones, then the busy ones."""
    wanted = text.strip().lower()
    chosen = [row for row in rows if wanted in row.key.lower() and state.value in {"all", row.tone.value}]
    return sorted(chosen, key=lambda row: (_ORDER[row.tone], row.key))


_ORDER = {Tone.BAD: 0, Tone.BUSY: 1, Tone.GOOD: 2}


def _tone(phase: Phase, trouble: str) -> Tone:
    if trouble or phase is Phase.FAILED:
        return Tone.BAD
    return Tone.GOOD if phase in PROMOTED else Tone.BUSY


def _cause(status: Status) -> str:
    if status.end is not None and status.end.phase is status.phase:
        return status.end.cause
    return "" if status.analysis is None else status.analysis.failures
