"""A simulated cluster as one value.

`State` is the whole of it: frozen, hashable, and a function of nothing else. Pods are not stepped: how many of them are
ready follows from when their workload last changed, how fast its revision starts (`Pace`), and the time, so a state
means the same whoever looks at it and whenever. `observe` is what the core sees of it, `apply` what an effect makes of
it, `next_change` when it will look different by itself.

All times are seconds on the simulated clock; `State.shifted` moves them together, as nothing depends on where 0 is.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore._enum import TextEnum
from canarycore._observation import Command, Observation, Routes, Workload
from canarycore._record import record
from canarycore._status import Status
from canarycore.effects import (
    Effect,
    Initialise,
    PauseScaler,
    Promote,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Refused
from canarycore.questions import HookAnswer
from canarycore.simulation.metrics import ByRevision, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore._spec import Rollout, TargetRef


@frozen
class Pace:
    """How the pods of a revision get ready.

    delay: seconds until they are (inf: never); a rolling update takes that long as a whole. stuck: seconds after which
    the platform gives up on pods that are still not ready (None: it never does). up, down: a crash loop is ready for
    `up` seconds and away for `down`, for ever.
    """

    delay: float = 0.0
    stuck: float | None = None
    up: float = inf
    down: float = 0.0


AT_ONCE = Pace()
NEVER = Pace(delay=inf)


def after(seconds: float) -> Pace:
    """Ready `seconds` after the pods were asked for."""
    return Pace(delay=seconds)


def stuck(seconds: float = 0.0) -> Pace:
    """Never ready, and the platform says so after `seconds`."""
    return Pace(delay=inf, stuck=seconds)


def crash_loop(up: float, down: float, delay: float = 0.0) -> Pace:
    """Ready after `delay`, then for `up` seconds, then away for `down`, and so on (all in seconds)."""
    return Pace(delay=delay, up=up, down=down)


_SURGE = 1
"""Pods that a rolling update starts before it stops an old one."""


@record(kw_only=True)
class SimulatedPods:
    """A workload.

    changed: when its template or size last changed. mine, others: pods that were ready then, of `revision` and of the
    one before (`other`). short: since when too few have been available, if that began before `changed`.
    """

    revision: str
    desired: int
    changed: float = 0.0
    mine: int = 0
    others: int = 0
    other: str = ""
    short: float | None = None

    def seen(self, now: float, pace: Pace, words: str = "") -> Workload:
        """What an observer is told at `now`. `words`: the platform's own when it gave up."""
        elapsed, desired = now - self.changed, self.desired
        fresh, left = self._ready(elapsed, pace)
        rolling = left > 0
        updated = min(desired, fresh + _SURGE) if rolling else desired
        up = fresh if _is_up(elapsed, pace) else 0
        ready = up + left
        unavailable = ready < desired - desired // 4
        complete = not rolling and ready >= desired
        return Workload(
            revision=self.revision,
            desired=desired,
            updated=updated,
            ready=ready,
            total=updated + left,
            unready_since=self._short(elapsed, pace) if unavailable else None,
            stuck=words if pace.stuck is not None and not complete and elapsed >= pace.stuck else "",
        )

    def _ready(self, elapsed: float, pace: Pace) -> tuple[int, int]:
        """Pods of this revision that have become ready, and pods of the one before that are left."""
        if elapsed >= pace.delay or self.mine >= self.desired:
            return self.desired, 0
        if not self.others:
            return self.mine, 0
        need = self.desired - self.mine
        done = int(elapsed / pace.delay * need) if isfinite(pace.delay) else 0
        return self.mine + done, max(min(self.others, self.desired) - done, 1)

    def _short(self, elapsed: float, pace: Pace) -> float:
        if elapsed >= pace.delay and isfinite(pace.up):
            turns = (elapsed - pace.delay) // (pace.up + pace.down)
            return self.changed + pace.delay + turns * (pace.up + pace.down) + pace.up
        return self.changed if self.short is None else self.short

    def next_change(self, now: float, pace: Pace) -> float:
        """The first time after `now` at which `seen` changes by itself (inf: never)."""
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
        """With another template or size, from `now` on. Pods that were starting start again."""
        revision = self.revision if revision is None else revision
        desired = self.desired if desired is None else desired
        if (revision, desired) == (self.revision, self.desired):
            return self
        seen = self.seen(now, pace)
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
            short=seen.unready_since if desired else None,
        )

    def shifted(self, seconds: float) -> SimulatedPods:
        """The same pods `seconds` later."""
        return SimulatedPods(
            revision=self.revision,
            desired=self.desired,
            changed=self.changed + seconds,
            mine=self.mine,
            others=self.others,
            other=self.other,
            short=None if self.short is None else self.short + seconds,
        )

    def starting(self, now: float, pace: Pace) -> SimulatedPods:
        """With its own pods to get ready anew from `now` on; what a rolling update has left of the old ones stays."""
        fresh, left = self._ready(now - self.changed, pace)
        short = self.seen(now, pace).unready_since
        return evolve(self, changed=now, mine=fresh if left else 0, others=left, short=short)

    def reread(self, now: float, pace: Pace, revision: str) -> SimulatedPods:
        """The same pods, said to be of another revision from `now` on: those that are ready stay so."""
        elapsed = now - self.changed
        fresh, left = self._ready(elapsed, pace)
        mine, short = fresh if _is_up(elapsed, pace) else 0, self.seen(now, pace).unready_since
        return evolve(self, revision=revision, changed=now, mine=mine, others=left, short=short)


def _is_up(elapsed: float, pace: Pace) -> bool:
    if pace.up == inf or elapsed < pace.delay:
        return True
    return (elapsed - pace.delay) % (pace.up + pace.down) < pace.up


@frozen(kw_only=True)
class Scaler:
    """The target's autoscaler: it keeps a running target within [minimum, maximum] unless it is paused."""

    minimum: int = 1
    maximum: int = 10
    paused: bool = False


class FaultKind(TextEnum):
    """What can go wrong at a write (a commit, an effect, a notice, a call of a hook) or at an observation."""

    CRASH_BEFORE = "the process dies before write n"
    CRASH_AFTER = "the process dies after write n"
    CONFLICT = "write n is a commit and meets a conflict"
    LOST = "write n times out and was not carried out"
    APPLIED = "write n times out and was carried out"
    RIVAL = "another process runs a whole cycle just before write n"
    STALE_OBSERVATION = "observation n shows the workloads and routes of the observation before"
    STALE_STATUS = "observation n shows the status and version of the observation before"


READS = frozenset({FaultKind.STALE_OBSERVATION, FaultKind.STALE_STATUS})


@frozen
class Fault:
    """A fault as plain data.

    at: the number of the write or observation that it meets, counted from 0 over the whole life of the world. times:
    for how many in a row.
    """

    kind: FaultKind
    at: int
    times: int = 1

    def meets(self, kind: FaultKind, number: int) -> bool:
        return self.kind is kind and self.at <= number < self.at + self.times


@frozen(kw_only=True, slots=False)  # a dict is copied in a fifth of the time, and nearly all states are copies
class State:
    """Everything about a simulated cluster.

    now: seconds. rollout, status, version: what the store holds. target, primary: workloads. replicas: what the
    target's owner asks for. routes: None before there are any. scaler: None where there is none. kept: revisions the
    primary can be restored to. paces: by "primary/v2", "v2", "primary" or "target" (the first that is found, else
    `AT_ONCE`). hooks: answers in turn by hook name, the last one repeated; a hook without any passes. turns: how often
    each hook (by name) or check ("metric " + name) was asked, and under which key last. metrics: who answers metric
    questions. sources: why metric sources are offline ("" if they are not). writes, reads: how many there were; faults
    meet them by number.
    """

    rollout: Rollout
    now: float = 0.0
    status: Status = Status()
    version: int = 0
    target: SimulatedPods | None = None
    primary: SimulatedPods | None = None
    replicas: int = 2
    routes: Routes | None = None
    scaler: Scaler | None = None
    kept: tuple[str, ...] = ()
    command: Command | None = None
    deleted: bool = False
    restored: bool = False
    paces: tuple[tuple[str, Pace], ...] = ()
    hooks: tuple[tuple[str, tuple[HookAnswer, ...]], ...] = ()
    turns: tuple[tuple[str, int, str], ...] = ()
    metrics: Metrics = ByRevision()
    sources: str = ""
    writes: int = 0
    reads: int = 0
    faults: tuple[Fault, ...] = ()

    def but(self, **changes: object) -> State:
        """This state with some fields changed."""
        new = _blank(State)
        values = new.__dict__
        values.update(self.__dict__)
        values.update(changes)
        return new

    def pace(self, workload: str, revision: str) -> Pace:
        if not self.paces:
            return AT_ONCE
        known = dict(self.paces)
        return known.get(f"{workload}/{revision}") or known.get(revision) or known.get(workload) or AT_ONCE

    def turn(self, name: str, key: str = "") -> int:
        """How often `name` was asked before; what is asked again under the same `key` is the same turn."""
        count, last = self._turn(name)
        return count - 1 if key and key == last else count

    def turned(self, name: str, key: str = "") -> State:
        """With `name` asked once more, unless it is the same turn."""
        count, last = self._turn(name)
        if key and key == last:
            return self
        others = [turn for turn in self.turns if turn[0] != name]
        return self.but(turns=tuple(sorted([*others, (name, count + 1, key)])))

    def _turn(self, name: str) -> tuple[int, str]:
        return next(((count, last) for known, count, last in self.turns if known == name), (0, ""))

    def shifted(self, seconds: float) -> State:
        """The same state `seconds` later: every time in it moves. Keys of notices that were told keep theirs."""
        status = self.status
        times = {} if status.since is None else {"since": status.since + seconds}
        return self.but(
            now=self.now + seconds,
            status=status.but(
                analysed_at=status.analysed_at + seconds, drain_until=status.drain_until + seconds, **times
            ),
            target=None if self.target is None else self.target.shifted(seconds),
            primary=None if self.primary is None else self.primary.shifted(seconds),
        )


_blank = object.__new__


# ------------------------------------------------------------------------------------------------------ observing


def observe(state: State) -> Observation:
    """Return the observation of a cluster."""
    return observation_of(state, seen(state, "target"), seen(state, "primary"))


def observation_of(state: State, target: Workload | None, primary: Workload | None) -> Observation:
    """Return the observation of a cluster whose workloads the caller has observed already."""
    return Observation(
        now=state.now,
        target=target,
        primary=primary,
        routes=state.routes,
        scaler_paused=None if state.scaler is None else state.scaler.paused,
        restorable=state.kept,
        command=state.command,
        is_deleted=state.deleted,
        is_restored=state.restored,
    )


def seen(state: State, workload: str) -> Workload | None:
    """The workload "target" or "primary" at the state's time."""
    pods = _pods(state, workload)
    if pods is None:
        return None
    pace = state.pace(workload, pods.revision)
    return pods.seen(state.now, pace, "" if pace.stuck is None else _given_up(state.rollout.target, workload))


def _given_up(target: TargetRef, workload: str) -> str:
    name = target.name + ("-primary" if workload == "primary" else "")
    return f'{target.kind.lower()} "{name}" exceeded its progress deadline'


def _pods(state: State, workload: str) -> SimulatedPods | None:
    return state.target if workload == "target" else state.primary


def next_change(state: State) -> float:
    """When the workloads will next look different by themselves (seconds; inf: never)."""
    target, primary, now = state.target, state.primary, state.now
    return min(
        inf if target is None else target.next_change(now, state.pace("target", target.revision)),
        inf if primary is None else primary.next_change(now, state.pace("primary", primary.revision)),
    )


# ------------------------------------------------------------------------------------------------------- effects


def apply(state: State, effect: Effect) -> State:
    """What an effect makes of the world; doing one twice is doing it once. Raises Refused as an adapter would."""
    return _EFFECTS[type(effect)](state, effect)


def resized(state: State, workload: str, desired: int) -> State:
    """With the workload "target" or "primary" at another size."""
    return _become(state, workload, desired=desired)


def _become(state: State, workload: str, *, revision: str | None = None, desired: int | None = None) -> State:
    pods = _pods(state, workload)
    if pods is None:
        return state
    pods = pods.becoming(state.now, state.pace(workload, pods.revision), revision=revision, desired=desired)
    return state.but(**{workload: pods})


def scaled(state: State) -> State:
    """What the target's autoscaler does, if it is let."""
    scaler, target = state.scaler, state.target
    if scaler is None or scaler.paused or target is None or not target.desired:
        return state
    return resized(state, "target", min(max(target.desired, scaler.minimum), scaler.maximum))


def redeployed(state: State, revision: str) -> State:
    """With another revision on the target, which is created if it is missing."""
    if state.target is None:
        return state.but(target=SimulatedPods(revision=revision, desired=state.replicas, changed=state.now))
    return _become(state, "target", revision=revision)


def _initialise(state: State, effect: Initialise) -> State:
    if state.primary is not None:
        return state
    _demand_target(state, effect.revision)
    return state.but(primary=SimulatedPods(revision=effect.revision, desired=state.replicas, changed=state.now))


def _demand_target(state: State, revision: str) -> None:
    found = "nothing" if state.target is None else state.target.revision
    if found != revision:
        raise Refused(f"the target carries {found}, expected {revision}")


def _set_routes(state: State, effect: SetRoutes) -> State:
    return state.but(routes=effect.routes)


def _scale_up(state: State, effect: ScaleUp) -> State:
    del effect
    return resized(state, "target", state.replicas) if state.target is not None and not state.target.desired else state


def _scale_down(state: State, effect: ScaleDown) -> State:
    del effect
    return resized(state, "target", 0)


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
    return _become(state.but(kept=tuple(kept)), "primary", revision=effect.revision)


def _restore_primary(state: State, effect: RestorePrimary) -> State:
    if effect.revision not in state.kept:
        raise Refused(f"revision {effect.revision} was not kept, expected one of {', '.join(state.kept) or 'none'}")
    return _become(state, "primary", revision=effect.revision)


def _restore(state: State, effect: Restore) -> State:
    del effect
    return state.but(restored=True, routes=None)


_EFFECTS: dict[type, Callable[..., State]] = {
    Initialise: _initialise,
    SetRoutes: _set_routes,
    ScaleUp: _scale_up,
    ScaleDown: _scale_down,
    PauseScaler: _pause_scaler,
    ResumeScaler: _resume_scaler,
    Promote: _promote,
    RestorePrimary: _restore_primary,
    Restore: _restore,
}
