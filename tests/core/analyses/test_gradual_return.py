"""A gradual return: after a rollback traffic goes back by steps, in the phase Failed, and it always ends."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CanarySize, CommandKind, GradualReturn, HookType, Ladder, Phase, Reason, Routes, Step, Strategy
from canarycore._goal import goal
from canarycore.effects import Scale, ScaleDown, SetRoutes
from canarycore.notices import NoticeKind, Severity
from canarycore.phases import CutShort
from canarycore.simulation import (
    NEVER,
    ByRevision,
    Deploy,
    DetachPods,
    Edit,
    Fault,
    FaultKind,
    LoadScaler,
    RouteByHand,
    ScaleTarget,
    SendCommand,
    SetMetrics,
    SetPace,
    after,
)
from canarycore.traffic import Affinity
from tests.core.scenarios import HEADER, hook, idle, kinds, policy

BY_STEPS = GradualReturn(step=25, interval=5.0, deadline=40.0)
RETURNS = policy(ladder=Ladder(steps=(80,)), gradual_return=BY_STEPS)


def is_returning(world):
    return world.status.returning


def is_back(world):
    return world.phase is Phase.FAILED and not world.status.returning


def at_the_top(rollout=RETURNS, weight=80):
    """Return a cluster whose canary has this share of the traffic."""
    world = idle(rollout).do(Deploy("v2"))
    return world.run(until=lambda world: world.state.routes.weight == weight)


def returning(rollout=RETURNS):
    """Return a cluster that has just been rolled back by failed checks."""
    return at_the_top(rollout).do(SetMetrics(ByRevision(bad=("v2",)))).run(until=is_returning)


def weights(world):
    """Return the canary's weights in the order of their writes."""
    return [effect.routes.weight for effect in world.effects if isinstance(effect, SetRoutes)]


def times(world):
    """Return the times of the writes of routes after the rollback, in seconds since it."""
    writes = [write for write in world.writes if isinstance(write.of, SetRoutes) and write.time >= world.status.since]
    return [write.time - world.status.since for write in writes]


def test_failed_checks_take_traffic_back_by_steps():
    world = returning().run()
    assert weights(world) == [80, 55, 30, 5, 0]
    assert times(world) == [0.0, 5.0, 10.0, 15.0]
    assert (world.phase, world.status.reason, world.status.returning) == (Phase.FAILED, Reason.CHECKS, False)
    assert not {NoticeKind.RETURN_CUT_SHORT, NoticeKind.RETURN_CUT_SHORT_ALERT} & {*kinds(world)}


def test_without_the_policy_all_traffic_goes_back_in_one_write():
    world = at_the_top(evolve(RETURNS, gradual_return=None)).do(SendCommand(CommandKind.ABORT)).run()
    assert weights(world) == [80, 0]


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (SendCommand(CommandKind.ABORT), Reason.ABORTED),
        (Edit(evolve(RETURNS, hooks=(hook(HookType.ROLLBACK),))), Reason.HOOK),
        (SetPace("primary/v2", NEVER), Reason.PROMOTION),
    ],
)
def test_each_kind_of_rollback_goes_back_by_steps(action, reason):
    world = at_the_top().do(action).run(until=is_returning)
    assert (world.phase, world.status.reason) == (Phase.FAILED, reason)
    assert weights(world.run())[-4:] == [55, 30, 5, 0]


def test_a_status_says_that_traffic_returns_and_why_before_the_effect():
    world = at_the_top()
    world.state = world.state.but(faults=(Fault(FaultKind.CRASH_AFTER, world.state.writes),))
    world.do(SendCommand(CommandKind.ABORT)).step()
    assert (world.status.returning, world.status.rung.weight, world.state.routes.weight) == (True, 55, 80)
    assert (world.status.reason, world.status.flags) == (Reason.ABORTED, ("returning",))
    assert weights(world.run()) == [80, 55, 30, 5, 0]


def test_the_canary_keeps_its_pods_until_it_has_no_traffic():
    world = returning()
    assert goal(world.rollout, world.status).canary is Scale.UP
    world.run()
    down = next(write.time for write in world.writes if isinstance(write.of, ScaleDown))
    last = next(write.time for write in reversed(world.writes) if isinstance(write.of, SetRoutes))
    assert down >= last + RETURNS.drain


def test_hooks_come_after_the_last_step():
    rollout = evolve(RETURNS, hooks=(hook(HookType.POST_ROLLOUT),))
    world = returning(rollout).run(until=is_back)
    assert not [call for call in world.calls if call.hook.type is HookType.POST_ROLLOUT]
    assert [call.hook.type for call in world.run().calls] == [HookType.POST_ROLLOUT]


def test_the_deadline_takes_all_traffic_back_at_once_with_one_alert():
    slow = evolve(RETURNS, gradual_return=GradualReturn(step=1, interval=10.0, deadline=25.0))
    world = returning(slow).run()
    assert weights(world) == [80, 79, 78, 77, 0]
    assert times(world)[-1] == 25.0
    (alert,) = [notice for notice in world.notices if notice.kind is NoticeKind.RETURN_CUT_SHORT_ALERT]
    assert (alert.severity, alert.text) == (
        Severity.ERROR,
        "The return ends early, all traffic goes to the primary at once: its deadline has passed",
    )


def test_the_progress_deadline_ends_a_return_without_one_of_its_own():
    slow = evolve(RETURNS, gradual_return=GradualReturn(step=1, interval=10.0))
    assert times(returning(slow).run())[-1] == RETURNS.progress_deadline


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        ((DetachPods("target"),), "the canary has no ready pods"),
        ((Deploy("v3"),), "the target has another revision"),
        ((Deploy("v1"),), "the target has another revision"),
        ((Edit(evolve(RETURNS, gradual_return=None)),), "the policy has no steps any more"),
        ((SendCommand(CommandKind.ABORT),), "the command abort ends it"),
    ],
)
def test_a_return_that_steps_no_longer_help_ends_at_once(actions, why):
    world = returning().do(*actions).run(until=is_back)
    assert weights(world) == [80, 55, 0]
    assert world.status.cut_short.value == why
    assert [notice.args for notice in world.notices if notice.kind is NoticeKind.RETURN_CUT_SHORT_ALERT] == [(why,)]


def test_a_canary_that_cannot_serve_at_the_rollback_loses_all_traffic_at_once():
    world = at_the_top().do(DetachPods("target"), SendCommand(CommandKind.ABORT)).run()
    assert weights(world) == [80, 0]
    assert NoticeKind.RETURN_CUT_SHORT_ALERT not in kinds(world)


def test_another_revision_is_analysed_after_the_return():
    world = returning().do(Deploy("v3"), SetMetrics(ByRevision())).run()
    assert (world.phase, world.status.promoted) == (Phase.SUCCEEDED, "v3")


def test_a_retry_waits_for_the_end_of_the_return():
    world = returning().do(SetMetrics(ByRevision()), SendCommand(CommandKind.RETRY)).run()
    assert weights(world)[:5] == [80, 55, 30, 5, 0]
    assert (world.phase, world.status.promoted) == (Phase.SUCCEEDED, "v2")


def test_traffic_that_somebody_takes_away_does_not_come_back():
    world = returning().do(RouteByHand(Routes(weight=10))).run()
    assert weights(world) == [80, 55, 0]
    world = returning().do(RouteByHand(Routes())).run()
    assert weights(world) == [80, 55]
    assert is_back(world)


def test_traffic_that_somebody_gives_to_the_canary_is_taken_away_again():
    assert weights(returning().do(RouteByHand(Routes(weight=97))).run()) == [80, 55, 55, 30, 5, 0]


def test_the_return_waits_for_a_primary_that_is_down_and_goes_on():
    world = returning().do(SetPace("primary", after(12.0))).run(until=10.0)
    assert world.state.routes.weight == 100
    assert is_back(world.run())


def test_a_return_from_a_test_by_header_is_one_write():
    rollout = policy(ladder=Ladder(strategy=Strategy.AB, iterations=2), match=HEADER, gradual_return=BY_STEPS)
    world = idle(rollout).do(Deploy("v2")).run(until=lambda world: world.status.rung.matched)
    world.do(SendCommand(CommandKind.ABORT)).run()
    assert (world.phase, world.state.routes) == (Phase.FAILED, Routes())


def test_blue_green_goes_back_by_steps_from_all_traffic():
    rollout = policy(
        ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=1),
        gradual_return=GradualReturn(step=50, interval=5.0),
    )
    world = at_the_top(rollout, weight=100).do(SendCommand(CommandKind.ABORT)).run()
    assert weights(world) == [100, 50, 0]


def test_weights_in_tenths_go_back_in_tenths():
    rollout = policy(ladder=Ladder(steps=(5, 20), tenths=True), gradual_return=GradualReturn(step=10, interval=5.0))
    world = at_the_top(rollout, weight=20).do(SendCommand(CommandKind.ABORT)).run()
    routes = [effect.routes for effect in world.effects if isinstance(effect, SetRoutes)]
    assert [(each.weight, each.tenths) for each in routes] == [(5, True), (20, True), (10, True), (0, False)]


def test_no_session_stays_with_a_rejected_revision():
    rollout = evolve(RETURNS, affinity=Affinity(cookie_name="canary"))
    world = returning(rollout)
    assert (world.state.routes.cookie, world.state.routes.expired) == ("", "v2")


def test_the_emergency_of_a_deletion_is_the_owners():
    world = returning().do(SendCommand(CommandKind.PAUSE)).run()
    assert world.status.refusal
    assert weights(world) == [80, 55, 30, 5, 0]


# ------------------------------------------------------------------------------------------------ follow: capacity

FOLLOWS = policy(
    ladder=Ladder(steps=(80,)),
    gradual_return=GradualReturn(step=40, interval=5.0, deadline=60.0, follows_capacity=True),
)
SLOW = LoadScaler(full=4, lag=25.0)
"""An autoscaler of the primary that needs longer than the time between two steps."""


def shrunk(scaler=SLOW, replicas=4):
    """Return a cluster whose canary has 80 percent, so that the autoscaler has shrunk the primary."""
    world = idle(FOLLOWS, replicas=replicas, load_scaler=scaler).do(Deploy("v2"))
    world.run(until=lambda world: world.state.routes.weight == 80)
    return world.do(SendCommand(CommandKind.PAUSE)).run(until=40.0)


def without_growth():
    """Return the same cluster, whose primary cannot grow any more."""
    world = shrunk()
    world.state = world.state.but(load_scaler=None)
    return world


def test_the_status_has_the_size_of_the_primary_at_the_start():
    world = shrunk()
    assert (world.status.capacity, world.observation.primary.ready) == (4, 1)
    assert at_the_top().status.capacity == 0


def test_each_step_waits_until_the_primary_bears_its_share():
    world = shrunk().do(SendCommand(CommandKind.ABORT)).run()
    assert weights(world) == [80, 40, 0]
    assert times(world) == [0.0, 25.0]
    assert world.status.cut_short is CutShort.NONE


def test_a_primary_that_cannot_grow_holds_the_return_until_the_deadline():
    world = without_growth().do(SendCommand(CommandKind.ABORT)).run()
    assert weights(world) == [80, 40, 0]
    assert times(world) == [0.0, 60.0]
    assert world.status.cut_short is CutShort.DEADLINE
    assert kinds(world).count(NoticeKind.RETURN_CUT_SHORT_ALERT) == 1
    assert "1 ready pods of the primary have 60% of the requests, 4 had all before" in " ".join(world.texts)


@pytest.mark.parametrize(("full", "cut"), [(8, CutShort.NONE), (6, CutShort.DEADLINE)])
def test_a_return_leaves_an_autoscaler_the_tolerance_of_its_target(full, cut):
    """Eight pods for the load of ten have a quarter more each, which an autoscaler may leave at that."""
    world = shrunk(LoadScaler(full=10), replicas=10)
    assert world.status.capacity == 10
    world.state = world.state.but(load_scaler=LoadScaler(full=full))
    world.do(SendCommand(CommandKind.ABORT)).run()
    assert (weights(world), world.status.cut_short) == ([80, 40, 0], cut)


def test_a_canary_without_pods_never_waits_for_the_primary():
    world = without_growth().do(SendCommand(CommandKind.ABORT)).run(until=is_returning).run(until=6.0)
    assert world.state.routes.weight == 40
    world.do(DetachPods("target")).run(until=is_back)
    assert (weights(world), world.status.cut_short) == ([80, 40, 0], CutShort.UNREADY)


def test_a_restart_keeps_the_size_from_before():
    world = shrunk().do(SendCommand(CommandKind.RESUME), Deploy("v3")).run(until=lambda w: w.status.applied == "v3")
    assert world.status.capacity == 4


def test_a_promotion_waits_for_the_pods_of_a_shrunk_primary():
    world = shrunk().do(SendCommand(CommandKind.RESUME)).run()
    assert (world.phase, weights(world), world.status.cut_short) == (Phase.SUCCEEDED, [80, 40, 0], CutShort.NONE)
    moves = [write.time for write in world.writes if isinstance(write.of, SetRoutes)][-2:]
    assert moves[1] - moves[0] > FOLLOWS.interval
    assert NoticeKind.NO_CAPACITY in kinds(world)


def test_a_promotion_onto_a_primary_that_cannot_grow_ends_at_the_deadline_with_an_alert():
    world = without_growth().do(SendCommand(CommandKind.RESUME)).run()
    assert (world.phase, weights(world), world.status.cut_short) == (Phase.SUCCEEDED, [80, 40, 0], CutShort.DEADLINE)
    assert kinds(world).count(NoticeKind.RETURN_CUT_SHORT_ALERT) == 1
    moves = [write.time for write in world.writes if isinstance(write.of, SetRoutes)][-2:]
    assert moves[1] - moves[0] == 60.0


def test_without_the_policy_a_promotion_is_one_write_as_before():
    world = at_the_top(RETURNS).run()
    assert (world.phase, weights(world)) == (Phase.SUCCEEDED, [80, 0])


def test_a_test_by_header_is_promoted_at_once():
    rollout = evolve(FOLLOWS, ladder=Ladder(strategy=Strategy.AB, iterations=2), match=HEADER)
    world = idle(rollout, replicas=4, load_scaler=SLOW).do(Deploy("v2")).run()
    assert (world.phase, world.status.cut_short) == (Phase.SUCCEEDED, CutShort.NONE)


# the increases of a rollout that follows capacity --------------------------------------------------------------------

CLIMBS = evolve(FOLLOWS, ladder=Ladder(steps=(40, 80)))


def short_of_pods(rollout=CLIMBS, pods=1):
    """Return a cluster whose canary has 40 percent and so many pods, where the primary had four for all requests."""
    world = idle(rollout, replicas=4, load_scaler=LoadScaler(full=4)).do(Deploy("v2"))
    return world.run(until=lambda world: world.state.routes.weight == 40).do(ScaleTarget(pods))


def test_an_increase_waits_for_the_pods_of_the_canary():
    world = short_of_pods().run(until=30.0)
    assert (weights(world), NoticeKind.NO_CAPACITY in kinds(world)) == ([40], True)
    assert "1 ready pods of the canary have 40% of the requests, 4 had all before" in " ".join(world.texts)
    assert weights(world.do(ScaleTarget(2)).run(until=10.0)) == [40, 80]


def test_an_increase_that_waits_too_long_is_left_to_the_checks():
    world = short_of_pods().run(until=lambda world: world.state.routes.weight == 80)
    first, second = (write.time for write in world.writes if isinstance(write.of, SetRoutes))
    assert second - first == CLIMBS.interval + CLIMBS.longest_return
    assert world.run().phase is Phase.SUCCEEDED


def test_a_failed_check_rolls_back_a_canary_that_waits_for_pods():
    world = short_of_pods().run(until=20.0).do(SetMetrics(ByRevision(bad=("v2",)))).run(until=Phase.FAILED)
    assert (world.status.reason, weights(world)[0]) == (Reason.CHECKS, 40)


@pytest.mark.parametrize("policy_of_return", [None, evolve(CLIMBS.gradual_return, follows_capacity=False)])
def test_without_follow_capacity_no_increase_waits(policy_of_return):
    world = short_of_pods(evolve(CLIMBS, gradual_return=policy_of_return)).run(until=Phase.SUCCEEDED)
    assert weights(world)[:2] == [40, 80]
    assert NoticeKind.NO_CAPACITY not in kinds(world)


def test_an_increase_from_a_step_with_a_size_waits_for_no_further_pods():
    sized = evolve(FOLLOWS, ladder=Ladder(steps=(Step(weight=40, size=CanarySize(replicas=1)), 80)))
    world = idle(sized, replicas=4).do(Deploy("v2")).run(until=Phase.SUCCEEDED)
    assert (weights(world)[:2], NoticeKind.NO_CAPACITY in kinds(world)) == ([40, 80], False)


def test_an_increase_waits_by_the_share_of_the_present_weight():
    """Two pods of four bear half of the requests, so they bear the way to any weight above 40."""
    assert weights(short_of_pods(pods=2).run(until=Phase.SUCCEEDED))[:2] == [40, 80]
