"""One call for a policy: one shape from every engine, intervals that hold, and errors that name the typo."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from math import inf, isinf
from random import Random

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Rollout, TargetRef
from canarycore.errors import WrongType, WrongValue
from canarycore.policy import (
    Behaviour,
    Engine,
    Estimate,
    NotCovered,
    Scenario,
    Summary,
    evaluate,
    exact,
    sampled,
    vector,
)
from canarycore.policy._evaluation._evaluation import quantile
from tests.policy.needs import frames_of

ENGINES = ("core", "vector", "exact")
POLICY = Rollout(
    name="shop",
    target=TargetRef(name="shop"),
    ladder=Ladder(step=10, top=50),
    threshold=3,
    checks=(Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
    hooks=(Hook(name="load-test", type=HookType.ROLLOUT, url="http://hook/"),),
)
SCENARIO = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=0.01), rps=20.0)


# shape --------------------------------------------------------------------------------------------------------------


def test_every_engine_gives_the_same_columns():
    rows = [evaluate(POLICY, SCENARIO, engine, runs=50).to_row() for engine in ENGINES]
    assert len({tuple(row) for row in rows}) == 1
    assert [row["engine"] for row in rows] == list(ENGINES)
    for name in ("p_rollback", "mean_minutes", *(f"p{share}_{of}" for share in (50, 95, 99) for of in AMOUNTS)):
        assert {name, f"{name}_low", f"{name}_high"} <= set(rows[0])


AMOUNTS = ("minutes", "bad_requests")


@pytest.mark.parametrize("engine", ["core", "vector"])
def test_the_intervals_of_a_sample_include_the_exact_means(engine: str):
    sample, solved = evaluate(POLICY, SCENARIO, engine, runs=2000, seed=1), exact.solve(POLICY, SCENARIO)
    for estimate, value in (
        (sample.promoted, solved.p_promotion),
        (sample.rolled_back, solved.p_rollback),
        (sample.minutes.mean, solved.minutes),
        (sample.bad_requests.mean, solved.bad_requests),
        (sample.requests, solved.requests),
    ):
        assert estimate.low <= value <= estimate.high
        assert estimate.low < estimate.value < estimate.high


def test_the_exact_engine_gives_points_for_means_and_samples_the_quantiles():
    solved, sample = evaluate(POLICY, SCENARIO, "exact"), evaluate(POLICY, SCENARIO, "vector")
    assert solved.minutes.mean == Estimate(*[exact.solve(POLICY, SCENARIO).minutes] * 3)
    assert solved.minutes.p95 == sample.minutes.p95
    assert solved.bad_requests.p99 == sample.bad_requests.p99


def test_the_quantiles_are_those_of_the_summary():
    evaluation = evaluate(POLICY, SCENARIO, "core", runs=200)
    assert isinstance(evaluation.details, Summary)
    assert evaluation.minutes.p50.value == pytest.approx(evaluation.details.p50_minutes)
    assert evaluation.minutes.p95.value == pytest.approx(evaluation.details.p95_minutes)


def test_a_figure_that_few_runs_do_not_bound_is_null_in_json():
    evaluation = evaluate(POLICY, SCENARIO, "core", runs=1)
    assert isinf(evaluation.minutes.p99.high)
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["p99_minutes_high"] is None


def test_an_endless_wait_has_infinite_means_in_the_exact_engine():
    gate = Hook(name="gate", type=HookType.CONFIRM_ROLLOUT, url="http://gate/")
    waiting = evaluate(evolve(POLICY, hooks=(gate,)), evolve(SCENARIO, gates={"gate": False}), "exact", runs=2)
    assert waiting.undecided.value == 1.0
    assert waiting.minutes.mean.value == inf
    assert waiting.to_json()["mean_minutes"] is None


# quantiles ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_within_its_interval(values: list[float], share: float):
    estimate = quantile(sorted(values), share)
    assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize(("share", "count"), [(0.5, 60), (0.95, 200), (0.99, 600)])
def test_an_interval_of_a_quantile_includes_the_true_one_in_95_of_100_samples(share: float, count: int):
    random, samples = Random(3), 1000
    estimates = [quantile(sorted(random.random() for _ in range(count)), share) for _ in range(samples)]
    hits = sum(estimate.low <= share <= estimate.high for estimate in estimates)
    assert hits / samples > 0.95 - 3 * (0.05 * 0.95 / samples) ** 0.5
    assert not any(isinf(estimate.high) for estimate in estimates)


# workers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "runs"), [("core", 450), ("vector", vector.BATCH + 100)])
def test_processes_compute_the_same_figures(engine: str, runs: int):
    with ProcessPoolExecutor(2) as executor:
        shared = evaluate(POLICY, SCENARIO, engine, runs=runs, seed=5, executor=executor)
    assert shared == evaluate(POLICY, SCENARIO, engine, runs=runs, seed=5)


# errors -------------------------------------------------------------------------------------------------------------


CALLS = {
    "evaluate": evaluate,
    "core": sampled.simulate,
    "sweep": lambda *case: sampled.sweep(*case, runs=1),
    "vector": lambda *case: vector.simulate(*case, runs=1),
    "exact": exact.solve,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("changes", "found", "near"),
    [
        ({"failures": {"succes": 0.1}}, r"Scenario\.failures\['succes'\]: found 'succes'", "Did you mean 'success'"),
        ({"failures": {"loadtest": 0.1}}, r"Scenario\.failures\['loadtest'\]", "Did you mean 'load-test'"),
        ({"gates": {"load_test": True}}, r"Scenario\.gates\['load_test'\]", "Did you mean 'load-test'"),
        ({"gates": {"success": True}}, r"Scenario\.gates\['success'\]", "the policy has load-test"),
        ({"failures": {"zzz": 0.1}}, r"Scenario\.failures\['zzz'\]", "the policy has load-test, success"),
    ],
)
def test_a_name_that_the_policy_lacks_is_refused(call, changes: dict[str, object], found: str, near: str):
    with pytest.raises(WrongValue, match=found) as caught:
        call(POLICY, evolve(SCENARIO, **changes))
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"gates": {"load-test": "yes"}},
        {"gates": {3: True}},
        {"gates": ["load-test"]},
        {"failures": {"success": 1.5}},
        {"failures": {"success": None}},
        {"new": 0.1},
        {"rps": -1.0},
        {"rps": inf},
        {"ready_after": -inf},
        {"ready_after": float("nan")},
    ],
    ids=str,
)
def test_a_scenario_refuses_a_value_that_does_not_fit(changes: dict[str, object]):
    (name,) = changes
    with pytest.raises((WrongType, WrongValue), match=rf"Scenario\.{name}"):
        Scenario(**changes)


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        (Scenario, "rsp", "Did you mean 'rps'"),
        (Scenario, "failure", "Did you mean 'failures'"),
        (Scenario, "zzz", "the fields are old, new"),
        (Behaviour, "eror_rate", "Did you mean 'error_rate'"),
    ],
)
def test_an_unknown_field_of_a_scenario_is_refused_with_the_nearest(kind: type, name: str, near: str):
    with pytest.raises(TypeError, match=rf"{kind.__name__}\.{name}: found '{name}'.*{near}"):
        kind(**{name: 0.1})


def test_an_unknown_engine_is_refused_with_the_nearest():
    with pytest.raises(WrongValue, match=r"found 'vecter', expected one of auto, core, vector, exact.*'vector'"):
        evaluate(POLICY, SCENARIO, "vecter")


def test_an_engine_that_does_not_cover_the_policy_is_refused():
    with pytest.raises(NotCovered, match="exact"):
        evaluate(evolve(POLICY, suspend=True), SCENARIO, Engine.EXACT)


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="runs: found 0"):
        evaluate(POLICY, SCENARIO, runs=0)


# frames -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_an_evaluation_becomes_a_frame_of_one_row(library: str):
    frames_of(library)
    evaluation = evaluate(POLICY, SCENARIO, runs=50)
    frame = evaluation.to_frame(library)
    assert type(frame).__module__.startswith(library)
    assert frame.shape == (1, len(evaluation.to_row()))
    assert frame["p95_minutes"][0] == evaluation.minutes.p95.value


@pytest.mark.parametrize("library", ["", "pandas", "polars"])
def test_a_missing_library_of_frames_is_named(library: str, monkeypatch):
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=f"to_frame needs {library or 'pandas or polars'}: pip install"):
        evaluate(POLICY, SCENARIO, runs=2).to_frame(library)


def test_an_unknown_library_of_frames_is_refused():
    with pytest.raises(ValueError, match="found 'numpy', expected 'pandas' or 'polars'"):
        evaluate(POLICY, SCENARIO, runs=2).to_frame("numpy")
