"""A manifest on a bench: the owner's routing objects and policy stay. Remarks name each change, and errors each gap."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from canarycore_planes.bench import PROMETHEUS
from canarycore_planes.rehearsal.manifest import MOST_PODS, StagedManifest, Unrehearsable, stage

Json = dict[str, Any]

CANARY: Json = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "shop", "namespace": "prod"},
    "spec": {
        "provider": "skipper",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"},
        "autoscalerRef": {"kind": "HorizontalPodAutoscaler", "name": "shop"},
        "service": {"port": 80, "targetPort": "web"},
        "analysis": {
            "interval": "10s",
            "metrics": [{"name": "orders", "templateRef": {"name": "orders", "namespace": "monitoring"}}],
            "webhooks": [
                {"name": "ask", "type": "confirm-rollout", "url": "http://gate.test/"},
                {"name": "back", "type": "rollback", "url": "http://gate.test/"},
            ],
            "alerts": [{"name": "chat", "providerRef": {"name": "chat"}}],
        },
    },
}
TEMPLATE: Json = {
    "kind": "MetricTemplate",
    "metadata": {"name": "orders", "namespace": "monitoring"},
    "spec": {"provider": {"type": "prometheus", "address": "http://prometheus.test", "secretRef": {"name": "x"}}},
}
DEPLOYMENT: Json = {
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "prod"},
    "spec": {
        "replicas": 50,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop", "team": "a"}},
            "spec": {"serviceAccountName": "x", "containers": [{"ports": [{"name": "web", "containerPort": 9000}]}]},
        },
    },
}
INGRESS: Json = {
    "kind": "Ingress",
    "metadata": {"name": "front", "namespace": "prod"},
    "spec": {"tls": [{}], "rules": [{"host": "shop.example.com", "http": {"paths": []}}]},
}
SCALER: Json = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"}}
EVERYTHING = (CANARY, TEMPLATE, DEPLOYMENT, INGRESS, SCALER)


def staged(*documents: Json, plane: str = "skipper", **gates: bool) -> StagedManifest:
    return stage(documents, documents[0], plane, gates)


def changed(**spec: Any) -> Json:
    body = deepcopy(CANARY)
    body["spec"] |= spec
    return body


def test_the_manifest_itself_stays_as_it_is():
    before = deepcopy(EVERYTHING)
    staged(*EVERYTHING)
    assert before == EVERYTHING


def test_the_owners_ingress_leads_its_host_in_without_tls():
    found = staged(*EVERYTHING)
    assert found.host == "shop.example.com"
    (ingress,) = (body for body in found.objects if body["kind"] == "Ingress")
    assert ingress["spec"] == {"rules": INGRESS["spec"]["rules"]}
    assert "Ingress front: without TLS, as a bench has no certificates" in found.remarks


def test_a_file_without_an_entry_gets_one():
    found = staged(CANARY, TEMPLATE)
    (ingress,) = (body for body in found.objects if body["kind"] == "Ingress")
    assert ingress["metadata"] == {"name": "front", "namespace": "prod"}
    assert found.host == "shop.test"
    assert any("added the Ingress front for shop.test" in remark for remark in found.remarks)


def test_contour_gets_a_root_proxy_that_includes_the_route():
    body = changed(provider="contour", analysis={})
    (proxy,) = staged(body, plane="contour").objects
    assert proxy["kind"] == "HTTPProxy"
    assert proxy["spec"]["includes"] == [{"name": "shop", "conditions": [{"prefix": "/"}]}]


def test_the_pods_run_the_rehearsals_versions_under_the_owners_labels():
    found = staged(*EVERYTHING)
    spec = found.deployment["spec"]
    assert spec["selector"] == DEPLOYMENT["spec"]["selector"]
    assert spec["template"]["metadata"] == DEPLOYMENT["spec"]["template"]["metadata"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "web", "containerPort": 9000}]
    assert "serviceAccountName" not in spec["template"]["spec"]
    assert spec["replicas"] == MOST_PODS
    assert "Deployment shop: 3 pods in place of 50" in found.remarks


def test_a_file_without_the_target_gets_one():
    found = staged(CANARY, TEMPLATE)
    assert found.deployment["metadata"] == {"name": "shop", "namespace": "prod"}
    assert found.deployment["spec"]["selector"] == {"matchLabels": {"app": "shop"}}


def test_metrics_come_from_the_prometheus_of_the_bench():
    found = staged(*EVERYTHING)
    (template,) = (body for body in found.objects if body["kind"] == "MetricTemplate")
    assert template["spec"]["provider"] == {"type": "prometheus", "address": PROMETHEUS}
    assert found.namespaces == ["prod", "monitoring"]


def test_the_bench_answers_the_webhooks_and_asks_for_no_rollback():
    addresses = [hook["url"].rpartition("/")[2] for hook in staged(*EVERYTHING).canary["spec"]["analysis"]["webhooks"]]
    assert addresses == ["open", "closed"]
    closed = staged(*EVERYTHING, ask=False, back=True).canary["spec"]["analysis"]["webhooks"]
    assert [hook["url"].rpartition("/")[2] for hook in closed] == ["closed", "open"]


def test_remarks_name_all_that_is_left_out():
    remarks = " ".join(staged(*EVERYTHING).remarks)
    for text in ("autoscalerRef", "alerts", "HorizontalPodAutoscaler shop", "webhooks: ask, back"):
        assert text in remarks
    spec = staged(*EVERYTHING).canary["spec"]
    assert "autoscalerRef" not in spec
    assert "alerts" not in spec["analysis"]


@pytest.mark.parametrize(
    ("body", "others", "message"),
    [
        (changed(provider="contour"), (), "found contour, expected skipper (--plane skipper). Use --plane contour."),
        (changed(provider="istio"), (), "found istio, expected skipper (--plane skipper). Leave --plane out"),
        (changed(targetRef={"kind": "DaemonSet", "name": "a"}), (), "spec.targetRef.kind: found DaemonSet"),
        ({**CANARY, "spec": {**CANARY["spec"], "ingressRef": None}}, (TEMPLATE,), ""),
        (CANARY, (), "spec.analysis.metrics[0].templateRef: found monitoring/orders, which the file lacks"),
        (
            CANARY,
            ({**TEMPLATE, "spec": {"provider": {"type": "datadog"}}},),
            "found datadog, expected prometheus. A bench has no outside network",
        ),
    ],
)
def test_a_bench_refuses_what_it_cannot_rehearse_and_names_the_remedy(
    body: Json, others: tuple[Json, ...], message: str
):
    if not message:
        del body["spec"]["ingressRef"]
        message = "spec.ingressRef: found nothing, expected a value, as Skipper routes by it. Add it."
    with pytest.raises(Unrehearsable) as refusal:
        staged(body, *others)
    assert message in str(refusal.value)


def test_a_canary_without_a_provider_gets_that_of_the_data_plane():
    body = changed()
    del body["spec"]["provider"]
    assert staged(body, TEMPLATE).canary["spec"]["provider"] == "skipper"


@pytest.mark.parametrize("junk", [{}, {"kind": "Service"}, {"kind": "Service", "metadata": []}, {"kind": 3}])
def test_a_document_of_unknown_form_counts_for_nothing(junk: Json):
    kinds = [body["kind"] for body in staged(CANARY, TEMPLATE, junk).objects]
    assert kinds == ["MetricTemplate", "Ingress"]
