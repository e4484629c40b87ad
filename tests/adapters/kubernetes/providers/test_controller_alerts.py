"""Alerts and events of the controller's adapters: an API server in memory, and a real server for chat and webhook."""

from __future__ import annotations

from base64 import b64encode

import pytest
from aiohttp import web

from canarycore import Phase
from canarycore.manifest import parse_links
from canarycore.notices import Notice, NoticeKind
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries
from tests.cluster.controller.test_controller import canary, target
from tests.manifest.samples import annotated
from tests.servers import serving

NAMESPACE = "shop"
REASON = "request-success-rate 92.5: fail (expected at least 99, 40 requests)"


@pytest.fixture
async def receiver():
    """A real server; `calls` has each (path, headers, body)."""
    calls = []

    async def respond(request):
        calls.append((request.path, dict(request.headers), await request.json()))
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/{path:.*}", respond)
    async with serving(app) as url:
        yield url, calls


async def publish(kubeconfig, options, *kinds):
    """Publish notices of these kinds about the Canary by the adapters of a controller."""
    async with connect(str(kubeconfig)) as client, Cluster(client, namespace=NAMESPACE) as cluster:
        canaries = Canaries(cluster)
        async with open_adapters(cluster, canaries, options) as adapters:
            rollout = (await adapters.store.load(f"{NAMESPACE}/podinfo")).rollout
            for kind in kinds:
                notice = Notice(kind, f"rev@1.0/{kind.name}", Phase.FAILED, rollout.names, ("5",), REASON)
                for notifier in adapters.notifiers:
                    await notifier.publish(rollout, notice)


async def test_a_subscription_gets_an_alert_with_its_reason_and_links_and_the_webhook_a_cloud_event(
    api, kubeconfig, receiver
):
    address, calls = receiver
    room = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "AlertProvider",
        "metadata": {"name": "room", "namespace": NAMESPACE},
        "spec": {"type": "slack", "secretRef": {"name": "hook"}},
    }
    api.create(target(NAMESPACE), NAMESPACE)
    hook = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}}
    api.create({**hook, "data": {"address": b64encode(f"{address}/s3cret".encode()).decode()}}, NAMESPACE)
    api.create(annotated(room, alert__text="{{ .cluster }}: {{ .reason }}"), NAMESPACE)
    api.create(annotated(canary(NAMESPACE), subscribe__error__room="payments"), NAMESPACE)
    options = Options(
        namespace=NAMESPACE,
        cluster_name="blue",
        event_webhook=f"{address}/events",
        cloud_events=True,
        alert_links=parse_links("Page=https://page.test/{{ .name }}"),
    )

    await publish(kubeconfig, options, NoticeKind.ROLLING_BACK_CHECKS_ALERT, NoticeKind.ROLLING_BACK_CHECKS)

    (chat, _, alert), (webhook, headers, event) = calls
    assert (chat, webhook) == ("/s3cret", "/events")
    assert alert["channel"] == "payments"
    (attachment,) = alert["attachments"]
    assert attachment["text"] == f"blue: {REASON}"
    assert [(field["title"], field["value"]) for field in attachment["fields"]] == [
        ("Cluster", "blue"),
        ("Reason", REASON),
        ("Page", "<https://page.test/podinfo>"),
    ]
    assert headers["ce-source"] == f"//blue/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/podinfo"
    assert headers["ce-type"] == "canarycore.rolling-back-checks"
    assert event["metadata"]["eventMessage"] == f"Rolling back podinfo.{NAMESPACE} failed checks threshold reached 5"
