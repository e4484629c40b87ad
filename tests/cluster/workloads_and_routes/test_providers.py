"""Templates, alert providers and their Secrets on a real API server: the requests, and their rights."""

from __future__ import annotations

import base64
from collections import Counter

import pytest

from canarycore import Phase
from canarycore.notices import Notice, NoticeKind
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.deploy.objects import NAME
from canarycore_kubernetes.providers.alerts import Alerts
from canarycore_kubernetes.providers.metrics import TemplateSources
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.references import ANALYSIS_TEMPLATE_VIEW, CLUSTER_ANALYSIS_TEMPLATE_VIEW
from canarycore_planes.control_plane.api import define_kinds
from canarycore_runtime.mesh import RenderContext
from tests.argo.rollouts import metric, template
from tests.cluster.patience import until
from tests.controlplane import crds

READ = ["get", "list", "watch"]
RIGHTS = [
    {"apiGroups": ["flagger.app"], "resources": ["canaries", "metrictemplates", "alertproviders"], "verbs": READ},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
]
"""The rights that metrics and alerts need. Secrets are neither listed nor watched."""


def flaggers(kind, namespace, name, **spec):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def secret(namespace, name, **values):
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


class Adapter:
    """A provider or a chat that records its settings, its queries and its alerts."""

    def __init__(self):
        self.opened, self.heard = [], []

    def __call__(self, name):
        def open_it(address, **options):
            self.opened.append((name, address, options.get("secret"), options.get("token")))
            return self

        return open_it

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def query(self, rollout, question):
        self.heard.append(question.check.query)
        return MetricAnswer(value=1.0)

    async def publish(self, rollout, notice):
        self.heard.append(notice.text)


@pytest.fixture
def adapter():
    return Adapter()


@pytest.fixture
async def allowed(plane, namespace, api):
    """Return the cluster of a controller with no more rights than these."""
    kubeconfig = plane.kubeconfig(api.service_account(namespace, NAME, RIGHTS), "controller")
    async with connect(str(kubeconfig)) as client, Cluster(client, namespace=namespace) as cluster:
        yield cluster


@pytest.fixture
async def canaries(api, namespace, allowed):
    """Return the Canaries: one with a template and an alert, each with a Secret."""
    hidden = {"secretRef": {"name": "hidden"}}
    api.create(secret(namespace, "hidden", address="http://chat", token="t0p"))
    api.create(flaggers("MetricTemplate", namespace, "rate", provider={"type": "datadog", **hidden}, query="first"))
    api.create(flaggers("AlertProvider", namespace, "room", type="slack", **hidden))
    analysis = {
        "interval": "10s",
        "threshold": 3,
        "stepWeight": 20,
        "metrics": [{"name": "rate", "templateRef": {"name": "rate"}, "interval": "1m"}],
        "alerts": [{"name": "alert", "severity": "info", "providerRef": {"name": "room"}}],
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}
    api.create(flaggers("Canary", namespace, "podinfo", targetRef=target, service={"port": 80}, analysis=analysis))
    return Canaries(allowed)


@pytest.fixture
async def load(canaries, namespace):
    """Load the rollout as the store does: with the queries of its templates."""

    async def rollout():
        stored = await canaries.load(f"{namespace}/podinfo")
        return stored.rollout if stored is not None and stored.rollout.checks[0].query else None

    return lambda: until(rollout)


@pytest.fixture
async def rollout(load):
    return await load()


@pytest.fixture
async def sources(allowed, canaries, adapter):
    def manifest(rollout):
        return canaries.require(rollout).manifest

    async with TemplateSources(
        allowed,
        canary=manifest,
        mesh=lambda name: pytest.fail(f"nobody asks for the mesh {name}"),
        query_variables=lambda rollout: RenderContext(canary=manifest(rollout), rollout=rollout).query_variables,
        metrics_server="http://prometheus",
        adapter=adapter,
    ) as opened:
        yield opened


@pytest.fixture
async def alerts(allowed, canaries, adapter):
    async with Alerts(allowed, canary=lambda rollout: canaries.require(rollout).manifest, adapter=adapter) as opened:
        yield opened


def question(rollout):
    return MetricQuestion("key", rollout.checks[0], "revision")


async def test_a_template_is_read_with_its_secret_by_one_request(plane, namespace, rollout, sources, adapter):
    assert (await sources.query(rollout, question(rollout))).error == ""
    mark = plane.audit.mark()
    for _ in range(5):
        await sources.query(rollout, question(rollout))
    assert plane.audit.since(mark, namespace=namespace) == Counter()
    assert adapter.heard == ["first"] * 6
    assert adapter.opened == [("datadog", "", {"address": "http://chat", "token": "t0p"}, None)]


async def test_a_check_of_an_edited_template_uses_the_new_query(api, namespace, load, sources, adapter):
    rollout = await load()
    await sources.query(rollout, question(rollout))
    path = f"/apis/flagger.app/v1beta1/namespaces/{namespace}/metrictemplates/rate"
    api.patch(path, {"spec": {"query": "second"}})

    async def look():
        rollout = await load()
        await sources.query(rollout, question(rollout))
        return adapter.heard[-1] == "second"

    await until(look)


async def test_an_alert_goes_to_the_address_in_the_secret(rollout, alerts, adapter):
    notice = Notice(NoticeKind.NEW_REVISION_ALERT, "key", Phase.PROGRESSING, rollout.names)
    await alerts.publish(rollout, notice)
    assert adapter.opened == [("slack", "http://chat", None, "t0p")]
    assert adapter.heard == [notice.text]


async def test_templates_of_argo_are_watched_with_the_shipped_rights(plane, namespace, api, installed):
    define_kinds(api, crds.argos())
    kubeconfig = plane.kubeconfig(installed("kubernetes"), "controller")
    document = template(metric("rate", provider={"prometheus": {"query": "up"}}), name=f"rate-{namespace}")
    async with connect(str(kubeconfig)) as client, Cluster(client) as cluster:
        views = (ANALYSIS_TEMPLATE_VIEW, namespace), (CLUSTER_ANALYSIS_TEMPLATE_VIEW, "")
        for view, home in views:
            cache = cluster.cache(view)
            await until(cache.synced.is_set)
            api.create({**document, "kind": view.kind.kind}, home)
            found = await until(lambda home=home, cache=cache: cache.get(home, f"rate-{namespace}"))
            assert found.define("rate", ()).query == "up"


async def test_a_missing_template_has_flaggers_error(api, namespace, rollout, sources):
    api.delete(f"/apis/flagger.app/v1beta1/namespaces/{namespace}/metrictemplates/rate")

    async def look():
        return (await sources.query(rollout, question(rollout))).error

    told = await until(look)
    assert told == f'metric template rate.{namespace} error: metrictemplate.flagger.app "rate" not found'
