"""Compact snapshots of whole objects: JSON text, and the set of fields that this controller wrote.

    cache = await cluster.cache(snapshot_view(SERVICE)).ready()
    snapshot = cache.look("default", "podinfo", key)
    snapshot.body["spec"]["selector"]

A Python mapping of an object needs ten times the memory of its text. Two equal texts also compare quickly, and the
router reads the same routes every few seconds. A snapshot leaves out the resourceVersion, and the status unless the
view includes it.

The API server records the last writer of each field. So the controller can tell its own outdated fields from those of
other writers, even after a restart, and also fields that Flagger wrote earlier.
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
from canarycore_kubernetes.api.metadata import written_at
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from canarycore_runtime.mesh import Json, Kind

Path = tuple[str, ...]
"""Path of a field: the names from the object inwards. A list is one field."""

OUR_MANAGERS = (MANAGER, "flagger")
"""Field managers whose fields this controller may remove.

For a Service only the first counts: on a Service that Flagger created, Flagger also manages the API server's defaults.
"""


@frozen
class Snapshot:
    """An object at one moment."""

    text: str
    """The object as JSON."""
    owned_fields: frozenset[Path] = frozenset()
    """The fields that only this controller (or an earlier Flagger) wrote."""
    ownership: Ownership = UNOWNED
    """Evidence of the object's owner."""
    written_at: float | None = None
    """When another writer last wrote the spec, at the latest (seconds since the epoch); None if unknown."""

    @property
    def body(self) -> Json:
        """A fresh copy of the object."""
        body: Json = json.loads(self.text)
        return body


def snapshot_view(kind: Kind, *, status: bool = False) -> View[Snapshot]:
    """Return the view that stores snapshots of a kind; equal arguments give the same view."""
    return _view(kind, status)


@cache
def _view(kind: Kind, status: bool) -> View[Snapshot]:
    return View(kind=kind, project=partial(make_snapshot, OUR_MANAGERS if kind.group else OUR_MANAGERS[:1], status))


def make_snapshot(managers: Collection[str], status: bool, body: Json, before: Snapshot | None = None) -> Snapshot:
    """Return the snapshot of an object; `before` itself if it is equal."""
    left_out = ("managedFields", "resourceVersion")
    metadata = {name: value for name, value in body["metadata"].items() if name not in left_out}
    content = {name: value for name, value in body.items() if status or name != "status"} | {"metadata": metadata}
    text = json.dumps(content, separators=(",", ":"))
    if len(text) > LARGEST:
        raise BoundExceeded(f"has more than {LARGEST:,} characters: make it smaller")
    if text.count("{") + text.count("[") > DEEPEST:  # fewer brackets cannot be nested deeper
        demand_flat(content)
    owned = frozenset(_owned(managers, get_items(body, "metadata", "managedFields")))
    shared = _shared(owned) if len(owned) <= MOST_SHARED else owned
    snapshot = Snapshot(text, shared, ownership_of(body), written_at(body, ("spec",), but=OUR_MANAGERS))
    return before if before is not None and before == snapshot else snapshot


MOST_SHARED = 256
"""Most fields of a cached set: most sets have far fewer, and a tenant could fill the memory with larger ones."""


@lru_cache(maxsize=1024)
def _shared(owned: frozenset[Path]) -> frozenset[Path]:
    """Return one instance for equal sets: most objects of a kind have the same owned fields, or none."""
    return owned


def _owned(managers: Collection[str], entries: Iterable[Json]) -> set[Path]:
    ours, others, left = set[Path](), set[Path](), LARGEST
    for entry in entries:
        if not entry.get("subresource"):
            text = json.dumps(get_mapping(entry, "fieldsV1"), sort_keys=True)
            left -= len(text)
            if left < 0:
                raise BoundExceeded(f"has more than {LARGEST:,} characters of managedFields: make it smaller")
            fields = _fields(text) if len(text) <= LONGEST_CACHED_ENTRY else _fields.__wrapped__(text)
            (ours if entry.get("manager") in managers else others).update(fields)
    return ours - others


LONGEST_CACHED_ENTRY = 2**13
"""Most characters of a cached entry; most entries have far fewer."""


@lru_cache(maxsize=1024)
def _fields(text: str) -> tuple[Path, ...]:
    """Return the fields of an entry of managedFields; thousands of objects have equal entries."""
    return tuple(_leaves(json.loads(text), ()))


def _leaves(fields: Json, at: Path) -> Iterator[Path]:
    """Yield the paths of the leaves. `f:name` is a field; `k:`, `v:` and `i:` are list items; `.` is the parent."""
    names = [name for name in fields if name != "."]
    if at and (not names or len(at) >= DEEPEST or any(not name.startswith("f:") for name in names)):
        yield at
        return
    for name in names:
        yield from _leaves(get_mapping(fields, name), (*at, name.removeprefix("f:")))
