"""Metric providers, hooks and chats, against a server that answers with what was mutated.

The server speaks plain bytes, so that a status, a header or a length may be anything. It runs in a thread of its own;
each call opens its adapter as the controller does, and closes it.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import os
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from typing import Any

from attrs import define, frozen

from canarycore import Check, CheckKind, Hook, HookType, Phase, Rollout, TargetRef
from canarycore.errors import WorldError
from canarycore.notices import Notice, NoticeKind
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion
from canarycore_hooks.webhook import EventHook, WebhookClient
from canarycore_planes.background import in_background
from canarycore_runtime import load
from canarycore_runtime.registry import installed
from tests.fuzz.mutation import expand, to_text
from tests.fuzz.targets import Target

Json = dict[str, Any]

PROMPT = ("canarycore_hooks.webhook", "canarycore_notifiers.chat")
"""Modules that wait before they try again; here they do not."""

_CHECK = Check(name="check", kind=CheckKind.QUERY, minimum=0.0, query="up", variables=(("a", "b"),))
_HOOK = Hook(name="load", type=HookType.ROLLOUT, url="", timeout=2.0, metadata=(("cmd", "hey"),))
_ROLLOUT = Rollout(name="podinfo", namespace="test", target=TargetRef(name="podinfo"), skip_analysis=True)


@contextmanager
def adapters() -> Iterator[tuple[Target, ...]]:
    """The targets that are asked over HTTP, while their server runs."""
    server = Server()
    with in_background(server.serving), _prompt(), _amazon(), asyncio.Runner() as runner:
        yield (*_metrics(server, runner), *_hooks(server, runner), *_chats(server, runner))


# ---------------------------------------------------------------------------------------------------------- the server


@frozen
class Reply:
    """An answer, as bytes on the wire, and the question."""

    content: bytes
    query: str


@define
class Server:
    """Answers each request with `reply`, and one for a token with a token."""

    address: str = ""
    reply: bytes = b""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """In the loop of the caller."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_TOKEN if b"/token" in head.partition(b"\r\n")[0] else self.reply)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the client has seen enough
        finally:
            writer.close()


def _wire(status: Any, headers: Any, body: bytes) -> bytes:
    given = headers if isinstance(headers, dict) else {"X-Given": headers}
    fields = {"Content-Length": len(body), "Connection": "close", **given}
    lines = [f"HTTP/1.1 {status} said", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


_TOKEN = _wire(
    200, {}, json.dumps({"access_token": "token-of-a-test", "expires_in": 3600, "token_type": "Bearer"}).encode()
)


def _prepare(case: Any) -> Reply:
    given = case if isinstance(case, dict) else {"body": case}
    body = _body(given.get("body"))
    if given.get("coding") == "gzip":
        body = gzip.compress(body, 1)
    elif given.get("coding") == "bomb":
        body = _bomb()
    query = expand(given.get("query"))
    status, headers = expand(given.get("status", 200)), expand(given.get("headers"))
    return Reply(_wire(status, headers, body), query if isinstance(query, str) else "up")


@cache
def _bomb() -> bytes:
    """A few hundred kB that become 200 MB."""
    packer, blanks = zlib.compressobj(wbits=31), b" " * 2_000_000
    return b"".join(packer.compress(blanks) for _ in range(100)) + packer.flush()


def _body(value: Any) -> bytes:
    """A text as it is, all else as JSON."""
    if isinstance(value, str) or (isinstance(value, dict) and "$text" in value):
        return str(expand(value)).encode("utf-8", "surrogatepass")
    return to_text(value).encode()


def _cases(*bodies: Any, query: str = "up") -> tuple[Json, ...]:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    plain: list[Json] = [{"status": 200, "headers": headers, "body": body, "query": query} for body in bodies]
    return (
        *plain,
        {**plain[0], "status": 500},
        {**plain[0], "status": 302, "headers": {**headers, "Location": "http://127.0.0.1:9/"}},
        {**plain[0], "coding": "gzip", "headers": {**headers, "Content-Encoding": "gzip"}},
        {**plain[0], "headers": {**headers, "Content-Encoding": "gzip"}},
        {**plain[0], "coding": "bomb", "headers": {**headers, "Content-Encoding": "gzip"}},
    )


# ------------------------------------------------------------------------------------------------------------- metrics


def _vector(value: Any) -> Json:
    result = [{"metric": {"host": "a"}, "value": [1700000000.1, value]}]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def _stream(*messages: Json) -> str:
    written = [*messages, {"event": "END_OF_CHANNEL", "timestampMs": 1}]
    names = ["metadata", *["data"] * (len(messages) - 1), "control-message"]
    return "".join(f"event: {name}\ndata: {json.dumps(one)}\n\n" for name, one in zip(names, written, strict=True))


_CSV = ",result,table,_time,_value\r\n,_result,0,2024-01-01T00:00:00Z,99.5\r\n,_result,0,2024-01-01T00:01:00Z,7\r\n"
_POINTS = [{"values": [{"doubleValue": 99.5}]}, {"values": [{"int64Value": "7"}]}]

_ANSWERS: dict[str, tuple[Json, ...]] = {
    "prometheus": _cases(
        _vector("99.5"), {"status": "error", "error": "bad"}, query='up{ns="{{ namespace }}"}[{{ interval }}]'
    ),
    "datadog": _cases({"series": [{"pointlist": [[1, 99.5], [2, 7]]}, {"pointlist": [[1, 8]]}]}),
    "newrelic": _cases({"results": [{"result": 99.5}]}),
    "graphite": _cases([{"target": "a", "datapoints": [[1, 1], [None, 3]]}], query="target=sum(a,\n b)&from=-1min"),
    "influxdb": _cases(_CSV, query='from(bucket: "a")'),
    "dynatrace": _cases({"result": [{"data": [{"values": [7]}, {"values": [99.5, 8]}]}]}),
    "splunk": _cases(_stream({"tsId": "A", "properties": {}}, {"data": [{"tsId": "A", "value": 7}]})),
    "externalmetrics": _cases(
        {"items": [{"value": "99500m"}, {"value": "7Ki"}]}, query="shop/jobs?labelSelector=env%3Dproduction"
    ),
    "keptn": _cases(
        {"status": {"value": "99.5", "intervalResults": []}}, query="KeptnMetric/shop/latency/2m/reporter=destination"
    ),
    "cloudwatch": _cases(
        {"MetricDataResults": [{"Id": "e1", "Values": [99.5, 7]}]}, query='[{"Id": "e1", "Expression": "m1 / m2"}]'
    ),
    "stackdriver": _cases({"timeSeriesData": [{"labelValues": [], "pointData": _POINTS}]}, query="fetch gce_instance"),
}


def _secrets(name: str, address: str) -> dict[str, str]:
    key = {
        "type": "service_account",
        "client_email": "canary@shop.iam.example",
        "private_key": _private_key() if name == "stackdriver" else "",
        "token_uri": f"{address}/token",
    }
    return {
        "datadog": {"datadog_api_key": "secret-one", "datadog_application_key": "secret-two"},
        "newrelic": {"newrelic_account_id": "51312", "newrelic_query_key": "secret-one"},
        "graphite": {"username": "me", "password": "secret-one"},
        "influxdb": {"token": "secret-one", "org": "us"},
        "dynatrace": {"dynatrace_token": "secret-one"},
        "splunk": {"sf_token_key": "secret-one"},
        "externalmetrics": {"token": "secret-one"},
        "keptn": {"token": "secret-one"},
        "cloudwatch": {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret-one"},
        "stackdriver": {"project": "shop", "serviceAccountKey": json.dumps(key)},
    }.get(name, {})


@cache
def _private_key() -> str:
    """Make a key that signs the request for a token."""
    return subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True).stdout


def _metrics(server: Server, runner: asyncio.Runner) -> Iterator[Target]:
    for name in installed("metrics"):
        if name in _ANSWERS:
            call = partial(_measured, load("metrics", name), name, server)
            yield _target(f"metrics {name}", _ANSWERS[name], server, runner, call)


async def _measured(factory: Callable[..., Any], name: str, server: Server, query: str) -> MetricAnswer:
    check = Check(name="check", kind=CheckKind.QUERY, minimum=0.0, query=query, variables=_CHECK.variables)
    secret = _secrets(name, server.address)
    async with factory(server.address, secret=secret, region="eu-west-1") as source:
        answer = await source.query(_ROLLOUT, MetricQuestion("key", check, "revision"))
        online = await source.online(_ROLLOUT)
    assert isinstance(answer, MetricAnswer), answer
    assert isinstance(online, str), online
    assert len(answer.error) < _LONGEST, f"an error of {len(answer.error)} characters"
    assert len(online) < _LONGEST, f"an error of {len(online)} characters"
    return answer


_LONGEST = 10_000
"""Characters of what an adapter tells of an answer."""

_LONGEST_WORDS = 64 * 1024
"""Characters of a receiver's own words."""


# ----------------------------------------------------------------------------------------------------- hooks and chats


def _hooks(server: Server, runner: asyncio.Runner) -> Iterator[Target]:
    cases = _cases({"status": "ok"}, "ok", "")
    yield _target("hook http", cases, server, runner, partial(_called, server))
    yield _target("hook event", cases, server, runner, partial(_told_by_hook, server), (WorldError,))


async def _called(server: Server, _: str) -> HookAnswer:
    hook = Hook(name="load", type=HookType.ROLLOUT, url=server.address, timeout=2.0, metadata=_HOOK.metadata)
    async with WebhookClient() as client:
        answer = await client.call(_ROLLOUT, HookQuestion("key", hook, Phase.PROGRESSING, "revision"))
    assert isinstance(answer, HookAnswer), answer
    assert len(answer.text) <= _LONGEST_WORDS, f"a text of {len(answer.text)} characters"
    return answer


async def _told_by_hook(server: Server, _: str) -> None:
    async with WebhookClient() as client:
        await EventHook(client, server.address).publish(_ROLLOUT, _NOTICE)


_NOTICE = Notice(NoticeKind.NEW_REVISION_ALERT, "key", Phase.PROGRESSING, _ROLLOUT.names, ("5",))


def _chats(server: Server, runner: asyncio.Runner) -> Iterator[Target]:
    cases = _cases("ok", "1", {"ok": False, "error": "channel_not_found"})
    for name in installed("notifiers"):
        if name != "webhook":
            call = partial(_told, load("notifiers", name), server)
            yield _target(f"chat {name}", cases, server, runner, call, (WorldError,))


async def _told(factory: Callable[..., Any], server: Server, _: str) -> None:
    async with factory(server.address, token="secret-one", channel="general", username="flagger") as chat:
        await chat.publish(_ROLLOUT, _NOTICE)


# ------------------------------------------------------------------------------------------------------------- details


def _target(
    name: str,
    cases: tuple[Json, ...],
    server: Server,
    runner: asyncio.Runner,
    ask: Callable[[str], Awaitable[object]],
    allowed: tuple[type[Exception], ...] = (),
) -> Target:
    def call(reply: Reply) -> object:
        server.reply = reply.content
        return runner.run(_awaited(ask, reply.query))

    return Target(name=name, samples=lambda: cases, prepare=_prepare, call=call, allowed=allowed, within="body")


async def _awaited(ask: Callable[[str], Awaitable[object]], query: str) -> object:
    return await ask(query)


@contextmanager
def _prompt() -> Iterator[None]:
    """Retries follow at once."""
    names = ("_FIRST_WAIT", "_LONGEST_WAIT")
    places = [(module, name) for module in map(importlib.import_module, PROMPT) for name in names]
    before = [(module, name, getattr(module, name)) for module, name in places if hasattr(module, name)]
    for module, name, _ in before:
        setattr(module, name, 0.001)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextmanager
def _amazon() -> Iterator[None]:
    """Credentials of a cloud in the environment, and none elsewhere."""
    given = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-one",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
