"""The status: the only memory of a rollout.

It is small, frozen, hashable, and lives in the store (on Kubernetes the Canary's status subresource). Whoever reads it
can go on from there: `decide` needs nothing else of the past. Times are seconds on the observer's clock (`World.now`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore._enum import TextEnum
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore.phases import Pending, Phase

if TYPE_CHECKING:
    from canarycore.notices import Notice


class Reason(TextEnum):
    """How the rollout came to its phase: carried along, so that the texts at the end are true."""

    NONE = ""
    PASSED = "Passed"
    SKIPPED = "Skipped"
    COMMANDED = "Commanded"
    WITHDRAWN = "Withdrawn"
    CHECKS = "FailedChecks"
    INCONCLUSIVE = "Inconclusive"
    DEADLINE = "ProgressDeadlineExceeded"
    HOOK = "RollbackHook"
    PROMOTION = "PromotionFailed"
    ABORTED = "Aborted"


@frozen(kw_only=True, slots=False)  # a dict is copied in a third of the time, and every decision makes a copy
class Status:
    """Where a rollout stands.

    phase: Flagger's phase. reason: how it got there.
    since: when the phase began; None before the first decision.
    analysed_at: when the last analysis counted, or the phase began; the interval is measured from here.
    rung: where traffic should be, by value. failed_checks and holds: of this analysis.
    applied: the revision under test (Flagger `lastAppliedSpec`). promoted: the revision of the primary
    (`lastPromotedSpec`). previous: the one before it, for undo.
    drain_until: the canary keeps running until then, although its traffic is gone.
    paused: by command. handled: id of the last command carried out or refused.
    pending: what a finished phase still owes. outbox: notices committed and perhaps not yet published.
    """

    phase: Phase = Phase.INITIALIZING
    reason: Reason = Reason.NONE
    since: float | None = None
    analysed_at: float = 0.0
    rung: Rung = INITIAL_RUNG
    failed_checks: int = 0
    holds: int = 0
    applied: str = ""
    promoted: str = ""
    previous: str = ""
    drain_until: float = 0.0
    paused: bool = False
    handled: str = ""
    pending: tuple[Pending, ...] = ()
    outbox: tuple[Notice, ...] = field(default=())

    def but(self, **changes: Any) -> Status:
        """This status with some fields changed."""
        new = _blank(Status)
        values = new.__dict__
        values.update(self.__dict__)
        values.update(changes)
        return new

    @property
    def is_settled(self) -> bool:
        """Whether the phase owes nothing more; an idle rollout that is settled is silent."""
        return not self.pending


_blank = object.__new__
