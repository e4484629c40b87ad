"""Many policies in many scenarios, in one call.

Each cell has a seed of its own, from the seed of the sweep and from the cell's point. So a cell has the same figures
alone and among others, in every order, and from every executor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore.policy._evaluation._engines import Engine, choose_engine
from canarycore.policy._evaluation._evaluate import compute
from canarycore.policy._evaluation._evaluation import Evaluation, without_infinities
from canarycore.policy._evaluation._frames import make_frame
from canarycore.policy._evaluation._grid import variants
from canarycore.policy._model import NotCovered
from canarycore.policy._scenario import Scenario
from canarycore.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from canarycore._spec import Rollout
    from canarycore.policy._evaluation._engines import EngineChoice
    from canarycore.policy._evaluation._grid import Grid, Point

CHUNK = 8
"""Cells that a worker computes at a time: a worker costs some milliseconds, and so does a cell."""


@frozen(kw_only=True)
class Cell:
    """One policy in one scenario, with its figures."""

    point: Mapping[str, Any]
    """The values of the grids here, by path."""
    rollout: Rollout = field(repr=False)
    """The policy."""
    scenario: Scenario = field(repr=False)
    """The assumptions."""
    seed: int
    """The seed: `evaluate(rollout, scenario, seed=seed)` gives the same figures."""
    evaluation: Evaluation
    """The figures."""

    def to_row(self) -> dict[str, Any]:
        """Return the point and the figures as one flat row."""
        return {**self.point, **self.evaluation.to_row()}


@frozen
class Sweep:
    """The figures of all combinations of policies and scenarios."""

    cells: tuple[Cell, ...]
    """The cells; scenarios vary fastest."""

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each cell."""
        return [cell.to_row() for cell in self.cells]

    def to_json(self) -> list[dict[str, Any]]:
        """Return `to_rows` with null for an infinite value. A value of a grid is there as it is."""
        return [without_infinities(row) for row in self.to_rows()]

    def to_frame(self, library: str = "") -> Any:
        """Return a data frame with a row for each cell.

        library: "pandas" or "polars"; by default the first of them that is installed. Raise ModuleNotFoundError where
        it is not.
        """
        return make_frame(self.to_rows(), library)


def sweep(
    rollout: Rollout,
    grid: Grid,
    scenario_grid: Grid | None = None,
    *,
    scenario: Scenario | None = None,
    engine: Engine | str = Engine.AUTO,
    runs: int = 1000,
    seed: int = 0,
    executor: Executor | None = None,
) -> Sweep:
    """Evaluate all combinations of policies and scenarios.

    Args:
        rollout: The policy at the start; each point of `grid` changes it.
        grid: Values of the policy's fields, by path, such as `{"ladder.step": [5, 10], "threshold": [3, 5]}`.
        scenario_grid: The same for the scenario, such as `{"new.error_rate": [0.001, 0.02]}`.
        scenario: The scenario at the start; by default `Scenario()`.
        engine: The engine of each cell; see `choose_engine`.
        runs: The number of runs to draw in each cell, at least 1.
        seed: The seed of the sweep.
        executor: Workers that share the cells, in threads, processes or on other machines; None: this thread.

    Raises FieldError for an unknown path or a value that does not fit, and NotCovered where the engine does not cover
    a cell, both before the first cell is computed.
    """
    policies = variants(rollout, grid, "grid")
    scenarios = variants(scenario or Scenario(), scenario_grid or {}, "scenario_grid")
    points = [{**policy, **assumed} for policy, _ in policies for assumed, _ in scenarios]
    pairs = [(policy, assumptions) for _, policy in policies for _, assumptions in scenarios]
    seeds = [_seed_of(point, seed) for point in points]
    tasks = [_task(*pair, engine, each, point) for pair, each, point in zip(pairs, seeds, points, strict=True)]
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    do = map if executor is None else executor.map
    evaluations = chain.from_iterable(do(partial(_compute, runs), chunks))
    return Sweep(
        tuple(
            Cell(point=point, rollout=policy, scenario=assumptions, seed=each, evaluation=evaluation)
            for point, (policy, assumptions), each, evaluation in zip(points, pairs, seeds, evaluations, strict=True)
        )
    )


_Task = tuple["EngineChoice", "Rollout", Scenario, int]
"""The engine of a cell, its policy, its scenario and its seed."""


def _task(rollout: Rollout, scenario: Scenario, engine: Engine | str, seed: int, point: Point) -> _Task:
    """Return the work for a cell. The engine is chosen here, so that no worker chooses another one."""
    try:
        return choose_engine(rollout, scenario, engine), rollout, scenario, seed
    except NotCovered as error:
        where = ", ".join(f"{path} = {shorten(value)}" for path, value in point.items())
        raise NotCovered(f"{error} (at {where})") from None


def _seed_of(point: Point, seed: int) -> int:
    """Return the seed of a cell: its own at each point, whatever other points a grid has."""
    text = repr((seed, sorted((path, repr(value)) for path, value in point.items())))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _compute(runs: int, tasks: Sequence[_Task]) -> list[Evaluation]:
    return [compute(choice, rollout, scenario, runs=runs, seed=seed) for choice, rollout, scenario, seed in tasks]
