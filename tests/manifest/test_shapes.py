"""The parts of a service section that go on to a mesh: they are checked when they are read, and go on as written."""

import pytest

from canarycore.errors import ManifestError
from canarycore.manifest import dump, parse
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


def test_what_is_right_goes_on_as_it_is_written():
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
    ({"corsPolicy": {"maxAge": "much"}}, "spec.service.corsPolicy.maxAge"),
    ({"gatewayRefs": [{"namespace": "ingress"}]}, "spec.service.gatewayRefs[0].name"),
    ({"gatewayRefs": ["gateway"]}, "spec.service.gatewayRefs[0]"),
    ({"mirror": [{}]}, "spec.service.mirror[0].backendRef"),
    ({"mirror": [{"backendRef": {"port": 80}}]}, "spec.service.mirror[0].backendRef.name"),
]


@pytest.mark.parametrize(("service", "path"), WRONG, ids=[path for _, path in WRONG])
def test_a_value_of_the_wrong_type_is_told_with_its_path(service, path):
    with pytest.raises(ManifestError) as told:
        read(**service)
    assert [problem.path for problem in told.value.problems if problem.severity == "error"] == [path]


def test_null_counts_as_absent():
    service = {
        "headers": {"request": None, "response": {"set": None}},
        "match": [{"uri": None, "headers": {"x": None}}],
    }
    assert dump(read(**service))["spec"]["service"] == {
        "port": 9898,
        "headers": {"response": {}},
        "match": [{"headers": {}}],
    }


def test_a_field_that_no_mesh_knows_is_noticed_and_goes_on():
    found = read(match=[{"ur": {"prefix": "/"}}])
    assert [problem.path for problem in found.warnings] == ["spec.service.match[0].ur"]
    assert dump(found)["spec"]["service"]["match"] == [{"ur": {"prefix": "/"}}]
