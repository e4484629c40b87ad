"""Changes by owners and other controllers to the objects of a rollout, on a real API server.

Each test has an app of its own in a common namespace. The Service that users call has a ready endpoint at every moment
in which a pod of the app is ready, and no foreign object changes.
"""

from __future__ import annotations

import json
import uuid

import pytest

from canarycore_kubernetes.api.kinds import (
    CANARY,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    EVENT,
    HPA,
    SCALED_OBJECT,
    SECRET,
    SERVICE,
)
from canarycore_kubernetes.resources.refusals import BLOCKED
from canarycore_planes.control_plane.api import eventually
from canarycore_planes.control_plane.kubelet import PodRule
from tests.adapters.mesh.meshes import mesh_of, render_context
from tests.cluster.endpoints import PATHS, outages
from tests.cluster.watcher import watching
from tests.cluster.workloads import BY_HPA, BY_KEDA, HPA_BODY, KEDA_BODY
from tests.controlplane import rights

PROVIDERS = ("kubernetes", "istio", "nginx")
RECOMMENDED = "app.kubernetes.io/name"
VIRTUAL_SERVICE = next(ref.kind for ref in mesh_of("istio").refs(render_context("istio")) if "Virtual" in ref.kind.kind)
INGRESS = next(ref.kind for ref in mesh_of("nginx").refs(render_context("nginx")) if ref.kind.kind == "Ingress")
FIRST, SECOND = "app:1", "app:2"
IDLE = {"interval": "10s", "threshold": 3, "iterations": 1}
STEPS = {"interval": "10s", "threshold": 3, "stepWeights": [50, 60], "drain": "1s"}


def workload(name, image=FIRST, *, kind=DEPLOYMENT, labels=None, pod_spec=None, ports=({"containerPort": 8080},)):
    """Return a target that selects its pods by these labels, `app=NAME` by default."""
    labels = labels or {"app": name}
    container = {"name": "app", "image": image, "ports": list(ports), **(pod_spec or {})}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            **({"replicas": 2} if kind == DEPLOYMENT else {}),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def reference(kind, name):
    return {"apiVersion": kind.api_version, "kind": kind.kind, "name": name}


class Shop:
    """The apps of one namespace, their owners, and a controller."""

    def __init__(self, plane, namespace, watcher):
        self.plane, self.api, self.namespace, self.watcher = plane, plane.api, namespace, watcher

    def create(self, *bodies):
        for body in bodies:
            self.api.create(body, self.namespace)

    def canary(self, name, provider="kubernetes", *, kind=DEPLOYMENT, **spec):
        """Create a Canary. It analyses nothing, except with an analysis of its own."""
        spec = {
            "provider": provider,
            "targetRef": reference(kind, name),
            "service": {"port": 80, "targetPort": 8080},
            "analysis": IDLE,
            "skipAnalysis": "analysis" not in spec,
            **spec,
        }
        body = {"apiVersion": CANARY.api_version, "kind": CANARY.kind, "metadata": {"name": name}, "spec": spec}
        self.create(body)
        return body

    def begin(self, name, *others, provider="kubernetes", target=None, **spec):
        """Create an app and its Canary, and wait until the rollout is initialised."""
        self.create(*others, target or workload(name))
        body = self.canary(name, provider, **spec)
        self.comes_to("Initialized", name)
        return body

    def get(self, kind, name):
        return self.api.get(kind.path(self.namespace, name))

    def edit(self, kind, name, patch):
        self.api.patch(kind.path(self.namespace, name), patch)

    def delete(self, kind, name, **query):
        self.api.delete(kind.path(self.namespace, name), **query)

    def is_gone(self, kind, name):
        return eventually(lambda: self.get(kind, name) is None)

    def deploy(self, name, image):
        containers = self.get(DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"]
        patch = {"spec": {"template": {"spec": {"containers": [{**containers[0], "image": image}]}}}}
        self.edit(DEPLOYMENT, name, patch)

    def image(self, name):
        (container,) = self.get(DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"]
        return container["image"]

    def status(self, name):
        return self.get(CANARY, name).get("status") or {}

    def comes_to(self, phase, name, seconds=60.0):
        assert eventually(lambda: self.status(name).get("phase") == phase, seconds), (phase, self.status(name))

    def command(self, name, command):
        self.edit(CANARY, name, {"metadata": {"annotations": {"canarycore/command": command}}})

    def blocked(self, name):
        """Return the message of the condition Blocked; empty if the rollout is not blocked."""
        conditions = self.status(name).get("conditions", ())
        return next((one["message"] for one in conditions if one["type"] == BLOCKED), "")

    def comes_to_be_blocked(self, name, why):
        """Wait for a message with these words in the status and in an event: another reason may stand there before."""
        assert eventually(lambda: why in self.blocked(name)), self.status(name)
        message = self.blocked(name)
        assert eventually(lambda: message in {body["message"] for body in self.api.list(EVENT.path(self.namespace))})

    def selector(self, service):
        return self.get(SERVICE, service)["spec"]["selector"]

    def weights(self, route):
        body = self.get(VIRTUAL_SERVICE, route)
        return body and [one.get("weight") for one in body["spec"]["http"][0]["route"]]

    def leads_to(self, service, name):
        """Wait until a Service leads to pods of this workload and to no other pods."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"

        def look():
            slices = self.api.list(path, labelSelector=f"kubernetes.io/service-name={service}")
            pods = [one["targetRef"]["name"] for body in slices for one in body.get("endpoints") or ()]
            return bool(pods) and all(pod.startswith(f"{name}-") for pod in pods)

        return eventually(look)

    def assert_no_outage(self, service, *apps):
        assert outages(self.watcher.versions(self.namespace), service, *apps) == []


@pytest.fixture(scope="module")
def shop(plane, tmp_path_factory, start_controller, metrics_server):
    """A namespace with a controller under the installed rights, and a watcher of its endpoints."""
    namespace = f"messy-{uuid.uuid4().hex[:8]}"
    plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    access = rights.installed(plane.api, namespace, PROVIDERS)
    log = tmp_path_factory.mktemp("messy")
    with (
        watching(plane.api.access, PATHS) as watcher,
        start_controller(plane.kubeconfig(access, namespace), namespace, metrics_server, log),
    ):
        yield Shop(plane, namespace, watcher)
    plane.kubelet.rules()
    plane.api.delete(f"/api/v1/namespaces/{namespace}")


# labels and pods ----------------------------------------------------------------------------------------------------


def test_a_target_under_other_labels_is_refused_and_can_be_migrated(shop):
    """The steps of the migration are those of docs/kubernetes.md."""
    body = shop.begin("relabelled")
    primary = shop.get(DEPLOYMENT, "relabelled-primary")
    shop.delete(DEPLOYMENT, "relabelled")
    shop.create(workload("relabelled", SECOND, labels={RECOMMENDED: "relabelled"}))
    shop.comes_to_be_blocked("relabelled", "migrate")
    assert shop.selector("relabelled") == shop.selector("relabelled-primary") == {"app": "relabelled-primary"}
    assert shop.get(DEPLOYMENT, "relabelled-primary")["metadata"]["generation"] == primary["metadata"]["generation"]

    shop.delete(CANARY, "relabelled", propagationPolicy="Orphan")
    shop.delete(DEPLOYMENT, "relabelled-primary", propagationPolicy="Orphan")
    shop.is_gone(CANARY, "relabelled")
    shop.create(body)
    shop.comes_to("Initialized", "relabelled")
    assert eventually(lambda: shop.selector("relabelled") == {RECOMMENDED: "relabelled-primary"})
    path = f"/apis/apps/v1/namespaces/{shop.namespace}/replicasets"
    shop.api.request("DELETE", path, labelSelector="app=relabelled-primary")
    assert eventually(lambda: shop.get(DEPLOYMENT, "relabelled")["spec"]["replicas"] == 0)
    assert shop.image("relabelled-primary") == SECOND
    shop.assert_no_outage("relabelled")


def test_targets_that_share_a_label_get_their_own_pods(shop):
    for name in ("shared-a", "shared-b"):
        labels = {RECOMMENDED: "shared", "app.kubernetes.io/instance": name}
        shop.begin(name, target=workload(name, labels=labels))
    for name in ("shared-a", "shared-b"):
        assert shop.leads_to(name, f"{name}-primary")
        assert shop.leads_to(f"{name}-primary", f"{name}-primary")
        shop.assert_no_outage(name)


# shared objects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CONFIG_MAP, SECRET], ids=str)
def test_a_promotion_changes_no_config_that_another_primary_reads(shop, kind):
    plural, source = kind.plural, "configMapRef" if kind == CONFIG_MAP else "secretRef"
    data = "data" if kind == CONFIG_MAP else "stringData"
    config = {"apiVersion": "v1", "kind": kind.kind, "metadata": {"name": f"common-{plural}"}, data: {"key": "old"}}
    names = [f"{plural}-{letter}" for letter in "ab"]
    pod_spec = {"envFrom": [{source: {"name": f"common-{plural}"}}]}
    shop.create(config)
    for name in names:
        shop.begin(name, target=workload(name, pod_spec=pod_spec))

    def copy_of(name):
        (container,) = shop.get(DEPLOYMENT, f"{name}-primary")["spec"]["template"]["spec"]["containers"]
        return shop.get(kind, container["envFrom"][0][source]["name"])

    shop.edit(CANARY, names[1], {"spec": {"suspend": True}})
    before = copy_of(names[1])
    shop.edit(kind, f"common-{plural}", {data: {"key": "new"}})
    shop.comes_to("Succeeded", names[0])
    assert copy_of(names[0])["data"] != before["data"]
    assert copy_of(names[1]) == before
    for name in names:
        shop.assert_no_outage(name)


def test_a_second_canary_of_one_ingress_is_refused(shop):
    def rule(name):
        backend = {"service": {"name": name, "port": {"number": 80}}}
        return {"host": f"{name}.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}

    ingress = {
        **reference(INGRESS, ""),
        "metadata": {"name": "front"},
        "spec": {"ingressClassName": "nginx", "rules": [rule("ingress-a"), rule("ingress-b")]},
    }
    ingress.pop("name")
    front = reference(INGRESS, "front")
    shop.begin("ingress-a", ingress, provider="nginx", ingressRef=front)
    copy, original = shop.get(INGRESS, "front-canary"), shop.get(INGRESS, "front")
    shop.create(workload("ingress-b"))
    shop.canary("ingress-b", "nginx", ingressRef=front)
    shop.comes_to_be_blocked("ingress-b", "the Canary ingress-a has the Ingress front")
    assert shop.get(INGRESS, "front-canary") == copy
    assert shop.get(INGRESS, "front") == original
    shop.assert_no_outage("ingress-a")


@pytest.mark.parametrize("kind", [DEPLOYMENT, SECRET, SERVICE], ids=str)
def test_a_foreign_object_with_a_composed_name_stops_the_rollout_and_stays(shop, kind):
    name = f"foreign-{kind.plural}"
    pod_spec = {"envFrom": [{"secretRef": {"name": "foreign-secrets"}}]} if kind == SECRET else None
    foreign = {
        "Deployment": workload(f"{name}-primary"),
        "Secret": {**reference(SECRET, ""), "metadata": {"name": f"{name}-primary"}, "stringData": {"key": "theirs"}},
        "Service": {
            **reference(SERVICE, ""),
            "metadata": {"name": f"{name}-primary"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 1}]},
        },
    }[kind.kind]
    foreign.pop("name", None)
    mine = {**reference(SECRET, ""), "metadata": {"name": "foreign-secrets"}, "stringData": {"key": "mine"}}
    mine.pop("name")
    shop.create(foreign, *([mine] if kind == SECRET else []))
    if kind == DEPLOYMENT:
        assert eventually(lambda: shop.get(kind, f"{name}-primary").get("status", {}).get("availableReplicas") == 2)
    before = shop.get(kind, f"{name}-primary")
    shop.create(workload(name, pod_spec=pod_spec))
    shop.canary(name)
    shop.comes_to_be_blocked(name, f"{name}-primary")
    assert shop.get(kind, f"{name}-primary")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


# a primary that is down, a status that is lost ----------------------------------------------------------------------


def test_a_command_replaces_a_primary_that_is_down(shop):
    shop.begin("down")
    shop.plane.kubelet.rules(PodRule(namespace=shop.namespace, name="down-primary", image=FIRST, mode="never"))
    assert eventually(lambda: not shop.get(DEPLOYMENT, "down-primary")["status"].get("availableReplicas"))
    shop.edit(CANARY, "down", {"spec": {"skipAnalysis": False}})
    shop.deploy("down", SECOND)
    shop.comes_to("Progressing", "down")
    shop.command("down", "promote 1")
    shop.comes_to("Succeeded", "down")
    assert shop.image("down-primary") == SECOND
    shop.plane.kubelet.rules()


@pytest.mark.parametrize("loss", ["status", "canary"])
def test_a_primary_that_serves_is_adopted_and_the_new_revision_analysed_anew(shop, loss):
    name = f"lost-{loss}"
    body = shop.begin(name, provider="istio", analysis={**STEPS, "interval": "20s"})
    shop.deploy(name, SECOND)
    assert eventually(lambda: shop.weights(name) == [50, 50])
    if loss == "status":
        status = dict.fromkeys(shop.status(name))
        shop.api.patch(f"{CANARY.path(shop.namespace, name)}/status", {"status": status | {"phase": ""}})
    else:
        shop.delete(CANARY, name, propagationPolicy="Orphan")
        shop.is_gone(CANARY, name)
        shop.create(body)
    assert eventually(lambda: shop.weights(name) == [100, 0])
    shop.comes_to("Progressing", name)
    assert shop.image(f"{name}-primary") == FIRST
    shop.assert_no_outage(name)


# parts that an owner removes or renames -----------------------------------------------------------------------------


@pytest.mark.parametrize(("autoscaler", "kind", "by"), [(HPA_BODY, HPA, BY_HPA), (KEDA_BODY, SCALED_OBJECT, BY_KEDA)])
def test_the_copy_of_an_autoscaler_goes_with_the_reference(shop, autoscaler, kind, by):
    name = f"scaled-{kind.plural}"
    spec = {**autoscaler["spec"], "scaleTargetRef": {**autoscaler["spec"]["scaleTargetRef"], "name": name}}
    shop.begin(name, {**autoscaler, "metadata": {"name": name}, "spec": spec}, autoscalerRef={**by, "name": name})
    assert eventually(lambda: shop.get(kind, f"{name}-primary"))
    shop.edit(CANARY, name, {"spec": {"autoscalerRef": None}})
    assert shop.is_gone(kind, f"{name}-primary")
    assert shop.get(kind, name)
    shop.assert_no_outage(name)


def test_a_service_that_is_renamed_in_mid_rollout_takes_its_objects_with_it(shop):
    shop.begin("renamed", provider="istio", analysis={**STEPS, "interval": "20s"})
    shop.deploy("renamed", SECOND)
    assert eventually(lambda: shop.weights("renamed") == [50, 50])
    shop.edit(CANARY, "renamed", {"spec": {"service": {"name": "shop"}}})
    assert eventually(lambda: shop.weights("shop") == [50, 50])
    assert shop.is_gone(VIRTUAL_SERVICE, "renamed")
    assert shop.is_gone(SERVICE, "renamed-canary")
    shop.assert_no_outage("shop", "renamed")


def test_another_provider_takes_the_former_routes_with_it(shop):
    shop.begin("moved", provider="istio")
    assert eventually(lambda: shop.get(VIRTUAL_SERVICE, "moved"))
    shop.edit(CANARY, "moved", {"spec": {"provider": "kubernetes"}})
    assert shop.is_gone(VIRTUAL_SERVICE, "moved")
    shop.assert_no_outage("moved")


@pytest.mark.parametrize("kind", [DEPLOYMENT, DAEMON_SET], ids=str)
def test_another_target_takes_the_former_primary_with_it(shop, kind):
    name, other = f"former-{kind.plural}", f"latter-{kind.plural}"
    shop.begin(name, target=workload(name, kind=kind), kind=kind, service={"name": f"web-{kind.plural}", "port": 80})
    shop.create(workload(other, kind=kind))
    shop.edit(CANARY, name, {"spec": {"targetRef": {"name": other}}})
    assert shop.is_gone(kind, f"{name}-primary")
    assert shop.get(kind, name)
    assert shop.leads_to(f"web-{kind.plural}", f"{other}-primary")
    shop.assert_no_outage(f"web-{kind.plural}", name, other)


# names and ports ------------------------------------------------------------------------------------------------------


def test_a_target_with_a_long_name_rolls_out_under_a_service_name(shop):
    name = "l" * 60
    shop.begin(name, service={"name": "long", "port": 80, "targetPort": 8080})
    shop.deploy(name, SECOND)
    shop.comes_to("Succeeded", name)
    assert shop.image(f"{name}-primary") == SECOND
    shop.assert_no_outage("long", name)


def test_every_side_has_all_ports_with_their_protocols(shop):
    ports = [
        {"name": "http", "containerPort": 8080},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53},
    ]
    service = {"port": 80, "targetPort": "http", "portName": "http", "portDiscovery": True}
    shop.begin("ports", target=workload("ports", ports=ports), service=service)
    for name in ("ports", "ports-primary", "ports-canary"):
        found = {(port["name"], port["protocol"]) for port in shop.get(SERVICE, name)["spec"]["ports"]}
        assert found == {("http", "TCP"), ("dns", "UDP"), ("dns-tcp", "TCP")}, json.dumps(found, default=list)
