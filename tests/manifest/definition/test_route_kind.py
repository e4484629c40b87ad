"""`service.routeKind`: a Canary whose fields its route cannot express makes no rollout."""

import pytest

from canarycore.errors import ManifestError
from canarycore.manifest import parse, resolve
from canarycore.manifest.routing import find_grpc_method
from canarycore.traffic import StringMatch
from tests.manifest.samples import AB, canary


def at_gateway(kind, analysis=None, **service):
    service = {"port": 80, "gatewayRefs": [{"name": "gateway"}], "routeKind": kind, **service}
    return canary(provider="gatewayapi:v1", service=service, analysis=analysis)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (at_gateway("TCPRoute", AB), "spec.analysis.match"),
        (at_gateway("TCPRoute", timeout="5s"), "spec.service.timeout"),
        (at_gateway("GRPCRoute", {"sessionAffinity": {"cookieName": "a"}}), "spec.analysis.sessionAffinity"),
    ],
)
def test_a_field_that_the_kind_cannot_express_is_refused(document, path):
    with pytest.raises(ManifestError) as refused:
        resolve(parse(document))
    assert [problem.path for problem in refused.value.problems] == [path]


def test_the_deprecated_section_has_its_own_path():
    document = at_gateway("TCPRoute", {"mirror": True})
    document["spec"]["canaryAnalysis"] = document["spec"].pop("analysis")
    with pytest.raises(ManifestError, match=r"spec\.canaryAnalysis\.mirror"):
        resolve(parse(document))


def test_the_controllers_provider_counts_for_a_canary_without_one():
    document = at_gateway("GRPCRoute")
    del document["spec"]["provider"]
    assert resolve(parse(document), provider="gatewayapi:v1").provider == "gatewayapi:v1"
    with pytest.raises(ManifestError, match=r"spec\.service\.routeKind"):
        resolve(parse(document), provider="istio")


@pytest.mark.parametrize(
    ("kind", "value", "method"),
    [
        ("exact", "/a.B/C", ("a.B", "C")),
        ("prefix", "/", ("", "")),
        ("prefix", "/a.B/", ("a.B", "")),
        ("exact", "/a.B/", None),
        ("exact", "/", None),
        ("prefix", "//C", None),
        ("suffix", "/a.B/C", None),
        ("exact", "a.B/C", None),
    ],
)
def test_a_path_is_a_grpc_method_or_none(kind, value, method):
    assert find_grpc_method(StringMatch(kind=kind, value=value)) == method
