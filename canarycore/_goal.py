"""The goal of a status, and the effects that are safe on the way to it.

`goal` is a function of the rollout and the status alone: every process that reads the status has the same goal.
`converge` compares the goal with an observation and returns the effects that are safe now. Order is safety:

  1. capacity before traffic: the canary scales up before it receives anything;
  2. the primary's revision changes only to the goal's, from a target that has it or from a saved copy of it;
  3. traffic follows ready capacity: no write moves traffic towards a side without available pods, and a side that has
     lost all of them loses its traffic to the other;
  4. traffic away before capacity goes: the canary scales down once nothing reaches it and it has drained;
  5. the size of a step before its traffic: more requests, and a promotion, wait until the canary has it and is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore._canary_size import FULL_SIZE
from canarycore._observation import PRIMARY_ONLY, Observation, Routes, Workload
from canarycore.effects import (
    Effect,
    Goal,
    Initialise,
    PauseScaler,
    Plan,
    Promote,
    Resize,
    Restore,
    RestorePrimary,
    ResumeScaler,
    Scale,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.notices import NoticeKind
from canarycore.phases import FINISHED, Phase
from canarycore.text import format_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore._canary_size import CanarySize
    from canarycore._ladder import Rung
    from canarycore._spec import Rollout
    from canarycore._status import Status


def goal(rollout: Rollout, status: Status) -> Goal:
    """Return the goal of `status`: the state of the cluster that its phase requires.

    The page on concepts has the table of phases and goals. The function depends on its arguments alone.
    """
    return _GOALS[status.phase](rollout, status)


def explain_unready(workload: Workload, threshold: int) -> str:
    """Return why a workload is not ready, in Flagger's text; empty if it is.

    `threshold` is the percentage of updated replicas that must be available (Flagger: `primaryReadyThreshold`,
    `canaryReadyThreshold`).
    """
    if workload.stuck:
        return workload.stuck
    updated, desired, ready = workload.updated, workload.desired, workload.ready
    needed = updated * threshold // 100
    if updated < desired:
        return f"{_WAITING} {updated} out of {desired} new replicas have been updated"
    if workload.total > updated:
        return f"{_WAITING} {workload.total - updated} old replicas are pending termination"
    if ready < needed:
        return f"{_WAITING} {ready} of {needed} (readyThreshold {threshold}%) updated replicas are available"
    return ""


_WAITING = "waiting for rollout to finish:"


def is_in_step(rollout: Rollout, status: Status, observation: Observation) -> bool:
    """Whether, during an analysis, both sides are surely ready and `converge` surely returns nothing to do.

    Nearly every analysis meets such a cluster, and this check costs a quarter of the full comparison. False means that
    only the full comparison can tell.
    """
    target, primary = observation.target, observation.primary
    return (
        target is not None
        and primary is not None
        and target.is_whole
        and primary.is_whole
        and target.revision == status.applied
        and primary.revision == status.promoted
        and not observation.scaler_paused
        and (not (rollout.ladder.sizes or target.own) or _has_size(target, _size_on(status.rung, rollout)))
        and observation.routes == _routes_on(status.rung, rollout, status)
    )


# ------------------------------------------------------------------------------------------------- goals by phase


def _initializing(rollout: Rollout, status: Status) -> Goal:
    return Goal(
        routes=PRIMARY_ONLY,
        primary=status.applied,
        is_promoting=True,
        needs_sound_primary=True,
        ready_percent=rollout.primary_ready,
    )


def _idle(rollout: Rollout, status: Status) -> Goal:
    return Goal(
        routes=_primary_only(rollout, status),
        canary=Scale.LEAVE if status.is_settled else Scale.DOWN,
        primary="" if status.is_settled else status.promoted,
        is_promoting=True,
        replacement=status.promoted,
        until=status.drain_until,
    )


def _failed(rollout: Rollout, status: Status) -> Goal:
    if status.returning:
        return _returning(rollout, status)
    return Goal(
        routes=_primary_only(rollout, status),
        canary=Scale.LEAVE if status.is_settled else Scale.DOWN,
        primary=status.promoted,
        replacement=status.promoted,
        needs_sound_primary=not status.is_settled,
        allows_failover=rollout.ladder.routed and not status.is_settled,
        until=status.drain_until,
        ready_percent=0,  # after a rejection, any available pod of the primary is better than the canary
    )


def _returning(rollout: Rollout, status: Status) -> Goal:
    """Return the goal of a gradual return: the canary keeps its pods until it has no traffic."""
    return Goal(
        routes=_without_session(status.rung, rollout, status),
        canary=Scale.UP,
        primary=status.promoted,
        replacement=status.promoted,
        canary_revision=status.applied,
        is_rejecting=True,
        needs_sound_primary=True,
        allows_failover=rollout.ladder.routed,
        ready_percent=0,
    )


def _waiting(rollout: Rollout, status: Status) -> Goal:
    return Goal(routes=_primary_only(rollout, status))


def _active(rollout: Rollout, status: Status) -> Goal:
    return Goal(
        routes=_routes_on(status.rung, rollout, status),
        canary=Scale.UP,
        size=_size_on(status.rung, rollout),
        is_sized=_is_sized(rollout),
        primary=status.promoted,
        canary_revision=status.applied,
        allows_failover=rollout.ladder.routed,
        until=status.analysed_at + rollout.drain,
        ready_percent=rollout.canary_ready,
    )


def _promotion(rollout: Rollout, status: Status) -> Goal:
    return Goal(
        routes=_routes_on(status.rung, rollout, status),
        canary=Scale.UP,
        size=FULL_SIZE,
        is_sized=_is_sized(rollout),
        primary=status.applied,
        is_promoting=True,
        canary_revision=status.applied,
        allows_failover=rollout.ladder.routed,
        ready_percent=rollout.canary_ready,
    )


def _terminating(rollout: Rollout, status: Status) -> Goal:
    return Goal(
        routes=None,
        canary=Scale.GIVE_BACK if rollout.revert_on_deletion else Scale.LEAVE,
        size=FULL_SIZE,
        until=(status.since or 0.0) + rollout.progress_deadline,
        ready_percent=rollout.canary_ready,
    )


def _terminated(rollout: Rollout, status: Status) -> Goal:
    del rollout, status
    return Goal(routes=None)


_GOALS: dict[Phase, Callable[[Rollout, Status], Goal]] = {
    Phase.INITIALIZING: _initializing,
    Phase.INITIALIZED: _idle,
    Phase.WAITING: _waiting,
    Phase.PROGRESSING: _active,
    Phase.WAITING_PROMOTION: _active,
    Phase.PROMOTING: _promotion,
    Phase.FINALISING: _promotion,
    Phase.SUCCEEDED: _idle,
    Phase.FAILED: _failed,
    Phase.TERMINATING: _terminating,
    Phase.TERMINATED: _terminated,
}


_AFTER_A_ROLLOUT = FINISHED | {Phase.FINALISING}


def _primary_only(rollout: Rollout, status: Status) -> Routes:
    """Return routes with all traffic on the primary; they expire the session cookie of the last rollout."""
    if rollout.affinity is None or status.phase not in _AFTER_A_ROLLOUT:
        return PRIMARY_ONLY
    return Routes(expired=status.applied)


def _is_sized(rollout: Rollout) -> bool:
    """Whether the steps of the rollout have sizes, and it takes them."""
    return bool(rollout.ladder.sizes) and not rollout.skip_analysis


def _size_on(rung: Rung, rollout: Rollout) -> CanarySize:
    """Return the size of the canary on a rung. Without an analysis it is promoted at once, and has its full size."""
    return rollout.ladder.size_on(rung) if _is_sized(rollout) else FULL_SIZE


def _routes_on(rung: Rung, rollout: Rollout, status: Status) -> Routes:
    """Return the routes of a rung, with the session cookie of this rollout."""
    if not rung.is_exposed:
        return _primary_only(rollout, status)
    routes = rollout.ladder.routes_on(rung) if rung.matched or rung.mirrored else rung.routes
    if rollout.affinity is None or not rung.weight:
        return routes
    return evolve(routes, cookie=status.applied)


def _without_session(rung: Rung, rollout: Rollout, status: Status) -> Routes:
    """Return the routes of a rung that expire the session cookie: it would keep users on a rejected revision."""
    return rung.routes if rollout.affinity is None else evolve(rung.routes, expired=status.applied)


# ------------------------------------------------------------------------------------------------------- converge


def converge(goal: Goal, observation: Observation) -> Plan:
    """Return the effects that are safe now on the way to `goal`, in order.

    Each effect states an end state, so a repeated plan does nothing new. The function depends on its arguments alone.
    """
    target, primary = observation.target, observation.primary
    canary = goal.canary
    if observation.scaler_paused is not None and (goal.is_sized or (target is not None and target.own)):
        goal = evolve(goal, size=None, is_sized=False)  # the autoscaler would change the replicas back
    if canary is Scale.GIVE_BACK:
        return _give_back(goal, observation)
    effects: list[Effect] = []
    sound = not goal.needs_sound_primary or (primary is not None and _sound(goal, primary))
    done = sound
    is_short = False
    if canary is Scale.UP and target is not None:
        is_short = _is_short(goal, target)
        effects.extend(_scale_up(goal, observation))
        done = done and not effects and _has_goals_size(goal, target)
    if primary is None and goal.replacement:
        done = False
        if _carries(target, goal.replacement):
            effects.append(Initialise(goal.replacement))
    elif goal.primary and (primary is None or primary.revision != goal.primary):
        changed, effect = _change_primary(goal, observation)
        done = done and changed
        if effect is not None and not (is_short and isinstance(effect, Promote) and _serves(primary)):
            effects.append(effect)
    notes: tuple[tuple[NoticeKind, tuple[str, ...]], ...] = ()
    desired = goal.routes
    if desired is not None and desired.is_exposed and target is not None and target.revision != goal.canary_revision:
        desired = _without_canary(desired)  # no analysis covers a later revision
    if desired is not None and is_short:
        held = _hold(desired, observation)
        done, desired = done and held == desired, held
    if desired is not None and not (observation.routes == desired and _both_run(desired, observation)):
        routes, notes = _safe_routes(goal, desired, observation, sound=sound)
        done = done and routes == desired == observation.routes
        if routes is not None and routes != observation.written_routes:
            effects.append(SetRoutes(routes))
    if canary is Scale.DOWN and target is not None and (target.is_scaled_up or observation.scaler_paused is False):
        done = False
        if sound:
            effects.extend(_scale_down(goal, observation))
    return _DONE if done and not effects and not notes else Plan(tuple(effects), done, notes)


_DONE = Plan((), True)


def _scale_up(goal: Goal, observation: Observation) -> list[Effect]:
    """Return the effects that bring the canary to its size; it loses pods only after its traffic, and the drain."""
    effects: list[Effect] = [ResumeScaler()] if observation.scaler_paused else []
    target, size = observation.target, goal.size
    if target is None or (_has_goals_size(goal, target) and not target.is_scaled_down):
        return effects
    own = target.wanted
    replicas = own if size is None else size.count(own)
    if replicas < target.desired and not _may_shrink(goal, observation):
        return effects
    is_full = replicas == own or (not own and (size is None or size.percent > 0))
    effects.append(ScaleUp() if is_full else Resize(replicas))
    return effects


def _has_size(target: Workload, size: CanarySize | None) -> bool:
    """Whether the spec of the target has the replicas of a size; without one any number will do."""
    return size is None or not target.has_replicas or target.desired == size.count(target.wanted)


def _has_goals_size(goal: Goal, target: Workload) -> bool:
    """Whether the target has the size of the goal. A promotion needs all pods of the owner, and no fewer."""
    return _has_size(target, goal.size) or (goal.is_promoting and target.desired > target.wanted)


def _is_short(goal: Goal, target: Workload) -> bool:
    """Whether the canary has not its size yet, or pods of it are not ready."""
    if not (goal.is_sized or target.own) or not target.has_replicas:
        return False
    return not _has_goals_size(goal, target) or (goal.is_sized and bool(explain_unready(target, goal.ready_percent)))


def _may_shrink(goal: Goal, observation: Observation) -> bool:
    """Whether the canary may lose pods: it has no more traffic than its goal, since the drain, and is not promoted."""
    routes, desired = observation.routes, goal.routes
    if goal.is_promoting or routes is None or desired is None or not observation.has_reached(goal.until):
        return False
    return not exposes_more(desired, routes)


def exposes_more(before: Routes, after: Routes) -> bool:
    """Whether the canary gets more requests by `after`, or a kind of them that it did not get."""
    return (
        after.permille > before.permille
        or (after.mirrored and not before.mirrored)
        or (after.matched and not before.matched)
    )


def _hold(desired: Routes, observation: Observation) -> Routes:
    """Return the routes while the canary has not its size: the present ones, if the desired ones expose it more."""
    current = observation.written_routes
    if current is None:
        return _without_canary(desired)
    if not exposes_more(current, desired):
        return desired
    return current if current.permille <= desired.permille else _without_canary(desired)


def _serves(primary: Workload | None) -> bool:
    """Whether the primary has available pods."""
    return primary is not None and primary.has_capacity


def _change_primary(goal: Goal, observation: Observation) -> tuple[bool, Effect | None]:
    """Return whether the primary needs no change, and the effect that brings it to the goal's revision.

    A primary gets the revision under test only by a promotion: then the status is an old one, and the plan undoes
    nothing.
    """
    if observation.primary is None:
        return False, Initialise(goal.primary) if goal.is_promoting and _carries(
            observation.target, goal.primary
        ) else None
    if goal.is_promoting:
        return False, Promote(goal.primary) if _carries(observation.target, goal.primary) else None
    is_under_test = observation.primary.revision == goal.canary_revision and not goal.is_rejecting
    if goal.primary in observation.restorable and not is_under_test:
        return False, RestorePrimary(goal.primary)
    return True, None


def _carries(workload: Workload | None, revision: str) -> bool:
    return workload is not None and workload.revision == revision


def _both_run(routes: Routes, observation: Observation) -> bool:
    """Whether each side that receives requests has available pods."""
    target, primary = observation.target, observation.primary
    if primary is None or primary.ready == 0:
        return False
    return (target is not None and target.ready > 0) or not routes.is_exposed


def _safe_routes(
    goal: Goal, desired: Routes, observation: Observation, *, sound: bool
) -> tuple[Routes | None, tuple[tuple[NoticeKind, tuple[str, ...]], ...]]:
    """Return the routes that are safe now (None: write none), and the notices about them."""
    current = observation.routes
    canary_runs = observation.target is not None and observation.target.has_capacity
    if observation.primary is None or not observation.primary.has_capacity:
        if not (canary_runs and goal.allows_failover):
            return current, ((NoticeKind.NO_CAPACITY, ("the primary has no ready pods",)),)
        sides = ("canary", "primary")
        return _without_primary(desired), ((NoticeKind.FAILOVER, sides), (NoticeKind.FAILOVER_ALERT, sides))
    if desired.is_exposed and not canary_runs:
        return _without_canary(desired), ((NoticeKind.FAILOVER, ("primary", "canary")),)
    if not sound:
        return current, ((NoticeKind.NO_CAPACITY, ("the primary is not ready with the promoted revision",)),)
    if current is not None and current != desired:
        stand_ins = {_without_canary(desired), *((_without_primary(desired),) if goal.allows_failover else ())}
        kind = NoticeKind.RETURNING if current in stand_ins else NoticeKind.REPAIRING
        return desired, ((kind, (_describe(current), _describe(desired))),)
    return desired, ()


def _without_canary(routes: Routes) -> Routes:
    """Return the routes while the canary has no available pods."""
    return evolve(routes, weight=0, mirrored=False, matched=False)


def _without_primary(routes: Routes) -> Routes:
    """Return the routes while the primary has no available pods and the canary stands in."""
    return evolve(routes, weight=routes.total, mirrored=False, matched=False)


def _sound(goal: Goal, primary: Workload) -> bool:
    """Whether every pod of the primary has its revision, and enough of them are available."""
    updated = primary.updated
    return (
        primary.revision == goal.primary
        and primary.total == updated >= primary.desired
        and primary.ready >= updated * goal.ready_percent // 100
    )


def _describe(routes: Routes) -> str:
    return describe_split(routes) + (" mirrored" if routes.mirrored else "") + (" matched" if routes.matched else "")


def describe_split(routes: Routes) -> str:
    """Return the weights of primary and canary in percent, such as `99.5/0.5`."""
    return "/".join(format_weight(weight, tenths=routes.tenths) for weight in (routes.primary, routes.weight))


def _scale_down(goal: Goal, observation: Observation) -> list[Effect]:
    routes, primary, is_draining = observation.routes, observation.primary, not observation.has_reached(goal.until)
    if routes is None or routes.is_exposed or is_draining or primary is None or not primary.has_capacity:
        return []
    effects: list[Effect] = [PauseScaler()] if observation.scaler_paused is False else []
    if observation.target is not None and observation.target.is_scaled_up:
        effects.append(ScaleDown())
    return effects


def _give_back(goal: Goal, observation: Observation) -> Plan:
    """On deletion, wait for the target to run (for a bounded time), then give its traffic and objects back."""
    if observation.is_restored:
        return _DONE
    target = observation.target
    if target is not None:
        up = _scale_up(goal, observation)
        if up:
            return Plan(tuple(up), False)
        is_ready = target.has_capacity and not explain_unready(target, goal.ready_percent)
        if not is_ready and not observation.has_reached(goal.until):
            return Plan((), False, ((NoticeKind.NO_CAPACITY, ("the target is not ready",)),))
    return Plan((Restore(),), False)
