"""A policy in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore._ladder import Strategy
from canarycore.text import format_timespan

if TYPE_CHECKING:
    from canarycore._ladder import Ladder
    from canarycore._spec import Rollout


def describe_policy(rollout: Rollout) -> str:
    """Return a rollout's policy, such as `app.test: weights 5 to 50 in 10 steps, every 1m00s; 5 failed checks …`."""
    if rollout.skip_analysis:
        return f"{rollout.full_name}: promoted without an analysis"
    threshold = "1 failed check rolls" if rollout.threshold == 1 else f"{rollout.threshold} failed checks roll"
    steps = _describe_ladder(rollout.ladder)
    return f"{rollout.full_name}: {steps}, every {format_timespan(rollout.interval)}; {threshold} back"


def _describe_ladder(ladder: Ladder) -> str:
    mirrored = ", mirrored first" if ladder.mirror else ""
    if ladder.strategy is Strategy.WEIGHTS:
        weights = [rung.percent for rung in ladder.rungs if rung.weight]
        steps = f"{len(weights)} step" + ("s" if len(weights) > 1 else "")
        return (
            f"weights {weights[0]:g} to {weights[-1]:g} in {steps}{mirrored}{_describe_stays(ladder)}"
            if weights
            else "no step"
        )
    kind = "A/B test" if ladder.strategy is Strategy.AB else "blue/green"
    return f"{kind} of {ladder.iterations} iterations{mirrored}"


def _describe_stays(ladder: Ladder) -> str:
    steps = ladder.stays.values()
    matches = sum(bool(step.match) for step in steps)
    mirrors = sum(bool(step.mirror) for step in steps)
    sizes = [str(step.size) for step in steps if step.size is not None]
    hold, approvals = sum(step.hold for step in steps), sum(step.approval for step in steps)
    parts = [f"holds of {format_timespan(hold)}"] if hold else []
    parts += [f"{approvals} approval" + ("s" if approvals > 1 else "")] if approvals else []
    parts += [f"{matches} match" + ("es" if matches > 1 else "")] if matches else []
    parts += [f"{mirrors} mirror" + ("s" if mirrors > 1 else "")] if mirrors else []
    parts += [f"canary sizes {', '.join(sizes)}"] if sizes else []
    return f", {' and '.join(parts)}" if parts else ""
