"""Definitions of Canaries in clusters, and the fields that they drop.

An API server drops each field of an object that its definition (a CustomResourceDefinition) lacks, without an error.
Flagger's definition lacks the fields that only canarycore has, and some fields that Flagger itself reads. A field has
the form `analysis.match[].port` here, or `service.match[].headers{}.suffix` below the names of a map.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import frozen

from canarycore.foreign import get_items, get_mapping, get_text
from canarycore.manifest._definition._annotations import CARRIED_FIELDS, FIELD_ANNOTATION
from canarycore.manifest._model import GROUP, OWN_FIELDS_OF_METRICS, VERSION
from canarycore.manifest._parse import schema
from canarycore.manifest._reader._fields import Schema
from canarycore.manifest._reader._path import join
from canarycore.text import enumerate_some

DEFINITION = f"canaries.{GROUP}"
"""Name of the definition of Canaries."""

_TEXTS = ("headers{}", "withoutHeaders{}", "queryParams{}", "uri", "method", "scheme", "authority")
_CONDITIONS = (
    *("name", "withoutHeaders", "uri", "method", "scheme", "authority", "sourceNamespace", "gateways", "port"),
    "ignoreUriCase",
)
FLAGGERS_OMISSIONS = frozenset(
    {
        "canaryAnalysis",
        "service.retries.retryRemoteLocalities",
        "service.corsPolicy.allowOrigins[].suffix",
        "analysis.match[].queryParams{}.suffix",
        *(f"service.match[].{text}.suffix" for text in _TEXTS),
        *(f"analysis.match[].{name}" for name in _CONDITIONS),
        *CARRIED_FIELDS,
        *(f"analysis.metrics[].{name}" for name in OWN_FIELDS_OF_METRICS),
        "analysis.metrics[].templateRef.kind",
    }
)
"""The fields that canarycore reads and Flagger's definition lacks."""


def find_omissions(definition: object) -> frozenset[str]:
    """Return the fields that canarycore reads and a definition lacks; none where it has no schema."""
    versions = {get_text(version, "name"): version for version in get_items(definition, "spec", "versions")}
    known = get_mapping(versions.get(VERSION), "schema", "openAPIV3Schema", "properties", "spec")
    return frozenset(_omissions(_own_schema(), known, "")) if known else frozenset()


@frozen
class DroppedField:
    """A field of a manifest that a definition drops."""

    path: str
    """Its path in the manifest."""
    field: str
    """Its name among the omissions of the definition."""


def find_dropped_fields(spec: object, omissions: Collection[str] = FLAGGERS_OMISSIONS) -> Iterator[DroppedField]:
    """Yield the fields of a Canary's spec that a definition with these omissions drops."""
    yield from _dropped(_own_schema(), spec, "spec", "", omissions)


def suggest_for_dropped(fields: Iterable[DroppedField]) -> str:
    """Return how to keep the values of dropped fields: by annotations where there are such."""
    names = [field.field for field in fields]
    annotations = enumerate_some(f"{FIELD_ANNOTATION}{name}" for name in names if name in CARRIED_FIELDS)
    apply = "pply the definitions of canary install --export; they accept Flagger's manifests too."
    return f"Write annotations instead ({annotations}), or a{apply}" if annotations else f"A{apply}"


@cache
def _own_schema() -> Schema:
    return schema("Canary")


def _omissions(ours: Schema, theirs: Mapping[str, Any], field: str) -> Iterator[str]:
    if theirs.get("x-kubernetes-preserve-unknown-fields") is True:
        return
    known = get_mapping(theirs, "properties")
    for name, part in get_mapping(ours, "properties").items():
        below = f"{field}.{name}" if field else name
        if name in known:
            yield from _omissions(part, get_mapping(known, name), below)
        else:
            yield below
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(ours.get(key), Mapping) and isinstance(theirs.get(key), Mapping):
            yield from _omissions(ours[key], theirs[key], f"{field}{mark}")


def _dropped(ours: Schema, value: object, path: str, field: str, omissions: Collection[str]) -> Iterator[DroppedField]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _dropped(get_mapping(ours, "items"), item, join(path, index), f"{field}[]", omissions)
    elif isinstance(value, Mapping):
        properties, others = get_mapping(ours, "properties"), ours.get("additionalProperties")
        for name, part in value.items():
            if part is None or not isinstance(name, str):
                continue
            below = f"{field}.{name}" if field else name
            if name in properties and below in omissions:
                yield DroppedField(join(path, name), below)
            elif name in properties:
                yield from _dropped(properties[name], part, join(path, name), below, omissions)
            elif isinstance(others, Mapping):
                yield from _dropped(others, part, join(path, name), f"{field}{{}}", omissions)
