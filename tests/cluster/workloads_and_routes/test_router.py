"""Routes on a real API server, with every mesh's own definitions: the contract for each mesh, and its requests."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from attrs import evolve

from canarycore import RouteRefusal, Routes, Status
from canarycore.errors import Conflict, Refused, WorldError
from canarycore.manifest import parse, resolve
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KNATIVE_SERVICE, SERVICE
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.api.ownership import OWNER_ANNOTATION
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS
from canarycore_kubernetes.resources.refusals import BlockedRollouts
from canarycore_kubernetes.routing.reversions import REPAIRS
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.routing.takeover import NOTE
from canarycore_planes.control_plane.api import MANAGER
from canarycore_runtime.mesh import GITOPS_OPT_OUT, PodSelectors, Ref, RenderContext
from canarycore_runtime.testing.contracts import RouterContract
from tests.adapters.mesh.meshes import AB, manifest, mesh_of, sources
from tests.controlplane import crds
from tests.controlplane.rights import account
from tests.manifest.samples import shared

SPLITTING = (
    *("alb", "apisix", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gatewayapi:v1beta1", "gloo", "istio"),
    *("knative", "kuma", "linkerd", "nginx", "osm", "skipper", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3"),
    "traefik",
)
CAN = {
    **dict.fromkeys(("istio", "gatewayapi:v1", "gatewayapi:v1beta1"), frozenset({"matched", "mirrored"})),
    **dict.fromkeys(("alb", "appmesh", "appmesh:v1beta2", "contour", "gloo", "nginx"), frozenset({"matched"})),
}


def weights_of(parts, name=lambda part: part["name"], weight="weight"):
    """Return the weights of primary and canary. A missing side gets nothing, a side alone gets everything."""
    weights = {name(part): int(part.get(weight, 0)) for part in parts}
    sides = [next((weights[one] for one in weights if side in one), 0) for side in ("primary", "canary")]
    return (100, 0) if len(weights) == 1 and "primary" in next(iter(weights)) else tuple(sides)


def from_annotation(body):
    weight = int(body["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"])
    return 100 - weight, weight


def from_json(body):
    text = body["metadata"]["annotations"]["zalando.org/backend-weights"]
    found = dict(part.split(":") for part in text.strip("{}").replace('"', "").split(","))
    return int(found["podinfo-primary"]), int(found["podinfo-canary"])


def of_alb(body):
    action = json.loads(body["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.podinfo"])
    return weights_of(action["forwardConfig"]["targetGroups"], lambda part: part["serviceName"])


def of_knative(body):
    percent = {bool(part.get("latestRevision")): part["percent"] for part in body["spec"]["traffic"]}
    return percent[False], percent[True]


def of_gloo(body):
    route = body["spec"]["routes"][-1]
    destinations = route["routeAction"]["multi"]["destinations"]
    beside = (100, 0)  # a delegating table routes the unmatched requests
    return (
        beside
        if "matchers" in route
        else weights_of(destinations, lambda part: part["destination"]["upstream"]["name"])
    )


def of_smi(body):
    return weights_of(body["spec"]["backends"], lambda part: part["service"])


WRITTEN = {
    "alb": of_alb,
    "apisix": lambda body: weights_of(body["spec"]["http"][0]["backends"], lambda part: part["serviceName"]),
    "appmesh": lambda body: weights_of(
        body["spec"]["routes"][-1]["http"]["action"]["weightedTargets"], lambda part: part["virtualNodeName"]
    ),
    "appmesh:v1beta2": lambda body: weights_of(
        body["spec"]["routes"][-1]["httpRoute"]["action"]["weightedTargets"],
        lambda part: part["virtualNodeRef"]["name"],
    ),
    "contour": lambda body: weights_of(body["spec"]["routes"][-1]["services"]),
    "gatewayapi:v1": lambda body: weights_of(body["spec"]["rules"][-1]["backendRefs"]),
    "gatewayapi:v1beta1": lambda body: weights_of(body["spec"]["rules"][-1]["backendRefs"]),
    "gloo": of_gloo,
    "istio": lambda body: weights_of(body["spec"]["http"][-1]["route"], lambda part: part["destination"]["host"]),
    "knative": of_knative,
    "kuma": lambda body: weights_of(body["spec"]["conf"]["split"], lambda part: part["destination"]["kuma.io/service"]),
    "nginx": from_annotation,
    "skipper": from_json,
    "traefik": lambda body: weights_of(body["spec"]["weighted"]["services"]),
    **dict.fromkeys(("linkerd", "osm", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3"), of_smi),
}
"""Readers of the weights in the splitting object, as its mesh applies them to requests without a match."""

SPLITS = {
    "alb": "web",
    "appmesh": "podinfo.{namespace}",
    "apisix": "web-podinfo-canary",
    **dict.fromkeys(("nginx", "skipper"), "web-canary"),
}
"""The name of the splitting object, where it is not the app's."""


def path(ref):
    return ref.kind.path(ref.namespace, ref.name)


class Bench:
    """A router and one Canary on a provider. It serves the contract's rollouts, by weights or by a header."""

    def __init__(self, provider, namespace, cluster, api):
        self.provider, self.namespace, self.api = provider, namespace, api
        self.can = CAN.get(provider, frozenset())
        self.cluster = cluster
        self.canary = api.create(
            {**manifest("istio", namespace=namespace), "metadata": {"name": "podinfo", "namespace": namespace}}
        )
        self.given = {}
        self.router = MeshRouter(cluster, self)
        self.adapter = self

    # the router of the contract ----------------------------------------------------------------------------------

    def rollout(self, like=None, **given):
        """Return the Canary as a rollout: the same object for the same manifest."""
        if like is not None and like.match:
            given.setdefault("analysis", AB)
        body = manifest(self.provider, namespace=self.namespace, **given)
        key = repr(body)
        if key not in self.given:
            canary = parse(body)
            self.given[key] = (canary, resolve(canary))
        self.manifest, rollout = self.given[key]
        return rollout

    def require(self, rollout):
        """Return the Canary as `Canaries.require` does."""
        canary = next((canary for canary, known in self.given.values() if known is rollout), None)
        if canary is None:
            raise WorldError(f"canary {rollout.full_name} is gone")
        return SimpleNamespace(manifest=canary, status=Status(), is_deleted=False, uid=self.canary["metadata"]["uid"])

    async def observe(self, like=None, **given):
        return await self.judged(self.rollout(like, **given))

    async def judged(self, rollout):
        """Return the routes once the gateway has judged them."""
        for _ in range(200):
            routes = await self.router.observe(rollout)
            if not (isinstance(routes, RouteRefusal) and routes.is_pending):
                break
            await asyncio.sleep(0.05)
        return routes

    async def set_routes(self, like, routes, **given):
        """Set the routes, and wait until the gateway has judged them, so that later writes are the router's."""
        rollout = self.rollout(like, **given)
        await self.router.set_routes(rollout, routes)
        await self.judged(rollout)

    async def restore(self, like=None, **given):
        """Restore, as often as an object has changed since the cache read it."""
        rollout = self.rollout(like, **given)
        for _ in range(200):
            with suppress(Conflict):
                return await self.router.restore(rollout)
            await asyncio.sleep(0.05)
        return await self.router.restore(rollout)

    # other writers -----------------------------------------------------------------------------------------------

    @property
    def owner(self):
        return owner_reference("podinfo", self.canary["metadata"]["uid"])

    @property
    def asked(self):
        return RenderContext(rollout=self.rollout(), canary=self.manifest, pods=PodSelectors.by_label("app", "podinfo"))

    @property
    def splitting(self):
        """Return the place of the splitting object."""
        name = SPLITS.get(self.provider, "podinfo").format(namespace=self.namespace)
        refs = mesh_of(self.provider).refs(self.asked)
        kinds = ("VirtualNode", "DestinationRule", "Upstream")
        return next(ref for ref in refs if ref.name == name and ref.kind.kind not in kinds)

    def body(self, ref=None):
        return self.api.get(path(ref or self.splitting))

    async def written(self):
        return WRITTEN[self.provider](self.body())

    async def snapshot(self):
        services = (self.service(suffix) for suffix in ("", "-primary", "-canary"))
        refs = [*mesh_of(self.provider).refs(self.asked), *services]
        return [self.body(ref) for ref in refs]

    def service(self, suffix=""):
        return Ref(kind=SERVICE, namespace=self.namespace, name=f"podinfo{suffix}")

    async def meddle(self):
        self.api.patch(path(self.splitting), {"metadata": {"annotations": {"example.com/theirs": "1"}}})
        await self.heard(self.splitting)

    async def meddled(self):
        return self.body()["metadata"]["annotations"].get("example.com/theirs") == "1"

    async def heard_all(self):
        """Wait until the caches have the objects written before the first observation."""
        await self.observe()
        await self.heard(self.splitting)

    async def heard(self, ref):
        """Wait until the writes of others have reached the cache."""
        cache = await self.cluster.cache(
            snapshot_view(ref.kind, status=ref.kind in mesh_of(self.provider).statuses)
        ).ready()
        version = int(self.body(ref)["metadata"]["resourceVersion"])
        for _ in range(1000):
            if int(cache.version(ref.namespace, ref.name) or 0) >= version:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{ref} was not heard of")


def deployment(namespace):
    containers = [
        {
            "name": "podinfod",
            "image": "podinfo:6.0.0",
            "ports": [{"name": "http", "containerPort": 9898}, {"name": "metrics", "containerPort": 9797}],
        }
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "podinfo", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "podinfo"}},
            "template": {"metadata": {"labels": {"app": "podinfo"}}, "spec": {"containers": containers}},
        },
    }


def put(provider, namespace, api):
    """Create the objects that exist before a Canary."""
    api.create(deployment(namespace))
    for body in sources(provider, namespace):
        api.create(body)
        if "status" in body:
            where = KNATIVE_SERVICE.path(namespace, body["metadata"]["name"])
            api.patch(f"{where}/status", {"status": body["status"]})


@pytest.fixture
def kubeconfig(request, plane, installed):
    """Return the controller's kubeconfig, with its installed rights: for a contract's provider, or for all."""
    provider = getattr(request.cls, "provider", None)
    return plane.kubeconfig(installed(*([provider] if provider else ROUTING_RIGHTS)), "controller")


class Contract(RouterContract):
    provider: str

    @pytest.fixture
    def before(self, namespace, api):
        put(self.provider, namespace, api)

    @pytest.fixture
    async def bench(self, before, namespace, cluster, api):
        made = Bench(self.provider, namespace, cluster, api)
        where = None if made.splitting.kind.namespaced else path(made.splitting)
        if where and api.get(where):  # an earlier test left its route, which is in no namespace
            api.delete(where)
        yield made
        if where:
            api.delete(where)


for _provider in SPLITTING:
    _name = "Test" + "".join(word.capitalize() for word in _provider.replace(":", "-").split("-"))
    globals()[_name] = type(_name, (Contract,), {"provider": _provider, "__module__": __name__})


@pytest.fixture(scope="class")
def in_version_1beta1(plane):
    _exchange(plane.api, "appmesh", "appmesh-v1beta1")
    yield
    _exchange(plane.api, "appmesh-v1beta1", "appmesh")


@pytest.mark.usefixtures("in_version_1beta1")
class TestAppMeshV1Beta1(Contract):
    """Its kinds are those of v1beta2 in another version. A server has only one of the two."""

    provider = "appmesh"


def _exchange(api, old, new):
    where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for body in crds.definitions(old):
        api.delete(f"{where}/{body['metadata']['name']}")
    for body in crds.definitions(old):
        _gone(api, f"{where}/{body['metadata']['name']}")
    crds.install(api, new)


def _gone(api, where):
    for _ in range(600):
        if api.get(where) is None:
            return
        time.sleep(0.05)
    raise AssertionError(f"{where} is still there")


# costs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["istio", "gatewayapi:v1", "appmesh:v1beta2", "nginx"])
async def bench(request, namespace, cluster, api):
    put(request.param, namespace, api)
    return Bench(request.param, namespace, cluster, api)


@pytest.fixture
async def istio(namespace, cluster, api):
    put("istio", namespace, api)
    return Bench("istio", namespace, cluster, api)


async def test_an_advance_is_one_write_and_no_read(bench, plane):
    await bench.set_routes(None, Routes())
    await bench.observe()
    mark = plane.audit.mark()
    await bench.set_routes(None, Routes(weight=20))
    assert await bench.observe() == Routes(weight=20)
    asked = plane.audit.since(mark, user=account(bench.namespace))
    assert {verb: count for (verb, _), count in asked.items() if verb != "watch"} == {"patch": 1}


async def test_observing_routes_sends_no_request_and_reads_objects_once(bench, plane, monkeypatch):
    await bench.set_routes(None, Routes(weight=20))
    await bench.observe()
    mark, read = plane.audit.mark(), []
    monkeypatch.setattr(bench.router, "_read_routes", read.append)
    for _ in range(5):
        assert await bench.observe() == Routes(weight=20)
    assert not read
    asked = plane.audit.since(mark, user=account(bench.namespace))
    assert not [verb for verb, _ in asked if verb != "watch"]


async def test_another_process_finds_nothing_to_write(bench, plane, client):
    await bench.set_routes(None, Routes(weight=20))
    async with Cluster(client, namespace=bench.namespace) as other:
        bench.router = MeshRouter(other, bench)
        assert await bench.observe() == Routes(weight=20)
        mark = plane.audit.mark()
        await bench.set_routes(None, Routes(weight=20))
        asked = plane.audit.since(mark, user=account(bench.namespace))
        assert not [verb for verb, _ in asked if verb in ("patch", "create")]


async def test_the_router_forgets_deleted_rollouts(istio, monkeypatch):
    monkeypatch.setattr("canarycore_kubernetes.routing.router._SMALLEST_SWEEP", 3)
    istio.router = MeshRouter(istio.cluster, istio)
    await istio.observe()
    gone = [evolve(istio.rollout(), name=f"gone-{number}") for number in range(5)]
    for rollout in gone:
        istio.given[rollout.name] = (istio.manifest, rollout)
        await istio.router.observe(rollout)
        del istio.given[rollout.name]
    assert len(istio.router._views) <= 3


# before the primary runs --------------------------------------------------------------------------------------------


async def test_prepare_makes_the_sides_services_and_no_routes(bench):
    await bench.router.prepare(bench.rollout())
    assert bench.body(bench.service("-primary"))["spec"]["selector"] == {"app": "podinfo-primary"}
    assert bench.body(bench.service("-canary"))["spec"]["selector"] == {"app": "podinfo"}
    assert bench.body(bench.service()) is None
    assert bench.body() is None
    assert await bench.observe() is None


async def test_prepare_makes_the_nodes_of_app_mesh(namespace, cluster, api):
    put("appmesh:v1beta2", namespace, api)
    bench = Bench("appmesh:v1beta2", namespace, cluster, api)
    await bench.router.prepare(bench.rollout())
    nodes = api.list(bench.splitting.kind.path(namespace).replace("virtualrouters", "virtualnodes"))
    assert {node["metadata"]["name"] for node in nodes} == {"podinfo-primary", "podinfo-canary"}


async def test_without_a_target_routes_are_refused_with_the_reason(namespace, cluster, api):
    bench = Bench("istio", namespace, cluster, api)
    assert await bench.observe() is None
    with pytest.raises(Refused, match=f"deployment podinfo.{namespace} is missing"):
        await bench.set_routes(None, Routes())


async def test_an_unknown_provider_is_an_error_that_names_those_installed(istio):
    rollout = evolve(istio.rollout(), provider="consul")
    istio.given["consul"] = (istio.manifest, rollout)
    refusal = await istio.router.observe(rollout)
    assert isinstance(refusal, RouteRefusal)
    assert "unknown meshes 'consul': installed are alb, apisix, appmesh" in refusal.reason


async def test_a_provider_may_name_the_mesh_behind_an_interface(istio):
    interface, mesh = (istio.router.mesh(name) for name in ("smi:v1alpha1", "smi:v1alpha1:istio"))
    assert mesh.queries == interface.queries


# outside writers ----------------------------------------------------------------------------------------------------


async def test_a_changed_base_field_hides_the_routes_until_it_is_repaired(istio):
    await istio.set_routes(None, Routes(weight=20))
    istio.api.patch(path(istio.splitting), {"spec": {"hosts": ["elsewhere.example.com"]}})
    await istio.heard(istio.splitting)
    assert await istio.observe() is None
    await istio.set_routes(None, Routes(weight=20))
    assert istio.body()["spec"]["hosts"] == ["podinfo"]
    assert await istio.observe() == Routes(weight=20)


async def test_a_writer_who_changes_the_routes_back_again_and_again_is_named(istio, cluster):
    refusals, apex = BlockedRollouts(), istio.service()
    istio.router = MeshRouter(cluster, istio, refusals=refusals)
    await istio.set_routes(None, Routes())
    for _ in range(REPAIRS):
        assert refusals.text(f"{istio.namespace}/podinfo") == ""
        selector = {"selector": {"app": "podinfo"}, "ports": [{"port": 9898}]}
        istio.api.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"}, "spec": selector},
                        istio.namespace)  # fmt: skip
        await istio.heard(apex)
        assert await istio.observe() is None
        await istio.set_routes(None, Routes())
        assert istio.body(apex)["spec"]["selector"] == {"app": "podinfo-primary"}
    text = refusals.text(f"{istio.namespace}/podinfo")
    assert text.startswith(f"Service podinfo, spec.selector.app: {MANAGER} changes this back each time"), text
    assert refusals.reason(f"{istio.namespace}/podinfo") == "RoutesChangedBack"


async def test_a_changed_weight_is_observed(istio):
    await istio.set_routes(None, Routes(weight=20))
    route = istio.body()["spec"]["http"]
    route[0]["route"][0]["weight"], route[0]["route"][1]["weight"] = 50, 50
    istio.api.patch(path(istio.splitting), {"spec": {"http": route}})
    await istio.heard(istio.splitting)
    assert await istio.observe() == Routes(weight=50)


async def test_fields_of_others_stay_beside_ours(istio):
    await istio.set_routes(None, Routes())
    istio.api.patch(path(istio.splitting), {"spec": {"exportTo": ["."]}, "metadata": {"labels": {"theirs": "yes"}}})
    istio.api.patch(path(istio.service()), {"spec": {"sessionAffinity": "ClientIP"}})
    await istio.heard(istio.splitting)
    await istio.heard(istio.service())
    assert await istio.observe() == Routes()
    await istio.set_routes(None, Routes(weight=20))
    assert istio.body()["spec"]["exportTo"] == ["."]
    assert istio.body()["metadata"]["labels"] == {"theirs": "yes"}
    assert istio.body(istio.service())["spec"]["sessionAffinity"] == "ClientIP"


async def test_settings_that_the_owner_removed_go_even_if_flagger_wrote_them(istio, api):
    policy = {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    rule = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": "podinfo-canary", "ownerReferences": [istio.owner]},
        "spec": {"host": "podinfo-canary", **policy},
    }
    where = api.path(rule, istio.namespace)
    api.request("POST", where.rpartition("/")[0], rule, fieldManager="flagger")
    await istio.set_routes(None, Routes(), service=policy)
    assert api.get(where)["spec"] == rule["spec"]
    await istio.set_routes(None, Routes())
    assert api.get(where)["spec"] == {"host": "podinfo-canary"}
    assert api.get(where.replace("podinfo-canary", "podinfo-primary"))["spec"] == {"host": "podinfo-primary"}


async def test_an_object_changed_since_its_read_is_not_overwritten(istio):
    """The router reads an object again that somebody changed at the same moment."""
    await istio.set_routes(None, Routes())
    cache = await istio.cluster.cache(snapshot_view(istio.splitting.kind, status=True)).ready()
    cache.version = lambda *_: "1"
    with pytest.raises(Conflict):
        await istio.set_routes(None, Routes(weight=20))


# taking over and giving back ----------------------------------------------------------------------------------------


def adopted(namespace):
    """Return the objects of an owner before there is a Canary."""
    metadata = {"name": "podinfo", "namespace": namespace, "labels": {"own": "yes"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "annotations": {"own": "yes"}},
            "spec": {
                "selector": {"app": "podinfo", "tier": "web"},
                "ports": [{"name": "web", "port": 8080, "targetPort": "http"}],
            },
        },
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "VirtualService",
            "metadata": metadata,
            "spec": {
                "hosts": ["old.example.com"],
                "exportTo": ["*"],
                "http": [{"timeout": "3s", "route": [{"destination": {"host": "podinfo"}}]}],
            },
        },
    ]


def as_written(body):
    """Return the fields of an object that its owner wrote."""
    metadata = {name: body["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    return metadata, {name: value for name, value in body["spec"].items() if "cluster" not in name.lower()}


@pytest.fixture
async def taken_over(namespace, cluster, api):
    put("istio", namespace, api)
    for body in adopted(namespace):
        api.create(body)
    return Bench("istio", namespace, cluster, api)


async def test_objects_of_the_owner_are_taken_over_in_place(taken_over):
    bench = taken_over
    assert await bench.observe() is None
    await bench.set_routes(None, Routes(weight=20))
    assert await bench.observe() == Routes(weight=20)
    service, route = bench.body(bench.service()), bench.body()
    assert service["spec"]["selector"] == {"app": "podinfo-primary"}
    assert [port["name"] for port in service["spec"]["ports"]] == ["web"]
    assert route["metadata"]["labels"] == service["metadata"]["labels"] == {"own": "yes"}
    assert route["spec"]["exportTo"] == ["*"]
    assert "ownerReferences" not in route["metadata"] | service["metadata"]


async def test_all_objects_taken_over_are_given_back(taken_over):
    bench = taken_over
    before = [as_written(bench.body(ref)) for ref in (bench.service(), bench.splitting)]
    await bench.set_routes(None, Routes(weight=20))
    await bench.set_routes(None, Routes())
    await bench.restore()
    assert [as_written(bench.body(ref)) for ref in (bench.service(), bench.splitting)] == before
    assert await bench.observe() is None


async def test_an_object_given_back_can_be_taken_over_again(taken_over):
    bench = taken_over
    before = as_written(bench.body())
    for _ in range(2):
        await bench.set_routes(None, Routes(weight=20))
        await bench.restore()
    assert as_written(bench.body()) == before


async def test_an_object_of_kubectls_is_given_back_as_last_applied(taken_over):
    bench = taken_over
    later = {"spec": {"hosts": ["new.example.com"], "http": bench.body()["spec"]["http"]}}
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(later)}
    bench.api.patch(path(bench.splitting), {"metadata": {"annotations": annotation}})
    await bench.heard_all()
    await bench.set_routes(None, Routes(weight=20))
    assert NOTE not in bench.body()["metadata"]["annotations"]
    await bench.restore()
    assert bench.body()["spec"] == {**later["spec"], "exportTo": ["*"]}


async def test_one_write_switches_the_apex(taken_over, api):
    """So it selects pods at every moment."""
    bench = taken_over
    await bench.router.prepare(bench.rollout())
    assert bench.body(bench.service())["spec"]["selector"] == {"app": "podinfo", "tier": "web"}
    version = int(bench.body(bench.service())["metadata"]["resourceVersion"])
    await bench.set_routes(None, Routes())
    events = api.watch(SERVICE.path(bench.namespace), resourceVersion=str(version), timeoutSeconds=1)
    objects = [event["object"] for event in events]
    seen = [body["spec"]["selector"] for body in objects if body["metadata"]["name"] == "podinfo"]
    assert seen == [{"app": "podinfo-primary"}]


async def test_restore_deletes_our_objects_and_leads_the_apex_to_the_target(istio):
    await istio.set_routes(None, Routes(weight=20))
    await istio.restore()
    assert istio.body() is None
    assert istio.body(istio.service())["spec"]["selector"] == {"app": "podinfo"}


# after Flagger ------------------------------------------------------------------------------------------------------

FLAGGERS = (
    *("01-istio-canary-promote", "05-istio-ab", "16-istio-hpa", "22-istio-daemonset", "26-appmesh-canary"),
    *("27-appmesh-ab", "28-gatewayapi-canary", "29-gatewayapi-ab", "30-nginx-canary", "30b-nginx-ab"),
    *("31-traefik-canary", "32-contour-canary", "32b-contour-ab", "33-gloo-canary", "34-smi-canary"),
    *("34b-smi-v1alpha1", "35-apisix-canary", "37-kuma-canary", "48-istio-delegation"),
)


@pytest.mark.parametrize("name", FLAGGERS)
async def test_objects_of_flaggers_need_no_write(name, namespace, cluster, api, plane):
    """Flagger's Services, routes and ingresses equal ours."""
    trace = json.loads((shared("golden") / name / "trace.json").read_text())
    bench = After(trace, namespace, cluster, api)
    try:
        assert await bench.judged(bench.made) == Routes()
        mark = plane.audit.mark()
        await bench.router.set_routes(bench.made, Routes())
        asked = plane.audit.since(mark, user=account(namespace))
        assert not [verb for verb, _ in asked if verb in ("patch", "create")]
    finally:
        for where in bench.nowhere:
            api.delete(where)


class After(Bench):
    """A cluster as Flagger left it at the end of a recording."""

    def __init__(self, trace, namespace, cluster, api):
        self.nowhere = []
        old = next(flag.partition("=")[2] for flag in trace["flags"] if flag.startswith("-namespace="))
        provider = next(flag.partition("=")[2] for flag in trace["flags"] if flag.startswith("-mesh-provider="))
        final = json.loads(re.sub(rf"(?<![a-z0-9]){old}(?![a-z0-9])", namespace, json.dumps(_listed(trace["final"]))))
        (manifest,) = (body for body in final if body["kind"] == "Canary")
        super().__init__(provider, namespace, cluster, api)
        for body in final:
            if body["kind"] in ("Canary", "Namespace", "Pod", "ReplicaSet", "ConfigMap", "Secret", "Event"):
                continue
            self._put(body, api)
        canary = parse({name: value for name, value in manifest.items() if name != "status"})
        self.made = resolve(canary, provider=provider)
        self.given = {"": (canary, self.made)}

    def _put(self, body, api):
        metadata = {name: body["metadata"][name] for name in KEPT_METADATA if name in body["metadata"]}
        if "ownerReferences" in metadata:
            metadata["ownerReferences"] = [self.owner]
        spec = {name: value for name, value in body["spec"].items() if not name.startswith("clusterIP")}
        made = {**{name: value for name, value in body.items() if name != "status"}, "metadata": metadata, "spec": spec}
        where = api.path(made, self.namespace, named=False)
        api.request("POST", where, made, fieldManager="flagger")
        if "namespaces" not in where:
            self.nowhere.append(f"{where}/{metadata['name']}")


KEPT_METADATA = ("name", "labels", "annotations", "ownerReferences")


def _listed(final):
    return list(final.values()) if isinstance(final, dict) else final


# without a split, without pods, on another cluster --------------------------------------------------------------------


async def test_routes_of_plain_kubernetes_are_its_services(namespace, cluster, api):
    put("kubernetes", namespace, api)
    bench = Bench("kubernetes", namespace, cluster, api)
    assert await bench.observe() is None
    await bench.set_routes(None, Routes())
    assert await bench.observe() == Routes()
    api.patch(path(bench.service()), {"spec": {"selector": {"app": "podinfo"}}})
    await bench.heard(bench.service())
    assert await bench.observe() is None
    await bench.set_routes(None, Routes())
    await bench.restore()
    assert bench.body(bench.service())["spec"]["selector"] == {"app": "podinfo"}


async def test_a_target_that_is_a_service_is_split_by_its_copies(namespace, cluster, api):
    """The workload adapter makes the copies; this test covers the routes alone."""
    bench = Bench("istio", namespace, cluster, api)
    target = {"targetRef": {"apiVersion": "core/v1", "kind": "Service", "name": "podinfo"}}
    await bench.set_routes(None, Routes(weight=20), **target)
    assert await bench.observe(**target) == Routes(weight=20)
    assert api.list(SERVICE.path(namespace)) == []


async def test_routes_on_another_cluster_name_their_canary(istio, client):
    """They cannot refer to a Canary on the workloads' cluster."""
    async with Cluster(client, namespace=istio.namespace) as mesh:
        istio.router = MeshRouter(istio.cluster, istio, mesh_cluster=mesh)
        await istio.set_routes(None, Routes(weight=20))
        assert await istio.observe() == Routes(weight=20)
        metadata = istio.body()["metadata"]
        assert "ownerReferences" not in metadata
        assert metadata["annotations"][OWNER_ANNOTATION] == f"{istio.namespace}/podinfo"
        assert istio.body(istio.service())["metadata"]["ownerReferences"] == [istio.owner]
        await istio.restore()
        assert istio.body() is None


async def test_a_filter_that_the_gateways_class_lacks_is_refused(namespace, cluster, api):
    put("gatewayapi:v1", namespace, api)
    bench = Bench("gatewayapi:v1", namespace, cluster, api)
    cors = {"gatewayRefs": [{"name": "gateway"}], "corsPolicy": {"allowOrigin": ["https://a.test"]}}
    group = {"apiVersion": "gateway.networking.k8s.io/v1"}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    gateway = {"gatewayClassName": namespace, "listeners": listeners}
    api.create(
        {**group, "kind": "GatewayClass", "metadata": {"name": namespace}, "spec": {"controllerName": "a.test/b"}}
    )
    where = f"/apis/{group['apiVersion']}/gatewayclasses/{namespace}"
    try:
        api.patch(f"{where}/status", {"status": {"supportedFeatures": [{"name": "HTTPRoute"}]}})
        api.create(
            {**group, "kind": "Gateway", "metadata": {"name": "gateway", "namespace": namespace}, "spec": gateway}
        )
        with pytest.raises(Refused, match="HTTPRouteCORS"):
            await bench.set_routes(None, Routes(), service=cors)
    finally:
        api.delete(where)


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
async def test_a_route_of_the_owner_gets_the_weights_and_goes_back_without_a_trace(kind, namespace, cluster, api):
    """The annotations for GitOps tools go too: the server tells who has written them."""
    put("gatewayapi:v1", namespace, api)
    apex = {"name": "podinfo", "port": 9898}
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}]
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "internal", "namespace": namespace, "annotations": {"example.com/theirs": "1"}},
        "spec": {"parentRefs": [{"name": "mine"}], "rules": [{"filters": filters, "backendRefs": [apex]}]},
    }
    before = api.create(body)
    bench = Bench(f"gatewayapi:v1 {kind}" if kind == "GRPCRoute" else "gatewayapi:v1", namespace, cluster, api)
    service = {"routeRefs": [{"kind": kind, "name": "internal"}]}

    async def set_weight(weight):
        """Set it as a controller does: again, if the verdict of the gateway came in between."""
        for _ in range(200):
            with suppress(Conflict):
                return await bench.set_routes(None, Routes(weight=weight), service=service)
            await asyncio.sleep(0.05)
        return await bench.set_routes(None, Routes(weight=weight), service=service)

    for weight in (20, 50):
        await set_weight(weight)
        assert await bench.observe(service=service) == Routes(weight=weight)
        split = api.get(api.path(body))
        (rule,) = split["spec"]["rules"]
        assert {part["name"]: part["weight"] for part in rule["backendRefs"]} == {
            "podinfo-primary": 100 - weight,
            "podinfo-canary": weight,
        }
        assert rule["filters"] == filters
        assert GITOPS_OPT_OUT.items() <= split["metadata"]["annotations"].items()
    await set_weight(0)
    assert await bench.observe(service=service) == Routes()
    assert _content(api.get(api.path(body))) == _content(before)
    await set_weight(20)
    await bench.restore(service=service)
    assert _content(api.get(api.path(body))) == _content(before)


@pytest.fixture
def connection_routes(api):
    """The kinds of routes without requests, with any content: their definitions are not among those of the meshes."""
    group, where = "gateway.networking.k8s.io", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}}
    names = []
    for kind in ("TCPRoute", "TLSRoute"):
        plural = f"{kind.lower()}s"
        names.append(f"{plural}.{group}")
        api.create(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": names[-1],
                    "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
                },
                "spec": {
                    "group": group,
                    "names": {"kind": kind, "plural": plural},
                    "scope": "Namespaced",
                    "versions": [version],
                },
            }
        )
    for name in names:
        api.eventually(f"{where}/{name}", lambda body: body.get("status", {}).get("acceptedNames", {}).get("kind"))
    yield
    for name in names:
        api.delete(f"{where}/{name}")
        _gone(api, f"{where}/{name}")


@pytest.mark.usefixtures("connection_routes")
@pytest.mark.parametrize("kind", ["TCPRoute", "TLSRoute"])
async def test_a_route_without_requests_gets_the_weights_and_goes_with_its_canary(kind, namespace, cluster, api):
    put("gatewayapi:v1", namespace, api)
    bench = Bench(f"gatewayapi:v1 {kind}", namespace, cluster, api)
    for weight in (0, 20, 50):
        await bench.set_routes(None, Routes(weight=weight))
        assert await bench.observe() == Routes(weight=weight)
        (rule,) = bench.body()["spec"]["rules"]
        assert weights_of(rule["backendRefs"]) == (100 - weight, weight)
    await bench.restore()
    assert bench.body() is None


def _content(body):
    return body["spec"], body["metadata"]["annotations"], body["metadata"].get("ownerReferences")
