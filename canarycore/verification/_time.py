"""Time made relative, so that the graph of what can happen is finite.

Nothing depends on where 0 is, so the last analysis is put there (`State.shifted`; the times in notices' keys get names
that tell them apart). Nothing depends on how long ago something was, once that is longer than whatever anybody
measures: ages beyond that are cut. So a gate that stays closed, polled for ever, is a circle of a few states.

    what                        is measured against                         cut beyond
    now - analysed_at           interval, interval + progress deadline      that, in whole intervals
    now - since                 progress deadline                           that and two intervals (the longest jump)
    now - drain_until           0                                           two intervals
    now - pods' last change     their pace, progress deadline               as `since`, once nothing more will change
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil, inf
from typing import TYPE_CHECKING

from attrs import evolve

from canarycore._record import record
from canarycore.notices import Notice
from canarycore.phases import Phase
from canarycore.simulation.state import SimulatedPods
from canarycore.verification._memory import EMPTY_MEMORY, ProcessMemory

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.simulation.state import State
    from canarycore.verification._fingerprints import InternTable

LONG_AGO = -1e6
"""Seconds: when something happened whose age does not matter any more."""

JUMP = 2.0
"""How far the clock is set forward or back, in intervals."""

_EARLY = 1e-6
_PARTS_OF_KEY = re.compile(r"(.*?@)(-?[0-9.e+-]+)(/.*)", re.DOTALL)


@record
class RestState:
    """The world between two cycles, and what the process knows: when to look again, and what it remembers."""

    state: State
    told: frozenset[str]
    wake: float
    stale: State | None
    remembered: ProcessMemory


def rebased(resting: RestState, ones: InternTable) -> RestState:
    """The same, with the last analysis at 0 and ages cut. The statuses are of the ones."""
    state, told, wake, stale, memory = (
        resting.state,
        resting.told,
        resting.wake,
        resting.stale,
        resting.remembered,
    )
    status, rollout = state.status, state.rollout
    if status.since is not None and status.analysed_at:
        seconds = -status.analysed_at
        if stale is None:
            names, moved = ones.made(status, _begun_at_0)
        else:
            names = _names((*status.outbox, *stale.status.outbox), status.analysed_at)
            moved = _moved_status(status, seconds, names)
            stale = _moved(stale, seconds, _moved_status(stale.status, seconds, names))
        state = _moved(state, seconds, moved)
        told = frozenset([_renamed(key, names) for key in told]) if told else told
        wake += seconds
        published = frozenset([_renamed(key, names) for key in memory.published])
        memory = (
            ProcessMemory((), published, memory.last_goal)
            if published or memory.last_goal is not None
            else EMPTY_MEMORY
        )
    longest = ceil((rollout.interval + rollout.progress_deadline) / rollout.interval) + 1
    poll = _poll(state, rollout)
    if poll > longest and stale is None:
        seconds = (longest - poll) * rollout.interval
        state = state.shifted(seconds)
        state = state.but(status=state.status.but(analysed_at=0.0))
        wake += seconds
        memory = _repolled(memory, poll, longest)
    return RestState(_cut(state, rollout), told, wake, stale, recent(memory, state))


def _begun_at_0(status: Status) -> tuple[dict[str, str], Status]:
    """The new names of times, and the status with its last analysis at 0."""
    names = _names(status.outbox, status.analysed_at)
    return names, _moved_status(status, -status.analysed_at, names)


def _names(notices: tuple[Notice, ...], analysed_at: float) -> dict[str, str]:
    """New times for those in the keys of notices: the last analysis's is 0, earlier ones are numbered.

    No key is ever made again with an earlier time, so all that matters is that they differ.
    """
    now = str(analysed_at)
    found = {_time_in(notice.key) for notice in notices} - {now}
    earlier = sorted(found, key=float, reverse=True)
    return {now: "0.0", **{time: f"{-float(number)}" for number, time in enumerate(earlier, 1)}}


def _time_in(key: str) -> str:
    return _parts(key)[1] or "0.0"


def _renamed(key: str, names: dict[str, str]) -> str:
    before, time, rest = _parts(key)
    return f"{before}{names.get(time, 'long ago')}{rest}" if time else key


@lru_cache(maxsize=1 << 16)
def _parts(key: str) -> tuple[str, str, str]:
    """What comes before the time in a key, the time ("" if there is none), and what comes after it."""
    found = _PARTS_OF_KEY.fullmatch(key)
    return (key, "", "") if found is None else (found[1], found[2], found[3])


def _moved(state: State, seconds: float, status: Status) -> State:
    """The state so much later. `status`: its own, moved."""
    target, primary = _moved_pods(state.target, seconds), _moved_pods(state.primary, seconds)
    return state.but(now=state.now + seconds, status=status, target=target, primary=primary)


def _moved_status(status: Status, seconds: float, names: dict[str, str]) -> Status:
    since, drained = status.since, status.drain_until
    return status.but(
        since=None if since is None else since + seconds,
        analysed_at=status.analysed_at + seconds,
        drain_until=drained if drained == LONG_AGO else drained + seconds,
        outbox=tuple(
            [Notice(told.kind, _renamed(told.key, names), told.phase, told.names, told.args) for told in status.outbox]
        ),
    )


def _moved_pods(pods: SimulatedPods | None, seconds: float) -> SimulatedPods | None:
    return pods if pods is None or pods.changed == LONG_AGO else pods.shifted(seconds)


def _poll(state: State, rollout: Rollout) -> int:
    return max(0, int((state.now - state.status.analysed_at + _EARLY) // rollout.interval))


def _repolled(memory: ProcessMemory, old: int, new: int) -> ProcessMemory:
    """With keys of this poll under its new number; a process forgets those of earlier polls."""
    asked = tuple(
        (evolve(question, key=question.key.replace(f"#{old}/", f"#{new}/")), answer)
        for question, answer in memory.asked
        if f"#{old}/" in question.key
    )
    published = frozenset(
        key.removesuffix(f"#{old}") + f"#{new}" if key.endswith(f"#{old}") else key for key in memory.published
    )
    return ProcessMemory(asked, published, memory.last_goal)


def recent(memory: ProcessMemory, state: State) -> ProcessMemory:
    """Without what can be of no use any more: answers of other polls, notices that are told no more."""
    status, asked, published = state.status, memory.asked, memory.published
    if not asked and not published:
        return memory
    owed = {notice.key for notice in status.outbox}
    if not asked and published <= owed:
        return memory
    poll, stem = _poll(state, state.rollout), f"@{status.analysed_at}/{status.phase._value_}"
    asked = tuple([(question, answer) for question, answer in asked if f"{stem}#{poll}/" in question.key])
    published = frozenset(
        [
            key
            for key in published
            if key in owed or (f"{stem}/" in key and ("#" not in key or key.endswith(f"#{poll}")))
        ]
    )
    if asked == memory.asked and published == memory.published:
        return memory
    return ProcessMemory(asked, published, memory.last_goal)


def _cut(state: State, rollout: Rollout) -> State:
    now, status = state.now, state.status
    long, jump = rollout.progress_deadline + (1 + JUMP) * rollout.interval, JUMP * rollout.interval
    target, primary = _cut_pods(state, state.target, "target", long), _cut_pods(state, state.primary, "primary", long)
    times: dict[str, float] = {}
    if LONG_AGO != status.drain_until < now - jump:
        times["drain_until"] = LONG_AGO
    if status.since is not None and status.since < now - jump:
        steady = all(pods is not None and pods.changed == LONG_AGO for pods in (target, primary))
        oldest = now - (jump if steady and status.phase is not Phase.TERMINATING else long)
        if status.since < oldest:
            times["since"] = oldest
    if target is state.target and primary is state.primary and not times:
        return state
    return state.but(status=status.but(**times) if times else status, target=target, primary=primary)


def _cut_pods(state: State, pods: SimulatedPods | None, workload: str, long: float) -> SimulatedPods | None:
    """Pods that will not change by themselves: nobody asks any more when those that are ready became so."""
    if pods is None or pods.changed == LONG_AGO:
        return pods
    pace = state.pace(workload, pods.revision)
    if pods.next_change(state.now, pace) < inf:
        return pods
    if pods.desired == 0 or state.now - pods.changed >= pace.delay or pods.mine >= pods.desired:
        return SimulatedPods(revision=pods.revision, desired=pods.desired, changed=LONG_AGO, mine=pods.desired)
    oldest = state.now - long
    short = None if pods.short is None else max(pods.short, oldest)
    return evolve(pods, changed=max(pods.changed, oldest), short=short)
