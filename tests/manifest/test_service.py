"""The service section: the parser reads it once, checks every field and keeps it typed."""

import pytest
from attrs import fields

from canarycore.errors import ManifestError
from canarycore.manifest import dump, parse
from canarycore.manifest._match import AnalysisCondition, ServiceCondition
from canarycore.traffic import Match
from tests.manifest.samples import canary

SECTIONS = {
    "match": [{"uri": {"prefix": "/"}, "headers": {"x": {"exact": "a"}}, "port": 80, "sourceLabels": {"a": "b"}}],
    "headers": {"request": {"add": {"a": "b"}, "remove": ["c"]}, "response": {"set": {"d": "e"}}},
    "corsPolicy": {"allowOrigins": [{"exact": "x"}], "allowMethods": ["GET"], "allowCredentials": True, "maxAge": "1h"},
    "gatewayRefs": [{"name": "gateway", "namespace": "ingress", "port": 443}],
    "mirror": [{"backendRef": {"name": "mirror", "port": 80}}],
}


def read(**service):
    return parse(canary(service={"port": 9898} | service))


def test_a_valid_section_is_written_as_it_was_read():
    assert dump(read(**SECTIONS))["spec"]["service"] == {"port": 9898} | SECTIONS


WRONG = [
    ({"match": [{"uri": "/"}]}, "spec.service.match[0].uri"),
    ({"match": [{"uri": {"prefix": 5}}]}, "spec.service.match[0].uri.prefix"),
    ({"match": [{"headers": {"x": "a"}}]}, "spec.service.match[0].headers.x"),
    ({"match": [{"headers": {"x": {"exact": []}}}]}, "spec.service.match[0].headers.x.exact"),
    ({"match": [{"queryParams": []}]}, "spec.service.match[0].queryParams"),
    ({"match": [{"port": "http"}]}, "spec.service.match[0].port"),
    ({"match": ["/"]}, "spec.service.match[0]"),
    ({"headers": {"request": []}}, "spec.service.headers.request"),
    ({"headers": {"request": {"add": ["a"]}}}, "spec.service.headers.request.add"),
    ({"headers": {"request": {"remove": "a"}}}, "spec.service.headers.request.remove"),
    ({"corsPolicy": {"allowOrigin": "a"}}, "spec.service.corsPolicy.allowOrigin"),
    ({"corsPolicy": {"maxAge": 5}}, "spec.service.corsPolicy.maxAge"),
    ({"gatewayRefs": [{"namespace": "ingress"}]}, "spec.service.gatewayRefs[0].name"),
    ({"gatewayRefs": ["gateway"]}, "spec.service.gatewayRefs[0]"),
    ({"match": [{"uri": {"exact": "a", "prefix": "b"}}]}, "spec.service.match[0].uri"),
    ({"match": [{"uri": {"glob": "a"}}]}, "spec.service.match[0].uri"),
    ({"mirror": [{}]}, "spec.service.mirror[0].backendRef"),
    ({"mirror": [{"backendRef": {"port": 80}}]}, "spec.service.mirror[0].backendRef.name"),
]


@pytest.mark.parametrize(("service", "path"), WRONG, ids=[path for _, path in WRONG])
def test_a_value_of_the_wrong_type_is_refused_with_its_path(service, path):
    with pytest.raises(ManifestError) as refusal:
        read(**service)
    assert [problem.path for problem in refusal.value.problems if problem.severity == "error"] == [path]


def test_null_counts_as_absent():
    service = {
        "headers": {"request": None, "response": {"set": None, "add": {"a": None}}},
        "match": [{"uri": None, "headers": {"x": None}}],
    }
    assert dump(read(**service))["spec"]["service"] == {"port": 9898, "headers": {"response": {}}, "match": [{}]}


def test_an_unknown_field_is_reported_and_left_out():
    """An API server with Flagger's Canary definition leaves it out too."""
    found = read(match=[{"ur": {"prefix": "/"}, "port": 80}])
    assert [problem.path for problem in found.warnings] == ["spec.service.match[0].ur"]
    assert dump(found)["spec"]["service"]["match"] == [{"port": 80}]


def test_both_match_fields_hold_the_same_type():
    entry = {"uri": {"prefix": "/"}, "headers": {"x": {"exact": "a"}}, "withoutHeaders": {"y": {"regex": "b"}}}
    found = parse(canary(service={"port": 9898, "match": [entry]}, analysis={"iterations": 1, "match": [entry]}))
    assert found.spec.service.match == found.spec.analysis.match
    assert isinstance(found.spec.service.match[0], Match)


@pytest.mark.parametrize("condition", [{}, {"exact": ""}, {"exact": None}], ids=str)
def test_a_condition_without_a_text_matches_any_value(condition):
    (match,) = read(match=[{"headers": {"x-user": condition}}]).spec.service.match
    assert [(name, header.is_presence) for name, header in match.headers] == [("x-user", True)]


def test_an_empty_group_is_kept_because_it_is_the_core_group():
    parent = {"group": "", "kind": "Service", "name": "app"}
    assert dump(read(gatewayRefs=[parent]))["spec"]["service"]["gatewayRefs"] == [parent]


def test_the_fields_of_a_match_are_those_that_the_parser_reads():
    for condition in (AnalysisCondition, ServiceCondition):
        assert {field.name for field in fields(condition)} == {field.name for field in fields(Match)}
