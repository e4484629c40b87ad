"""Dynatrace: a metric selector over ten times the check's window, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore_metrics.answers import first_number
from canarycore_metrics.source import HttpSource, is_ok

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_BACK = 10
"""The time range of a query, in windows of the check."""


class DynatraceSource(HttpSource):
    """A Dynatrace environment at its own address. Its secret has `dynatrace_token`."""

    name = "dynatrace"

    def credentials(self) -> Iterable[tuple[str, str]]:
        yield "Authorization", f"Api-Token {self.require_credential('dynatrace_token')}"

    async def measure(self, query: str, window: float) -> float | None:
        now = int(self.clock()) * 1000
        span = {"from": str(now - int(LOOK_BACK * window * 1000)), "to": str(now)}
        selected = {"metricSelector": query, "resolution": "Inf"}
        answer = await self.ask("api/v2/metrics/query", params={**selected, **span}, passes=is_ok)
        return self.read_number(answer, _last_value, expected="results with values")

    async def probe(self) -> None:
        await self.ask("api/v2/metrics", params={"pageSize": "1"}, passes=is_ok)


def _last_value(document: Any) -> float | None:
    """Return the first value of the last series that has one."""
    results = document["result"]
    data = results[0]["data"] if results else ()
    return first_number(value for series in reversed(data) for value in series["values"])
