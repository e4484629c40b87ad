"""JSON merge patches (RFC 7386): what has to be said to turn one object into another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json


def merge_patch(found: Json, wanted: Json) -> Json:
    """The patch that makes `found` equal `wanted`; empty when it is. Lists are replaced whole."""
    patch: Json = {key: None for key in found if wanted.get(key) is None and found[key] is not None}
    for key, value in wanted.items():
        if value is None or value == found.get(key):
            continue
        before = found.get(key)
        if isinstance(value, dict):
            inner = merge_patch(before if isinstance(before, dict) else {}, value)
            if inner or not isinstance(before, dict):
                patch[key] = inner
        else:
            patch[key] = value
    return patch


def lock_version(patch: Json, found: Json) -> Json:
    """The patch, to be refused when the object is no longer the one that was found."""
    metadata = patch.get("metadata", {}) | {"resourceVersion": found["metadata"]["resourceVersion"]}
    return patch | {"metadata": metadata}
