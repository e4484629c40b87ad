"""Every provider against a local server: its requests, the number in its answers, and the contract."""

import json
from contextlib import AsyncExitStack

import pytest
from attrs import field, frozen
from yarl import URL

from canarycore_metrics import cluster, keptn
from canarycore_metrics.datadog import DatadogSource
from canarycore_metrics.dynatrace import DynatraceSource
from canarycore_metrics.externalmetrics import ExternalMetricsSource, quantity
from canarycore_metrics.graphite import GraphiteSource
from canarycore_metrics.influxdb import InfluxDbSource
from canarycore_metrics.keptn import KeptnSource
from canarycore_metrics.newrelic import NewRelicSource
from canarycore_metrics.source import SourceError
from canarycore_metrics.splunk import SplunkSource
from canarycore_runtime.testing.contracts import MetricSourceContract, Reply

NOW = 1_700_000_000.4
SECRET = "s3cret-of-the-provider"
NUMBERS = {
    Reply.GOOD: "99.5",
    Reply.BAD: "42",
    Reply.NAN: "NaN",
    Reply.INFINITE: "Infinity",
    Reply.NEGATIVE_INFINITE: "-Infinity",
}


@frozen(kw_only=True)
class Provider:
    """A provider in these tests.

    credentials, sent: what its Secret has, and the headers that come of it. query, path, parameters: what it is asked
    and where, over a window of 60 s. answer: with `$` where the number stands. empty: answers without data. bad:
    answers that are an error, besides those that are no JSON. probe: what is asked to see whether it is there.
    """

    source: type
    credentials: dict = field(factory=dict)
    sent: dict = field(factory=dict)
    query: str = "a query"
    method: str = "GET"
    path: str
    parameters: dict
    answer: str
    empty: tuple
    bad: tuple = ('{"other": 1}', "[]", "1")
    probe: str
    refuses: int = 400
    cannot: frozenset = frozenset()

    def __str__(self):
        return self.source.name

    def body(self, reply):
        if reply is Reply.EMPTY:
            return self.empty[0]
        return self.answer.replace("$", NUMBERS[reply])

    def at(self, address, **options):
        return self.source(address, secret=self.credentials, clock=lambda: NOW, **options)


def splunk(*messages):
    ended = {"event": "END_OF_CHANNEL", "timestampMs": 1}
    return "".join(
        f"event: {name}\ndata: {message}\n\n" for name, message in (*messages, ("control-message", json.dumps(ended)))
    )


NOT_IN_A_QUANTITY = frozenset({Reply.NAN, Reply.INFINITE, Reply.NEGATIVE_INFINITE})

PROVIDERS = [
    Provider(
        source=DatadogSource,
        credentials={"datadog_api_key": SECRET, "datadog_application_key": "app"},
        sent={"DD-API-KEY": SECRET, "DD-APPLICATION-KEY": "app"},
        path="/api/v1/query",
        parameters={"query": "a query", "from": "1699999400", "to": "1700000000"},
        answer='{"series": [{"pointlist": [[1, $], [2, 7]]}, {"pointlist": [[1, 8]]}]}',
        empty=('{"series": []}', '{"series": [{"pointlist": []}]}', '{"series": [{"pointlist": [[1, null]]}]}'),
        probe="/api/v1/validate",
        refuses=202,
    ),
    Provider(
        source=NewRelicSource,
        credentials={"newrelic_account_id": "51312", "newrelic_query_key": SECRET},
        sent={"X-Query-Key": SECRET},
        path="/v1/accounts/51312/query",
        parameters={"nrql": "a query SINCE 60 seconds ago"},
        answer='{"results": [{"result": $}]}',
        empty=(
            '{"results": []}',
            '{"results": [{"result": null}]}',
            '{"results": [{"average": null}]}',
            '{"results": [{}]}',
        ),
        bad=(
            *('{"other": 1}', "[]", "1", '{"results": [{"average": "much"}]}', '{"results": [{"a": 1, "b": 2}]}'),
            *('{"results": [{"count": 1}, {"count": 2}]}', '{"results": [{"percentiles": {"95": 1, "99": 2}}]}'),
        ),
        probe="/v1/accounts/51312/query?nrql=SELECT+*+FROM+Metric+SINCE+60+seconds+ago",
        refuses=202,
    ),
    Provider(
        source=GraphiteSource,
        credentials={"username": "me", "password": SECRET},
        sent={"Authorization": "Basic bWU6czNjcmV0LW9mLXRoZS1wcm92aWRlcg=="},
        query="target=sum(a,\n  b)&from=-1min&format=png",
        path="/render",
        parameters={"target": "sum(a, b)", "from": "-1min", "format": "json"},
        answer='[{"target": "a", "datapoints": [[1, 1]]}, {"target": "b", "datapoints": [[2, 1], [$, 2], [null, 3]]}]',
        empty=("[]", '[{"target": "a", "datapoints": [[null, 1]]}]'),
        bad=('{"other": 1}', "1", '[{"target": "a"}]'),
        probe="/render?target=test&format=json",
    ),
    Provider(
        source=InfluxDbSource,
        credentials={"token": SECRET, "org": "us"},
        sent={"Authorization": f"Token {SECRET}"},
        method="POST",
        path="/api/v2/query",
        parameters={"org": "us"},
        answer=",result,table,_time,_value\r\n,_result,0,2024-01-01T00:00:00Z,$\r\n,_result,0,2024-01-01T00:01:00Z,7\r\n",
        empty=("", "\r\n", ",result,table,_value\r\n", ",result,table,_value\r\n,_result,0,\r\n"),
        bad=("a,b\r\n1,2\r\n", ",result,_value\r\n,_result,much\r\n", "error,reference\r\ntoo much,897\r\n"),
        probe="/api/v2/query?org=us",
    ),
    Provider(
        source=DynatraceSource,
        credentials={"dynatrace_token": SECRET},
        sent={"Authorization": f"Api-Token {SECRET}"},
        path="/api/v2/metrics/query",
        parameters={"metricSelector": "a query", "resolution": "Inf", "from": "1699999400000", "to": "1700000000000"},
        answer='{"result": [{"data": [{"values": [7]}, {"values": [$, 8]}]}]}',
        empty=(
            '{"result": []}',
            '{"result": [{"data": []}]}',
            '{"result": [{"data": [{"values": []}]}]}',
            '{"result": [{"data": [{"values": [null]}]}]}',
        ),
        probe="/api/v2/metrics?pageSize=1",
        refuses=202,
    ),
    Provider(
        source=SplunkSource,
        credentials={"sf_token_key": SECRET},
        sent={"X-SF-Token": SECRET},
        method="POST",
        path="/v2/signalflow/execute",
        parameters={"start": "1699999400400", "stop": "1700000000400", "immediate": "true"},
        answer=splunk(
            ("metadata", '{"tsId": "A", "properties": {}}'),
            ("data", '{"data": [{"tsId": "A", "value": 7}]}'),
            ("data", '{\ndata:   "data": [{"tsId": "A", "value": $}]\ndata: }'),
            ("data", '{"data": [{"tsId": "A", "value": null}]}'),
        ),
        empty=(splunk(), splunk(("data", '{"data": []}'))),
        bad=(
            'event: data\ndata: {"data": [{"tsId": "A", "value": 99.5}]}\n\n',
            splunk(("error", '{"errors": [{"code": "ANALYTICS_PROGRAM_NAME_ERROR"}]}')),
            splunk(("control-message", '{"event": "CHANNEL_ABORT", "abortInfo": {}}')),
            splunk(("data", '{"data": [{"tsId": "A", "value": 1}, {"tsId": "B", "value": 1}]}')),
            splunk(("data", "no json")),
        ),
        probe="/v2/metric?limit=1",
        refuses=202,
    ),
    Provider(
        source=ExternalMetricsSource,
        credentials={"token": SECRET},
        sent={"Authorization": f"Bearer {SECRET}"},
        query="shop/jobs?labelSelector=env%3Dproduction\n",
        path="/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/jobs",
        parameters={"labelSelector": "env=production"},
        answer='{"items": [{"value": "$"}, {"value": "7"}]}',
        empty=('{"items": []}',),
        bad=('{"other": 1}', "[]", "1", '{"items": [{"value": "much"}]}'),
        probe="/apis/external.metrics.k8s.io/v1beta1",
        cannot=NOT_IN_A_QUANTITY,
    ),
    Provider(
        source=KeptnSource,
        credentials={"token": SECRET},
        sent={"Authorization": f"Bearer {SECRET}"},
        query="KeptnMetric/shop/latency/2m/reporter=destination\n",
        path="/apis/metrics.keptn.sh/v1beta1/namespaces/shop/keptnmetrics/latency",
        parameters={},
        answer='{"status": {"value": "$"}}',
        empty=("{}", '{"status": {"value": ""}}'),
        bad=("[]", "1", '{"status": {"value": "much"}}'),
        probe="/apis/metrics.keptn.sh/v1beta1",
    ),
]
every = pytest.mark.parametrize("provider", PROVIDERS, ids=str)

_BY_NAME = {str(provider): provider for provider in PROVIDERS}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        *(("newrelic", f'{{"results": [{{"{name}": 12.5}}]}}') for name in ("sum", "average", "count", "percentage")),
        ("newrelic", '{"results": [{"percentiles": {"95": 12.5}}]}'),
        ("newrelic", '{"results": [{"result": 12.5, "other": 1}]}'),
        ("datadog", '{"series": [{"pointlist": [[1, null], [2, 12.5], [3, 7]]}]}'),
        ("dynatrace", '{"result": [{"data": [{"values": [7]}, {"values": [null, 12.5, 8]}]}]}'),
        ("dynatrace", '{"result": [{"data": [{"values": [12.5]}, {"values": [null]}, {"values": []}]}]}'),
        ("graphite", '[{"datapoints": [[12.5, 1], [null, 2]]}, {"datapoints": [[null, 1]]}]'),
        ("influxdb", ",result,table,_value\r\n,_result,0,\r\n,_result,0,12.5\r\n,_result,0,7\r\n"),
    ],
)
async def test_a_value_that_is_absent_hides_no_other(server, name, body):
    provider, server.answer = _BY_NAME[name], (200, body)
    async with provider.at(server.address) as source:
        assert (await source.value(provider.query, 60.0)).value == 12.5


@every
async def test_it_is_asked_as_flagger_asks_it(server, provider):
    server.answer = (200, provider.body(Reply.GOOD))

    async with provider.at(server.address) as source:
        answer = await source.value(provider.query, 60.0)

    (request,) = server.requests
    assert (answer.value, answer.error) == (99.5, "")
    assert (request.method, request.path) == (provider.method, provider.path)
    assert dict(request.query) == provider.parameters
    assert {name: request.headers[name] for name in provider.sent} == provider.sent


@every
async def test_an_answer_without_data_is_no_data(server, provider):
    async with provider.at(server.address) as source:
        for body in provider.empty:
            server.answer = (200, body)
            answer = await source.value(provider.query, 60.0)
            assert (answer.value, answer.error) == (None, ""), body


@pytest.mark.parametrize("provider", [each for each in PROVIDERS if Reply.NAN not in each.cannot], ids=str)
async def test_not_a_number_is_no_data(server, provider):
    server.answer = (200, provider.body(Reply.NAN))
    async with provider.at(server.address) as source:
        answer = await source.value(provider.query, 60.0)
    assert (answer.value, answer.error) == (None, "")


@every
async def test_an_answer_that_is_something_else_is_an_error(server, provider):
    async with provider.at(server.address) as source:
        for body in ("no json", *provider.bad):
            server.answer = (200, body)
            answer = await source.value(provider.query, 60.0)
            assert answer.error, body
            assert answer.value is None


@every
async def test_a_status_that_is_no_success_is_an_error_whatever_the_body_says(server, provider):
    server.answer = (provider.refuses, provider.body(Reply.GOOD))
    async with provider.at(server.address) as source:
        answer, online = await source.value(provider.query, 60.0), await source.online(None)
    assert answer.error.startswith(f"error response: Status {provider.refuses} ")
    assert f"error response: Status {provider.refuses} " in online


@every
async def test_it_is_looked_at_where_it_needs_the_credentials(server, provider):
    server.answer = (200, provider.body(Reply.EMPTY))
    async with provider.at(server.address) as source:
        assert not await source.online(None)
    (request,) = server.requests
    assert request.path_qs == provider.probe
    assert {name: request.headers[name] for name in provider.sent} == provider.sent


NEEDED = [
    (provider, key)
    for provider in PROVIDERS
    if provider.source not in (ExternalMetricsSource, KeptnSource)
    for key in provider.credentials
]


@pytest.mark.parametrize(("provider", "key"), NEEDED, ids=str)
def test_a_secret_that_lacks_a_key_is_refused_by_its_name(provider, key):
    secret = {name: value for name, value in provider.credentials.items() if name != key}
    secret |= {"something": "else"}
    with pytest.raises(ValueError, match=f"{provider} credentials does not contain {key}") as refused:
        provider.source("http://provider", secret=secret)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("provider", [one for one in PROVIDERS if not one.source.home], ids=str)
def test_a_provider_without_a_home_needs_an_address(provider):
    with pytest.raises(ValueError, match=f"{provider} address is not a valid URL"):
        provider.at("")


class Bench:
    """The contract's provider."""

    secret = SECRET

    def __init__(self, server, stack, provider):
        self.server, self.stack, self.provider, self.cannot = server, stack, provider, provider.cannot
        self.ordinary = {}

    async def answering(self, reply):
        failures = {Reply.SERVER_ERROR: (500, f"boom {SECRET}"), Reply.BAD_JSON: (200, f"no json {SECRET}")}
        known = reply in NUMBERS or reply is Reply.EMPTY
        self.server.answer = failures.get(reply) or (200, self.provider.body(reply) if known else "")
        self.server.delay = 2.0 if reply is Reply.HANG else 0.0
        address = "http://127.0.0.1:9" if reply is Reply.UNREACHABLE else self.server.address
        source = self.provider.at(address, timeout=0.2 if reply is Reply.HANG else 20.0)
        return await self.stack.enter_async_context(Asked(source, self.provider.query))

    def body(self, number):
        quoted = f'"{number}"' if number == "99.5" else number  # where the format has texts
        return self.provider.answer.replace('"$"', quoted).replace("$", number)

    async def at(self, address):
        return await self.stack.enter_async_context(Asked(self.provider.at(address, timeout=2.0), self.provider.query))


class Asked:
    """A source whose checks have the provider's query."""

    def __init__(self, source, query):
        self.source, self.text = source, query
        self.online = source.online

    async def __aenter__(self):
        await self.source.__aenter__()
        return self

    async def __aexit__(self, *given):
        await self.source.__aexit__(*given)

    async def query(self, rollout, question):
        return await self.source.value(self.text, question.check.window)


@every
class TestThePortsContract(MetricSourceContract):
    @pytest.fixture
    async def bench(self, server, provider):
        async with AsyncExitStack() as stack:
            yield Bench(server, stack, provider)


# one by one ---------------------------------------------------------------------------------------------------------


async def test_influxdb_is_asked_in_flux(server):
    async with InfluxDbSource(server.address) as source:
        await source.value('from(bucket: "a")')
    assert json.loads(server.bodies[0])["query"] == 'from(bucket: "a")'
    assert json.loads(server.bodies[0])["type"] == "flux"
    assert "Authorization" not in server.requests[0].headers


async def test_an_influxdb_without_a_bucket_called_default_is_there(server):
    server.answer = (404, '{"code": "not found", "message": "could not find bucket \\"default\\""}')
    async with InfluxDbSource(server.address) as source:
        assert not await source.online(None)


async def test_splunk_is_sent_the_program(server):
    server.answer = (200, splunk())
    async with SplunkSource(server.address, secret={"sf_token_key": SECRET}) as source:
        await source.value("data('demo').publish()")
    assert server.bodies == ["data('demo').publish()"]


@pytest.mark.parametrize("address", ["https://api.us1.signalfx.com", "wss://stream.us1.signalfx.com"])
def test_splunk_s_hosts_are_known_by_either_of_them(address):
    source = SplunkSource(address, secret={"sf_token_key": SECRET})
    assert source._host_of("api") == URL("https://api.us1.signalfx.com")
    assert source._host_of("stream") == URL("https://stream.us1.signalfx.com")


@pytest.mark.parametrize(
    ("query", "path"),
    [("jobs", "default/jobs"), ("/jobs", "default/jobs"), ("shop/datadogmetric@a:b", "shop/datadogmetric@a:b")],
)
async def test_an_external_metric_is_of_a_namespace(server, query, path):
    server.answer = (200, '{"items": []}')
    async with ExternalMetricsSource(server.address) as source:
        assert not (await source.value(query)).error
    assert server.requests[0].path == f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{path}"
    assert not server.requests[0].query


@pytest.mark.parametrize("query", ["", "a/b/c", "shop/"])
async def test_an_external_metric_that_cannot_be_found_is_an_error_and_not_asked_for(server, query):
    async with ExternalMetricsSource(server.address) as source:
        assert "expected <namespace>/<metric>" in (await source.value(query)).error
    assert not server.requests


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("12", 12),
        ("-1500m", -1.5),
        ("1.5k", 1500),
        ("2Ki", 2048),
        ("1e3", 1000),
        ("12E", 12e18),
        ("5n", 5e-9),
        (".5", 0.5),
    ],
)
def test_a_quantity_is_a_number(text, number):
    assert quantity(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "m", "1 k", "1kk", "NaN", "."])
def test_an_invalid_quantity_is_refused(text):
    with pytest.raises(ValueError, match=r"quantity|convert"):
        quantity(text)


async def test_the_pod_s_own_token_is_read_each_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ACCOUNT", tmp_path)
    monkeypatch.setattr(ExternalMetricsSource, "is_at_home", True)
    server.answer = (200, '{"items": []}')
    async with ExternalMetricsSource(server.address) as source:
        for token in ("", "first\n", "second\n"):
            if token:
                (tmp_path / "token").write_text(token)
            await source.value("jobs")
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == [None, "Bearer first", "Bearer second"]


class Keptn:
    """A cluster with Keptn, which is done with an analysis after so many looks."""

    def __init__(self, looks, passed):
        self.looks, self.passed, self.log = looks, passed, []

    def __call__(self, request):
        self.log.append(f"{request.method} {request.path.rpartition('/')[0].rpartition('/')[2]}")
        if request.method != "GET":
            return 200 if request.method == "POST" else 404, "{}"
        self.looks -= 1
        done = {"state": "Completed", "pass": self.passed}
        return 200, json.dumps({"status": done if self.looks <= 0 else {"state": "Progressing"}})


@pytest.mark.parametrize(("passed", "value"), [(True, 1.0), (False, 0.0)])
async def test_the_source_creates_awaits_and_deletes_a_keptn_analysis(server, monkeypatch, passed, value):
    monkeypatch.setattr(keptn, "POLL", 0.001)
    server.answer = world = Keptn(looks=3, passed=passed)
    async with KeptnSource(server.address) as source:
        answer = await source.value("analysis/shop/quality/2m/Team=Web;bad;a=b")
    made = json.loads(server.bodies[0])
    name = made["metadata"].pop("name")
    assert answer.value == value
    assert world.log == ["POST shop", "GET analyses", "GET analyses", "GET analyses", "DELETE analyses"]
    assert {request.path.rpartition("/")[2] for request in server.requests[1:]} == {name}
    assert made == {
        "apiVersion": "metrics.keptn.sh/v1beta1",
        "kind": "Analysis",
        "metadata": {"namespace": "shop"},
        "spec": {
            "analysisDefinition": {"name": "quality"},
            "timeframe": {"recent": "2m"},
            "args": {"Team": "Web", "a": "b"},
        },
    }


async def test_a_keptn_analysis_that_takes_too_long_is_deleted_and_an_error(server, monkeypatch):
    monkeypatch.setattr(keptn, "POLL", 0.001)
    monkeypatch.setattr(keptn, "ANALYSIS_TIMEOUT", 0.05)
    server.answer = world = Keptn(looks=10**9, passed=True)
    async with KeptnSource(server.address) as source:
        assert "did not end within 0.05 s" in (await source.value("analysis/shop/quality")).error
    assert world.log[-1] == "DELETE analyses"


@pytest.mark.parametrize("query", ["", "keptnmetric/shop", "pod/shop/latency"])
def test_an_invalid_keptn_query_is_an_error(query):
    with pytest.raises(SourceError, match="expected <keptnmetric"):
        keptn.parse_query(query)
