"""The resource of a document, or all its problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from canarycore.errors import ManifestError
from canarycore.manifest._alerts._subscriptions import read_subscriptions
from canarycore.manifest._definition._annotations import read_annotations, with_annotations
from canarycore.manifest._model import API_VERSION, GROUP, KINDS, AlertProvider, Canary, Metric, MetricTemplate
from canarycore.manifest._reader._fields import (
    Codec,
    Cursor,
    Problems,
    Schema,
    fields_of,
    read_object,
    write_object,
)
from canarycore.manifest._reader._size import find_excess
from canarycore.text import nearest

Parsed = Canary | MetricTemplate | AlertProvider


def parse(document: Mapping[str, Any], *, at: str = "") -> Parsed:
    """Return the resource of a document. Raise ManifestError with all problems where it has an error.

    Unknown fields are no errors: they are in the resource's `warnings`. at: the path of the document, if it is part of
    another one. A document beyond a bound (`canarycore.bounds`) is refused unread, so the cost is bounded.
    """
    excess = find_excess(document, at)
    if excess is not None:
        raise ManifestError((excess,))
    problems = Problems()
    cursor = Cursor(at, problems)
    kind = _kind(document, cursor)
    values = read_annotations(document, cursor) if kind is Canary else {}
    subscriptions = read_subscriptions(document, cursor) if kind is Canary else ()
    resource = read_object(kind, document, cursor, known=("apiVersion", "kind")) if kind else None
    if resource is None:
        raise ManifestError(problems.listed())
    if isinstance(resource, Canary):
        resource = attrs.evolve(with_annotations(resource, values), subscriptions=subscriptions)
    return attrs.evolve(resource, warnings=problems.listed())


def read_metric(value: Mapping[str, Any], at: str) -> Metric:
    """Return the metric of an analysis at a path. Raise ManifestError with all problems where it has an error."""
    problems = Problems()
    metric = read_object(Metric, value, Cursor(at, problems))
    if metric is None:
        raise ManifestError(problems.listed())
    return metric


def concerns_us(document: Mapping[str, Any]) -> bool:
    """Return whether a document claims to be one of Flagger's resources; callers ignore all others.

    A kind of Flagger's name in another API group is foreign, unless the group may be a misspelling of Flagger's.
    """
    version, kind = document.get("apiVersion"), document.get("kind")
    group, is_grouped, _ = version.partition("/") if isinstance(version, str) else ("", "", "")
    if group == GROUP and is_grouped:
        return True
    return isinstance(kind, str) and kind in KINDS and (not is_grouped or bool(nearest(group, (GROUP,))))


def dump(resource: Parsed) -> dict[str, Any]:
    """Return the document of a resource: the inverse of `parse`."""
    return {"apiVersion": API_VERSION, "kind": type(resource).__name__, **write_object(resource)}


def _kind(document: Mapping[str, Any], cursor: Cursor) -> type[Parsed] | None:
    if not isinstance(document, Mapping):
        cursor.refuse(document, "a mapping", "Write apiVersion, kind, metadata and spec.")
        return None
    version, kind = document.get("apiVersion"), document.get("kind")
    if version != API_VERSION:
        cursor.at("apiVersion").refuse(
            version, repr(API_VERSION), f"Write apiVersion: {API_VERSION}, the only version there is.", "api-version"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        cursor.at("kind").refuse(kind, f"one of {', '.join(KINDS)}", "Correct the kind.", "kind")
        return None
    return KINDS[kind]


def schema(kind: str) -> Schema:
    """Return the OpenAPI v3 schema of a kind's spec (`Canary`, `MetricTemplate`, `AlertProvider`)."""
    field = fields_of(KINDS[kind])["spec"]
    codec: Codec = field.metadata["codec"]
    return codec.describe()
