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
from math import ceil, inf
from typing import TYPE_CHECKING

from attrs import evolve

from canarycore._notices import Notice
from canarycore._phases import Phase
from canarycore._record import record
from canarycore.testing.verify._process import Remembered

if TYPE_CHECKING:
    from canarycore._spec import Rollout
    from canarycore.testing._state import Pods, State

LONG_AGO = -1e6
"""Seconds: when something happened whose age does not matter any more."""

JUMP = 2.0
"""How far the clock is set forward or back, in intervals."""

_EARLY = 1e-6
_TIME_IN_KEY = re.compile(r"@(-?[0-9.e+-]+)/")


@record
class Resting:
    """The world between two cycles, and what the process knows: when to look again, and what it remembers."""

    state: State
    told: frozenset[str]
    wake: float
    stale: State | None
    remembered: Remembered


def rebased(resting: Resting) -> Resting:
    """The same, with the last analysis at 0 and ages cut."""
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
        names = _names(state, stale)
        state = _moved(state, seconds, names)
        told = frozenset([_renamed(key, names) for key in told])
        wake += seconds
        stale = None if stale is None else _moved(stale, seconds, names)
        memory = Remembered(published=frozenset([_renamed(key, names) for key in memory.published]))
    longest = ceil((rollout.interval + rollout.progress_deadline) / rollout.interval) + 1
    poll = _poll(state, rollout)
    if poll > longest and stale is None:
        seconds = (longest - poll) * rollout.interval
        state = state.shifted(seconds)
        state = state.but(status=state.status.but(analysed_at=0.0))
        wake += seconds
        memory = _repolled(memory, poll, longest)
    return Resting(_cut(state, rollout), told, wake, stale, recent(memory, state))


def _names(state: State, stale: State | None) -> dict[str, str]:
    """New times for those in the keys of notices: the last analysis's is 0, earlier ones are numbered.

    No key is ever made again with an earlier time, so all that matters is that they differ.
    """
    now = str(state.status.analysed_at)
    notices = state.status.outbox if stale is None else (*state.status.outbox, *stale.status.outbox)
    found = {_time_in(notice.key) for notice in notices} - {now}
    earlier = sorted(found, key=float, reverse=True)
    return {now: "0.0", **{time: f"{-float(number)}" for number, time in enumerate(earlier, 1)}}


def _time_in(key: str) -> str:
    found = _TIME_IN_KEY.search(key)
    return "0.0" if found is None else found[1]


def _renamed(key: str, names: dict[str, str]) -> str:
    return _TIME_IN_KEY.sub(lambda found: f"@{names.get(found[1], 'long ago')}/", key, count=1)


def _moved(state: State, seconds: float, names: dict[str, str]) -> State:
    outbox = tuple(
        [
            Notice(told.tell, _renamed(told.key, names), told.phase, told.names, told.args)
            for told in state.status.outbox
        ]
    )
    moved = state.shifted(seconds)
    return moved.but(status=moved.status.but(outbox=outbox)) if outbox else moved


def _poll(state: State, rollout: Rollout) -> int:
    return max(0, int((state.now - state.status.analysed_at + _EARLY) // rollout.interval))


def _repolled(memory: Remembered, old: int, new: int) -> Remembered:
    """With keys of this poll under its new number; a process forgets those of earlier polls."""
    asked = tuple(
        (evolve(question, key=question.key.replace(f"#{old}/", f"#{new}/")), answer)
        for question, answer in memory.asked
        if f"#{old}/" in question.key
    )
    published = frozenset(
        key.removesuffix(f"#{old}") + f"#{new}" if key.endswith(f"#{old}") else key for key in memory.published
    )
    return Remembered(asked, published)


def recent(memory: Remembered, state: State) -> Remembered:
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
    return Remembered(asked, published)


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


def _cut_pods(state: State, pods: Pods | None, workload: str, long: float) -> Pods | None:
    """Pods that will not change by themselves: nobody asks any more when those that are ready became so."""
    if pods is None or pods.changed == LONG_AGO:
        return pods
    pace = state.pace(workload, pods.revision)
    if pods.next_change(state.now, pace) < inf:
        return pods
    if pods.desired == 0 or state.now - pods.changed >= pace.delay or pods.mine >= pods.desired:
        return evolve(pods, changed=LONG_AGO, mine=pods.desired, others=0, other="", short=None)
    oldest = state.now - long
    short = None if pods.short is None else max(pods.short, oldest)
    return evolve(pods, changed=max(pods.changed, oldest), short=short)
