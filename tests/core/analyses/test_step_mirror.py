"""A mirror of a step: a percentage of requests is copied to the canary, beside the weight or at weight 0."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, Hook, HookType, Ladder, Phase, Routes, Rung, Step
from canarycore.effects import SetRoutes
from canarycore.errors import FieldError
from canarycore.policy import Scenario
from canarycore.questions import HookQuestion
from canarycore.simulation import Deploy, Edit, SendCommand
from canarycore.traffic import Affinity, Match, StringMatch
from tests.core.scenarios import idle, policy

INSIDER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),)
MIRRORED = policy(ladder=Ladder(steps=(Step(weight=0, mirror=30), Step(weight=20, mirror=5), 60)))


def at_weight(weight):
    return lambda world: world.status.rung.weight == weight


def is_mirrored(world):
    return world.status.rung.mirrored


def written(world):
    return [effect.routes for record in world.history for effect in record.effects if isinstance(effect, SetRoutes)]


def test_each_step_copies_its_percentage_beside_its_weight():
    world = idle(MIRRORED).do(Deploy("v2")).run()
    ways = [Routes(mirrored=True), Routes(weight=20, mirrored=True), Routes(weight=60), Routes()]
    assert written(world)[-4:] == ways
    assert [MIRRORED.mirror_on(routes) for routes in ways] == [30, 5, 0, 0]
    assert world.phase is Phase.SUCCEEDED


def test_the_percentage_of_the_first_mirror_is_that_of_its_rollout():
    first = policy(ladder=Ladder(steps=(Step(weight=20, mirror=5), 60), mirror=True), mirror_weight=40)
    assert [first.mirror_on(rung.routes) for rung in first.ladder.rungs] == [0, 40, 5, 0]


@pytest.mark.parametrize("edited", [(Step(weight=20, hold=1.0), 60), (20, 60)])
def test_an_edit_that_removes_a_mirror_ends_its_copies_and_moves_no_weight(edited):
    world = idle(MIRRORED).do(Deploy("v2")).run(until=at_weight(20))
    world.do(Edit(policy(ladder=Ladder(steps=edited)))).step()
    assert (world.state.routes, world.status.rung) == (Routes(weight=20), Rung(weight=20, mirrored=True))
    assert world.run().phase is Phase.SUCCEEDED


def test_an_edit_of_the_steps_leaves_no_copies_of_a_larger_percentage_at_weight_0():
    world = idle(MIRRORED).do(Deploy("v2")).run(until=is_mirrored)
    world.do(Edit(policy(ladder=Ladder(steps=(Step(weight=20, hold=1.0), 60))))).step()
    assert world.state.routes == Routes()


def test_an_edit_of_the_first_mirror_counts_from_the_next_rung_on_as_before():
    world = idle(policy(ladder=Ladder(steps=(50,), mirror=True))).do(Deploy("v2")).run(until=is_mirrored)
    world.do(Edit(policy(ladder=Ladder(steps=(50,))))).step()
    assert world.state.routes == Routes(mirrored=True)


def test_a_mirror_and_a_match_of_one_step_go_together():
    ladder = Ladder(steps=(Step(weight=20, mirror=5, match=INSIDER), 60))
    assert ladder.rungs[1] == Rung(weight=20, mirrored=True, matched=True)
    scenario = Scenario(rps=100.0, match_share=0.1)
    copies = scenario.copies_on(policy(ladder=ladder), ladder.rungs[1].routes)
    assert round(copies, 9) == 4.5, "of the nine tenths that do not match"


def test_a_mirror_beside_a_weight_keeps_the_session_cookie():
    world = idle(evolve(MIRRORED, affinity=Affinity(cookie_name="canary"))).do(Deploy("v2")).run(until=at_weight(20))
    world.step()
    assert (world.state.routes.mirrored, world.state.routes.cookie) == (True, "v2")


def test_gates_between_steps_are_asked_on_steps_with_a_mirror_too():
    gate = Hook(name="gate", type=HookType.CONFIRM_TRAFFIC_INCREASE, url="http://gate.test/")
    world = idle(evolve(MIRRORED, hooks=(gate,))).do(Deploy("v2")).run()
    asked = [answer for record in world.history for answer in record.answers if isinstance(answer[0], HookQuestion)]
    assert len(asked) == len(MIRRORED.ladder.rungs)


def test_a_command_skips_to_a_step_with_its_mirror():
    world = idle(MIRRORED).do(Deploy("v2")).run(until=is_mirrored).do(SendCommand(CommandKind.SKIP_TO, 20))
    world.step()
    assert world.status.rung == Rung(weight=20, mirrored=True)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Step(weight=20, mirror=101), "Step.mirror"),
        (lambda: Ladder(steps=(Step(weight=100, mirror=5),)), "Ladder.steps[0].mirror"),
        (lambda: Ladder(steps=(Step(weight=0, mirror=5),), mirror=True), "Ladder.steps[0].weight"),
    ],
)
def test_a_mirror_that_contradicts_the_policy_is_refused(make, part):
    with pytest.raises(FieldError, match=part.replace("[", r"\[")):
        make()
