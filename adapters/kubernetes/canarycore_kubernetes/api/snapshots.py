"""Whole objects, held small: as JSON text, with the fields that were written by us.

    cache = await cluster.cache(packed(SERVICE)).ready()
    found = cache.look("default", "podinfo", key)
    found.body["spec"]["selector"]

A Python mapping of an object takes ten times the room of its text, and whoever looks at routes each few seconds looks
at the same ones: a text that is the same needs no second look. What is left out is the status, unless it is asked for,
and what changes without anything of this having changed (the version).

The API server notes of each field who wrote it last. So what we once wrote and no longer want can be told from what
somebody else wants there, also after a restart, and for what Flagger wrote before us.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.foreign import get_items, get_mapping
from canarycore_kubernetes.api.budget import DEEPEST, LARGEST, BoundExceeded, demand_flat
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.client import MANAGER
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from canarycore_runtime.mesh import Json, Kind

Path = tuple[str, ...]
"""Where a field is: the names from the object inwards. A list is one field."""

OUR_MANAGERS = (MANAGER, "flagger")
"""The field managers whose fields are ours to remove.

Of a Service they are only what we wrote: what Flagger made has the API server's defaults under Flagger's name.
"""


@frozen
class Snapshot:
    """An object. owned_fields: the fields that nobody but us has written. ownership: whose it is."""

    text: str
    owned_fields: frozenset[Path] = frozenset()
    ownership: Ownership = UNOWNED

    @property
    def body(self) -> Json:
        """The object; each time a fresh one."""
        body: Json = json.loads(self.text)
        return body


def snapshot_view(kind: Kind, *, status: bool = False) -> View[Snapshot]:
    """How objects of this kind are held. The same view for the same arguments, as a cluster has one per kind."""
    return _view(kind, status)


@cache
def _view(kind: Kind, status: bool) -> View[Snapshot]:
    return View(kind=kind, project=partial(make_snapshot, OUR_MANAGERS if kind.group else OUR_MANAGERS[:1], status))


def make_snapshot(managers: Collection[str], status: bool, body: Json, before: Snapshot | None = None) -> Snapshot:
    """The projection. What is the same as `before` is that."""
    left_out = ("managedFields", "resourceVersion")
    metadata = {name: value for name, value in body["metadata"].items() if name not in left_out}
    kept = {name: value for name, value in body.items() if status or name != "status"} | {"metadata": metadata}
    text = json.dumps(kept, separators=(",", ":"))
    if len(text) > LARGEST:
        raise BoundExceeded(f"has more than {LARGEST:,} characters: make it smaller")
    if text.count("{") + text.count("[") > DEEPEST:  # or nothing in it can be deeper
        demand_flat(kept)
    owned = frozenset(_owned(managers, get_items(body, "metadata", "managedFields")))
    found = Snapshot(text, _shared(owned) if len(owned) <= MOST_SHARED else owned, ownership_of(body))
    return before if before is not None and before == found else found


MOST_SHARED = 256
"""Fields of a set that is remembered: most have far fewer, and a tenant could fill the memory with others."""


@lru_cache(maxsize=1024)
def _shared(owned: frozenset[Path]) -> frozenset[Path]:
    """The same set for what is equal: most objects of a kind have the same fields of ours, or none."""
    return owned


def _owned(managers: Collection[str], entries: Iterable[Json]) -> set[Path]:
    ours, others, left = set[Path](), set[Path](), LARGEST
    for entry in entries:
        if not entry.get("subresource"):
            text = json.dumps(get_mapping(entry, "fieldsV1"), sort_keys=True)
            left -= len(text)
            if left < 0:
                raise BoundExceeded(f"has more than {LARGEST:,} characters of managedFields: make it smaller")
            fields = _fields(text) if len(text) <= LONGEST_REMEMBERED else _fields.__wrapped__(text)
            (ours if entry.get("manager") in managers else others).update(fields)
    return ours - others


LONGEST_REMEMBERED = 2**13
"""Characters of an entry that is remembered: most have far fewer."""


@lru_cache(maxsize=1024)
def _fields(text: str) -> tuple[Path, ...]:
    """The fields of an entry; thousands of objects have the same ones."""
    return tuple(_leaves(json.loads(text), ()))


def _leaves(fields: Json, at: Path) -> Iterator[Path]:
    """`f:name` is a field, `k:`, `v:` and `i:` are items of a list, `.` is the thing itself."""
    names = [name for name in fields if name != "."]
    if at and (not names or len(at) >= DEEPEST or any(not name.startswith("f:") for name in names)):
        yield at
        return
    for name in names:
        yield from _leaves(get_mapping(fields, name), (*at, name.removeprefix("f:")))
