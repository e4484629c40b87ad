"""Providers of checks: the metrics server for the mesh's queries, a template's provider with its Secret."""

import json
import math
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import entry_points

import pytest

from canarycore import CheckKind
from canarycore.errors import UnknownProvider
from canarycore.manifest import MetricTemplate
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_kubernetes.providers.metrics import CLUSTER_PROVIDERS, TemplateSources
from canarycore_kubernetes.resources.references import TEMPLATE_VIEW
from canarycore_metrics.cluster import ClusterSource
from canarycore_metrics.prometheus import PrometheusSource
from canarycore_metrics.template import render
from canarycore_runtime import mesh
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.ports import Addressed
from canarycore_runtime.testing.contracts import MetricSourceContract, Reply
from tests.adapters.kubernetes.small_cluster import Canaries, Objects, secret
from tests.manifest.samples import shared

SERVER = "http://prometheus:9090"
SHORT, LONG = 0.2, 20.0
"""Timeouts in seconds: for a provider that hangs, and for any other on a busy machine."""

METRICS = [
    {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
    {"name": "request-duration", "interval": "30s", "thresholdRange": {"max": 500}},
    {"name": "inline", "interval": "30s", "thresholdRange": {"max": 5}, "query": "up{i={{ interval }}}"},
    {"name": "custom", "interval": "30s", "thresholdRange": {"max": 5}, "templateRef": {"name": "custom"}},
]
SUCCESS, DURATION, INLINE, CUSTOM = range(4)


def canary(metrics=METRICS, name="podinfo", namespace="default", **spec):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 80},
            "analysis": {"interval": "10s", "threshold": 3, "stepWeight": 20, "metrics": metrics},
            **spec,
        },
    }


def template(name="custom", namespace="default", query="custom{ns={{ namespace }}}", **provider):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": {"type": "fancy", "address": "http://fancy", **provider}, "query": query},
    }


class Fancy:
    """A provider that gives `answers` in turn, the last one again and again, and records its queries and settings."""

    def __init__(self):
        self.answers = [MetricAnswer(value=1.0)]
        self.offline = ""
        self.adapters, self.queries, self.closed = [], [], 0

    def adapter(self, name):
        if name not in ("fancy", "prometheus"):
            raise UnknownProvider("metrics", name, ("fancy",))
        return lambda *given, **options: _Opened(self, name, given[0], options)


class _Opened:
    def __init__(self, fancy, name, address, options):
        if address == "wrong":
            raise ValueError("address is not a valid URL")
        self.fancy, self.name, self.address, self.options = fancy, name, address, options
        fancy.adapters.append(self)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.fancy.closed += 1

    async def query(self, rollout, question):
        self.fancy.queries.append((self.name, self.address, question.check.query, self.options["secret"]))
        answers = self.fancy.answers
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def online(self, rollout):
        self.fancy.queries.append((self.name, self.address, "online", self.options["secret"]))
        return self.fancy.offline


class Mesh:
    def __init__(self, name, milliseconds=1.0):
        self.queries = {kind: f"{name} {kind.value}" for kind in (CheckKind.SUCCESS_RATE, CheckKind.DURATION)}
        self.milliseconds = milliseconds


MESHES = {"istio": Mesh("istio"), "linkerd": Mesh("linkerd"), "kubernetes": Mesh("http", milliseconds=1000.0)}


class MetricCluster:
    """A cluster, its Canaries, and their metric sources."""

    def __init__(self):
        self.objects = Objects(template())
        self.canaries = Canaries()
        self.fancy = Fancy()

    def sources(self, **options):
        return TemplateSources(
            self.objects,
            **{
                "canary": self.canaries,
                "mesh": MESHES.__getitem__,
                "query_variables": self.query_variables,
                "metrics_server": SERVER,
                "adapter": self.fancy.adapter,
                **options,
            },
        )

    def add(self, manifest, provider="istio"):
        """Return the rollout as the store loads it: with the queries of the templates that are there."""
        bodies = [body for body in self.objects.bodies.values() if body["kind"] == "MetricTemplate"]
        templates = [found for body in bodies if isinstance(found := TEMPLATE_VIEW.project(body, None), MetricTemplate)]
        return self.canaries.add(manifest, provider, templates)

    def query_variables(self, rollout):
        return mesh.RenderContext(canary=self.canaries(rollout), rollout=rollout).query_variables

    async def ask(self, place, manifest=None, *, provider="istio", **options):
        rollout = self.add(manifest or canary(), provider)
        async with self.sources(**options) as sources:
            return await sources.query(rollout, MetricQuestion("key", rollout.checks[place], "revision"))

    async def online(self, manifest=None, **options):
        async with self.sources(**options) as sources:
            return await sources.online(self.add(manifest or canary()))


@pytest.fixture
def cluster():
    return MetricCluster()


# the metrics server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "query"),
    [
        (SUCCESS, "istio request-success-rate"),
        (DURATION, "istio request-duration"),
        (INLINE, "up{i={{ interval }}}"),
    ],
)
async def test_a_check_without_a_template_queries_the_metrics_server(cluster, place, query):
    assert (await cluster.ask(place)).value == 1
    assert cluster.fancy.queries == [("prometheus", SERVER, query, {})]


async def test_a_canary_may_have_a_metrics_server_of_its_own(cluster):
    await cluster.ask(SUCCESS, canary(metricsServer="http://other:9090"))
    assert cluster.fancy.queries == [("prometheus", "http://other:9090", "istio request-success-rate", {})]


async def test_a_check_uses_the_query_of_the_canarys_own_mesh(cluster):
    await cluster.ask(SUCCESS, canary(provider="kubernetes"))
    assert cluster.fancy.queries[0][2] == "http request-success-rate"


async def test_linkerd_as_the_controllers_mesh_measures_behind_any_ingress(cluster):
    await cluster.ask(SUCCESS, canary(provider="nginx"), mesh_provider="linkerd")
    assert cluster.fancy.queries[0][2] == "linkerd request-success-rate"


@pytest.mark.parametrize(
    ("provider", "value", "milliseconds"),
    [
        ("istio", 515.9, 515.0),
        ("istio", 0.4, 0.0),
        ("kubernetes", 0.5159, 515.0),
        ("istio", math.inf, math.inf),
        ("istio", None, None),
    ],
)
async def test_a_duration_is_reported_in_whole_milliseconds(cluster, provider, value, milliseconds):
    cluster.fancy.answers = [MetricAnswer(value=value)]
    assert (await cluster.ask(DURATION, provider=provider)).value == milliseconds


async def test_other_values_are_reported_unchanged(cluster):
    cluster.fancy.answers = [MetricAnswer(value=99.94)]
    assert (await cluster.ask(SUCCESS, provider="kubernetes")).value == 99.94


async def test_an_invalid_address_of_the_canary_is_an_error(cluster):
    answer = await cluster.ask(SUCCESS, canary(metricsServer="wrong"))
    assert answer.error == "spec.metricsServer error: address is not a valid URL"


# templates ----------------------------------------------------------------------------------------------------------


async def test_the_adapter_gets_all_settings_of_the_template(cluster):
    headers = {"X-Scope": ["a", "b"]}
    provider = {"headers": headers, "region": "eu", "insecureSkipVerify": True, "secretRef": {"name": "key"}}
    cluster.objects.put(template(**provider), secret("key", token="t"))

    assert (await cluster.ask(CUSTOM)).value == 1

    (adapters,) = cluster.fancy.adapters
    query_variables = adapters.options.pop("query_variables")
    assert adapters.options == {
        "headers": {"X-Scope": ("a", "b")},
        "secret": {"token": "t"},
        "region": "eu",
        "insecure_skip_verify": True,
    }
    assert query_variables(cluster.add(canary(service={"port": 80, "name": "shop"})))["service"] == "shop"
    assert cluster.fancy.queries == [("fancy", "http://fancy", "custom{ns={{ namespace }}}", {"token": "t"})]


async def test_a_template_and_its_secret_may_be_in_another_namespace(cluster):
    cluster.objects.put(
        template("shared", "monitoring", secretRef={"name": "key"}), secret("key", "monitoring", token="t")
    )
    metric = {"name": "custom", "templateRef": {"name": "shared", "namespace": "monitoring"}}

    assert (await cluster.ask(0, canary([metric]))).value == 1

    assert cluster.objects.reads == [("Secret", "monitoring", "key")]


async def test_a_template_of_another_namespace_can_be_forbidden(cluster):
    cluster.objects.put(template("shared", "monitoring"))
    metric = {"name": "custom", "templateRef": {"name": "shared", "namespace": "monitoring"}}

    answer = await cluster.ask(0, canary([metric]), cross_namespace=False)

    assert answer.error == "can't access metric template shared.monitoring, cross-namespace references are blocked"
    assert not cluster.fancy.queries


@pytest.mark.parametrize("kind", ["externalmetrics", "keptn", "fancy"])
@pytest.mark.parametrize("across", [True, False])
async def test_a_provider_with_the_controllers_rights_is_limited_to_the_templates_namespace(cluster, kind, across):
    cluster.objects.put(template("own", namespace="shop", type=kind, address=""))
    metric = {"name": "custom", "templateRef": {"name": "own"}}
    adapters = cluster.fancy.adapters

    def adapter(_):
        return lambda address, **options: _Opened(cluster.fancy, "fancy", address, options)

    await cluster.ask(0, canary([metric], namespace="shop"), cross_namespace=across, adapter=adapter)

    limited = kind != "fancy" and not across
    assert [one.options.get("only_namespace") for one in adapters] == ["shop" if limited else None]


def test_all_providers_with_the_controllers_rights_are_listed():
    found = {
        entry.name for entry in entry_points(group="canarycore.metrics") if issubclass(entry.load(), ClusterSource)
    }
    assert found == CLUSTER_PROVIDERS


@pytest.mark.parametrize(
    ("objects", "error"),
    [
        ([], 'metric template nobody.default error: metrictemplate.flagger.app "nobody" not found'),
        (
            [template("nobody", secretRef={"name": "key"})],
            'metric template nobody.default secret key error: secrets "key" not found',
        ),
        ([template("nobody", type="new")], "metric template nobody.default provider new error: unknown metrics 'new'"),
        ([template("nobody", address="wrong")], "metric template nobody.default provider fancy error: address is not"),
        ([{**template("nobody"), "spec": {}}], "metric template nobody.default error: spec.provider"),
    ],
)
async def test_an_error_of_a_provider_names_the_template(cluster, objects, error):
    cluster.objects.put(*objects)
    metric = {"name": "custom", "templateRef": {"name": "nobody"}}

    answer, online = await cluster.ask(0, canary([metric])), await cluster.online(canary([metric]))

    assert answer.error.startswith(error)
    assert online == answer.error
    assert not cluster.fancy.queries


async def test_a_deleted_canary_is_an_error(cluster):
    rollout = cluster.add(canary())
    cluster.canaries.canaries.clear()
    async with cluster.sources() as sources:
        answer = await sources.query(rollout, MetricQuestion("key", rollout.checks[SUCCESS], "revision"))
    assert answer.error == "canary podinfo.default is gone"


async def test_canaries_share_the_adapter_and_the_secret_of_a_template(cluster):
    cluster.objects.put(template(secretRef={"name": "key"}), secret("key", token="t"))
    rollouts = [cluster.add(canary(name=f"app-{number}")) for number in range(5)]

    async with cluster.sources() as sources:
        for rollout in rollouts:
            await sources.query(rollout, MetricQuestion("key", rollout.checks[CUSTOM], "revision"))

    assert len(cluster.fancy.queries) == 5
    assert len(cluster.fancy.adapters) == cluster.fancy.closed == 1
    assert cluster.objects.reads == [("Secret", "default", "key")]


async def test_an_edited_template_gets_a_new_adapter(cluster):
    async with cluster.sources() as sources:
        for edit in ({}, {"address": "http://other", "query": "other"}):
            cluster.objects.put(template(**edit))
            rollout = cluster.add(canary())
            await sources.query(rollout, MetricQuestion("key", rollout.checks[CUSTOM], "revision"))
    assert [(address, query) for _, address, query, _ in cluster.fancy.queries] == [
        ("http://fancy", "custom{ns={{ namespace }}}"),
        ("http://other", "other"),
    ]


async def test_a_failed_query_is_repeated_with_a_renewed_secret(cluster):
    cluster.objects.put(template(secretRef={"name": "key"}), secret("key", token="old"))
    rollout = cluster.add(canary())
    question = MetricQuestion("key", rollout.checks[CUSTOM], "revision")
    async with cluster.sources() as sources:
        await sources.query(rollout, question)
        cluster.objects.put(secret("key", token="new"))
        cluster.fancy.answers = [MetricAnswer(error="Status 401"), MetricAnswer(value=2.0)]
        assert (await sources.query(rollout, question)).value == 2
    assert [secret["token"] for *_, secret in cluster.fancy.queries] == ["old", "old", "new"]


async def test_a_failed_query_is_not_repeated_with_the_same_secret(cluster):
    cluster.objects.put(template(secretRef={"name": "key"}), secret("key", token="old"))
    cluster.fancy.answers = [MetricAnswer(error="Status 500"), MetricAnswer(value=2.0)]
    assert (await cluster.ask(CUSTOM)).error == "Status 500"
    assert len(cluster.fancy.queries) == 1


# whether they are there ---------------------------------------------------------------------------------------------


async def test_each_provider_is_probed_once(cluster):
    assert not await cluster.online()
    assert [(name, what) for name, _, what, _ in cluster.fancy.queries] == [
        ("prometheus", "online"),
        ("fancy", "online"),
    ]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (SUCCESS, "prometheus not avaiable: no answer"),
        (CUSTOM, "fancy in metric template custom.default not avaiable: no answer"),
    ],
)
async def test_the_reason_of_the_first_unreachable_provider_is_reported(cluster, metric, words):
    cluster.fancy.offline = "no answer"
    assert await cluster.online(canary([METRICS[metric]])) == words


async def test_a_rollout_without_checks_probes_no_provider(cluster):
    assert not await cluster.online(canary([]))
    assert not cluster.fancy.adapters


# secrets ------------------------------------------------------------------------------------------------------------


async def test_a_secret_is_in_no_answer_log_or_repr(cluster, caplog):
    cluster.objects.put(
        template(secretRef={"name": "key"}, address="http://me:t0p-secret@fancy"), secret("key", token="t0p-secret")
    )
    rollout = cluster.add(canary())
    with caplog.at_level(0):
        async with cluster.sources() as sources:
            inquiry = await sources._provider_query(rollout, rollout.checks[CUSTOM])
            answer = await sources.query(rollout, MetricQuestion("key", rollout.checks[CUSTOM], "revision"))
    assert inquiry.provider.secret
    assert "t0p-secret" not in f"{inquiry} {answer} {sources!r} {caplog.text}"


# the port's contract ------------------------------------------------------------------------------------------------


class Bench:
    """The contract's provider: a Prometheus behind the controller's metrics server, and the same behind a template."""

    secret = "t0p-secret"
    cannot = frozenset()

    def __init__(self, cluster, server, stack, templated):
        self.cluster, self.server, self.stack, self.templated = cluster, server, stack, templated
        self.ordinary = {}

    def body(self, number):
        return vector("$").replace('"$"', f'"{number}"' if number == "99.5" else number)

    async def at(self, address):
        self.cluster.objects.put(
            template(type="prometheus", address=address, secretRef={"name": "key"}), secret("key", token=self.secret)
        )
        adapter = partial(PrometheusSource, timeout=2.0)
        sources = self.cluster.sources(metrics_server=address, adapter=lambda name: adapter)
        return await self.stack.enter_async_context(
            BoundSource(self.cluster, sources, METRICS[CUSTOM if self.templated else 0])
        )

    async def answering(self, reply):
        numbers = {Reply.GOOD: "99.5", Reply.BAD: "42", Reply.NAN: "NaN", Reply.INFINITE: "+Inf"}
        failures = {Reply.SERVER_ERROR: (500, "boom"), Reply.BAD_JSON: (200, "no json")}
        told = failures.get(reply, (200, vector() if reply is Reply.EMPTY else vector(numbers.get(reply, "-Inf"))))
        self.server.answer = lambda request: (200, vector("1")) if "vector(1)" in request.query_string else told
        self.server.delay = 2.0 if reply is Reply.HANG else 0.0
        address = "http://127.0.0.1:9" if reply is Reply.UNREACHABLE else self.server.address
        self.cluster.objects.put(
            template(type="prometheus", address=address, secretRef={"name": "key"}), secret("key", token=self.secret)
        )
        sources = self.cluster.sources(
            metrics_server=address,
            adapter=lambda name: partial(PrometheusSource, timeout=SHORT if reply is Reply.HANG else LONG),
        )
        return await self.stack.enter_async_context(
            BoundSource(self.cluster, sources, METRICS[CUSTOM if self.templated else 0])
        )


class BoundSource:
    """The sources, whose rollout is a canary with one metric in place of the contract's."""

    def __init__(self, cluster, sources, metric):
        self.rollout, self.sources = cluster.add(canary([metric])), sources

    async def __aenter__(self):
        await self.sources.__aenter__()
        return self

    async def __aexit__(self, *given):
        await self.sources.__aexit__(*given)

    async def query(self, rollout, question):
        return await self.sources.query(self.rollout, MetricQuestion("key", self.rollout.checks[0], "revision"))

    async def online(self, rollout):
        return await self.sources.online(self.rollout)


def vector(*values):
    result = [{"metric": {}, "value": [1700000000.1, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.mark.parametrize("templated", [False, True])
class TestThePortsContract(MetricSourceContract):
    @pytest.fixture
    async def bench(self, cluster, scripted, templated):
        async with AsyncExitStack() as stack:
            yield Bench(cluster, scripted, stack, templated)


# as recorded --------------------------------------------------------------------------------------------------------


async def test_the_queries_equal_the_recording(cluster):
    """The template of the recording, rendered with the variables of its canary."""
    trace = json.loads((shared("golden") / "20-istio-metric-template" / "trace.json").read_text())
    queries = {
        step["query"]["q"]
        for frame in trace["timeline"]
        for step in frame.get("steps", ())
        if "query" in step and "custom_rate" in step["query"]["q"]
    }
    here = {"metadata": {"namespace": "t20"}}
    for body in trace["input"]["objects"]:
        cluster.objects.put({**body, "metadata": {**body["metadata"], **here["metadata"]}})
    manifest = trace["input"]["canary"]
    rollout = cluster.add({**manifest, "metadata": {**manifest["metadata"], **here["metadata"]}})
    check = rollout.checks[1]

    async with cluster.sources(adapter=lambda name: cluster.fancy.adapter("fancy")) as sources:
        await sources.query(rollout, MetricQuestion("key", check, "revision"))

    ((_, address, query, credentials),) = cluster.fancy.queries
    variables = {**cluster.query_variables(rollout), "interval": check.window_text}
    assert {render(query, variables, dict(check.variables))} == queries
    assert address == "http://fakes/prom/t20"
    assert credentials == {"username": "u", "password": "p"}


# which servers may be named -----------------------------------------------------------------------------------------


ALLOWED = AllowedHosts.parse("fancy,*.monitoring")


async def test_the_error_of_a_template_at_a_forbidden_host_names_the_option(cluster):
    cluster.objects.put(template(address="http://elsewhere"))
    answer = await cluster.ask(CUSTOM, allowed=ALLOWED)
    assert "metric template custom.default error: host elsewhere:80 is not allowed" in answer.error
    assert "--allowed-hosts" in answer.error
    assert not cluster.fancy.adapters


async def test_the_error_of_a_metrics_server_at_a_forbidden_host_names_the_option(cluster):
    answer = await cluster.ask(SUCCESS, canary(metricsServer="http://elsewhere"), allowed=ALLOWED)
    assert "spec.metricsServer error: host elsewhere:80 is not allowed" in answer.error
    assert "--allowed-hosts" in answer.error
    assert not cluster.fancy.adapters


async def test_a_source_at_a_forbidden_host_is_offline(cluster):
    cluster.objects.put(template(address="http://elsewhere"))
    assert "--allowed-hosts" in await cluster.online(allowed=ALLOWED)


@pytest.mark.parametrize("place", [SUCCESS, CUSTOM])
async def test_an_allowed_host_and_the_controllers_own_server_get_queries(cluster, place):
    assert (await cluster.ask(place, allowed=ALLOWED)).value == 1.0


async def test_a_canary_may_name_the_controllers_own_server(cluster):
    assert (await cluster.ask(SUCCESS, canary(metricsServer=SERVER), allowed=ALLOWED)).value == 1.0


async def test_a_template_without_an_address_needs_no_permission(cluster):
    cluster.objects.put(template(address=""))
    assert (await cluster.ask(CUSTOM, allowed=ALLOWED)).value == 1.0


# whose turn it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "spec", "server"),
    [
        (SUCCESS, {}, "http://prometheus:9090"),
        (INLINE, {"metricsServer": "https://user:secret@own:9/path?token=secret"}, "https://own:9"),
        (CUSTOM, {}, "http://fancy"),
    ],
)
async def test_a_check_waits_in_the_lane_of_its_server(cluster, place, spec, server):
    rollout = cluster.add(canary(**spec))
    async with cluster.sources() as sources:
        assert isinstance(sources, Addressed)
        assert await sources.server(rollout, rollout.checks[place]) == server


async def test_a_check_with_a_missing_template_has_a_lane_too(cluster):
    cluster.objects.bodies.clear()
    rollout = cluster.add(canary())
    async with cluster.sources() as sources:
        assert await sources.server(rollout, rollout.checks[CUSTOM]) == "default/custom"


async def test_a_provider_without_an_address_is_the_lane_of_all_its_templates(cluster):
    cluster.objects.put(template(address="", region="eu"))
    rollout = cluster.add(canary())
    async with cluster.sources() as sources:
        assert await sources.server(rollout, rollout.checks[CUSTOM]) == "fancy eu"


async def test_two_namespaces_share_no_adapter_of_a_provider(cluster):
    cluster.objects.put(template(namespace="one"), template(namespace="two"))
    async with cluster.sources() as sources:
        for namespace in ("one", "two", "one"):
            rollout = cluster.add(canary(namespace=namespace))
            await sources.query(rollout, MetricQuestion("key", rollout.checks[CUSTOM], "revision"))
    assert len(cluster.fancy.adapters) == 2


@pytest.mark.parametrize(("answer", "has_failed"), [(MetricAnswer(value=1.0), False), (MetricAnswer(error="no"), True)])
async def test_each_query_is_reported_by_the_type_of_its_provider(cluster, answer, has_failed):
    reports = []
    cluster.fancy.answers = [answer]
    await cluster.ask(0, report=reports.append)
    assert {(report.port, report.provider, report.has_failed) for report in reports} == {
        ("metrics", "prometheus", has_failed)
    }
