"""I1 to I14 over simulated schedules: what others do, and what goes wrong, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore.testing import World, at_rest
from canarycore.testing import strategies as some


def lives(data: st.DataObject, *, with_faults: bool) -> None:
    """A world with a schedule comes to rest, and every write on the way kept the invariants."""
    start = data.draw(some.worlds())
    schedule = data.draw(some.schedules(start.rollout))
    faults = data.draw(st.lists(some.faults(), max_size=3)) if with_faults else ()
    world = World(start.rollout, state=start.state.but(writes=0, reads=0), schedule=schedule, faults=faults)
    world.run(until=100.0).run(until=1900.0)
    wrong = at_rest(world)
    assert wrong is None, f"{wrong}\n{world.program()}\n" + "\n".join(map(str, world.history[-4:]))


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
