"""Metric providers of Argo as those of a MetricTemplate, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import dumps
from typing import Any

from canarycore.argo._document import DocumentPart, Json, drop_none

# from Argo's ------------------------------------------------------------------------------------------------------


def _read_prometheus(node: DocumentPart) -> tuple[Json, str]:
    provider: Json = {"type": "prometheus", "address": node.text("address")}
    headers = {item.text("key"): [item.text("value")] for item in node.items("headers")}
    if headers:
        provider["headers"] = headers
    if node.take("insecure") is True:
        provider["insecureSkipVerify"] = True
    return provider, node.text("query")


def _read_datadog(node: DocumentPart) -> tuple[Json, str]:
    node.take("secretRef", "namespaced")  # a Secret is in the namespace of its template, always
    name = node.text("secretRef", "name", default="datadog")
    return {"type": "datadog", "secretRef": {"name": name}}, node.text("query")


def _read_newrelic(node: DocumentPart) -> tuple[Json, str]:
    return {"type": "newrelic", "secretRef": {"name": node.text("profile", default="newrelic")}}, node.text("query")


def _read_influxdb(node: DocumentPart) -> tuple[Json, str]:
    return {"type": "influxdb", "secretRef": {"name": node.text("profile", default="influxdb")}}, node.text("query")


def _read_graphite(node: DocumentPart) -> tuple[Json, str]:
    target = node.text("query")
    for letter, code in _ESCAPES:
        target = target.replace(letter, code)
    return {"type": "graphite", "address": node.text("address")}, f"target={target}"


def _read_cloudwatch(node: DocumentPart) -> tuple[Json, str]:
    return {"type": "cloudwatch"}, dumps(_capitalised(node.take("metricDataQueries")))


def _capitalised(value: Any) -> Any:
    """Return a value whose field names begin with a capital, as Flagger writes CloudWatch's."""
    if isinstance(value, Mapping):
        return {f"{str(name)[:1].upper()}{str(name)[1:]}": _capitalised(inner) for name, inner in value.items()}
    return [_capitalised(inner) for inner in value] if isinstance(value, list) else value


READERS: dict[str, Callable[[DocumentPart], tuple[Json, str]]] = {
    "prometheus": _read_prometheus,
    "datadog": _read_datadog,
    "newRelic": _read_newrelic,
    "cloudWatch": _read_cloudwatch,
    "graphite": _read_graphite,
    "influxdb": _read_influxdb,
}
"""The reader of each provider: it returns `spec.provider` and `spec.query` of the MetricTemplate."""

# back to Argo's ---------------------------------------------------------------------------------------------------


def _write_prometheus(node: DocumentPart, query: str) -> Json:
    headers = [
        {"key": name, "value": values[0]}
        for name, values in (node.take("headers") or {}).items()
        if isinstance(values, list) and len(values) == 1
    ]
    insecure = node.take("insecureSkipVerify") is True or None
    fields = {"address": node.text("address"), "query": query, "headers": headers or None, "insecure": insecure}
    return {"prometheus": drop_none(fields)}


def _write_datadog(node: DocumentPart, query: str) -> Json:
    node.take("secretRef")
    return {"datadog": {"query": query}}


def _write_newrelic(node: DocumentPart, query: str) -> Json:
    return {"newRelic": {"profile": node.text("secretRef", "name"), "query": query}}


def _write_influxdb(node: DocumentPart, query: str) -> Json:
    return {"influxdb": {"profile": node.text("secretRef", "name"), "query": query}}


def _write_graphite(node: DocumentPart, query: str) -> Json:
    target = query.removeprefix("target=")
    for letter, code in reversed(_ESCAPES):
        target = target.replace(code, letter)
    return {"graphite": {"address": node.text("address"), "query": target}}


_ESCAPES = (("%", "%25"), ("&", "%26"), ("+", "%2B"), (";", "%3B"))

WRITERS: dict[str, Callable[[DocumentPart, str], Json]] = {
    "prometheus": _write_prometheus,
    "datadog": _write_datadog,
    "newrelic": _write_newrelic,
    "influxdb": _write_influxdb,
    "graphite": _write_graphite,
}
"""The writer of each type: it takes the provider and the query of a MetricTemplate, and returns Argo's `provider`."""
