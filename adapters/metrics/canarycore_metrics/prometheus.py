"""The port MetricSource for Prometheus, and for anything that answers its HTTP API.

    async with PrometheusSource("http://prometheus:9090") as source:
        answer = await source.query(rollout, question)

The check's query is rendered (see `canarycore_metrics.template`) and put as an instant query. The first sample counts.
No sample, or one that is not a number, is no data; whatever goes wrong is an error in the provider's words.
"""

from __future__ import annotations

import base64
import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from yarl import URL

from canarycore import MetricAnswer
from canarycore_metrics.template import TemplateError, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from canarycore import Check, CheckKind, MetricQuestion, Rollout

ONLINE = "vector(1)"
"""The query that any server which is well answers with 1."""

_LONGEST_BODY = 2000


class PrometheusSource:
    """Queries the server at `address`, while its context is open.

    headers: sent with each query, each with one value or several. secret: `token` (bearer), or `username` and
    `password` (basic). insecure_skip_verify: accept any TLS certificate. timeout: seconds for one query. built_in: the
    queries of checks that bring none, which depend on the mesh. words: what queries may name besides `interval` and
    `variables`; by default all that the rollout itself knows.

    Raises ValueError when the address or the secret cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str | Iterable[str]] | None = None,
        secret: Mapping[str, str] | None = None,
        insecure_skip_verify: bool = False,
        timeout: float = 5.0,
        built_in: Mapping[CheckKind, str] | None = None,
        words: Callable[[Rollout], Mapping[str, str]] | None = None,
    ) -> None:
        self._url = _checked(address)
        self._headers = [*_flat(headers or {}), *_credentials(secret or {})]
        self._verify = not insecure_skip_verify
        self._timeout = timeout
        self._built_in = built_in or {}
        self._words = words or words_of
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        connector = aiohttp.TCPConnector(ssl=self._verify)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """The value of the check's query now."""
        check = question.check
        query = check.query or self._built_in.get(check.kind, "")
        if not query:
            return MetricAnswer(error=f"{check.name} has no query: expected one in its template, or the mesh's own")
        try:
            text = render(query, self._words_for(rollout, check), dict(check.variables))
        except TemplateError as error:
            return MetricAnswer(error=str(error))
        return await self.value(text)

    async def online(self, rollout: Rollout) -> str:
        """Empty when the server answers queries."""
        del rollout
        answer = await self.value(ONLINE)
        if answer.error:
            return f"prometheus not available: running query failed: {answer.error}"
        return "" if answer.value == 1 else f"prometheus not available: value is not 1 for query: {ONLINE}"

    async def value(self, query: str) -> MetricAnswer:
        """The first sample of an instant query."""
        if self._session is None:
            raise RuntimeError("the source is not open: use it inside `async with`")
        try:
            async with self._session.get(self._url, params={"query": query}) as response:
                body = await response.text(errors="replace")
        except TimeoutError:
            return MetricAnswer(error=f"request failed: no answer within {self._timeout:g} s")
        except aiohttp.ClientError as error:
            return MetricAnswer(error=f"request failed: {error}")
        if response.status >= HTTPStatus.BAD_REQUEST:
            words = _phrase(response.status)
            return MetricAnswer(error=f"error response: Status {response.status} {words}: {_short(body)}")
        return _answer(body)

    def _words_for(self, rollout: Rollout, check: Check) -> dict[str, str]:
        return {**self._words(rollout), "interval": check.window_text}


def words_of(rollout: Rollout) -> dict[str, str]:
    """What a query may name. Services, ingresses and routes are called as the target unless somebody knows better."""
    target = rollout.target.name
    names = {"name": rollout.name, "namespace": rollout.namespace, "target": target}
    return names | dict.fromkeys(("service", "ingress", "route"), target)


def _checked(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("prometheus address is not a valid URL: expected one such as http://prometheus:9090")
    return url / "api/v1/query"


def _flat(headers: Mapping[str, str | Iterable[str]]) -> list[tuple[str, str]]:
    return [
        (name, one) for name, values in headers.items() for one in ([values] if isinstance(values, str) else values)
    ]


def _credentials(secret: Mapping[str, str]) -> list[tuple[str, str]]:
    if not secret:
        return []
    if "token" in secret:
        return [("Authorization", f"Bearer {secret['token']}")]
    for name in ("username", "password"):
        if name not in secret:
            raise ValueError(f"prometheus credentials do not contain a {name}: expected it, or a token")
    pair = base64.b64encode(f"{secret['username']}:{secret['password']}".encode()).decode()
    return [("Authorization", f"Basic {pair}")]


def _answer(body: str) -> MetricAnswer:
    try:
        sample = _first_sample(json.loads(body))
        return MetricAnswer(value=None if sample is None or math.isnan(sample) else sample)
    except json.JSONDecodeError as error:
        return MetricAnswer(error=f"error unmarshaling result: {error.msg}, '{_short(body)}'")
    except (KeyError, IndexError, TypeError, ValueError):
        expected = "expected a vector or a scalar"
        return MetricAnswer(error=f"error unmarshaling result: {expected}, '{_short(body)}'")


def _first_sample(document: Any) -> float | None:
    data = document["data"]
    if data["resultType"] == "scalar":
        return float(data["result"][1])
    if data["resultType"] != "vector":
        raise ValueError(data["resultType"])
    return float(data["result"][0]["value"][1]) if data["result"] else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _short(body: str) -> str:
    return body if len(body) <= _LONGEST_BODY else f"{body[:_LONGEST_BODY]}…"
