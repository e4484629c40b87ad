"""One call for the operating characteristics of a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.policy._evaluation._engines import Engine, choose_engine, import_engine
from canarycore.policy._evaluation._evaluation import of_expectation, of_runs
from canarycore.policy._summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from canarycore._spec import Rollout
    from canarycore.policy._evaluation._engines import EngineChoice
    from canarycore.policy._evaluation._evaluation import Evaluation
    from canarycore.policy._scenario import Scenario
    from canarycore.policy._summary import Run


def evaluate(
    rollout: Rollout,
    scenario: Scenario,
    engine: Engine | str = Engine.AUTO,
    *,
    runs: int = 1000,
    seed: int = 0,
    executor: Executor | None = None,
    watch: Callable[[Iterator[Run]], Iterator[Run]] = iter,
) -> Evaluation:
    """Compute the operating characteristics of a policy: probabilities, times, requests, and harm done to users.

    Args:
        rollout: The policy.
        scenario: The behaviour of both versions, the traffic, and the answers of hooks.
        engine: The engine, or its value such as "auto"; see `choose_engine`.
        runs: The number of runs to draw, at least 1.
        seed: The seed of the draws; the same arguments give the same figures, with every executor.
        executor: Workers that share the runs; None runs them in this thread.
        watch: A function that passes on the runs of the core as they end, for a progress bar.

    Raises NotCovered when the engine does not cover the policy, and WrongValue for a name in the scenario that the
    policy lacks.
    """
    choice = choose_engine(rollout, scenario, engine)
    return compute(choice, rollout, scenario, runs=runs, seed=seed, executor=executor, watch=watch)


def compute(
    choice: EngineChoice,
    rollout: Rollout,
    scenario: Scenario,
    *,
    runs: int,
    seed: int,
    executor: Executor | None = None,
    watch: Callable[[Iterator[Run]], Iterator[Run]] = iter,
) -> Evaluation:
    """Compute the same by an engine that covers the policy."""
    if runs < 1:
        raise ValueError(f"runs: found {runs}, expected at least 1")
    module = import_engine(choice.engine)
    if choice.engine is Engine.EXACT:
        expectation = module.solve(rollout, scenario)
        sample = evaluate(rollout, scenario, runs=runs, seed=seed, executor=executor, watch=watch)
        return of_expectation(choice, expectation, sample)
    if choice.engine is Engine.VECTOR:
        columns = module.simulate(rollout, scenario, runs=runs, seed=seed, executor=executor)
        return of_runs(choice, columns.summary(), columns.seconds.tolist(), columns.bad_requests.tolist())
    drawn = list(watch(module.sweep(rollout, scenario, runs=runs, seed=seed, executor=executor)))
    return of_runs(choice, summarise(drawn), [run.seconds for run in drawn], [run.bad_requests for run in drawn])
