"""Objects in memory with the rules of an API server: versions, conditions on writes, history for watches.

These rules are those of a real API server: every change has a version of its own, greater than all before; a write
that changes nothing makes none; a write that names another version than the object's is refused; `metadata.generation`
counts changes outside of metadata and status (and of the annotations of Deployments); status and the rest have
different paths; an object with finalizers stays, marked, until they are gone; the objects that it owns go with it.
tests/controlplane/contract.py tests both servers.

Simplifications: there are no schemas, defaults or admission; an apply replaces lists whole, always wins, and removes
fields that the same manager applied before and does not apply now.
"""

from __future__ import annotations

import json
import re
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from attrs import define, field, frozen

from canarycore_planes.control_plane.api import Json

HISTORY = 20_000
"""The number of changes of a kind in the history."""

Resource = tuple[str, str]
"""A kind by its group and plural: ("apps", "deployments")."""

Key = tuple[str, str]
"""An object of a kind by its namespace (empty for those of the cluster) and name."""

Test = Callable[[Json], bool]
"""Whether an object is selected."""

Controller = Callable[[Json], Json]
"""A function that returns the status of an object after a write."""


class Refusal(Exception):
    """A refused request. `status` is that of HTTP, `reason` that of the API."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@define(eq=False, slots=False)
class Change:
    """A change of an object: its state before and after, None if it did not exist."""

    version: int
    before: Json | None
    after: Json | None

    def event(self, selected: Test) -> str:
        """Return the type of event for a watch with this selection; empty for none."""
        was = self.before is not None and selected(self.before)
        if self.after is not None and selected(self.after):
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else ""

    def line(self, event: str, *, metadata_only: bool) -> bytes:
        """Return the line of the event in a watch."""
        if metadata_only:
            return line(event, only_metadata(self._last))
        return b'{"type":"%s","object":%s}\n' % (event.encode(), self._whole)

    @cached_property
    def _whole(self) -> bytes:
        """The object in JSON, the same for all watches."""
        return json.dumps(self._last).encode()

    @property
    def _last(self) -> Json:
        """The object after the change; a deleted one has its last state, at the version of the deletion."""
        if self.after is not None:
            return self.after
        assert self.before is not None
        return self.before | {"metadata": self.before["metadata"] | {"resourceVersion": str(self.version)}}


@define
class Table:
    """The objects of one kind. `forgotten` is the newest version that the history has dropped."""

    objects: dict[Key, Json] = field(factory=dict)
    applied: dict[Key, dict[tuple[str, str], Json]] = field(factory=dict)
    history: deque[Change] = field(factory=deque)
    forgotten: int = 0
    watchers: set[Callable[[Change], None]] = field(factory=set)


@define
class Objects:
    """All objects. Callers must not change returned objects: they are shared."""

    controllers: dict[Resource, Controller] = field(factory=dict)
    remembered: int = HISTORY
    version: int = 1
    tables: dict[Resource, Table] = field(factory=dict)
    followers: list[Callable[[Resource, Key, Json | None], None]] = field(factory=list)
    """Called after each change with the object, or with None where it is gone."""
    _owned: dict[str, set[tuple[Resource, Key]]] = field(factory=dict)

    def table(self, resource: Resource) -> Table:
        return self.tables.setdefault(resource, Table())

    def get(self, resource: Resource, key: Key) -> Json:
        try:
            return self.table(resource).objects[key]
        except KeyError:
            raise Refusal(404, "NotFound", f'{".".join(filter(None, resource[::-1]))} "{key[1]}" not found') from None

    def page(self, resource: Resource, namespace: str, selected: Test, limit: int, after: Key | None) -> Page:
        """Return the objects of a namespace (of all, if empty) in order, at most `limit`, from `after` on."""
        table = self.table(resource)
        keys = sorted(table.objects if not namespace else (key for key in table.objects if key[0] == namespace))
        start = 0 if after is None else bisect_right(keys, after)
        items: list[Json] = []
        for place in range(start, len(keys)):
            body = table.objects[keys[place]]
            if selected(body):
                items.append(body)
            if limit and len(items) == limit and place + 1 < len(keys):
                return Page(items=items, following=keys[place], left=len(keys) - place - 1)
        return Page(items=items)

    def since(self, resource: Resource, version: int) -> Iterator[Change]:
        """Yield the changes after a version."""
        table = self.table(resource)
        if version < table.forgotten:
            raise Refusal(410, "Expired", f"too old resource version: {version} ({table.forgotten})")
        changes = list(table.history)
        return iter(changes[bisect_right(changes, version, key=lambda change: change.version) :])

    # writing ----------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        meta = body["metadata"]
        name = meta.get("name") or f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        key = (namespace, name)
        if not _NAME.fullmatch(name):
            raise Refusal(422, "Invalid", f'"{name}": a lowercase RFC 1123 subdomain must consist of ...')
        if key in self.table(resource).objects:
            raise Refusal(409, "AlreadyExists", f'{resource[1]} "{name}" already exists')
        fixed = {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
            "generation": 1,
        }
        body = {part: value for part, value in body.items() if part != "status"}
        return self._put(resource, key, None, body | {"metadata": meta | fixed})

    def replace(self, resource: Resource, key: Key, body: Json, part: str = "") -> Json:
        """Replace an object (PUT)."""
        return self._change(resource, key, body["metadata"], lambda before: body, part)

    def merge(self, resource: Resource, key: Key, patch: Json, part: str = "") -> Json:
        """Apply a JSON merge patch. `part` is the subresource, if any."""
        return self._change(resource, key, patch.get("metadata", {}), lambda before: merged(before, patch), part)

    def apply(self, resource: Resource, key: Key, body: Json, manager: str, part: str = "") -> Json:
        """Carry out a server-side apply with force."""
        table = self.table(resource)
        if key not in table.objects and not part:
            found = self.create(resource, key[0], body)
        else:
            before = table.applied.get(key, {}).get((manager, part), {})
            given = body["metadata"]
            found = self._change(resource, key, given, lambda now: merged(without(now, before, body), body), part)
        table.applied.setdefault(key, {})[manager, part] = body
        return found

    def copy(self) -> Objects:
        """Return a copy for a dry run: its changes reach no watch."""
        tables = {
            resource: Table(objects=dict(table.objects), applied={key: dict(of) for key, of in table.applied.items()})
            for resource, table in self.tables.items()
        }
        owned = {uid: set(keys) for uid, keys in self._owned.items()}
        return Objects(controllers=self.controllers, version=self.version, tables=tables, owned=owned)

    def delete(self, resource: Resource, key: Key, uid: str = "", version: str = "") -> Json:
        """Delete an object, or mark it for deletion if it has finalizers."""
        before = self.get(resource, key)
        meta = before["metadata"]
        if uid and meta["uid"] != uid:
            raise Refusal(409, "Conflict", f'the uid of {resource[1]} "{key[1]}" is {meta["uid"]}, not {uid}')
        if version and meta["resourceVersion"] != version:
            raise Refusal(409, "Conflict", f'{resource[1]} "{key[1]}" is no longer of the version {version}')
        if not meta.get("finalizers"):
            return self._remove(resource, key)
        if "deletionTimestamp" in meta:
            return before
        marks = {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
        return self._put(resource, key, before, before | {"metadata": meta | marks})

    # ------------------------------------------------------------------------------------------------------------

    def _change(self, resource: Resource, key: Key, given: Json, change: Callable[[Json], Json], part: str) -> Json:
        before = self.get(resource, key)
        kept = before["metadata"]
        if given.get("resourceVersion", kept["resourceVersion"]) != kept["resourceVersion"]:
            raise Refusal(409, "Conflict", f'{resource[1]} "{key[1]}": the object has been modified')
        if given.get("uid", kept["uid"]) != kept["uid"]:
            raise Refusal(409, "Conflict", f'{resource[1]} "{key[1]}": this is another object')
        after = _partly(before, change(before), part)
        fixed = {name: kept[name] for name in _FIXED if name in kept}
        meta = {name: value for name, value in after["metadata"].items() if name not in _FIXED} | fixed
        if _essence(resource, after) != _essence(resource, before):
            meta["generation"] += 1
        after = after | {"metadata": meta}
        if after == before:
            return before
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._remove(resource, key)
            return after
        return self._put(resource, key, before, after)

    def _put(self, resource: Resource, key: Key, before: Json | None, after: Json) -> Json:
        self.version += 1
        after = after | {"metadata": after["metadata"] | {"resourceVersion": str(self.version)}}
        self.table(resource).objects[key] = after
        self._own(resource, key, before, after)
        self._tell(resource, before, after)
        controller = self.controllers.get(resource)
        if controller is not None:
            after = self.merge(resource, key, {"status": controller(after)}, "status")
        self._follow(resource, key)
        return after

    def _remove(self, resource: Resource, key: Key) -> Json:
        table = self.table(resource)
        before = table.objects.pop(key)
        table.applied.pop(key, None)
        self.version += 1
        self._own(resource, key, before, None)
        self._tell(resource, before, None)
        self._follow(resource, key)
        for owned in self._owned.pop(before["metadata"]["uid"], set()):
            self.delete(*owned)
        return before

    def _follow(self, resource: Resource, key: Key) -> None:
        for follower in self.followers:
            follower(resource, key, self.table(resource).objects.get(key))

    def _own(self, resource: Resource, key: Key, before: Json | None, after: Json | None) -> None:
        for owner in _owners(before) - _owners(after):
            self._owned.get(owner, set()).discard((resource, key))
        for owner in _owners(after) - _owners(before):
            self._owned.setdefault(owner, set()).add((resource, key))

    def _tell(self, resource: Resource, before: Json | None, after: Json | None) -> None:
        table = self.table(resource)
        change = Change(self.version, before, after)
        table.history.append(change)
        if len(table.history) > self.remembered:
            table.forgotten = table.history.popleft().version
        for watcher in table.watchers:
            watcher(change)


@frozen(kw_only=True)
class Page:
    """A page of a list. `following` is the beginning of the next page, None on the last."""

    items: list[Json]
    following: Key | None = None
    left: int = 0


# ------------------------------------------------------------------------------------------------------------ parts

_FIXED = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp")
"""Fields that no write changes."""


def _partly(before: Json, wanted: Json, part: str) -> Json:
    """Return the fields that this path may write: the status, or all others."""
    if part:
        return before | ({part: wanted[part]} if part in wanted else {})
    after = {name: value for name, value in wanted.items() if name != "status"}
    return after | ({"status": before["status"]} if "status" in before else {})


_ALSO_ANNOTATIONS = {("apps", "deployments")}
"""Kinds of which a change of annotations makes a generation too."""


def _essence(resource: Resource, body: Json) -> Json:
    """Return the fields whose changes `metadata.generation` counts."""
    essence = {name: value for name, value in body.items() if name not in {"metadata", "status"}}
    annotations = body["metadata"].get("annotations") if resource in _ALSO_ANNOTATIONS else None
    return essence | {"annotations": annotations}


def _owners(body: Json | None) -> set[str]:
    references = [] if body is None else body["metadata"].get("ownerReferences", [])
    return {reference["uid"] for reference in references}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------------------------------------------------- patches


def merged(target: Any, patch: Any) -> Any:
    """Return the body after a merge patch (RFC 7386): None removes, objects merge, other values replace."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def without(body: Any, before: Any, now: Any) -> Any:
    """Return the body without the fields of the last apply that are missing from this one."""
    if not (isinstance(body, dict) and isinstance(before, dict) and isinstance(now, dict)):
        return body
    found = {}
    for name, value in body.items():
        if name in before and name not in now:
            value = _less(value, before[name])  # noqa: PLW2901  fields of others inside stay
            if value is None:
                continue
        elif name in before:
            value = without(value, before[name], now[name])  # noqa: PLW2901
        found[name] = value
    return found


def _less(value: Any, before: Any) -> Any:
    """Return the fields of other managers in a value that this one no longer applies; None for none."""
    if isinstance(value, dict) and isinstance(before, dict):
        return without(value, before, {}) or None
    return None


# -------------------------------------------------------------------------------------------------------- selectors

_NAME = re.compile(r"[a-z0-9]([-.:a-z0-9]*[a-z0-9])?")
_REQUIREMENTS = re.compile(r"[^,(]+(?:\([^)]*\))?")
_IN = re.compile(r"^(\S+)\s+(not)?in\s+\((.*)\)$")
_EQUAL = re.compile(r"^([^=!]+)(!?)==?(.*)$")


def selection(labels: str, fields: str) -> Test:
    """Return the selection for a label selector and a field selector in the API's syntax."""
    tests = [_label(text.strip()) for text in _REQUIREMENTS.findall(labels)]
    tests += [_field(text) for text in filter(None, fields.split(","))]
    return lambda body: all(test(body) for test in tests)


def _label(text: str) -> Test:
    if found := _IN.match(text):
        name, no, listed = found.groups()
        wanted = {value.strip() for value in listed.split(",")}
        return lambda body: (_labels(body).get(name) in wanted) is not bool(no)
    if found := _EQUAL.match(text):
        name, no, value = (part.strip() for part in found.groups())
        return lambda body: (_labels(body).get(name) == value) is not bool(no)
    return lambda body: (text.lstrip("!") in _labels(body)) is not text.startswith("!")


def _labels(body: Json) -> Json:
    labels: Json = body["metadata"].get("labels") or {}
    return labels


def _field(text: str) -> Test:
    found = _EQUAL.match(text)
    if found is None:
        raise Refusal(400, "BadRequest", f"found field selector {text!r}, expected name=value")
    path = found[1].split(".")
    return lambda body: (_at(body, path) == found[3]) is not bool(found[2])


def _at(body: Any, path: list[str]) -> str:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return "" if body is None else str(body)


# ------------------------------------------------------------------------------------------------------------- events


def line(event: str, body: Json) -> bytes:
    """Return the line of an event in a watch."""
    return json.dumps({"type": event, "object": body}).encode() + b"\n"


def only_metadata(body: Json) -> Json:
    """Return the metadata alone, for clients that request only these."""
    return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": body["metadata"]}
