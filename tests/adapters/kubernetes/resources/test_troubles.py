"""Each trouble of a rollout is one Event, a condition, and the first line of `canary get` and `describe`."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from canarycore_cli.main import app
from canarycore_kubernetes import controller
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED
from tests.adapters.mesh.meshes import manifest
from tests.cluster.controller.test_controller import target
from tests.cluster.patience import until
from tests.controlplane.in_memory.objects import Refusal
from tests.controlplane.in_memory.server import deployment_status

NAMESPACE = "shop"
DEADLINE = 10.0
"""Seconds within which the owner reads a refusal."""

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


PLAIN = {"iterations": 3, "stepWeight": 0, "interval": "10s"}
TEMPLATE = {"name": "rate", "interval": "1m", "templateRef": {"name": "absent"}, "thresholdRange": {"max": 1}}
HPA_REFERENCE = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "absent"}
INGRESS_REFERENCE = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "absent"}

CASES = {
    "an absent kind of the mesh": (
        "KindMissing",
        ["cannot change destinationrules.networking.istio.io podinfo-canary", "Install the definitions"],
        {"provider": "istio"},
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
    "an absent Secret": ("ObjectMissing", ["secret absent.shop", "create it"], {"secret": "absent"}),
    "an absent template": (
        "MetricsUnavailable",
        ['"absent" not found', "Correct the template"],
        {"metrics": [TEMPLATE], "conditions": []},
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
    "a foreign object": ("Refused", ["Deployment podinfo-primary", "belongs to no Canary"], {"is_foreign": True}),
}


class Shop:
    """One Canary with its controller, as its owner sees them."""

    def __init__(self, api, kubeconfig):
        self.api, self.kubeconfig = api, kubeconfig

    def create(
        self, *, provider="kubernetes", labels=None, secret="", metrics=(), is_absent=False, is_foreign=False, **spec
    ):
        body = target(NAMESPACE)
        if labels is not None:
            body["spec"] |= {"selector": {"matchLabels": labels}}
            body["spec"]["template"]["metadata"] = {"labels": labels}
        if secret:
            body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": secret}}]
        if not is_absent:
            self.api.create(body, NAMESPACE)
        if is_foreign:
            self.api.create({**body, "metadata": {"name": "podinfo-primary"}}, NAMESPACE)
        analysis = {**PLAIN, "metrics": list(metrics)}
        self.api.create(manifest(provider, namespace=NAMESPACE, analysis=analysis, **spec), NAMESPACE)

    @property
    def status(self):
        return self.api.get(CANARY.path(NAMESPACE, "podinfo")).get("status") or {}

    @property
    def condition(self):
        return next((one for one in self.status.get("conditions", ()) if one["type"] == BLOCKED), None)

    def events(self, text):
        return [one for one in self.api.list(EVENT.path(NAMESPACE)) if one["message"] == text]

    async def show(self, *command):
        """Return what a command prints."""
        arguments = [*command, "podinfo", "--namespace", NAMESPACE, "--kubeconfig", str(self.kubeconfig)]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert result.exit_code == 0, f"{result.output} {result.exception}"
        return result.output


@pytest.fixture
def shop(api, kubeconfig, monkeypatch):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    return Shop(api, kubeconfig)


def control(group, client):
    options = Options(namespace=NAMESPACE, listen="127.0.0.1", port=0, metrics_server="http://127.0.0.1:9")
    return group.create_task(run_controller(client, options, version="0"))


@pytest.mark.parametrize("case", CASES)
async def test_the_owner_reads_object_reason_and_remedy(shop, server, client, case, monkeypatch):
    reason, parts, given = CASES[case]
    given = dict(given)
    server.refuse = given.pop("rule", server.refuse)
    if "conditions" in given:
        report = make_unready(given.pop("conditions"))
        monkeypatch.setitem(server.objects.controllers, ("apps", "deployments"), report)
    shop.create(**given)
    async with asyncio.TaskGroup() as group:
        running = control(group, client)
        condition = await until(lambda: _condition_with(shop, reason), DEADLINE)
        text = condition["message"]
        assert [part for part in parts if part not in text] == [], text
        (event,) = await until(lambda: shop.events(text), DEADLINE)
        await asyncio.sleep(1.0)
        assert len(shop.events(text)) == 1
        assert shop.events(text)[0].get("count", 1) == event.get("count", 1) == 1
        assert event["type"] == "Warning"
        described, listed = await shop.show("describe"), await shop.show("get", "--json")
        title, trouble, *_ = described.splitlines()
        assert title == "Trouble"
        assert text.startswith(trouble.strip()[:60])
        assert json.loads(listed)[0]["trouble"] == text
        assert "all the metrics providers are available" not in await shop.show("get")
        running.cancel()


def _condition_with(shop, reason):
    condition = shop.condition
    return condition if condition is not None and condition["reason"] == reason else None


async def test_a_canary_whose_status_is_forbidden_has_the_event(shop, server, client):
    server.refuse = forbidden("canaries", ("patch",))
    shop.create()
    async with asyncio.TaskGroup() as group:
        running = control(group, client)
        await until(lambda: [one for one in shop.api.list(EVENT.path(NAMESPACE)) if "canary install" in one["message"]])
        running.cancel()


async def test_the_condition_goes_with_the_trouble(shop, server, client):
    server.refuse = primary(422, "Invalid", "no")
    shop.create()
    async with asyncio.TaskGroup() as group:
        running = control(group, client)
        await until(lambda: shop.condition, DEADLINE)
        server.refuse = lambda *_: None
        shop.api.patch(CANARY.path(NAMESPACE, "podinfo"), {"metadata": {"annotations": {"example.com/again": "1"}}})
        await until(lambda: shop.condition is None)
        await until(lambda: shop.status["phase"] == "Initialized")
        running.cancel()


async def test_a_refused_request_is_repeated_ever_more_rarely(shop, server, client, plane):
    server.refuse = primary(422, "Invalid", "no")
    shop.create()
    async with asyncio.TaskGroup() as group:
        running = control(group, client)
        await until(lambda: shop.condition, DEADLINE)
        mark = plane.audit.mark()
        await asyncio.sleep(4.0)
        early = plane.audit.since(mark)["create", "deployments.apps"]
        mark = plane.audit.mark()
        await asyncio.sleep(4.0)
        late = plane.audit.since(mark)["create", "deployments.apps"]
        running.cancel()
    assert early <= 8
    assert late <= 2
