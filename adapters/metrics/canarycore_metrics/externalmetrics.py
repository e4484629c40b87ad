"""Kubernetes' external metrics: `<namespace>/<metric>?labelSelector=<selector>`. The first value counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from canarycore.text import escape_controls
from canarycore_metrics.answers import number
from canarycore_metrics.cluster import ClusterSource, is_name
from canarycore_metrics.source import SourceError
from canarycore_runtime.http import EXCERPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

API = "apis/external.metrics.k8s.io/v1beta1"
NAMESPACE = "default"
"""The namespace of a query that names none."""

EXPECTED = "expected <namespace>/<metric>?labelSelector=<url-encoded selector>"

_QUANTITY = re.compile(r"(?P<number>[+-]?[\d.]+([eE][+-]?\d+)?)(?P<suffix>[numkMGTPE]|[KMGTPE]i)?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
FACTORS: Mapping[str, float] = {
    "": 1.0,
    **{suffix: 10.0**power for suffix, power in _DECIMAL.items()},
    **{suffix: 2.0**power for suffix, power in _BINARY.items()},
}
"""The factor of each suffix of a quantity."""


class ExternalMetricsSource(ClusterSource):
    """The external metrics API of the cluster, or of a metrics server at another address."""

    name = "externalmetrics"

    async def measure(self, query: str, window: float) -> float | None:
        del window  # the metrics server has its own window
        path_part, _, parameters = query.strip().partition("?")
        namespace, _, metric = path_part.rpartition("/")
        if metric in {"", ".", ".."} or not is_name(namespace or NAMESPACE):
            raise SourceError(
                f"error parsing metric query: found {escape_controls(query.strip(), EXCERPT_LIMIT)!r}, {EXPECTED}"
            )
        self.demand_allowed(namespace or NAMESPACE)
        selector = parse_qs(parameters).get("labelSelector", [""])[0]
        path = f"{API}/namespaces/{namespace or NAMESPACE}/{metric}"
        answer = await self.call(path, params={"labelSelector": selector} if selector else {})
        return self.read_number(answer, _first_value, expected="items with quantities")

    async def probe(self) -> None:
        await self.call(API)


def quantity(text: str) -> float:
    """Return a quantity of Kubernetes as a number: `1500m` is 1.5, `2Ki` is 2048. Raises ValueError for other texts."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"found {escape_controls(text, EXCERPT_LIMIT)!r}, expected a quantity such as 1500m")
    return float(match["number"]) * FACTORS[match["suffix"] or ""]


def _first_value(document: Any) -> float | None:
    items = document["items"]
    value = items[0]["value"] if items else None
    return quantity(value) if isinstance(value, str) else number(value)
