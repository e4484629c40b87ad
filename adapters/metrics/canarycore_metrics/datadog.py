"""Datadog: the first point with a value, of the first series over ten times the check's window.

The last point nearly always covers a time that is not over yet, so the first one counts. A point without a value covers
a time without data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore_metrics.answers import first_number
from canarycore_metrics.source import HttpSource, is_ok

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_BACK = 10
"""The time range of a query, in windows of the check."""


class DatadogSource(HttpSource):
    """Datadog's API. Its secret has `datadog_api_key` and `datadog_application_key`."""

    name = "datadog"
    home = "https://api.datadoghq.com"

    def credentials(self) -> Iterable[tuple[str, str]]:
        yield "DD-API-KEY", self.require_credential("datadog_api_key")
        yield "DD-APPLICATION-KEY", self.require_credential("datadog_application_key")

    async def measure(self, query: str, window: float) -> float | None:
        now = int(self.clock())
        span = {"from": str(now - int(LOOK_BACK * window)), "to": str(now)}
        answer = await self.ask("api/v1/query", params={"query": query, **span}, passes=is_ok)
        return self.read_number(answer, _first_point, expected="series of points")

    async def probe(self) -> None:
        await self.ask("api/v1/validate", passes=is_ok)


def _first_point(document: Any) -> float | None:
    series = document["series"]
    points = series[0]["pointlist"] if series else ()
    return first_number(point[1] for point in points if point)
