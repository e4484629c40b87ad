"""What can happen to a rollout at one point of its life: each is plain data, printed and replayed as it stands.

`Proceed` is what happens when nothing goes wrong; `Answers` is one of the answers a provider may give; both are free.
All others are **faults**: a schedule with k faults has k of them. Each fault knows what it may change about the end
(`Excuse`): a crash, a conflict, a timeout, a stale cache or a second leader may change nothing at all. Only a leader
that acts on an old status may leave the canary running in an idle phase: nobody serves from it, it is told, and what is
idle is not enforced.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

if TYPE_CHECKING:
    from canarycore.questions import Answer
    from canarycore.simulation.actions import Action


class Excuse(IntFlag):
    """What happened on the way, as far as it may change the end.

    OTHER: the end need not be the one without faults, but must be a sound one. FAIL: a rollback is called for. WAIT: it
    may end waiting for somebody, in a named state that was told. SIZE: somebody else decides how many pods there are.
    """

    NONE = 0
    OTHER = 1
    FAIL = 2
    WAIT = 4
    SIZE = 8


@frozen
class Proceed:
    """The next thing happens as it should."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class Answers:
    """The providers answer the questions asked, in this order."""

    answers: tuple[Answer, ...]
    excuse: Excuse = Excuse.FAIL


@frozen
class AnswersWithoutNumber:
    """The providers answer so, and one of them has no number: no data, NaN, too few requests, or an error."""

    answers: tuple[Answer, ...]
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class Crash:
    """The process dies here. A new one starts at once and remembers nothing."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class CommitConflict:
    """The commit meets a conflict: somebody changed the resource in between. Several in a row lead to the same."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class WriteTimeout:
    """The write times out, or gets a 429 or 5xx; `applied` tells whether it was carried out all the same."""

    applied: bool
    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class StaleObservation:
    """As it should; but the next observation shows the workloads and routes as they were before this cycle."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class StaleStatus:
    """As it should; but the next observation shows the status as it was before this cycle."""

    excuse: ClassVar[Excuse] = Excuse.SIZE


@frozen
class ExtraCycle:
    """A cycle runs although none is due: a duplicate event, a resync, a timer that fired twice."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class LateTimer:
    """Events are missed and the timer fires this many seconds late."""

    seconds: float
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class ClockJump:
    """The clock is set forward, or back if negative; what pods do takes as long as before."""

    seconds: float
    excuse: ClassVar[Excuse] = Excuse.FAIL


@frozen
class RivalCycle:
    """A second process, that knows nothing of the first, runs a whole cycle here."""

    excuse: ClassVar[Excuse] = Excuse.NONE


@frozen
class Takeover:
    """The process stalls here for this many seconds, and a second one leads meanwhile."""

    seconds: float
    excuse: ClassVar[Excuse] = Excuse.SIZE


@frozen
class ActorAction:
    """Somebody else changes the world here."""

    action: Action
    excuse: Excuse = Excuse.NONE


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
"""Steps that are no faults."""
