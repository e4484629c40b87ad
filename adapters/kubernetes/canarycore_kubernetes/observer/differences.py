"""What an observer compares: where a rollout stands for all to see; and the known reasons why two controllers part.

The rows are those of docs/differences.md. Only what can be told from statuses and from the world has one here: a
difference without a row is not explained, and worth a look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import Decision, Observation, Phase, Rollout, Status
from canarycore.phases import ACTIVE, PROMOTION, Rule
from canarycore.text import describe_state, describe_traffic

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class RolloutPosition:
    """A status as its users see it. weight: percent of requests to the canary."""

    phase: str
    weight: int
    iteration: int
    failed_checks: int

    def __str__(self) -> str:
        traffic = describe_traffic(self.weight, iteration=self.iteration)
        return describe_state(self.phase or "no phase", traffic, checks=(self.failed_checks, None))


def position_of(status: Status) -> RolloutPosition:
    """How a status looks. One that nobody has written yet has no phase."""
    phase = "" if status.since is None else status.phase.value
    return RolloutPosition(phase, status.rung.weight, status.rung.iteration, status.failed_checks)


@frozen(kw_only=True)
class Difference:
    """Two controllers part. before: both came from there. theirs: what was written; None where nothing was.

    ours: what we would have decided, in `world`. early: they did not let an interval pass.
    """

    rollout: Rollout
    before: Status
    theirs: Status | None
    ours: Decision
    world: Observation
    early: bool = False

    @property
    def row(self) -> str:
        """The row of docs/differences.md that tells of it; "" where none does."""
        return next((row for row, tells in _ROWS if tells(self)), "")

    @property
    def rule(self) -> Rule:
        return self.ours.explanation.rule

    def went_to(self, *phases: Phase) -> bool:
        """Whether they moved, to one of these phases."""
        return self.theirs is not None and self.theirs.phase in phases


def _past_the_threshold(found: Difference) -> bool:
    return found.went_to(*ACTIVE) and found.rule is Rule.ROLLED_BACK_CHECKS


def _back_at_a_gate(found: Difference) -> bool:
    after = found.theirs
    return after is not None and after.phase in ACTIVE and after.rung.iteration < found.before.rung.iteration


def _primary_at_zero(found: Difference) -> bool:
    primary = found.world.primary
    return found.before.phase in ACTIVE and primary is not None and primary.desired == 0


def _weights_by_hand(found: Difference) -> bool:
    routes = found.world.routes
    by_hand = routes is not None and routes.weight != found.before.rung.weight
    return found.rule is Rule.CONVERGING and found.theirs is not None and found.before.phase in ACTIVE and by_hand


def _weight_forgotten_at_a_gate(found: Difference) -> bool:
    after, ours = found.theirs, found.ours.status
    at_a_gate = found.before.phase is Phase.WAITING_PROMOTION
    return after is not None and at_a_gate and after.phase is ours.phase and after.rung.weight < ours.rung.weight


_ROWS: tuple[tuple[str, Callable[[Difference], bool]], ...] = (
    ("D12", lambda found: found.early),
    ("D01", lambda found: found.rule is Rule.WITHDRAWN),
    ("D02", _past_the_threshold),
    ("D14", lambda found: found.rule is Rule.SKIPPED and found.went_to(Phase.SUCCEEDED)),
    ("D39", lambda found: found.rule is Rule.RESTARTED and found.before.phase is Phase.PROMOTING),
    ("D40", lambda found: found.before.phase is Phase.INITIALIZING and found.went_to(Phase.FAILED)),
    ("D06", lambda found: found.before.phase in PROMOTION and found.went_to(Phase.FAILED)),
    ("D19", lambda found: found.before.phase is Phase.FAILED and found.theirs is None),
    ("D15", _weight_forgotten_at_a_gate),
    ("D26", _back_at_a_gate),
    ("D08", _primary_at_zero),
    ("D13", _weights_by_hand),
)

REFUSED: dict[str, str] = {"no-step": "D18", "rising": "D32"}
"""Rules by which a manifest is refused that Flagger takes, and the rows that say why."""
