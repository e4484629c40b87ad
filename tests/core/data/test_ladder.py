"""The rungs of every strategy, as in the golden traces 05, 06, 07, 07c and 24."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Ladder, Phase, Rung, Strategy
from canarycore._ladder import INITIAL_RUNG
from canarycore.errors import WrongType
from canarycore.simulation import Deploy, Edit
from canarycore.testing import strategies as some
from tests.core.scenarios import POLICIES, idle, is_advancing, policy


def climb(ladder: Ladder) -> list[tuple[int, str, int]]:
    """Return (weight, m for mirrored or a for matched, iteration) of each rung after the initial one."""
    rungs = ladder.rungs[1:]
    return [(rung.weight, "m" * rung.mirrored + "a" * rung.matched, rung.iteration) for rung in rungs]


BLUE_GREEN = Ladder(strategy=Strategy.BLUE_GREEN, iterations=2)

CLIMBS = {
    "steps up to the top": (Ladder(step=20, top=60), [(20, "", 0), (40, "", 0), (60, "", 0)]),
    "the last step may pass the top": (Ladder(step=30, top=50), [(30, "", 0), (60, "", 0)]),
    "no step passes 100": (Ladder(step=60, top=100), [(60, "", 0), (100, "", 0)]),
    "steps as listed": (Ladder(steps=(1, 2, 80)), [(1, "", 0), (2, "", 0), (80, "", 0)]),
    "a mirror comes first": (Ladder(steps=(50,), mirror=True), [(0, "m", 0), (50, "", 0)]),
    "a/b by match": (Ladder(strategy=Strategy.AB, iterations=2), [(0, "a", 1), (0, "a", 2)]),
    "blue/green": (BLUE_GREEN, [(0, "", 1), (0, "", 2), (100, "", 3)]),
    "blue/green mirrors": (evolve(BLUE_GREEN, mirror=True), [(0, "m", 1), (0, "m", 2), (100, "", 3)]),
    "blue/green without routes": (evolve(BLUE_GREEN, routed=False), [(0, "", 1), (0, "", 2), (0, "", 3)]),
    "weights bake at 100": (Ladder(steps=(50,), bake=60.0), [(50, "", 0), (100, "", 0)]),
    "a/b bakes at 100": (
        Ladder(strategy=Strategy.AB, iterations=1, bake=60.0),
        [(0, "a", 1), (100, "", 2)],
    ),
    "blue/green bakes where it has all traffic anyway": (
        evolve(BLUE_GREEN, bake=60.0),
        [(0, "", 1), (0, "", 2), (100, "", 3)],
    ),
    "without routes nothing is mirrored": (
        evolve(BLUE_GREEN, routed=False, mirror=True),
        [(0, "", 1), (0, "", 2), (0, "", 3)],
    ),
}


@pytest.mark.parametrize("name", CLIMBS)
def test_the_rungs_of_a_ladder(name):
    ladder, expected = CLIMBS[name]
    assert climb(ladder) == expected


@given(some.ladders())
def test_weights_end_and_never_fall(ladder):
    weights = [rung.weight for rung in ladder.rungs]
    assert weights == sorted(weights)
    assert ladder.after(ladder.rungs[-1]) is None


@given(some.ladders())
def test_after_leads_from_each_rung_to_the_next(ladder):
    rungs = list(ladder.rungs)
    assert [ladder.after(rung) for rung in rungs] == [*rungs[1:], None]


@given(some.ladders(), st.slices(9))
def test_rungs_are_a_sequence(ladder, part):
    rungs = list(ladder.rungs)
    assert list(ladder.rungs[part]) == rungs[part]
    assert [ladder.rungs[place] for place in range(-len(rungs), len(rungs))] == rungs * 2
    assert (len(ladder.rungs), list(reversed(ladder.rungs))) == (len(rungs), rungs[::-1])


@given(some.ladders())
def test_the_last_rung_is_the_heaviest(ladder):
    assert ladder.heaviest == max(rung.weight for rung in ladder.rungs)


@given(some.ladders())
def test_the_first_rung_with_a_gate_before_the_promotion_is_known(ladder):
    assert ladder.last_confirmed == next(rung for rung in ladder.rungs if ladder.has_promotion_gate(rung))


@pytest.mark.parametrize("strategy", [Strategy.AB, Strategy.BLUE_GREEN])
@pytest.mark.parametrize("iterations", [10**6, 10**9, 2**31 - 1, 2**53 - 1])
def test_a_ladder_of_any_number_of_iterations_costs_the_same(strategy, iterations):
    tracemalloc.start()
    ladder = Ladder(strategy=strategy, iterations=iterations, mirror=True)
    near_the_end = ladder.after(ladder.at_iteration(iterations - 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert near_the_end == ladder.rungs[iterations]
    assert (near_the_end.iteration, ladder.rungs[-1].iteration >= iterations) == (iterations, True)
    assert ladder.after(ladder.rungs[-1]) is None
    assert peak < 100_000


WRONG = {
    "top": ({"step": 10, "top": 101}, "found 101, expected a whole number from 1 to 100"),
    "step": ({"step": -10, "top": 50}, "found -10, expected a whole number from 0 to 100"),
    "step_back": ({"step": 10, "step_back": -1}, "found -1, expected a whole number from 0 to 100"),
    "steps[1]": ({"steps": (10, 150)}, "found 150, expected a whole number from 1 to 100"),
    "steps": ({"steps": tuple(range(101))}, "found a tuple of 101 items, expected a tuple of at most 100 items"),
    "iterations": ({"iterations": 10**5000}, "found a number of more than 38 digits, expected a whole number"),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_ladder_without_end_cannot_be_built(field):
    numbers, message = WRONG[field]
    with pytest.raises(ValueError, match=re.escape(f"Ladder.{field}: {message}")):
        Ladder(**numbers)


@pytest.mark.parametrize("step", [0.5, 10.0, "10", None, float("nan")])
def test_a_step_is_a_whole_number(step):
    with pytest.raises(WrongType, match=r"Ladder\.step: found .*, expected a whole number from 0 to 100"):
        Ladder(step=step)


@given(some.ladders(), some.rungs())
def test_a_ladder_ends_from_any_rung(ladder, rung):
    for _ in range(200):
        rung = ladder.after(rung)
        if rung is None:
            return
        assert 0 <= rung.permille <= 1000
    raise AssertionError("the climb goes on and on")


@given(some.ladders(), some.rungs())
def test_the_way_back_reaches_the_primary(ladder, rung):
    while rung.weight > 0:
        assert ladder.back(rung).permille < rung.permille
        rung = ladder.back(rung)


def test_weights_in_tenths_are_shares_finer_than_a_percent():
    ladder = Ladder(steps=(1, 5, 1000), tenths=True)
    assert [str(rung) for rung in ladder.rungs] == ["weight 0", "weight 0.1", "weight 0.5", "weight 100"]
    assert [rung.routes.primary for rung in ladder.rungs[1:]] == [999, 995, 0]
    assert (ladder.top, ladder.total, ladder.heaviest) == (1000, 1000, 1000)


def test_steps_in_tenths_end_at_the_top():
    weights = [rung.weight for rung in Ladder(step=4, top=10, tenths=True).rungs]
    assert weights == [0, 4, 8, 12]


def test_the_same_share_is_the_same_rung_in_either_unit():
    fine, coarse = Rung(weight=50, tenths=True), Rung(weight=5)
    assert (fine, hash(fine), fine.routes) == (coarse, hash(coarse), coarse.routes)
    assert Rung(tenths=True) == INITIAL_RUNG


@pytest.mark.parametrize(
    ("ladder", "rung", "expected"),
    [
        (Ladder(steps=(1, 2, 50)), Rung(weight=15, tenths=True), "weight 2"),
        (Ladder(step=10, top=50), Rung(weight=15, tenths=True), "weight 11"),
        (Ladder(steps=(5, 25, 500), tenths=True), Rung(weight=2), "weight 2.5"),
        (Ladder(step=1, tenths=True), Rung(weight=2), "weight 2.1"),
    ],
)
def test_a_rollout_goes_on_after_its_owner_changes_the_unit(ladder, rung, expected):
    assert str(ladder.after(rung)) == expected


def test_a_ladder_in_place_ends_at_full_weight():
    assert [rung.weight for rung in Ladder(step=20, top=40, in_place=True).rungs] == [0, 20, 40, 100]
    assert [rung.weight for rung in Ladder(steps=(5, 100), in_place=True).rungs] == [0, 5, 100]
    assert [rung.weight for rung in Ladder(steps=(5,), in_place=True, tenths=True).rungs] == [0, 5, 1000]
    assert [rung.weight for rung in Ladder(in_place=True).rungs] == [0, 100]


@given(some.ladders().filter(lambda ladder: ladder.in_place))
def test_every_ladder_in_place_ends_at_full_weight(ladder):
    assert ladder.rungs[-1].permille == 1000
    assert ladder.has_promotion_gate(ladder.rungs[-1])


@pytest.mark.parametrize(
    ("weight", "expected"), [(0, 10), (5, 10), (10, 30), (20, 30), (30, 70), (69, 70), (70, None), (99, None)]
)
def test_the_next_rung_follows_from_the_weight_itself(weight, expected):
    after = Ladder(steps=(10, 30, 70)).after(Rung(weight=weight))
    assert (None if after is None else after.weight) == expected


def test_an_edit_of_the_steps_moves_no_weight_by_itself():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=3.0)
    world.do(Edit(evolve(world.rollout, ladder=Ladder(steps=(10, 30, 70))))).run(until=6.0)
    assert (world.status.rung.weight, world.state.routes.weight) == (20, 20)


def test_after_an_edit_the_new_steps_apply():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=3.0)
    world.do(Edit(evolve(world.rollout, ladder=Ladder(steps=(10, 30, 70))))).run()
    assert [text for text in world.texts if "canary weight" in text] == [
        "Advance podinfo.test canary weight 20",
        "Advance podinfo.test canary weight 30",
        "Advance podinfo.test canary weight 70",
    ]


def test_steps_that_end_below_the_weight_promote():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=3.0)
    world.do(Edit(evolve(world.rollout, ladder=Ladder(steps=(5,))))).run()
    assert world.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("name", POLICIES)
def test_each_strategy_promotes_a_healthy_revision(name):
    world = idle(POLICIES[name]).do(Deploy("v2")).run()
    assert (world.phase, world.status.promoted, world.state.primary.revision) == (Phase.SUCCEEDED, "v2", "v2")


@pytest.mark.parametrize("name", POLICIES)
def test_each_strategy_uses_its_own_ladder(name):
    world = idle(POLICIES[name]).do(Deploy("v2")).run()
    rungs = [record.state.status.rung for record in world.history if record.phase is Phase.PROGRESSING]
    assert list(dict.fromkeys(rungs)) == list(POLICIES[name].ladder.rungs)


def test_the_initial_rung_asks_no_metric():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing)
    assert not [question for record in world.history for question, _ in record.answers]
    assert world.history[0].state.status.rung == INITIAL_RUNG
