"""The contract of every mesh, one row each."""

from __future__ import annotations

import copy
import json

import pytest
from ruamel.yaml import YAML

from canarycore import CheckKind, Routes
from canarycore.errors import Refused
from canarycore.manifest import parse, resolve
from canarycore.manifest.routing import PROVIDER_CAPABILITIES
from canarycore_metrics.template import render
from canarycore_runtime.mesh import PodSelectors, RenderContext
from canarycore_runtime.registry import find_proxy_delay
from tests.adapters.mesh.meshes import AB, ENTRIES, REFERENCES, VARIANTS, manifest, mesh_of, render_context, sources
from tests.manifest.samples import shared

SPLITTING = sorted((set(ENTRIES) - {"kubernetes", "replicas"}) | VARIANTS.keys() | REFERENCES.keys())
"""The meshes that split by one write."""
STICKY = ("gatewayapi:v1", "gatewayapi:v1beta1", "istio")
MIRRORING = (*STICKY, "gatewayapi:v1 GRPCRoute")
MATCHING = (*MIRRORING, "alb", "appmesh", "appmesh:v1beta2", "contour", "gloo", "nginx")
BESIDE = (*MIRRORING, "contour", "gloo", "nginx")
STEPS = {
    "steps": [
        {"weight": 0, "match": [{"headers": {"x-canary": {"exact": "insider"}}}]},
        {"weight": 20, "match": [{"headers": {"x-canary": {"exact": "tester"}}}]},
        {"weight": 50},
    ]
}
MIRRORS = {
    "steps": [
        {"weight": 0, "mirror": 30},
        {"weight": 20, "mirror": 5},
        {"weight": 30, "mirror": 10, "match": [{"headers": {"x-canary": {"exact": "insider"}}}]},
        {"weight": 50},
    ]
}
AFFINITY = {"sessionAffinity": {"cookieName": "session"}}


def by_ref(mesh, context, bodies):
    """Return the objects by reference, as a cluster would store them."""
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    return {refs[body["kind"], body["metadata"]["name"]]: body for body in bodies}


def objects_before(provider, context):
    return by_ref(mesh_of(provider), context, sources(provider))


def objects_after(provider, context, *steps):
    """Return the objects after these routes were set, one after the other."""
    mesh, objects = mesh_of(provider), objects_before(provider, context)
    for routes in steps:
        for ref, body in by_ref(mesh, context, mesh.render(context, routes, objects)).items():
            body_before = objects.get(ref, {"metadata": {}, "spec": {}})
            metadata = {**body_before["metadata"], **body["metadata"]}
            spec = {**body_before["spec"], **body["spec"]}
            objects = objects | {ref: {**body_before, **body, "metadata": metadata, "spec": spec}}
    return objects


def test_every_provider_of_flaggers_canary_definition_is_installed():
    definition = next(
        body
        for body in YAML(typ="safe").load_all(shared("crds") / "flagger.yaml")
        if body and body["spec"]["names"]["kind"] == "Canary"
    )
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert set(spec["provider"]["enum"]) <= set(ENTRIES)


@pytest.mark.parametrize(
    ("provider", "seconds"),
    [("istio", 10.0), ("gatewayapi:v1", 10.0), ("nginx", 6.7), ("skipper", 6.0), ("traefik", 5.0), ("contour", 5.0)],
)
def test_the_default_drain_lasts_until_the_proxies_follow(provider, seconds):
    canary = parse(manifest(provider))
    assert resolve(canary, proxy_delay=find_proxy_delay).drain == seconds


@pytest.mark.parametrize("provider", sorted(ENTRIES))
def test_no_default_drain_is_shorter_than_five_seconds(provider):
    canary = parse(manifest(provider))
    assert resolve(canary, proxy_delay=find_proxy_delay).drain == max(5.0, mesh_of(provider).proxy_delay)
    own = parse(manifest(provider, analysis={"interval": "10s", "stepWeight": 10, "drain": "2s"}))
    assert resolve(own, proxy_delay=find_proxy_delay).drain == 2.0


@pytest.mark.parametrize("provider", SPLITTING)
@pytest.mark.parametrize("weight", [0, 1, 50, 99, 100])
def test_a_mesh_reads_the_weight_that_it_rendered(provider, weight):
    context = render_context(provider)
    assert mesh_of(provider).routes(context, objects_after(provider, context, Routes(weight=weight))) == Routes(
        weight=weight
    )


@pytest.mark.parametrize("provider", MATCHING)
@pytest.mark.parametrize("routes", [Routes(), Routes(matched=True)], ids=str)
def test_a_mesh_reads_the_routes_of_matching_requests(provider, routes):
    context = render_context(provider, analysis=AB)
    assert mesh_of(provider).routes(context, objects_after(provider, context, routes)) == routes


def assert_each_place_is_read(provider, context, way):
    """Assert that the mesh reads all routes of a way, which it rendered one after the other."""
    for places in range(1, len(way) + 1):
        objects = objects_after(provider, context, *way[:places])
        assert mesh_of(provider).routes(context, objects) == way[places - 1]


@pytest.mark.parametrize("provider", BESIDE)
def test_a_mesh_reads_a_match_beside_each_weight(provider):
    context = render_context(provider, analysis=STEPS)
    way = [Routes(), Routes(matched=True), Routes(weight=20, matched=True), Routes(weight=50), Routes(weight=100)]
    assert_each_place_is_read(provider, context, way)


@pytest.mark.parametrize("provider", BESIDE)
def test_nothing_of_a_match_stays_after_its_step(provider):
    context = render_context(provider, analysis=STEPS)
    before = objects_after(provider, context, Routes(weight=50))
    assert objects_after(provider, context, Routes(weight=20, matched=True), Routes(weight=50)) == before


@pytest.mark.parametrize("provider", BESIDE)
def test_a_step_that_the_owner_removed_sends_no_request_more_to_the_canary(provider):
    """The weight alone stays: no condition is left, and without one all requests would match."""
    context = render_context(provider, analysis=STEPS)
    rendered = objects_after(provider, context, Routes(weight=30, matched=True))
    assert rendered == objects_after(provider, context, Routes(weight=30))


def test_the_table_of_capabilities_has_the_meshes_with_a_match_beside_a_weight():
    assert {name.partition(" ")[0] for name in BESIDE} == {
        name for name, can in PROVIDER_CAPABILITIES.items() if can.match_beside_weight
    }


@pytest.mark.parametrize("provider", MIRRORING)
def test_a_mesh_reads_a_mirror_beside_each_weight(provider):
    context = render_context(provider, analysis=MIRRORS)
    mirrored = Routes(weight=20, mirrored=True)
    way = [Routes(mirrored=True), mirrored, Routes(weight=30, mirrored=True, matched=True), Routes(weight=50)]
    assert_each_place_is_read(provider, context, way)


@pytest.mark.parametrize("provider", MIRRORING)
def test_a_mirror_beside_a_match_copies_the_other_requests(provider):
    context = render_context(provider, analysis=MIRRORS)
    objects = objects_after(provider, context, Routes(weight=30, mirrored=True, matched=True))
    (route,) = [body for ref, body in objects.items() if ref.name == context.apex and ref.kind.kind != "Service"]
    rules = route["spec"].get("http") or route["spec"]["rules"]
    assert ["irror" in json.dumps(rule) for rule in rules] == [False, True]


def test_a_step_has_a_percentage_of_its_own():
    percentages = {}
    for provider, path in (("istio", ("http", "mirrorPercentage")), ("gatewayapi:v1", ("rules", "filters"))):
        context = render_context(provider, analysis=MIRRORS)
        for routes in (Routes(mirrored=True), Routes(weight=20, mirrored=True)):
            objects = objects_after(provider, context, routes)
            (route,) = [body for body in objects.values() if path[0] in body["spec"]]
            percentages.setdefault(provider, []).append(route["spec"][path[0]][0][path[1]])
    assert percentages["istio"] == [{"value": 30}, {"value": 5}]
    shares = [[each["requestMirror"]["percent"] for each in filters] for filters in percentages["gatewayapi:v1"]]
    assert shares == [[30], [5]]


def test_the_table_of_capabilities_has_the_meshes_with_a_mirror_beside_a_weight():
    assert {name.partition(" ")[0] for name in MIRRORING} == {
        name for name, can in PROVIDER_CAPABILITIES.items() if can.mirror_beside_weight
    }


@pytest.mark.parametrize("provider", sorted(set(MATCHING) - {"gloo", "nginx"}))
def test_a_canary_in_place_of_the_primary_gets_requests_that_do_not_match_too(provider):
    context = render_context(provider, analysis=AB)
    assert mesh_of(provider).routes(context, objects_after(provider, context, Routes(weight=100))) == Routes(weight=100)


@pytest.mark.parametrize("provider", sorted(set(MATCHING) - {"nginx"}))
@pytest.mark.parametrize("weight", [0, 30, 100])
def test_weights_with_conditions_apply_to_matching_requests(provider, weight):
    context = render_context(provider, analysis={"match": AB["match"]})
    assert mesh_of(provider).routes(context, objects_after(provider, context, Routes(weight=weight))) == Routes(
        weight=weight
    )


@pytest.mark.parametrize("provider", MIRRORING)
@pytest.mark.parametrize(
    "analysis", [{"mirror": True}, {"mirror": True, "match": AB["match"]}], ids=["all", "matching"]
)
def test_a_mesh_reads_that_requests_are_mirrored(provider, analysis):
    context = render_context(provider, analysis=analysis)
    assert mesh_of(provider).routes(context, objects_after(provider, context, Routes(mirrored=True))) == Routes(
        mirrored=True
    )


@pytest.mark.parametrize("provider", STICKY)
@pytest.mark.parametrize(
    "routes",
    [
        *(Routes(), Routes(weight=30, cookie="abc"), Routes(expired="abc"), Routes(mirrored=True)),
        *(Routes(mirrored=True, expired="abc"), Routes(weight=100, expired="abc")),
    ],
    ids=str,
)
def test_a_mesh_reads_cookies(provider, routes):
    context = render_context(provider, analysis=AFFINITY)
    assert mesh_of(provider).routes(context, objects_after(provider, context, routes)) == routes


@pytest.mark.parametrize("provider", SPLITTING)
def test_without_its_objects_there_are_no_routes(provider):
    context = render_context(provider)
    assert mesh_of(provider).routes(context, objects_before(provider, context)) is None


@pytest.mark.parametrize("provider", SPLITTING)
def test_rendering_the_same_routes_again_changes_nothing(provider):
    context, routes = render_context(provider), Routes(weight=40)
    objects = objects_after(provider, context, routes)
    untouched = copy.deepcopy(objects)
    rendered = mesh_of(provider).render(context, routes, objects_before(provider, context))
    assert mesh_of(provider).render(context, routes, objects) == rendered
    assert objects == untouched, "a mesh must not change the objects"


@pytest.mark.parametrize("provider", SPLITTING)
@pytest.mark.parametrize("weights", [(0,), (0, 60, 0)], ids=["made", "back"])
def test_at_weight_0_a_second_write_changes_nothing(provider, weights):
    """A mesh that can express the weight in two ways keeps the present one."""
    context, routes = render_context(provider), [Routes(weight=weight) for weight in weights]
    assert objects_after(provider, context, *routes, Routes()) == objects_after(provider, context, *routes)


@pytest.mark.parametrize("provider", SPLITTING)
def test_an_invalid_weight_is_not_read(provider):
    context, mesh = render_context(provider), mesh_of(provider)
    objects = objects_after(provider, context, Routes(weight=41))
    broken = {ref: json.loads(json.dumps(body).replace("41", "4100")) for ref, body in objects.items()}
    assert mesh.routes(context, broken) is None


@pytest.mark.parametrize("provider", ["alb", "apisix", "gloo", "knative", "nginx", "skipper"])
def test_a_missing_object_of_the_owner_is_refused_by_name(provider):
    references = {"gloo": {"upstreamRef": {"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "web"}}}
    context = render_context(provider, **references.get(provider, {}))
    with pytest.raises(Refused, match=r"canary podinfo\.test, spec\..*Ref: found no \w+ (web|podinfo)\.test"):
        mesh_of(provider).render(context, Routes(), {})


@pytest.mark.parametrize("provider", sorted(ENTRIES))
@pytest.mark.parametrize("kind", [CheckKind.SUCCESS_RATE, CheckKind.DURATION])
def test_every_variable_of_its_queries_has_a_value(provider, kind):
    context = render_context(provider)
    objects = {
        ref: {"status": {"latestCreatedRevisionName": "podinfo-00002"}} for ref in mesh_of(provider).refs(context)
    }
    variables = {**mesh_of(provider).query_variables(context, objects), "interval": "1m"}
    assert "{{" not in render(mesh_of(provider).queries[kind], variables, {})


@pytest.mark.parametrize("timeout", ["0s", "90s", "infinity", "soon"])
@pytest.mark.parametrize("provider", sorted(set(SPLITTING) - VARIANTS.keys()))  # their kinds have no timeout
def test_a_timeout_has_the_meaning_that_the_mesh_gives_it(provider, timeout):
    """Most meshes take 0s for no timeout, Contour `infinity`. App Mesh takes a number, and none for another text."""
    retries = {"attempts": 2, "perTryTimeout": timeout, "retryOn": "5xx"}
    fields = {"timeout": timeout, "retries": retries, "corsPolicy": {"maxAge": timeout}}
    canary = parse(manifest(provider, service=fields))
    context = RenderContext(canary=canary, rollout=resolve(canary), pods=PodSelectors.by_label("app", "podinfo"))
    rendered = mesh_of(provider).render(context, Routes(weight=20), objects_before(provider, context))
    text = json.dumps(rendered)
    if provider in {"istio", "contour", "gatewayapi:v1"}:
        assert timeout in text
    if provider in {"appmesh", "appmesh:v1beta2"}:
        milliseconds = {"0s": 0, "90s": 90_000}.get(timeout, 250)
        assert f'"value": {milliseconds}' in text or f'"perRetryTimeoutMillis": {milliseconds}' in text
        assert ("perRequest" in text) == (provider != "appmesh" and timeout in {"0s", "90s"})


def test_plain_kubernetes_sends_no_request_to_the_canary():
    context, mesh = render_context("kubernetes", analysis={"iterations": 2}), mesh_of("kubernetes")
    assert mesh.render(context, Routes(), {}) == ()
    assert mesh.routes(context, {}) == Routes()
    with pytest.raises(Refused, match="cannot split traffic"):
        mesh.render(context, Routes(weight=50), {})
