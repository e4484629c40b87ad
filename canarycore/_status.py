"""The status: the only memory of a rollout.

It is small, frozen and hashable, and lives in the store (on Kubernetes, in the status subresource of the Canary). Every
process that reads it can continue: `decide` needs nothing else of the past. Times are seconds on the observation's
clock (`Observation.now`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore._fields import (
    CHECKS_OF_METRICS,
    FINITE,
    FLAG,
    FREE_TEXT,
    LONG_COUNT,
    REQUIRED_TEXT,
    instance,
    instance_named,
    items,
    optional,
)
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore._limits import CheckTally
from canarycore.bounds import REVISIONS, STORED_ITEMS
from canarycore.notices import Notice
from canarycore.phases import ACTIVE, Approval, CutShort, Pending, Phase, Reason

if TYPE_CHECKING:
    from canarycore.results import AnalysisResult, RolloutEnd

_ANALYSIS = optional(instance_named("AnalysisResult"))
_END = optional(instance_named("RolloutEnd"))


@frozen(kw_only=True, slots=False)  # every decision copies it, and a dict copies three times as fast
class Status:
    """The state of a rollout. Stores keep it under the names of its fields.

    Raises FieldError if a value does not fit its field; `but` copies without a check.
    """

    phase: Phase = field(default=Phase.INITIALIZING, validator=instance(Phase))
    """The phase (Flagger: `status.phase`)."""
    reason: Reason = field(default=Reason.NONE, validator=instance(Reason))
    """The reason for the phase."""
    since: float | None = field(default=None, validator=optional(FINITE))
    """When the phase began, in seconds; None before the first decision."""
    analysed_at: float = field(default=0.0, validator=FINITE)
    """When the last analysis counted, or when the phase began, in seconds. The interval starts here."""
    rung: Rung = field(default=INITIAL_RUNG, validator=instance(Rung))
    """The rung of the ladder, by value."""
    reached_at: float | None = field(default=None, validator=optional(FINITE))
    """When the rollout reached its rung, in seconds; None where no step of the ladder holds."""
    approval: Approval = field(default=Approval.NONE, validator=instance(Approval))
    """The approval of the step."""
    failed_checks: int = field(default=0, validator=LONG_COUNT)
    """The number of failed checks in this analysis (Flagger: `failedChecks`)."""
    holds: int = field(default=0, validator=LONG_COUNT)
    """The number of holds in this analysis."""
    tallies: tuple[CheckTally, ...] = field(default=(), validator=items(instance(CheckTally), CHECKS_OF_METRICS))
    """The measurements on this rung of the checks with limits of their own, sorted by check."""
    applied: str = field(default="", validator=FREE_TEXT)
    """The revision under test (Flagger: `lastAppliedSpec`)."""
    promoted: str = field(default="", validator=FREE_TEXT)
    """The revision of the primary (Flagger: `lastPromotedSpec`)."""
    previous: str = field(default="", validator=FREE_TEXT)
    """The revision before `promoted`, for an undo."""
    history: tuple[str, ...] = field(default=(), validator=items(REQUIRED_TEXT, REVISIONS))
    """The revisions that were promoted before `promoted`, the latest first. None of them was ever rejected. A promotion
    of one of them drops those above it: nobody returns forward."""
    rejected: tuple[str, ...] = field(default=(), validator=items(REQUIRED_TEXT, REVISIONS))
    """The last revisions that a rollback or an abort rejected, the latest last. A revision stays here when it is
    promoted later: `undo` never returns to it."""
    drain_until: float = field(default=0.0, validator=FINITE)
    """Until when the canary keeps running without traffic, in seconds."""
    paused: bool = field(default=False, validator=FLAG)
    """Whether a command paused the rollout."""
    returning: bool = field(default=False, validator=FLAG)
    """Whether traffic goes back to the primary by steps after a rollback (`Rollout.gradual_return`): `reason` says why,
    and `rung` how much the canary still has."""
    capacity: int = field(default=0, validator=LONG_COUNT)
    """The ready pods that the primary had for all traffic at the start of the rollout; 0 where no return follows its
    capacity (`GradualReturn.follows_capacity`)."""
    cut_short: CutShort = field(default=CutShort.NONE, validator=instance(CutShort))
    """Why that return, or the way back of a promotion, ended before its last step."""
    handled: str = field(default="", validator=FREE_TEXT)
    """The id of the last command that the rollout carried out or refused."""
    refusal: str = field(default="", eq=False, validator=FREE_TEXT)
    """Why the rollout refused that command; empty where it carried it out. No decision depends on it, so equality
    ignores it."""
    pending: tuple[Pending, ...] = field(default=(), validator=items(instance(Pending)))
    """The work that an idle phase still owes."""
    outbox: tuple[Notice, ...] = field(default=(), validator=items(instance(Notice), STORED_ITEMS))
    """The notices of the last commit; some may not be published yet."""
    analysis: AnalysisResult | None = field(
        default=None, eq=False, validator=optional(instance_named("AnalysisResult"))
    )
    """The last analysis of the rollout under way. No decision depends on it, so equality ignores it."""
    end: RolloutEnd | None = field(default=None, eq=False, validator=_END)
    """The end of the last rollout. No decision depends on it, so equality ignores it."""

    def but(self, **changes: Any) -> Status:
        """Return a copy of this status with these fields changed."""
        new = _blank(Status)
        values = new.__dict__
        values.update(self.__dict__)
        values.update(changes)
        return new

    @property
    def is_frozen(self) -> bool:
        """Whether a failed analysis froze the rollout (`Rollout.on_failure`): it is paused, and `reason` says why."""
        return self.paused and self.phase in ACTIVE and self.reason is not Reason.NONE

    @property
    def flags(self) -> tuple[str, ...]:
        """The reasons beside its phase: `paused` or `frozen`, `waiting for approval`, `returning`."""
        return (
            *(("frozen" if self.is_frozen else "paused",) if self.paused else ()),
            *(("waiting for approval",) if self.approval is Approval.ASKED else ()),
            *(("returning",) if self.returning else ()),
        )

    @property
    def is_settled(self) -> bool:
        """Whether the phase owes nothing more; a settled idle rollout publishes nothing."""
        return not self.pending


_blank = object.__new__
