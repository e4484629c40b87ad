"""New Relic: NRQL over the check's window, by the Insights query API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore_metrics.answers import number
from canarycore_metrics.source import HttpSource, SourceError, is_ok

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_runtime.http import HttpAnswer

PROBE = "SELECT * FROM Metric"
PROBE_WINDOW = 60.0
"""The look-back of a probe (seconds)."""


class NewRelicSource(HttpSource):
    """New Relic's Insights API. Its secret has `newrelic_account_id` and `newrelic_query_key`."""

    name = "newrelic"
    home = "https://insights-api.newrelic.com"

    def credentials(self) -> Iterable[tuple[str, str]]:
        self.require_credential("newrelic_account_id")
        yield "X-Query-Key", self.require_credential("newrelic_query_key")

    async def measure(self, query: str, window: float) -> float | None:
        return self.read_number(await self._select(query, window), _only_result, expected="one result")

    async def probe(self) -> None:
        await self._select(PROBE, PROBE_WINDOW)

    async def _select(self, query: str, window: float) -> HttpAnswer:
        path = f"v1/accounts/{self.secret['newrelic_account_id']}/query"
        return await self.ask(path, params={"nrql": f"{query} SINCE {int(window)} seconds ago"}, passes=is_ok)


def _only_result(document: Any) -> float | None:
    """Return the only result, under whichever name: New Relic names it by its function, as `average` or `count`.

    Raises SourceError when there are several, as none of them is the one that the limits are about.
    """
    results = document["results"]
    values = [value for result in results for value in _values(result)]
    if len(results) > 1 or len(values) > 1:
        raise SourceError(f"query returned multiple values: found {max(len(results), len(values))}, expected one")
    return number(values[0]) if values else None


def _values(result: dict[str, Any]) -> Iterable[Any]:
    """Return the values of a result, with those of its parts (`percentiles`). `result` comes before all others."""
    if "result" in result:
        return (result["result"],)
    parts = (value.values() if isinstance(value, dict) else (value,) for value in result.values())
    return (value for part in parts for value in part)
