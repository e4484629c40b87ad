"""The choice of the engine that computes the figures of a policy.

The engines agree (docs/simulation.md); they differ in speed and in the policies that they cover.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Problem, WrongValue
from canarycore.policy._model import refuse_gap
from canarycore.policy._scenario import demand_known_names
from canarycore.text import nearest, shorten

if TYPE_CHECKING:
    from types import ModuleType

    from canarycore._spec import Rollout
    from canarycore.policy._scenario import Scenario


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


def choose_engine(rollout: Rollout, scenario: Scenario, engine: Engine | str = Engine.AUTO) -> EngineChoice:
    """Return the engine to use. AUTO is VECTOR, or CORE where NumPy is missing or VECTOR does not cover the policy.

    Raises NotCovered when the requested engine does not cover the policy, ModuleNotFoundError when it needs a module
    that is not installed, and WrongValue for an unknown engine or a name in the scenario that the policy lacks.
    """
    engine = _engine_of(engine)
    demand_known_names(rollout, scenario)
    if engine is Engine.CORE:
        return EngineChoice(engine=engine, note="the core decides every run")
    try:
        module = import_engine(engine)
    except ModuleNotFoundError:
        if engine is not Engine.AUTO:
            raise
        note = "the core decides every run (faster with: pip install 'canarycore[simulation]')"
        return EngineChoice(engine=Engine.CORE, note=note)
    reason = module.find_gap(rollout, scenario)
    if reason and engine is Engine.AUTO:
        return EngineChoice(engine=Engine.CORE, note=f"the core decides every run, as {reason}")
    refuse_gap(engine.value, rollout, reason)
    return EngineChoice(engine=Engine.VECTOR if engine is Engine.AUTO else engine)


def _engine_of(engine: object) -> Engine:
    values = [member.value for member in Engine]
    if isinstance(engine, Engine):
        return engine
    if engine in values:
        return Engine(engine)
    near = nearest(engine, values) if isinstance(engine, str) else ""
    remedy = f"Did you mean {near!r}?" if near else "Write engine='auto'."
    expected = f"one of {', '.join(values)}"
    raise WrongValue(Problem(path="engine", found=shorten(engine), expected=expected, remedy=remedy, rule="engine"))


def import_engine(engine: Engine) -> ModuleType:
    """Import the engine's module. Only `vector` needs NumPy."""
    if engine is Engine.CORE:
        from canarycore.policy import sampled

        return sampled
    if engine is Engine.EXACT:
        from canarycore.policy import exact

        return exact
    from canarycore.policy import vector

    return vector
