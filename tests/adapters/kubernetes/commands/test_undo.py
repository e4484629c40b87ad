"""The commands `canary history` and `canary undo`, on an API server in memory."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from canarycore import Phase, Rollout, Status, TargetRef
from canarycore.bounds import REVISIONS
from canarycore.errors import Refused
from canarycore.phases import PROMOTED
from canarycore_cli.main import app
from canarycore_kubernetes import controller
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, CONFIG_MAP, DEPLOYMENT, REPLICA_SET
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.past_revisions import read_history, undo
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.status_codec import write_status
from tests.cluster.controller.test_controller import canary, target

NAMESPACE = "shop"
ENDED_AT = 1_700_000_000.0
V1, V2, V3 = "podinfo:6.0.0", "podinfo:6.0.1", "podinfo:6.0.2"


class Shop:
    """A Canary whose target had some revisions, with the ReplicaSets that a cluster keeps of them."""

    def __init__(self, api, kubeconfig, *, reads=""):
        self.api, self.kubeconfig, self.number, self.reads = api, kubeconfig, 0, reads
        body = canary(NAMESPACE)
        body["spec"]["provider"], body["spec"]["skipAnalysis"] = "kubernetes", True
        body["spec"]["analysis"] = {"interval": "1s", "threshold": 1, "iterations": 1}
        self.create = lambda image: (api.create(self.target(image)), api.create(body), self.keep(image))

    def target(self, image):
        body = target(NAMESPACE, image)
        if self.reads:
            container = body["spec"]["template"]["spec"]["containers"][0]
            container["envFrom"] = [{"configMapRef": {"name": self.reads}}]
        return body

    def deploy(self, image):
        template = self.target(image)["spec"]["template"]
        self.api.patch(DEPLOYMENT.path(NAMESPACE, "podinfo"), {"spec": {"template": template}})
        self.keep(image)

    def keep(self, image):
        """Keep the present template, as the controller of Deployments does."""
        self.number += 1
        found = self.api.get(DEPLOYMENT.path(NAMESPACE, "podinfo"))
        name, labels = f"podinfo-{self.number}", {"app": "podinfo", "pod-template-hash": str(self.number)}
        template = found["spec"]["template"]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo", "controller": True}
        self.api.create(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": labels,
                    "annotations": {"deployment.kubernetes.io/revision": str(self.number)},
                    "ownerReferences": [{**owner, "uid": found["metadata"]["uid"]}],
                },
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
                },
            }
        )

    def run(self, *arguments):
        options = ["--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE]
        return CliRunner().invoke(app, [*arguments, *options], env={"NO_COLOR": "1", "COLUMNS": "200"})

    def history(self):
        result = self.run("history", "podinfo", "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["revisions"]

    def revisions(self):
        """Return the revision of each image."""
        return {each["images"][0]: each["revision"] for each in self.history() if each["images"]}

    def put(self, **fields):
        status = Status(**{"phase": Phase.SUCCEEDED, "since": ENDED_AT, "analysed_at": ENDED_AT, **fields})
        rollout = Rollout(name="podinfo", namespace=NAMESPACE, target=TargetRef(name="podinfo"), skip_analysis=True)
        self.api.patch(
            f"{CANARY.path(NAMESPACE, 'podinfo')}/status", {"status": write_status(rollout, status, generation=1)}
        )

    @property
    def image(self):
        return self.api.get(DEPLOYMENT.path(NAMESPACE, "podinfo"))["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.fixture
def shop(api, kubeconfig):
    """Three revisions: the second was rejected, the third is promoted, and the first before it."""
    shop = Shop(api, kubeconfig)
    shop.create(V1)
    for image in (V2, V3):
        shop.deploy(image)
    shop.known = shop.revisions()
    shop.put(applied=shop.known[V3], promoted=shop.known[V3], previous=shop.known[V1], rejected=(shop.known[V2],))
    return shop


def states(shop):
    names = ("running", "on_target", "under_test", "promoted", "rejected")
    history = shop.history()
    assert all(each["created_at"] and each["origin"].startswith("ReplicaSet podinfo-") for each in history)
    return {each["images"][0]: {name for name in names if each[name]} for each in history}


def test_the_history_says_what_became_of_each_revision(shop):
    assert states(shop) == {V3: {"running", "on_target", "promoted"}, V2: {"rejected"}, V1: {"promoted"}}


def test_the_history_is_a_table_of_the_latest_first(shop):
    lines = shop.run("history", "podinfo").stdout.splitlines()
    assert lines[0].split() == ["REVISION", "STATE", "SINCE", "IMAGES"]
    assert [(line.split()[1], line.split()[-1]) for line in lines[1:]] == [
        ("running", V3),
        ("rejected", V2),
        ("promoted", V1),
    ]


def test_a_revision_that_kubernetes_no_longer_keeps_stays_in_the_history(shop):
    gone = shop.known[V1]
    shop.api.delete(REPLICA_SET.path(NAMESPACE, "podinfo-1"))
    assert shop.history()[-1] == {
        "revision": gone,
        "running": False,
        "on_target": False,
        "under_test": False,
        "promoted": True,
        "rejected": False,
        "images": [],
        "created_at": "",
        "origin": "",
    }
    assert "not kept by Kubernetes" in shop.run("history", "podinfo").stdout


def test_the_replica_sets_of_another_target_are_not_of_the_history(shop):
    body = shop.api.get(REPLICA_SET.path(NAMESPACE, "podinfo-1"))
    body["metadata"] = {**body["metadata"], "name": "other-1", "resourceVersion": None}
    body["metadata"]["ownerReferences"][0]["uid"] = "another"
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    shop.api.create(body)
    assert len(shop.history()) == 3


def test_a_revision_under_test_is_named(shop):
    third = shop.known[V3]
    shop.put(phase=Phase.PROGRESSING, applied=third, promoted=shop.known[V1])
    assert states(shop)[V3] == {"under_test", "on_target"}
    refused = shop.run("undo", "podinfo")
    assert refused.exit_code == 1
    assert f"a rollout of revision {third} is under way" in refused.stderr


def test_an_undo_returns_to_the_revision_before_the_present(shop):
    result = shop.run("undo", "podinfo")
    assert result.exit_code == 0, result.output
    assert f"shop/podinfo: Deployment podinfo has revision {shop.known[V1]} again ({V1})" in result.stdout
    assert shop.image == V1
    assert states(shop)[V1] == {"on_target", "promoted"}


def test_an_undo_leaves_everything_but_the_template(shop):
    path = DEPLOYMENT.path(NAMESPACE, "podinfo")
    before = shop.api.get(path)
    shop.api.patch(path, {"spec": {"replicas": 0}, "metadata": {"labels": {"team": "shop"}}})
    assert shop.run("undo", "podinfo").exit_code == 0
    after = shop.api.get(path)
    assert (after["spec"]["replicas"], after["metadata"]["labels"]["team"]) == (0, "shop")
    assert after["spec"]["template"]["metadata"] == before["spec"]["template"]["metadata"]
    assert "pod-template-hash" not in after["spec"]["template"]["metadata"]["labels"]


def test_an_undo_can_name_its_revision(shop):
    shop.put(applied=shop.known[V3], promoted=shop.known[V3], previous=shop.known[V2])
    shop.api.patch(DEPLOYMENT.path(NAMESPACE, "podinfo"), {"spec": {"template": shop.target(V1)["spec"]["template"]}})
    assert shop.run("undo", "podinfo", "--to", shop.known[V3]).exit_code == 0
    assert shop.image == V3


def test_an_undo_refuses_a_rejected_revision(shop):
    second, first = shop.known[V2], shop.known[V1]
    result = shop.run("undo", "podinfo", "--to", second)
    assert result.exit_code == 1
    assert f"revision {second} was rejected once, and is never served again" in result.stderr
    assert f"canary undo --to can return to: {first}" in result.stderr
    assert shop.image == V3


def test_an_undo_refuses_the_revision_before_the_present_if_it_was_rejected_once(shop):
    first, third = shop.known[V1], shop.known[V3]
    shop.put(applied=third, promoted=third, previous=first, rejected=(first,))
    result = shop.run("undo", "podinfo")
    assert (result.exit_code, shop.image) == (1, V3)
    assert f"revision {first} was rejected once" in result.stderr
    assert "canary undo --to can return to: none" in result.stderr


def test_an_undo_refuses_an_unknown_revision(shop):
    result = shop.run("undo", "podinfo", "--to", "0123456789abcdef")
    assert (result.exit_code, shop.image) == (1, V3)
    assert "revision 0123456789abcdef is unknown" in result.stderr


def test_an_undo_refuses_a_revision_that_was_never_promoted(shop):
    unjudged = shop.known[V2]
    shop.put(applied=shop.known[V3], promoted=shop.known[V3], previous=shop.known[V1])
    result = shop.run("undo", "podinfo", "--to", unjudged)
    assert result.exit_code == 1
    assert f"revision {unjudged} is not a promoted one" in result.stderr


def test_an_undo_refuses_the_revision_of_the_target(shop):
    result = shop.run("undo", "podinfo", "--to", shop.known[V3])
    assert result.exit_code == 1
    assert "the target has revision" in result.stderr


def test_an_undo_refuses_a_revision_that_kubernetes_does_not_keep(shop):
    first = shop.known[V1]
    shop.api.delete(REPLICA_SET.path(NAMESPACE, "podinfo-1"))
    result = shop.run("undo", "podinfo")
    assert result.exit_code == 1
    assert f"Kubernetes keeps no pod template of revision {first}" in result.stderr


def test_the_first_promoted_revision_has_none_before_it(shop):
    shop.put(applied=shop.known[V3], promoted=shop.known[V3])
    result = shop.run("undo", "podinfo")
    assert result.exit_code == 1
    assert "found no revision that was promoted before" in result.stderr


def test_a_revision_whose_config_has_changed_is_another_one(api, kubeconfig):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NAMESPACE}}
    api.create({**config, "data": {"colour": "blue"}})
    shop = Shop(api, kubeconfig, reads="settings")
    shop.create(V1)
    shop.deploy(V2)
    before = shop.revisions()
    api.patch(CONFIG_MAP.path(NAMESPACE, "settings"), {"data": {"colour": "green"}})
    after = shop.revisions()
    assert not set(before.values()) & set(after.values())
    shop.put(applied=after[V2], promoted=after[V2], previous=before[V1])
    result = shop.run("undo", "podinfo")
    assert (result.exit_code, shop.image) == (1, V2)
    assert "or its configs have changed since" in result.stderr


def test_an_undo_warns_of_a_gitops_tool(shop):
    path = DEPLOYMENT.path(NAMESPACE, "podinfo")
    shop.api.patch(path, {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}})
    result = shop.run("undo", "podinfo")
    assert (result.exit_code, shop.image) == (0, V1)
    assert "found kustomize.toolkit.fluxcd.io/name on the target" in result.stderr


def test_a_full_list_of_rejections_is_shown(shop):
    rejected = tuple(f"{number:016x}" for number in range(REVISIONS.most))
    shop.put(applied=shop.known[V3], promoted=shop.known[V3], rejected=rejected)
    unknown = [each["revision"] for each in shop.history() if not each["images"]]
    assert unknown == [*reversed(rejected)]


async def test_an_undo_is_refused_if_the_canary_is_deleted_meanwhile(client, shop):
    key = f"{NAMESPACE}/podinfo"
    async with Cluster(client, namespace=NAMESPACE) as cluster:
        history = await read_history(cluster, Canaries(cluster, provider="kubernetes"), key)
    await asyncio.to_thread(shop.api.delete, CANARY.path(NAMESPACE, "podinfo"))
    async with Cluster(client, namespace=NAMESPACE) as cluster:
        with pytest.raises(Refused, match=f"canary {key} was deleted"):
            await undo(cluster, Canaries(cluster, provider="kubernetes"), history, history.choose(""))
    assert shop.image == V3


async def test_the_rollout_after_an_undo_is_an_ordinary_one(client, api, kubeconfig, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.0)
    shop = Shop(api, kubeconfig)

    async def ended(image):
        """Wait until the image is promoted, and return the history."""
        async with Cluster(client, namespace=NAMESPACE) as cluster, asyncio.timeout(60):
            canaries = Canaries(cluster, provider="kubernetes")
            while True:
                history = await read_history(cluster, canaries, f"{NAMESPACE}/podinfo")
                running = {each.template.images[0] for each in history.revisions if each.running and each.template}
                if history.status.phase in PROMOTED and history.status.is_settled and running == {image}:
                    return history
                await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        options = Options(namespace=NAMESPACE, listen="127.0.0.1", port=0)
        work = group.create_task(run_controller(client, options, version="0"))
        await asyncio.to_thread(shop.create, V1)
        await ended(V1)
        await asyncio.to_thread(shop.deploy, V2)
        history = await ended(V2)
        async with Cluster(client, namespace=NAMESPACE) as cluster:
            await undo(cluster, Canaries(cluster, provider="kubernetes"), history, history.choose(""))
        history = await ended(V1)
        work.cancel()
    assert [(each.template.images, each.states) for each in history.revisions] == [
        ((V2,), ("promoted",)),
        ((V1,), ("running",)),
    ]
