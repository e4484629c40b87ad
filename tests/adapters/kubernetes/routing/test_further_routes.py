"""Routes of the owner that a Canary names: they get the weights on a cluster, and go back to the owner."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from canarycore import RouteRefusal, Routes
from canarycore.errors import Refused
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_kubernetes.api.ownership import ForeignObjectError
from canarycore_kubernetes.preflight import check_cluster
from canarycore_runtime.mesh import GITOPS_OPT_OUT
from tests.adapters.kubernetes.routing.test_leftovers import Bench
from tests.adapters.mesh.meshes import VARIANTS, mesh_of, render_context
from tests.cluster.patience import until
from tests.controlplane.in_memory.server import faked

V1 = "gatewayapi:v1"
GROUP = "gateway.networking.k8s.io"
APEX = {"group": "", "kind": "Service", "name": "podinfo", "port": 9898, "weight": 1}
RULES = [
    {
        "matches": [{"path": {"type": "PathPrefix", "value": "/internal"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}],
        "backendRefs": [APEX],
    }
]
REFERENCES = {"routeRefs": [{"name": "internal"}]}
ONLY = {**REFERENCES, "gatewayRefs": []}


def internal(kind="HTTPRoute", rules=RULES, **metadata):
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": "internal", "labels": {"team": "web"}, **metadata},
        "spec": {"parentRefs": [{"name": "mine"}], "rules": rules},
    }


@pytest.fixture
def server():
    routed = (ref.kind for name in (V1, *VARIANTS) for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed)), bookmark=0.5) as running:
        yield running


@pytest.fixture
async def bench(client, api, server, namespace):
    async with AsyncExitStack() as stack:
        yield Bench(stack, client, api, server, namespace)


def read(bench, kind="HTTPRoute"):
    return bench.api.get(f"/apis/{GROUP}/v1/namespaces/{bench.namespace}/{kind.lower()}s/internal")


def shares(body):
    return [{part["name"]: part["weight"] for part in rule["backendRefs"]} for rule in body["spec"]["rules"]]


def is_the_owners(body):
    """Check a route. The server in memory records no field managers, so the annotations for GitOps tools stay here."""
    annotations = body["metadata"].get("annotations") or {}
    return body["spec"]["rules"] == RULES and not annotations.keys() - GITOPS_OPT_OUT.keys()


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("service", [REFERENCES, ONLY], ids=["beside the Canary's route", "alone"])
async def test_a_named_route_follows_the_weights_and_is_the_owners_again_at_the_end(bench, service, kind):
    await bench.begin(V1, internal(kind), service={**service, "routeRefs": [{"kind": kind, "name": "internal"}]})
    assert is_the_owners(read(bench, kind))
    for weight in (20, 60):
        await bench.converge(Routes(weight=weight))
        body = read(bench, kind)
        assert shares(body) == [{"podinfo-primary": 100 - weight, "podinfo-canary": weight}]
        assert body["spec"]["rules"][0]["filters"] == RULES[0]["filters"]
        assert body["metadata"]["labels"] == {"team": "web"}
        assert body["metadata"]["annotations"].items() >= GITOPS_OPT_OUT.items()
        assert "ownerReferences" not in body["metadata"]
    await bench.converge(Routes())
    assert is_the_owners(read(bench, kind))


async def test_writing_the_same_weight_again_changes_nothing(bench):
    await bench.begin(V1, internal(), service=REFERENCES)
    await bench.converge(Routes(weight=20))
    before = read(bench)
    await bench.restart()
    await bench.converge(Routes(weight=20))
    await bench.router.set_routes(bench.rollout, Routes(weight=20))
    assert read(bench) == before


async def test_a_change_of_the_owner_is_kept_and_the_split_repaired(bench):
    """A GitOps tool or the owner applies the route again in the middle of a rollout."""
    await bench.begin(V1, internal(), service=REFERENCES)
    await bench.converge(Routes(weight=20))
    rules = [*RULES, {"backendRefs": [{**APEX, "name": "other"}]}]
    bench.api.patch(bench.api.path({**internal(), "metadata": read(bench)["metadata"]}), {"spec": {"rules": rules}})

    async def is_repaired():
        await bench.converge(Routes(weight=20))
        return shares(read(bench)) == [{"podinfo-primary": 80, "podinfo-canary": 20}, {"other": 1}]

    await until(is_repaired)
    await bench.converge(Routes())
    assert read(bench)["spec"]["rules"] == rules


@pytest.mark.parametrize("service", [REFERENCES, ONLY], ids=["beside the Canary's route", "alone"])
async def test_a_canary_that_goes_in_the_middle_of_a_rollout_gives_the_route_back(bench, service):
    await bench.begin(V1, internal(), service=service)
    await bench.converge(Routes(weight=20))
    await bench.router.restore(bench.rollout)
    assert is_the_owners(read(bench))
    assert "HTTPRoute podinfo" not in bench.objects()


async def test_a_route_that_the_canary_no_longer_names_is_given_back(bench):
    await bench.begin(V1, internal(), service=REFERENCES)
    await bench.converge(Routes(weight=20))
    await bench.edit(service={"routeRefs": None})
    await bench.converge(Routes(weight=20))
    assert is_the_owners(read(bench))


async def test_a_missing_route_stops_the_next_weight_and_no_rollback(bench, client):
    await bench.begin(V1, service=REFERENCES)
    with pytest.raises(Refused, match=r"spec\.service\.routeRefs\[0\]: found no HTTPRoute internal"):
        await bench.router.set_routes(bench.rollout, Routes(weight=20))
    await bench.converge(Routes())
    report = await check_cluster(client, namespace=bench.namespace)
    (problem,) = (problem for problem in report.problems if problem.path == "spec.service.routeRefs[0]")
    assert problem.found == f"no HTTPRoute internal in the namespace {bench.namespace}"


async def test_a_route_of_another_canary_is_left_alone(bench):
    owner = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "other", "uid": "u"}
    await bench.begin(V1, internal(ownerReferences=[owner]), service=REFERENCES)
    with pytest.raises(ForeignObjectError, match="belongs to the Canary other"):
        await bench.router.set_routes(bench.rollout, Routes(weight=20))
    assert is_the_owners(read(bench))


async def test_a_split_route_counts_when_its_gateway_has_accepted_it(bench, server):
    await bench.begin(V1, internal(), service=REFERENCES)
    accept = server.objects.controllers[GROUP, "httproutes"]

    def judge(body):
        return {"parents": []} if body["metadata"]["name"] == "internal" else accept(body)

    server.objects.controllers[GROUP, "httproutes"] = judge
    await bench.router.set_routes(bench.rollout, Routes(weight=20))
    refusal = await bench.router.observe(bench.rollout)
    assert isinstance(refusal, RouteRefusal)
    assert (refusal.is_pending, "HTTPRoute internal" in refusal.reason) == (True, True)
