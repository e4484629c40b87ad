"""Broken versions of the loop `canarycore.cycle`, each with one defect."""

from __future__ import annotations

from canarycore import converge, goal
from canarycore.driver import Commit, CycleResult, Observe, Publish, _apply, _decide
from canarycore.errors import WorldError


def _loop(memory, *, effects_first=False, ignores_conflicts=False, forgets_notices=False, effects_of_before=False):
    observed = yield Observe()
    rollout, status, observation = observed.rollout, observed.status, observed.observation
    decision = yield from _decide(rollout, status, observation, memory)
    durable, after = status.outbox, status
    if decision.status is not status:
        kept = tuple(notice for notice in status.outbox if notice.key not in memory.published)
        durable = (() if forgets_notices else kept) + decision.notices
        after = decision.status.but(outbox=() if forgets_notices else durable)
    basis = status if effects_of_before else after
    plan = () if rollout.suspend else converge(goal(rollout, basis), observation).effects
    done, troubles = [], []
    if effects_first:
        done, troubles = yield from _apply(plan)
    if after is not status:
        try:
            yield Commit(after)
        except WorldError as trouble:
            if not ignores_conflicts:
                return CycleResult(None, observation.now, (), (trouble,))
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
    return CycleResult(decision, observation.now if done or troubles else decision.wake, tuple(done), tuple(troubles))


def correct(memory):
    """Run the loop without a defect."""
    return (yield from _loop(memory))


def effects_first(memory):
    """Write routes and replicas before the status, as Flagger does."""
    return (yield from _loop(memory, effects_first=True))


def ignores_conflicts(memory):
    """Take a commit that met a conflict for a successful one."""
    return (yield from _loop(memory, ignores_conflicts=True))


def effects_of_before(memory):
    """Derive the effects from the status of the observation, not from the committed one."""
    return (yield from _loop(memory, effects_of_before=True))


def never_wakes(memory):
    """Ask for no further cycle after effects."""
    result = yield from _loop(memory)
    return CycleResult(result.decision, None, result.effects, result.errors) if not result.errors else result


DEFECTS = {effects_first: "I5", ignores_conflicts: "I5", effects_of_before: "I5", never_wakes: "I8"}
"""Broken loops, each with an invariant that it breaks."""
