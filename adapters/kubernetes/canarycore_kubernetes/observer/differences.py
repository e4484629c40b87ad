"""The differences between two controllers, and the known reasons for them.

The rows are those of docs/differences.md. Only differences that show in statuses and observations have a row here. A
difference without a row is unexplained, and somebody should investigate it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import Decision, Observation, Phase, Rollout, Status
from canarycore.phases import ACTIVE, BEFORE_PROMOTION, PROMOTION, Rule
from canarycore.text import describe_state, describe_traffic
from canarycore_kubernetes.api.metadata import is_revision

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class RolloutPosition:
    """The visible part of a status."""

    phase: str
    """The phase; empty before the first write."""

    weight: int
    """The percentage of requests to the canary."""

    iteration: int
    failed_checks: int

    def __str__(self) -> str:
        traffic = describe_traffic(self.weight, iteration=self.iteration)
        return describe_state(self.phase or "no phase", traffic, checks=(self.failed_checks, None))


def position_of(status: Status) -> RolloutPosition:
    """Return the position of a status. A status without a first write has no phase."""
    phase = "" if status.since is None else status.phase.value
    return RolloutPosition(phase, status.rung.weight, status.rung.iteration, status.failed_checks)


@frozen(kw_only=True)
class Difference:
    """A move of the other controller that differs from our decision."""

    rollout: Rollout

    before: Status
    """The status before both."""

    theirs: Status | None
    """The status that they wrote; None where they wrote none."""

    ours: Decision
    """Our decision."""

    observation: Observation
    """The observation that led to our decision."""

    is_early: bool = False
    """Whether they moved before an interval had passed."""

    @property
    def row(self) -> str:
        """The row of docs/differences.md that explains it; "" where none does."""
        return next((row for row, explains in _ROWS if explains(self)), "")

    @property
    def rule(self) -> Rule:
        return self.ours.explanation.rule

    def moved_to(self, *phases: Phase) -> bool:
        """Check whether they moved to one of these phases."""
        return self.theirs is not None and self.theirs.phase in phases


def _began_after_hand_back(difference: Difference) -> bool:
    """Check whether they analyse a revision again because they do not know our name of it."""
    after = difference.theirs
    return (
        after is not None
        and after.phase in BEFORE_PROMOTION
        and after.rung.is_initial
        and is_revision(difference.before.applied)
        and not is_revision(after.applied)
    )


def _past_the_threshold(difference: Difference) -> bool:
    return difference.moved_to(*ACTIVE) and difference.rule is Rule.ROLLED_BACK_CHECKS


def _back_at_a_gate(difference: Difference) -> bool:
    after = difference.theirs
    return after is not None and after.phase in ACTIVE and after.rung.iteration < difference.before.rung.iteration


def _primary_at_zero(difference: Difference) -> bool:
    primary = difference.observation.primary
    return difference.before.phase in ACTIVE and primary is not None and primary.desired == 0


def _weights_by_hand(difference: Difference) -> bool:
    routes = difference.observation.routes
    by_hand = routes is not None and routes.weight != difference.before.rung.weight
    return (
        difference.rule is Rule.CONVERGING
        and difference.theirs is not None
        and difference.before.phase in ACTIVE
        and by_hand
    )


def _weight_forgotten_at_a_gate(difference: Difference) -> bool:
    after, ours = difference.theirs, difference.ours.status
    at_a_gate = difference.before.phase is Phase.WAITING_PROMOTION
    return after is not None and at_a_gate and after.phase is ours.phase and after.rung.weight < ours.rung.weight


def _routes_refused(difference: Difference) -> bool:
    return difference.observation.refusal is not None and difference.rule is Rule.CONVERGING


_ROWS: tuple[tuple[str, Callable[[Difference], bool]], ...] = (
    ("D156", _began_after_hand_back),
    ("D12", lambda difference: difference.is_early),
    ("D01", lambda difference: difference.rule is Rule.WITHDRAWN),
    ("D02", _past_the_threshold),
    ("D14", lambda difference: difference.rule is Rule.SKIPPED and difference.moved_to(Phase.SUCCEEDED)),
    ("D39", lambda difference: difference.rule is Rule.RESTARTED and difference.before.phase is Phase.PROMOTING),
    ("D40", lambda difference: difference.before.phase is Phase.INITIALIZING and difference.moved_to(Phase.FAILED)),
    ("D06", lambda difference: difference.before.phase in PROMOTION and difference.moved_to(Phase.FAILED)),
    ("D19", lambda difference: difference.before.phase is Phase.FAILED and difference.theirs is None),
    ("D15", _weight_forgotten_at_a_gate),
    ("D26", _back_at_a_gate),
    ("D08", _primary_at_zero),
    ("D13", _weights_by_hand),
    ("D121", _routes_refused),
)

REFUSED: dict[str, str] = {"no-step": "D18", "rising": "D32"}
"""Rules by which a manifest is refused that Flagger takes, and the rows that say why."""
