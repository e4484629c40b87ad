"""`analysis.steps`: read as a field and as an annotation, resolved to a ladder, and checked."""

from __future__ import annotations

import json

import pytest

from canarycore import Ladder, Step, Strategy
from canarycore.manifest import ManifestError, dump, parse, problems, resolve
from canarycore.manifest import lint as lint_documents
from tests.manifest.samples import canary

STEPS = [{"weight": 5, "hold": "10m"}, {"weight": 20, "approval": True}, {"weight": 50}]
LADDER = Ladder(steps=(Step(weight=5, hold=600.0), Step(weight=20, approval=True), 50))
METRICS = [
    {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
    {"name": "request-duration", "interval": "1m", "thresholdRange": {"max": 500}},
]
WITHOUT_WEIGHTS = {"stepWeight": None, "maxWeight": None}


def with_steps(steps=STEPS, **changes):
    return canary(analysis={**WITHOUT_WEIGHTS, "steps": steps, **changes})


def annotated(text):
    document = canary()
    return {**document, "metadata": {**document["metadata"], "annotations": {"canarycore/analysis.steps": text}}}


def rules(document, **options):
    return {problem.rule for problem in lint_documents([document], **options)}


def test_steps_become_the_rungs_of_the_ladder():
    assert resolve(parse(with_steps())).ladder == LADDER


def test_steps_go_before_the_weights_that_flagger_reads():
    assert resolve(parse(with_steps(stepWeights=[10, 90]))).ladder == LADDER
    assert resolve(parse(with_steps(stepWeight=10, maxWeight=50))).ladder == LADDER


def test_steps_survive_a_round_trip():
    read = parse(with_steps())
    assert parse(dump(read)) == read


def test_an_annotation_carries_the_steps_as_json():
    document = annotated(json.dumps(STEPS))
    assert resolve(parse(document)).ladder == LADDER


@pytest.mark.parametrize(
    "text", ["", "[", "5", '{"weight": 5}', "[" * 100_000, '[{"weight": 0}]', '[{"weight": 5}, {}]']
)
def test_an_annotation_that_is_no_list_of_steps_is_refused(text):
    with pytest.raises(ManifestError) as refused:
        parse(annotated(text))
    assert {problem.path.partition("[")[0] for problem in refused.value.problems} == {"metadata.annotations"}


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ([{"weight": 0}], "spec.analysis.steps[0].weight"),
        ([{"weight": 101}], "spec.analysis.steps[0].weight"),
        ([{"weight": "5"}], "spec.analysis.steps[0].weight"),
        ([{}], "spec.analysis.steps[0].weight"),
        ([5], "spec.analysis.steps[0]"),
        ([{"weight": 20}, {"weight": 20}], "spec.analysis.steps[1]"),
        ([{"weight": 20}, {"weight": 5}], "spec.analysis.steps[1]"),
        ([{"weight": 5, "hold": "soon"}], "spec.analysis.steps[0].hold"),
        ([{"weight": 5, "hold": "-1m"}], "spec.analysis.steps[0].hold"),
        ([{"weight": 5, "approval": "yes"}], "spec.analysis.steps[0].approval"),
        ([{"weight": 5, "metrics": "p99"}], "spec.analysis.steps[0].metrics"),
        ([{"weight": weight} for weight in range(1, 101)] * 2, "spec.analysis.steps"),
    ],
)
def test_a_wrong_step_is_refused_with_its_path(steps, path):
    with pytest.raises(ManifestError) as refused:
        parse(with_steps(steps))
    assert path in {problem.path for problem in refused.value.problems}


def test_a_step_has_the_checks_that_it_names():
    steps = [{"weight": 5, "metrics": ["request-duration"]}, {"weight": 50}]
    rollout = resolve(parse(with_steps(steps, metrics=METRICS)))
    first, second = rollout.ladder.rungs[1:]
    assert [check.name for _, check in rollout.checks_at(first)] == ["request-duration"]
    assert len(rollout.checks_at(second)) == 2


@pytest.mark.parametrize(
    ("steps", "changes", "rule"),
    [
        ([{"weight": 5, "metrics": ["p99"]}], {}, "unknown-metric"),
        (STEPS, {"iterations": 5}, "step-fields"),
    ],
)
def test_steps_that_contradict_the_analysis_are_refused(steps, changes, rule):
    document = with_steps(steps, **changes)
    with pytest.raises(ManifestError) as refused:
        resolve(parse(document))
    assert rule in {problem.rule for problem in refused.value.problems}
    assert rule in rules(document)


def test_steps_need_a_provider_that_splits_requests():
    document = with_steps()
    assert "unrouted-steps" in rules(document, provider="kubernetes")
    assert resolve(parse(document), provider="kubernetes").ladder.strategy is Strategy.BLUE_GREEN


def test_a_hold_below_the_interval_is_reported():
    assert "short-hold" in rules(with_steps([{"weight": 5, "hold": "5s"}]))
    assert "short-hold" not in rules(with_steps())


def test_a_rollout_of_steps_has_the_findings_of_its_manifest():
    rollout = resolve(parse(with_steps([{"weight": 5, "hold": "5s"}])))
    assert "short-hold" in {problem.rule for problem in problems(rollout)}
