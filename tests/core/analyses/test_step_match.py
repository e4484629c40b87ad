"""A match beside the weight of a step: matching requests go to the canary, and the weight divides the others."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, Ladder, Phase, Routes, Rung, Step, Strategy
from canarycore.effects import SetRoutes
from canarycore.errors import FieldError
from canarycore.policy import Scenario
from canarycore.simulation import Deploy, Edit, SendCommand
from canarycore.traffic import Affinity, Match, StringMatch
from tests.core.scenarios import idle, policy

INSIDER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),)
TESTER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="tester")),)),)
MATCHED = policy(ladder=Ladder(steps=(Step(weight=0, match=INSIDER), Step(weight=20, match=TESTER), 60)))


def at_weight(weight):
    return lambda world: world.status.rung.weight == weight


def written(world):
    return [effect.routes for record in world.history for effect in record.effects if isinstance(effect, SetRoutes)]


def test_each_step_sends_its_matching_requests_beside_its_weight():
    world = idle(MATCHED).do(Deploy("v2")).run()
    ways = [Routes(matched=True), Routes(weight=20, matched=True), Routes(weight=60), Routes()]
    assert written(world)[-4:] == ways
    assert [MATCHED.match_on(routes) for routes in ways] == [INSIDER, TESTER, (), ()]
    assert world.phase is Phase.SUCCEEDED


def test_the_match_of_an_ab_test_is_that_of_its_rollout():
    rollout = policy(ladder=Ladder(strategy=Strategy.AB, iterations=2), match=INSIDER)
    assert rollout.match_on(Routes(matched=True)) == rollout.match_on(Routes()) == INSIDER


def test_an_edit_that_removes_a_match_takes_its_requests_away_and_moves_no_weight():
    world = idle(MATCHED).do(Deploy("v2")).run(until=at_weight(20))
    world.do(Edit(policy())).step()
    assert (world.state.routes, world.status.rung) == (Routes(weight=20), Rung(weight=20, matched=True))
    assert world.run().phase is Phase.SUCCEEDED


def test_an_edit_that_adds_a_match_counts_from_the_next_step_on():
    world = idle(policy(ladder=Ladder(steps=(20, 60)))).do(Deploy("v2")).run(until=at_weight(20))
    edited = policy(ladder=Ladder(steps=(Step(weight=20, match=TESTER), Step(weight=60, match=INSIDER))))
    world.do(Edit(edited)).step()
    assert world.state.routes == Routes(weight=20)
    world.run(until=at_weight(60)).step()
    assert world.state.routes == Routes(weight=60, matched=True)


def test_an_edit_of_a_match_keeps_the_approval_of_its_step():
    steps = (Step(weight=20, match=TESTER, approval=True), 60)
    world = idle(policy(ladder=Ladder(steps=steps))).do(Deploy("v2")).run(until=at_weight(20))
    edited = (Step(weight=20, approval=True), 60)
    world.do(Edit(policy(ladder=Ladder(steps=edited)))).run(until=world.state.now + 100.0)
    assert world.status.rung.weight == 20


def test_a_command_skips_to_a_step_with_its_match():
    world = idle(MATCHED).do(Deploy("v2")).run(until=lambda world: world.status.rung.matched)
    world.do(SendCommand(CommandKind.SKIP_TO, 20)).step()
    assert world.status.rung == Rung(weight=20, matched=True)


def test_weights_in_tenths_have_a_match_too():
    ladder = Ladder(tenths=True, steps=(Step(weight=5, match=TESTER), 600))
    assert ladder.rungs[1] == Rung(weight=5, matched=True, tenths=True)
    assert policy(ladder=ladder).match_on(ladder.rungs[1].routes) == TESTER


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Ladder(steps=(Step(weight=100, match=TESTER),)), "Ladder.steps[0].match"),
        (lambda: Ladder(steps=(Step(weight=0, match=TESTER),), mirror=True), "Ladder.steps[0].weight"),
        (lambda: evolve(MATCHED, match=TESTER), "Rollout.match"),
        (lambda: evolve(MATCHED, affinity=Affinity(cookie_name="canary")), "Rollout.affinity"),
    ],
)
def test_a_match_that_contradicts_the_policy_is_refused(make, part):
    with pytest.raises(FieldError, match=part.replace("[", r"\[")):
        make()


def test_the_share_of_users_is_all_that_match_and_the_weights_part_of_the_others():
    scenario = Scenario(match_share=0.1)
    routes = [Routes(weight=20), Routes(matched=True), Routes(weight=20, matched=True)]
    assert [round(scenario.share_on(each), 9) for each in routes] == [0.2, 0.1, 0.28]
