"""The parts of a service section that go on to a mesh as JSON: checked when they are read, so that no mesh has to.

A shape keeps a mapping as it is written, but for fields that are null, which count as absent. A known field must
have the right type; an unknown one is reported and goes on too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canarycore import bounds
from canarycore.manifest._reader._fields import ANYTHING, BOOLEAN, FREE, Codec, Cursor, duration, integer, list_of


def shape(owner: str, fields: Mapping[str, Codec], *, required: str = "") -> Codec:
    """A mapping with these fields. `required`: one that must be there."""

    def read(value: object, spot: Cursor) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", f"Write the fields of {owner} below it.")
            return {}
        if not spot.holds(value, bounds.ITEMS):
            return {}
        spot.unknown_of(value, fields, owner)
        if required and value.get(required) is None:
            spot.at(required).miss(f"the field: {owner} needs it")
        return {
            str(name): fields[name].read(item, spot.at(name)) if name in fields else item
            for name, item in value.items()
            if item is not None
        }

    return Codec(read, schema=ANYTHING)


def shape_of_each(item: Codec) -> Codec:
    """A mapping from any names to values of one shape."""

    def read(value: object, spot: Cursor) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", "Write 'name: value' lines below it.")
            return {}
        if not spot.holds(value, bounds.ITEMS):
            return {}
        return {str(name): item.read(one, spot.at(str(name))) for name, one in value.items() if one is not None}

    return Codec(read, schema=ANYTHING)


def shapes(item: Codec) -> Codec:
    """A list of values of one shape, kept as a list."""
    listed = list_of(item)
    schema = {"type": "array", "maxItems": bounds.ITEMS.most, "items": ANYTHING}
    return Codec(lambda value, spot: list(listed.read(value, spot)), schema=schema)


_PORT = integer(1, 65535)
_TEXTS = shapes(FREE)
_NAMED_TEXTS = shape_of_each(FREE)
_CONDITION = _NAMED_TEXTS
"""`exact: "insider"`: which kinds there are is the mesh's affair."""

HTTP_MATCH = shape(
    "Istio's HTTPMatchRequest",
    {
        **dict.fromkeys(("authority", "method", "scheme", "uri"), _CONDITION),
        **dict.fromkeys(("headers", "queryParams", "withoutHeaders"), shape_of_each(_CONDITION)),
        **dict.fromkeys(("name", "sourceNamespace"), FREE),
        "gateways": _TEXTS,
        "ignoreUriCase": BOOLEAN,
        "port": _PORT,
        "sourceLabels": _NAMED_TEXTS,
    },
)

_OPERATIONS = shape("Istio's HeaderOperations", {"add": _NAMED_TEXTS, "remove": _TEXTS, "set": _NAMED_TEXTS})
HEADERS = shape("Istio's Headers", {"request": _OPERATIONS, "response": _OPERATIONS})

CORS = shape(
    "Istio's CorsPolicy",
    {
        **dict.fromkeys(("allowHeaders", "allowMethods", "allowOrigin", "exposeHeaders"), _TEXTS),
        "allowCredentials": BOOLEAN,
        "allowOrigins": shapes(_CONDITION),
        "maxAge": duration(zero=True),
    },
)

_REFERENCE = {**dict.fromkeys(("group", "kind", "name", "namespace"), FREE), "port": _PORT}
GATEWAY = shape("a Gateway API ParentReference", {**_REFERENCE, "sectionName": FREE}, required="name")
MIRROR = shape(
    "a Gateway API HTTPRequestMirrorFilter",
    {"backendRef": shape("a Gateway API BackendObjectReference", _REFERENCE, required="name")},
    required="backendRef",
)
