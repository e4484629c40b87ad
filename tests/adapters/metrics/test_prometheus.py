"""The Prometheus source against a local server with prepared answers."""

import json
import math
import ssl
import subprocess
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from canarycore import Check, CheckKind, Rollout, TargetRef
from canarycore.questions import MetricQuestion
from canarycore_metrics.prometheus import PrometheusSource
from canarycore_runtime.testing.contracts import MetricSourceContract, Reply

ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)


def question(query="up", kind=CheckKind.QUERY, **more):
    return MetricQuestion("key", Check(name="check", kind=kind, minimum=0.0, query=query, **more), "revision")


def vector(*values):
    result = [{"metric": {}, "value": [1700000000.1, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.fixture
async def server(server):
    server.answer = (200, vector("1"))
    return server


@pytest.fixture
async def source(server):
    async with PrometheusSource(server.address) as source:
        yield source


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (vector("99.5"), 99.5),
        (vector("1", "2"), 2),
        (json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1700000000, "3"]}}), 3),
        (vector(), None),
        (vector("NaN"), None),
        (vector("1", "2", "NaN"), 2),
        (vector("NaN", "NaN"), None),
        (vector("+Inf"), math.inf),
    ],
)
async def test_the_last_sample_counts_and_what_is_no_number_is_no_data(server, source, body, value):
    server.answer = (200, body)

    answer = await source.query(ROLLOUT, question())

    assert (answer.value, answer.error) == (value, "")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, "boom", "error response: Status 500 Internal Server Error: boom"),
        (422, "parse error", "error response: Status 422 Unprocessable Entity: parse error"),
        (299, "not json", "error unmarshaling result: Expecting value, 'not json'"),
        (200, "{}", "error unmarshaling result: expected a vector or a scalar, '{}'"),
        (200, '{"data": {"resultType": "matrix", "result": []}}', "query returned multiple values"),
        (200, '{"data": {"resultType": "string", "result": []}}', "error unmarshaling result: expected a vector"),
        (200, vector("much"), "error unmarshaling result: expected a vector or a scalar"),
    ],
)
async def test_a_failure_is_an_error_in_the_provider_s_words(server, source, status, body, error):
    server.answer = (status, body)

    answer = await source.query(ROLLOUT, question())

    assert answer.value is None
    assert answer.error.startswith(error)


async def test_a_server_that_hangs_is_an_error(server):
    server.delay = 2.0

    async with PrometheusSource(server.address, timeout=0.2) as source:
        assert (await source.query(ROLLOUT, question())).error == "request failed: no answer within 0.2 s"


async def test_an_unreachable_server_is_an_error():
    async with PrometheusSource("http://127.0.0.1:9") as source:
        assert (await source.query(ROLLOUT, question())).error.startswith(
            "request failed: cannot connect to 127.0.0.1:9"
        )


async def test_the_query_is_rendered_before_it_is_put(server, source):
    text = 'x{ns="{{ namespace }}",svc="{{ service }}",dir="{{ variables.way }}"}[{{ interval }}] + 1'

    await source.query(ROLLOUT, question(text, CheckKind.TEMPLATE, window_text="30s", variables=(("way", "in"),)))

    assert server.requests[0].path == "/api/v1/query"
    assert server.requests[0].query["query"] == 'x{ns="test",svc="podinfo",dir="in"}[30s] + 1'


async def test_white_space_is_sent_as_flagger_sends_it(server, source):
    await source.value("\n\tsum(\n\t\tup\n\t)")

    assert server.requests[0].query["query"] == " sum( up )"


async def test_a_query_that_cannot_be_rendered_is_an_error_and_not_put(server, source):
    answer = await source.query(ROLLOUT, question("{{ cluster }}"))

    assert "found the name cluster, expected one of" in answer.error
    assert not server.requests


async def test_a_check_without_a_query_is_an_error(server, source):
    answer = await source.query(ROLLOUT, question(query="", kind=CheckKind.SUCCESS_RATE))

    assert answer.error.startswith("check has no query")
    assert not server.requests


@pytest.mark.parametrize(
    ("secret", "authorization"),
    [
        ({"token": "t0p"}, "Bearer t0p"),
        ({"username": "me", "password": "pass"}, "Basic bWU6cGFzcw=="),
        ({}, None),
    ],
)
async def test_credentials_and_headers_are_sent(server, secret, authorization):
    async with PrometheusSource(f"{server.address}/prefix/", headers={"X-Scope": ["a", "b"]}, secret=secret) as source:
        await source.query(ROLLOUT, question())

    request = server.requests[0]
    assert request.headers.get("Authorization") == authorization
    assert request.headers.getall("X-Scope") == ["a", "b"]
    assert request.path == "/prefix/api/v1/query"


@pytest.mark.parametrize(
    ("address", "secret", "complaint"),
    [
        ("", {}, "address is not a valid URL"),
        ("prometheus:9090", {}, "address is not a valid URL"),
        ("http://prometheus", {"username": "me"}, "does not contain password"),
        ("http://prometheus", {"password": "hush"}, "does not contain username"),
    ],
)
def test_invalid_settings_are_refused_at_once_without_a_secret_in_the_message(address, secret, complaint):
    with pytest.raises(ValueError, match=complaint) as refused:
        PrometheusSource(address, secret=secret)

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, vector("1")), ""),
        ((200, vector("2")), "value is not 1 for query: vector(1)"),
        ((503, "later"), "running query failed: error response: Status 503 "),
    ],
)
async def test_online_is_a_query_that_answers_one(server, source, answer, words):
    server.answer = answer

    told = await source.online(ROLLOUT)

    assert told.startswith(words)
    assert bool(told) == bool(words)
    assert server.requests[0].query["query"] == "vector(1)"


def _asks_online(request):
    return request.query["query"] == "vector(1)"


class Bench:
    """The contract's provider: a scripted server."""

    secret = "t0p-secret"
    cannot: frozenset[Reply] = frozenset()

    def __init__(self, server, stack):
        self.server = server
        self.stack = stack
        self.ordinary = {}

    async def answering(self, reply):
        replies = REPLIES.get(reply, (200, vector("1")))
        well = replies[0] == 200  # then it answers the query that asks so, whatever else it says
        self.server.answer = lambda request: (200, vector("1")) if well and _asks_online(request) else replies
        self.server.delay = 2.0 if reply is Reply.HANG else 0.0
        address = "http://127.0.0.1:9" if reply is Reply.UNREACHABLE else self.server.address
        built_in = {CheckKind.SUCCESS_RATE: "up"}
        timeout = 0.2 if reply is Reply.HANG else 20.0
        source = PrometheusSource(address, secret={"token": self.secret}, timeout=timeout, built_in=built_in)
        return await self.stack.enter_async_context(source)

    async def at(self, address):
        source = PrometheusSource(
            address, secret={"token": self.secret}, timeout=2.0, built_in={CheckKind.SUCCESS_RATE: "up"}
        )
        return await self.stack.enter_async_context(source)

    def body(self, number):
        return vector("$").replace('"$"', f'"{number}"' if number == "99.5" else number)


REPLIES = {
    Reply.GOOD: (200, vector("99.5")),
    Reply.BAD: (200, vector("42")),
    Reply.EMPTY: (200, vector()),
    Reply.NAN: (200, vector("NaN")),
    Reply.INFINITE: (200, vector("+Inf")),
    Reply.NEGATIVE_INFINITE: (200, vector("-Inf")),
    Reply.SERVER_ERROR: (500, "boom"),
    Reply.BAD_JSON: (200, "not json"),
}


class TestThePortsContract(MetricSourceContract):
    @pytest.fixture
    async def bench(self, server):
        async with AsyncExitStack() as stack:
            yield Bench(server, stack)


@pytest.mark.parametrize(("skip", "trusted"), [(False, False), (True, True)])
async def test_a_certificate_is_checked_unless_the_owner_says_otherwise(tmp_path, skip, trusted):
    async def respond(request):
        return web.Response(text=vector("1"))

    app = web.Application()
    app.router.add_get("/api/v1/query", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_self_signed(tmp_path))
    await site.start()
    address = f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async with PrometheusSource(address, insecure_skip_verify=skip) as source:
        answer = await source.value("up")

    await runner.cleanup()
    assert (answer.value == 1) is trusted
    assert bool(answer.error) is not trusted


def _self_signed(folder):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    command = ("openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
