"""The state of a simulated cluster as one value.

`State` is frozen and hashable, and holds everything. Pods are not stepped: the number of ready pods follows from the
last change of their workload, the speed at which its revision starts (`Pace`), and the time. `observe` returns the
core's view of a state, `apply` carries out an effect, and `next_change` returns the next time at which the view changes
by itself.

All times are seconds on the simulated clock. `State.shifted` moves them together, as nothing depends on where 0 is.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore._enum import TextEnum
from canarycore._observation import MOST_PERMILLE, Command, CommandKind, Observation, RouteRefusal, Routes, Workload
from canarycore._record import record
from canarycore._status import Status
from canarycore.effects import (
    Effect,
    Initialise,
    PauseScaler,
    Promote,
    Resize,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Refused
from canarycore.phases import Approval
from canarycore.questions import HookAnswer
from canarycore.simulation.metrics import ByRevision, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore._spec import Rollout, TargetRef


@frozen
class Pace:
    """The speed at which the pods of a revision get ready."""

    delay: float = 0.0
    """Seconds until all pods are ready, in a rolling update too; infinite: never."""
    stuck: float | None = None
    """Seconds after which the platform reports that pods are still not ready; None: it never does."""
    up: float = inf
    """Seconds for which a crash loop is ready each time."""
    down: float = 0.0
    """Seconds for which a crash loop is down each time."""


AT_ONCE = Pace()
"""The pace of pods that are ready at once."""

NEVER = Pace(delay=inf)
"""The pace of pods that never get ready, while the platform keeps waiting."""


def after(seconds: float) -> Pace:
    """Return the pace of pods that get ready after this many seconds."""
    return Pace(delay=seconds)


def stuck(seconds: float = 0.0) -> Pace:
    """Return the pace of pods that never get ready, which the platform reports after this many seconds."""
    return Pace(delay=inf, stuck=seconds)


def crash_loop(up: float, down: float, delay: float = 0.0) -> Pace:
    """Return the pace of pods that get ready after `delay`, and then are up and down in turn (all in seconds)."""
    return Pace(delay=delay, up=up, down=down)


_SURGE = 1
"""Pods that a rolling update starts before it stops an old one."""


@record(kw_only=True)
class SimulatedPods:
    """The pods of one workload, as counts at its last change."""

    revision: str
    """Revision of the template."""
    desired: int
    """Number of pods that the workload should have."""
    changed: float = 0.0
    """Time of the last change of template or size (seconds)."""
    mine: int = 0
    """Pods of `revision` that were ready at the last change."""
    others: int = 0
    """Pods of the previous revision that were ready at the last change."""
    other: str = ""
    """The previous revision; empty where it has no pods."""
    short: float | None = None
    """Time since which too few pods have been available, if that began before the last change (seconds)."""
    detached: float | None = None
    """Time since which no request reaches the pods, because their Service has no endpoints (seconds); None: they are
    reached."""

    def look(self, now: float, pace: Pace, message: str = "") -> Workload:
        """Return the workload as an observer sees it at `now`. message: the platform's, for pods that are stuck."""
        elapsed, desired = now - self.changed, self.desired
        fresh, left = self._ready(elapsed, pace)
        rolling = left > 0
        updated = min(desired, fresh + _SURGE) if rolling else desired
        up = fresh if _is_up(elapsed, pace) else 0
        ready = up + left
        unavailable = ready < desired - desired // 4
        complete = not rolling and ready >= desired
        since = self._short(elapsed, pace) if unavailable else None
        if self.detached is not None:
            ready, since = 0, self.detached if since is None and desired else since
        return Workload(
            revision=self.revision,
            desired=desired,
            updated=updated,
            ready=ready,
            total=updated + left,
            unready_since=since,
            stuck=message if pace.stuck is not None and not complete and elapsed >= pace.stuck else "",
        )

    def _ready(self, elapsed: float, pace: Pace) -> tuple[int, int]:
        """Return the number of ready pods of this revision, and of those left of the previous one."""
        if elapsed >= pace.delay or self.mine >= self.desired:
            return self.desired, 0
        if not self.others:
            return self.mine, 0
        need = self.desired - self.mine
        done = int(elapsed / pace.delay * need) if isfinite(pace.delay) else 0
        return self.mine + done, max(min(self.others, self.desired) - done, 1)

    def has_rolled(self, now: float, pace: Pace) -> bool:
        """Return whether no ready pod of the previous revision is left."""
        return self._ready(now - self.changed, pace)[1] == 0

    def _short(self, elapsed: float, pace: Pace) -> float:
        if elapsed >= pace.delay and isfinite(pace.up):
            turns = (elapsed - pace.delay) // (pace.up + pace.down)
            return self.changed + pace.delay + turns * (pace.up + pace.down) + pace.up
        return self.changed if self.short is None else self.short

    def _unavailable_since(self, now: float, pace: Pace) -> float | None:
        """Return since when too few pods have been available, whether or not requests reach them."""
        return evolve(self, detached=None).look(now, pace).unready_since

    def next_change(self, now: float, pace: Pace) -> float:
        """Return the first time after `now` at which the result of `look` changes by itself (inf: never)."""
        if not self.desired or (self.mine >= self.desired and pace.stuck is None and pace.up == inf):
            return inf
        moments = [] if pace.stuck is None else [self.changed + pace.stuck]
        need = self.desired - self.mine
        if need > 0 and self.changed + pace.delay > now:
            parts = need if self.others else 1
            moments += [self.changed + pace.delay * part / parts for part in range(1, parts + 1)]
        if pace.up < inf:
            turn, start = pace.up + pace.down, self.changed + pace.delay
            begun = start + max(0, (now - start) // turn) * turn
            moments += [start, begun + pace.up, begun + turn]
        return min([moment for moment in moments if moment > now], default=inf)

    def becoming(
        self, now: float, pace: Pace, *, revision: str | None = None, desired: int | None = None
    ) -> SimulatedPods:
        """Return the pods with another template or size from `now` on. Pods that were starting start again."""
        revision = self.revision if revision is None else revision
        desired = self.desired if desired is None else desired
        if (revision, desired) == (self.revision, self.desired):
            return self
        short = self._unavailable_since(now, pace)
        elapsed = now - self.changed
        fresh, left = self._ready(elapsed, pace)
        counts = {self.revision: fresh if _is_up(elapsed, pace) else 0}
        counts[self.other] = counts.get(self.other, 0) + left
        mine = min(counts.pop(revision, 0), desired)
        other = max(counts, key=counts.__getitem__, default="")
        others = min(sum(counts.values()), desired)
        return SimulatedPods(
            revision=revision,
            desired=desired,
            changed=now,
            mine=mine,
            others=others,
            other=other if others else "",
            short=short if desired else None,
            detached=self.detached,
        )

    def shifted(self, seconds: float) -> SimulatedPods:
        """Return the same pods with every time moved by `seconds`."""
        return SimulatedPods(
            revision=self.revision,
            desired=self.desired,
            changed=self.changed + seconds,
            mine=self.mine,
            others=self.others,
            other=self.other,
            short=None if self.short is None else self.short + seconds,
            detached=None if self.detached is None else self.detached + seconds,
        )

    def starting(self, now: float, pace: Pace) -> SimulatedPods:
        """Return the workload with its new pods starting again at `now`; old pods of a rolling update stay ready."""
        fresh, left = self._ready(now - self.changed, pace)
        short = self._unavailable_since(now, pace)
        return evolve(self, changed=now, mine=fresh if left else 0, others=left, short=short)

    def reread(self, now: float, pace: Pace, revision: str) -> SimulatedPods:
        """Return the same pods under another revision from `now` on, as after an edit of a config they read."""
        elapsed = now - self.changed
        fresh, left = self._ready(elapsed, pace)
        mine, short = fresh if _is_up(elapsed, pace) else 0, self._unavailable_since(now, pace)
        return evolve(self, revision=revision, changed=now, mine=mine, others=left, short=short)


def _is_up(elapsed: float, pace: Pace) -> bool:
    if pace.up == inf or elapsed < pace.delay:
        return True
    return (elapsed - pace.delay) % (pace.up + pace.down) < pace.up


@frozen(kw_only=True)
class Scaler:
    """The target's autoscaler: it keeps the pods of a running target within its limits unless it is paused."""

    minimum: int = 1
    """The fewest pods."""
    maximum: int = 10
    """The most pods."""
    paused: bool = False
    """Whether the autoscaler is paused."""


@frozen(kw_only=True)
class LoadScaler:
    """The primary's autoscaler: the number of pods follows the share of the requests, some time later."""

    full: int
    """Number of pods for all requests."""
    minimum: int = 1
    """The fewest pods."""
    lag: float = 0.0
    """Seconds from a change of the load to the change of the size."""
    due: float | None = None
    """Time of the next change of the size (seconds); None while the size fits the load."""

    def size(self, permille: int) -> int:
        """Return the number of pods for a share of the requests in tenths of a percent."""
        return max(-(-self.full * permille // MOST_PERMILLE), self.minimum)


@frozen
class SizeRecord:
    """The record of a target that a step has given another number of pods than its owner."""

    written: int
    """The number that the rollout wrote."""
    own: int
    """The number that the owner wants."""

    def find_own(self, desired: int) -> int:
        """Return the owner's number: another number than the written one is a new wish of the owner, but for 0."""
        return self.own if desired in (0, self.written) else desired


@record(kw_only=True)
class FormerRoutes:
    """The routes of a name or a mesh that the manifest had before: users may still call it."""

    routes: Routes
    """The former routes."""
    since: float | None = None
    """Since when the present routes have been in force (seconds); None: they are not yet."""

    def is_over(self, now: float, drain: float) -> bool:
        """Check whether the proxies have had `drain` seconds to follow the present routes."""
        return self.since is not None and now >= self.since + drain

    def is_due(self, now: float, drain: float) -> bool:
        """Check whether the router has to act: begin the wait, or take the routes back."""
        return self.since is None or self.is_over(now, drain)

    def shifted(self, seconds: float) -> FormerRoutes:
        """Return the same routes with every time moved by `seconds`."""
        return self if self.since is None else FormerRoutes(routes=self.routes, since=self.since + seconds)


class FaultKind(TextEnum):
    """A kind of fault at a write (a commit, an effect, a notice, a call of a hook) or at an observation."""

    CRASH_BEFORE = "the process dies before write n"
    CRASH_AFTER = "the process dies after write n"
    CONFLICT = "write n is a commit and meets a conflict"
    LOST = "write n times out and was not carried out"
    APPLIED = "write n times out and was carried out"
    RIVAL = "another process runs a whole cycle just before write n"
    STALE_OBSERVATION = "observation n shows the workloads and routes of the observation before"
    STALE_STATUS = "observation n shows the status and version of the observation before"


READS = frozenset({FaultKind.STALE_OBSERVATION, FaultKind.STALE_STATUS})
"""Kinds of fault that occur at an observation; all others occur at a write."""


@frozen
class Fault:
    """A fault as plain data."""

    kind: FaultKind
    """The kind of fault."""
    at: int
    """Number of the first write or observation that fails, counted from 0 over the whole life of the cluster."""
    times: int = 1
    """Number of writes or observations in a row that fail."""

    def meets(self, kind: FaultKind, number: int) -> bool:
        """Check whether this is a fault of that kind at the write or observation of that number."""
        return self.kind is kind and self.at <= number < self.at + self.times


@frozen(kw_only=True, slots=False)  # a dict is copied in a fifth of the time, and nearly all states are copies
class State:
    """Everything about a simulated cluster."""

    rollout: Rollout
    """The rollout in the store."""
    now: float = 0.0
    """The time (seconds)."""
    status: Status = Status()
    """The status in the store."""
    version: int = 0
    """Version of rollout and status in the store, for the optimistic lock."""
    target: SimulatedPods | None = None
    """The target; None while it is missing."""
    primary: SimulatedPods | None = None
    """The primary; None while it is missing."""
    replicas: int = 2
    """Number of pods that the target's owner wants."""
    sized: SizeRecord | None = None
    """The record of the target's size on a step; None where it has its owner's number, or no pods."""
    has_replicas: bool = True
    """Whether target and primary have pods to scale; without them nobody changes their size."""
    routes: Routes | None = None
    """The routes; None while there are none."""
    former: FormerRoutes | None = None
    """The routes that the manifest no longer names, until they are taken back."""
    claimed: bool = False
    """Whether another Canary has the route that the manifest names."""
    scaler: Scaler | None = None
    """The target's autoscaler; None where there is none."""
    load_scaler: LoadScaler | None = None
    """The primary's autoscaler; None where there is none."""
    kept: tuple[str, ...] = ()
    """Revisions to which the primary can be restored, newest first."""
    command: Command | None = None
    """An operator's command."""
    deleted: bool = False
    """Whether the owner deleted the rollout."""
    restored: bool = False
    """Whether the target serves without a primary again."""
    paces: tuple[tuple[str, Pace], ...] = ()
    """Paces by "primary/v2", "v2" or "primary", in this order of precedence; `AT_ONCE` otherwise."""
    hooks: tuple[tuple[str, tuple[HookAnswer, ...]], ...] = ()
    """Answers in turn by hook name; the last one repeats, and a hook without answers passes."""
    turns: tuple[tuple[str, int, str], ...] = ()
    """Number of calls by hook name or "metric " and check name, each with the key of the last question."""
    metrics: Metrics = ByRevision()
    """The function that answers metric questions."""
    sources: str = ""
    """The reason why metric sources are offline; empty if they are online."""
    writes: int = 0
    """Number of writes so far; faults refer to it."""
    reads: int = 0
    """Number of observations so far; faults refer to it."""
    faults: tuple[Fault, ...] = ()
    """Faults, past and to come."""

    def but(self, **changes: object) -> State:
        """Return this state with some fields changed."""
        new = _blank(State)
        values = new.__dict__
        values.update(self.__dict__)
        values.update(changes)
        return new

    def pace(self, workload: str, revision: str) -> Pace:
        """Return the pace of a revision on the workload "target" or "primary"."""
        if not self.paces:
            return AT_ONCE
        known = dict(self.paces)
        return known.get(f"{workload}/{revision}") or known.get(revision) or known.get(workload) or AT_ONCE

    def turn(self, name: str, key: str = "") -> int:
        """Return how often `name` was asked before; a repeated question of the same `key` counts once."""
        count, last = self._turn(name)
        return count - 1 if key and key == last else count

    def turned(self, name: str, key: str = "") -> State:
        """Return the state after one more question to `name`; a repeated question of the same `key` counts once."""
        count, last = self._turn(name)
        if key and key == last:
            return self
        others = [turn for turn in self.turns if turn[0] != name]
        return self.but(turns=tuple(sorted([*others, (name, count + 1, key)])))

    def _turn(self, name: str) -> tuple[int, str]:
        return next(((count, last) for known, count, last in self.turns if known == name), (0, ""))

    def shifted(self, seconds: float) -> State:
        """Return the state with every time moved by `seconds`, except the times in keys of notices."""
        status = self.status
        times: dict[str, Any] = {} if status.since is None else {"since": status.since + seconds}
        if status.reached_at is not None:
            times["reached_at"] = status.reached_at + seconds
        if status.tallies:
            times["tallies"] = tuple(tally.shifted(seconds) for tally in status.tallies)
        return self.but(
            now=self.now + seconds,
            status=status.but(
                analysed_at=status.analysed_at + seconds, drain_until=status.drain_until + seconds, **times
            ),
            target=None if self.target is None else self.target.shifted(seconds),
            primary=None if self.primary is None else self.primary.shifted(seconds),
            former=None if self.former is None else self.former.shifted(seconds),
            load_scaler=shifted_scaler(self.load_scaler, seconds),
        )


_blank = object.__new__


def shifted_scaler(scaler: LoadScaler | None, seconds: float) -> LoadScaler | None:
    """Return the same autoscaler with its time moved by `seconds`."""
    return scaler if scaler is None or scaler.due is None else evolve(scaler, due=scaler.due + seconds)


def attended(state: State) -> State:
    """Return the state after a user has done what the rollout waits for: approved the step, or aborted it if frozen."""
    status = state.status
    if status.is_frozen:
        return state.but(command=Command(id=f"abort {status.applied} at {status.analysed_at}", kind=CommandKind.ABORT))
    return approved(state)


def approved(state: State) -> State:
    """Return the state after a user has approved the step, if the rollout asks for that."""
    status = state.status
    if status.approval is not Approval.ASKED:
        return state
    return state.but(
        command=Command(id=f"approve {status.rung.percent:g} of {status.applied}", kind=CommandKind.APPROVE)
    )


# ------------------------------------------------------------------------------------------------------ observing


def observe(state: State) -> Observation:
    """Return the observation of a cluster."""
    return observation_of(state, observe_workload(state, "target"), observe_workload(state, "primary"))


def observation_of(state: State, target: Workload | None, primary: Workload | None) -> Observation:
    """Return the observation of a cluster whose workloads the caller has observed already."""
    return Observation(
        now=state.now,
        target=target,
        primary=primary,
        routes=state.routes if state.former is None else None,  # they are in force once the former ones are gone
        refusal=_refusal(state),
        scaler_paused=None if state.scaler is None else state.scaler.paused,
        restorable=state.kept,
        command=state.command,
        is_deleted=state.deleted,
        is_restored=state.restored,
    )


def _refusal(state: State) -> RouteRefusal | None:
    """Return the wait for the former routes' end; None if there are none, or if SetRoutes has to act on them."""
    former, routes = state.former, state.routes
    if former is None or routes is None or former.is_due(state.now, state.rollout.drain):
        return None
    return RouteRefusal("the former routes still lead requests", former.since, is_pending=True, routes=routes)


def observe_workload(state: State, workload: str) -> Workload | None:
    """Return the workload "target" or "primary" at the state's time."""
    pods = _pods(state, workload)
    if pods is None:
        return None
    pace = state.pace(workload, pods.revision)
    view = pods.look(state.now, pace, "" if pace.stuck is None else _stuck_message(state.rollout.target, workload))
    if workload == "target" and (state.sized is not None or state.rollout.ladder.sizes):
        own = own_replicas(state, pods.desired)
        view = view if own == pods.desired else evolve(view, own=own)
    return view if state.has_replicas else evolve(view, has_replicas=False)


def own_replicas(state: State, desired: int) -> int:
    """Return the number of pods that the target's owner wants, of a target with `desired` pods."""
    if state.sized is None:
        return desired or state.replicas
    return state.sized.find_own(desired)


def _stuck_message(target: TargetRef, workload: str) -> str:
    name = target.name + ("-primary" if workload == "primary" else "")
    return f'{target.kind.lower()} "{name}" exceeded its progress deadline'


def _pods(state: State, workload: str) -> SimulatedPods | None:
    return state.target if workload == "target" else state.primary


def next_change(state: State) -> float:
    """Return the next time at which the view changes by itself (seconds; inf: never)."""
    target, primary, now, former = state.target, state.primary, state.now, state.former
    taken = inf if former is None or former.since is None else former.since + state.rollout.drain
    due = inf if state.load_scaler is None or state.load_scaler.due is None else state.load_scaler.due
    return min(
        taken if taken > now else inf,
        due if due > now else inf,
        inf if target is None else target.next_change(now, state.pace("target", target.revision)),
        inf if primary is None else primary.next_change(now, state.pace("primary", primary.revision)),
    )


# ------------------------------------------------------------------------------------------------------- effects


def apply(state: State, effect: Effect) -> State:
    """Return the state after an effect; a repeated effect changes nothing. Raise Refused as an adapter would."""
    return _EFFECTS[type(effect)](state, effect)


def resized(state: State, workload: str, desired: int) -> State:
    """Return the state with the workload "target" or "primary" at another size, if it has replicas."""
    return _become(state, workload, desired=desired) if state.has_replicas else state


def _become(state: State, workload: str, *, revision: str | None = None, desired: int | None = None) -> State:
    pods = _pods(state, workload)
    if pods is None:
        return state
    pods = pods.becoming(state.now, state.pace(workload, pods.revision), revision=revision, desired=desired)
    return state.but(**{workload: pods})


def scaled(state: State) -> State:
    """Return the state after the autoscalers acted."""
    return _scaled_target(state) if state.load_scaler is None else _scaled_primary(_scaled_target(state))


def _scaled_primary(state: State) -> State:
    scaler, primary, routes = state.load_scaler, state.primary, state.routes
    if scaler is None:
        return state
    is_idle = not state.has_replicas or primary is None or not primary.desired or routes is None
    size = 0 if routes is None else scaler.size(MOST_PERMILLE - routes.permille)
    if is_idle or primary is None or size == primary.desired:
        return state if scaler.due is None else state.but(load_scaler=evolve(scaler, due=None))
    if scaler.due is None:
        return state.but(load_scaler=evolve(scaler, due=state.now + scaler.lag))
    if state.now < scaler.due:
        return state
    return resized(state.but(load_scaler=evolve(scaler, due=None)), "primary", size)


def _scaled_target(state: State) -> State:
    scaler, target = state.scaler, state.target
    if scaler is None or scaler.paused or target is None or not target.desired:
        return state
    return resized(state, "target", min(max(target.desired, scaler.minimum), scaler.maximum))


def redeployed(state: State, revision: str) -> State:
    """Return the state with another revision on the target, which is created if it is missing."""
    if state.target is None:
        return state.but(target=SimulatedPods(revision=revision, desired=state.replicas, changed=state.now))
    return _become(state, "target", revision=revision)


def _initialise(state: State, effect: Initialise) -> State:
    if state.primary is not None:
        return state
    _demand_route(state)
    _demand_target(state, effect.revision)
    return state.but(primary=SimulatedPods(revision=effect.revision, desired=state.replicas, changed=state.now))


def _demand_route(state: State) -> None:
    if state.claimed:
        raise Refused("another Canary has the route, expected a route of this one")


def _demand_target(state: State, revision: str) -> None:
    actual = "nothing" if state.target is None else state.target.revision
    if actual != revision:
        raise Refused(f"the target carries {actual}, expected {revision}")


def _set_routes(state: State, effect: SetRoutes) -> State:
    """Set the routes, or take the former ones back if these have been in force for long enough."""
    _demand_route(state)
    former = state.former
    if former is not None and state.routes == effect.routes and former.is_over(state.now, state.rollout.drain):
        former = None
    elif former is not None and (former.since is None or state.routes != effect.routes):
        former = evolve(former, since=state.now)
    return state.but(routes=effect.routes, former=former)


def _scale_up(state: State, effect: ScaleUp) -> State:
    del effect
    target = state.target
    if target is None or (target.desired and state.sized is None):
        return state
    return resized(state.but(sized=None), "target", own_replicas(state, target.desired))


def _resize(state: State, effect: Resize) -> State:
    if state.target is None or not state.has_replicas:
        return state
    own = own_replicas(state, state.target.desired)
    return resized(state.but(sized=SizeRecord(effect.replicas, own)), "target", effect.replicas)


def _scale_down(state: State, effect: ScaleDown) -> State:
    del effect
    return resized(state.but(sized=None), "target", 0)


def _pause_scaler(state: State, effect: PauseScaler) -> State:
    del effect
    return state if state.scaler is None else state.but(scaler=evolve(state.scaler, paused=True))


def _resume_scaler(state: State, effect: ResumeScaler) -> State:
    del effect
    return state if state.scaler is None else state.but(scaler=evolve(state.scaler, paused=False))


def _promote(state: State, effect: Promote) -> State:
    if state.primary is None:
        raise Refused(f"there is no primary to carry {effect.revision}")
    if state.primary.revision == effect.revision:
        return state
    _demand_target(state, effect.revision)
    kept = dict.fromkeys((state.primary.revision, *state.kept))
    desired = state.primary.desired or (state.target.desired if state.target and state.scaler is None else 0)
    return _become(state.but(kept=tuple(kept)), "primary", revision=effect.revision, desired=desired)


def _restore_primary(state: State, effect: RestorePrimary) -> State:
    if effect.revision not in state.kept:
        raise Refused(f"revision {effect.revision} was not kept, expected one of {', '.join(state.kept) or 'none'}")
    return _become(state, "primary", revision=effect.revision)


def _restore(state: State, effect: Restore) -> State:
    del effect
    return state.but(restored=True, routes=None, former=None)


_EFFECTS: dict[type, Callable[..., State]] = {
    Initialise: _initialise,
    SetRoutes: _set_routes,
    ScaleUp: _scale_up,
    Resize: _resize,
    ScaleDown: _scale_down,
    PauseScaler: _pause_scaler,
    ResumeScaler: _resume_scaler,
    Promote: _promote,
    RestorePrimary: _restore_primary,
    Restore: _restore,
}
