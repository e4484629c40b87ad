"""Graphite: the render API; the last point that has a value counts."""

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
            yield "Authorization", basic(self.needed("username"), self.needed("password"))

    async def measure(self, query: str, window: float) -> float | None:
        del window  # it is in the query
        given = parse_qsl(_SPACE.sub(" ", query), keep_blank_values=True)
        parameters = [(name, value) for name, value in given if name != "format"]
        received = await self.ask("render", params=[*parameters, ("format", "json")])
        return self.read(received, _last_value, expected="targets with data points")

    async def probe(self) -> None:
        try:
            await self.measure(PROBE, 0)
        except SourceError as error:
            raise SourceError(f"running query failed: {error}") from error


def _last_value(document: Any) -> float | None:
    values = [value for target in document for value, _ in target["datapoints"] if value is not None]
    return number(values[-1]) if values else None
