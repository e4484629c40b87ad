"""The edge cases of `converge`: done plans, single pods, and changes that it never undoes."""

from __future__ import annotations

import pytest

from canarycore import Observation, Routes, Rung, Status, Workload, converge, goal
from canarycore._goal import is_in_step
from canarycore._observation import PRIMARY_ONLY
from canarycore.effects import Goal, PauseScaler, Scale, ScaleDown, SetRoutes
from canarycore.notices import NoticeKind
from canarycore.phases import Phase
from canarycore.simulation import AT_ONCE, NEVER, Deploy, RouteByHand, ScalePrimary, SetPace
from tests.core.scenarios import HEADER, POLICIES, at, idle, is_advancing, policy


def pods(revision: str, ready: int = 2, desired: int = 2) -> Workload:
    return Workload(revision=revision, desired=desired, updated=desired, ready=ready, total=desired)


def observe(**changes) -> Observation:
    fields = {"now": 100.0, "target": pods("v2"), "primary": pods("v1"), "routes": Routes(weight=20), "restorable": ()}
    return Observation(**fields | changes)


UP = Goal(routes=Routes(weight=20), canary=Scale.UP, primary="v1", canary_revision="v2", allows_failover=True)


def test_a_cluster_in_step_needs_no_effects():
    status = Status(phase=Phase.PROGRESSING, since=0.0, rung=Rung(weight=20), applied="v2", promoted="v1")
    assert is_in_step(policy(), status, observe())
    assert converge(goal(policy(), status), observe()).done is True


@pytest.mark.parametrize(
    "observation",
    [
        observe(target=pods("v2", ready=0, desired=0)),
        observe(routes=Routes(weight=60)),
        observe(routes=None),
        observe(scaler_paused=True),
        observe(primary=None),
    ],
    ids=["canary at zero", "other routes", "no routes", "autoscaler paused", "no primary"],
)
def test_a_plan_with_effects_is_not_done(observation):
    assert converge(UP, observation).done is False


def test_one_pod_on_each_side_is_enough_for_its_traffic():
    plan = converge(UP, observe(target=pods("v2", ready=1), primary=pods("v1", ready=1)))
    assert (plan.effects, plan.done, plan.notes) == ((), True, ())


def test_a_canary_of_one_replica_is_scaled_down_too():
    down = Goal(routes=PRIMARY_ONLY, canary=Scale.DOWN)
    assert converge(down, observe(target=pods("v2", 1, 1), routes=PRIMARY_ONLY)).effects == (ScaleDown(),)


def test_a_canary_at_zero_still_has_its_autoscaler_paused():
    down = Goal(routes=PRIMARY_ONLY, canary=Scale.DOWN)
    plan = converge(down, observe(target=pods("v2", 0, 0), routes=PRIMARY_ONLY, scaler_paused=False))
    assert plan.effects == (PauseScaler(),)


@pytest.mark.parametrize("routes", [Routes(mirrored=True), Routes(matched=True), Routes(weight=20)], ids=str)
def test_a_canary_without_pods_receives_no_requests(routes):
    plan = converge(Goal(routes=routes, canary_revision="v2"), observe(target=pods("v2", ready=0), routes=routes))
    assert plan.effects == (SetRoutes(PRIMARY_ONLY),)


@pytest.mark.parametrize(
    ("primary", "restorable"), [("v2", ("v1",)), ("v3", ())], ids=["it has the revision under test", "nothing was kept"]
)
def test_a_primary_is_not_restored(primary, restorable):
    """Only a promotion brings the revision under test, so the status is old. Another revision needs a saved copy."""
    plan = converge(UP, observe(primary=pods(primary), restorable=restorable))
    assert (plan.effects, plan.done) == ((), True)


@pytest.mark.parametrize(
    ("match", "routes", "text"),
    [
        (HEADER, Routes(matched=True), "Setting the routes of podinfo.test from 100/0 to 100/0 matched"),
        ((), Routes(mirrored=True), "Setting the routes of podinfo.test from 100/0 to 100/0 mirrored"),
    ],
    ids=["matched", "mirrored"],
)
def test_a_repair_says_which_routes_it_sets(match, routes, text):
    name = "a/b" if match else "blue/green with a mirror"
    world = idle(POLICIES[name]).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    assert world.state.routes == routes
    assert text in world.do(RouteByHand(Routes())).run(until=1.0).texts


def test_the_canary_takes_over_during_the_promotion_of_its_revision():
    world = at(Phase.PROMOTING, policy(ladder=POLICIES["weights"].ladder)).do(ScalePrimary(0)).run(until=1.0)
    assert world.state.routes == Routes(weight=100)
    assert any(notice.kind is NoticeKind.FAILOVER_ALERT for notice in world.notices)


def test_a_settled_failure_moves_no_traffic_without_a_primary():
    """A settled idle rollout enforces nothing."""
    world = at(Phase.FAILED).run().do(ScalePrimary(0)).run(until=5.0)
    assert world.state.routes == PRIMARY_ONLY


def texts_since(world, start):
    return [notice.text for notice in world.notices[start:]]


def test_a_canary_without_pods_is_not_reported_as_held_traffic():
    """Its traffic moves to the primary."""
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    start = len(world.notices)
    texts = texts_since(world.do(SetPace("v2", NEVER)).run(until=2.0), start)
    assert "All traffic of podinfo.test goes to the primary: the canary has no ready pods" in texts
    assert not [text for text in texts if text.startswith("Holding traffic")]


def test_the_return_from_our_own_failover_is_no_foreign_change():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    start = len(world.notices)
    world.do(SetPace("primary/v1", NEVER)).run(until=2.0)
    assert world.state.routes == Routes(weight=100)
    texts = texts_since(world.do(SetPace("primary/v1", AT_ONCE)).run(until=2.0), start)
    assert "Setting the routes of podinfo.test from 0/100 to 80/20" in texts
    assert not [text for text in texts if "are found at" in text]


def test_a_foreign_change_is_reported_as_found():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    texts = world.do(RouteByHand(Routes(weight=55))).run(until=1.0).texts
    assert "Routes of podinfo.test are found at 45/55, setting 80/20" in texts
