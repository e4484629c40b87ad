"""The loop of `canarycore.cycle` with one thing wrong at a time."""

from __future__ import annotations

from canarycore import converge, goal
from canarycore.driver import Commit, CycleResult, Observe, Publish, _apply, _decide
from canarycore.errors import WorldError


def _loop(memory, *, effects_first=False, ignores_conflicts=False, forgets_notices=False, effects_of_before=False):
    seen = yield Observe()
    rollout, status, world = seen.rollout, seen.status, seen.observation
    decision = yield from _decide(rollout, status, world, memory)
    durable, after = status.outbox, status
    if decision.status is not status:
        kept = tuple(notice for notice in status.outbox if notice.key not in memory.published)
        durable = (() if forgets_notices else kept) + decision.notices
        after = decision.status.but(outbox=() if forgets_notices else durable)
    wanted = status if effects_of_before else after
    plan = () if rollout.suspend else converge(goal(rollout, wanted), world).effects
    done, troubles = [], []
    if effects_first:
        done, troubles = yield from _apply(plan)
    if after is not status:
        try:
            yield Commit(after)
        except WorldError as trouble:
            if not ignores_conflicts:
                return CycleResult(None, world.now, (), (trouble,))
        memory.answers.clear()
    if not effects_first:
        done, troubles = yield from _apply(plan)
    for notice in durable if after is not status else (*durable, *decision.notices):
        if notice.key not in memory.published:
            try:
                yield Publish(notice)
            except WorldError as trouble:
                troubles.append(trouble)
            else:
                memory.published.add(notice.key)
    return CycleResult(decision, world.now if done or troubles else decision.wake, tuple(done), tuple(troubles))


def right(memory):
    """The loop as it should be, in these words."""
    return (yield from _loop(memory))


def effects_first(memory):
    """Routes and scale are written before the status, as Flagger does."""
    return (yield from _loop(memory, effects_first=True))


def ignores_conflicts(memory):
    """A commit that met a conflict is taken for one that was made."""
    return (yield from _loop(memory, ignores_conflicts=True))


def effects_of_before(memory):
    """Effects follow from the status that was read, not from the one that was committed."""
    return (yield from _loop(memory, effects_of_before=True))


def never_wakes(memory):
    """After effects it waits for the interval, as if the world had followed at once."""
    rest = yield from _loop(memory)
    return CycleResult(rest.decision, None, rest.effects, rest.errors) if not rest.errors else rest


DEFECTS = {effects_first: "I5", ignores_conflicts: "I5", effects_of_before: "I5", never_wakes: "I8"}
"""Each loop, and an invariant that it breaks."""
