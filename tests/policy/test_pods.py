"""Pods with a capacity and their autoscalers: lost requests, and what a gradual return changes about them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore import Check, CheckKind, GradualReturn, Ladder, Rollout, Strategy, TargetRef
from canarycore.errors import FieldError
from canarycore.notices import Notice, NoticeKind
from canarycore.policy import (
    Autoscaler,
    Behaviour,
    Engine,
    NotCovered,
    Outcome,
    PodLoad,
    Pods,
    Run,
    Scenario,
    SideLoad,
    choose_engine,
    evaluate,
    exact,
    summarise,
    vector,
)
from canarycore.policy import sampled as simulation
from canarycore.policy import sweep as sweep_policies
from canarycore.policy._pods import ScaledSide, decide_size, recommend
from canarycore.policy.sampled import RunEvent, simulate, sweep
from canarycore.simulation import LoadScaler, Promise, SimulatedCluster
from canarycore.simulation.state import SimulatedPods
from canarycore.verification import verify
from tests.policy.policies import cases

AT_THE_TOP = Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0, from_weight=100)
SCALER = Autoscaler(minimum=4, maximum=20, target=0.6, interval=15.0, scale_down_delay=120.0)
PODS = Pods(capacity=50.0, primary=10, canary=4, primary_scaler=SCALER, canary_scaler=SCALER)
SHRINKS = Scenario(new=Behaviour(error_rate=0.05), rps=300.0, ready_after=20.0, pods=PODS)
"""A rollback from weight 100, when the primary has shrunk from ten pods to four."""

ABRUPT = Rollout(
    name="shop",
    target=TargetRef(name="shop"),
    ladder=Ladder(steps=(20, 40, 60, 80, 100)),
    threshold=1,
    checks=(AT_THE_TOP,),
)
AMPLE = Pods(capacity=1e9, primary=1, canary=1)


def _gradual(step: int = 20, *, follows: bool = True, deadline: float = 600.0) -> Rollout:
    policy = GradualReturn(step=step, interval=30.0, deadline=deadline, follows_capacity=follows)
    return evolve(ABRUPT, gradual_return=policy)


def _with_pods(scenario: Scenario = SHRINKS, **changes: object) -> Scenario:
    return evolve(scenario, pods=evolve(scenario.pods or AMPLE, **changes))


def _loads(rollout: Rollout, scenario: Scenario, seed: int = 0) -> tuple[Run, list[PodLoad]]:
    loads: list[PodLoad] = []
    return simulate(rollout, scenario, seed, on_load=loads.append), loads


def _notices(rollout: Rollout, scenario: Scenario) -> list[tuple[float, NoticeKind]]:
    events: list[RunEvent] = []
    simulate(rollout, scenario, on_event=events.append)
    return [(event.seconds, event.cause.kind) for event in events if isinstance(event.cause, Notice)]


scalers = st.none() | st.builds(
    Autoscaler,
    minimum=st.integers(1, 4),
    maximum=st.integers(4, 12),
    target=st.sampled_from([0.3, 0.6, 1.0]),
    interval=st.sampled_from([10.0, 15.0, 60.0]),
    scale_down_delay=st.sampled_from([0.0, 30.0, 300.0]),
)
limited = st.builds(
    Pods,
    capacity=st.sampled_from([0.5, 3.0, 10.0]),
    primary=st.integers(1, 8),
    canary=st.integers(1, 8),
    primary_scaler=scalers,
    canary_scaler=scalers,
    longest_overload=st.sampled_from([0.0, 60.0, 600.0]),
)
returns = st.none() | st.builds(
    GradualReturn,
    step=st.sampled_from([10, 30, 60]),
    interval=st.sampled_from([10.0, 45.0]),
    deadline=st.just(300.0),
    follows_capacity=st.booleans(),
)


# lost requests ------------------------------------------------------------------------------------------------------


def test_a_return_that_follows_capacity_loses_fewer_requests_than_an_abrupt_one():
    """The numbers of docs/simulation.md."""
    lost = [simulate(rollout, SHRINKS).lost_requests for rollout in (ABRUPT, _gradual(follows=False), _gradual())]
    assert lost == [3500, 200, 0]


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("step", [10, 20, 25, 50])
def test_a_gradual_return_never_loses_more_than_the_abrupt_one(step: int, follows: bool):
    for minimum in (1, 4, 6):
        scaler = evolve(SCALER, minimum=minimum)
        scenario = _with_pods(primary_scaler=scaler, canary_scaler=scaler)
        gradual = simulate(_gradual(step, follows=follows), scenario)
        assert gradual.lost_requests <= simulate(ABRUPT, scenario).lost_requests


def test_a_return_that_follows_capacity_never_loses_more_than_one_that_does_not():
    for step in (10, 20, 50):
        follows, waits_not = (simulate(_gradual(step, follows=each), SHRINKS) for each in (True, False))
        assert follows.lost_requests <= waits_not.lost_requests


def test_a_promotion_that_follows_capacity_loses_nothing_where_an_abrupt_one_does():
    good = evolve(SHRINKS, new=Behaviour())
    abrupt, follows = simulate(ABRUPT, good), simulate(_gradual(), good)
    assert (abrupt.outcome, follows.outcome) == (Outcome.PROMOTED, Outcome.PROMOTED)
    assert (abrupt.lost_requests, follows.lost_requests) == (3500, 0)
    assert 200.0 < follows.seconds - abrupt.seconds < 270.0


@settings(max_examples=20, derandomize=True)
@given(cases(), limited, returns)
def test_users_requests_are_served_or_lost(case: tuple[Rollout, Scenario], pods: Pods, policy: GradualReturn | None):
    rollout, scenario = evolve(case[0], gradual_return=policy), evolve(case[1], pods=pods)
    run, loads = _loads(rollout, scenario)
    seconds = sum(load.until - load.since for load in loads)
    lost = sum(load.lost_rps * (load.until - load.since) for load in loads)
    assert [load.until for load in loads[:-1]] == [load.since for load in loads[1:]]
    assert abs(run.requests - scenario.rps * seconds) <= 2
    assert abs(run.lost_requests - lost) <= 3
    assert 0 <= run.canary_requests <= run.requests - run.lost_requests
    assert run.lost_requests <= run.bad_requests <= run.requests
    for load in loads:
        for side in (load.primary, load.canary):
            assert side.taken + side.rps * side.lost == pytest.approx(side.rps)
            assert side.taken <= side.ready * side.capacity


@settings(max_examples=15, derandomize=True)
@given(cases(), limited)
def test_pods_stay_within_the_limits_of_their_autoscaler(case: tuple[Rollout, Scenario], pods: Pods):
    _, loads = _loads(case[0], evolve(case[1], pods=pods))
    for scaler, start, counts in (
        (pods.primary_scaler, pods.primary, [load.primary.ready for load in loads]),
        (pods.canary_scaler, pods.canary, [load.canary.ready for load in loads]),
    ):
        assert max(counts) <= max(start, scaler.maximum if scaler else 0)
        if scaler is None:
            assert set(counts) <= {0, *range(start + 1)}


def test_a_pod_takes_its_capacity_and_the_rest_is_lost():
    side = SideLoad(ready=2, rps=300.0, capacity=50.0)
    assert (side.load, side.taken, side.lost) == (3.0, 100.0, pytest.approx(2 / 3))
    assert (evolve(side, rps=100.0).lost, evolve(side, rps=0.0).load) == (0.0, 0.0)


def test_a_side_without_ready_pods_loses_all_requests():
    side = SideLoad(ready=0, rps=300.0, capacity=50.0)
    assert (side.load, side.taken, side.lost) == (float("inf"), 0.0, 1.0)
    assert evolve(side, rps=0.0).load == 0.0


def test_a_check_counts_lost_requests_of_the_canary_as_failed():
    good = Scenario(rps=300.0, pods=Pods(capacity=50.0, primary=10, canary=5))
    run = simulate(ABRUPT, good)
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, "FailedChecks")
    assert simulate(ABRUPT, _with_pods(good, canary=6)).outcome is Outcome.PROMOTED


def test_copies_and_load_tests_load_the_canary_and_no_user_loses_them():
    mirrored = evolve(ABRUPT, ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=1, mirror=True), checks=())
    scenario = Scenario(rps=100.0, test_rps=20.0, pods=Pods(capacity=10.0, primary=10, canary=3))
    _, loads = _loads(mirrored, scenario)
    copied = [load for load in loads if load.canary.rps == 120.0 and load.primary.rps == 100.0]
    assert {load.canary.load for load in copied} == {4.0}
    assert {load.lost_rps for load in copied} == {0.0}


# the end of a run ---------------------------------------------------------------------------------------------------


def test_a_run_goes_on_after_the_rollout_while_requests_are_lost():
    run, loads = _loads(ABRUPT, SHRINKS)
    assert loads[-1].until > run.seconds + ABRUPT.drain
    assert loads[-1].lost_rps > 0.0
    _, longer = _loads(ABRUPT, _with_pods(longest_overload=6000.0))
    assert longer == loads


def test_a_primary_that_never_grows_ends_a_run_at_the_longest_overload():
    fixed = evolve(SCALER, maximum=4)
    run, loads = _loads(ABRUPT, _with_pods(primary=4, primary_scaler=fixed, longest_overload=100.0))
    assert loads[-1].until == run.seconds + max(ABRUPT.drain, 5.0) + 100.0


def test_a_return_to_a_primary_that_cannot_grow_ends_at_its_deadline():
    stays = _with_pods(primary_scaler=evolve(SCALER, maximum=10, interval=3600.0, minimum=1))
    shrunk = _with_pods(stays, primary=10, primary_scaler=evolve(SCALER, maximum=4, minimum=4))
    run, loads = _loads(_gradual(deadline=200.0), shrunk)
    cut = [
        seconds for seconds, kind in _notices(_gradual(deadline=200.0), shrunk) if kind is NoticeKind.RETURN_CUT_SHORT
    ]
    assert cut == [run.seconds + 200.0]
    assert {load.primary.rps for load in loads if load.since >= cut[0]} == {300.0}


def test_a_return_waits_while_the_ready_pods_of_the_primary_are_too_few():
    small = _with_pods(primary_scaler=evolve(SCALER, minimum=1, interval=60.0, scale_down_delay=60.0))
    kinds = [kind for _, kind in _notices(_gradual(50), small)]
    assert NoticeKind.NO_CAPACITY in kinds
    assert NoticeKind.RETURN_CUT_SHORT not in kinds
    assert NoticeKind.NO_CAPACITY not in [kind for _, kind in _notices(_gradual(50, follows=False), small)]


@pytest.mark.parametrize("step", [5, 10, 20, 25])
def test_an_autoscaler_that_tolerates_a_tenth_holds_no_return_until_its_deadline(step: int):
    """A step of 5 from 60% on raises the load by less than a tenth, so no pod comes."""
    scaler = evolve(SCALER, minimum=8)
    many = _with_pods(capacity=25.0, primary=20, canary=20, primary_scaler=scaler, canary_scaler=scaler)
    notices = _notices(_gradual(step, deadline=1800.0), many)
    assert NoticeKind.RETURN_CUT_SHORT not in [kind for _, kind in notices]


# agreement ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, derandomize=True)
@given(cases())
def test_ample_pods_change_no_run(case: tuple[Rollout, Scenario]):
    rollout, scenario = case
    plain, ample = (list(sweep(rollout, each, runs=3)) for each in (scenario, evolve(scenario, pods=AMPLE)))
    assert [evolve(run, peak_load=0.0) for run in ample] == plain


@pytest.mark.parametrize("error_rate", [0.005, 0.01])
def test_ample_pods_with_autoscalers_agree_with_the_exact_engine(error_rate: float):
    rollout = evolve(ABRUPT, checks=(evolve(AT_THE_TOP, from_weight=0),))
    scenario = Scenario(new=Behaviour(error_rate=error_rate), rps=20.0)
    solution = exact.solve(rollout, scenario)
    scaled = Pods(capacity=20.0, primary=5, canary=5, primary_scaler=Autoscaler(), canary_scaler=Autoscaler())
    summary = summarise(sweep(rollout, evolve(scenario, pods=scaled), runs=600, seed=4))
    low, high = summary.rolled_back.interval
    assert low - 0.02 < solution.p_rollback < high + 0.02
    assert summary.lost_requests.value == 0.0
    assert summary.requests.half is not None
    assert abs(summary.requests.value - solution.requests) < 2.0 * summary.requests.half


@settings(max_examples=12, derandomize=True)
@given(cases(), limited, returns)
def test_runs_with_pods_on_shared_stretches_decide_alike(
    case: tuple[Rollout, Scenario], pods: Pods, policy: GradualReturn | None
):
    rollout, scenario = evolve(case[0], gradual_return=policy), evolve(case[1], pods=pods)
    table = simulation._Table(rollout, scenario, simulation._keep_verdict, ())
    for number in range(3):
        alone: list[PodLoad] = []
        together: list[PodLoad] = []
        run = simulate(rollout, scenario, f"3/{number}", on_load=alone.append)
        assert table.run(f"3/{number}", on_load=together.append) == run
        assert alone == together


def test_a_seed_gives_the_same_runs_with_any_executor():
    alone = list(sweep(_gradual(), SHRINKS, runs=210, seed="x"))
    with ThreadPoolExecutor(2) as executor:
        assert list(sweep(_gradual(), SHRINKS, runs=210, seed="x", executor=executor)) == alone


@pytest.mark.parametrize("permille", [0, 100, 333, 500, 999, 1000])
def test_an_autoscaler_at_rest_agrees_with_that_of_the_model(permille: int):
    """Far from its present size the tolerance does not count."""
    scaler, full = evolve(SCALER, minimum=2), 10
    busy = full * scaler.target * permille / 1000
    assert recommend(scaler, 20, busy) == LoadScaler(full=full, minimum=2).size(permille)


# autoscalers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "busy", "size"),
    [
        (4, 4 * 0.6, 4),  # at the target
        (4, 4 * 0.66, 4),  # within a tenth
        (4, 4 * 0.67, 5),
        (4, 4 * 0.54, 4),
        (10, 10 * 0.53, 9),
        (4, 4 * 1.0, 7),  # as busy as can be
        (1, 20.0, 5),  # four more at a time
        (8, 200.0, 16),  # twice as many at a time
        (16, 200.0, 20),  # the most
        (10, 0.0, 2),  # the fewest
    ],
)
def test_an_autoscaler_follows_the_rule_of_kubernetes(current: int, busy: float, size: int):
    assert recommend(evolve(SCALER, minimum=2), current, busy) == size


def test_an_autoscaler_keeps_pods_for_the_delay_after_the_load_has_gone():
    side, pods = (
        ScaledSide(workload="primary", scaler=SCALER, due=0.0),
        SimulatedPods(revision="v1", desired=10, mine=10),
    )
    sizes = []
    for now in range(0, 181, 15):
        size, side = decide_size(side, pods, busy=0.0 if now >= 30 else 6.0, now=float(now))
        pods = evolve(pods, desired=size, mine=size)
        sizes.append((now, size))
    assert next(now for now, size in sizes if size < 10) == 15 + 120 + 15
    assert sizes[-1] == (180, 4)


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=40), st.sampled_from([0.0, 45.0, 300.0]))
def test_an_autoscaler_takes_the_highest_number_of_its_delay(loads: list[float], delay: float):
    """The short memory agrees with a memory of all decisions."""
    scaler = evolve(SCALER, scale_down_delay=delay)
    side, pods = (
        ScaledSide(workload="primary", scaler=scaler, due=0.0),
        SimulatedPods(revision="v1", desired=10, mine=10),
    )
    history = [(0.0, 10)]
    for turn, busy in enumerate(loads):
        now, current = 15.0 * turn, pods.desired
        size = recommend(scaler, current, busy)
        history.append((now, size))
        highest = max(number for time, number in history if time >= now - delay)
        size, side = decide_size(side, pods, busy, now)
        expected = history[-1][1] if history[-1][1] >= current else min(current, highest)
        assert size == expected
        assert all(earlier[1] > later[1] for earlier, later in pairwise(side.recent))
        pods = evolve(pods, desired=size, mine=size)


# the engines --------------------------------------------------------------------------------------------------------


def test_the_other_engines_name_the_field_and_the_engine_to_take():
    for engine, solve in (("exact", exact.solve), ("vector", lambda *case: vector.simulate(*case, runs=1))):
        for rollout, scenario, name in (
            (ABRUPT, SHRINKS, r"Scenario\.pods"),
            (_gradual(), evolve(SHRINKS, pods=None), r"Rollout\.gradual_return\.follows_capacity"),
            (_gradual(follows=False), evolve(SHRINKS, pods=None), r"Rollout\.gradual_return\)"),
        ):
            pattern = rf"the {engine} engine does not cover this policy, as .*{name}.*engine='core'"
            with pytest.raises(NotCovered, match=pattern):
                solve(rollout, scenario)
            with pytest.raises(NotCovered, match=pattern):
                choose_engine(rollout, scenario, engine)
            assert choose_engine(rollout, scenario).engine is Engine.CORE


def test_an_evaluation_has_the_lost_requests_and_the_peak_of_the_load():
    evaluation = evaluate(ABRUPT, SHRINKS, runs=20)
    assert (evaluation.lost_requests.value, evaluation.peak_load.value) == (3500.0, 1.5)
    row = evaluation.to_row()
    assert (row["mean_lost_requests"], row["mean_peak_load"]) == (3500.0, 1.5)
    assert evaluate(ABRUPT, evolve(SHRINKS, pods=None), runs=20).to_row()["mean_lost_requests"] == 0.0


def test_a_sweep_varies_the_fields_of_pods_and_autoscalers():
    table = sweep_policies(
        ABRUPT, {}, {"pods.primary_scaler.minimum": [2, 10], "pods.capacity": [50.0, 500.0]}, scenario=SHRINKS, runs=3
    )
    assert [cell.evaluation.lost_requests.value > 0 for cell in table] == [True, False, False, False]


def test_a_promise_reads_the_lost_requests():
    few = Promise("at most 1000 lost requests", lambda rollout: rollout.lost_requests <= 1000)
    assert simulate(ABRUPT, SHRINKS, promises=[few]).broken == (few.name,)
    assert simulate(_gradual(), SHRINKS, promises=[few]).broken == ()


def test_models_without_load_refuse_pods():
    with pytest.raises(FieldError, match=r"Scenario\.pods: found pods with a capacity, expected None"):
        SimulatedCluster(ABRUPT, scenario=SHRINKS)
    with pytest.raises(FieldError, match=r"Scenario\.pods"):
        verify(ABRUPT, scenario=SHRINKS)


# bounds -------------------------------------------------------------------------------------------------------------

BAD = [
    (lambda: evolve(PODS, capacity=0.0), "Pods.capacity"),
    (lambda: evolve(PODS, capacity=float("nan")), "Pods.capacity"),
    (lambda: evolve(PODS, capacity=float("inf")), "Pods.capacity"),
    (lambda: evolve(PODS, primary=0), "Pods.primary"),
    (lambda: evolve(PODS, canary=1001), "Pods.canary"),
    (lambda: evolve(PODS, canary=2.5), "Pods.canary"),
    (lambda: evolve(PODS, primary_scaler=3), "Pods.primary_scaler"),
    (lambda: evolve(PODS, longest_overload=-1.0), "Pods.longest_overload"),
    (lambda: Pods(capacity=1.0, primary=1, canary=1, cannary=1), "cannary"),
    (lambda: evolve(SCALER, minimum=0), "Autoscaler.minimum"),
    (lambda: evolve(SCALER, maximum=1001), "Autoscaler.maximum"),
    (lambda: evolve(SCALER, minimum=5, maximum=4), "Autoscaler.maximum: found 4, expected at least the minimum, 5"),
    (lambda: evolve(SCALER, target=0.0), "Autoscaler.target"),
    (lambda: evolve(SCALER, target=1.1), "Autoscaler.target"),
    (lambda: evolve(SCALER, interval=0.5), "Autoscaler.interval"),
    (lambda: evolve(SCALER, interval=float("nan")), "Autoscaler.interval"),
    (lambda: evolve(SCALER, scale_down_delay=float("inf")), "Autoscaler.scale_down_delay"),
    (lambda: evolve(SHRINKS, pods=5), "Scenario.pods"),
]


@pytest.mark.parametrize(("build", "text"), BAD, ids=[f"{number} {text[:30]}" for number, (_, text) in enumerate(BAD)])
def test_a_value_that_does_not_fit_its_field_is_refused(build, text: str):
    with pytest.raises(FieldError, match=text.replace(".", r"\.")):
        build()


def test_autoscalers_that_decide_too_often_are_refused():
    slow = evolve(ABRUPT, interval=7200.0)
    often = _with_pods(primary_scaler=evolve(SCALER, interval=1.0))
    with pytest.raises(NotCovered, match=r"may decide more than 100,000 times \(Autoscaler\.interval\)"):
        simulate(slow, often)
