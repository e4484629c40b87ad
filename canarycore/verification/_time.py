"""Relative time, which makes the graph of states finite.

Nothing depends on where 0 is, so the last analysis moves there (`State.shifted`; times in the keys of notices get
numbers that differ). Nothing depends on an age beyond the longest deadline, so this module cuts longer ages. A closed
gate that the controller polls for ever then is a cycle of a few states.

    age                         compared with                               cut beyond
    now - analysed_at           interval, interval + progress deadline      that, in whole intervals
    now - since                 progress deadline                           that and two intervals (the longest jump)
    now - drain_until           0                                           two intervals
    now - reached_at            holds of steps                              the longest, and two intervals
    now - a tally's time        pauses between measurements                 the longest, and two intervals
    now - pods' last change     their pace, progress deadline               as `since`, once nothing more will change

A policy without a limit of held analyses counts them without end. No decision depends on that count, so it stays at 1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from attrs import evolve

from canarycore._record import record
from canarycore.notices import Notice
from canarycore.phases import Phase
from canarycore.simulation.state import SimulatedPods, shifted_scaler
from canarycore.verification._memory import EMPTY_MEMORY, ProcessMemory

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.simulation.state import FormerRoutes, State
    from canarycore.verification._fingerprints import InternTable

LONG_AGO = -1e6
"""Time of events whose age does not matter any more (seconds)."""

JUMP = 2.0
"""Intervals by which a step sets the clock forward or back."""

_EARLY = 1e-6
_PARTS_OF_KEY = re.compile(r"(.*?@)(-?[0-9.e+-]+)(/.*)", re.DOTALL)


@record
class RestState:
    """The cluster and the process between two cycles."""

    state: State
    """The cluster."""
    published: frozenset[str]
    """Keys of published notices that the status or the process still refers to."""
    wake: float
    """Absolute time of the next cycle (seconds)."""
    stale: State | None
    """An old state that the next observation shows in part; None: the observation is up to date."""
    memory: ProcessMemory
    """The memory of the process."""


def rebased(resting: RestState, table: InternTable) -> RestState:
    """Return the same with the last analysis at time 0 and long ages cut. Its statuses must be interned."""
    state, published, wake, stale, memory = (
        resting.state,
        resting.published,
        resting.wake,
        resting.stale,
        resting.memory,
    )
    status, rollout = state.status, state.rollout
    if status.since is not None and status.analysed_at:
        seconds = -status.analysed_at
        if stale is None:
            names, moved = table.derive(status, _rebased_status)
        else:
            names = _names((*status.outbox, *stale.status.outbox), status.analysed_at)
            moved = _moved_status(status, seconds, names)
            stale = _moved(stale, seconds, _moved_status(stale.status, seconds, names))
        state = _moved(state, seconds, moved)
        published = frozenset([_renamed(key, names) for key in published]) if published else published
        wake += seconds
        keys = frozenset([_renamed(key, names) for key in memory.published])
        memory = ProcessMemory((), keys, memory.last_goal) if keys or memory.last_goal is not None else EMPTY_MEMORY
    longest = ceil((rollout.interval + _longest_deadline(rollout)) / rollout.interval) + 1
    poll = _poll(state, rollout)
    if poll > longest and stale is None:
        seconds = (longest - poll) * rollout.interval
        state = state.shifted(seconds)
        state = state.but(status=state.status.but(analysed_at=0.0))
        wake += seconds
        memory = _repolled(memory, poll, longest)
    return RestState(_cut(state, rollout), published, wake, stale, recent(memory, state))


def _rebased_status(status: Status) -> tuple[dict[str, str], Status]:
    """Return the new names of times in keys, and the status with its last analysis at 0."""
    names = _names(status.outbox, status.analysed_at)
    return names, _moved_status(status, -status.analysed_at, names)


def _names(notices: tuple[Notice, ...], analysed_at: float) -> dict[str, str]:
    """Return new times for the keys of notices: 0 for the last analysis, numbers for earlier ones.

    No new key has an earlier time, so the times only have to differ.
    """
    now = str(analysed_at)
    earlier = sorted({_time_in(notice.key) for notice in notices} - {now}, key=float, reverse=True)
    return {now: "0.0", **{time: f"{-float(number)}" for number, time in enumerate(earlier, 1)}}


def _time_in(key: str) -> str:
    return _parts(key)[1] or "0.0"


def _renamed(key: str, names: dict[str, str]) -> str:
    before, time, rest = _parts(key)
    return f"{before}{names.get(time, 'long ago')}{rest}" if time else key


@lru_cache(maxsize=1 << 16)
def _parts(key: str) -> tuple[str, str, str]:
    """Return the parts of a key before its time, the time ("" where there is none), and after it."""
    match = _PARTS_OF_KEY.fullmatch(key)
    return (key, "", "") if match is None else (match[1], match[2], match[3])


def _moved(state: State, seconds: float, status: Status) -> State:
    """Return the state with its times moved; `status` is its status with moved times."""
    target, primary = _moved_pods(state.target, seconds), _moved_pods(state.primary, seconds)
    former = None if state.former is None else state.former.shifted(seconds)
    scaler = shifted_scaler(state.load_scaler, seconds)
    return state.but(
        now=state.now + seconds, status=status, target=target, primary=primary, former=former, load_scaler=scaler
    )


def _moved_status(status: Status, seconds: float, names: dict[str, str]) -> Status:
    since, drained, reached = status.since, status.drain_until, status.reached_at
    return status.but(
        since=None if since is None else since + seconds,
        analysed_at=status.analysed_at + seconds,
        drain_until=drained if drained == LONG_AGO else drained + seconds,
        reached_at=reached if reached is None or reached == LONG_AGO else reached + seconds,
        tallies=tuple([tally if tally.at == LONG_AGO else tally.shifted(seconds) for tally in status.tallies]),
        outbox=tuple(
            [
                Notice(notice.kind, _renamed(notice.key, names), notice.phase, notice.names, notice.args, notice.detail)
                for notice in status.outbox
            ]
        ),
    )


def _moved_pods(pods: SimulatedPods | None, seconds: float) -> SimulatedPods | None:
    if pods is None or (pods.changed == LONG_AGO and pods.detached is None):
        return pods
    moved = pods.shifted(seconds)
    return evolve(moved, changed=LONG_AGO) if pods.changed == LONG_AGO else moved


def _longest_deadline(rollout: Rollout) -> float:
    """Return the longest time after which a decision depends on an age, in seconds."""
    policy = rollout.gradual_return
    return max(rollout.progress_deadline, rollout.longest_return, 0.0 if policy is None else policy.interval)


def _poll(state: State, rollout: Rollout) -> int:
    return max(0, int((state.now - state.status.analysed_at + _EARLY) // rollout.interval))


def _repolled(memory: ProcessMemory, old: int, new: int) -> ProcessMemory:
    """Return the memory with the keys of the present poll under its new number, and without those of earlier polls."""
    answers = tuple(
        (evolve(question, key=question.key.replace(f"#{old}/", f"#{new}/")), answer)
        for question, answer in memory.answers
        if f"#{old}/" in question.key
    )
    published = frozenset(
        key.removesuffix(f"#{old}") + f"#{new}" if key.endswith(f"#{old}") else key for key in memory.published
    )
    return ProcessMemory(answers, published, memory.last_goal)


def recent(memory: ProcessMemory, state: State) -> ProcessMemory:
    """Return the memory without useless parts: answers of other polls, notices that cannot come again."""
    status, answers, published = state.status, memory.answers, memory.published
    if not answers and not published:
        return memory
    pending = {notice.key for notice in status.outbox}
    if not answers and published <= pending:
        return memory
    poll, stem = _poll(state, state.rollout), f"@{status.analysed_at}/{status.phase._value_}"
    answers = tuple([(question, answer) for question, answer in answers if f"{stem}#{poll}/" in question.key])
    published = frozenset(
        [
            key
            for key in published
            if key in pending or (f"{stem}/" in key and ("#" not in key or key.endswith(f"#{poll}")))
        ]
    )
    if answers == memory.answers and published == memory.published:
        return memory
    return ProcessMemory(answers, published, memory.last_goal)


def _cut(state: State, rollout: Rollout) -> State:
    now, status = state.now, state.status
    long, jump = _longest_deadline(rollout) + (1 + JUMP) * rollout.interval, JUMP * rollout.interval
    target, primary = _cut_pods(state, state.target, "target", long), _cut_pods(state, state.primary, "primary", long)
    changes: dict[str, Any] = {}
    if status.holds > 1 and not rollout.inconclusive_limit:
        changes["holds"] = 1
    if LONG_AGO != status.drain_until < now - jump:
        changes["drain_until"] = LONG_AGO
    if status.reached_at is not None and LONG_AGO != status.reached_at < now - jump - rollout.ladder.longest_hold:
        changes["reached_at"] = LONG_AGO
    oldest = now - jump - rollout.longest_pause if status.tallies else LONG_AGO
    if any(LONG_AGO != tally.at < oldest for tally in status.tallies):
        changes["tallies"] = tuple([evolve(each, at=LONG_AGO) if each.at < oldest else each for each in status.tallies])
    if status.since is not None and status.since < now - jump:
        steady = all(pods is not None and pods.changed == LONG_AGO for pods in (target, primary))
        is_timed = status.returning or status.phase is Phase.TERMINATING
        oldest = now - (jump if steady and not is_timed else long)
        if status.since < oldest:
            changes["since"] = oldest
    former = _cut_routes(state, long)
    if target is state.target and primary is state.primary and former is state.former and not changes:
        return state
    changed = status.but(**changes) if changes else status
    return state.but(status=changed, target=target, primary=primary, former=former)


def _cut_routes(state: State, long: float) -> FormerRoutes | None:
    """Return the former routes; a drain that has been over for long ended no earlier than that."""
    former = state.former
    if former is None or former.since is None or former.since >= state.now - long:
        return former
    return evolve(former, since=state.now - long)


def _cut_pods(state: State, pods: SimulatedPods | None, workload: str, long: float) -> SimulatedPods | None:
    """Return the pods without the time of their last change, if they do not change any more by themselves."""
    if pods is None:
        return None
    if pods.detached is not None:
        pods = evolve(pods, detached=max(pods.detached, state.now - long))
    if pods.changed == LONG_AGO:
        return pods
    pace = state.pace(workload, pods.revision)
    if pods.next_change(state.now, pace) < inf:
        return pods
    if pods.desired == 0 or state.now - pods.changed >= pace.delay or pods.mine >= pods.desired:
        return SimulatedPods(
            revision=pods.revision,
            desired=pods.desired,
            changed=LONG_AGO,
            mine=pods.desired,
            detached=pods.detached,
        )
    oldest = state.now - long
    short = None if pods.short is None else max(pods.short, oldest)
    return evolve(pods, changed=max(pods.changed, oldest), short=short)
