"""Each trouble of a rollout is one Event, a condition, and the first line of `canary get` and `describe`."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.resources.events import Events
from tests.cluster.patience import until
from tests.cluster.troubled import ANALYSIS_CHECK, HPA_REFERENCE, INGRESS_REFERENCE, TEMPLATE_CHECK, TroubledCanary
from tests.controlplane.in_memory.objects import Refusal
from tests.controlplane.in_memory.server import deployment_status

NAMESPACE = "shop"
PATIENCE = 60.0
"""Seconds: the server is in memory, and the processor may belong to other tests."""

SYSTEM = "system:serviceaccount:canarycore:canarycore"
WEBHOOK = 'admission webhook "policy.example.com" denied the request: no'


def refuse(status, reason, message, *, verbs=("create", "patch", "update"), plural="", name=""):
    """Return a rule of the server that refuses these requests."""

    def rule(verb, kind, of, _):
        is_hit = verb in verbs and kind == plural and (not name or of == name)
        return Refusal(status, reason, message) if is_hit else None

    return rule


def forbidden(plural, verbs=("create", "patch")):
    text = f'{plural} is forbidden: User "{SYSTEM}" cannot {verbs[0]} resource "{plural}"'
    return refuse(403, "Forbidden", text, verbs=verbs, plural=plural)


def primary(status, reason, message):
    return refuse(status, reason, message, plural="deployments", name="podinfo-primary")


def failure(message):
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}


def make_unready(conditions):
    """Return a controller of Deployments without available pods, with these conditions."""

    def report(body):
        status = deployment_status(body)
        return {**status, "conditions": [*status["conditions"], *conditions], "availableReplicas": 0}

    return report


CASES = {
    "an absent kind of the mesh": (
        "KindMissing",
        ["cannot change destinationrules.networking.istio.io podinfo-canary", "Install the definitions"],
        {"provider": "istio"},
    ),
    "an unknown provider": (
        "ProviderUnknown",
        ["spec.provider", "'nonsense'", "installed are", "Correct spec.provider"],
        {"provider": "nonsense"},
    ),
    "no selector label": ("Refused", ["deployment podinfo.shop", "--selector-labels"], {"labels": {"tier": "web"}}),
    "an absent target": ("TargetMissing", ["Deployment podinfo", "Create it"], {"is_absent": True}),
    "an absent autoscaler": (
        "ObjectMissing",
        ["HorizontalPodAutoscaler absent.shop", "create it"],
        {"autoscalerRef": HPA_REFERENCE},
    ),
    "an absent Ingress": (
        "Refused",
        ["Ingress absent", "spec.ingressRef"],
        {"provider": "nginx", "ingressRef": INGRESS_REFERENCE},
    ),
    "an absent Secret": (
        "ObjectMissing",
        ["secret absent.shop", "create it"],
        {"pod": {"envFrom": [{"secretRef": {"name": "absent"}}]}},
    ),
    "an absent template": (
        "MetricsUnavailable",
        ['"absent" not found', "Correct the template"],
        {"metrics": [TEMPLATE_CHECK], "conditions": []},
    ),
    "an absent template of Argo": (
        "MetricsUnavailable",
        ['analysistemplate.argoproj.io "absent" not found', "Correct the template"],
        {"metrics": [ANALYSIS_CHECK], "conditions": []},
    ),
    "a template of Argo without rights": (
        "MetricsUnavailable",
        ["the analysistemplates of the cluster are unknown", "403 analysistemplates is forbidden"],
        {"metrics": [ANALYSIS_CHECK], "conditions": [], "rule": forbidden("analysistemplates", ("list", "watch"))},
    ),
    "a provider without rights": (
        "Forbidden",
        ["cannot read ingresses.networking.k8s.io", "canary install"],
        {
            "provider": "nginx",
            "ingressRef": INGRESS_REFERENCE,
            "rule": forbidden("ingresses", ("list", "watch")),
        },
    ),
    "a role without a verb": (
        "Forbidden",
        ["cannot change services podinfo-", "canary install"],
        {"rule": forbidden("services")},
    ),
    "a webhook of the cluster": (
        "AdmissionDenied",
        ["cannot create deployments.apps", WEBHOOK, "ask for an exception"],
        {"rule": primary(400, "BadRequest", WEBHOOK)},
    ),
    "a policy on pods": (
        "AdmissionDenied",
        ["violates PodSecurity", "exception"],
        {"rule": primary(403, "Forbidden", 'pods "podinfo" is forbidden: violates PodSecurity "restricted:latest"')},
    ),
    "a quota": (
        "QuotaExceeded",
        ["exceeded quota: small", "Raise the quota"],
        {"rule": primary(403, "Forbidden", 'deployments.apps "podinfo-primary" is forbidden: exceeded quota: small')},
    ),
    "a namespace that ends": (
        "NamespaceTerminating",
        ["is being terminated", "Wait for its end"],
        {"rule": primary(403, "Forbidden", "unable to create in shop because it is being terminated")},
    ),
    "a long name": (
        "NameTooLong",
        ["must be no more than 63 characters", "shorter name"],
        {
            "rule": primary(
                422, "Invalid", 'Deployment "p" is invalid: metadata.labels: must be no more than 63 characters'
            )
        },
    ),
    "an invalid object": (
        "RequestRejected",
        ["spec.replicas", "Correct the field"],
        {"rule": primary(422, "Invalid", 'Deployment.apps "podinfo-primary" is invalid: spec.replicas: Invalid value')},
    ),
    "a refused Service": (
        "RequestRejected",
        ["services podinfo", "spec.clusterIP", "Correct the field"],
        {"rule": refuse(422, "Invalid", 'Service "podinfo" is invalid: spec.clusterIP: no', plural="services")},
    ),
    "a large object": (
        "RequestRejected",
        ["Request entity too large", "Correct"],
        {"rule": primary(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")},
    ),
    "a webhook that is away": (
        "Unavailable",
        ["failed calling webhook", "tries again"],
        {"rule": primary(500, "InternalError", 'failed calling webhook "policy.example.com": connection refused')},
    ),
    "pods beyond a quota": (
        "PodsRefused",
        ["cannot create pods", "a pod is forbidden: exceeded quota", "Raise the quota"],
        {"conditions": [failure('pods "podinfo-primary-5b7-x2x9k" is forbidden: exceeded quota: small')]},
    ),
    "a foreign object": (
        "Refused",
        ["Deployment podinfo-primary", "belongs to no Canary"],
        {"name": "podinfo-primary"},
    ),
}


@pytest.fixture
def shop(api, kubeconfig, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    return TroubledCanary(api, kubeconfig, NAMESPACE, PATIENCE)


@pytest.mark.parametrize("case", CASES)
async def test_the_owner_reads_object_reason_and_remedy(shop, server, client, case, monkeypatch):
    reason, parts, given = CASES[case]
    given = dict(given)
    server.refuse = given.pop("rule", server.refuse)
    if "conditions" in given:
        report = make_unready(given.pop("conditions"))
        monkeypatch.setitem(server.objects.controllers, ("apps", "deployments"), report)
    shop.create(**given)
    await shop.says(client, reason, parts)


async def test_a_canary_whose_status_is_forbidden_has_the_event(shop, server, client):
    server.refuse = forbidden("canaries", ("patch",))
    shop.create()
    async with shop.controlled(client):
        await until(lambda: [one for one in shop.events if "canary install" in one["message"]])


async def test_the_condition_goes_with_the_trouble(shop, server, client):
    server.refuse = primary(422, "Invalid", "no")
    shop.create()
    async with shop.controlled(client):
        await until(lambda: shop.condition, PATIENCE)
        server.refuse = lambda *_: None
        shop.api.patch(CANARY.path(NAMESPACE, "podinfo"), {"metadata": {"annotations": {"example.com/again": "1"}}})
        await until(lambda: shop.condition is None)
        await until(lambda: shop.status["phase"] == "Initialized")


async def test_a_refused_request_is_repeated_ever_more_rarely(shop, server, client, plane):
    server.refuse = primary(422, "Invalid", "no")
    shop.create()
    async with shop.controlled(client):
        await until(lambda: shop.condition, PATIENCE)
        mark = plane.audit.mark()
        await asyncio.sleep(4.0)
        early = plane.audit.since(mark)["create", "deployments.apps"]
        mark = plane.audit.mark()
        await asyncio.sleep(4.0)
        late = plane.audit.since(mark)["create", "deployments.apps"]
    assert early <= 8
    assert late <= 2


async def test_a_warning_is_repeated_ever_more_rarely_and_at_most_once_an_interval(client, api):
    now, times = [0.0], []
    events = Events(client, lambda: now[0])
    for second in range(0, 4 * 3600, 10):
        now[0] = float(second)
        count = sum(one["count"] for one in api.list(EVENT.path(NAMESPACE)))
        await events.warn(NAMESPACE, "podinfo", "uid", "no", interval=300.0)
        if sum(one["count"] for one in api.list(EVENT.path(NAMESPACE))) > count:
            times.append(second)
    waits = [after - before for before, after in pairwise(times)]
    assert waits[:4] == [300, 600, 1200, 1800]
    assert set(waits[4:]) == {1800}
    assert len(api.list(EVENT.path(NAMESPACE))) == 1
