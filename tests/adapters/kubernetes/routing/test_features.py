"""Filters that a gateway does not have: it would answer all requests of the route with an error."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from canarycore import RouteRefusal, Routes
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_kubernetes.api.ownership import BlockedError
from canarycore_kubernetes.preflight import check_cluster
from canarycore_kubernetes.routing.features import GATEWAY_CLASS
from canarycore_mesh.gatewayapi import GATEWAY_KIND
from canarycore_runtime.registry import load
from tests.adapters.kubernetes.routing.test_leftovers import Bench
from tests.adapters.mesh.meshes import ENTRIES, mesh_of, render_context
from tests.controlplane.in_memory.server import faked

V1 = "gatewayapi:v1"
CORS = {"corsPolicy": {"allowOrigin": ["https://a.test"]}}


@pytest.fixture
def server():
    routed = (ref.kind for name in ENTRIES for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed, GATEWAY_KIND, GATEWAY_CLASS)), bookmark=0.5) as running:
        yield running


@pytest.fixture
async def bench(client, api, server, namespace):
    async with AsyncExitStack() as stack:
        yield Bench(stack, client, api, server, namespace)


def gateways(namespace, *features):
    """Return the gateway of the Canary, and its class with these features."""
    context = render_context(V1)
    (gateway,) = mesh_of(V1).gateways(context)
    metadata = {"name": gateway.name, "namespace": namespace if gateway.namespace == "test" else gateway.namespace}
    version = "gateway.networking.k8s.io/v1"
    return (
        {"apiVersion": version, "kind": "Gateway", "metadata": metadata, "spec": {"gatewayClassName": "traefik"}},
        {
            "apiVersion": version,
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
            "status": {"supportedFeatures": [{"name": name} for name in features]},
        },
    )


def put(bench, *features):
    gateway, its_class = gateways(bench.namespace, *features)
    bench.api.create(gateway, gateway["metadata"]["namespace"])
    bench.api.create(its_class)
    bench.api.patch(f"{GATEWAY_CLASS.path(name='traefik')}/status", {"status": its_class["status"]})


async def test_a_filter_that_the_gateway_lacks_is_refused_before_anything_is_written(bench):
    put(bench, "HTTPRoute", "HTTPRoutePathRewrite")
    with pytest.raises(BlockedError, match=r"spec\.service\.corsPolicy: .* without HTTPRouteCORS") as caught:
        await bench.begin(V1, service=CORS)
    assert "Remove the field" in str(caught.value)
    assert not [name for name in bench.objects() if "HTTPRoute" in name or "primary" in name]


@pytest.mark.parametrize("features", [(), ("HTTPRouteCORS",)], ids=["the class lists none", "the class has it"])
async def test_a_filter_that_the_gateway_may_have_is_written(bench, features):
    put(bench, *features)
    await bench.begin(V1, service=CORS)
    assert "HTTPRoute podinfo" in bench.objects()


async def test_a_gateway_that_cannot_be_read_forbids_nothing(bench):
    await bench.begin(V1, service=CORS)
    assert "HTTPRoute podinfo" in bench.objects()


async def test_a_mirrored_rung_is_refused_and_the_rollback_is_not(bench):
    put(bench, "HTTPRoute")
    await bench.begin(V1)
    with pytest.raises(BlockedError, match=r"analysis\.mirror"):
        await bench.router.set_routes(bench.rollout, Routes(mirrored=True))
    refusal = await bench.router.observe(bench.rollout)
    assert isinstance(refusal, RouteRefusal)
    assert "HTTPRouteRequestMirror" in refusal.reason
    assert refusal.since is not None
    await bench.converge(Routes())


SHARE = {"mirror": True, "mirrorWeight": 10}


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_share_of_copies_needs_a_feature_of_its_own(bench, client, is_known):
    """A gateway that ignores the share would copy all requests."""
    share = ("HTTPRouteRequestPercentageMirror",) if is_known else ()
    put(bench, "HTTPRouteRequestMirror", *share)
    if not is_known:
        with pytest.raises(BlockedError, match=r"analysis\.mirrorWeight: .* without HTTPRouteRequestPercentageMirror"):
            await bench.begin(V1, analysis=SHARE)
        report = await check_cluster(client, namespace=bench.namespace)
        assert [problem.path for problem in report.problems if problem.rule == "missing-feature"] == [
            "spec.analysis.mirrorWeight"
        ]
        return
    await bench.begin(V1, analysis=SHARE)
    await bench.converge(Routes(mirrored=True))
    await bench.converge(Routes(weight=20))


async def test_a_route_that_has_the_filter_already_can_be_written(bench):
    """The features of a class may change in a rollout, and a rollback must go through."""
    await bench.begin(V1, service=CORS)
    await bench.converge(Routes(weight=20))
    put(bench, "HTTPRoute")
    await bench.converge(Routes())


async def test_lint_finds_the_filter(bench, client):
    put(bench, "HTTPRoute")
    with pytest.raises(BlockedError):
        await bench.begin(V1, service=CORS)
    report = await check_cluster(client, namespace=bench.namespace)
    (problem,) = [problem for problem in report.problems if problem.rule == "missing-feature"]
    assert (problem.path, problem.severity) == ("spec.service.corsPolicy", "error")


@pytest.mark.parametrize(("features", "warned"), [((), ["spec.service.corsPolicy"]), (("HTTPRouteCORS",), [])])
async def test_lint_warns_of_a_filter_that_the_gateway_may_lack(bench, client, features, warned):
    put(bench, *features)
    await bench.begin(V1, service=CORS)
    report = await check_cluster(client, namespace=bench.namespace)
    problems = [problem for problem in report.problems if problem.rule in ("missing-feature", "unlisted-feature")]
    assert [problem.path for problem in problems] == warned
    assert {problem.severity for problem in problems} <= {"warning"}


async def test_lint_says_nothing_of_a_gateway_that_it_cannot_read(bench, client):
    await bench.begin(V1, service=CORS)
    report = await check_cluster(client, namespace=bench.namespace)
    assert not [problem for problem in report.problems if "feature" in problem.rule]


def test_each_mesh_without_gateways_needs_no_feature():
    for provider in ENTRIES:
        mesh = load("meshes", provider)()
        assert bool(mesh.gateways(render_context(provider))) is provider.startswith("gatewayapi")
