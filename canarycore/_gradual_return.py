"""The gradual return: after a rollback, traffic goes back to the primary by steps (`analysis.rollback`).

The phase is Failed from the rollback on, with its reason, and `Status.returning` says that the canary still has the
traffic of `Status.rung`. Each step is a commit of its own before its effect. The canary keeps its pods meanwhile.

A return always ends. It is **cut short** (all traffic goes back at once, with an alert) where steps no longer help: the
deadline has passed, the canary has no ready pods, the target has another revision, or the policy is gone. So traffic
never waits for ever for capacity that waits for traffic.

A return may follow the primary's capacity (`GradualReturn.follows_capacity`): each step waits until the load of a ready
pod is at most a quarter above that at the start of the rollout, when `Status.capacity` pods had all traffic. The way
back of a promotion then waits in the same way, and so does each increase of the canary's weight, by the canary's pods.
An increase that waits longer than the deadline of a return is left to the checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore._canary_size import FULL_SIZE
from canarycore._decision import Decision, DecisionBuilder
from canarycore._goal import converge, goal
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore._observation import MOST_PERMILLE
from canarycore.notices import NoticeKind
from canarycore.phases import BEFORE_ANALYSIS, CutShort, Rule
from canarycore.text import format_weight

if TYPE_CHECKING:
    from canarycore._observation import Observation, Workload
    from canarycore._spec import GradualReturn, Rollout
    from canarycore._status import Status


_PODS, _FOR = 4, 5
"""So many pods bear the load for which so many were ready at the start of the rollout. An autoscaler changes nothing
while the load is within a tenth of its target, so the load may rise by 1.1 / 0.9 while it rests: the rest of the pods
would never come."""


def begin_return(builder: DecisionBuilder) -> dict[str, Any]:
    """Return the changes of a status that rolls back: the first step of a gradual return, or all traffic at once."""
    rollout, status = builder.rollout, builder.status
    policy = rollout.gradual_return
    if policy is None or status.phase in BEFORE_ANALYSIS or _explain_loss(builder) is not CutShort.NONE:
        return {}
    actual = _traffic(status, builder.observation)
    rung = actual if explain_overload(builder, actual) else _step_down(rollout, policy, actual)
    if rung.is_initial:
        return {}
    if rung != status.rung:
        _report_step(builder, rung)
    return {"rung": rung, "returning": True}


def return_traffic(builder: DecisionBuilder) -> Decision:
    """Take one step of a gradual return when it is due, end the return, or wait."""
    rollout, status, observation = builder.rollout, builder.status, builder.observation
    policy = rollout.gradual_return
    if policy is None:
        return cut_short(builder, CutShort.POLICY)
    end, why = (status.since or 0.0) + rollout.longest_return, _explain_loss(builder)
    if why is CutShort.NONE and observation.has_reached(end):
        why = CutShort.DEADLINE
    if why is not CutShort.NONE:
        return cut_short(builder, why)
    actual = _traffic(status, observation)
    if actual.permille < status.rung.permille:
        return _step(builder, actual)
    plan = converge(goal(rollout, status), observation)
    if not plan.done:
        builder.emit_plan(plan)
        return builder.wait(Rule.CONVERGING, min(builder.next_poll, end))
    due = status.analysed_at + policy.interval
    if not observation.has_reached(due):
        builder.detail = f"{status.rung.percent:g}% of the requests are still on the canary"
        return builder.wait(Rule.STEPPING_DOWN, min(due, end))
    overload = explain_overload(builder, status.rung)
    if overload:
        return hold_traffic(builder, overload, end)
    return _step(builder, _step_down(rollout, policy, status.rung))


def count_capacity(builder: DecisionBuilder) -> int:
    """Return the pods of a primary that has all traffic, if a return follows them; else 0."""
    policy, primary = builder.rollout.gradual_return, builder.observation.primary
    if policy is None or not policy.follows_capacity or primary is None:
        return 0
    return max(primary.ready or primary.desired, 0)


def explain_overload(builder: DecisionBuilder, rung: Rung) -> str:
    """Return why the primary cannot take more than its present share of the requests, or empty.

    Its ready pods have to bear the share before the next step, not after it. An autoscaler adds pods only for load, so
    a primary that had to grow first would never grow.
    """
    return _explain_load(builder, "primary", builder.observation.primary, MOST_PERMILLE - rung.permille)


def explain_canary_overload(builder: DecisionBuilder, after: Rung) -> str:
    """Return why the canary cannot take more than its present share of the requests, or empty.

    The rule is that of the primary: its ready pods have to bear the share before the next increase. A step with a size
    has the pods that its owner chose.
    """
    rung, ladder = builder.status.rung, builder.rollout.ladder
    if ladder.in_place or not rung.weight or after.permille <= rung.permille or ladder.size_on(rung) != FULL_SIZE:
        return ""
    return _explain_load(builder, "canary", builder.observation.target, rung.permille)


def _explain_load(builder: DecisionBuilder, name: str, side: Workload | None, share: int) -> str:
    """Return why the ready pods of a side do not bear its share (permille), or empty."""
    policy, capacity = builder.rollout.gradual_return, builder.status.capacity
    ready = 0 if side is None else side.ready
    if policy is None or not policy.follows_capacity or share * capacity * _PODS <= ready * MOST_PERMILLE * _FOR:
        return ""
    return f"{ready} ready pods of the {name} have {share / 10:g}% of the requests, {capacity} had all before"


def hold_traffic(builder: DecisionBuilder, overload: str, end: float) -> Decision:
    """Wait for pods of the side that gets more traffic, at most until `end`."""
    builder.detail = overload
    builder.emit(NoticeKind.NO_CAPACITY, overload)
    return builder.wait(Rule.SHORT_OF_CAPACITY, min(builder.next_poll, end))


def cut_short(builder: DecisionBuilder, why: CutShort, **changes: Any) -> Decision:
    """End a gradual return before its last step: all traffic goes back at once, and an alert says why."""
    report_cut(builder, why)
    return builder.change(Rule.CUT_SHORT, **_end(builder), cut_short=why, **changes)


def report_cut(builder: DecisionBuilder, why: CutShort) -> None:
    """Report that all traffic goes to the primary at once."""
    builder.emit(NoticeKind.RETURN_CUT_SHORT, why.value)
    builder.emit(NoticeKind.RETURN_CUT_SHORT_ALERT, why.value)


def promotion_step(rollout: Rollout) -> int:
    """Return the share that each step of a promotion's way back moves; 0 moves all traffic at once.

    A return that follows capacity lends its step: a primary without traffic has no load that lets it grow.
    """
    policy, ladder = rollout.gradual_return, rollout.ladder
    if ladder.step_back or ladder.in_place or policy is None or not policy.follows_capacity:
        return ladder.step_back
    return policy.step


def _end(builder: DecisionBuilder) -> dict[str, Any]:
    """Return the changes of a status whose traffic is all back on the primary; the canary drains from now on."""
    drained = builder.observation.now + builder.rollout.drain
    return {
        "rung": INITIAL_RUNG,
        "returning": False,
        "drain_until": max(builder.status.drain_until, drained),
        "analysed_at": builder.observation.now,
    }


def _explain_loss(builder: DecisionBuilder) -> CutShort:
    """Return why the canary can no longer serve while the traffic returns."""
    target = builder.observation.target
    if target is None or not target.has_capacity:
        return CutShort.UNREADY
    return CutShort.REVISION if target.revision != builder.status.applied else CutShort.NONE


def _traffic(status: Status, observation: Observation) -> Rung:
    """Return the rung with the canary's traffic: that of the status, or less if the routes in force show less.

    So a return never gives traffic to a rejected revision, whoever took it away.
    """
    rung, routes = status.rung, observation.routes
    if routes is None or routes.permille >= rung.permille:
        return rung
    return Rung(weight=routes.weight, iteration=rung.iteration, tenths=routes.tenths) if routes.weight else INITIAL_RUNG


def _step_down(rollout: Rollout, policy: GradualReturn, rung: Rung) -> Rung:
    """Return the rung after one step of a gradual return. Copies and matched requests go back with the first step."""
    after = rollout.ladder.lower(rung, policy.step)
    return after if after.weight else INITIAL_RUNG


def _step(builder: DecisionBuilder, rung: Rung) -> Decision:
    """Change to a lower rung; the return ends with the initial one."""
    _report_step(builder, rung)
    if rung.is_initial:
        return builder.change(Rule.STEPPED_DOWN, **_end(builder))
    now, policy = builder.observation.now, builder.rollout.gradual_return
    wake = None if policy is None else now + policy.interval
    return builder.change(Rule.STEPPED_DOWN, wake, rung=rung, analysed_at=now)


def _report_step(builder: DecisionBuilder, rung: Rung) -> None:
    if rung.is_initial:
        builder.emit(NoticeKind.ALL_TO_PRIMARY)
    else:
        builder.emit(NoticeKind.PRIMARY_WEIGHT, format_weight(rung.routes.primary, tenths=rung.tenths))
