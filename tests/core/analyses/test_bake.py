"""`bake`: the canary has all traffic for a time, and one write of the routes is the way back to a warm primary."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, HookType, Ladder, Phase, Reason, Step, Strategy
from canarycore.effects import Promote, SetRoutes
from canarycore.errors import FieldError
from canarycore.notices import NoticeKind
from canarycore.simulation import AnswerHook, ByRevision, Deploy, SendCommand, SetMetrics
from tests.core.scenarios import HEADER, hook, idle, policy

BAKE = 100.0

POLICIES = {
    "weights": policy(ladder=Ladder(steps=(20, 60), bake=BAKE)),
    "steps": policy(ladder=Ladder(steps=(Step(weight=20, hold=30.0),), bake=BAKE)),
    "a/b": policy(ladder=Ladder(strategy=Strategy.AB, iterations=2, bake=BAKE), match=HEADER),
    "blue/green": policy(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, bake=BAKE)),
}


@pytest.fixture(params=POLICIES)
def baking(request):
    """A cluster whose canary has all traffic."""
    world = idle(POLICIES[request.param]).do(Deploy("v2"))
    return world.run(until=lambda world: world.state.routes.weight == 100)


def effects(world, kind):
    return [effect for record in world.history for effect in record.effects if isinstance(effect, kind)]


def test_the_primary_is_replaced_only_after_the_bake(baking):
    began = baking.now
    assert baking.state.primary.revision == "v1"
    baking.run(until=lambda world: effects(world, Promote))
    assert baking.now - began >= BAKE
    assert baking.run().phase is Phase.SUCCEEDED
    assert baking.state.primary.revision == "v2"


def test_analyses_go_on_and_one_write_of_the_routes_returns_all_traffic(baking):
    written = len(effects(baking, SetRoutes))
    baking.do(SetMetrics(ByRevision(bad=("v2",)))).run(until=lambda world: world.state.routes.weight < 100)
    (way_back,) = effects(baking, SetRoutes)[written:]
    assert way_back.routes.weight == 0
    assert (baking.state.primary.revision, baking.state.primary.desired) == ("v1", 2)
    assert baking.run().phase is Phase.FAILED
    assert (baking.status.reason, baking.status.promoted) == (Reason.CHECKS, "v1")


def test_abort_returns_all_traffic(baking):
    baking.do(SendCommand(CommandKind.ABORT)).run()
    assert (baking.phase, baking.status.promoted, baking.state.routes.weight) == (Phase.FAILED, "v1", 0)


def test_an_event_says_how_long_it_lasts(baking):
    notices = [notice for record in baking.history for notice in record.notices]
    *_, last = (notice.text for notice in notices if notice.kind is NoticeKind.HOLDING)
    assert "weight 100" in last
    assert "1m40s" in last


@pytest.mark.parametrize("name", POLICIES)
def test_a_closed_gate_comes_before_all_traffic_moves(name):
    gated = evolve(POLICIES[name], hooks=(hook(HookType.CONFIRM_PROMOTION),))
    world = idle(gated).do(AnswerHook("confirm-promotion", (False,)), Deploy("v2"))
    world.run(until=lambda world: world.phase is Phase.WAITING_PROMOTION)
    assert world.state.routes.weight < 100
    world.do(AnswerHook("confirm-promotion", (True,))).run(until=lambda world: world.state.routes.weight == 100)
    began = world.now
    assert world.run(until=lambda world: effects(world, Promote)).now - began >= BAKE
    assert world.run().phase is Phase.SUCCEEDED


WRONG = {
    "bake": {"strategy": Strategy.BLUE_GREEN, "iterations": 2, "routed": False},
    "steps": {"steps": (20, Step(weight=100, hold=60.0))},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_a_bake_without_traffic_or_beside_a_last_step_is_refused(fields):
    with pytest.raises(FieldError, match="bake"):
        Ladder(bake=BAKE, **fields)
