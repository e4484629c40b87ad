"""No object is touched that is not the Canary's: every object that a rollout makes, put there before by somebody else.

The list of objects is not written down here: a rollout is run once undisturbed, and what it has made is the list. Then
each of them is there before the rollout, with three kinds of owners, and each write of the rollout is tried.
"""

from __future__ import annotations

import ast
import itertools
import json
from copy import deepcopy
from pathlib import Path

import pytest
from attrs import define, field

from canarycore import Routes
from canarycore.errors import WorldError
from canarycore_kubernetes.api import ownership
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_kubernetes.api.ownership import (
    APEX_SERVICE,
    OWNER_ANNOTATION,
    PRIMARY,
    ROLES,
    ROUTE,
    UNOWNED,
    ForeignObject,
    ForeignObjectError,
    NameConflictError,
    Owner,
    ownership_of,
)
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.claims import Claims
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.workloads.configs import MissingConfigError
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from tests.adapters.mesh.meshes import ENTRIES, manifest, mesh_of, render_context, sources
from tests.cluster.patience import until
from tests.cluster.workloads import BY_HPA, BY_KEDA, HPA_BODY, KEDA_BODY, READS, config, pods
from tests.controlplane.in_memory.endpoints import SLICES
from tests.controlplane.in_memory.server import faked
from tests.house.projects import ROOT

ONE, TWO = "podinfo:6.0.0", "podinfo:6.0.1"
CANARY = "podinfo"
NUMBERS = itertools.count()

OTHER_CANARY = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "other", "uid": "1", "controller": True}
REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5f", "uid": "2", "controller": True}
OWNERS = {"nobody": [], "another Canary": [OTHER_CANARY], "another controller": [REPLICA_SET]}

SHARED = {"ConfigMap", "Secret"}
"""Kinds of which each Canary has an object of its own where another one has the usual name."""


@pytest.fixture
def server():
    routed = (ref.kind for name in ENTRIES for ref in mesh_of(name).refs(render_context(name)))
    with faked(dict.fromkeys((*KINDS, *routed)), bookmark=0.5) as running:
        yield running


@pytest.fixture
async def cluster(client):
    async with Cluster(client) as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------- a rollout


def deployment(image):
    body = pods("Deployment", image, **deepcopy(READS))
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return body


def external(image):
    name = f"v{image.rpartition(':')[2]}.example.com"
    spec = {"type": "ExternalName", "externalName": name, "ports": [{"name": "http", "port": 9898}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": CANARY}, "spec": spec}


CONFIGS = (config("env"), config("keys", "Secret", type="Opaque", data={"key": "b25l"}), config("shared"))
TARGETS = {
    "Deployment": (deployment, {"autoscalerRef": BY_HPA}, (*CONFIGS, HPA_BODY)),
    "Deployment with KEDA": (deployment, {"autoscalerRef": BY_KEDA}, (*CONFIGS, KEDA_BODY)),
    "DaemonSet": (lambda image: pods("DaemonSet", image), {}, ()),
    "Service": (external, {}, ()),
}


class Ports:
    """The adapters, as the controller has them."""

    def __init__(self, cluster):
        self.canaries = Canaries(cluster)
        claims = Claims(self.canaries)
        self.router = MeshRouter(cluster, self.canaries, claims=claims)
        self.workload = ClusterWorkloads(cluster, self.canaries, router=self.router, claims=claims)


@pytest.fixture
def ports(cluster):
    return Ports(cluster)


@define(eq=False, slots=False)
class Rollout:
    """A rollout whose steps are called one after the other; what refuses one is remembered, and the next one tried."""

    provider: str
    target: str
    api: object
    ports: object
    server: object
    namespace: str = field(factory=lambda: f"rollout-{next(NUMBERS)}")
    refused: list = field(factory=list)

    async def begin(self):
        make, spec, others = TARGETS[self.target]
        self.make = make
        body = make(ONE)
        reference = {"apiVersion": body["apiVersion"], "kind": body["kind"], "name": CANARY}
        for made in (body, *others, *sources(self.provider, self.namespace)):
            self.api.create(made, self.namespace)
        self.api.create(manifest(self.provider, namespace=self.namespace, targetRef=reference, **spec))
        self.router, self.workload = self.ports.router, self.ports.workload
        self.rollout = (await until(lambda: self.ports.canaries.load(f"{self.namespace}/{CANARY}"))).rollout
        self.one = await until(lambda: self.carried(""))
        return self

    async def carried(self, before):
        """The target's revision, as soon as it is another one; the caches may not have its configs yet."""
        try:
            seen = await self.workload.observe(self.rollout)
        except MissingConfigError:
            return None
        return seen.target and seen.target.revision != before and seen.target.revision

    async def run(self):
        """Initialise, climb, promote, take back, and give all back."""
        workload, router, rollout = self.workload, self.router, self.rollout
        before = self.objects()
        await self.step(workload.initialise, self.one)
        self.begun = self.objects().keys() - before.keys()
        await self.step(router.set_routes, Routes())
        await self.step(workload.scale_down)
        two = self.one
        changed = [config("env", data={"key": "two"})] if self.target.startswith("Deployment") else []
        for body in (*changed, self.make(TWO)):
            self.api.apply(body, self.namespace)
            two = await until(lambda before=two: self.carried(before))
        await self.step(workload.scale_up)
        await self.step(router.set_routes, Routes(weight=0 if self.provider == "kubernetes" else 20))
        await self.step(workload.promote, two)
        await self.step(router.set_routes, Routes())
        await self.step(workload.restore_primary, self.one)
        await self.step(workload.scale_down)
        self.made = self.objects()
        await self.step(router.restore)
        await self.step(workload.restore)
        assert rollout is not None

    async def step(self, effect, *given):
        try:
            await effect(self.rollout, *given)
        except WorldError as error:
            self.refused.append(error)

    def objects(self):
        """Return the objects that exist, by kind and name."""
        kinds = list(self.server.objects.tables.items())
        tables = [list(table.objects.items()) for resource, table in kinds if resource != SLICES]
        found = [body for table in tables for (namespace, _), body in table if namespace in ("", self.namespace)]
        return {(body["kind"], body["metadata"]["name"]): body for body in found}


async def undisturbed(*given):
    """Return the objects that a rollout makes."""
    rollout = await Rollout(*given).begin()
    before = rollout.objects()
    await rollout.run()
    assert rollout.refused == []
    made = {key: body for key, body in rollout.made.items() if key not in before}
    for body in made.values():
        if "namespace" not in body["metadata"]:
            rollout.api.delete(rollout.api.path(body))
    return rollout, made


def somebody_elses(body, owners, rollout, namespace):
    """An object of that name with other content."""
    name = body["metadata"]["name"].replace(rollout.namespace, namespace)
    references = {"ownerReferences": owners} if owners else {}
    foreign = {**deepcopy(body), "metadata": {"name": name, **references}}
    foreign.pop("status", None)
    if "namespace" in body["metadata"]:
        foreign["metadata"]["namespace"] = namespace
    _CHANGES.get(body["kind"], _without_a_field)(foreign)
    return json.loads(json.dumps(foreign).replace(rollout.namespace, namespace))


def _without_a_field(body):
    body["spec"].popitem()


def _other_image(body):
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "theirs:1"
    body["spec"]["selector"]["matchLabels"] = body["spec"]["template"]["metadata"]["labels"] = {"app": "theirs"}


_CHANGES = {
    "Deployment": _other_image,
    "DaemonSet": _other_image,
    "ConfigMap": lambda body: body.update(data={"key": "theirs"}),
    "Secret": lambda body: body.update(data={"key": "dGhlaXJz"}),
    "ControllerRevision": lambda body: body.update(data={"template": {}, "configs": []}),
    "HorizontalPodAutoscaler": lambda body: body["spec"].update(maxReplicas=99),
    "ScaledObject": lambda body: body["spec"].update(maxReplicaCount=99),
    "Service": lambda body: body["spec"].update(selector={"app": "theirs"}, type="ClusterIP"),
}


def is_adopted(rollout, body):
    """Whether it may have been there before: the apex Service, and the route of its name."""
    name = body["metadata"]["name"]
    return name in (CANARY, f"{CANARY}.{rollout.namespace}")


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    ("provider", "target"),
    [
        *((name, "Deployment") for name in ENTRIES if name not in ("knative", "replicas")),
        *(("istio", name) for name in TARGETS),
    ],
)
async def test_a_foreign_object_is_never_touched(provider, target, owner, api, ports, server):
    """Neither changed nor adopted nor deleted; the refusal names it; the next rollout goes on without one."""
    model, made = await undisturbed(provider, target, api, ports, server)
    tested = 0
    for body in made.values():
        if provider != "istio" and body["apiVersion"] in ("v1", "apps/v1", "autoscaling/v2"):
            continue  # they are the same for every provider
        if owner == "nobody" and is_adopted(model, body):
            continue
        if owner == "another Canary" and body["kind"] in SHARED:
            continue
        tested += 1
        await _is_left_alone(body, OWNERS[owner], model, Rollout(provider, target, api, ports, server))
    await undisturbed(provider, target, api, ports, server)
    assert tested or provider in ("alb", "kubernetes") or owner == "nobody"


async def _is_left_alone(body, owners, model, rollout):
    foreign = rollout.api.create(somebody_elses(body, owners, model, rollout.namespace))
    path = rollout.api.path(foreign)
    await rollout.begin()
    await rollout.run()
    what = f"{foreign['kind']} {foreign['metadata']['name']}"
    assert rollout.api.get(path) == foreign, f"{what} was touched"
    refusals = [error for error in rollout.refused if isinstance(error, ForeignObjectError | NameConflictError)]
    assert any(what in str(error) for error in refusals), f"{what}: {rollout.refused}"
    is_kept = "Revision" in what or "-primary-" in what  # it is made at the first promotion
    assert is_kept or not rollout.begun, f"{what}: {rollout.begun} was made all the same"
    rollout.api.delete(path)
    for left in rollout.objects().values():
        if "namespace" not in left["metadata"]:
            rollout.api.delete(rollout.api.path(left))


# -------------------------------------------------------------------------------------------------- what is one's own


BODY = {"metadata": {"name": "podinfo-primary"}}
OWNER = Owner(namespace="test", name=CANARY, reference=None)


def owned_by(*references, annotated_owner=""):
    annotations = {"annotations": {OWNER_ANNOTATION: annotated_owner}} if annotated_owner else {}
    return ownership_of({"metadata": {"name": "x", "ownerReferences": list(references), **annotations}})


def written_by(*managers):
    entries = [{"manager": manager, "fieldsV1": {"f:spec": {}}} for manager in managers]
    about = [{"manager": "kubectl-label", "fieldsV1": {"f:metadata": {}}}]
    status = [{"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}}]
    return ownership_of({"metadata": {"name": "x", "managedFields": [*entries, *about, *status]}})


@pytest.mark.parametrize(
    ("ownership", "objection"),
    [
        (UNOWNED, "belongs to no Canary"),
        (owned_by(OTHER_CANARY), "belongs to the Canary other"),
        (owned_by(REPLICA_SET), "belongs to the ReplicaSet web-5f"),
        (owned_by(annotated_owner="test/other"), "was made for the Canary test/other"),
        (owned_by(OTHER_CANARY, annotated_owner="test/podinfo"), "belongs to the Canary other"),
        (owned_by(OTHER_CANARY | {"name": CANARY}), ""),
        (owned_by(annotated_owner="test/podinfo"), ""),
        (owned_by(REPLICA_SET, annotated_owner="test/podinfo"), ""),
        (written_by("flagger", "kubelet"), "belongs to no Canary"),
        (written_by("flagger"), ""),
    ],
)
def test_a_reference_or_an_annotation_makes_an_object_the_canarys(ownership, objection):
    assert OWNER.objection(ownership, PRIMARY) == objection


@pytest.mark.parametrize("role", [APEX_SERVICE, ROUTE])
def test_the_canary_takes_over_routes_that_no_controller_owns(role):
    assert OWNER.objection(UNOWNED, role) == ""
    assert OWNER.objection(owned_by(REPLICA_SET | {"controller": False}), role) == ""
    assert OWNER.objection(owned_by(REPLICA_SET), role) == "belongs to the ReplicaSet web-5f"
    assert OWNER.objection(owned_by(OTHER_CANARY), role) == "belongs to the Canary other"


def test_an_error_keeps_room_for_the_remedy():
    objects = [
        ForeignObject(kind=kind, name="x" * 253, role=PRIMARY, objection="belongs to no Canary") for kind in KINDS
    ]
    text = str(ForeignObjectError(OWNER, objects))
    assert f"and {len(KINDS) - 1} more" in text
    assert text.endswith(f"{OWNER_ANNOTATION}=test/podinfo")
    assert len(text) < 1024


NASTY = "\x1b[2J\u202e" + "x" * 200_000


@pytest.mark.parametrize(
    "found",
    [
        owned_by(OTHER_CANARY | {"name": NASTY}),
        owned_by(REPLICA_SET | {"kind": NASTY}),
        owned_by(REPLICA_SET | {"name": NASTY}),
        owned_by(annotated_owner=NASTY),
    ],
)
def test_an_owner_that_is_no_name_neither_fills_a_message_nor_drives_a_terminal(found):
    (one,) = OWNER.find_foreign(KINDS[0], "web-primary", found, PRIMARY)
    text = str(ForeignObjectError(OWNER, [one]))
    assert len(text) < 1024
    assert text.isprintable()
    assert "x…" in text
    assert len(repr(found)) < 1_000_000 // 100  # the size of each projection


# --------------------------------------------------------------------------------------------- races, other Canaries


async def test_an_object_that_appears_at_the_last_moment_is_left_alone(api, ports, server):
    rollout = await Rollout("istio", "Deployment", api, ports, server).begin()
    await ports.router.foreign_objects(rollout.rollout)
    theirs = {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo-primary"}, "spec": theirs}
    secret = config("keys-primary", "Secret", type="Opaque", data={"key": "dGhlaXJz"})
    made = [api.create(body, rollout.namespace) for body in (service, secret)]
    with pytest.raises(WorldError):
        await ports.router.prepare(rollout.rollout)
    with pytest.raises(ForeignObjectError, match="Secret keys-primary"):
        await ports.workload._target(rollout.rollout).initialise(rollout.one)
    assert [api.get(api.path(body)) for body in made] == made


def kuma_route(apex, namespace, **metadata):
    sides = [f"{apex}-{side}_{namespace}_svc_9898" for side in ("primary", "canary")]
    split = [
        {"weight": weight, "destination": {"kuma.io/service": side}}
        for weight, side in zip((90, 10), sides, strict=True)
    ]
    spec = {
        "sources": [{"match": {"kuma.io/service": "*"}}],
        "destinations": [{"match": {"kuma.io/service": f"{apex}_{namespace}_svc_9898"}}],
        "conf": {"split": split},
    }
    metadata = {"name": CANARY, **metadata}
    return {
        "apiVersion": "kuma.io/v1alpha1",
        "kind": "TrafficRoute",
        "mesh": "default",
        "metadata": metadata,
        "spec": spec,
    }


@pytest.mark.parametrize("is_here", [True, False])
@pytest.mark.parametrize("manager", ["flagger", "kumactl"])
async def test_an_object_in_no_namespace_is_taken_over_only_where_it_leads_to_the_canary(
    manager, is_here, api, ports, server
):
    """Else the Canary of any namespace could take the route of the whole mesh, by its own name."""
    rollout = Rollout("kuma", "Deployment", api, ports, server)
    body = kuma_route(CANARY, rollout.namespace if is_here else "elsewhere")
    path = api.path(body)
    theirs = api.request("POST", api.path(body, named=False), body, fieldManager=manager)
    await rollout.begin()
    await rollout.run()
    if is_here:
        assert rollout.refused == []
    else:
        assert api.get(path) == theirs
        assert any("TrafficRoute podinfo is in no namespace" in str(error) for error in rollout.refused)
        assert not rollout.begun


@pytest.mark.parametrize("scaled", [{"name": "database"}, {"name": CANARY, "kind": "StatefulSet"}])
async def test_an_autoscaler_of_another_workload_is_neither_copied_nor_paused(scaled, api, ports, server):
    """Paused at zero it would stop that workload, which a Canary must not do by naming it."""
    rollout = await Rollout("istio", "Deployment with KEDA", api, ports, server).begin()
    path = f"/apis/keda.sh/v1alpha1/namespaces/{rollout.namespace}/scaledobjects/{KEDA_BODY['metadata']['name']}"
    api.patch(path, {"spec": {"scaleTargetRef": scaled}})
    theirs = api.get(path)
    target = rollout.workload._target(rollout.rollout)

    async def is_known():
        return (await target._scaler()).scales[1] == scaled["name"] and not target._is_own_scaler(
            await target._scaler()
        )

    await until(is_known)
    await rollout.run()
    await rollout.step(rollout.workload.pause_scaler)
    assert api.get(path) == theirs
    assert not rollout.begun
    assert any("spec.autoscalerRef: the ScaledObject" in str(error) for error in rollout.refused)


async def test_the_canary_takes_an_object_that_its_owner_hands_over(api, ports, server):
    rollout = Rollout("istio", "Deployment", api, ports, server)
    secret = config("keys-primary", "Secret", type="Opaque", data={"key": "dGhlaXJz"})
    secret["metadata"]["annotations"] = {OWNER_ANNOTATION: f"{rollout.namespace}/{CANARY}"}
    path = api.path(api.create(secret, rollout.namespace))
    await (await rollout.begin()).run()
    assert rollout.refused == []
    body = api.get(path)
    assert body["data"] == {"key": "b25l"}
    assert [owner["name"] for owner in body["metadata"]["ownerReferences"]] == [CANARY]


async def test_objects_that_outlived_their_canary_are_its_own_again(api, ports, server):
    """`kubectl delete canary --cascade=orphan` takes the references off what the Canary owned."""
    rollout = await Rollout("istio", "Deployment", api, ports, server).begin()
    await rollout.workload.initialise(rollout.rollout, rollout.one)
    made = [body for body in rollout.objects().values() if "ownerReferences" in body["metadata"]]
    for body in made:
        api.patch(api.path(body), {"metadata": {"ownerReferences": None}})
    await rollout.run()
    assert len(made) > 4
    assert rollout.refused == []


def canary(name, target=CANARY, service="", **spec):
    body = manifest("istio", targetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": target}, **spec)
    body["metadata"] = {"name": name}
    body["spec"]["service"] |= {"name": service} if service else {}
    return body


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (canary("second"), "Deployment podinfo belongs|podinfo-primary belongs to the Canary podinfo"),
        (canary("second", "podinfo-primary"), "the Deployment podinfo-primary belongs to the Canary podinfo"),
        (canary("second", "web", CANARY), "the Canary podinfo has the Service podinfo"),
        (canary("second", "web", "podinfo-primary"), "the Canary podinfo has the Service podinfo"),
        (canary("second", "web", "podinfo-canary"), "the Canary podinfo has the Service podinfo"),
    ],
)
async def test_a_second_canary_waits_and_can_be_deleted(second, why, api, ports, server):
    """It neither scales the first one's target, nor takes its routes, nor gives back what is not its own."""
    first = await Rollout("istio", "Deployment", api, ports, server).begin()
    await first.workload.initialise(first.rollout, first.one)
    await first.router.set_routes(first.rollout, Routes())
    web = deployment(ONE)
    web["metadata"]["name"] = "web"
    web["spec"]["selector"]["matchLabels"] = web["spec"]["template"]["metadata"]["labels"] = {"app": "web"}
    api.create(web, first.namespace)
    second = deepcopy(second)
    second["metadata"]["finalizers"] = ["finalizer.flagger.app"]
    api.create(second, first.namespace)
    rollout = (await until(lambda: ports.canaries.load(f"{first.namespace}/second"))).rollout
    await until(lambda: ports.workload.observe(rollout))
    before = first.objects()
    workload, router = ports.workload, ports.router
    for effect in (workload.scale_up, workload.scale_down, workload.pause_scaler, router.prepare):
        if effect != router.prepare or "Service" in why:
            with pytest.raises(NameConflictError, match=why):
                await effect(rollout)
    for effect, given in ((workload.initialise, first.one), (workload.promote, first.one)):
        with pytest.raises(NameConflictError, match=why):
            await effect(rollout, given)
    with pytest.raises(WorldError):
        await router.set_routes(rollout, Routes(weight=20))
    api.delete(f"/apis/flagger.app/v1beta1/namespaces/{first.namespace}/canaries/second")
    await until(lambda: ports.canaries.require(rollout).is_deleted)
    assert (await workload.observe(rollout)).is_restored
    await router.restore(rollout)
    await workload.restore(rollout)
    del before["Canary", "second"]
    after = first.objects()
    assert {key: after[key] for key in before} == before


async def test_of_two_canaries_that_have_not_begun_the_older_one_comes_first(api, ports, server):
    for name in ("older", "newer"):
        body = api.create(canary(name), "both")
        api.patch(api.path(body), {"metadata": {"annotations": {"note": name}}})
    rollouts = {}
    for name in ("older", "newer"):
        rollouts[name] = (await until(lambda: ports.canaries.load(f"both/{name}"))).rollout  # noqa: B023
    claims = Claims(ports.canaries)
    objections = {name: await claims.objection(rollout) for name, rollout in rollouts.items()}
    assert sorted(map(bool, objections.values())) == [False, True]
    first, second = sorted(objections, key=objections.get)
    assert first in objections[second]
    api.delete(f"/apis/flagger.app/v1beta1/namespaces/both/canaries/{first}")
    await until(lambda: ports.canaries.get(f"both/{first}") is None)
    assert await claims.objection(rollouts[second]) == ""


def behind(name, provider, namespace, ingress="web"):
    """Return a Canary for an app of that name behind an Ingress."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    reference = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": ingress}
    body = manifest(provider, namespace=namespace, targetRef=target, ingressRef=reference)
    body["metadata"]["name"] = name
    return body


def web_for(*apps, name, namespace):
    """Return an Ingress with a path for each app."""
    (source,) = sources("nginx", namespace)
    (rule,) = deepcopy(source["spec"]["rules"])
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    rule["http"]["paths"] = [
        {**path, "path": f"/{app}", "backend": {"service": {**service, "name": app}}} for app in apps
    ]
    return {**source, "metadata": {"name": name, "namespace": namespace}, "spec": {"rules": [rule]}}


async def two_behind(api, ports, first, second, *ingresses):
    """Create two apps with their Canaries and Ingresses. Return their rollouts."""
    namespace, rollouts = first["metadata"]["namespace"], []
    for body in ingresses:
        api.create(body)
    for body in (first, second):
        name = body["metadata"]["name"]
        target = pods("Deployment", ONE)
        target["metadata"]["name"] = name
        labels = target["spec"]["template"]["metadata"]["labels"] = {"app": name}
        target["spec"]["selector"]["matchLabels"] = labels
        api.create(target, namespace)
        api.create(body)
        rollout = (await until(lambda name=name: ports.canaries.load(f"{namespace}/{name}"))).rollout
        seen = await until(lambda rollout=rollout: ports.workload.observe(rollout))
        rollouts.append((rollout, seen.target.revision))
        if len(rollouts) == 1:
            await ports.workload.initialise(*rollouts[0])
            await ports.router.set_routes(rollouts[0][0], Routes(weight=20))
    return rollouts


@pytest.mark.parametrize("other", ["nginx", "skipper"])
@pytest.mark.parametrize("provider", ["nginx", "skipper"])
@pytest.mark.parametrize("ingress", ["web", "web-canary"])
async def test_a_second_canary_of_one_ingress_is_refused_and_changes_nothing(provider, other, ingress, api, ports):
    """`web-canary` is the copy of `web`: a copy of the copy would take the requests of both."""
    namespace = f"ingress-{next(NUMBERS)}"
    one, two = behind("one", provider, namespace), behind("two", other, namespace, ingress)
    (_, (rollout, revision)) = await two_behind(
        api, ports, one, two, web_for("one", "two", name="web", namespace=namespace)
    )
    before = _objects_of(api, namespace)
    for effect in (
        ports.workload.initialise(rollout, revision),
        ports.router.prepare(rollout),
        ports.router.set_routes(rollout, Routes()),
    ):
        with pytest.raises(NameConflictError, match=r"the Canary one has the Ingress web, whose .* spec\.ingressRef"):
            await effect
    assert _objects_of(api, namespace) == before


@pytest.mark.parametrize(
    ("provider", "second"), [("nginx", "api"), ("skipper", "api"), ("nginx", "web-primary"), ("apisix", "")]
)
async def test_two_canaries_with_an_ingress_each_or_one_route_both_run(provider, second, api, ports):
    namespace = f"ingress-{next(NUMBERS)}"
    if second:
        one, two = behind("one", provider, namespace), behind("two", provider, namespace, second)
        bodies = [web_for(app, name=name, namespace=namespace) for app, name in (("one", "web"), ("two", second))]
    else:
        one, two = (behind(name, provider, namespace) for name in ("one", "two"))
        (route,) = sources("apisix", namespace)
        (rule,) = route["spec"]["http"]
        rules = [
            {**rule, "name": app, "backends": [{"serviceName": app, "servicePort": 9898}]} for app in ("one", "two")
        ]
        bodies = [{**route, "spec": {"http": rules}}]
    rollouts = await two_behind(api, ports, one, two, *bodies)
    await ports.workload.initialise(*rollouts[1])
    await ports.router.set_routes(rollouts[1][0], Routes(weight=40))
    assert [(await ports.router.observe(rollout)).weight for rollout, _ in rollouts] == [20, 40]


def _objects_of(api, namespace):
    kinds = ("deployments", "services", "ingresses")
    groups = ("/apis/apps/v1", "/api/v1", "/apis/networking.k8s.io/v1")
    return [api.list(f"{group}/namespaces/{namespace}/{kind}") for group, kind in zip(groups, kinds, strict=True)]


@pytest.mark.parametrize("length", [60, 245])
async def test_all_names_and_labels_of_a_target_with_a_long_name_fit(length, api, ports, server):
    """Its Service has a name of its own. The label of the primary's pods is shortened, on the Services too."""
    namespace, name, label = f"long-{length}", "t" * length, "t" * 60
    target = pods("Deployment", ONE, **deepcopy(READS))
    target["metadata"]["name"] = name
    target["spec"]["selector"]["matchLabels"] = target["spec"]["template"]["metadata"]["labels"] = {"app": label}
    long_config = config("e" * 253, data={"key": "one"})
    target["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "e" * 253}}]
    for body in (target, long_config, *CONFIGS):
        api.create(body, namespace)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    service = {"name": "web", "portDiscovery": True}
    api.create(manifest("istio", namespace=namespace, targetRef=reference, service=service))
    rollout = (await until(lambda: ports.canaries.load(f"{namespace}/{CANARY}"))).rollout
    one = (await until(lambda: ports.workload.observe(rollout))).target.revision
    await ports.workload.initialise(rollout, one)
    await ports.router.set_routes(rollout, Routes())
    api.apply(config("e" * 253, data={"key": "two"}), namespace)

    async def changed():
        revision = (await ports.workload.observe(rollout)).target.revision
        return revision if revision != one else None

    await ports.workload.promote(rollout, await until(changed))
    tables = [list(table.objects.items()) for table in list(server.objects.tables.values())]
    bodies = [body for table in tables for (place, _), body in table if place == namespace]
    primary = next(body for body in bodies if body["metadata"]["name"] == f"{name}-primary")
    labels = primary["spec"]["template"]["metadata"]["labels"]
    assert primary["spec"]["selector"]["matchLabels"] == labels
    for side in ("web", "web-primary"):
        assert api.get(f"/api/v1/namespaces/{namespace}/services/{side}")["spec"]["selector"] == labels
    assert {"ControllerRevision", "ConfigMap", "Service"} <= {body["kind"] for body in bodies}
    for body in bodies:
        values = [*body["metadata"].get("labels", {}).values(), *labels.values()]
        assert len(body["metadata"]["name"]) <= (63 if body["kind"] == "Service" else 253)
        assert max(map(len, values)) <= 63
    assert (await ports.workload.observe(rollout)).restorable == (one,)
    await ports.workload.restore_primary(rollout, one)
    await until(lambda: _is_of(ports, rollout, one))


async def _is_of(ports, rollout, revision):
    return (await ports.workload.observe(rollout)).primary.revision == revision


# -------------------------------------------------------------------------------------------------- where it is said


def test_each_role_has_its_row_in_the_documentation():
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    for role in ROLES:
        noun = role.noun[0].upper() + role.noun[1:]
        adopted = role.adoption or "Never."
        assert f"| {noun} | {role.kinds} | {adopted} |" in text


WRITES = {"create", "apply", "merge", "rewrite", "delete", "evict"}
WRITERS = {
    "base.OwnedObjects": "judges each object",
    "router.MeshRouter": "judges each object",
    "cluster.Cluster": "passes on",
    "pod_workload.PodTarget._merge": "scales the target, which the Canary names",
    "pod_workload.PodTarget._rescale": "scales the target, which the Canary names",
    "pod_workload.PodTarget._merge_scaler": "pauses the target's autoscaler, which the Canary names",
    "pod_workload.PodTarget._write_target": "returns the target, which the Canary names, on its owner's word",
    "knative_workload.KnativeTarget._mark": "marks the target, which the Canary names",
    "stateful_sets.ScaledSet._rewrite": "marks the target, which the Canary names, and sets its partition",
    "stateful_sets.ScaledSet.evict_next": "evicts a pod of the target, by its uid and its controller's",
    "store.CanaryStore": "writes the Canary itself",
    "canaries.send_command": "writes the Canary itself",
    "events.Events": "writes Events",
    "preflight._is_allowed": "asks for a review of rights, which the API server does not store",
    "leader_election": "writes the lease",
}


def test_every_writer_of_the_cluster_has_a_row():
    """A new way to write must judge what it writes over, as those do that are named here."""
    package = Path(ownership.__file__).parents[1]
    found = set()
    for path in package.rglob("*.py"):
        for where, call in calls(ast.parse(path.read_text()), path.stem):
            if call.attr in WRITES and ("cluster" in ast.unparse(call.value) or "client" in ast.unparse(call.value)):
                found.add(where)
    unknown = {where for where in found if not any(where == name or where.startswith(f"{name}.") for name in WRITERS)}
    assert found
    assert unknown == set()


def calls(tree, where):
    for node in ast.iter_child_nodes(tree):
        inside = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        place = f"{where}.{node.name}" if inside else where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield place, node.func
        yield from calls(node, place)
