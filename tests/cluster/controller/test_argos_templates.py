"""A rollout whose check a template of Argo defines, on a real API server whose kinds of Argo come later."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohttp import web
from attrs import define, field

from canarycore_kubernetes.deploy.objects import InstallOptions, objects
from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import define_kinds, eventually
from tests.argo.rollouts import metric, template
from tests.cluster.controller.test_controller import phase, target
from tests.controlplane import crds, rights
from tests.controlplane.plane import plane as started
from tests.servers import read_query, serving, vector

NAMESPACE = "shop"
SECRET = "t0p-secret"
CANARY = f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/podinfo"


@define
class Prometheus:
    """A Prometheus that records the credentials of each query, and answers the same number."""

    value: float = 1.0
    url: str = ""
    queries: set[tuple[str, str]] = field(factory=set)

    @asynccontextmanager
    async def serve(self):
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", self._answer)
        async with serving(app) as self.url:
            yield

    async def _answer(self, request):
        self.queries.add((await read_query(request), request.headers.get("Authorization", "")))
        return vector(self.value)


@pytest.fixture
def prometheus():
    server = Prometheus()
    with in_background(server.serve):
        yield server


@pytest.fixture(scope="module")
def own_plane(plane):
    """A plane of its own with our definitions and without Argo's: the shared one has Flagger's definition."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=()) as running:
        for body in objects(InstallOptions(providers=("kubernetes",))):
            if body["kind"] in {"CustomResourceDefinition", "Namespace"}:
                running.api.apply(body)
        running.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        eventually(lambda: running.api.get(f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries"))
        yield running


def canary():
    check = {
        "name": "success-rate",
        "templateRef": {"kind": "AnalysisTemplate", "name": "quality"},
        "templateVariables": {"series": 'requests{app="podinfo"}'},
    }
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": NAMESPACE},
        "spec": {
            "provider": "kubernetes",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898},
            "analysis": {"interval": "10s", "threshold": 1, "iterations": 1, "metrics": [check]},
        },
    }


def quality(address):
    """Return a template with an argument, a secret in a header, a condition and a limit."""
    header = {"key": "Authorization", "value": "Bearer {{args.token}}"}
    query = "sum({{ args.series }})"
    token = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}}
    source = {"prometheus": {"address": address, "query": query, "headers": [header]}}
    fields = {"interval": "1s", "failureLimit": 0, "provider": source}
    document = template(metric(**fields), args=[{"name": "series"}, token])
    return {**document, "metadata": {"name": "quality", "namespace": NAMESPACE}}


def secret():
    data = {"api": base64.b64encode(SECRET.encode()).decode()}
    metadata = {"name": "keys", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


@contextmanager
def controlled(plane, start_controller, metrics_server, folder):
    access = rights.installed(plane.api, NAMESPACE, ["kubernetes"])
    config = plane.kubeconfig(access, "controller")
    with start_controller(config, NAMESPACE, metrics_server, folder, "-port=0") as process:
        yield process


def test_a_template_of_argo_decides_a_rollout(own_plane, prometheus, start_controller, metrics_server, tmp_path):
    api = own_plane.api
    with controlled(own_plane, start_controller, metrics_server, tmp_path) as process:
        api.create(target(NAMESPACE))
        api.create(canary())
        phase(api, NAMESPACE, "Initialized")
        assert process.poll() is None, "it starts without Argo's kinds"

        define_kinds(api, crds.argos())
        for body in (secret(), quality(prometheus.url)):
            api.create(body)
        api.apply(target(NAMESPACE, "podinfo:6.0.1"))
        eventually(lambda: prometheus.queries, 150)
        phase(api, NAMESPACE, "Succeeded", 150)
        queries = {query for query in prometheus.queries if query[0] != "vector(1)"}
        assert queries == {('sum(requests{app="podinfo"})', f"Bearer {SECRET}")}

        prometheus.value = 0.5
        api.apply(target(NAMESPACE, "podinfo:6.0.2"))
        phase(api, NAMESPACE, "Failed", 150)
        status = api.get(CANARY)["status"]
        (check,) = status["lastEnd"]["lastAnalysis"]["checks"]
        assert (check["name"], check["value"]) == ("success-rate", "0.5")
    events = api.list(f"/api/v1/namespaces/{NAMESPACE}/events")
    assert SECRET not in f"{status} {events} {(tmp_path / '0.log').read_text()}"
    assert rights.refused(own_plane.audit.requests(0)) == []
