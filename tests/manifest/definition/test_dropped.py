"""The fields that a definition of Canaries drops: Flagger's, ours, and those in between."""

import pytest

from canarycore.manifest import (
    ANALYSIS_ANNOTATION,
    DEFINITION,
    FLAGGERS_OMISSIONS,
    OWN_FIELDS,
    find_dropped_fields,
    find_omissions,
    lint,
    schema,
)
from tests.controlplane.crds import definitions
from tests.manifest.samples import canary, shared


def flaggers():
    shared("crds")
    return next(body for body in definitions("flagger") if body["metadata"]["name"] == DEFINITION)


def definition_with(spec):
    version = {"name": "v1beta1", "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    names = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**names, "metadata": {"name": DEFINITION}, "spec": {"versions": [version]}}


def dropped(document, *others):
    return {problem.path: problem.remedy for problem in lint([document, *others]) if problem.rule == "pruned-field"}


def test_the_table_has_each_field_that_flaggers_definition_lacks():
    assert find_omissions(flaggers()) == FLAGGERS_OMISSIONS
    assert {f"analysis.{name}" for name in OWN_FIELDS} <= FLAGGERS_OMISSIONS


def test_our_definition_lacks_nothing():
    assert find_omissions(definition_with(schema("Canary"))) == frozenset()


@pytest.mark.parametrize("spec", [{"x-kubernetes-preserve-unknown-fields": True}, {}])
def test_a_definition_that_keeps_unknown_fields_drops_nothing(spec):
    assert find_omissions(definition_with(spec)) == frozenset()


@pytest.mark.parametrize("definition", [None, {}, {"spec": []}, {"spec": {"versions": [3, {"name": "v1beta1"}]}}])
def test_an_unreadable_definition_says_nothing(definition):
    assert find_omissions(definition) == frozenset()


def test_a_dropped_field_has_its_path_in_lists_and_maps():
    spec = {
        "analysis": {"match": [{"headers": {}}, {"port": 1}], "drain": "9s"},
        "service": {"match": [{"headers": {"x-user": {"suffix": "a"}}, "uri": {"prefix": "/"}}]},
    }
    assert [dropped.path for dropped in find_dropped_fields(spec)] == [
        "spec.analysis.match[1].port",
        "spec.analysis.drain",
        "spec.service.match[0].headers.x-user.suffix",
    ]


def test_lint_names_the_annotation_of_each_field_that_flaggers_definition_drops():
    steps = [{"weight": 5}]
    values = {
        "steps": steps,
        "bake": "30m",
        "noData": "hold",
        "minSamples": 9,
        "inconclusive": 2,
        "onFailure": "freeze",
        "rollbackWindow": {"revisions": 3},
        "rollback": {"stepWeight": 20},
        "replaceDownPrimary": True,
        "drain": "9s",
    }
    found = dropped(canary(analysis=values))
    assert found.keys() == {f"spec.analysis.{name}" for name in OWN_FIELDS}
    assert all(f"{ANALYSIS_ANNOTATION}{path.rpartition('.')[2]}" in remedy for path, remedy in found.items())


def test_lint_accepts_a_field_that_an_annotation_carries():
    document = canary(analysis={"drain": "9s"})
    document["metadata"]["annotations"] = {f"{ANALYSIS_ANNOTATION}drain": "9s"}
    assert not dropped(document)


def test_lint_believes_the_definition_beside_the_canary():
    document = canary(analysis={"drain": "9s"})
    assert not dropped(document, definition_with(schema("Canary")))
    assert dropped(document, flaggers())
