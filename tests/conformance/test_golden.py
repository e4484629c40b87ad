"""The core's share of the golden traces: the same inputs tell the same story, but for what docs/differences.md says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from canarycore.phases import ACTIVE, Rule
from tests.conformance.drivers.simulated import WorldDriver
from tests.conformance.trace import Trace
from tests.conformance.verdict import judge

COUNTED = frozenset({Rule.ADVANCED, Rule.HALTED, Rule.ROLLED_BACK_CHECKS, Rule.PROMOTED})


def test_a_trace_tells_the_same_story(folder: Path, record_property: Callable[[str, object], None]):
    verdict = judge(folder, WorldDriver)

    record_property("rows", " ".join(verdict.used))
    assert not verdict.parts, "\n".join([f"{folder.name} (rows used: {', '.join(verdict.used)})", *verdict.parts])


def test_no_analysis_comes_before_its_interval(folder: Path):
    """A restart and an edit make the controller look at once, and it must not step for that (row D12)."""
    drivers: list[WorldDriver] = []

    def driver(trace: Trace) -> WorldDriver:
        drivers.append(WorldDriver(trace))
        return drivers[-1]

    judge(folder, driver)
    history = [record for one in drivers if not one.refused for record in one.world.history]

    early = [
        later
        for before, later in pairwise(history)
        if later.decision is not None
        and later.decision.explanation.rule in COUNTED
        and before.state.status.phase in ACTIVE
        and later.time < before.state.status.analysed_at + before.state.rollout.interval
    ]
    assert not early, "\n".join(map(str, early))
