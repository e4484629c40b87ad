"""Keptn: `keptnmetric/<namespace>/<name>`, or `analysis/<namespace>/<definition>/<timeframe>/<a=b;c=d>`.

The value of a KeptnMetric is in its status. For an analysis the source creates an Analysis, waits for its end and
deletes it. The value is 1 if it passed, else 0.
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
"""The timeframe of an analysis that names none."""

POLL = 1.0
"""Seconds between polls of an analysis."""

ANALYSIS_TIMEOUT = 10.0
"""The longest analysis (seconds)."""

EXPECTED = "expected <keptnmetric|analysis>/<namespace>/<name>/<timeframe>/<arguments>"


@frozen(kw_only=True)
class KeptnQuery:
    """A parsed query."""

    plural: str
    """The resource, `keptnmetrics` or `analyses`."""

    namespace: str

    name: str
    """The name of the KeptnMetric or of the AnalysisDefinition."""

    timeframe: str = TIMEFRAME
    """The look-back of an analysis, as Keptn writes it."""

    arguments: Mapping[str, str]
    """The arguments of an analysis."""

    @property
    def path(self) -> str:
        return f"{API}/namespaces/{self.namespace}/{self.plural}"


class KeptnSource(ClusterSource):
    """The KeptnMetrics and analyses of a cluster."""

    name = "keptn"

    async def measure(self, query: str, window: float) -> float | None:
        del window  # Keptn or the query has it
        parsed = parse_query(query)
        self.demand_allowed(parsed.namespace)
        if parsed.plural == "keptnmetrics":
            return self.read_number(
                await self.call(f"{parsed.path}/{parsed.name}"), _value, expected="a status with a value"
            )
        return await self._analyse(parsed)

    async def probe(self) -> None:
        await self.call(API)

    async def _analyse(self, parsed: KeptnQuery) -> float:
        name = f"{parsed.name}-{secrets.token_hex(3)}"
        await self.call(parsed.path, method="POST", json=_analysis(parsed, name))
        try:
            async with asyncio.timeout(ANALYSIS_TIMEOUT):
                while (passed := await self._verdict(f"{parsed.path}/{name}")) is None:  # noqa: ASYNC110 - no watch
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise SourceError(f"analysis {parsed.namespace}/{name} did not end within {ANALYSIS_TIMEOUT:g} s") from None
        finally:
            await asyncio.shield(self._delete(f"{parsed.path}/{name}"))
        return float(passed)

    async def _verdict(self, path: str) -> bool | None:
        answer = await self.call(path)
        return self.parse_answer(answer, lambda: _passed(parse_json(answer.text)), expected="an Analysis")

    async def _delete(self, path: str) -> None:
        """Delete an analysis, and ignore a failure: the verdict is known."""
        try:
            await self.call(path, method="DELETE")
        except SourceError:
            return


def parse_query(query: str) -> KeptnQuery:
    """Return the parts of a query. Raises SourceError when it has another form."""
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


def _analysis(parsed: KeptnQuery, name: str) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "Analysis",
        "metadata": {"name": name, "namespace": parsed.namespace},
        "spec": {
            "analysisDefinition": {"name": parsed.name},
            "timeframe": {"recent": parsed.timeframe},
            "args": dict(parsed.arguments),
        },
    }


def _value(document: Any) -> float | None:
    value = (document.get("status") or {}).get("value")
    return None if value is None or value == "" else number_in_text(value)


def _passed(document: Any) -> bool | None:
    """Return the verdict, or None while the analysis runs. Raises TypeError when it is not a boolean."""
    status = document.get("status") or {}
    verdict = status.get("pass") if status.get("state") == "Completed" else None
    if verdict is not None and not isinstance(verdict, bool):
        raise TypeError("pass")
    return verdict
