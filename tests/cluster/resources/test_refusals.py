"""Refusals of a real API server: each is one Event, a condition, and the first line of `canary get` and `describe`."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.deploy.objects import rules
from canarycore_planes.control_plane.api import eventually
from tests.cluster.troubled import HPA_REFERENCE, INGRESS_REFERENCE, TroubledCanary

SCALED_REFERENCE = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "absent"}

MANIFESTS = {
    "an absent target": ("TargetMissing", ["Deployment podinfo", "Create it"], {"is_absent": True}),
    "no selector label": ("Refused", ["deployment podinfo", "--selector-labels"], {"labels": {"tier": "web"}}),
    "an absent autoscaler": (
        "ObjectMissing",
        ["HorizontalPodAutoscaler absent", "create it"],
        {"autoscalerRef": HPA_REFERENCE},
    ),
    "an absent ScaledObject": (
        "ObjectMissing",
        ["ScaledObject absent", "create it"],
        {"autoscalerRef": SCALED_REFERENCE},
    ),
    "an absent Ingress": (
        "Refused",
        ["Ingress absent", "spec.ingressRef"],
        {"provider": "nginx", "ingressRef": INGRESS_REFERENCE},
    ),
    "an absent Secret": (
        "ObjectMissing",
        ["secret absent", "create it"],
        {"pod": {"envFrom": [{"secretRef": {"name": "absent"}}]}},
    ),
    "an absent ConfigMap": (
        "ObjectMissing",
        ["configmap absent", "create it"],
        {"pod": {"envFrom": [{"configMapRef": {"name": "absent"}}]}},
    ),
    "a foreign Deployment": (
        "Refused",
        ["Deployment podinfo-primary", "Rename or delete it"],
        {"name": "podinfo-primary"},
    ),
    "an invalid name of a port": (
        "RequestRejected",
        ["services podinfo-", "spec.ports[0].name", "Correct the field"],
        {"service": {"portName": "Bad_Name"}},
    ),
    "an invalid label": (
        "RequestRejected",
        ["services podinfo", "metadata.labels", "Correct the field"],
        {"service": {"apex": {"labels": {"a": "not valid!"}}}},
    ),
    "an invalid annotation": (
        "RequestRejected",
        ["services podinfo", "metadata.annotations", "Correct the field"],
        {"service": {"apex": {"annotations": {"not valid!": "x"}}}},
    ),
    "an invalid timeout of a route": (
        "RequestRejected",
        ["virtualservices.networking.istio.io podinfo", "timeout", "Correct the field"],
        {"provider": "istio", "service": {"timeout": "nonsense"}},
    ),
    "an invalid timeout of a retry": (
        "RequestRejected",
        ["virtualservices.networking.istio.io podinfo", "perTryTimeout", "Correct the field"],
        {"provider": "istio", "service": {"retries": {"attempts": 1, "perTryTimeout": "nonsense"}}},
    ),
}

QUOTAS = {
    "a quota of Deployments": ("count/deployments.apps", "QuotaExceeded", ["exceeded quota: small", "Raise the quota"]),
    "a quota of Services": ("count/services", "QuotaExceeded", ["exceeded quota: small", "Raise the quota"]),
    "a quota of pods": ("pods", "PodsRefused", ["cannot create pods", "exceeded quota: small", "Raise the quota"]),
}

RIGHTS = {
    "Deployments": ("kubernetes", "deployments", "create", ["cannot create deployments.apps", "canary install"]),
    "Services": ("kubernetes", "services", "create", ["services", "canary install"]),
    "lists of Services": ("kubernetes", "services", "list", ["services", "canary install"]),
    "VirtualServices": ("istio", "virtualservices", "", ["virtualservices.networking.istio.io", "canary install"]),
    "Ingresses": ("nginx", "ingresses", "", ["ingresses.networking.k8s.io", "canary install"]),
}


@pytest.fixture
def troubled(api, kubeconfig, namespace, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    return TroubledCanary(api, kubeconfig, namespace)


@pytest.mark.parametrize("case", MANIFESTS)
async def test_a_manifest_that_the_cluster_refuses(troubled, client, case):
    reason, parts, fields = MANIFESTS[case]
    troubled.create(**fields)
    await troubled.says(client, reason, parts)


async def test_an_unknown_provider(troubled, client):
    """Flagger's definition refuses one in spec.provider, so it is the controller's default."""
    troubled.create(provider="")
    await troubled.says(client, "ProviderUnknown", ["'nonsense'", "Correct spec.provider"], provider="nonsense")


@pytest.mark.parametrize("case", QUOTAS)
async def test_a_quota_that_is_used_up(troubled, client, api, case):
    """No controller counts here, so the test fills the quota itself."""
    resource, reason, parts = QUOTAS[case]
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {resource: "1"}},
    }
    if resource != "pods":
        troubled.create()
    api.create(body, troubled.namespace)
    path = f"/api/v1/namespaces/{troubled.namespace}/resourcequotas/small"
    api.patch(f"{path}/status", {"status": {"hard": {resource: "1"}, "used": {resource: "1"}}})
    if resource == "pods":
        troubled.create()
    await troubled.says(client, reason, parts)


@asynccontextmanager
async def limited(plane, access):
    """Yield a client with the rights of the account."""
    async with connect(str(plane.kubeconfig(access, "limited"))) as client:
        yield client


@pytest.mark.parametrize("case", RIGHTS)
async def test_a_role_without_a_right(troubled, plane, access_of, case):
    provider, resource, verb, parts = RIGHTS[case]
    granted = [
        {**rule, "verbs": [each for each in rule["verbs"] if verb and each != verb]}
        if resource in rule["resources"]
        else rule
        for rule in rules([provider])
    ]
    reference = {"ingressRef": INGRESS_REFERENCE} if provider == "nginx" else {}
    troubled.create(provider=provider, **reference)
    async with limited(plane, access_of([rule for rule in granted if rule["verbs"]])) as client:
        await troubled.says(client, "Forbidden", parts)


async def test_a_policy_that_denies_the_primary(troubled, client, api):
    name = f"no-primary-{troubled.namespace}"
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    expression = f"object.metadata.namespace != '{troubled.namespace}' || !object.metadata.name.endsWith('-primary')"
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": "no copies here"}],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    made = [api.create(policy), api.create(binding)]
    try:
        assert eventually(lambda: _is_denied(api, troubled.namespace))
        troubled.create()
        await troubled.says(client, "AdmissionDenied", ["no copies here", "ask for an exception"])
    finally:
        for body in made:
            api.delete(api.path(body))


def _is_denied(api, namespace):
    """Check whether the policy is in force: it takes a moment."""
    meta = {"labels": {"app": "probe"}}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": meta["labels"]},
        "template": {"metadata": meta, "spec": {"containers": [{"name": "app", "image": "app"}]}},
    }
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe-primary"}, "spec": spec}
    try:
        api.create(body, namespace)
    except Exception as error:  # noqa: BLE001 - the message of the policy is all that counts
        return "no copies here" in str(error)
    api.delete(f"/apis/apps/v1/namespaces/{namespace}/deployments/probe-primary")
    return False


async def test_a_policy_on_pods(troubled, client, api):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.patch(f"/api/v1/namespaces/{troubled.namespace}", {"metadata": {"labels": labels}})
    troubled.create()
    await troubled.says(client, "PodsRefused", ["cannot create pods", "violates PodSecurity"])
