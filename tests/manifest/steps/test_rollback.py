"""`analysis.rollback`: the steps by which traffic goes back after a rollback."""

from __future__ import annotations

import pytest

from canarycore import GradualReturn, Ladder, Strategy
from canarycore.errors import ManifestError
from canarycore.manifest import dump, parse, problems, resolve
from tests.core.scenarios import policy
from tests.manifest.samples import canary


def returning(rollback):
    return canary(analysis={"rollback": rollback})


def test_all_traffic_goes_back_at_once_by_default():
    assert resolve(parse(canary())).gradual_return is None


def test_a_return_is_read_and_written():
    rollback = {"stepWeight": 20, "interval": "15s", "deadline": "5m"}
    document = parse(returning(rollback))
    assert resolve(document).gradual_return == GradualReturn(step=20, interval=15.0, deadline=300.0)
    assert dump(document)["spec"]["analysis"]["rollback"] == rollback


def test_a_step_comes_with_each_interval_of_the_analysis_by_default():
    rollout = resolve(parse(canary(analysis={"interval": "2m", "rollback": {"stepWeight": 20}})))
    assert rollout.gradual_return == GradualReturn(step=20, interval=120.0, deadline=None)
    assert rollout.longest_return == rollout.progress_deadline


def test_a_return_may_follow_the_capacity_of_the_primary():
    rollback = {"stepWeight": 20, "follow": "capacity"}
    document = parse(returning(rollback))
    assert resolve(document).gradual_return == GradualReturn(step=20, interval=60.0, follows_capacity=True)
    assert dump(document)["spec"]["analysis"]["rollback"] == rollback


@pytest.mark.parametrize(
    ("rollback", "path"),
    [
        ({"stepWeight": 10, "follow": "load"}, ".follow"),
        ({}, ".stepWeight"),
        ({"stepWeight": 0}, ".stepWeight"),
        ({"stepWeight": 101}, ".stepWeight"),
        ({"stepWeight": 10, "interval": "0s"}, ".interval"),
        ({"stepWeight": 10, "interval": "9000h"}, ".interval"),
        ({"stepWeight": 10, "deadline": "0s"}, ".deadline"),
        ({"stepWeight": 10, "deadline": 30}, ".deadline"),
        (20, ""),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_with_its_path(rollback, path):
    with pytest.raises(ManifestError) as refused:
        parse(returning(rollback))
    (problem,) = refused.value.problems
    assert problem.path == f"spec.analysis.rollback{path}"


def test_a_rollout_of_a_program_gets_the_same_findings():
    ladder = Ladder(strategy=Strategy.AB, iterations=2)
    hasty = GradualReturn(step=10, interval=30.0, deadline=10.0)
    found = {problem.rule: problem for problem in problems(policy(ladder=ladder, gradual_return=hasty))}
    assert found["return-ignored"].path == "gradual_return"
    found = {problem.rule: problem for problem in problems(policy(gradual_return=hasty))}
    assert (found["short-return"].path, found["short-return"].found) == ("gradual_return", "a deadline of 10s")
    assert "at least 2m30s, the time of 6 steps" in found["short-return"].expected
