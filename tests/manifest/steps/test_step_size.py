"""Sizes of steps in manifests: read, resolved, and refused where something else sets the replicas."""

from __future__ import annotations

import pytest

from canarycore import CanarySize, Ladder, Step
from canarycore.manifest import ManifestError, parse, resolve
from tests.manifest.samples import canary

SIZES = [{"weight": 5, "size": 1}, {"weight": 50}, {"weight": 60, "size": "25%"}]
SCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
DAEMON_SET = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "podinfo"}


WITHOUT_WEIGHTS = {"stepWeight": None, "maxWeight": None}


def resolved(steps=SIZES, **spec):
    return resolve(parse(canary(analysis={**WITHOUT_WEIGHTS, "steps": steps}, **spec)))


def test_sizes_are_numbers_or_percentages():
    one, quarter = CanarySize(replicas=1), CanarySize(percent=25)
    assert resolved().ladder == Ladder(steps=(Step(weight=5, size=one), 50, Step(weight=60, size=quarter)))


def test_a_step_without_a_size_is_as_before():
    assert resolved([{"weight": 5}, {"weight": 50}]).ladder == Ladder(steps=(5, 50))


@pytest.mark.parametrize(
    "size", [0, -1, 1.5, "0%", "101%", "5", "5.5%", "-5%", "%", "", "5% ", True, [], {}, 2**31, "9" * 5000 + "%"]
)
def test_a_size_that_is_none_is_refused_with_its_path(size):
    with pytest.raises(ManifestError) as error:
        resolved([{"weight": 5, "size": size}])
    assert [problem.path for problem in error.value.problems] == ["spec.analysis.steps[0].size"]


@pytest.mark.parametrize(
    "spec", [{"autoscalerRef": SCALER}, {"provider": "replicas"}, {"targetRef": DAEMON_SET}], ids=str
)
def test_a_size_is_refused_where_something_else_sets_the_replicas(spec):
    with pytest.raises(ManifestError) as error:
        resolved(**spec)
    assert [problem.path for problem in error.value.problems if problem.rule == "step-size"] == [
        "spec.analysis.steps[0].size",
        "spec.analysis.steps[2].size",
    ]


def test_a_size_without_requests_names_the_weight():
    with pytest.raises(ManifestError, match="a canary with a size needs requests to serve"):
        resolved([{"weight": 0, "size": 1}, {"weight": 50}])


def test_the_provider_kubernetes_counts_iterations_in_place_of_steps():
    assert not resolved(provider="kubernetes").ladder.sizes
