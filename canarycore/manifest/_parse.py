"""From a document to a resource, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from canarycore.errors import ManifestError, Problem
from canarycore.manifest._fields import Codec, Schema, Spot, fields_of, read_object, write_object
from canarycore.manifest._model import API_VERSION, GROUP, KINDS, AlertProvider, Canary, MetricTemplate

Parsed = Canary | MetricTemplate | AlertProvider


def parse(document: Mapping[str, Any], *, at: str = "") -> Parsed:
    """The resource that a document describes.

    `at` is the document's own path where it is part of something larger. Raises ManifestError with all problems. What
    is only noticed (unknown fields) is on the resource's `warnings`.
    """
    problems: list[Problem] = []
    spot = Spot(at, problems)
    kind = _kind(document, spot)
    resource = read_object(kind, document, spot, known=("apiVersion", "kind")) if kind else None
    if resource is None:
        raise ManifestError(tuple(problems))
    return attrs.evolve(resource, warnings=tuple(problems))


def concerns_us(document: Mapping[str, Any]) -> bool:
    """Whether a document claims to be one of Flagger's resources; all others are passed over."""
    return str(document.get("apiVersion")).startswith(f"{GROUP}/") or str(document.get("kind")) in KINDS


def dump(resource: Parsed) -> dict[str, Any]:
    """The document of a resource: the inverse of `parse`."""
    return {"apiVersion": API_VERSION, "kind": type(resource).__name__, **write_object(resource)}


def _kind(document: Mapping[str, Any], spot: Spot) -> type[Parsed] | None:
    version, kind = document.get("apiVersion"), document.get("kind")
    if version != API_VERSION:
        spot.at("apiVersion").refuse(
            version, repr(API_VERSION), f"Write apiVersion: {API_VERSION}, the only version there is.", "api-version"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        spot.at("kind").refuse(kind, f"one of {', '.join(KINDS)}", "Correct the kind.", "kind")
        return None
    return KINDS[kind]


def schema(kind: str) -> Schema:
    """What a CustomResourceDefinition says of the spec of a kind (`Canary`, `MetricTemplate`, `AlertProvider`)."""
    field = fields_of(KINDS[kind])["spec"]
    codec: Codec = field.metadata["codec"]
    return codec.describe()
