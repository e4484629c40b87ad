"""Routes on a real API server, with every mesh's own definitions: the contract for each, and what they cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from canarycore.manifest import parse, resolve
from canarycore_kubernetes.kinds import CANARY, SERVICE
from canarycore_kubernetes.packed import packed
from canarycore_kubernetes.router import MeshRouter
from canarycore_kubernetes.targets import Reading, pod_views
from canarycore_runtime.mesh import Ref
from canarycore_runtime.testing.contracts import RouterContract
from tests.adapters.mesh.meshes import AB, manifest, mesh_of, sources
from tests.controlplane import crds

SPLITTING = (
    *("apisix", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gatewayapi:v1beta1", "gloo", "istio", "knative"),
    *("kuma", "linkerd", "nginx", "osm", "skipper", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3", "traefik"),
)
CAN = {
    **dict.fromkeys(("istio", "gatewayapi:v1", "gatewayapi:v1beta1"), frozenset({"matched", "mirrored"})),
    **dict.fromkeys(("appmesh", "appmesh:v1beta2", "contour", "gloo", "nginx"), frozenset({"matched"})),
}


def weights_of(parts, name=lambda part: part["name"], weight="weight"):
    """(primary, canary); a side that is not named gets nothing, one that is alone gets everything."""
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


def of_knative(body):
    percent = {bool(part.get("latestRevision")): part["percent"] for part in body["spec"]["traffic"]}
    return percent[False], percent[True]


def of_gloo(body):
    route = body["spec"]["routes"][-1]
    destinations = route["routeAction"]["multi"]["destinations"]
    beside = (100, 0)  # whoever delegates to the table routes what it does not match
    return (
        beside
        if "matchers" in route
        else weights_of(destinations, lambda part: part["destination"]["upstream"]["name"])
    )


def of_smi(body):
    return weights_of(body["spec"]["backends"], lambda part: part["service"])


WRITTEN = {
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
"""The weights in the object that splits, read as its mesh does, for requests that no condition lets in."""

SPLITS = {
    "appmesh": "podinfo.{namespace}",
    "apisix": "web-podinfo-canary",
    **dict.fromkeys(("nginx", "skipper"), "web-canary"),
}
"""The name of the object that splits, where that is not the app's."""


def path(ref):
    return ref.kind.path(ref.namespace, ref.name)


class Bench:
    """A router and one Canary on a provider. Rollouts of the contract stand for it, by weights or by a header."""

    def __init__(self, provider, namespace, cluster, api):
        self.provider, self.namespace, self.api = provider, namespace, api
        self.can = CAN.get(provider, frozenset())
        self.cluster = cluster
        self.canary = api.create(
            {**manifest("istio", namespace=namespace), "metadata": {"name": "podinfo", "namespace": namespace}}
        )
        self.given = {}
        self.router = MeshRouter(cluster, self, pod_views(Reading()))
        self.adapter = self

    # the router, as the contract sees it -------------------------------------------------------------------------

    def rollout(self, like=None, **given):
        """The Canary as a rollout; the same object for the same manifest."""
        if like is not None and like.match:
            given.setdefault("analysis", AB)
        body = manifest(self.provider, namespace=self.namespace, **given)
        key = repr(body)
        if key not in self.given:
            canary = parse(body)
            self.given[key] = (canary, resolve(canary))
        self.held_canary, rollout = self.given[key]
        return rollout

    def held(self, rollout):
        """As `Canaries` does."""
        canary = next(canary for canary, known in self.given.values() if known is rollout)
        return SimpleNamespace(canary=canary, uid=self.canary["metadata"]["uid"])

    async def observe(self, like=None, **given):
        return await self.router.observe(self.rollout(like, **given))

    async def set_routes(self, like, routes, **given):
        await self.router.set_routes(self.rollout(like, **given), routes)

    async def restore(self, like=None, **given):
        await self.router.restore(self.rollout(like, **given))

    # the world around it -----------------------------------------------------------------------------------------

    @property
    def splitting(self):
        """Where the object is that splits."""
        mesh = mesh_of(self.provider)
        asked = SimpleNamespace(namespace=self.namespace)
        name = SPLITS.get(self.provider, "podinfo").format(namespace=asked.namespace)
        self.rollout()
        refs = mesh.looks_at(self.router._ask(self.rollout(), self.held_canary, ("app", "podinfo")))
        kinds = ("VirtualNode", "DestinationRule", "Upstream")
        return next(ref for ref in refs if ref.name == name and ref.kind.kind not in kinds)

    def body(self, ref=None):
        return self.api.get(path(ref or self.splitting))

    async def written(self):
        return WRITTEN[self.provider](self.body())

    async def snapshot(self):
        rollout = self.rollout()
        asked = self.router._ask(rollout, self.held_canary, ("app", "podinfo"))
        refs = [*mesh_of(self.provider).looks_at(asked), *(self.service(name) for name in ("", "-primary", "-canary"))]
        return [self.body(ref) for ref in refs]

    def service(self, suffix=""):
        return Ref(kind=SERVICE, namespace=self.namespace, name=f"podinfo{suffix}")

    async def meddle(self):
        self.api.patch(path(self.splitting), {"metadata": {"annotations": {"example.com/theirs": "1"}}})
        await self.heard(self.splitting)

    async def meddled(self):
        return self.body()["metadata"]["annotations"].get("example.com/theirs") == "1"

    async def heard(self, ref):
        """What somebody else wrote has reached the cache."""
        cache = await self.cluster.cache(packed(ref.kind, status=ref.kind in mesh_of(self.provider).statuses)).ready()
        version = int(self.body(ref)["metadata"]["resourceVersion"])
        async with asyncio.timeout(10):
            while int(cache.version(ref.namespace, ref.name) or 0) < version:
                await asyncio.sleep(0.01)


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
    """What there is before a Canary."""
    api.create(deployment(namespace))
    for body in sources(provider, namespace):
        api.create(body)
        if "status" in body:
            kind = CANARY.__class__("serving.knative.dev", "v1", "Service", "services")
            api.patch(kind.path(namespace, body["metadata"]["name"]) + "/status", {"status": body["status"]})


class Contract(RouterContract):
    provider: str

    @pytest.fixture
    def before(self, namespace, api):
        put(self.provider, namespace, api)

    @pytest.fixture
    async def bench(self, before, namespace, cluster, api):
        made = Bench(self.provider, namespace, cluster, api)
        yield made
        if not made.splitting.kind.namespaced:
            api.delete(path(made.splitting))


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
    """Its kinds are those of v1beta2, in another version: a server has one or the other."""

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
