"""`analysis.bake`: read, resolved to a last rung with all traffic, and checked."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import Ladder, Strategy
from canarycore.manifest import ManifestError, dump, lint, parse, problems, resolve
from tests.manifest.samples import canary

WITHOUT_WEIGHTS = {"stepWeight": None, "maxWeight": None}
LADDERS = {
    "stepWeight": ({"stepWeight": 30, "maxWeight": 60}, Ladder(step=30, top=60, bake=1800.0)),
    "stepWeights": ({**WITHOUT_WEIGHTS, "stepWeights": [5, 50]}, Ladder(steps=(5, 50), top=50, bake=1800.0)),
    "steps": ({**WITHOUT_WEIGHTS, "steps": [{"weight": 5}]}, Ladder(steps=(5,), bake=1800.0)),
    "blue/green": (
        {**WITHOUT_WEIGHTS, "iterations": 3},
        Ladder(strategy=Strategy.BLUE_GREEN, iterations=3, bake=1800.0),
    ),
}


@pytest.mark.parametrize("name", LADDERS)
def test_each_strategy_bakes(name):
    analysis, ladder = LADDERS[name]
    read = parse(canary(analysis={**analysis, "bake": "30m"}))
    assert resolve(read).ladder == ladder
    assert parse(dump(read)) == read


@pytest.mark.parametrize("wait", ["30", "-5m", "soon", "1000000h", 5])
def test_another_value_than_a_time_is_refused(wait):
    with pytest.raises(ManifestError) as refused:
        parse(canary(analysis={"bake": wait}))
    assert [problem.path for problem in refused.value.problems] == ["spec.analysis.bake"]


REFUSED = {
    "a provider that moves no traffic": canary(
        analysis={**WITHOUT_WEIGHTS, "iterations": 3, "bake": "30m"}, provider="kubernetes"
    ),
    "a last step with all traffic": canary(
        analysis={**WITHOUT_WEIGHTS, "steps": [{"weight": 100, "hold": "5m"}], "bake": "30m"}
    ),
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_a_bake_without_traffic_or_beside_a_last_step_is_refused(document):
    with pytest.raises(ManifestError) as refused:
        resolve(parse(document))
    assert [problem.path for problem in refused.value.problems] == ["spec.analysis.bake"]
    assert any(problem.path == "spec.analysis.bake" for problem in lint([document]) if problem.severity == "error")


def test_steps_that_end_at_their_top_are_no_finding_with_a_bake():
    document = canary(analysis={"stepWeight": 25, "maxWeight": 50, "bake": "30m"})
    assert "overshoot" not in {problem.rule for problem in lint([document])}


def test_a_rollout_that_bakes_has_the_findings_of_its_manifest():
    rollout = resolve(parse(canary()))
    short = evolve(rollout, ladder=evolve(rollout.ladder, bake=1.0))
    (finding,) = [problem for problem in problems(short) if problem.rule == "short-hold"]
    assert finding.path == "ladder.bake"
