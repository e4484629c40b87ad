"""JSON merge patches (RFC 7386)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json


def merge_patch(before: Json, after: Json) -> Json:
    """Return the patch that turns `before` into `after`; empty if they are equal. A patch replaces whole lists."""
    patch: Json = {key: None for key in before if after.get(key) is None and before[key] is not None}
    for key, value in after.items():
        old = before.get(key)
        if value is None or value == old:
            continue
        if isinstance(value, dict):
            inner = merge_patch(old if isinstance(old, dict) else {}, value)
            if inner or not isinstance(old, dict):
                patch[key] = inner
        else:
            patch[key] = value
    return patch


def lock_version(patch: Json, before: Json) -> Json:
    """Return the patch with the version of `before`: the server refuses it if the object has changed since."""
    metadata = patch.get("metadata", {}) | {"resourceVersion": before["metadata"]["resourceVersion"]}
    return patch | {"metadata": metadata}
