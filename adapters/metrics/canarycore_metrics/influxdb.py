"""InfluxDB 2: Flux queries; the `_value` of the first record counts."""

from __future__ import annotations

import csv
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from canarycore.text import escape_controls
from canarycore_metrics.answers import number_in_text
from canarycore_metrics.source import HttpSource, SourceError
from canarycore_runtime.http import EXCERPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_runtime.http import HttpAnswer

PROBE = 'from(bucket: "default") |> range(start: -2h)'
PATIENCE = 15.0
"""Seconds that a query may take."""


class InfluxDbSource(HttpSource):
    """An InfluxDB server. Its secret has `token` and `org`."""

    name = "influxdb"
    patience = PATIENCE

    def credentials(self) -> Iterable[tuple[str, str]]:
        if self.secret:
            self.needed("org")
            yield "Authorization", f"Token {self.needed('token')}"

    async def measure(self, query: str, window: float) -> float | None:
        del window  # it is in the query
        received = await self._run(query)
        return self.parsed(received, lambda: _first_value(received.text), expected="records with a number as _value")

    async def probe(self) -> None:
        """A server without a bucket of that name says so, which is an answer too."""
        await self._run(PROBE, passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND})

    async def _run(self, query: str, **more: Any) -> HttpAnswer:
        request = {"query": query, "type": "flux", "dialect": {"header": True, "annotations": []}}
        organisation = {"org": self.secret["org"]} if self.secret else {}
        accept = {"Accept": "application/csv"}
        return await self.ask("api/v2/query", method="POST", json=request, params=organisation, headers=accept, **more)


def _first_value(body: str) -> float | None:
    """Return the first `_value`. Records follow a line with the names of their columns; an empty body has none."""
    try:
        records = csv.DictReader(line for line in body.splitlines() if line.strip())
        columns, first = records.fieldnames or ["_value"], next(records, {})
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if first.get("error"):
        raise SourceError(f"query error: {escape_controls(str(first['error']), EXCERPT_LIMIT)}")
    if "_value" not in columns:
        raise LookupError("_value")
    return number_in_text(first["_value"]) if first.get("_value") else None
