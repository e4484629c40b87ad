"""The port MetricSource for Prometheus, and for other servers with its HTTP API.

    async with PrometheusSource("http://prometheus:9090") as source:
        answer = await source.query(rollout, question)

The source renders the check's query (see `canarycore_metrics.template`) and sends it as an instant query. Like Flagger,
it takes the last of several samples, of those with a number. No such sample means no data.
"""

from __future__ import annotations

import base64
import re
from math import isnan
from typing import TYPE_CHECKING, Any

from canarycore_metrics.answers import number_in_text
from canarycore_metrics.source import HttpSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

ONLINE = "vector(1)"
"""A query that a healthy server answers with 1."""

PATH = "api/v1/query"

_SPACE = re.compile(r"\s+")


class PrometheusSource(HttpSource):
    """A Prometheus server. Its secret has `token` (bearer), or `username` and `password` (basic)."""

    name = "prometheus"

    def credentials(self) -> Iterable[tuple[str, str]]:
        return basic_or_bearer(self)

    async def measure(self, query: str, window: float) -> float | None:
        del window  # the query has it
        answer = await self.ask(PATH, params={"query": _SPACE.sub(" ", query)})
        return self.read_number(answer, _last_sample, expected="a vector or a scalar")

    async def probe(self) -> None:
        try:
            value = await self.measure(ONLINE, 0)
        except SourceError as error:
            raise SourceError(f"running query failed: {error}") from error
        if value != 1:
            raise SourceError(f"value is not 1 for query: {ONLINE}")


def basic_or_bearer(source: HttpSource) -> Iterable[tuple[str, str]]:
    """Return the header Authorization, or nothing without a secret."""
    if not source.secret:
        return ()
    if source.secret.get("token"):
        return (("Authorization", f"Bearer {source.secret['token']}"),)
    return (("Authorization", basic(source.require_credential("username"), source.require_credential("password"))),)


def basic(username: str, password: str) -> str:
    """Return the value of the header Authorization for HTTP's basic scheme."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _last_sample(document: Any) -> float | None:
    data = document["data"]
    if data["resultType"] == "scalar":
        return number_in_text(data["result"][1])
    if data["resultType"] == "matrix":
        raise SourceError("query returned multiple values")
    if data["resultType"] != "vector":
        raise ValueError(data["resultType"])
    samples = [number_in_text(sample["value"][1]) for sample in data["result"]]
    numbers = [value for value in samples if not isnan(value)]
    return numbers[-1] if numbers else None
