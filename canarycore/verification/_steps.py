"""The steps of a schedule as plain data, which a program prints and replays.

`Proceed` and `Answers` are free. All other steps are **faults**: a schedule with k faults has k of them. `Excuse` says
how a step may change the end of the rollout. A crash, a conflict, a timeout, a stale cache or a second leader may
change nothing. The one exception is a leader that acts on an old status: it may leave the canary running in an idle
phase, where the canary gets no traffic and a notice reports it.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

if TYPE_CHECKING:
    from canarycore.questions import Answer
    from canarycore.simulation.actions import Action


class Excuse(IntFlag):
    """The ways in which the steps of a schedule may change the end of a rollout."""

    NONE = 0
    """The end must be the one without faults."""
    OTHER = 1
    """The end may be any sound one."""
    FAIL = 2
    """The end may be a rollback."""
    WAIT = 4
    """The end may be a wait for an action of others, in a named state that a notice reports."""
    SIZE = 8
    """The end may have another number of pods."""


@frozen
class Proceed:
    """The next request of the controller succeeds."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class Answers:
    """Answers of the providers to the questions of the controller."""

    answers: tuple[Answer, ...]
    """The answers, in the order of the questions."""
    excuse: Excuse = Excuse.FAIL
    """The change of the end that the answers allow."""


@frozen
class AnswersWithoutNumber:
    """Answers of the providers, one of them without a number: no data, NaN, too few requests, or an error."""

    answers: tuple[Answer, ...]
    """The answers, in the order of the questions."""
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class Crash:
    """A crash of the process. A new process starts at once and remembers nothing."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class CommitConflict:
    """A conflict of the commit, as another writer changed the resource. Several in a row lead to the same state."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class WriteTimeout:
    """A timeout, 429 or 5xx of a write."""

    applied: bool
    """Whether the cluster carried out the write."""
    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class StaleObservation:
    """A success, after which the next observation shows the workloads and routes from before this cycle."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class StaleStatus:
    """A success, after which the next observation shows the status from before this cycle."""

    excuse: ClassVar[Excuse] = Excuse.SIZE


@frozen
class ExtraCycle:
    """A cycle that is not due: a duplicate event, a resync, a timer that fires twice."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class LateTimer:
    """A late timer, with no events in between."""

    seconds: float
    """Seconds by which the timer is late."""
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class ClockJump:
    """A change of the clock; pods take as long to get ready as before."""

    seconds: float
    """Seconds forward; back if negative."""
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class RivalCycle:
    """A whole cycle of a second process with an empty memory."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class Takeover:
    """A stall of the process, during which a second one leads."""

    seconds: float
    """Seconds of the stall."""
    excuse: ClassVar[Excuse] = Excuse.SIZE


@frozen
class ActorAction:
    """An action of others on the cluster."""

    action: Action
    """The action."""
    excuse: Excuse = Excuse.NONE
    """The change of the end that the action allows."""


Step = (
    Proceed
    | Answers
    | AnswersWithoutNumber
    | Crash
    | CommitConflict
    | WriteTimeout
    | StaleObservation
    | StaleStatus
    | ExtraCycle
    | LateTimer
    | ClockJump
    | RivalCycle
    | Takeover
    | ActorAction
)

FREE = (Proceed, Answers)
"""Types of the steps that are no faults."""
