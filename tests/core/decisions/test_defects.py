"""Defects of Flagger 1.44 that canarycore does not have: one named test each.

Letters are the defects read in its source, numbers those seen live on a real API server; ../shared/anchors/features.md
and ../shared/golden/README.md list them. Those that the core does not decide are in `NOT_THE_CORES`.
"""

from __future__ import annotations

import re

import pytest
from attrs import evolve

from canarycore import HookType, Ladder, Phase, Reason, Routes, Verdict, judge
from canarycore.effects import Promote, RestorePrimary, ScaleDown, SetRoutes
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer as Got
from canarycore.simulation import (
    NEVER,
    AnswerHook,
    ByRevision,
    Delete,
    Deploy,
    Edit,
    Fault,
    FaultKind,
    RouteByHand,
    ScalePrimary,
    ScaleTarget,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    after,
    stuck,
)
from canarycore.simulation.invariants import EACH_WRITE, every_effect_changes_something
from tests.core.scenarios import (
    DURATION,
    POLICIES,
    SITUATIONS,
    SUCCESS_RATE,
    at,
    hook,
    idle,
    is_advancing,
    play,
    policy,
)

NOT_THE_CORES = {
    "e": "a policy without any step is refused by canarycore.manifest; here it could only promote at once",
    "j": "the revision's hash is made by the workload adapter",
    "k": "metrics of the controller are exported by the runtime",
    "m": "the load tester is an adapter",
    "9": "Services are made by the workload adapter",
    "17": "what is adopted is given back by the router and workload adapters",
    "18": "as e",
    "21": "annotations of the primary are written by the workload adapter",
}


def weights_of(world: SimulatedCluster) -> list[int]:
    """Return the canary's weights in the order of the writes, without repeats."""
    return [effect.routes.weight for effect in world.effects if isinstance(effect, SetRoutes)]


def crash_after_the_commit(world: SimulatedCluster) -> SimulatedCluster:
    """Kill the process right after the next commit, before any effect."""
    commit = next(number for number in range(world.state.writes, world.state.writes + 50))
    world.state = world.state.but(faults=(Fault(FaultKind.CRASH_AFTER, commit),))
    assert world.step().crashed
    return world


def count_notices(world: SimulatedCluster, kind: NoticeKind) -> int:
    return sum(notice.kind is kind for notice in world.notices)


# ----------------------------------------------------------------------------------------------------- in its source


def test_defect_a_a_revision_that_arrives_in_failed_during_a_restoration_is_not_lost():
    world = idle(policy()).do(Deploy("v2"), SetPace("primary/v2", stuck(25)), SetPace("primary/v1", after(20)))
    world.run(until=Phase.FAILED).do(Deploy("v3")).run()
    assert (world.phase, world.status.promoted) == (Phase.SUCCEEDED, "v3")


def test_defect_b_rollback_hooks_are_asked_while_pods_are_not_ready():
    rollout = policy(hooks=(hook(HookType.ROLLBACK),))
    world = idle(rollout).do(Deploy("v2"), SetPace("v2", NEVER), AnswerHook("rollback", (True,))).run()
    assert (world.phase, world.status.reason) == (Phase.FAILED, Reason.HOOK)


def test_defect_b_rollback_hooks_are_asked_while_a_rollout_waits_for_its_gate():
    world = play(policy(), SITUATIONS["rolled back while waiting"])
    assert world.status.reason is Reason.HOOK
    assert any(call.phase is Phase.WAITING for call in world.calls if call.hook.type is HookType.ROLLBACK)


def test_defect_c_an_off_list_weight_goes_to_the_next_of_the_list():
    ladder = Ladder(steps=(10, 30, 70))
    assert ladder.after(evolve(ladder.rungs[1], weight=20)).weight == 30


def test_defect_d_promotion_steps_end_although_the_canary_has_no_weight():
    world = idle(POLICIES["weights and promotion steps"]).do(Deploy("v2")).run(until=Phase.PROMOTING)
    world.do(RouteByHand(Routes())).run(limit=3600.0)
    assert world.phase is Phase.SUCCEEDED


def test_defect_f_no_data_an_error_and_a_bad_value_differ():
    verdicts = [judge(SUCCESS_RATE, got).verdict for got in (Got(value=1.0), Got(), Got(error="timed out"))]
    assert verdicts == [Verdict.FAIL, Verdict.NO_DATA, Verdict.ERROR]


def test_defect_f_all_metrics_are_asked_at_once():
    world = play(policy(checks=(SUCCESS_RATE, DURATION)), SITUATIONS["rolled back"])
    halted = next(record for record in world.history if record.decision.explanation.rule is Rule.HALTED)
    assert len(halted.decision.explanation.judgements) == 2


def test_defect_g_a_primary_scaled_to_zero_is_detected():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).do(ScalePrimary(0)).run(until=1.0)
    assert count_notices(world, NoticeKind.PRIMARY_AT_ZERO) == 1


def test_defect_h_a_change_after_the_last_check_is_not_shipped_unanalysed():
    """v3 arrives after the commit of Promoting and before the change of the primary."""
    world = idle(policy()).do(Deploy("v2")).run(until=lambda found: found.status.rung.weight == 60).sleep(10.0)
    while world.phase is not Phase.PROMOTING:
        crash_after_the_commit(world)
    world.do(Deploy("v3")).run()
    assert [effect for effect in world.effects if isinstance(effect, Promote)] == [Promote("v3")]
    assert weights_of(world)[-3:] == [20, 60, 0]


def test_defect_i_a_new_interval_counts_from_the_last_analysis():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=4.0)
    world.do(Edit(evolve(world.rollout, interval=30.0)))
    before = world.now
    world.run(until=lambda found: found.status.rung.weight == 60)
    assert world.now == before - 4.0 + 30.0


def test_defect_l_confirm_traffic_increase_alerts_once():
    world = idle(policy(hooks=(hook(HookType.CONFIRM_TRAFFIC_INCREASE),))).do(Deploy("v2"))
    world.do(AnswerHook("confirm-traffic-increase", (False,))).run(until=100.0)
    assert count_notices(world, NoticeKind.GATE_INCREASE_ALERT) == 1
    assert count_notices(world, NoticeKind.GATE_INCREASE_CLOSED) > 5


def test_defect_n_a_rollback_survives_a_crash_that_forgets_its_cause():
    world = idle(policy(threshold=1)).do(Deploy("v2"), SetMetrics(ByRevision(bad=("v2",)))).run(until=is_advancing)
    world.run(until=9.0).sleep(1.0)
    crash_after_the_commit(world).do(SetMetrics(ByRevision())).run()
    assert (world.phase, world.status.promoted, world.state.routes) == (Phase.FAILED, "v1", Routes())


def test_defect_o_a_failed_promotion_does_not_roll_back_onto_the_rejected_revision():
    world = play(policy(), SITUATIONS["primary never takes over"])
    assert world.state.primary.revision == "v1"
    assert RestorePrimary("v1") in world.effects


def test_defect_p_post_rollout_hooks_and_the_success_alert_survive_a_crash():
    world = idle(policy(hooks=(hook(HookType.POST_ROLLOUT),))).do(Deploy("v2")).run(until=Phase.FINALISING).sleep(10.0)
    crash_after_the_commit(world)
    assert world.phase is Phase.SUCCEEDED
    world.run()
    assert [call.hook.type for call in world.calls] == [HookType.POST_ROLLOUT]
    assert count_notices(world, NoticeKind.SUCCEEDED_ALERT) == 1


# --------------------------------------------------------------------------------------------------------- seen live


def test_seen_1_going_back_to_the_promoted_revision_ends_the_rollout():
    world = play(policy(), SITUATIONS["withdrawn"])
    assert (world.phase, world.status.reason, world.state.target.desired) == (Phase.SUCCEEDED, Reason.WITHDRAWN, 0)
    assert not [effect for effect in world.effects if isinstance(effect, Promote)]
    assert sum(record.explanation.endswith(Rule.STARTED.value) for record in world.history) == 1


def test_seen_2_a_rollback_comes_in_the_cycle_of_the_last_failing_check():
    world = play(policy(), SITUATIONS["rolled back"])
    record = next(record for record in world.history if record.decision.explanation.rule is Rule.ROLLED_BACK_CHECKS)
    assert record.decision.explanation.judgements
    assert SetRoutes(Routes()) in record.effects


def test_seen_3_failed_is_silent():
    world = play(policy(), SITUATIONS["rolled back"])
    before = world.state.writes
    world.run(until=1000.0)
    assert world.state.writes == before


@pytest.mark.parametrize(
    "situation",
    ["rolled back", "never ready", "given up by the platform", "rolled back by a hook", "primary never takes over",
     "held for lack of requests", "aborted"],
)  # fmt: skip
def test_seen_4_every_rollback_sends_an_alert(situation):
    world = play(policy(), SITUATIONS[situation])
    assert world.phase is Phase.FAILED
    failing = next(record for record in world.history if record.phase is Phase.FAILED)
    assert any(notice.severity is not None for notice in failing.notices)


def test_seen_5_the_last_events_arrive_after_many_halts():
    world = play(policy(threshold=30), SITUATIONS["rolled back"])
    assert world.texts[-3:] == [
        "Rolling back podinfo.test failed checks threshold reached 30",
        "Failed checks threshold reached 30",
        "Canary failed! Scaling down podinfo.test",
    ]


def test_seen_6_a_promotion_that_cannot_finish_is_taken_back():
    world = play(policy(), SITUATIONS["primary never takes over"])
    assert (world.phase, world.status.reason) == (Phase.FAILED, Reason.PROMOTION)
    assert (world.state.routes, world.state.primary.revision) == (Routes(), "v1")


def test_seen_7_an_unready_primary_never_gets_traffic_by_a_rollback():
    world = play(policy(), SITUATIONS["primary stays away"])
    assert world.phase is Phase.FAILED
    assert world.state.routes.weight == 100


def test_seen_8_a_primary_scaled_to_zero_loses_its_traffic_and_alerts():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).do(ScalePrimary(0)).run(until=1.0)
    assert world.state.routes.weight == 100
    assert count_notices(world, NoticeKind.FAILOVER_ALERT) == 1


def test_seen_10_weights_after_a_mirror_climb():
    world = play(POLICIES["weights after a mirror"], SITUATIONS["promoted"])
    assert [(rung.mirrored, rung.weight) for rung in world.rollout.ladder.rungs] == [(False, 0), (True, 0), (False, 50)]
    assert world.phase is Phase.SUCCEEDED


def test_seen_11_nothing_is_scaled_down_before_the_routes_stand():
    world = SimulatedCluster(policy()).do(Deploy("v1")).run()
    kinds = [type(effect) for effect in world.effects]
    assert kinds.index(SetRoutes) < kinds.index(ScaleDown)


def test_seen_12_a_restarted_process_does_not_step_early():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=4.0)
    before = world.status.rung
    world.restart().step()
    assert world.status.rung == before


def test_seen_13_weights_set_by_hand_are_put_right_and_move_no_rollout():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    world.do(RouteByHand(Routes(weight=97))).run(until=1.0)
    assert (world.status.rung.weight, world.state.routes.weight) == (20, 20)
    assert count_notices(world, NoticeKind.REPAIRING) == 1
    assert weights_of(world.run()) == [20, 20, 60, 0]


def test_seen_14_a_skipped_analysis_waits_for_the_new_primary():
    world = idle(policy()).do(Edit(policy(skip_analysis=True)), Deploy("v2"), SetPace("primary/v2", after(15)))
    world.run(until=lambda found: ScaleDown() in found.effects)
    assert (world.state.primary.revision, world.observation.primary.ready) == ("v2", 2)


def test_seen_15_the_weight_is_true_while_waiting_for_promotion():
    assert at(Phase.WAITING_PROMOTION).status.rung.weight == 60


def test_seen_16_a_deleted_rollout_gets_its_traffic_to_ready_pods_first():
    world = idle(policy(revert_on_deletion=True)).do(Deploy("v2")).run(until=is_advancing)
    world.do(ScaleTarget(0), SetPace("v2", after(5)), Delete()).run(until=4.0)
    assert not world.state.restored
    assert world.run().state.restored


def test_seen_19_a_revision_that_arrives_in_failed_while_the_primary_is_unready_is_not_lost():
    world = play(policy(), SITUATIONS["primary stays away"]).do(Deploy("v3")).run(until=5.0)
    assert world.status.applied == "v3"
    world.do(SetPace("primary", after(1))).run()
    assert (world.phase, world.status.promoted) == (Phase.SUCCEEDED, "v3")


def test_seen_20_each_effect_follows_a_change():
    """Flagger rewrote the routes of an A/B test and after a rollback; an invariant requires a change of each effect."""
    assert every_effect_changes_something in {invariant.broken for invariant in EACH_WRITE}
    world = play(POLICIES["a/b"], SITUATIONS["rolled back"])
    set_routes = [effect.routes for effect in world.effects if isinstance(effect, SetRoutes)]
    assert set_routes == [Routes(matched=True), Routes()]


def test_seen_22_confirm_promotion_hooks_receive_the_phase_waiting_promotion():
    world = at(Phase.WAITING_PROMOTION).run(until=30.0)
    phases = [call.phase for call in world.calls if call.hook.type is HookType.CONFIRM_PROMOTION]
    assert set(phases[1:]) == {Phase.WAITING_PROMOTION}


def test_a_deleted_primary_is_created_from_the_promoted_revision():
    world = idle(policy())
    world.state = world.state.but(primary=None)
    world.run()
    assert world.state.primary is not None
    assert world.state.primary.revision == world.status.promoted == "v1"


def test_a_primary_deleted_midway_is_never_created_from_the_revision_under_test():
    """The canary takes its traffic until the target is back at the promoted revision."""
    world = at(Phase.WAITING_PROMOTION)
    world.state = world.state.but(primary=None)
    world.run(until=5.0)
    assert (world.state.primary, world.state.routes) == (None, Routes(weight=100))
    world.do(Deploy("v1")).run()
    assert world.state.primary is not None
    assert (world.state.primary.revision, world.state.routes) == ("v1", Routes())


def test_every_defect_has_its_test_or_its_reason():
    known = {*"abcdefghijklmnop", *map(str, range(1, 23))}
    tested = {found[1] for name in globals() if (found := re.match(r"test_(?:defect|seen)_([a-p]|\d+)_", name))}
    assert tested | set(NOT_THE_CORES) == known
    assert not tested & set(NOT_THE_CORES)
