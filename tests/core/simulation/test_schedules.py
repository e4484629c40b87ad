"""I1 to I14 over simulated schedules: what others do, and what goes wrong, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore import Rollout
from canarycore.simulation import Action, Edit, SimulatedCluster, check_at_rest
from canarycore.testing import strategies as some

SLOWEST = 70.0
"""Seconds that pods take to come, if they do."""


def lives(data: st.DataObject, *, with_faults: bool) -> None:
    """A cluster with a schedule comes to rest, and every write on the way kept the invariants."""
    start = data.draw(some.clusters())
    schedule = data.draw(some.schedules(start.rollout))
    faults = data.draw(st.lists(some.faults(), max_size=3)) if with_faults else ()
    cluster = SimulatedCluster(
        start.rollout, state=start.state.but(writes=0, reads=0), schedule=schedule, faults=faults
    )
    cluster.run(until=100.0).run(until=patience(start.rollout, schedule))
    wrong = check_at_rest(cluster.state, cluster.history)
    assert wrong is None, f"{wrong}\n{cluster.program()}\n" + "\n".join(map(str, cluster.history[-4:]))


def patience(rollout: Rollout, schedule: list[tuple[float, Action]]) -> float:
    """Seconds after the last action in which it must have come to rest.

    An interval for each rung and promotion step, failed check and hold, and as many that a crash loop may spoil. Twice
    the time for pods to come, of the canary and of the new primary.
    """
    ladders = [rollout.ladder, *(action.rollout.ladder for _, action in schedule if isinstance(action, Edit))]
    steps = max(len(ladder.rungs) + ladder.total // (ladder.step_back or ladder.total) for ladder in ladders)
    intervals = 2 * (steps + rollout.threshold + rollout.inconclusive_limit + 5)
    return intervals * rollout.interval + 2 * (rollout.progress_deadline + SLOWEST)


@given(st.data())
def test_whatever_others_do_the_invariants_hold_and_it_comes_to_rest(data):
    lives(data, with_faults=False)


@given(st.data())
def test_whatever_goes_wrong_the_invariants_hold_and_it_comes_to_rest(data):
    lives(data, with_faults=True)


@pytest.mark.deep
@given(st.data())
@settings(max_examples=max(settings.default.max_examples // 10, 1))
def test_whatever_others_do_and_goes_wrong_for_long(data):
    lives(data, with_faults=True)
