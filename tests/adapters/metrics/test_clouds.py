"""The providers with credentials of a cloud, against a local server that plays the cloud."""

import json
import subprocess
from contextlib import AsyncExitStack

import pytest

pytest.importorskip("botocore", reason="pip install canarycore-metrics[cloudwatch]")
pytest.importorskip("google.auth", reason="pip install canarycore-metrics[stackdriver]")

from canarycore_metrics.cloudwatch import CloudWatchSource
from canarycore_metrics.stackdriver import StackdriverSource
from canarycore_runtime.testing.contracts import MetricSourceContract, Reply
from tests.adapters.metrics.test_providers import NUMBERS, Asked

NOW = 1_700_000_000.4
SECRET = "s3cret-of-the-cloud"
QUERIES = [{"Id": "e1", "Expression": "m1 / m2", "Label": "ErrorRate"}]


# Amazon CloudWatch --------------------------------------------------------------------------------------------------


OWN = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SECRET}


def cloudwatch(address="", region="eu-west-1", secret=OWN, **options):
    return CloudWatchSource(address, region=region, secret=secret, clock=lambda: NOW, **options)


def data(*values):
    return json.dumps({"MetricDataResults": [{"Id": "e1", "Values": list(values)}]})


async def test_cloudwatch_is_asked_for_metric_data_over_ten_windows(server):
    server.answer = (200, data(99.5, 7))
    async with cloudwatch(server.address) as source:
        answer = await source.value(json.dumps(QUERIES), 60.0)

    (request,) = server.requests
    assert (answer.value, answer.error) == (99.5, "")
    assert request.headers["X-Amz-Target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/monitoring/aws4_request" in request.headers["Authorization"]
    assert json.loads(server.bodies[0]) == {
        "MetricDataQueries": QUERIES,
        "MaxDatapoints": 20,
        "StartTime": 1_699_999_400,
        "EndTime": 1_700_000_000,
    }


@pytest.mark.parametrize("body", ['{"MetricDataResults": []}', data()])
async def test_cloudwatch_without_values_has_no_data(server, body):
    server.answer = (200, body)
    async with cloudwatch(server.address) as source:
        answer = await source.value("[]")
    assert (answer.value, answer.error) == (None, "")


async def test_a_cloudwatch_query_is_json(server):
    async with cloudwatch(server.address) as source:
        answer = await source.value("SELECT 1")
    assert answer.error.startswith("error unmarshaling query: ")
    assert not server.requests


@pytest.mark.parametrize(
    ("kind", "online"),
    [
        ("com.amazonaws.cloudwatch#InvalidParameterValueException", True),
        ("MissingParameter", True),
        ("ValidationError", True),
        ("AccessDeniedException", False),
        ("UnrecognizedClientException", False),
    ],
)
async def test_cloudwatch_is_there_when_it_finds_an_empty_request_invalid_and_nothing_else(server, kind, online):
    server.answer = (400, json.dumps({"__type": kind}))
    async with cloudwatch(server.address) as source:
        told = await source.online(None)
    assert bool(told) is not online
    assert online or kind in told


async def test_without_credentials_cloudwatch_cannot_be_asked(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with cloudwatch(secret={}) as source:
        assert (await source.value("[]")).error == "error creating aws session: there are no credentials"


@pytest.mark.parametrize("region", ["evil.example/", "a.evil.example#", "EU-WEST-1", "-a", "a" * 64, "a b", "x@evil"])
def test_a_region_is_no_part_of_another_host(region):
    with pytest.raises(ValueError, match="region is not valid"):
        cloudwatch(region=region)


@pytest.mark.parametrize(
    ("region", "host"),
    [("eu-west-1", "monitoring.eu-west-1.amazonaws.com"), ("cn-north-1", "monitoring.cn-north-1.amazonaws.com.cn")],
)
def test_each_region_has_a_cloudwatch_of_its_own(region, host):
    assert cloudwatch(region=region).url.host == host


def test_cloudwatch_needs_a_region():
    with pytest.raises(ValueError, match="region not specified"):
        cloudwatch(region="")


# Google Cloud Monitoring --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def private_key():
    made = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True)
    return made.stdout


@pytest.fixture
def google(server, private_key):
    """A server that gives tokens too; the Secret's values."""
    key = {
        "type": "service_account",
        "client_email": "canary@shop.iam.example",
        "private_key": private_key,
        "token_uri": f"{server.address}/token",
    }
    server.told = (200, "{}")
    token = json.dumps({"access_token": SECRET, "expires_in": 3600, "token_type": "Bearer"})
    server.answer = lambda request: (200, token) if request.path == "/token" else server.told
    return {"project": "shop", "serviceAccountKey": json.dumps(key)}


def stackdriver(address, secret, **options):
    return StackdriverSource(address, secret=secret, **options)


def points(value):
    return json.dumps({"timeSeriesData": [{"pointData": [{"values": [value]}, {"values": [{"doubleValue": 7}]}]}]})


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (points({"doubleValue": 99.5}), 99.5),
        (points({"int64Value": "42"}), 42),
        ("{}", None),
        ('{"timeSeriesData": []}', None),
        ('{"timeSeriesData": [{"labelValues": []}]}', None),
        ('{"timeSeriesData": [{"pointData": [{"values": []}]}]}', None),
    ],
)
async def test_google_is_asked_in_mql(server, google, body, value):
    server.told = (200, body)
    async with stackdriver(server.address, google) as source:
        answer = await source.value("fetch gce_instance")

    _, request = server.requests
    assert (answer.value, answer.error) == (value, "")
    assert request.path == "/v3/projects/shop/timeSeries:query"
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert json.loads(server.bodies[1]) == {"query": "fetch gce_instance"}


async def test_a_token_serves_many_queries(server, google):
    async with stackdriver(server.address, google) as source:
        for _ in range(3):
            await source.value("fetch gce_instance")
    assert [request.path for request in server.requests].count("/token") == 1


@pytest.mark.parametrize(("status", "online"), [(200, True), (400, True), (401, False), (403, False), (500, False)])
async def test_google_is_there_when_it_finds_an_empty_query_invalid_and_nothing_else(server, google, status, online):
    server.told = (status, "{}")
    async with stackdriver(server.address, google) as source:
        assert bool(await source.online(None)) is not online


async def test_a_token_that_is_refused_is_an_error(server, google):
    server.answer = (401, '{"error": "invalid_grant"}')
    async with stackdriver(server.address, google) as source:
        assert "error requesting stackdriver: " in (await source.value("fetch gce_instance")).error


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        ({}, "stackdriver credentials does not contain project"),
        ({"project": "shop", "serviceAccountKey": "hush"}, "stackdriver serviceAccountKey is not valid"),
        ({"project": "shop", "serviceAccountKey": '{"private_key": "hush"}'}, "serviceAccountKey is not valid"),
        ({"project": "shop", "serviceAccountKey": "[" * 10_000}, "serviceAccountKey is not valid"),
        ({"project": "shop", "serviceAccountKey": "[]"}, "serviceAccountKey is not valid"),
        ({"project": "../hush"}, "stackdriver project is not valid"),
    ],
)
def test_a_google_secret_that_cannot_be_used_is_refused(secret, complaint):
    with pytest.raises(ValueError, match=complaint) as refused:
        stackdriver("", secret)
    assert "hush" not in str(refused.value)


KEY = {
    "type": "service_account",
    "client_email": "a@b",
    "private_key": "k",
    "token_uri": "https://oauth2.googleapis.com",
}


@pytest.mark.parametrize(
    "change",
    [
        {"type": "external_account", "credential_source": {"file": "/var/run/secrets/token"}},
        {"type": "impersonated_service_account"},
        {"type": "authorized_user"},
        {"token_uri": "https://evil.example/token"},
        {"token_uri": "http://oauth2.googleapis.com/token"},
        {"token_uri": "http://169.254.169.254/token"},
        {"token_uri": 1},
        {"private_key": "k" * 5000},
        {"private_key": None},
    ],
)
def test_a_key_of_another_kind_or_for_another_token_service_is_refused(change, private_key):
    key = {**KEY, "private_key": private_key, **change}
    with pytest.raises(ValueError, match="stackdriver serviceAccountKey is not valid"):
        stackdriver("http://provider:9090", {"project": "shop", "serviceAccountKey": json.dumps(key)})


def test_a_key_for_google_s_token_service_is_taken(private_key):
    key = {**KEY, "private_key": private_key, "token_uri": "https://oauth2.googleapis.com/token"}
    stackdriver("", {"project": "shop", "serviceAccountKey": json.dumps(key)})


@pytest.mark.parametrize(
    "answer",
    ["[]", '{"access_token": 1}', '{"access_token": "a\\r\\nb"}', '{"access_token": "a", "expires_in": true}', ""],
)
async def test_an_invalid_token_is_an_error(server, google, answer):
    server.answer = (200, answer)
    async with stackdriver(server.address, google) as source:
        assert (await source.value("fetch gce_instance")).error


# the port's contract ------------------------------------------------------------------------------------------------


class Bench:
    """A cloud that answers as the contract wants it to. `made`: its source; `body`: the answer with a number."""

    secret = SECRET
    cannot = frozenset()

    def __init__(self, server, stack, made, body):
        self.server, self.stack, self.made, self.body = server, stack, made, body
        self.ordinary = {"/token": json.dumps({"access_token": SECRET})}
        self.tokens = server.answer if callable(server.answer) else lambda request: (200, "")

    async def at(self, address):
        return await self.stack.enter_async_context(Asked(self.made(address, timeout=2.0), "[]"))

    async def answering(self, reply):
        failures = {Reply.SERVER_ERROR: (500, f"boom {SECRET}"), Reply.BAD_JSON: (200, "no json")}
        told = failures.get(reply) or (200, self.body(NUMBERS[reply]) if reply in NUMBERS else self.body(""))
        self.server.answer = lambda request: self.tokens(request) if request.path == "/token" else told
        self.server.delay = 2.0 if reply is Reply.HANG else 0.0
        address = "http://127.0.0.1:9" if reply is Reply.UNREACHABLE else self.server.address
        return await self.stack.enter_async_context(
            Asked(self.made(address, timeout=0.2 if reply is Reply.HANG else 20.0), "[]")
        )


class TestCloudWatchKeepsThePortsContract(MetricSourceContract):
    @pytest.fixture
    async def bench(self, server):
        async with AsyncExitStack() as stack:
            body = '{{"MetricDataResults": [{{"Values": [{}]}}]}}'.format
            yield Bench(server, stack, cloudwatch, body)


class TestStackdriverKeepsThePortsContract(MetricSourceContract):
    @pytest.fixture
    async def bench(self, server, google):
        def body(number):
            value = f'{{"doubleValue": {number}}}' if number else ""
            return f'{{"timeSeriesData": [{{"pointData": [{{"values": [{value}]}}]}}]}}'

        def made(address, **options):
            key = json.loads(google["serviceAccountKey"]) | {"token_uri": f"{address}/token"}
            return stackdriver(address, google | {"serviceAccountKey": json.dumps(key)}, **options)

        async with AsyncExitStack() as stack:
            yield Bench(server, stack, made, body)
