"""An observer reads no Secret, and reports the moves that it therefore cannot compare."""

from __future__ import annotations

import pytest

from canarycore import Check, CheckKind
from canarycore._verdicts import Verdict, judge
from canarycore.questions import MetricQuestion
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, SECRET
from canarycore_kubernetes.api.metadata import REVISION, owner_reference
from canarycore_kubernetes.api.secrets import WithheldError
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.observer.decisions import passing_answer
from canarycore_kubernetes.observer.observer import Observer, read_only_cluster
from canarycore_kubernetes.observer.report import HIDDEN, ComparisonReport
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from tests.cluster.patience import until

KEY = "observed/podinfo"
NAMESPACE = "observed"
OPTIONS = Options(namespace=NAMESPACE, mesh_provider="kubernetes")


def deployment(name, secret, image="podinfo:1"):
    labels = {"app": name}
    source = {"secretRef": {"name": secret}}
    container = {"name": "app", "image": image, "envFrom": [source]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def secret(text, name="password"):
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": {"a": text}}


CANARY_BODY = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "podinfo", "namespace": NAMESPACE},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 80},
        "analysis": {
            "interval": "10s",
            "threshold": 2,
            "iterations": 3,
            "metrics": [
                {"name": "sold", "interval": "1m", "templateRef": {"name": "sold"}, "thresholdRange": {"min": 1}}
            ],
        },
    },
}
TEMPLATE = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "MetricTemplate",
    "metadata": {"name": "sold", "namespace": NAMESPACE},
    "spec": {
        "provider": {"type": "prometheus", "address": "http://127.0.0.1:9", "secretRef": {"name": "password"}},
        "query": "sold",
    },
}


@pytest.fixture
def rolled_out(api):
    """A Canary of Flagger's at rest, whose two sides read a Secret."""
    canary = api.create(CANARY_BODY)
    owner = {"ownerReferences": [owner_reference("podinfo", canary["metadata"]["uid"])]}
    for body in (TEMPLATE, secret("one"), deployment("podinfo", "password")):
        api.create(body)
    for body in (secret("one", "password-primary"), deployment("podinfo-primary", "password-primary")):
        api.create(body | {"metadata": body["metadata"] | owner})
    write(api, "Succeeded")
    return api


def write(api, phase, **fields):
    status = {"phase": phase, "canaryWeight": 0, "failedChecks": 0, "iterations": 0, "lastAppliedSpec": "5d8c"}
    status |= {"lastPromotedSpec": "5d8c", "trackedConfigs": {"secret/password": "a1"}, "conditions": [], **fields}
    status |= {"lastTransitionTime": "2024-05-01T10:00:00Z"}
    api.patch(CANARY.path(NAMESPACE, "podinfo") + "/status", {"status": status})


async def observe_workloads(cluster, **reading):
    canaries = Canaries(cluster, provider="kubernetes")
    workloads = ClusterWorkloads(cluster, canaries, ReadingOptions(**reading))
    stored = await canaries.load(KEY)
    return await workloads.observe(stored.rollout)


async def test_both_sides_of_a_target_at_rest_carry_the_same_revision(client, rolled_out, server):
    async with read_only_cluster(client, OPTIONS) as cluster:
        workloads = await observe_workloads(cluster, secrets=cluster.reads_secrets)
    assert workloads.target.revision == workloads.primary.revision != ""
    assert not [verb for verb, what in server.counts if what == "secrets" and verb in {"get", "list", "watch"}]


async def test_another_image_is_another_revision_without_reading_secrets(client, rolled_out):
    rolled_out.patch(DEPLOYMENT.path(NAMESPACE, "podinfo"), deployment("podinfo", "password", "podinfo:2"))
    async with read_only_cluster(client, OPTIONS) as cluster:
        workloads = await observe_workloads(cluster, secrets=cluster.reads_secrets)
    assert workloads.target.revision != workloads.primary.revision


async def test_a_primary_with_the_recorded_checksum_of_its_secret_has_its_targets_revision(client, rolled_out):
    """Our primaries record it. The observer computes the same revision as the controller."""
    async with Cluster(client, namespace=NAMESPACE) as cluster:
        canaries = Canaries(cluster, provider="kubernetes")
        rolled_out.delete(DEPLOYMENT.path(NAMESPACE, "podinfo-primary"))
        rolled_out.delete(SECRET.path(NAMESPACE, "password-primary"))
        workloads = ClusterWorkloads(cluster, canaries)
        stored = await canaries.load(KEY)
        revision = (await workloads.observe(stored.rollout)).target.revision
        await workloads.initialise(stored.rollout, revision)
        ours = await workloads.observe(stored.rollout)
    assert (
        rolled_out.get(DEPLOYMENT.path(NAMESPACE, "podinfo-primary"))["metadata"]["annotations"][REVISION] == revision
    )
    async with read_only_cluster(client, OPTIONS) as cluster:
        workloads = await observe_workloads(cluster, secrets=cluster.reads_secrets)
    assert (workloads.target.revision, workloads.primary.revision) == (ours.target.revision, ours.primary.revision)


async def test_a_rollout_begun_by_a_secret_alone_is_not_compared(client, rolled_out):
    report = ComparisonReport(version="0", provider="kubernetes")
    async with read_only_cluster(client, OPTIONS) as cluster:
        canaries = Canaries(cluster, provider="kubernetes")
        async with open_adapters(cluster, canaries, OPTIONS) as parts, Observer(parts, canaries, report, grace=0.2):
            await until(lambda: KEY in report._adoptable)
            write(rolled_out, "Progressing", trackedConfigs={"secret/password": "b2"})
            await until(lambda: report.tally[HIDDEN] == 1)
            write(rolled_out, "Progressing", iterations=1, trackedConfigs={"secret/password": "b2"})
            await until(lambda: report.tally[HIDDEN] == 2)
    assert set(report.tally) == {HIDDEN}


async def test_a_metric_that_needs_a_secret_is_withheld(client, rolled_out, server):
    async with read_only_cluster(client, OPTIONS) as cluster:
        canaries = Canaries(cluster, provider="kubernetes")
        async with open_adapters(cluster, canaries, OPTIONS) as parts:
            stored = await canaries.load(KEY)
            (check,) = stored.rollout.checks
            with pytest.raises(WithheldError, match=f"secret password.{NAMESPACE} is not read"):
                await parts.metrics.query(stored.rollout, MetricQuestion(key="1", check=check, revision="1"))


@pytest.mark.parametrize(("low", "high"), [(5.0, None), (None, -5.0), (1.0, 2.0)])
def test_the_assumed_answer_lets_a_check_pass(low, high):
    check = Check(name="x", kind=CheckKind.QUERY, minimum=low, maximum=high)
    assert judge(check, passing_answer(check), min_samples=100).verdict is Verdict.PASS
