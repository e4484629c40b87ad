"""Before a hand-back each rejected target gets exactly its promoted revision again, or a reason why not."""

from __future__ import annotations

import asyncio
import json
from io import StringIO

import pytest
from typer.testing import CliRunner

from canarycore import Phase
from canarycore_cli.cluster.connect import ClusterOptions
from canarycore_cli.main import app
from canarycore_cli.migration.hand_back import hand_back
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, CONFIG_MAP, DEPLOYMENT
from canarycore_kubernetes.api.metadata import CONTENTS, REVISION
from canarycore_kubernetes.controller import make_canaries, open_adapters
from canarycore_kubernetes.migration.rejected_targets import (
    ReturnOutcome,
    carry_out,
    find_gitops_key,
    preview_returns,
)
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.selection.selectors import existing_selectors
from canarycore_kubernetes.workloads.primary import Copying, primary_copy, returned_target
from canarycore_kubernetes.workloads.revision import SCALED_TO_ZERO
from canarycore_runtime.ports import observe_rollout
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until

NAMESPACE = "handed-back"
KEY = f"{NAMESPACE}/podinfo"
PATH = CANARY.path(NAMESPACE, "podinfo")
TARGET = DEPLOYMENT.path(NAMESPACE, "podinfo")
OPTIONS = Options(namespace=NAMESPACE, metrics_server="http://127.0.0.1:9")
LABELS = {"app": "podinfo"}
SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": LABELS},
        }
    ]
}
ENV = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env", "namespace": NAMESPACE}, "data": {"a": "1"}}


def workload(image, *, reads_config=False, **spec):
    body = target(NAMESPACE, image)
    pod = body["spec"]["template"]["spec"]
    pod |= spec
    if reads_config:
        pod["containers"][0]["envFrom"] = [{"configMapRef": {"name": "env"}}]
    return body


class Bench:
    def __init__(self, api, cluster, canaries, adapters):
        self.api, self.cluster, self.canaries, self.adapters = api, cluster, canaries, adapters

    async def promote_first(self, **template):
        """Give the Canary a primary with the revision of its target."""
        self.api.create(workload("podinfo:1", **template))
        self.api.create(canary(NAMESPACE))
        await self.follow()
        stored = await self.canaries.load(KEY)
        observed = await self.adapters.workload.observe(stored.rollout)
        await self.adapters.workload.initialise(stored.rollout, observed.target.revision)
        return observed.target.revision

    async def reject(self, promoted, phase=Phase.FAILED, **template):
        """Give the target another revision, and the Canary the status after its rejection."""
        self.api.patch(
            TARGET, {"spec": {"replicas": 0, "template": workload("podinfo:2", **template)["spec"]["template"]}}
        )
        await self.follow()
        stored = await self.adapters.store.load(KEY)
        observation = await observe_rollout(self.adapters, stored, now=1000.0)
        status = stored.status.but(
            phase=phase, promoted=promoted, applied=observation.target.revision, since=900.0, analysed_at=900.0
        )
        await self.adapters.store.commit(KEY, status, stored.version)
        await self.follow()
        return observation.target.revision

    async def follow(self):
        """Wait until the caches have the newest Canary and target."""
        version = self.api.get(PATH)["metadata"]["resourceVersion"]
        await self.canaries.keys()
        await until(lambda: self.canaries.version(KEY) == version)
        generation = self.api.get(TARGET)["metadata"]["generation"]
        for cache in list(self.cluster._caches.values()):
            if cache.view.kind is DEPLOYMENT:
                await until(lambda cache=cache: cache.get(NAMESPACE, "podinfo").template.generation == generation)

    async def revisions(self):
        stored = await self.canaries.load(KEY)
        observed = await self.adapters.workload.observe(stored.rollout)
        return observed.target.revision, observed.primary.revision

    async def preview(self):
        (each,) = await preview_returns(self.cluster, self.canaries)
        return each

    async def hand_back(self):
        (each,) = await carry_out(self.cluster, self.canaries, await preview_returns(self.cluster, self.canaries))
        await self.follow()
        return each


@pytest.fixture
async def bench(client, api):
    async with Cluster(client, namespace=NAMESPACE) as cluster:
        canaries = make_canaries(cluster, OPTIONS)
        async with open_adapters(cluster, canaries, OPTIONS) as adapters:
            yield Bench(api, cluster, canaries, adapters)


@pytest.mark.parametrize(
    "template",
    [{}, SPREAD, {"reads_config": True}, {"nodeSelector": {"disk": "ssd"}}],
    ids=["plain", "spread", "config", "node-selector"],
)
async def test_a_rejected_target_gets_its_promoted_revision(bench, api, template):
    if "reads_config" in template:
        api.create(ENV)
    promoted = await bench.promote_first(**template)
    before = api.get(TARGET)
    rejected = await bench.reject(promoted, **template)
    assert (await bench.revisions()) == (rejected, promoted) != (promoted, promoted)
    assert (await bench.hand_back()).outcome is ReturnOutcome.RETURNED
    assert await bench.revisions() == (promoted, promoted)
    after = api.get(TARGET)
    assert after["spec"]["template"]["spec"] == before["spec"]["template"]["spec"]
    assert after["spec"]["replicas"] == 0
    assert after["spec"]["selector"] == before["spec"]["selector"]


async def test_a_target_with_a_primary_that_flagger_made_gets_its_promoted_revision(bench, api):
    """Such a primary has no annotation of ours, and in its selectors the Deployment's name with the suffix."""
    api.create(ENV)
    await bench.promote_first(reads_config=True, **SPREAD)
    path = DEPLOYMENT.path(NAMESPACE, "podinfo-primary")
    primary = api.patch(path, {"metadata": {"annotations": {REVISION: None, CONTENTS: None}}})
    assert primary["spec"]["template"]["spec"]["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": "env-primary"}}
    ]
    before = api.get(TARGET)
    await bench.reject("6d4f58d956", reads_config=True, **SPREAD)
    assert (await bench.hand_back()).outcome is ReturnOutcome.RETURNED
    assert api.get(TARGET)["spec"]["template"]["spec"] == before["spec"]["template"]["spec"]


async def test_the_preview_writes_nothing_and_shows_the_change(bench, api):
    await bench.reject(await bench.promote_first())
    before = api.get(TARGET)
    each = await bench.preview()
    assert each.outcome is ReturnOutcome.POSSIBLE
    (container,) = each.change.after["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "podinfo:1"
    assert api.get(TARGET) == before


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.INITIALIZED])
async def test_a_target_that_was_not_rejected_stays(bench, phase):
    await bench.reject(await bench.promote_first(), phase)
    assert (await bench.preview()).outcome is ReturnOutcome.NOT_NEEDED


async def test_a_revision_after_the_rejection_stays(bench, api):
    await bench.reject(await bench.promote_first())
    api.patch(TARGET, {"spec": {"template": workload("podinfo:3")["spec"]["template"]}})
    await bench.follow()
    each = await bench.preview()
    assert (each.outcome, "not rejected" in each.reason) == (ReturnOutcome.NOT_NEEDED, True)


async def test_a_status_of_flagger_needs_no_return(bench, api):
    await bench.reject(await bench.promote_first())
    condition = {"type": "Promoted", "status": "False", "reason": "Failed", "message": ""}
    status = {"lastAppliedSpec": "565c8797cb", "lastPromotedSpec": "6d4f58d956", "conditions": [condition]}
    api.patch(f"{PATH}/status", {"status": status})
    await bench.follow()
    assert (await bench.preview()).outcome is ReturnOutcome.NOT_NEEDED


async def test_a_rollout_under_way_is_named(bench):
    await bench.reject(await bench.promote_first(), Phase.PROGRESSING)
    each = await bench.preview()
    assert each.outcome is ReturnOutcome.UNDER_WAY
    assert "Progressing" in each.reason


async def test_a_second_hand_back_does_nothing(bench):
    await bench.reject(await bench.promote_first())
    await bench.hand_back()
    assert (await bench.hand_back()).outcome is ReturnOutcome.NOT_NEEDED


async def test_another_content_of_a_config_is_refused_with_its_remedy(bench, api):
    api.create(ENV)
    promoted = await bench.promote_first(reads_config=True)
    api.patch(CONFIG_MAP.path(NAMESPACE, "env"), {"data": {"a": "2"}})
    await bench.reject(promoted, reads_config=True)
    each = await bench.preview()
    assert each.outcome is ReturnOutcome.REFUSED
    assert "found other contents of configmap/env" in each.reason


async def test_a_target_of_a_gitops_tool_is_refused_because_it_would_come_back(bench, api):
    promoted = await bench.promote_first()
    await bench.reject(promoted)
    api.patch(TARGET, {"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}})
    each = await bench.hand_back()
    assert each.outcome is ReturnOutcome.REFUSED
    assert "Revert it in the source" in each.reason


async def test_a_target_that_has_changed_since_the_preview_is_refused(bench, api):
    await bench.reject(await bench.promote_first())
    returns = await preview_returns(bench.cluster, bench.canaries)
    api.patch(TARGET, {"spec": {"template": workload("podinfo:3")["spec"]["template"]}})
    (each,) = await carry_out(bench.cluster, bench.canaries, returns)
    assert each.outcome is ReturnOutcome.REFUSED
    assert "podinfo:3" in json.dumps(api.get(TARGET))


async def test_a_primary_with_another_revision_than_the_promoted_one_is_refused(bench):
    await bench.promote_first()
    await bench.reject("0123456789abcdef")
    each = await bench.preview()
    assert each.outcome is ReturnOutcome.REFUSED
    assert "not the promoted 0123456789abcdef" in each.reason


def test_the_tools_that_apply_again_are_known():
    marked = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}}
    assert find_gitops_key(marked) == "argocd.argoproj.io/tracking-id"
    assert find_gitops_key({"metadata": {"labels": {"app": "x"}}}) == ""


# the template -------------------------------------------------------------------------------------------------------


def spread(label, value):
    selector = {"matchLabels": {label: value}}
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    expression = {"matchExpressions": [{"key": label, "operator": "In", "values": [value]}]}
    return {
        "topologySpreadConstraints": [{"labelSelector": expression, "topologyKey": "zone"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
    }


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
@pytest.mark.parametrize("value", ["podinfo", "w" * 63], ids=["short", "long"])
@pytest.mark.parametrize(
    "annotations", [{}, {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}], ids=["bare", "annotated"]
)
def test_the_template_of_a_copy_leads_back_to_the_template_of_its_target(kind, value, annotations):
    labels = {"app": value, "part": "web"}
    body = workload("podinfo:1", reads_config=True, **spread("app", value))
    body |= {"kind": kind, "spec": {"selector": {"matchLabels": labels}, "template": body["spec"]["template"]}}
    metadata = body["spec"]["template"]["metadata"]
    metadata |= {"labels": labels | {"team": "a"}, **annotations}
    copying = Copying(owner={}, revision="r", copies={("ConfigMap", "env"): "env-primary"})
    primary = primary_copy(body, copying)
    assert primary["spec"]["template"] != body["spec"]["template"]
    rejected = body | {"spec": body["spec"] | {"template": workload("podinfo:2")["spec"]["template"]}}
    pods = existing_selectors(labels, primary["spec"]["selector"]["matchLabels"], ("app",))
    returned = returned_target(rejected, primary, pods, {("ConfigMap", "env-primary"): "env"})
    assert returned == body


def test_a_daemon_set_at_rest_stays_there_and_keys_of_gitops_tools_stay():
    template = workload("podinfo:1")["spec"]["template"]
    body = {"kind": "DaemonSet", "metadata": {"name": "podinfo", "namespace": NAMESPACE}, "apiVersion": "apps/v1"}
    body["spec"] = {"selector": {"matchLabels": LABELS}, "template": template}
    primary = primary_copy(body, Copying(owner={}, revision="r"))
    rejected = workload("podinfo:2", nodeSelector={SCALED_TO_ZERO: "true"})["spec"]["template"]
    rejected["metadata"]["annotations"] = {"reconcile.toolkit.fluxcd.io/x": "1"}
    pods = existing_selectors(LABELS, primary["spec"]["selector"]["matchLabels"], ("app",))
    returned = returned_target(body | {"spec": body["spec"] | {"template": rejected}}, primary, pods, {})["spec"][
        "template"
    ]
    assert returned["spec"]["nodeSelector"] == {SCALED_TO_ZERO: "true"}
    assert returned["metadata"]["annotations"] == {"reconcile.toolkit.fluxcd.io/x": "1"}
    assert returned["spec"]["containers"] == template["spec"]["containers"]


# the command --------------------------------------------------------------------------------------------------------


async def test_the_command_writes_only_with_yes(bench, api, kubeconfig):
    promoted = await bench.promote_first()
    await bench.reject(promoted)
    before = api.get(TARGET)

    def run(*arguments):
        options = ["migrate", "--back", "-n", NAMESPACE, "--kubeconfig", str(kubeconfig), *arguments]
        return CliRunner().invoke(app, options, catch_exceptions=False)

    dry = await asyncio.to_thread(run)
    assert dry.exit_code == 0, dry.output
    assert "image: podinfo:2" in dry.output
    assert "image: podinfo:1" in dry.output
    assert "Nothing is written" in dry.output
    assert api.get(TARGET) == before
    done = await asyncio.to_thread(run, "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["canaries"][0]["outcome"] == "returned"
    await bench.follow()
    assert await bench.revisions() == (promoted, promoted)


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "image"), [("y", "podinfo:1"), ("", "podinfo:2"), ("no", "podinfo:2")])
async def test_on_a_terminal_the_command_asks(bench, api, kubeconfig, monkeypatch, answer, image):
    await bench.reject(await bench.promote_first())
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    options = ClusterOptions(namespace=NAMESPACE, kubeconfig=str(kubeconfig))
    assert await asyncio.to_thread(hand_back, options, yes=False, as_json=False) == 0
    (container,) = api.get(TARGET)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
