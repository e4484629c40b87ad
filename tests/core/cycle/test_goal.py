"""The end state that a status requires, and the safe order of effects."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import CommandKind, Observation, Phase, Routes, Status, Workload, converge, goal
from canarycore._goal import explain_unready, is_in_step
from canarycore.effects import Plan, Promote, Restore, RestorePrimary, ResumeScaler, ScaleDown, ScaleUp, SetRoutes
from canarycore.notices import NoticeKind
from canarycore.phases import PROMOTED, Pending, Rule
from canarycore.simulation import (
    AT_ONCE,
    NEVER,
    Delete,
    Deploy,
    RouteByHand,
    Scaler,
    ScaleTarget,
    SendCommand,
    SetPace,
    SimulatedCluster,
    after,
)
from canarycore.testing import strategies as some
from canarycore.traffic import Affinity
from tests.core.scenarios import POLICIES, SITUATIONS, at, idle, is_advancing, is_promoting, play, policy

anything = given(some.rollouts(), some.statuses(), some.observations())


def effects_of(rollout, status, world):
    return converge(goal(rollout, status), world).effects


@anything
def test_only_the_revision_of_the_status_is_promoted_and_only_from_a_target_with_it(rollout, status, world):
    for effect in effects_of(rollout, status, world):
        if isinstance(effect, Promote):
            assert effect.revision == (status.promoted if status.phase in PROMOTED else status.applied)
            assert effect.revision == world.target.revision


def test_a_later_revision_on_the_target_is_not_promoted():
    """v2 passed, but the target has v3 by now, without an analysis."""
    status = Status(phase=Phase.PROMOTING, since=0.0, applied="v2", promoted="v1")
    pods = {"desired": 2, "updated": 2, "ready": 2, "total": 2}
    world = Observation(
        now=9.0,
        target=Workload(revision="v3", **pods),
        primary=Workload(revision="v1", **pods),
        routes=Routes(),
    )
    assert effects_of(policy(), status, world) == ()


@anything
def test_only_a_restorable_revision_is_restored(rollout, status, world):
    for effect in effects_of(rollout, status, world):
        if isinstance(effect, RestorePrimary):
            assert effect.revision == status.promoted
            assert effect.revision in world.restorable


@anything
def test_routes_never_move_traffic_to_a_side_without_pods(rollout, status, world):
    before = world.routes or Routes()
    for effect in effects_of(rollout, status, world):
        if isinstance(effect, SetRoutes):
            if effect.routes.weight > before.weight or (effect.routes.is_exposed and not before.is_exposed):
                assert world.target.ready > 0
            if effect.routes.weight < before.weight:
                assert world.primary.ready > 0


@anything
def test_capacity_comes_before_traffic_and_goes_after_it(rollout, status, world):
    kinds = [type(effect) for effect in effects_of(rollout, status, world)]
    if SetRoutes in kinds and world.routes is not None and world.routes.is_exposed:
        assert ScaleDown not in kinds
    if SetRoutes in kinds:
        assert not {ScaleUp, ResumeScaler} & set(kinds[kinds.index(SetRoutes) :])


def test_the_cycle_that_takes_the_traffic_away_does_not_stop_the_canary():
    """Even without a drain, an observation must confirm the routes first."""
    status = Status(phase=Phase.FAILED, since=0.0, applied="v2", promoted="v1", pending=(Pending.SETTLE,))
    pods = {"desired": 2, "updated": 2, "ready": 2, "total": 2}
    world = Observation(
        now=9.0,
        target=Workload(revision="v2", **pods),
        primary=Workload(revision="v1", **pods),
        routes=Routes(weight=20),
    )
    assert effects_of(policy(), status, world) == (SetRoutes(Routes()),)


@anything
def test_a_canary_that_runs_beside_its_traffic_is_never_stopped(rollout, status, world):
    if ScaleDown() in effects_of(rollout, status, world):
        assert not world.routes.is_exposed
        assert world.now >= status.drain_until
        assert world.primary.ready > 0


@anything
def test_a_done_plan_has_no_effects(rollout, status, world):
    plan = converge(goal(rollout, status), world)
    assert not (plan.done and plan.effects)


PODS = st.builds(
    lambda revision, pods, ready: Workload(revision=revision, desired=pods, updated=pods, ready=ready, total=pods),
    some.revisions,
    st.integers(1, 2),
    st.integers(1, 2),
)


@given(some.rollouts(), some.statuses(), some.observations(), PODS, PODS)
def test_a_cluster_in_step_matches_the_full_comparison(rollout, status, world, target, primary):
    """The examples are close to a match, as random ones rarely match."""
    status = status.but(phase=Phase.PROGRESSING, promoted=primary.revision)
    world = evolve(world, target=target, primary=primary, routes=goal(rollout, status).routes)
    if not is_in_step(rollout, status, world):
        return
    assert converge(goal(rollout, status), world) == Plan((), done=True)
    assert not explain_unready(world.target, rollout.canary_ready)
    assert not explain_unready(world.primary, rollout.primary_ready)


def test_a_canary_that_loses_its_pods_loses_its_traffic():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    world.do(SetPace("v2", NEVER)).run(until=1.0)
    assert (world.state.routes.weight, world.status.rung.weight) == (0, 20)


def test_a_canary_regains_its_traffic_with_its_pods():
    world = play(policy(), SITUATIONS["canary loses its pods"])
    weights = [effect.routes.weight for effect in world.effects if isinstance(effect, SetRoutes)]
    assert (weights, world.phase) == ([20, 0, 20, 60, 0], Phase.SUCCEEDED)


def test_the_canary_drains_before_it_stops():
    world = idle(policy(drain=7.0)).do(Deploy("v2"), SetPace("primary/v2", after(3)))
    world.run(until=is_advancing).run(until=1.0)
    world.do(Deploy("v1")).run(until=Phase.SUCCEEDED)
    moment = world.now
    world.run(until=lambda cycle: ScaleDown() in cycle.effects)
    assert world.now == moment + 7.0


def test_an_initialised_target_drains_before_it_stops():
    world = SimulatedCluster(policy(drain=7.0)).do(Deploy("v1")).run(until=Phase.INITIALIZED)
    moment = world.now
    world.run(until=lambda cycle: ScaleDown() in cycle.effects)
    assert world.now == moment + 7.0


def test_a_primary_drains_after_a_deletion_before_it_goes():
    """Its pods go with the Canary, which has a finalizer until the rollout has terminated."""
    world = idle(policy(drain=7.0, revert_on_deletion=True)).do(Delete())
    moment = world.run(until=lambda cycle: Restore() in cycle.effects).now
    assert world.run(until=Phase.TERMINATED).now == moment + 7.0


def test_a_deletion_that_gives_nothing_back_does_not_drain():
    world = idle(policy(drain=7.0)).do(Delete())
    assert world.run(until=Phase.TERMINATED).now == world.state.now == 7.0


def test_a_drain_begins_when_the_traffic_leaves():
    """A rollback may have to wait for the primary's pods before it can take the canary's traffic away."""
    world = at(Phase.PROGRESSING, policy(drain=7.0)).run(until=11.0)
    world.do(SetPace("primary/v1", NEVER), SendCommand(CommandKind.ABORT)).run(until=30.0)
    assert world.state.routes is not None
    assert world.state.routes.is_exposed
    world.do(SetPace("primary/v1", AT_ONCE))
    moment = world.run(until=lambda cycle: SetRoutes(Routes()) in cycle.effects).now
    assert world.run(until=lambda cycle: ScaleDown() in cycle.effects).now == moment + 7.0


def test_a_drain_is_reported_while_it_lasts():
    world = at(Phase.FAILED, policy(drain=7.0))
    explanation = world.history[-1].decision.explanation
    assert (explanation.rule, explanation.detail) == (
        Rule.DRAINING,
        "proxies may still send requests to pods that go, for 7s",
    )


def test_a_promoted_canary_drains_for_an_interval():
    world = idle(policy()).do(Deploy("v2")).run(until=Phase.FINALISING)
    moment = world.now
    assert world.run(until=Phase.SUCCEEDED).now == moment + 10.0


def test_a_promoted_canary_drains_longer_than_an_interval():
    world = idle(policy(drain=12.0)).do(Deploy("v2")).run(until=Phase.FINALISING)
    moment = world.now
    assert world.run(until=Phase.SUCCEEDED).now == moment + 12.0


def test_an_idle_rollout_leaves_a_scaled_target_and_says_so_once():
    world = idle(policy()).do(ScaleTarget(3)).run(until=100.0)
    assert world.state.target.desired == 3
    assert [notice.kind for notice in world.notices] == [NoticeKind.SCALED_BY_HAND]


def test_the_autoscaler_works_only_during_a_rollout():
    world = idle(policy(), scaler=Scaler(minimum=3))
    assert world.state.scaler.paused
    world.do(Deploy("v2")).run(until=is_advancing)
    assert (world.state.scaler.paused, world.state.target.desired) == (False, 3)
    assert world.run().state.scaler.paused


def test_the_status_and_the_cluster_hold_the_previous_revision():
    world = play(policy(), SITUATIONS["promoted"])
    assert (world.status.promoted, world.status.previous, world.state.kept) == ("v2", "v1", ("v1",))


AFFINITY = policy(affinity=Affinity(cookie_name="canary"))


def test_a_session_cookie_names_the_revision_while_it_is_under_test():
    world = idle(AFFINITY).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    assert world.state.routes == Routes(weight=20, cookie="v2")


@pytest.mark.parametrize("situation", ["promoted", "rolled back", "aborted"])
def test_a_session_cookie_expires_at_the_end(situation):
    assert play(AFFINITY, SITUATIONS[situation]).state.routes == Routes(expired="v2")


@pytest.mark.parametrize("situation", ["deleted", "deleted and reverted"])
def test_a_deleted_rollout_ends(situation):
    world = play(policy(), SITUATIONS[situation])
    assert world.phase is Phase.TERMINATED
    assert world.state.restored is (situation == "deleted and reverted")


def test_on_deletion_the_target_runs_before_it_gets_its_traffic():
    world = idle(policy(revert_on_deletion=True)).do(SetPace("v1", after(8)), Delete())
    world.run(until=7.0)
    assert (world.state.restored, world.state.target.desired) == (False, 2)
    assert world.run(until=2.0).state.restored


def test_a_deletion_waits_a_bounded_time_for_its_target():
    world = idle(policy(revert_on_deletion=True))
    moment = world.now
    world.do(SetPace("v1", NEVER), Delete()).run()
    assert (world.phase, world.now - moment) == (Phase.TERMINATED, 60.0 + world.rollout.drain)


def test_a_rollout_created_again_after_a_deletion_starts_anew():
    assert play(policy(), SITUATIONS["deleted and created again"]).phase is Phase.INITIALIZED


@pytest.mark.parametrize("strategy", POLICIES)
def test_a_slow_start_costs_time_and_nothing_else(strategy):
    world = play(POLICIES[strategy], SITUATIONS["starts slowly"])
    assert world.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("strategy", POLICIES)
def test_an_unready_canary_receives_no_traffic(strategy):
    world = play(POLICIES[strategy], SITUATIONS["never ready"])
    assert world.phase is Phase.FAILED
    assert not [effect for effect in world.effects if isinstance(effect, SetRoutes) and effect.routes.is_exposed]


def test_readiness_thresholds_accept_a_part_of_the_pods():
    workload = play(policy(), SITUATIONS["promoted"]).observation.primary
    part = evolve(workload, desired=4, updated=4, total=4, ready=2)
    assert not explain_unready(part, 50)
    assert "2 of 4" in explain_unready(part, 100)


def test_a_finished_situation_wakes_no_more_cycles():
    """The last cycle of each situation waits for a change, or for a named event."""
    world = play(policy(), SITUATIONS["promoted"])
    assert (world.history[-1].wake, world.history[-1].decision.explanation.rule) == (None, Rule.IDLE)


def test_a_revision_that_arrives_during_a_promotion_receives_no_traffic():
    """It waits for the end of the promotion: it loses its traffic on arrival and gets none back."""
    world = idle(POLICIES["weights"])
    world.do(Deploy("v2"), SetPace("primary/v2", after(15))).run(until=is_promoting)
    world.do(Deploy("v3")).step()
    assert world.state.routes == Routes(weight=0)
    world.do(RouteByHand(None)).step()
    assert world.state.routes == Routes(weight=0)
    world.run()
    assert (world.phase, world.status.promoted, world.status.previous) == (Phase.SUCCEEDED, "v3", "v2")


def test_a_foreign_route_during_a_long_pause_rolls_nothing_back():
    """The core repairs a foreign change of a route without moving the rollout; a closed gate behaves alike."""
    world = idle(POLICIES["weights"])
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(SendCommand(CommandKind.PAUSE)).run(until=300.0)
    world.do(RouteByHand(Routes(weight=97))).step()
    assert (world.phase, world.state.routes) == (Phase.PROGRESSING, Routes(weight=20))
