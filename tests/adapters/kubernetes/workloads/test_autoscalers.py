"""Facts of the target's autoscaler, and its copy for the primary. test_primary compares copies with golden traces."""

import pytest
from attrs import evolve

from canarycore.manifest import parse
from canarycore_kubernetes.scaling.autoscalers import PAUSED, SCALERS, ScalerFacts, primary_scaler, with_scale
from tests.adapters.kubernetes.golden import OWNER


def canary(kind, name="podinfo", **reference):
    return parse(
        {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "default"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "autoscalerRef": {"apiVersion": "v1", "kind": kind, "name": name, **reference},
                "service": {"port": 80},
                "analysis": {"interval": "1m", "threshold": 1, "iterations": 1},
            },
        }
    )


def hpa(**spec):
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "podinfo",
            "namespace": "default",
            "labels": {"team": "web", "a.toolkit.fluxcd.io/b": "c"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "minReplicas": 2,
            "maxReplicas": 4,
            **spec,
        },
    }


def scaled_object(*, annotations=None, query="", name="", **spec):
    trigger = {"type": "prometheus", "name": name, "metadata": {"serverAddress": "http://prometheus"}}
    trigger["metadata"] |= {"query": query} if query else {}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "so", "namespace": "default", "annotations": annotations or {}},
        "spec": {"scaleTargetRef": {"name": "podinfo"}, "triggers": [trigger], **spec},
    }


# ---------------------------------------------------------------------------------------------------------------- facts


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (hpa(), ScalerFacts(minimum=2)),
        (hpa(minReplicas=None), ScalerFacts(minimum=1)),
        (scaled_object(minReplicaCount=3), ScalerFacts(minimum=3, paused=False)),
        (scaled_object(minReplicaCount=0), ScalerFacts(minimum=1, paused=False)),
        (scaled_object(annotations={PAUSED: "0"}), ScalerFacts(minimum=1, paused=True)),
        (scaled_object(annotations={PAUSED: "2"}), ScalerFacts(minimum=1, paused=False)),
    ],
)
def test_only_a_scaled_object_is_paused(body, facts):
    """A HorizontalPodAutoscaler leaves a workload at zero alone."""
    scaler = SCALERS[body["kind"]].project(body, None)
    assert scaler == evolve(facts, scales=scaler.scales)
    assert scaler.scales in {("", "podinfo"), ("", "")}


# ------------------------------------------------------------------------------------------------------------- the copy


def test_a_copy_scales_the_primary_and_takes_over_no_labels_of_gitops_tools():
    copy = primary_scaler(hpa(), canary("HorizontalPodAutoscaler"), OWNER)
    assert copy["spec"] == hpa()["spec"] | {
        "scaleTargetRef": hpa()["spec"]["scaleTargetRef"] | {"name": "podinfo-primary"}
    }
    assert copy["metadata"] == {
        "name": "podinfo-primary",
        "namespace": "default",
        "labels": {"team": "web"},
        "ownerReferences": [OWNER],
    }


@pytest.mark.parametrize(
    ("replicas", "limits"),
    [({"minReplicas": 5}, (5, 4)), ({"maxReplicas": 9}, (2, 9)), ({"minReplicas": 5, "maxReplicas": 9}, (5, 9))],
)
def test_limits_for_the_primary_override_the_targets(replicas, limits):
    of_hpa = primary_scaler(hpa(), canary("HorizontalPodAutoscaler", primaryScalerReplicas=replicas), OWNER)["spec"]
    original = scaled_object(minReplicaCount=2, maxReplicaCount=4)
    of_keda = primary_scaler(original, canary("ScaledObject", "so", primaryScalerReplicas=replicas), OWNER)["spec"]
    assert (of_hpa["minReplicas"], of_hpa["maxReplicas"]) == limits
    assert (of_keda["minReplicaCount"], of_keda["maxReplicaCount"]) == limits


@pytest.mark.parametrize(
    ("query", "of_primary"),
    [
        ('sum(x{app="podinfo"})', 'sum(x{app="podinfo-primary"})'),
        ('sum(x{app="podinfo-canary"})', 'sum(x{app="podinfo-primary"})'),
        ("""sum(x{app='podinfo-canary'})""", """sum(x{app='podinfo-primary'})"""),
        ('sum(x{pod=~"podinfo-[0-9a-z]+-.*"})', 'sum(x{pod=~"podinfo-primary-[0-9a-z]+-.*"})'),
        ('sum(x{pod=~"^podinfo.*"})', 'sum(x{pod=~"^podinfo-primary.*"})'),
        ('sum(x{app=~"other|podinfo"})', 'sum(x{app=~"other|podinfo-primary"})'),
        ("avg:hits{app:podinfo, env:podinfo-1}", "avg:hits{app:podinfo-primary, env:podinfo-1}"),
        ("SELECT count(*) FROM jobs WHERE app = 'podinfo'", "SELECT count(*) FROM jobs WHERE app = 'podinfo-primary'"),
        ('sum(x{service="shop-canary"})', 'sum(x{service="shop-primary"})'),
        ('sum(x{service="shop"})', 'sum(x{service="shop"})'),
        ('sum(podinfo_hits{app="podinfo"})', 'sum(podinfo_hits{app="podinfo-primary"})'),
        ("podinfo + podinfo:rate:sum", "podinfo + podinfo:rate:sum"),
        ('x{app="podinfo-api"} + x{app="my-podinfo"}', 'x{app="podinfo-api"} + x{app="my-podinfo"}'),
        ('x{host="podinfo.example.com", url="/podinfo"}', 'x{host="podinfo.example.com", url="/podinfo"}'),
        ('x{namespace="podinfo", container="podinfo"}', 'x{namespace="podinfo", container="podinfo"}'),
        ('x{kubernetes_namespace=~"podinfo|b"}', 'x{kubernetes_namespace=~"podinfo|b"}'),
        ("avg:x{kube_namespace:podinfo}", "avg:x{kube_namespace:podinfo}"),
        ('sum(x{app="podinfo-primary"})', 'sum(x{app="podinfo-primary"})'),
        ('sum(x{app="other"})', 'sum(x{app="other"})'),
    ],
)
def test_a_query_about_the_target_or_its_canary_becomes_one_about_the_primary(query, of_primary):
    reference = canary("ScaledObject", "so")
    named = evolve(reference, spec=evolve(reference.spec, service=evolve(reference.spec.service, name="shop")))
    copy = primary_scaler(scaled_object(query=query), named, OWNER)
    assert copy["spec"]["triggers"][0]["metadata"] == {"serverAddress": "http://prometheus", "query": of_primary}


@pytest.mark.parametrize(
    ("described", "of_primary"),
    [
        ({"kind": "Deployment", "name": "podinfo"}, {"kind": "Deployment", "name": "podinfo-primary"}),
        ({"kind": "Service", "name": "podinfo"}, {"kind": "Service", "name": "podinfo"}),
    ],
)
def test_a_metric_of_the_target_becomes_one_of_the_primary(described, of_primary):
    metric = {"type": "Object", "object": {"describedObject": described, "metric": {"name": "podinfo"}}}
    (copied,) = primary_scaler(hpa(metrics=[metric]), canary("HorizontalPodAutoscaler"), OWNER)["spec"]["metrics"]
    assert copied["object"] == {"describedObject": of_primary, "metric": {"name": "podinfo"}}


def test_queries_for_the_primary_replace_those_of_their_triggers_and_no_others():
    reference = canary("ScaledObject", "so", primaryScalerQueries={"rate": "of the primary"})
    copy = primary_scaler(scaled_object(name="rate", query="podinfo"), reference, OWNER)
    other = primary_scaler(scaled_object(name="other", query="podinfo"), reference, OWNER)
    assert copy["spec"]["triggers"][0]["metadata"]["query"] == "of the primary"
    assert other["spec"]["triggers"][0]["metadata"]["query"] == "podinfo"


def test_a_copy_of_a_paused_autoscaler_is_not_paused():
    annotations = {PAUSED: "0", "scaledobject.keda.sh/transfer-hpa-ownership": "true", "a.toolkit.fluxcd.io/b": "c"}
    copy = primary_scaler(scaled_object(annotations=annotations), canary("ScaledObject", "so"), OWNER)
    assert copy["metadata"]["annotations"] == {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}


def test_the_autoscaler_of_keda_for_the_primary_has_its_own_name():
    advanced = {"horizontalPodAutoscalerConfig": {"name": "mine"}, "restoreToOriginalReplicaCount": True}
    copy = primary_scaler(scaled_object(advanced=advanced), canary("ScaledObject", "so"), OWNER)
    assert copy["spec"]["advanced"] == advanced | {"horizontalPodAutoscalerConfig": {"name": "mine-primary"}}


def test_copying_leaves_the_original_unchanged():
    original, before = scaled_object(query="podinfo"), scaled_object(query="podinfo")
    primary_scaler(original, canary("ScaledObject", "so"), OWNER)
    assert original == before


def test_an_updated_copy_keeps_the_fields_of_others():
    scaler = primary_scaler(hpa(), canary("HorizontalPodAutoscaler"), OWNER)
    scaler["metadata"]["annotations"] = {"note": "somebody's"}
    update = primary_scaler(hpa(maxReplicas=9), canary("HorizontalPodAutoscaler"), OWNER)
    after = with_scale(scaler, update)
    assert after["metadata"] == scaler["metadata"]
    assert after["spec"] == update["spec"]
