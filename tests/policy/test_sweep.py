"""Many policies in many scenarios: the same figures from every executor, and errors that name the path."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from attrs import evolve

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Rollout, Strategy, TargetRef
from canarycore.errors import FieldError, WrongType, WrongValue
from canarycore.policy import Behaviour, Cell, NotCovered, Scenario, Sweep, evaluate, sweep
from tests.policy import needs

SUCCESS = Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
POLICY = Rollout(
    name="shop",
    target=TargetRef(name="shop"),
    ladder=Ladder(step=10, top=50),
    threshold=3,
    checks=(SUCCESS, Check(name="latency", kind=CheckKind.DURATION, maximum=500.0)),
    hooks=(Hook(name="load-test", type=HookType.ROLLOUT, url="http://hook/"),),
)
SCENARIO = Scenario(old=Behaviour(error_rate=0.001), rps=20.0)
GRID = {"ladder.step": [5, 10, 25], "threshold": [1, 3]}
SCENARIOS = {"new.error_rate": [0.001, 0.01, 0.03], "failures[load-test]": [0.0, 0.1]}


def small(**changes: object) -> Sweep:
    return sweep(POLICY, GRID, SCENARIOS, **{"scenario": SCENARIO, "runs": 40, "seed": 7, **changes})


def figures(cells: Sweep) -> list[tuple[object, ...]]:
    return [(sorted(cell.point.items()), cell.evaluation) for cell in cells]


# cells --------------------------------------------------------------------------------------------------------------


def test_a_sweep_has_each_combination_once():
    cells = small()
    assert len(cells) == 3 * 2 * 3 * 2
    assert len({tuple(cell.point.items()) for cell in cells}) == len(cells)
    for cell in cells:
        assert cell.rollout == evolve(
            POLICY, ladder=Ladder(step=cell.point["ladder.step"], top=50), threshold=cell.point["threshold"]
        )
        assert cell.scenario.new.error_rate == cell.point["new.error_rate"]
        assert cell.scenario.failures == {"load-test": cell.point["failures[load-test]"]}


def test_a_cell_is_repeated_by_its_seed():
    for cell in list(small())[::7]:
        assert evaluate(cell.rollout, cell.scenario, runs=40, seed=cell.seed) == cell.evaluation


def test_a_cell_has_the_same_figures_alone_and_among_others():
    cells = {str(cell.point): cell.evaluation for cell in small()}
    for step in GRID["ladder.step"]:
        alone = sweep(POLICY, {**GRID, "ladder.step": [step]}, SCENARIOS, scenario=SCENARIO, runs=40, seed=7)
        assert {str(cell.point): cell.evaluation for cell in alone}.items() <= cells.items()


def test_the_order_of_a_grid_changes_no_figure():
    turned = {path: values[::-1] for path, values in reversed(GRID.items())}
    again = sweep(POLICY, turned, SCENARIOS, scenario=SCENARIO, runs=40, seed=7)
    assert sorted(figures(again), key=str) == sorted(figures(small()), key=str)


def test_cells_and_sweeps_have_seeds_of_their_own():
    assert len({cell.seed for cell in (*small(), *small(seed=8))}) == 72


def test_worse_versions_are_rolled_back_more_often():
    rates = [cell.evaluation.rolled_back.value for cell in sweep(POLICY, {}, {"new.error_rate": [0.0, 0.01, 0.5]})]
    assert rates == sorted(rates)
    assert rates[-1] == 1.0


def test_without_scenarios_a_sweep_uses_the_given_one():
    (cell,) = sweep(POLICY, {"threshold": [2]}, scenario=SCENARIO, runs=5)
    assert cell.scenario == SCENARIO


# executors ----------------------------------------------------------------------------------------------------------


class BackwardsExecutor(Executor):
    """An executor that runs its tasks in the opposite order."""

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        tasks = list(zip(*iterables, strict=True))
        return reversed([fn(*task) for task in reversed(tasks)])


class SubmittingExecutor(Executor):
    """An executor with the one method that each has to implement."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future[object] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


EXECUTORS = {
    "backwards": BackwardsExecutor,
    "submit": SubmittingExecutor,
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2),
}


@pytest.mark.parametrize("engine", ["vector", "core"])
@pytest.mark.parametrize("make", EXECUTORS.values(), ids=EXECUTORS)
def test_every_executor_computes_the_same_figures(make, engine: str):
    with make() as executor:
        assert small(engine=engine, executor=executor) == small(engine=engine)


def test_a_dask_cluster_computes_the_same_figures():
    distributed = needs.dask()
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert len(client.nthreads()) == 2
        executor = client.get_executor()
        for engine in ("auto", "core", "exact"):
            assert small(engine=engine, executor=executor) == small(engine=engine)
        shared = evaluate(POLICY, SCENARIO, "core", runs=450, executor=executor)
        assert shared == evaluate(POLICY, SCENARIO, "core", runs=450)


# values -------------------------------------------------------------------------------------------------------------


def points(cells: Sweep) -> list[Cell]:
    return list(cells)


def test_fields_of_one_object_change_together():
    """Neither an A/B test without iterations nor iterations by weight is legal."""
    grid = {"ladder.strategy": [Strategy.AB], "ladder.iterations": [2, 3], "ladder.step": [0]}
    cells = points(sweep(POLICY, grid, runs=5))
    assert [cell.rollout.ladder.iterations for cell in cells] == [2, 3]


def test_items_are_named_or_counted():
    (named,) = sweep(POLICY, {"checks[success].minimum": [98.0]}, runs=5)
    (counted,) = sweep(POLICY, {"checks[0].minimum": [98.0]}, runs=5)
    assert named.rollout == counted.rollout
    assert named.rollout.checks == (evolve(SUCCESS, minimum=98.0), POLICY.checks[1])


def test_whole_objects_and_values_of_numpy_are_values():
    grid = {"ladder": [Ladder(step=10), Ladder(steps=(1, 50))], "threshold": np.arange(1, 3)}
    cells = points(sweep(POLICY, grid, {"new.error_rate": np.linspace(0, 0.1, 2)}, runs=5))
    assert [type(cell.point["threshold"]) for cell in cells] == [int] * 8


TYPOS = {
    "treshold": (WrongValue, "Did you mean 'threshold'"),
    "ladder.stpe": (WrongValue, "Did you mean 'step'"),
    "ladder.step.more": (WrongValue, "the end of the path"),
    "ladder.rungs": (WrongValue, "a field of Ladder"),
    "checks[sucess].minimum": (WrongValue, "Did you mean 'success'"),
    "checks[2].minimum": (WrongValue, "an item of the tuple"),
    "ladder..step": (WrongValue, "the path of a field"),
    "": (WrongValue, "the path of a field"),
    3: (WrongValue, "the path of a field"),
}


@pytest.mark.parametrize(("path", "expected"), TYPOS.items(), ids=str)
def test_a_path_that_leads_nowhere_is_refused(path: str, expected: tuple[type[FieldError], str]):
    kind, text = expected
    with pytest.raises(kind, match="grid") as caught:
        sweep(POLICY, {path: [1]})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("path", "near"),
    [("rsp", "'rps'"), ("new.eror_rate", "'error_rate'"), ("failures[load-tset]", "'load-test'")],
)
def test_a_typo_in_a_scenario_is_refused_with_the_nearest_name(path: str, near: str):
    with pytest.raises(WrongValue, match=f"Did you mean {near}"):
        sweep(POLICY, GRID, {path: [0.1]})


@pytest.mark.parametrize(
    "grid",
    [{"ladder": [Ladder(step=5)], "ladder.step": [5]}, {"checks[0].minimum": [9], "checks[success].minimum": [9]}],
)
def test_two_paths_of_one_field_are_refused(grid: dict[str, list[object]]):
    with pytest.raises(WrongValue, match="Remove one of the two paths"):
        sweep(POLICY, grid)


@pytest.mark.parametrize(
    ("grid", "kind", "text"),
    [
        ({"threshold": []}, WrongValue, "at least one value"),
        ({"threshold": 3}, WrongType, "a list of values"),
        ({"name": "shop"}, WrongType, "a list of values"),
        ([("threshold", 3)], WrongType, "a mapping"),
        ({"ladder.step": [101]}, WrongValue, "Ladder.step: found 101"),
        ({"threshold": ["3"]}, WrongType, "Rollout.threshold"),
    ],
)
def test_values_that_do_not_fit_are_refused(grid: object, kind: type[FieldError], text: str):
    with pytest.raises(kind) as caught:
        sweep(POLICY, grid)
    assert text in str(caught.value)


def test_a_cell_that_the_engine_does_not_cover_is_named_before_the_first_cell():
    class NoExecutor(Executor):
        def map(self, *_, **__):
            raise AssertionError

    with pytest.raises(NotCovered, match=r"at suspend = True, rps = 5\.0"):
        sweep(POLICY, {"suspend": [False, True]}, {"rps": [5.0]}, engine="exact", executor=NoExecutor())


# frames -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_sweep_becomes_a_frame_with_a_row_for_each_cell(library: str):
    needs.frames_of(library)
    cells = sweep(POLICY, {"ladder": [Ladder(step=10), Ladder(step=5)], "drain": [0, 0.5]}, scenario=SCENARIO, runs=9)
    frame = cells.to_frame(library)
    assert frame.shape == (4, len(cells.to_rows()[0]))
    assert list(frame["mean_minutes"]) == [cell.evaluation.minutes.mean.value for cell in cells]
    assert list(frame["drain"]) == [0, 0.5, 0, 0.5]


def test_the_rows_are_json():
    data = json.loads(json.dumps(small(runs=2).to_json(), allow_nan=False))
    assert data[0]["ladder.step"] == 5
    assert data[0]["p99_minutes_high"] is None
