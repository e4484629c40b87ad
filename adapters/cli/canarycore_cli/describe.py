"""A rollout's policy in one sentence, and the colours of outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Strategy
from canarycore.policy import Outcome
from canarycore_cli.console import format_timespan

if TYPE_CHECKING:
    from canarycore import Ladder, Rollout

_STYLES = {Outcome.PROMOTED: "bold green", Outcome.ROLLED_BACK: "bold red", Outcome.UNDECIDED: "bold yellow"}


def described(rollout: Rollout) -> str:
    """Who is rolled out how, such as `podinfo.test: weights 5 to 50 in 10 steps, every 1m00s, 5 failed checks …`."""
    if rollout.skip_analysis:
        return f"{rollout.full_name}: promoted without an analysis"
    threshold = "1 failed check rolls" if rollout.threshold == 1 else f"{rollout.threshold} failed checks roll"
    return f"{rollout.full_name}: {_climb(rollout.ladder)}, every {format_timespan(rollout.interval)}; {threshold} back"


def outcome_style(outcome: Outcome) -> str:
    """A style of rich."""
    return _STYLES[outcome]


def _climb(ladder: Ladder) -> str:
    mirrored = ", mirrored first" if ladder.mirror else ""
    if ladder.strategy is Strategy.WEIGHTS:
        weights = [rung.weight for rung in ladder.rungs if rung.weight]
        steps = f"{len(weights)} step" + ("s" if len(weights) > 1 else "")
        return f"weights {weights[0]} to {weights[-1]} in {steps}{mirrored}" if weights else "no step"
    kind = "A/B test" if ladder.strategy is Strategy.AB else "blue/green"
    return f"{kind} of {ladder.iterations} iterations{mirrored}"
