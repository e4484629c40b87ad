"""The schemas of the Gateway API, and the faults of a route by them, as an API server would find them.

The files of ../shared/crds have no TCPRoute and no TLSRoute: theirs follow from the schema of GRPCRoute, which has the
same parents and backends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

from tests.controlplane.crds import definitions

Json = dict[str, Any]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
}


def faults_of(body: Json) -> list[str]:
    """Return the faults of a route's spec: unknown and missing fields, wrong types and values."""
    return list(_faults(_schema(body["kind"], body["apiVersion"].partition("/")[2]), body["spec"], "spec"))


@cache
def _schema(kind: str, version: str) -> Json:
    for body in _definitions():
        if body["spec"]["names"]["kind"] == kind:
            (found,) = (each for each in body["spec"]["versions"] if each["name"] == version and each["served"])
            spec: Json = found["schema"]["openAPIV3Schema"]["properties"]["spec"]
            return spec
    return _derived(kind, version)


@cache
def _definitions() -> tuple[Json, ...]:
    return tuple(definitions("gateway-api"))


def _derived(kind: str, version: str) -> Json:
    assert (kind, version) in {(name, each) for name in ("TCPRoute", "TLSRoute") for each in ("v1", "v1alpha2")}
    schema = deepcopy(_schema("GRPCRoute", "v1"))
    properties = schema["properties"]
    rule = properties["rules"]["items"]
    rule["properties"] = {name: rule["properties"][name] for name in ("name", "backendRefs")}
    rule["required"] = ["backendRefs"]
    del rule["properties"]["backendRefs"]["items"]["properties"]["filters"]
    properties["rules"] |= {"minItems": 1, "maxItems": 1}
    schema["required"] = ["rules", "hostnames"] if kind == "TLSRoute" else ["rules"]
    if kind == "TCPRoute":
        del properties["hostnames"]
    return schema


def _faults(schema: Json, value: Any, path: str) -> Iterator[str]:
    kind = schema.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{path}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from (f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value)
        for name, part in value.items():
            if name in schema.get("properties", {}):
                yield from _faults(schema["properties"][name], part, f"{path}.{name}")
            else:
                yield f"{path}.{name}: unknown"
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 20):
            yield f"{path}: {len(value)} items"
        for index, part in enumerate(value):
            yield from _faults(schema["items"], part, f"{path}[{index}]")
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 20):
            yield f"{path}: {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: {value!r} does not match {schema['pattern']}"
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value} is out of range"
