"""InfluxDB 2: Flux queries. The first record with a `_value` counts."""

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
QUERY_TIMEOUT = 15.0
"""The longest query (seconds)."""


class InfluxDbSource(HttpSource):
    """An InfluxDB server. Its secret has `token` and `org`."""

    name = "influxdb"
    default_timeout = QUERY_TIMEOUT

    def credentials(self) -> Iterable[tuple[str, str]]:
        if self.secret:
            self.require_credential("org")
            yield "Authorization", f"Token {self.require_credential('token')}"

    async def measure(self, query: str, window: float) -> float | None:
        del window  # the query has it
        answer = await self._run(query)
        return self.parse_answer(answer, lambda: _first_value(answer.text), expected="records with a number as _value")

    async def probe(self) -> None:
        """Query the default bucket: a server without it answers 404, which is an answer too."""
        await self._run(PROBE, passes=lambda status: status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND})

    async def _run(self, query: str, **more: Any) -> HttpAnswer:
        request = {"query": query, "type": "flux", "dialect": {"header": True, "annotations": []}}
        organisation = {"org": self.secret["org"]} if self.secret else {}
        accept = {"Accept": "application/csv"}
        return await self.ask("api/v2/query", method="POST", json=request, params=organisation, headers=accept, **more)


def _first_value(body: str) -> float | None:
    """Return the first `_value` that is not empty, or None where there is none.

    The first line has the names of the columns. A window without data has a row with an empty value.
    """
    try:
        records = csv.DictReader(line for line in body.splitlines() if line.strip())
        columns, rows = records.fieldnames or ["_value"], list(records)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if rows and rows[0].get("error"):
        raise SourceError(f"query error: {escape_controls(str(rows[0]['error']), EXCERPT_LIMIT)}")
    if "_value" not in columns:
        raise LookupError("_value")
    return next((number_in_text(row["_value"]) for row in rows if row.get("_value")), None)
