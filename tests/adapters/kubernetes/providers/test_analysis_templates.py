"""Argo's templates as the definitions of checks: their server, their Secrets, and what is refused."""

from __future__ import annotations

import pytest

from canarycore.argo import read_templates
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_kubernetes.api.secrets import WithheldError
from canarycore_runtime.http import AllowedHosts
from tests.adapters.kubernetes.providers.test_metrics import MetricCluster
from tests.adapters.kubernetes.small_cluster import secret
from tests.argo.test_templates import HEADER, TOKEN, canary, metric, prometheus, template, with_arguments

CLUSTERS = "ClusterAnalysisTemplate"


def placed(document, namespace):
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


class TemplateCluster(MetricCluster):
    """A cluster whose Canaries refer to Argo's templates."""

    def add(self, manifest, provider="istio"):
        bodies = [body for body in self.objects.bodies.values() if body["kind"].endswith("AnalysisTemplate")]
        return self.canaries.add(manifest, provider, read_templates(bodies))


@pytest.fixture
def cluster():
    cluster = TemplateCluster()
    cluster.objects.put(with_arguments())
    return cluster


def hidden(**fields):
    """Return a template whose header has the value of a Secret."""
    return template(metric(provider=prometheus(headers=[HEADER])), args=[TOKEN], **fields)


def plain(**fields):
    return canary(("success-rate", {}), **fields)


async def test_a_check_asks_the_server_of_its_template_with_its_query(cluster):
    assert (await cluster.ask(0, canary())).value == 1
    assert cluster.fancy.queries == [("prometheus", "http://prometheus:9090", "sum(rate(requests[1m]))", {})]


async def test_the_header_of_a_template_has_the_value_of_the_secret(cluster):
    cluster.objects.put(hidden(), secret("keys", api="t0p", other="x"))
    await cluster.ask(0, plain())
    (adapter,) = cluster.fancy.adapters
    assert adapter.options["headers"] == {"Authorization": ("Bearer t0p",)}
    assert adapter.options["secret"] == {}


async def test_a_secret_is_read_in_the_namespace_of_the_template_only(cluster):
    cluster.objects.put(placed(hidden(), "monitoring"), secret("keys", api="of-the-canary"))
    manifest = plain(template_namespace="monitoring")
    answer = await cluster.ask(0, manifest)
    assert answer.error == 'analysis template quality.monitoring secret keys error: secrets "keys" not found'
    cluster.objects.put(secret("keys", "monitoring", api="of-the-template"))
    await cluster.ask(0, manifest)
    assert cluster.fancy.adapters[-1].options["headers"] == {"Authorization": ("Bearer of-the-template",)}
    assert {namespace for _, namespace, _ in cluster.objects.reads} == {"monitoring"}


async def test_datadog_has_the_secret_of_its_template(cluster):
    cluster.objects.put(template(metric(provider={"datadog": {"query": "x"}})), secret("datadog", key="t0p"))
    cluster.fancy.adapter = lambda name, adapter=cluster.fancy.adapter: adapter("fancy")
    await cluster.ask(0, plain())
    assert cluster.fancy.queries == [("fancy", "", "x", {"key": "t0p"})]


async def test_a_renewed_secret_of_a_header_is_read_again(cluster):
    cluster.objects.put(hidden(), secret("keys", api="old"))
    rollout = cluster.add(plain())
    question = MetricQuestion("key", rollout.checks[0], "revision")
    async with cluster.sources() as sources:
        await sources.query(rollout, question)
        cluster.objects.put(secret("keys", api="new"))
        cluster.fancy.answers = [MetricAnswer(error="Status 401"), MetricAnswer(value=2.0)]
        assert (await sources.query(rollout, question)).value == 2
    assert cluster.fancy.adapters[-1].options["headers"] == {"Authorization": ("Bearer new",)}


async def test_an_observer_reads_no_secret_of_a_template(cluster):
    cluster.objects.put(hidden(), secret("keys", api="t0p"))
    with pytest.raises(WithheldError):
        await cluster.ask(0, plain(), secrets=False)
    assert cluster.objects.reads == []


async def test_a_secret_of_a_header_is_in_no_answer_log_or_repr(cluster, caplog):
    cluster.objects.put(hidden(), secret("keys", api="t0p-secret"))
    rollout = cluster.add(plain())
    with caplog.at_level(0):
        async with cluster.sources() as sources:
            query = await sources._provider_query(rollout, rollout.checks[0])
            answer = await sources.query(rollout, MetricQuestion("key", rollout.checks[0], "revision"))
    assert query.provider.headers == (("Authorization", ("Bearer t0p-secret",)),)
    assert "t0p-secret" not in f"{query} {answer} {sources!r} {caplog.text} {rollout!r}"


async def test_a_template_of_another_namespace_can_be_forbidden(cluster):
    cluster.objects.put(placed(hidden(), "monitoring"))
    answer = await cluster.ask(0, plain(template_namespace="monitoring"), cross_namespace=False)
    expected = "can't access analysis template quality.monitoring, cross-namespace references are blocked"
    assert answer.error == expected
    assert not cluster.objects.reads


async def test_a_template_of_the_cluster_serves_a_tenant_and_shares_no_adapter(cluster):
    cluster.objects.put(with_arguments(kind=CLUSTERS))
    for namespace in ("shop", "bank"):
        answer = await cluster.ask(0, canary(kind=CLUSTERS, namespace=namespace), cross_namespace=False)
        assert answer.value == 1
    assert len(cluster.fancy.adapters) == 2


async def test_a_server_that_the_operator_does_not_allow_gets_no_query_and_no_secret(cluster):
    cluster.objects.put(hidden(), secret("keys", api="t0p"))
    answer = await cluster.ask(0, plain(), allowed=AllowedHosts.parse("other"))
    assert answer.error.startswith("analysis template quality.default error: ")
    assert not cluster.fancy.adapters
    assert not cluster.objects.reads


@pytest.mark.parametrize(
    ("objects", "reference", "error"),
    [
        (
            [],
            {"name": "nobody"},
            'analysis template nobody.default error: analysistemplate.argoproj.io "nobody" not found',
        ),
        (
            [],
            {"name": "nobody", "kind": CLUSTERS},
            'cluster analysis template nobody error: clusteranalysistemplate.argoproj.io "nobody" not found',
        ),
        (
            [template(metric(provider={"job": {}}))],
            {},
            "analysis template quality.default error: spec.metrics[0].provider: found the provider 'job'",
        ),
        ([template(metric("errors"))], {}, "analysis template quality.default error: spec.metrics: found no metric"),
        ([hidden()], {}, 'analysis template quality.default secret keys error: secrets "keys" not found'),
        (
            [hidden(), secret("keys", token="t0p")],
            {},
            "analysis template quality.default secret keys error: it has no key 'api'",
        ),
    ],
)
async def test_an_error_names_the_template_and_asks_nobody(cluster, objects, reference, error):
    cluster.objects.put(*objects)
    answer, online = await cluster.ask(0, plain(**reference)), await cluster.online(plain(**reference))
    assert answer.error.startswith(error)
    assert online == answer.error
    assert not cluster.fancy.queries


async def test_a_kind_that_the_cluster_lacks_is_named_with_the_remedy(cluster):
    cluster.objects.missing_kinds.add("AnalysisTemplate")
    answer = await cluster.ask(0, plain(name="nobody"))
    assert "the cluster has no analysistemplates.argoproj.io: install the definition of this kind" in answer.error


async def test_a_template_that_came_after_the_check_was_loaded_is_not_judged_by_its_placeholder(cluster):
    rollout = cluster.add(plain(name="later"))
    document = {**template(metric(provider=prometheus())), "metadata": {"name": "later"}}
    cluster.objects.put(document)
    async with cluster.sources() as sources:
        answer = await sources.query(rollout, MetricQuestion("key", rollout.checks[0], "revision"))
    assert "it defines the check only now" in answer.error
    assert not cluster.fancy.queries


async def test_an_edited_template_changes_the_condition_and_the_query(cluster):
    before = cluster.add(canary()).checks[0]
    cluster.objects.put(with_arguments(metric(successCondition="result[0] >= 0.5", failureLimit=7)))
    after = cluster.add(canary()).checks[0]
    assert (before.minimum, before.limits.failure_limit) == (0.95, 0)
    assert (after.minimum, after.limits.failure_limit) == (0.5, 7)


async def test_the_lane_of_a_check_is_its_server(cluster):
    rollout = cluster.add(canary())
    async with cluster.sources() as sources:
        assert await sources.server(rollout, rollout.checks[0]) == "http://prometheus:9090"
        missing = cluster.add(plain(name="nobody"))
        assert await sources.server(missing, missing.checks[0]) == "AnalysisTemplate default/nobody"
