"""Parts that a user removes from a Canary or renames in it: their objects go when the new ones are in place."""

from __future__ import annotations

from contextlib import AsyncExitStack
from copy import deepcopy

import pytest

from canarycore import Phase, Routes, Status
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_kubernetes.api.ownership import OWNER_ANNOTATION
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.new_targets import NewTargetStore
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from canarycore_runtime.ports import StoredRollout
from tests.adapters.mesh.meshes import ENTRIES, VARIANTS, manifest, mesh_of, render_context, sources
from tests.cluster.patience import until
from tests.cluster.workloads import BY_HPA, BY_KEDA, HPA_BODY, KEDA_BODY, pods
from tests.controlplane.in_memory.server import faked

CANARY = "podinfo"
NO_DRAIN = {"drain": "0s"}


@pytest.fixture
def server():
    names = (*ENTRIES, *VARIANTS)
    routed = (ref.kind for name in names for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed)), bookmark=0.5) as running:
        yield running


class Bench:
    """One Canary with its router and its workloads, and a user who edits it."""

    def __init__(self, stack, client, api, server, namespace):
        self.stack, self.client, self.api, self.server, self.namespace = stack, client, api, server, namespace

    async def start(self):
        """Begin with an empty memory, as a new process does."""
        self.cluster = await self.stack.enter_async_context(Cluster(self.client))
        self.canaries = Canaries(self.cluster)
        self.router = MeshRouter(self.cluster, self.canaries)
        self.workload = ClusterWorkloads(self.cluster, self.canaries, router=self.router)

    async def restart(self):
        await self.start()
        await self.load(lambda rollout: True)
        await self.router.observe(self.rollout)
        await self.router.find_leftovers()

    async def begin(self, provider, *others, analysis=NO_DRAIN, **spec):
        await self.start()
        for body in (pods("Deployment", "podinfo:6.0.0"), *others, *sources(provider, self.namespace)):
            self.api.create(deepcopy(body), self.namespace)
        self.body = manifest(provider, namespace=self.namespace, analysis={**NO_DRAIN, **analysis}, **spec)
        self.api.create(self.body)
        await self.load(lambda rollout: True)
        revision = (await until(self.target)).revision
        await self.workload.initialise(self.rollout, revision)
        await self.converge(Routes())
        await self.workload.scale_down(self.rollout)
        return self

    async def target(self):
        return (await self.workload.observe(self.rollout)).target

    async def load(self, is_new):
        async def look():
            stored = await self.canaries.load(f"{self.namespace}/{CANARY}")
            return stored is not None and is_new(stored.rollout) and stored.rollout

        self.rollout = await until(look)

    async def edit(self, **spec):
        """Replace parts of the Canary's spec; None removes one."""
        before = self.canaries.require(self.rollout).manifest
        self.api.patch(self.api.path(self.body), {"spec": spec})
        await self.load(lambda rollout: self.canaries.require(rollout).manifest is not before)

    async def converge(self, routes, watch=lambda: None):
        """Set the routes until an observation finds them, as a controller does."""

        async def are_set():
            watch()
            if await self.router.observe(self.rollout) != routes:
                await self.router.set_routes(self.rollout, routes)
            watch()
            return await self.router.observe(self.rollout) == routes and not self.router.leftovers(self.rollout)

        await until(are_set)

    async def has_no_primary(self):
        return (await self.workload.observe(self.rollout)).primary is None

    async def primary_is(self, *, ready):
        return (await self.workload.observe(self.rollout)).primary.ready == ready

    def service(self, name):
        metadata = {"name": name, "namespace": self.namespace}
        return self.api.get(self.api.path({"apiVersion": "v1", "kind": "Service", "metadata": metadata}))

    def objects(self):
        tables = [list(table.objects.items()) for table in list(self.server.objects.tables.values())]
        found = [body for table in tables for (namespace, _), body in table if namespace in ("", self.namespace)]
        return {f"{body['kind']} {body['metadata']['name']}" for body in found}


class OneStatus:
    """A store of one rollout."""

    def __init__(self, rollout, status):
        self.stored = StoredRollout(rollout=rollout, status=status, version="1")

    async def load(self, _):
        return self.stored


@pytest.fixture
async def bench(client, api, server, namespace):
    async with AsyncExitStack() as stack:
        yield Bench(stack, client, api, server, namespace)


@pytest.mark.parametrize("is_new_process", [False, True])
@pytest.mark.parametrize("weight", [0, 20])
async def test_a_renamed_service_takes_the_old_services_and_routes_with_it(bench, weight, is_new_process):
    await bench.begin("istio", service={"name": "web"})
    await bench.converge(Routes(weight=weight))
    await bench.edit(service={"name": "shop"})
    if is_new_process:
        await bench.restart()
    new = {"Service shop", "Service shop-primary", "Service shop-canary", "VirtualService shop"}

    def watch():
        objects = bench.objects()
        assert new <= objects or {"Service web", "Service web-primary", "VirtualService web"} <= objects

    await bench.converge(Routes(weight=weight), watch)
    objects = bench.objects()
    assert new <= objects
    assert not [name for name in objects if name.partition(" ")[2].startswith("web")]


@pytest.mark.parametrize("is_new_process", [False, True])
async def test_another_provider_takes_the_old_routes_with_it(bench, is_new_process):
    await bench.begin("istio", *sources("nginx", bench.namespace))
    await bench.converge(Routes(weight=20))
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"}
    await bench.edit(provider="nginx", ingressRef=ingress)
    if is_new_process:
        await bench.restart()

    def watch():
        assert bench.objects() & {"Ingress web-canary", "VirtualService podinfo"}

    await bench.converge(Routes(weight=20), watch)
    objects = bench.objects()
    assert "Ingress web-canary" in objects
    assert "Ingress web" in objects
    assert not [name for name in objects if name.startswith(("VirtualService", "DestinationRule"))]


@pytest.mark.parametrize(("before", "after"), [("gatewayapi:v1beta1", "gatewayapi:v1"), ("nginx", "skipper")])
async def test_a_route_that_both_providers_have_stays(bench, before, after):
    await bench.begin(before)
    await bench.edit(provider=after)
    await bench.converge(Routes(weight=20))
    assert {"HTTPRoute podinfo", "Ingress web-canary"} & bench.objects()


@pytest.mark.parametrize("is_new_process", [False, True])
@pytest.mark.parametrize(("before", "after"), [("HTTPRoute", "GRPCRoute"), ("GRPCRoute", "HTTPRoute")])
async def test_a_route_of_another_kind_goes_when_the_new_one_is_in_place(bench, before, after, is_new_process):
    await bench.begin("gatewayapi:v1", service={"routeKind": before})
    await bench.converge(Routes(weight=20))
    await bench.edit(service={**bench.body["spec"]["service"], "routeKind": after})
    if is_new_process:
        await bench.restart()
    both = {f"{before} podinfo", f"{after} podinfo"}

    def watch():
        assert both & bench.objects()

    await bench.converge(Routes(weight=20), watch)
    assert both & bench.objects() == {f"{after} podinfo"}


@pytest.mark.parametrize(("reference", "scaler"), [(BY_HPA, HPA_BODY), (BY_KEDA, KEDA_BODY)])
async def test_an_autoscaler_that_the_canary_no_longer_names_takes_its_copy_with_it(bench, reference, scaler):
    await bench.begin("istio", scaler, autoscalerRef=reference)
    await bench.workload.pause_scaler(bench.rollout)
    original = f"{scaler['kind']} {scaler['metadata']['name']}"
    assert f"{original}-primary" in bench.objects()
    await bench.edit(autoscalerRef=None)
    await bench.converge(Routes())
    assert original in bench.objects()
    assert f"{original}-primary" not in bench.objects()
    if scaler is KEDA_BODY:
        body = bench.api.get(bench.api.path({**scaler, "metadata": {"name": "so", "namespace": bench.namespace}}))
        assert "autoscaling.keda.sh/paused-replicas" not in (body["metadata"].get("annotations") or {})


async def test_a_renamed_autoscaler_takes_the_old_copy_with_it_once_the_new_one_is_there(bench):
    other = {**HPA_BODY, "metadata": {"name": "other"}}
    await bench.begin("istio", HPA_BODY, other, autoscalerRef=BY_HPA)
    await bench.edit(autoscalerRef={**BY_HPA, "name": "other"})
    copies = {f"HorizontalPodAutoscaler {name}-primary" for name in ("podinfo", "other")}

    def watch():
        assert copies & bench.objects()

    await bench.converge(Routes(), watch)
    assert copies & bench.objects() == {"HorizontalPodAutoscaler other-primary"}


async def test_a_copy_stays_where_the_autoscaler_that_the_canary_names_now_is_missing(bench):
    await bench.begin("istio", HPA_BODY, autoscalerRef=BY_HPA)
    await bench.edit(autoscalerRef={**BY_HPA, "name": "missing"})
    await bench.converge(Routes())
    assert "HorizontalPodAutoscaler podinfo-primary" in bench.objects()


async def test_a_target_that_was_handed_over_stays(bench):
    await bench.begin("istio")
    metadata = {"name": "podinfo", "namespace": bench.namespace}
    path = bench.api.path({**pods("Deployment", ""), "metadata": metadata})
    bench.api.patch(path, {"metadata": {"annotations": {OWNER_ANNOTATION: f"{bench.namespace}/{CANARY}"}}})
    await bench.restart()
    await bench.converge(Routes())
    assert "Deployment podinfo" in bench.objects()


async def test_an_object_of_somebody_else_with_the_former_name_stays(bench):
    await bench.begin("istio", service={"name": "web"})
    path = bench.api.path(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-canary", "namespace": bench.namespace}}
    )
    bench.api.delete(path)
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-canary"},
        "spec": {"selector": {"app": "x"}, "ports": [{"port": 1}]},
    }
    bench.api.create(theirs, bench.namespace)
    await bench.edit(service={"name": "shop"})
    await bench.converge(Routes())
    assert "Service web-canary" in bench.objects()


async def test_a_route_that_was_taken_over_is_given_back(bench):
    backends = [{"backendRefs": [{"name": "podinfo", "port": 9898}]}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "podinfo", "labels": {"team": "web"}},
        "spec": {"parentRefs": [{"name": "mine"}], "rules": backends},
    }
    await bench.begin("gatewayapi:v1", route)
    await bench.converge(Routes(weight=20))
    await bench.edit(provider="istio")
    await bench.converge(Routes(weight=20))
    body = bench.api.get(bench.api.path({**route, "metadata": {"name": "podinfo", "namespace": bench.namespace}}))
    assert body["spec"]["rules"] == backends


@pytest.mark.parametrize("is_new_process", [False, True])
async def test_a_new_target_begins_a_rollout_and_takes_the_former_primary_with_it(bench, is_new_process):
    await bench.begin("istio", service={"name": "web"})
    target = pods("Deployment", "shop:1")
    target["metadata"] = {"name": "shop"}
    target["spec"]["selector"]["matchLabels"] = target["spec"]["template"]["metadata"]["labels"] = {"app": "shop"}
    bench.api.create(target, bench.namespace)
    await bench.edit(targetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"})
    if is_new_process:
        await bench.restart()
    status = Status(phase=Phase.SUCCEEDED, since=0.0, applied="old", promoted="old", handled="abort-1")
    store = NewTargetStore(OneStatus(bench.rollout, status), bench.workload)
    assert (await store.load("any")).status == Status(handled="abort-1")

    revision = (await until(bench.target)).revision
    before = bench.service("web-primary")
    await bench.workload.initialise(bench.rollout, revision)
    assert bench.service("web-primary") == before
    assert (await store.load("any")).status == status  # the new primary exists

    path = bench.api.path({**target, "metadata": {"name": "shop-primary", "namespace": bench.namespace}})
    bench.api.patch(path, {"spec": {"replicas": 0}})
    await until(lambda: bench.primary_is(ready=0))
    for _ in range(5):
        await bench.router.set_routes(bench.rollout, Routes())
    assert "Deployment podinfo-primary" in bench.objects()
    bench.api.patch(path, {"spec": {"replicas": 2}})
    await until(lambda: bench.primary_is(ready=2))
    await bench.converge(Routes())
    assert "Deployment podinfo-primary" not in bench.objects()
    assert {"Deployment podinfo", "Deployment shop", "Deployment shop-primary"} <= bench.objects()
    assert bench.service("web-primary")["spec"]["selector"] == {"app": "shop-primary"}


@pytest.mark.parametrize("service", [{"name": "web"}, {}])
async def test_a_new_target_in_a_rollout_leaves_no_traffic_on_the_former_target(bench, service):
    await bench.begin("istio", service=service)
    await bench.converge(Routes(weight=40))
    target = pods("Deployment", "shop:1")
    target["metadata"] = {"name": "shop"}
    target["spec"]["selector"]["matchLabels"] = target["spec"]["template"]["metadata"]["labels"] = {"app": "shop"}
    bench.api.create(target, bench.namespace)
    await bench.edit(targetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"})
    revision = (await until(bench.target)).revision
    await bench.router.observe(bench.rollout)
    apex = service.get("name", "podinfo")
    before = bench.service(f"{apex}-primary")
    await bench.workload.initialise(bench.rollout, revision)
    metadata = {"name": apex, "namespace": bench.namespace}
    route = {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService", "metadata": metadata}
    destinations = bench.api.get(bench.api.path(route))["spec"]["http"][0]["route"]
    assert [(part["destination"]["host"], part["weight"]) for part in destinations] == [
        (f"{apex}-primary", 100),
        (f"{apex}-canary", 0),
    ]
    assert bench.service(f"{apex}-primary") == before


async def test_a_primary_that_was_deleted_begins_no_rollout(bench):
    await bench.begin("istio")
    bench.api.delete(
        bench.api.path(
            {**pods("Deployment", ""), "metadata": {"name": "podinfo-primary", "namespace": bench.namespace}}
        )
    )
    await until(bench.has_no_primary)
    status = Status(phase=Phase.SUCCEEDED, since=0.0, applied="old", promoted="old")
    assert (await NewTargetStore(OneStatus(bench.rollout, status), bench.workload).load("any")).status == status
