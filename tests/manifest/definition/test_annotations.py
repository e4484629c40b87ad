"""Annotations carry the fields of an analysis that Flagger's definition lacks: same values, bounds and errors."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.errors import ManifestError
from canarycore.manifest import ANALYSIS_ANNOTATION, OWN_FIELDS, dump, lint, parse, resolve
from tests.manifest.samples import canary

VALUES = {
    "steps": ([{"weight": 5, "hold": "10m"}, {"weight": 50}], '[{"weight": 5, "hold": "10m"}, {"weight": 50}]'),
    "bake": ("30m", "30m"),
    "noData": ("hold", "hold"),
    "minSamples": (100, "100"),
    "inconclusive": (3, "3"),
    "onFailure": ("freeze", "freeze"),
    "rollbackWindow": ({"revisions": 3, "steps": [20]}, '{"revisions": 3, "steps": [20]}'),
    "rollback": ({"stepWeight": 20}, '{"stepWeight": 20}'),
    "replaceDownPrimary": (True, "true"),
    "drain": ("1m30s", "1m30s"),
}
"""A value of each field, and its text."""

WRONG = {
    "steps": "5, 20",
    "bake": "30",
    "noData": "pass",
    "minSamples": "-1",
    "inconclusive": "2.5",
    "onFailure": "ignore",
    "rollbackWindow": "3 revisions",
    "rollback": "20",
    "replaceDownPrimary": "yes",
    "drain": "30",
}


def annotated(analysis=None, **annotations):
    document = canary(analysis=analysis or {})
    texts = {f"{ANALYSIS_ANNOTATION}{name}": text for name, text in annotations.items()}
    return {**document, "metadata": {**document["metadata"], "annotations": texts}}


def problems_of(document):
    with pytest.raises(ManifestError) as refused:
        parse(document)
    return refused.value.problems


def at(name):
    return f'metadata.annotations["{ANALYSIS_ANNOTATION}{name}"]'


def test_every_field_of_ours_has_a_value_here():
    assert set(VALUES) == set(WRONG) == set(OWN_FIELDS)


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_an_annotation_does_what_the_field_does(name):
    value, text = VALUES[name]
    by_annotation, by_field = parse(annotated(**{name: text})), parse(canary(analysis={name: value}))
    assert by_annotation.analysis == by_field.analysis
    assert resolve(by_annotation) == resolve(by_field)
    assert resolve(by_annotation) != resolve(parse(canary()))
    assert parse(dump(by_annotation)) == by_annotation


def test_an_annotation_works_under_the_deprecated_name_too():
    document = annotated(drain="9s")
    document["spec"]["canaryAnalysis"] = document["spec"].pop("analysis")
    assert resolve(parse(document)).drain == 9


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_an_annotation_is_refused_as_the_field_is(name):
    (problem,) = problems_of(annotated(**{name: WRONG[name]}))
    (of_field,) = problems_of(canary(analysis={name: WRONG[name]}))
    assert problem.path == at(name)
    assert (problem.expected, problem.severity) == (of_field.expected, of_field.severity)
    assert "without quotes" not in problem.remedy


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_every_value_of_a_field_has_a_bound_in_an_annotation(name):
    (problem,) = problems_of(annotated(**{name: "9" * 100_000}))
    assert problem.path == at(name)
    assert len(str(problem)) < 1_000


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_an_annotation_and_a_field_agree_or_are_refused(name):
    value, text = VALUES[name]
    assert parse(annotated({name: value}, **{name: text})).analysis == parse(canary(analysis={name: value})).analysis
    others = {"noData": "fail", "onFailure": "rollback", "drain": "9s", "replaceDownPrimary": False, "bake": "9m"}
    others |= {"steps": [{"weight": 7}], "rollbackWindow": {"revisions": 7}, "rollback": {"stepWeight": 7}}
    other = others.get(name, 77)
    (problem,) = problems_of(annotated({name: other}, **{name: text}))
    assert (problem.path, problem.rule) == (at(name), "contradiction")
    assert f"spec.analysis.{name}" in problem.remedy


def test_every_mistake_is_reported_at_once():
    document = annotated({"stepWeight": "ten"}, **WRONG)
    assert {problem.path for problem in problems_of(document)} == {"spec.analysis.stepWeight", *map(at, WRONG)}


def test_an_unknown_field_in_an_annotation_is_a_warning():
    (problem,) = parse(annotated(drian="9s")).warnings
    assert (problem.path, problem.rule) == (at("drian"), "unknown-field")
    assert f"{ANALYSIS_ANNOTATION}drain" in problem.remedy


def test_an_annotation_without_an_analysis_is_a_warning():
    document = annotated(drain="9s")
    del document["spec"]["analysis"]
    (problem,) = parse(document).warnings
    assert (problem.path, problem.rule) == (at("drain"), "no-analysis")


def test_a_number_that_is_no_text_is_refused_as_in_every_annotation():
    (problem,) = problems_of(annotated(minSamples=100))
    assert (problem.path, problem.remedy) == (at("minSamples"), "Put it in quotes.")


@given(
    st.dictionaries(
        st.sampled_from(OWN_FIELDS) | st.text(max_size=5), st.text() | st.integers() | st.none(), max_size=8
    ),
    st.sampled_from([None, {}, [], "x", {"drain": 3}]),
)
def test_no_annotation_raises_anything_but_a_manifest_error(annotations, analysis):
    document = annotated(**annotations)
    document["spec"]["analysis"] = analysis
    with suppress(ManifestError):
        parse(document)
    assert all(problem.path for problem in lint([document]))


# fields of the service ----------------------------------------------------------------------------------------------


def with_kind(text, **service):
    document = canary(provider="gatewayapi:v1", service={"port": 80, "gatewayRefs": [{"name": "gateway"}], **service})
    annotations = {} if text is None else {"canarycore/service.routeKind": text}
    return {**document, "metadata": {**document["metadata"], "annotations": annotations}}


def test_an_annotation_carries_the_kind_of_the_route():
    by_annotation, by_field = parse(with_kind("GRPCRoute")), parse(with_kind(None, routeKind="GRPCRoute"))
    assert by_annotation.spec == by_field.spec
    assert parse(dump(by_annotation)) == by_annotation


def test_an_annotation_of_the_service_is_refused_as_the_field_is():
    (problem,) = problems_of(with_kind("GrpcRoute"))
    assert problem.path == 'metadata.annotations["canarycore/service.routeKind"]'
    assert "GRPCRoute" in problem.expected
    (problem,) = problems_of(with_kind("GRPCRoute", routeKind="TCPRoute"))
    assert (problem.rule, "spec.service.routeKind" in problem.remedy) == ("contradiction", True)


def test_lint_suggests_the_annotation_for_a_kind_that_flaggers_definition_drops():
    (problem,) = lint([with_kind(None, routeKind="GRPCRoute")])
    assert problem.rule == "pruned-field"
    assert "canarycore/service.routeKind" in problem.remedy
    assert lint([with_kind("GRPCRoute")]) == ()


def test_an_annotation_without_a_service_is_a_warning():
    document = with_kind("GRPCRoute")
    del document["spec"]["service"]
    (problem,) = parse(document).warnings
    assert problem.rule == "no-service"


def test_an_annotation_carries_the_routes_of_the_owner():
    document = with_kind("GRPCRoute")
    document["metadata"]["annotations"]["canarycore/service.routeRefs"] = '[{"kind": "TCPRoute", "name": "internal"}]'
    (reference,) = parse(document).spec.service.route_refs
    assert (reference.kind, reference.name) == ("TCPRoute", "internal")
