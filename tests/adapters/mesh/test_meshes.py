"""What every mesh keeps to, one row each."""

from __future__ import annotations

import copy
import json

import pytest
from ruamel.yaml import YAML

from canarycore import CheckKind, Routes
from canarycore.errors import Refused
from canarycore_metrics.template import render
from tests.adapters.mesh.meshes import AB, ENTRIES, asked, mesh_of, sources
from tests.manifest.samples import shared

SPLITTING = sorted(set(ENTRIES) - {"kubernetes"})
MATCHING = ("appmesh", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gatewayapi:v1beta1", "gloo", "istio", "nginx")
MIRRORING = ("gatewayapi:v1", "gatewayapi:v1beta1", "istio")
STICKY = MIRRORING
AFFINITY = {"sessionAffinity": {"cookieName": "session"}}


def refs_of(mesh, canary, bodies):
    """The objects as a cluster would hold them."""
    known = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(canary)}
    return {known[body["kind"], body["metadata"]["name"]]: body for body in bodies}


def before(provider, canary):
    return refs_of(mesh_of(provider), canary, sources(provider))


def after(provider, canary, *ways):
    """What there is once these routes were set, one after the other."""
    mesh, found = mesh_of(provider), before(provider, canary)
    for routes in ways:
        for ref, body in refs_of(mesh, canary, mesh.render(canary, routes, found)).items():
            there = found.get(ref, {"metadata": {}, "spec": {}})
            metadata = {**there["metadata"], **body["metadata"]}
            found = found | {ref: {**there, **body, "metadata": metadata, "spec": {**there["spec"], **body["spec"]}}}
    return found


def test_every_provider_of_flaggers_canary_definition_is_installed():
    definition = next(
        body
        for body in YAML(typ="safe").load_all(shared("crds") / "flagger.yaml")
        if body and body["spec"]["names"]["kind"] == "Canary"
    )
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert set(spec["provider"]["enum"]) <= set(ENTRIES)


@pytest.mark.parametrize("provider", SPLITTING)
@pytest.mark.parametrize("weight", [0, 1, 50, 99, 100])
def test_a_weight_that_was_written_is_read(provider, weight):
    canary = asked(provider)
    assert mesh_of(provider).routes(canary, after(provider, canary, Routes(weight=weight))) == Routes(weight=weight)


@pytest.mark.parametrize("provider", MATCHING)
@pytest.mark.parametrize("routes", [Routes(), Routes(matched=True)], ids=str)
def test_requests_that_match_are_routed_and_read(provider, routes):
    canary = asked(provider, analysis=AB)
    assert mesh_of(provider).routes(canary, after(provider, canary, routes)) == routes


@pytest.mark.parametrize("provider", sorted(set(MATCHING) - {"gloo", "nginx"}))
def test_a_canary_that_stands_in_gets_what_does_not_match_too(provider):
    canary = asked(provider, analysis=AB)
    assert mesh_of(provider).routes(canary, after(provider, canary, Routes(weight=100))) == Routes(weight=100)


@pytest.mark.parametrize("provider", sorted(set(MATCHING) - {"nginx"}))
@pytest.mark.parametrize("weight", [0, 30, 100])
def test_weights_with_conditions_are_of_what_meets_them(provider, weight):
    canary = asked(provider, analysis={"match": AB["match"]})
    assert mesh_of(provider).routes(canary, after(provider, canary, Routes(weight=weight))) == Routes(weight=weight)


@pytest.mark.parametrize("provider", MIRRORING)
@pytest.mark.parametrize(
    "analysis", [{"mirror": True}, {"mirror": True, "match": AB["match"]}], ids=["all", "matching"]
)
def test_a_copy_of_requests_is_read(provider, analysis):
    canary = asked(provider, analysis=analysis)
    assert mesh_of(provider).routes(canary, after(provider, canary, Routes(mirrored=True))) == Routes(mirrored=True)


@pytest.mark.parametrize("provider", STICKY)
@pytest.mark.parametrize(
    "routes",
    [
        *(Routes(), Routes(weight=30, cookie="abc"), Routes(expired="abc"), Routes(mirrored=True)),
        *(Routes(mirrored=True, expired="abc"), Routes(weight=100, expired="abc")),
    ],
    ids=str,
)
def test_cookies_are_read(provider, routes):
    canary = asked(provider, analysis=AFFINITY)
    assert mesh_of(provider).routes(canary, after(provider, canary, routes)) == routes


@pytest.mark.parametrize("provider", SPLITTING)
def test_without_its_objects_there_are_no_routes(provider):
    canary = asked(provider)
    assert mesh_of(provider).routes(canary, before(provider, canary)) is None


@pytest.mark.parametrize("provider", SPLITTING)
def test_the_same_routes_are_written_the_same_over_themselves(provider):
    canary, routes = asked(provider), Routes(weight=40)
    found = after(provider, canary, routes)
    untouched = copy.deepcopy(found)
    first = mesh_of(provider).render(canary, routes, before(provider, canary))
    assert mesh_of(provider).render(canary, routes, found) == first
    assert found == untouched, "what is found is not to be changed"


@pytest.mark.parametrize("provider", SPLITTING)
@pytest.mark.parametrize("way", [(0,), (0, 60, 0)], ids=["made", "back"])
def test_at_weight_0_nothing_is_left_to_write(provider, way):
    """Not where a mesh could say it in two ways, either: what says it is left as it is."""
    canary, routes = asked(provider), [Routes(weight=weight) for weight in way]
    assert after(provider, canary, *routes, Routes()) == after(provider, canary, *routes)


@pytest.mark.parametrize("provider", SPLITTING)
def test_a_weight_that_is_none_is_not_read_as_one(provider):
    canary, mesh = asked(provider), mesh_of(provider)
    found = after(provider, canary, Routes(weight=41))
    broken = {ref: json.loads(json.dumps(body).replace("41", "4100")) for ref, body in found.items()}
    assert mesh.routes(canary, broken) is None


@pytest.mark.parametrize("provider", ["apisix", "gloo", "knative", "nginx", "skipper"])
def test_what_the_owner_has_to_make_is_missed_by_name(provider):
    references = {"gloo": {"upstreamRef": {"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "web"}}}
    canary = asked(provider, **references.get(provider, {}))
    with pytest.raises(Refused, match=r"canary podinfo\.test, spec\..*Ref: found no \w+ (web|podinfo)\.test"):
        mesh_of(provider).render(canary, Routes(), {})


@pytest.mark.parametrize("provider", sorted(ENTRIES))
@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION])
def test_its_queries_name_nothing_that_is_not_known(provider, kind):
    canary = asked(provider)
    found = {ref: {"status": {"latestCreatedRevisionName": "podinfo-00002"}} for ref in mesh_of(provider).refs(canary)}
    variables = {**mesh_of(provider).query_variables(canary, found), "interval": "1m"}
    assert "{{" not in render(mesh_of(provider).queries[kind], variables, {})


def test_plain_kubernetes_sends_nothing_to_the_canary():
    canary, mesh = asked("kubernetes", analysis={"iterations": 2}), mesh_of("kubernetes")
    assert mesh.render(canary, Routes(), {}) == ()
    assert mesh.routes(canary, {}) == Routes()
    with pytest.raises(Refused, match="cannot split traffic"):
        mesh.render(canary, Routes(weight=50), {})
