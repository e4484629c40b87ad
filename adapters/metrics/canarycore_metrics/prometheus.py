"""The port MetricSource for Prometheus, and for anything that answers its HTTP API.

    async with PrometheusSource("http://prometheus:9090") as source:
        answer = await source.query(rollout, question)

The check's query is rendered (see `canarycore_metrics.template`) and put as an instant query. As in Flagger, of several
samples the last one counts. No sample, or one that is not a number, is no data.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from canarycore_metrics.answers import number_in_text
from canarycore_metrics.source import HttpSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

ONLINE = "vector(1)"
"""The query that any server which is well answers with 1."""

PATH = "api/v1/query"

_SPACE = re.compile(r"\s+")


class PrometheusSource(HttpSource):
    """A Prometheus server. Its secret has `token` (bearer), or `username` and `password` (basic)."""

    name = "prometheus"

    def credentials(self) -> Iterable[tuple[str, str]]:
        return basic_or_bearer(self)

    async def measure(self, query: str, window: float) -> float | None:
        del window  # it is in the query
        received = await self.ask(PATH, params={"query": _SPACE.sub(" ", query)})
        return self.read(received, _last_sample, expected="a vector or a scalar")

    async def probe(self) -> None:
        try:
            value = await self.measure(ONLINE, 0)
        except SourceError as error:
            raise SourceError(f"running query failed: {error}") from error
        if value != 1:
            raise SourceError(f"value is not 1 for query: {ONLINE}")


def basic_or_bearer(source: HttpSource) -> Iterable[tuple[str, str]]:
    """The header Authorization, if there is a secret at all."""
    if not source.secret:
        return ()
    if source.secret.get("token"):
        return (("Authorization", f"Bearer {source.secret['token']}"),)
    return (("Authorization", basic(source.needed("username"), source.needed("password"))),)


def basic(username: str, password: str) -> str:
    """HTTP's basic authorization."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _last_sample(document: Any) -> float | None:
    data = document["data"]
    if data["resultType"] == "scalar":
        return number_in_text(data["result"][1])
    if data["resultType"] == "matrix":
        raise SourceError("query returned multiple values")
    if data["resultType"] != "vector":
        raise ValueError(data["resultType"])
    return number_in_text(data["result"][-1]["value"][1]) if data["result"] else None
