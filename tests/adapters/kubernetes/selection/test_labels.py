"""Labels that change under a running primary: the whole controller, and every version of the apex's endpoints.

A target is created again under another label, the controller restarts with another --selector-labels, or two targets
share a label. The apex Service has a ready endpoint at every moment.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, ENDPOINT_SLICE, EVENT, KINDS, SERVICE
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED
from tests.adapters.mesh.meshes import mesh_of, render_context
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until
from tests.controlplane.in_memory.server import faked

NAMESPACE = "shop"
ISTIO = tuple(ref.kind for ref in mesh_of("istio").refs(render_context("istio")))
VIRTUAL_SERVICE = next(kind for kind in ISTIO if kind.kind == "VirtualService")
RECOMMENDED = "app.kubernetes.io/name"


def labelled(labels, image="podinfo:6.0.0", name="podinfo", pods=None):
    """Return a target that selects its pods by these labels. pods: all labels of its pods."""
    body = target(NAMESPACE, image)
    body["metadata"] |= {"name": name, "labels": labels}
    body["spec"]["selector"] = {"matchLabels": labels}
    body["spec"]["template"]["metadata"]["labels"] = pods or labels
    return body


def canary_of(name="podinfo"):
    body = canary(NAMESPACE)
    body["metadata"]["name"] = body["spec"]["targetRef"]["name"] = name
    body["spec"] |= {"provider": "kubernetes", "skipAnalysis": True}
    body["spec"]["analysis"] = {"interval": "1s", "threshold": 3, "iterations": 1}
    return body


class Shop:
    """The objects of a namespace, and every number of ready endpoints that the apex Service has had."""

    def __init__(self, api, server):
        self.api, self.server, self.reached = api, server, []
        server.objects.followers.append(self._follow)

    def _follow(self, resource, key, body):
        if resource == (ENDPOINT_SLICE.group, ENDPOINT_SLICE.plural) and key == (NAMESPACE, "podinfo-slice"):
            self.reached.append(0 if body is None else len(body["endpoints"]))

    def create(self, *bodies):
        for body in bodies:
            self.api.create(body, NAMESPACE)

    def get(self, kind, name):
        return self.api.get(kind.path(NAMESPACE, name))

    def delete(self, kind, name, *, orphans=False):
        """Delete an object; orphans: leave those that it owns, as `kubectl delete --cascade=orphan`."""
        if orphans:
            uid = self.get(kind, name)["metadata"]["uid"]
            self._disown(uid)
        self.api.delete(kind.path(NAMESPACE, name))

    def replace_target(self, labels):
        """Delete the target, and create it again under these labels with the next image."""
        self.delete(DEPLOYMENT, "podinfo")
        self.create(labelled(labels, "podinfo:6.0.1"))

    def _disown(self, uid):
        for kind in (DEPLOYMENT, SERVICE):
            for body in self.api.list(kind.path(NAMESPACE)):
                owners = body["metadata"].get("ownerReferences", [])
                others = [owner for owner in owners if owner["uid"] != uid]
                if owners != others:
                    path = kind.path(NAMESPACE, body["metadata"]["name"])
                    self.api.patch(path, {"metadata": {"ownerReferences": others}})

    def leave_pods(self, name):
        """Delete a Deployment, and leave its pods with their ReplicaSet."""
        spec = self.get(DEPLOYMENT, name)["spec"]
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": f"{name}-5f"},
            "spec": {"selector": spec["selector"], "template": spec["template"]},
        }
        self.create(replica_set)
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets/{name}-5f"
        self.api.patch(f"{path}/status", {"status": {"replicas": 2, "availableReplicas": 2}})
        self.delete(DEPLOYMENT, name)

    def selector(self, service):
        return self.get(SERVICE, service)["spec"]["selector"]

    def weights(self):
        """Return the weights of the primary and of the canary."""
        route = self.get(VIRTUAL_SERVICE, "podinfo")["spec"]["http"][0]["route"]
        return [destination.get("weight") for destination in route]

    def status(self, name="podinfo"):
        return self.get(CANARY, name).get("status") or {}

    def blocked(self, name="podinfo"):
        conditions = self.status(name).get("conditions", ())
        return next((one["message"] for one in conditions if one["type"] == BLOCKED), "")

    async def comes_to(self, phase, name="podinfo"):
        await until(lambda: self.status(name).get("phase") == phase)

    def versions(self):
        """Return the versions of all Deployments and Services that the controller could write to."""
        bodies = [body for kind in (DEPLOYMENT, SERVICE) for body in self.api.list(kind.path(NAMESPACE))]
        return {
            (body["kind"], body["metadata"]["name"]): body["metadata"]["resourceVersion"]
            for body in bodies
            if (body["kind"], body["metadata"]["name"]) != ("Deployment", "podinfo")
        }

    def was_always_reached(self):
        first = next(number for number, count in enumerate(self.reached) if count)
        return all(self.reached[first:])


@pytest.fixture
def server():
    with faked((*KINDS, *ISTIO), bookmark=0.5) as running:
        yield running


@pytest.fixture
def shop(api, server, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    return Shop(api, server)


@pytest.fixture
def controlled(client):
    @asynccontextmanager
    async def run(**options):
        flags = {"namespace": NAMESPACE, "listen": "127.0.0.1", "port": 0, "metrics_server": "http://127.0.0.1:9"}
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run_controller(client, Options(**flags | options), version="0"))
            yield
            running.cancel()

    return run


async def test_a_target_under_another_label_is_refused_and_its_primary_keeps_the_traffic(shop, controlled):
    shop.create(labelled({"app": "podinfo"}), canary_of())
    async with controlled():
        await shop.comes_to("Initialized")
        before = shop.versions()
        shop.replace_target({RECOMMENDED: "podinfo"})
        await until(shop.blocked)
        await asyncio.sleep(1.5)
        assert shop.versions() == before
        assert shop.selector("podinfo") == shop.selector("podinfo-primary") == {"app": "podinfo-primary"}
        assert "app=podinfo-primary" in shop.blocked()
        assert "migrate" in shop.blocked()
        assert shop.status()["phase"] == "Initialized"
        (event,) = [body for body in shop.api.list(EVENT.path(NAMESPACE)) if body["message"] == shop.blocked()]
        assert event["type"] == "Warning"

        shop.replace_target({"app": "podinfo"})
        await shop.comes_to("Succeeded")
        await until(lambda: not shop.blocked())
    assert shop.was_always_reached()


async def test_abort_touches_no_target_under_another_label(shop, controlled):
    shop.create(labelled({"app": "podinfo"}), canary_of())
    async with controlled():
        await shop.comes_to("Initialized")
        shop.replace_target({RECOMMENDED: "podinfo"})
        await until(shop.blocked)
        command = {"metadata": {"annotations": {"canarycore/command": "abort 1"}}}
        shop.api.patch(CANARY.path(NAMESPACE, "podinfo"), command)
        await asyncio.sleep(1.5)
        assert shop.get(DEPLOYMENT, "podinfo")["spec"]["replicas"] == 2
    assert shop.was_always_reached()


async def test_a_target_that_changes_its_label_in_mid_rollout_loses_its_share(shop, controlled):
    shop.create(labelled({"app": "podinfo"}), canary_of() | {"spec": _routed()})
    async with controlled():
        await shop.comes_to("Initialized")
        shop.api.apply(labelled({"app": "podinfo"}, "podinfo:6.0.1"), NAMESPACE)
        await until(lambda: shop.weights() == [50, 50])
        shop.replace_target({RECOMMENDED: "podinfo"})
        await until(shop.blocked)
        await until(lambda: shop.weights() == [100, 0])
        assert shop.selector("podinfo-canary") == {"app": "podinfo"}
        assert shop.selector("podinfo-primary") == {"app": "podinfo-primary"}
        assert shop.status()["phase"] == "Progressing"


def _routed():
    spec = canary_of()["spec"] | {"provider": "istio", "skipAnalysis": False}
    return spec | {"analysis": {"interval": "10s", "threshold": 3, "stepWeights": [50, 60]}}


async def test_a_primary_keeps_its_selector_under_another_option(shop, controlled):
    labels = {"app": "podinfo", "name": "web"}
    shop.create(labelled(labels), canary_of())
    async with controlled():
        await shop.comes_to("Initialized")
    before = shop.versions()
    async with controlled(selector_labels=("name", "component")):
        await asyncio.sleep(1.5)
        assert shop.versions() == before
        assert not shop.blocked()
        shop.api.apply(labelled(labels, "podinfo:6.0.1"), NAMESPACE)
        await shop.comes_to("Succeeded")
    primary = shop.get(DEPLOYMENT, "podinfo-primary")["spec"]
    selector = {"app": "podinfo-primary", "name": "web"}
    assert primary["template"]["spec"]["containers"][0]["image"] == "podinfo:6.0.1"
    assert shop.selector("podinfo") == primary["selector"]["matchLabels"] == selector
    assert selector.items() <= primary["template"]["metadata"]["labels"].items()
    assert shop.was_always_reached()


async def test_a_target_with_another_value_of_the_label_goes_on(shop, controlled):
    shop.create(labelled({"app": "podinfo"}), canary_of())
    async with controlled():
        await shop.comes_to("Initialized")
        shop.replace_target({"app": "web", "tier": "front"})
        await shop.comes_to("Succeeded")
        await until(lambda: shop.selector("podinfo-canary") == {"app": "web", "tier": "front"})
        assert shop.selector("podinfo") == {"app": "podinfo-primary"}
        assert shop.blocked() == ""
    assert shop.was_always_reached()


async def test_the_migration_to_other_labels_keeps_ready_endpoints(shop, controlled):
    """The steps are those of docs/kubernetes.md."""
    shop.create(labelled({"app": "podinfo"}), canary_of())
    async with controlled():
        await shop.comes_to("Initialized")
        shop.replace_target({RECOMMENDED: "podinfo"})
        await until(shop.blocked)

        shop.delete(CANARY, "podinfo", orphans=True)
        shop.leave_pods("podinfo-primary")
        shop.create(canary_of())
        await shop.comes_to("Initialized")
        await until(lambda: shop.selector("podinfo") == {RECOMMENDED: "podinfo-primary"})
        shop.api.delete(f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets/podinfo-primary-5f")
        assert shop.selector("podinfo-primary") == {RECOMMENDED: "podinfo-primary"}
        await until(lambda: shop.get(DEPLOYMENT, "podinfo")["spec"]["replicas"] == 0)
    assert shop.was_always_reached()


async def test_targets_that_share_a_label_get_only_their_own_pods(shop, controlled):
    names = ("shop-a", "shop-b")
    for name in names:
        labels = {RECOMMENDED: "shop", "app.kubernetes.io/instance": name}
        shop.create(labelled(labels, name=name), canary_of(name))
    async with controlled():
        for name in names:
            await shop.comes_to("Initialized", name)
    pods = {body["metadata"]["name"]: body["spec"]["template"]["metadata"]["labels"] for body in _deployments(shop)}
    for name in names:
        for service, deployment in ((name, "-primary"), (f"{name}-primary", "-primary"), (f"{name}-canary", "")):
            selected = [one for one, labels in pods.items() if shop.selector(service).items() <= labels.items()]
            assert selected == [f"{name}{deployment}"]


@pytest.mark.parametrize("second", [{"app": "web"}, {"app": "web", "tier": "front"}], ids=["equal", "narrower"])
async def test_a_target_whose_primary_would_share_pods_is_refused(shop, controlled, second):
    shop.create(labelled({"app": "web"}, name="first"), canary_of("first"))
    async with controlled():
        await shop.comes_to("Initialized", "first")
        shop.create(labelled(second, name="second"), canary_of("second"))
        await until(lambda: shop.blocked("second"))
        assert "Deployment first-primary" in shop.blocked("second")
        made = {
            body["metadata"]["name"] for kind in (DEPLOYMENT, SERVICE) for body in shop.api.list(kind.path(NAMESPACE))
        }
        assert not any(name.startswith("second-") for name in made)


@pytest.mark.parametrize("second", [{"app": "web"}, {"app": "web", "tier": "front"}], ids=["equal", "narrower"])
async def test_primaries_that_share_pods_already_are_reported_to_both_owners(shop, controlled, second):
    """They existed before the controller, which breaks neither: both go on."""
    shop.create(labelled({"app": "web"}, name="first"), canary_of("first"))
    shop.create(labelled(second | {"app": "other"}, name="second"), canary_of("second"))
    async with controlled():
        for name in ("first", "second"):
            await shop.comes_to("Initialized", name)
    for name, value in (("second", "web"), ("second-primary", "web-primary")):
        body, labels = shop.get(DEPLOYMENT, name), second | {"app": value}
        body["spec"]["selector"], body["spec"]["template"]["metadata"]["labels"] = {"matchLabels": labels}, labels
        parts = {"name", "annotations", "ownerReferences"} & body["metadata"].keys()
        shop.delete(DEPLOYMENT, name)
        shop.create({**body, "metadata": {part: body["metadata"][part] for part in parts}})
    async with controlled():
        for own, other in (("first", "second"), ("second", "first")):
            await until(lambda own=own, other=other: _warned(shop, own, f"the pods of Deployment {other}-primary"))
        assert not shop.blocked("first")
        assert not shop.blocked("second")


def _warned(shop, name, part):
    events = shop.api.list(EVENT.path(NAMESPACE))
    return [body for body in events if body["involvedObject"]["name"] == name and part in body["message"]]


def _deployments(shop):
    return shop.api.list(DEPLOYMENT.path(NAMESPACE))
