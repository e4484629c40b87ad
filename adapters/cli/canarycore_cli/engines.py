"""Which engine does many runs: the vectorised one, the exact one, or the core itself.

All three tell the same (docs/simulation.md); they differ in speed and in what they cover.
"""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from canarycore_cli.console import BadInput

if TYPE_CHECKING:
    from canarycore import Rollout
    from canarycore.policy import Scenario


class Engine(Enum):
    """What `--engine` may be."""

    AUTO = "auto"
    CORE = "core"
    VECTOR = "vector"
    EXACT = "exact"


def chosen(engine: Engine, rollout: Rollout, scenario: Scenario) -> tuple[Engine, str]:
    """The engine to use, and a note on why. Raises BadInput when the one asked for does not cover the policy."""
    if engine is Engine.CORE:
        return engine, "the core decides every run"
    if engine is Engine.AUTO and find_spec("numpy") is None:
        return Engine.CORE, "the core decides every run (faster with: pip install 'canarycore[simulation]')"
    reason = _why_not(engine, rollout, scenario)
    if not reason:
        return (engine if engine is Engine.EXACT else Engine.VECTOR), ""
    if engine is Engine.AUTO:
        return Engine.CORE, f"the core decides every run, as {reason}"
    raise BadInput(f"--engine {engine.value}: it does not cover this policy, as {reason}; try --engine auto")


def _why_not(engine: Engine, rollout: Rollout, scenario: Scenario) -> str:
    if engine is Engine.EXACT:
        from canarycore.policy import exact

        return exact.find_gap(rollout, scenario)
    from canarycore.policy import vector

    return vector.find_gap(rollout, scenario)


def plot(file: Path, rollout: Rollout, scenario: Scenario, *, seed: int, title: str) -> None:
    """Draw what the policy does into a file. Raises BadInput for a kind of file that it cannot be."""
    if file.suffix not in (".html", ".png"):
        raise BadInput(f"--plot {file}: found {file.suffix or 'no suffix'}, expected a file that ends in .html or .png")
    from canarycore.policy import picture

    picture.save(picture.draw(rollout, scenario, seed=seed, title=title), file)
