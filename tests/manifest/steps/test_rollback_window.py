"""`analysis.rollbackWindow`: the earlier revisions to which a return skips steps, and the weights that it keeps."""

from __future__ import annotations

import pytest

from canarycore import RollbackWindow
from canarycore.bounds import REVISIONS
from canarycore.errors import ManifestError
from canarycore.manifest import dump, lint, parse, resolve
from tests.manifest.samples import AB, BLUE_GREEN, canary

STEPS = {"stepWeights": [5, 20, 50], "stepWeight": None, "maxWeight": None}


def windowed(window, analysis=STEPS, **fields):
    return canary(analysis={**analysis, "rollbackWindow": window}, **fields)


def problems_of(document):
    with pytest.raises(ManifestError) as refused:
        resolve(parse(document))
    return refused.value.problems


def test_a_canary_has_no_window_by_default():
    assert resolve(parse(canary(analysis={}))).rollback_window is None


def test_a_window_is_read_and_written():
    document = windowed({"revisions": 3, "steps": [50]})
    assert resolve(parse(document)).rollback_window == RollbackWindow(revisions=3, steps=(50,))
    assert dump(parse(document))["spec"]["analysis"]["rollbackWindow"] == {"revisions": 3, "steps": [50]}


@pytest.mark.parametrize(
    ("window", "path"),
    [
        ({}, ".revisions"),
        ({"revisions": 0}, ".revisions"),
        ({"revisions": REVISIONS.most + 1}, ".revisions"),
        ({"revisions": 1, "steps": [0]}, ".steps[0]"),
        ({"revisions": 1, "steps": [101]}, ".steps[0]"),
        ({"revisions": 1, "steps": [50, 20]}, ".steps[1]"),
        ({"revisions": 1, "steps": "none"}, ".steps"),
        (3, ""),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_with_its_path(window, path):
    (problem,) = problems_of(windowed(window))
    assert problem.path == f"spec.analysis.rollbackWindow{path}"


def test_a_weight_that_no_step_has_is_refused():
    (problem,) = problems_of(windowed({"revisions": 1, "steps": [20, 30]}))
    assert (problem.path, problem.rule) == ("spec.analysis.rollbackWindow.steps[1]", "unknown-step")
    assert (problem.found, problem.expected) == ("30", "a weight of the analysis: 5, 20, 50")


def test_steps_that_rise_by_a_step_weight_can_be_named():
    analysis = {"stepWeight": 10, "maxWeight": 30}
    assert resolve(parse(windowed({"revisions": 1, "steps": [20]}, analysis))).rollback_window
    (problem,) = problems_of(windowed({"revisions": 1, "steps": [25]}, analysis))
    assert problem.expected == "a weight of the analysis: 10, 20, 30"


def test_blue_green_has_its_last_step_to_name():
    assert resolve(parse(windowed({"revisions": 1, "steps": [100]}, BLUE_GREEN))).rollback_window
    (problem,) = problems_of(windowed({"revisions": 1, "steps": [50]}, BLUE_GREEN))
    assert problem.expected == "a weight of the analysis: 100"


@pytest.mark.parametrize("analysis", [STEPS, AB, BLUE_GREEN])
def test_a_bake_can_be_named(analysis):
    document = windowed({"revisions": 1, "steps": [100]}, {**analysis, "bake": "30m"})
    assert resolve(parse(document)).rollback_window == RollbackWindow(revisions=1, steps=(100,))


def test_a_bake_that_cannot_be_is_the_only_problem():
    document = windowed({"revisions": 1, "steps": [100]}, {**BLUE_GREEN, "bake": "30m"}, provider="kubernetes")
    (problem,) = problems_of(document)
    assert (problem.path, problem.rule) == ("spec.analysis.bake", "no-bake")


def test_iterations_have_no_weight_to_name():
    (problem,) = problems_of(windowed({"revisions": 1, "steps": [50]}, AB))
    assert problem.expected == "a weight of the analysis: there are none"


def test_lint_reports_a_weight_that_no_step_has():
    found = lint([windowed({"revisions": 1, "steps": [30]})])
    assert "spec.analysis.rollbackWindow.steps[0]" in [each.path for each in found if each.rule == "unknown-step"]
