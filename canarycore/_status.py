"""The status: the only memory of a rollout.

It is small, frozen and hashable, and lives in the store (on Kubernetes, in the status subresource of the Canary). Every
process that reads it can continue: `decide` needs nothing else of the past. Times are seconds on the observation's
clock (`Observation.now`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore.phases import Pending, Phase, Reason

if TYPE_CHECKING:
    from canarycore.notices import Notice
    from canarycore.results import AnalysisResult, RolloutEnd


@frozen(kw_only=True, slots=False)  # every decision copies it, and a dict copies three times as fast
class Status:
    """The state of a rollout. Stores keep it under the names of its fields."""

    phase: Phase = Phase.INITIALIZING
    """The phase (Flagger: `status.phase`)."""
    reason: Reason = Reason.NONE
    """The reason for the phase."""
    since: float | None = None
    """When the phase began, in seconds; None before the first decision."""
    analysed_at: float = 0.0
    """When the last analysis counted, or when the phase began, in seconds. The interval starts here."""
    rung: Rung = INITIAL_RUNG
    """The rung of the ladder, by value."""
    failed_checks: int = 0
    """The number of failed checks in this analysis (Flagger: `failedChecks`)."""
    holds: int = 0
    """The number of holds in this analysis."""
    applied: str = ""
    """The revision under test (Flagger: `lastAppliedSpec`)."""
    promoted: str = ""
    """The revision of the primary (Flagger: `lastPromotedSpec`)."""
    previous: str = ""
    """The revision before `promoted`, for an undo."""
    drain_until: float = 0.0
    """Until when the canary keeps running without traffic, in seconds."""
    paused: bool = False
    """Whether a command paused the rollout."""
    handled: str = ""
    """The id of the last command that the rollout carried out or refused."""
    pending: tuple[Pending, ...] = ()
    """The work that an idle phase still owes."""
    outbox: tuple[Notice, ...] = field(default=())
    """The notices of the last commit; some may not be published yet."""
    analysis: AnalysisResult | None = field(default=None, eq=False)
    """The last analysis of the rollout under way. No decision depends on it, so equality ignores it."""
    end: RolloutEnd | None = field(default=None, eq=False)
    """The end of the last rollout. No decision depends on it, so equality ignores it."""

    def but(self, **changes: Any) -> Status:
        """Return a copy of this status with these fields changed."""
        new = _blank(Status)
        values = new.__dict__
        values.update(self.__dict__)
        values.update(changes)
        return new

    @property
    def is_settled(self) -> bool:
        """Whether the phase owes nothing more; a settled idle rollout publishes nothing."""
        return not self.pending


_blank = object.__new__
