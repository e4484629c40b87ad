"""One call for the operating characteristics of a policy, and the choice of the engine that computes them.

The engines agree (docs/simulation.md); they differ in speed and in the policies that they cover.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.policy._model import NotCovered
from canarycore.policy._summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from types import ModuleType

    from canarycore._spec import Rollout
    from canarycore.policy._scenario import Scenario
    from canarycore.policy._summary import Run, Summary
    from canarycore.policy.exact import Expectation


class Engine(Enum):
    """The engines, and AUTO for the fastest sampling engine that covers a policy."""

    AUTO = "auto"
    CORE = "core"
    VECTOR = "vector"
    EXACT = "exact"


@frozen(kw_only=True)
class EngineChoice:
    """The engine to use, and the reason for it."""

    engine: Engine
    """CORE, VECTOR or EXACT."""

    note: str = ""
    """A clause for people, where the core decides every run; otherwise empty."""


@frozen(kw_only=True)
class Estimate:
    """The operating characteristics of a policy in a scenario."""

    choice: EngineChoice
    """The engine that computed them."""

    result: Summary | Expectation
    """`Expectation` from the exact engine, `Summary` from the others."""


def choose_engine(rollout: Rollout, scenario: Scenario, engine: Engine = Engine.AUTO) -> EngineChoice:
    """Return the engine to use. AUTO is VECTOR, or CORE where NumPy is missing or VECTOR does not cover the policy.

    Raises NotCovered when the requested engine does not cover the policy, and ModuleNotFoundError when it needs a
    module that is not installed.
    """
    if engine is Engine.CORE:
        return EngineChoice(engine=engine, note="the core decides every run")
    try:
        module = _import(engine)
    except ModuleNotFoundError:
        if engine is not Engine.AUTO:
            raise
        note = "the core decides every run (faster with: pip install 'canarycore[simulation]')"
        return EngineChoice(engine=Engine.CORE, note=note)
    reason = module.find_gap(rollout, scenario)
    if not reason:
        return EngineChoice(engine=Engine.VECTOR if engine is Engine.AUTO else engine)
    if engine is Engine.AUTO:
        return EngineChoice(engine=Engine.CORE, note=f"the core decides every run, as {reason}")
    raise NotCovered(f"the {engine.value} engine does not cover this policy, as {reason}")


def estimate(
    rollout: Rollout,
    scenario: Scenario,
    *,
    runs: int = 1000,
    seed: int = 0,
    engine: Engine = Engine.AUTO,
    executor: Executor | None = None,
    watch: Callable[[Iterator[Run]], Iterator[Run]] = iter,
) -> Estimate:
    """Compute the operating characteristics of a policy: probabilities, times, requests, and harm done to users.

    Args:
        rollout: The policy.
        scenario: The behaviour of both versions, the traffic, and the answers of hooks.
        runs: The number of runs to draw, at least 1. The exact engine draws none.
        seed: The seed of the draws; the same arguments give the same result.
        engine: The engine; see `choose_engine`.
        executor: Workers that share the runs of the core; None runs them in this thread.
        watch: A function that passes on the runs of the core as they end, for a progress bar.

    Raises NotCovered when the engine does not cover the policy.
    """
    choice = choose_engine(rollout, scenario, engine)
    module = _import(choice.engine)
    if choice.engine is Engine.CORE:
        drawn = module.sweep(rollout, scenario, runs=runs, seed=seed, executor=executor)
        return Estimate(choice=choice, result=summarise(watch(drawn)))
    if choice.engine is Engine.EXACT:
        return Estimate(choice=choice, result=module.solve(rollout, scenario))
    return Estimate(choice=choice, result=module.simulate(rollout, scenario, runs=runs, seed=seed).summary())


def _import(engine: Engine) -> ModuleType:
    """Import the engine's module. Only `vector` needs NumPy."""
    if engine is Engine.CORE:
        from canarycore.policy import sampled

        return sampled
    if engine is Engine.EXACT:
        from canarycore.policy import exact

        return exact
    from canarycore.policy import vector

    return vector
