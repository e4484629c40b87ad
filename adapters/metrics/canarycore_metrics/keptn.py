"""Keptn: `keptnmetric/<namespace>/<name>`, or `analysis/<namespace>/<definition>/<timeframe>/<a=b;c=d>`.

A KeptnMetric's value is that of its status. An analysis is made, waited for and deleted; its value is 1 if it passed,
else 0.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore.text import escape_controls
from canarycore_metrics.answers import number_in_text, parse_json
from canarycore_metrics.cluster import ClusterSource, is_name
from canarycore_metrics.source import SourceError
from canarycore_runtime.http import EXCERPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "metrics.keptn.sh/v1beta1"
API = f"apis/{GROUP}"
KINDS = {
    "keptnmetric": "keptnmetrics",
    "keptnmetrics": "keptnmetrics",
    "analysis": "analyses",
    "analyses": "analyses",
}
TIMEFRAME = "1m"
"""Of an analysis that names none."""

POLL = 1.0
"""Seconds between looks at an analysis."""

PATIENCE = 10.0
"""Seconds within which an analysis must be over."""

EXPECTED = "expected <keptnmetric|analysis>/<namespace>/<name>/<timeframe>/<arguments>"


@frozen(kw_only=True)
class KeptnQuery:
    """A query, taken apart."""

    plural: str
    namespace: str
    name: str
    timeframe: str = TIMEFRAME
    arguments: Mapping[str, str]

    @property
    def path(self) -> str:
        return f"{API}/namespaces/{self.namespace}/{self.plural}"


class KeptnSource(ClusterSource):
    """The KeptnMetrics and analyses of a cluster."""

    name = "keptn"

    async def measure(self, query: str, window: float) -> float | None:
        del window  # it is Keptn's, or in the query
        asked = parse_query(query)
        self.demand_allowed(asked.namespace)
        if asked.plural == "keptnmetrics":
            return self.read(await self.call(f"{asked.path}/{asked.name}"), _value, expected="a status with a value")
        return await self._analyse(asked)

    async def probe(self) -> None:
        await self.call(API)

    async def _analyse(self, asked: KeptnQuery) -> float:
        name = f"{asked.name}-{secrets.token_hex(3)}"
        await self.call(asked.path, method="POST", json=_analysis(asked, name))
        try:
            async with asyncio.timeout(PATIENCE):
                while (passed := await self._verdict(f"{asked.path}/{name}")) is None:  # noqa: ASYNC110 - no watch
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise SourceError(f"analysis {asked.namespace}/{name} was not over within {PATIENCE:g} s") from None
        finally:
            await asyncio.shield(self._delete(f"{asked.path}/{name}"))
        return float(passed)

    async def _verdict(self, path: str) -> bool | None:
        received = await self.call(path)
        return self.parsed(received, lambda: _passed(parse_json(received.text)), expected="an Analysis")

    async def _delete(self, path: str) -> None:
        """Whether or not it can be deleted, its verdict is known."""
        try:
            await self.call(path, method="DELETE")
        except SourceError:
            return


def parse_query(query: str) -> KeptnQuery:
    """A query's parts. Raises SourceError when they are not what is expected."""
    kind, *rest = query.strip().split("/")
    if kind.lower() not in KINDS or len(rest) < 2 or not all(is_name(name.lower()) for name in rest[:2]):
        raise SourceError(
            f"unexpected query format: found {escape_controls(query.strip(), EXCERPT_LIMIT)!r}, {EXPECTED}"
        )
    namespace, name, timeframe, arguments = [*rest, "", ""][:4]
    pairs = [pair.split("=") for pair in arguments.split(";")]
    return KeptnQuery(
        plural=KINDS[kind.lower()],
        namespace=namespace.lower(),
        name=name.lower(),
        timeframe=timeframe or TIMEFRAME,
        arguments={pair[0]: pair[1] for pair in pairs if len(pair) == 2},
    )


def _analysis(asked: KeptnQuery, name: str) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "Analysis",
        "metadata": {"name": name, "namespace": asked.namespace},
        "spec": {
            "analysisDefinition": {"name": asked.name},
            "timeframe": {"recent": asked.timeframe},
            "args": dict(asked.arguments),
        },
    }


def _value(document: Any) -> float | None:
    value = (document.get("status") or {}).get("value")
    return None if value is None or value == "" else number_in_text(value)


def _passed(document: Any) -> bool | None:
    """Return the verdict, None while it is under way. Raises TypeError when it is neither true nor false."""
    status = document.get("status") or {}
    verdict = status.get("pass") if status.get("state") == "Completed" else None
    if verdict is not None and not isinstance(verdict, bool):
        raise TypeError("pass")
    return verdict
