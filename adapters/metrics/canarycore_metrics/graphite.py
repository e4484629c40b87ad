"""Graphite: the render API. The last point with a value counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from canarycore_metrics.answers import number
from canarycore_metrics.prometheus import basic
from canarycore_metrics.source import HttpSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

PROBE = "target=test"

_SPACE = re.compile(r"\s+")


class GraphiteSource(HttpSource):
    """A Graphite server. Its secret has `username` and `password`. Queries are parameters: `target=…&from=-1min`."""

    name = "graphite"

    def credentials(self) -> Iterable[tuple[str, str]]:
        if self.secret:
            yield "Authorization", basic(self.require_credential("username"), self.require_credential("password"))

    async def measure(self, query: str, window: float) -> float | None:
        del window  # the query has it
        pairs = parse_qsl(_SPACE.sub(" ", query), keep_blank_values=True)
        parameters = [(name, value) for name, value in pairs if name != "format"]
        answer = await self.ask("render", params=[*parameters, ("format", "json")])
        return self.read_number(answer, _last_value, expected="targets with data points")

    async def probe(self) -> None:
        try:
            await self.measure(PROBE, 0)
        except SourceError as error:
            raise SourceError(f"running query failed: {error}") from error


def _last_value(document: Any) -> float | None:
    values = [value for target in document for value, _ in target["datapoints"] if value is not None]
    return number(values[-1]) if values else None
