"""Argo's templates on an API server: their kinds may be missing, appear and disappear, and a template may change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from canarycore.questions import MetricQuestion
from canarycore_kubernetes import controller
from canarycore_kubernetes.api import cache
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE, KINDS, REPLICA_SET
from canarycore_kubernetes.preflight import check_cluster
from canarycore_kubernetes.providers.metrics import TemplateSources
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_planes.control_plane.api import define_kinds
from canarycore_runtime.mesh import RenderContext
from tests.adapters.kubernetes.conftest import Plane
from tests.adapters.kubernetes.resources.test_troubles import make_unready
from tests.adapters.mesh.meshes import manifest
from tests.argo.rollouts import metric, template
from tests.cluster.patience import until
from tests.cluster.troubled import ANALYSIS_CHECK, TroubledCanary
from tests.controlplane import crds
from tests.controlplane.in_memory.server import faked
from tests.servers import serving, vector

ARGOS = (ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE)
REFERENCE = ANALYSIS_CHECK["templateRef"]


@pytest.fixture
def server():
    """Return a server without Argo's kinds."""
    kinds = tuple(kind for kind in (*KINDS, REPLICA_SET) if kind not in ARGOS)
    with faked(kinds, bookmark=0.5) as running:
        yield running


@pytest.fixture
def plane(server, tmp_path):
    return Plane(server, tmp_path)


@pytest.fixture
def patient(monkeypatch):
    """Let the caches look soon for a kind that is missing."""
    monkeypatch.setattr(cache, "LONGEST_ABSENCE", 0.2)


def quality(address="http://prometheus:9090", *, kind="AnalysisTemplate", query="up", **fields):
    source = {"prometheus": {"address": address, "query": query}}
    return template(metric("rate", provider=source, **fields), kind=kind, name="absent")


def canary(namespace, *metrics):
    analysis = {"interval": "10s", "metrics": list(metrics or [ANALYSIS_CHECK])}
    return manifest("kubernetes", namespace=namespace, analysis=analysis)


@asynccontextmanager
async def opened(kubeconfig, namespace):
    """Yield the Canaries of a namespace, and their metric sources."""
    async with connect(str(kubeconfig)) as client, Cluster(client, namespace=namespace) as cluster:
        canaries = Canaries(cluster)

        def manifest_of(rollout):
            return canaries.require(rollout).manifest

        async with TemplateSources(
            cluster,
            canary=manifest_of,
            mesh=lambda name: pytest.fail(f"nobody asks for the mesh {name}"),
            query_variables=lambda rollout: RenderContext(canary=manifest_of(rollout), rollout=rollout).query_variables,
            metrics_server="http://127.0.0.1:9",
        ) as sources:
            yield cluster, canaries, sources


async def check_of(canaries, namespace):
    stored = await canaries.load(f"{namespace}/podinfo")
    return stored.rollout, stored.rollout.checks[0]


async def error_of(canaries, sources, namespace):
    rollout, check = await check_of(canaries, namespace)
    return (await sources.query(rollout, MetricQuestion("key", check, "revision"))).error


async def test_no_cluster_is_asked_for_a_kind_that_no_canary_names(api, plane, kubeconfig, namespace):
    api.create(canary(namespace, {"name": "request-success-rate", "thresholdRange": {"min": 99}}), namespace)
    mark = plane.audit.mark()
    async with opened(kubeconfig, namespace) as (cluster, canaries, _):
        await check_of(canaries, namespace)
        assert "analysistemplates" not in cluster.watched_kinds()
    assert not any("argoproj" in resource for _, resource in plane.audit.since(mark))


async def test_a_missing_kind_is_named_and_noticed_when_it_appears(api, kubeconfig, namespace, patient):
    api.create(canary(namespace), namespace)
    async with opened(kubeconfig, namespace) as (_, canaries, sources):
        error = await error_of(canaries, sources, namespace)
        assert "the cluster has no analysistemplates.argoproj.io: install the definition of this kind" in error
        define_kinds(api, crds.argos())
        await until(lambda: _has(canaries, sources, namespace, '"absent" not found'))
        api.create(quality(successCondition="result[0] >= 0.5"), namespace)
        await until(lambda: _limit_is(canaries, namespace, 0.5))


async def _has(canaries, sources, namespace, text):
    return text in await error_of(canaries, sources, namespace)


async def _limit_is(canaries, namespace, minimum):
    _, check = await check_of(canaries, namespace)
    return check.query == "up" and check.minimum == minimum


async def test_a_kind_that_is_removed_takes_its_definitions_along(api, kubeconfig, namespace, patient):
    define_kinds(api, crds.argos())
    api.create(quality(), namespace)
    api.create(canary(namespace), namespace)
    async with opened(kubeconfig, namespace) as (_, canaries, sources):
        await until(lambda: _limit_is(canaries, namespace, 0.95))
        api.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/analysistemplates.argoproj.io")
        await until(lambda: _has(canaries, sources, namespace, "absent"))
        _, check = await check_of(canaries, namespace)
        assert check.query == ""


async def test_a_change_of_the_template_wakes_its_canaries_and_changes_their_checks(api, kubeconfig, namespace):
    define_kinds(api, crds.argos())
    api.create(quality(), namespace)
    api.create(canary(namespace), namespace)
    async with opened(kubeconfig, namespace) as (cluster, canaries, _):
        await until(lambda: _limit_is(canaries, namespace, 0.95))
        changes = cluster.changes()
        woken = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        body = quality(successCondition="result[0] >= 0.5")
        api.patch(ANALYSIS_TEMPLATE.path(namespace, "absent"), {"spec": body["spec"]})
        assert await asyncio.wait_for(woken, 30) == f"{namespace}/podinfo"
        assert await _limit_is(canaries, namespace, 0.5)


async def test_a_template_of_the_cluster_is_found_from_a_namespace(api, kubeconfig, namespace):
    define_kinds(api, crds.argos())
    api.create(quality(kind="ClusterAnalysisTemplate"))
    check = {"name": "rate", "templateRef": {"kind": "ClusterAnalysisTemplate", "name": "absent"}}
    api.create(canary(namespace, check), namespace)
    async with opened(kubeconfig, namespace) as (_, canaries, _):
        await until(lambda: _limit_is(canaries, namespace, 0.95))


async def test_a_hostile_template_harms_no_other_canary(api, kubeconfig, namespace):
    define_kinds(api, crds.argos())
    deep = 0
    for _ in range(300):
        deep = [deep]
    hostile = {"a": [deep], "b": ["x"] * 20_000, "c": {"metrics": 5, "args": [5, None, {"name": []}]}}
    for name, value in hostile.items():
        spec = value if isinstance(value, dict) else {"metrics": [{"name": "rate", "provider": value}]}
        api.create({**quality(), "metadata": {"name": name}, "spec": spec}, namespace)
    api.create(quality(), namespace)
    checks = [{"name": "rate", "templateRef": {**REFERENCE, "name": name}} for name in ("absent", *hostile)]
    api.create(canary(namespace, *checks), namespace)
    async with opened(kubeconfig, namespace) as (_, canaries, sources):
        await until(lambda: _limit_is(canaries, namespace, 0.95))
        rollout = (await canaries.load(f"{namespace}/podinfo")).rollout
        for check in rollout.checks[1:]:
            assert (await sources.query(rollout, MetricQuestion("key", check, "revision"))).error


async def _answer_one(_):
    return vector(1)


async def test_the_owner_reads_of_a_missing_kind_until_it_is_there(
    server, api, client, kubeconfig, namespace, patient, monkeypatch
):
    monkeypatch.setattr(controller, "START_SPREAD", 0.1)
    monkeypatch.setitem(server.objects.controllers, ("apps", "deployments"), make_unready([]))
    shop = TroubledCanary(api, kubeconfig, namespace, 60.0)
    shop.create(metrics=[ANALYSIS_CHECK])
    app = web.Application()
    app.router.add_route("*", "/api/v1/query", _answer_one)
    async with serving(app) as address, shop.controlled(client):
        await until(lambda: shop.condition, 60.0)
        assert "the cluster has no analysistemplates.argoproj.io" in shop.condition["message"]
        define_kinds(api, crds.argos())
        api.create(quality(address, initialDelay="0s"), namespace)
        await until(lambda: shop.condition is None, 60.0)


async def test_lint_of_a_cluster_finds_a_missing_template_and_a_refused_one(api, client, namespace):
    api.create(canary(namespace), namespace)
    report = await check_cluster(client, namespace=namespace)
    (missing,) = [problem for problem in report.problems if problem.rule == "missing-template"]
    assert missing.found == f"no AnalysisTemplate absent in the namespace {namespace}"
    define_kinds(api, crds.argos())
    api.create(template(metric("rate", provider={"web": {}}), name="absent"), namespace)
    report = await check_cluster(client, namespace=namespace)
    (refused,) = [problem for problem in report.problems if problem.rule == "template-check"]
    assert "the provider 'web'" in refused.found
    assert "missing-template" not in {problem.rule for problem in report.problems}
