"""The simulated cluster itself: pods take time, faults are met by number, a violation prints a program."""

from __future__ import annotations

import pytest
from attrs import evolve

import canarycore
import canarycore.simulation
from canarycore import NoData, Phase, Routes
from canarycore.effects import Initialise, Promote, RestorePrimary, SetRoutes
from canarycore.errors import Conflict, Refused
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer
from canarycore.simulation import (
    AT_ONCE,
    NEVER,
    AttachPods,
    Binomial,
    BusyLoopError,
    ClaimRoute,
    Constant,
    Deploy,
    DetachPods,
    Edit,
    Fault,
    FaultKind,
    FormerRoutes,
    InvariantError,
    ReleaseRoute,
    RenameRoutes,
    Scaler,
    ScaleTarget,
    SendCommand,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    SimulatedPods,
    State,
    WaitError,
    after,
    apply,
    check_at_rest,
    crash_loop,
    next_change,
    observe,
    scripted,
    stuck,
)
from canarycore.simulation.actions import act
from canarycore.verification import STRATEGIES
from tests.core.scenarios import DURATION, SITUATIONS, SUCCESS_RATE, idle, is_advancing, play, policy

WORDS = 'deployment "podinfo" exceeded its progress deadline'


def state(**changes) -> State:
    return State(**{"rollout": policy(), "target": SimulatedPods(revision="v2", desired=4, changed=100.0), **changes})


def counts(found: State, now: float) -> tuple[int, int, int]:
    """(updated, ready, total) of the target."""
    target = observe(found.but(now=now)).target
    return target.updated, target.ready, target.total


def test_pods_of_a_workload_that_was_at_zero_get_ready_together():
    slow = state(paces=(("v2", after(8)),))
    assert [counts(slow, now) for now in (100.0, 107.0, 108.0)] == [(4, 0, 4), (4, 0, 4), (4, 4, 4)]


def test_a_rolling_update_replaces_pods_one_after_the_other():
    rolling = state(
        target=SimulatedPods(revision="v2", desired=4, changed=100.0, others=4, other="v1"), paces=(("v2", after(8)),)
    )
    assert [counts(rolling, now) for now in (100.0, 102.0, 106.0, 108.0)] == [
        (1, 4, 5),
        (2, 4, 5),
        (4, 4, 5),
        (4, 4, 4),
    ]


def test_a_rolling_update_that_goes_back_has_its_old_pods_at_once():
    there = SimulatedPods(revision="v2", desired=4, changed=100.0, others=4, other="v1")
    back = there.becoming(101.0, NEVER, revision="v1")
    assert back.look(101.0, NEVER).ready == 4
    assert back.look(101.0, NEVER).updated == 4


def test_unavailable_pods_say_since_when():
    assert observe(state(paces=(("v2", NEVER),), now=150.0)).target.unready_since == 100.0


def test_available_pods_do_not():
    assert observe(state(now=150.0)).target.unready_since is None


def test_a_platform_that_gave_up_says_so():
    found = state(paces=(("v2", stuck(30)),))
    assert [observe(found.but(now=now)).target.stuck for now in (129.0, 130.0)] == ["", WORDS]


def test_pods_that_their_service_does_not_reach_are_not_ready():
    detached = act(state(now=150.0), DetachPods("target"))
    target = observe(detached.but(now=160.0)).target
    assert (target.desired, target.updated, target.ready, target.unready_since) == (4, 4, 0, 150.0)
    assert act(detached, DetachPods("target")) == detached
    assert observe(act(detached, AttachPods("target"))).target == observe(state(now=150.0)).target
    assert detached.shifted(5.0).target.detached == 155.0


@pytest.mark.parametrize("side", ["primary", "target"])
def test_no_traffic_moves_to_a_side_without_endpoints(side):
    cluster = idle(policy()).do(Deploy("v2")).run(until=is_advancing)
    weight = cluster.state.routes.weight
    cluster.do(DetachPods(side)).run(until=cluster.now + 60.0)
    assert cluster.state.routes.weight == (0 if side == "target" else 100)
    assert weight not in (0, 100)
    cluster.do(AttachPods(side)).run()
    assert cluster.phase in (Phase.SUCCEEDED, Phase.FAILED)


def test_former_routes_go_when_the_present_ones_have_been_in_force_for_the_drain():
    cluster = idle(policy(drain=5.0)).do(Deploy("v2")).run(until=is_advancing)
    before = cluster.state.routes
    cluster.do(RenameRoutes())
    assert (cluster.state.routes, cluster.state.former) == (None, FormerRoutes(routes=before))
    cluster.run(until=lambda moved: moved.state.routes is not None)
    since = cluster.now
    cluster.run(until=4.0)
    assert cluster.state.former == FormerRoutes(routes=before, since=since)
    cluster.run()
    assert cluster.phase is Phase.SUCCEEDED
    assert cluster.state.former is None


def test_former_routes_wait_while_the_present_ones_change():
    now = state(routes=Routes(weight=20), former=FormerRoutes(routes=Routes(weight=60), since=0.0), now=3.0)
    after = apply(now, SetRoutes(Routes(weight=40)))
    assert after.former == FormerRoutes(routes=Routes(weight=60), since=3.0)
    assert observe(after).routes is None
    assert observe(after).written_routes == Routes(weight=40)
    assert apply(after, SetRoutes(Routes(weight=40))) == after
    late = after.but(now=3.0 + after.rollout.drain)
    assert observe(late).written_routes is None, "SetRoutes takes the former routes back"
    assert apply(late, SetRoutes(Routes(weight=40))).former is None


def test_a_canary_without_routes_leaves_none_behind():
    assert act(state(routes=None), RenameRoutes()) == state(routes=None)


def test_a_canary_waits_while_another_has_its_route():
    cluster = SimulatedCluster(policy()).do(ClaimRoute()).do(Deploy("v1")).run(until=120.0)
    assert (cluster.phase, cluster.state.primary, cluster.state.routes) == (Phase.INITIALIZING, None, None)
    cluster.do(ReleaseRoute()).run()
    assert cluster.phase is Phase.INITIALIZED
    assert act(cluster.state, ClaimRoute()) == cluster.state


def test_a_crash_loop_comes_and_goes():
    loop = state(paces=(("v2", crash_loop(up=5, down=10)),))
    ready = [counts(loop, now)[1] for now in (100.0, 104.0, 105.0, 114.0, 115.0, 120.0)]
    assert ready == [4, 4, 0, 0, 4, 0]


@pytest.mark.parametrize(
    ("pace", "now", "moment"),
    [
        (AT_ONCE, 100.0, float("inf")),
        (NEVER, 100.0, float("inf")),
        (after(8), 100.0, 108.0),
        (stuck(30), 100.0, 130.0),
        (crash_loop(5, 10), 100.0, 105.0),
        (crash_loop(5, 10), 106.0, 115.0),
        (crash_loop(5, 10, delay=3), 100.0, 103.0),
    ],
)
def test_the_next_change_is_known(pace, now, moment):
    assert next_change(state(paces=(("v2", pace),), now=now)) == moment


@pytest.mark.parametrize("pace", [after(8), stuck(8), crash_loop(3, 4)])
def test_between_changes_the_workload_looks_the_same(pace):
    found = state(paces=(("v2", pace),), now=100.0)
    for _ in range(5):
        moment = min(next_change(found), found.now + 100)
        assert evolve(observe(found), now=0.0) == evolve(observe(found.but(now=moment - 0.01)), now=0.0)
        found = found.but(now=moment)


def test_a_state_is_a_value():
    cluster = play(policy(), SITUATIONS["promoted"])
    again = play(policy(), SITUATIONS["promoted"])
    assert cluster.state == again.state
    assert hash(cluster.state) == hash(again.state)


def test_a_shifted_state_goes_the_same_way():
    cluster = idle(policy()).do(Deploy("v2")).run(until=is_advancing)
    later = SimulatedCluster(policy(), state=cluster.state.shifted(1000.0)).run()
    assert (later.phase, later.now) == (cluster.run().phase, cluster.now + 1000.0)


@pytest.mark.parametrize(
    ("effect", "primary"), [(Promote("v3"), "v1"), (Initialise("v3"), None), (RestorePrimary("v3"), "v1")], ids=str
)
def test_a_wrong_revision_is_refused(effect, primary):
    with pytest.raises(Refused, match="v3"):
        apply(state(primary=None if primary is None else SimulatedPods(revision=primary, desired=1)), effect)


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_effect_may_be_repeated(name):
    """A second application of an effect changes nothing."""
    for record in play(policy(), SITUATIONS[name]).history:
        if len(record.effects) == 1:
            assert apply(record.state, record.effects[0]) == record.state


def test_the_autoscaler_keeps_a_running_target_in_its_bounds():
    cluster = idle(policy(), scaler=Scaler(minimum=2, maximum=3)).do(Deploy("v2")).run(until=is_advancing)
    assert cluster.do(ScaleTarget(9)).run(until=1.0).state.target.desired == 3


# ------------------------------------------------------------------------------------------------------------ faults


def first_commit_of(situation: str) -> int:
    return next(write.number for write in play(policy(), SITUATIONS[situation]).writes if write.is_commit)


def test_a_crash_forgets_what_the_process_knew():
    cluster = play(policy(), SITUATIONS["promoted"], (Fault(FaultKind.CRASH_AFTER, first_commit_of("promoted")),))
    assert [record.crashed for record in cluster.history].count(True) == 1


def test_a_conflict_commits_nothing():
    fault = Fault(FaultKind.CONFLICT, first_commit_of("promoted"), times=3)
    cluster = idle(policy(), (fault,)).do(Deploy("v2"))
    records = [cluster.step() for _ in range(3)]
    assert [type(record.troubles[0]) for record in records] == [Conflict] * 3
    assert cluster.phase is Phase.INITIALIZED


@pytest.mark.parametrize(
    ("kind", "phase"), [(FaultKind.LOST, Phase.INITIALIZED), (FaultKind.APPLIED, Phase.PROGRESSING)]
)
def test_a_timeout_is_carried_out_or_not(kind, phase):
    cluster = idle(policy(), (Fault(kind, first_commit_of("promoted")),)).do(Deploy("v2"))
    cluster.step()
    assert cluster.phase is phase


def test_effects_end_at_the_first_that_fails():
    """ResumeScaler times out: ScaleUp, which comes after it, is not tried in that cycle."""
    cluster = idle(policy(), (Fault(FaultKind.LOST, 1),), scaler=Scaler()).do(Deploy("v2"))
    record = cluster.step()
    assert (record.effects, len(record.troubles)) == ((), 1)
    assert cluster.run().phase is Phase.SUCCEEDED


def test_a_rival_commits_first():
    cluster = idle(policy(), (Fault(FaultKind.RIVAL, 0),)).do(Deploy("v2"))
    assert isinstance(cluster.step().troubles[0], Conflict)
    assert (cluster.phase, len(cluster.history)) == (Phase.PROGRESSING, 2)


def test_a_stale_status_meets_a_conflict():
    cluster = idle(policy()).do(Deploy("v2"))
    cluster.step()
    cluster.state = cluster.state.but(faults=(Fault(FaultKind.STALE_STATUS, cluster.state.reads),))
    assert isinstance(cluster.step().troubles[0], Conflict)


def test_a_stale_cluster_shows_the_observation_before():
    cluster = idle(policy()).run(until=1.0)
    cluster.state = cluster.state.but(
        faults=(Fault(FaultKind.STALE_OBSERVATION, cluster.state.reads),), routes=Routes(weight=5)
    )
    assert cluster.step().effects == ()
    assert cluster.step().effects == (SetRoutes(Routes()),)


# -------------------------------------------------------------------------------------------------------- failing well


def test_what_cannot_happen_any_more_is_said_with_the_last_record():
    with pytest.raises(WaitError, match=r"Phase\.FAILED.*nothing to do"):
        idle(policy()).do(Deploy("v2")).run(until=Phase.FAILED)


def test_a_program_makes_the_same_cluster_again():
    cluster = play(policy(), SITUATIONS["promoted"], (Fault(FaultKind.CRASH_AFTER, 5),))
    names: dict[str, object] = {}
    exec(cluster.program(), names)
    assert names["cluster"].state == cluster.state


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_program_of_any_strategy_makes_the_same_cluster_again(strategy):
    cluster = SimulatedCluster(STRATEGIES[strategy]).do(Deploy("v1")).run()
    names: dict[str, object] = {}
    exec(cluster.program(), names)
    assert names["cluster"].state == cluster.state


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_prints_as_a_program(name):
    compile(play(policy(), SITUATIONS[name]).program().replace("is_advancing", "None"), "cluster", "exec")


def test_a_violation_names_the_invariant_and_prints_the_schedule(monkeypatch):
    """The canary loses its pods between the observation and the write: no driver of ours does that."""
    cluster = idle(policy()).do(Deploy("v2")).run(until=lambda cluster: cluster.status.rung.weight == 20)
    assert cluster.state.routes.weight == 20
    monkeypatch.setattr(canarycore.simulation.driver, "apply", lambda state, effect: state.but(target=None, version=0))
    with pytest.raises(InvariantError, match=r"cluster\.run\(") as caught:
        cluster.run()
    assert caught.value.name.startswith("I")
    assert "from canarycore.simulation import " in caught.value.script


NO_DATA = Constant(MetricAnswer(error="timed out"))
FEW = Constant(MetricAnswer(value=100.0, samples=9))
WAITS_FOR_DATA = policy(no_data=NoData.HOLD, checks=(SUCCESS_RATE, DURATION))


def held(rollout, metrics) -> SimulatedCluster:
    """v2 is analysed and held, for ten minutes."""
    cluster = idle(rollout).do(Deploy("v2"), SetMetrics(metrics)).run(until=600.0)
    assert cluster.history[-1].decision.explanation.rule is Rule.HELD
    return cluster


@pytest.mark.parametrize(
    ("rollout", "metrics"),
    [
        (WAITS_FOR_DATA, NO_DATA),
        (WAITS_FOR_DATA, scripted(request_duration=(None,))),
        (policy(min_samples=10), FEW),
    ],
)
def test_a_hold_without_a_limit_is_rest_while_no_data_comes(rollout, metrics):
    cluster = held(rollout, metrics)
    assert check_at_rest(cluster.state, cluster.history) is None


@pytest.mark.parametrize(
    "news",
    [
        SetMetrics(Constant(99.0)),  # both pass
        SetMetrics(Constant(98.0)),  # one fails
        SetMetrics(scripted(request_success_rate=(98.0,), request_duration=(None,))),
        Edit(evolve(WAITS_FOR_DATA, inconclusive_limit=100)),
        Edit(evolve(WAITS_FOR_DATA, no_data=NoData.FAIL)),
    ],
)
def test_a_hold_that_must_end_is_no_rest(news):
    cluster = held(WAITS_FOR_DATA, NO_DATA).do(news)
    assert "I8: it rests in Progressing" in check_at_rest(cluster.state, cluster.history)


def test_pods_that_come_and_go_between_two_polls_disturb_no_rest():
    cluster = (
        idle(WAITS_FOR_DATA).do(Deploy("v2"), SetPace("v2", crash_loop(12, 5)), SetMetrics(NO_DATA)).run(until=600.0)
    )
    rules = set()
    for _ in range(20):
        assert check_at_rest(cluster.state, cluster.history) is None
        rules.add(cluster.run(until=1.0).history[-1].decision.explanation.rule)
    assert {Rule.HELD, Rule.UNREADY, Rule.NOT_DUE} <= rules


def test_a_driver_that_never_rests_is_found(monkeypatch):
    real = canarycore.simulation.driver.SimulatedCycle.run
    busy = lambda turn: evolve(real(turn), wake=0.0)  # noqa: E731
    monkeypatch.setattr(canarycore.simulation.driver.SimulatedCycle, "run", busy)
    cluster = SimulatedCluster(policy()).do(Deploy("v1"))
    with pytest.raises(BusyLoopError):
        cluster.run()


# ------------------------------------------------------------------------------------------------------------ metrics


def test_binomial_error_rates_are_drawn_anew_for_each_question_and_repeat():
    rates = Binomial(error_rates=(("v2", 0.005),), rps=100.0, seed=7)
    clusters = [idle(policy(threshold=9), metrics=rates).do(Deploy("v2")).run() for _ in range(2)]
    values = [
        [judged.answer.value for record in cluster.history for judged in record.decision.explanation.judgements]
        for cluster in clusters
    ]
    assert values[0] == values[1]
    assert len(set(values[0])) > 1


def test_a_bad_version_is_rolled_back_by_its_error_rate():
    cluster = idle(policy(), metrics=Binomial(error_rates=(("v2", 0.2),))).do(Deploy("v2")).run()
    assert cluster.phase is Phase.FAILED


def test_the_exported_names_exist():
    assert [name for name in canarycore.simulation.__all__ if not hasattr(canarycore.simulation, name)] == []


def test_a_slow_primary_is_seen_by_its_own_pace():
    cluster = idle(policy()).do(SetPace("primary/v2", after(9)), Deploy("v2")).run(until=Phase.PROMOTING)
    assert cluster.do(SendCommand(canarycore.CommandKind.PAUSE)).run(until=5.0).observation.primary.updated < 3
