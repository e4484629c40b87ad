"""A cache of one kind's objects: a list and a watch keep small projections of them current.

Theory of operation. A list returns all objects and a version; a watch then reports each change. When a watch ends, the
cache starts the next one at the last version, which bookmarks keep recent. It lists again only when the server no
longer has that version. The cache stores our own writes as soon as the server has answered, so no reader in this
process sees an object older than its own write: the cache ignores an event unless its version is newer.

`look` reads an object on behalf of a rollout and registers the rollout. The next change of the object wakes the rollout
once and removes the registration; the rollout looks again in its next cycle. So a rollout depends on exactly the
objects of its last look, and old registrations vanish by themselves. An object changes when its projection does: a
heartbeat in a status wakes no rollout.

An unreadable object stays in the cache with the reason. A rollout that needs the object gets an error, and wakes when
the object changes; other rollouts are not affected. No object ends a list or a watch.

A cache makes no request while nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from attrs import Factory, define, frozen

from canarycore.errors import Refused, WorldError
from canarycore.text import escape_controls
from canarycore_kubernetes.api.budget import BoundExceeded, demand_whole
from canarycore_kubernetes.api.client import ApiError, Gone, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")
Place = tuple[str, str]
"""Namespace and name of an object."""

_log = logging.getLogger("canarycore.kubernetes")

WATCH_BACKOFF, LONGEST_WATCH_BACKOFF = 0.2, 10.0
"""Shortest and longest delay before a list or a watch is repeated, in seconds."""

LONGEST_ABSENCE = 300.0
"""Longest delay before the cache looks again for a kind that the server lacks, in seconds."""

LONGEST_OUTAGE = 30.0
"""Time for which a cache counts as current while the server is unreachable, in seconds."""

LONGEST_REASON = 200
"""Most characters of the reason why an object is unreadable."""

TIME_SLICE = 0.02
"""Time for which the cache reads objects before it yields to other tasks, in seconds."""


@frozen(kw_only=True, eq=False)
class View(Generic[T]):
    """The objects of a kind that a cache stores, and the part of each."""

    kind: Kind
    """The kind of the objects."""
    project: Callable[[Json, T | None], T]
    """Returns the projection of an object; its second argument is the previous projection, or None. The cache compares
    projections by `==`."""
    selector: str = ""
    """A label selector. Objects written through a Cluster should match it."""
    fields: str = ""
    """A field selector. Objects written through a Cluster should match it."""
    metadata_only: bool = False
    """Whether the server sends only metadata, which spares it the rest. Our own writes are stored whole."""
    refuse: Callable[[Json, Exception], T] | None = None
    """Returns the projection of an object for which `project` raised an error; None stores it as unreadable."""


class UnreadableError(WorldError):
    """A needed object is unreadable. The message names the object, the reason and the remedy."""


@frozen
class _Unread:
    """The stand-in for an unreadable object."""

    why: str
    """The reason, as a phrase about the object."""


def strip_body(body: Json, _: Json | None = None) -> Json:
    """Return an object without its status and `metadata.managedFields`."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


class Cache(Generic[T]):
    """The objects of a view, in one namespace or (if it is empty) in all.

    The cache sets `synced` after its first complete list. It calls `wake` with the key of each rollout that looked at
    an object which changed since.
    """

    def __init__(
        self, client: Client, view: View[T], *, namespace: str = "", wake: Callable[[str], None] = lambda _: None
    ) -> None:
        self.view: View[T] = view
        self.synced: asyncio.Event = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._wake = wake
        self._entries: dict[Place, tuple[int, T | _Unread]] = {}
        self._lookers: dict[Place, set[str]] = {}
        self._subscribers: list[Callable[[str, str], None]] = []
        self._followers: list[Callable[[str, str], None]] = []
        self._writing: dict[Place, _Write] = {}
        self._tried = asyncio.Event()
        self._is_kind_missing = False
        self._trouble: WorldError | None = None
        self._lost_at = 0.0

    # reading ----------------------------------------------------------------------------------------------------

    async def ready(self) -> Self:
        """Wait until the cache is current, and return it.

        Raise WorldError with the reason if the list failed, or if the server has been unreachable for longer than
        LONGEST_OUTAGE. A kind that the server lacks has no objects; this is no error.
        """
        await self._tried.wait()
        if self._trouble is not None and (not self.synced.is_set() or _now() > self._lost_at + LONGEST_OUTAGE):
            kind = Refused if isinstance(self._trouble, Refused) else WorldError
            raise kind(f"the {self.view.kind.plural} of the cluster are unknown: {self._trouble}") from self._trouble
        return self

    def get(self, namespace: str, name: str) -> T | None:
        """Return the projection of an object; None if it does not exist. Raise UnreadableError."""
        return self._read((namespace, name))

    @property
    def is_kind_missing(self) -> bool:
        """Whether the server lacked the kind when the cache last looked. It looks again, ever more rarely."""
        return self._is_kind_missing

    def look(self, namespace: str, name: str, key: str) -> T | None:
        """Like `get`, and wake the rollout `key` when the object next changes, appears or disappears."""
        place = (namespace, name)
        lookers = self._lookers.get(place)
        if lookers is None:
            self._lookers[place] = {key}
        else:
            lookers.add(key)
        return self._read(place)

    def _read(self, place: Place) -> T | None:
        entry = self._entries.get(place)
        if entry is None:
            return None
        if isinstance(entry[1], _Unread):
            raise UnreadableError(f"{_full_name(self.view.kind, place)} cannot be read: it {entry[1].why}")
        return entry[1]

    def version(self, namespace: str, name: str) -> str:
        """Return the resourceVersion of an object in the cache; "" if the object does not exist."""
        return str(self._version((namespace, name)) or "")

    def _version(self, place: Place) -> int:
        entry = self._entries.get(place)
        return 0 if entry is None else entry[0]

    def all(self) -> Iterator[tuple[Place, T]]:
        """Return ((namespace, name), projection) of each readable object."""
        return iter([(place, value) for place, (_, value) in self._entries.items() if not isinstance(value, _Unread)])

    def __len__(self) -> int:
        return len(self._entries)

    def subscribe(self, callback: Callable[[str, str], None], *, own_writes: bool = False) -> None:
        """Call back with the namespace and name of each object that changes, appears or disappears from now on.

        own_writes: call back after each of our own writes too.
        """
        self._subscribers.append(callback)
        if own_writes:
            self._followers.append(callback)

    # our own writes ---------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self, namespace: str, name: str) -> Iterator[None]:
        """Mark an object as being written while the context is open. `put` the answer before the context closes.

        Events about our write, and about later writes of others, may arrive before the answer.
        """
        place, answered = (namespace, name), False
        write = self._writing.setdefault(place, _Write())
        try:
            yield
            answered = True
        finally:
            self._writing.pop(place, None)
            if write.changes and not (answered and write.changes == [self._version(place)]):
                self._changed(place)
            for callback in self._followers:
                callback(*place)

    def put(self, body: Json) -> None:
        """Store an object from the server's answer to our own write. This wakes no rollout."""
        place, version = _identify(body)
        write = self._writing.get(place)
        if write is None or version > write.gone_at:
            self._keep(place, version, body)

    def drop(self, namespace: str, name: str) -> None:
        """Remove an object that the server has just reported as gone."""
        place = (namespace, name)
        write = self._writing.get(place)
        if write is None or not write.changes:
            self._entries.pop(place, None)

    # list and watch ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """List and watch until cancelled."""
        backoff = _Backoff()
        while True:
            try:
                version = await self._list()
                await self._follow(version, backoff)
            except Gone:
                _log.info("%s: the server no longer has the last version: listing again", self.view.kind.plural)
                await backoff.wait()
            except NotFound as missing:
                self._is_kind_missing = True
                self._there_are_only(set(), missing_at=None)
                await backoff.wait(missing, most=LONGEST_ABSENCE)
            except WorldError as error:
                self._is_lost(error)
                await backoff.wait(error)
            except Exception as error:  # noqa: BLE001 - a defect of this code must not stop the cache of a kind
                _log.exception("%s: the list or the watch failed", self.view.kind.plural)
                self._is_lost(WorldError(f"{type(error).__name__}: {error}"))
                await backoff.wait()

    async def _list(self) -> str:
        """List all objects into the cache, and return the version of the list."""
        view, there, version = self.view, set[Place](), ""
        pages = self._client.list(
            view.kind,
            self._namespace,
            selector=view.selector,
            fields=view.fields,
            metadata_only=view.metadata_only,
        )
        time_slice = _TimeSlice()
        async with aclosing(pages):
            async for page in pages:
                version = page["metadata"]["resourceVersion"]
                for body in page["items"]:
                    there.update(self._take(self._store_event, body))
                    await time_slice.pause()
        self._is_kind_missing = False
        self._there_are_only(there, missing_at=int(version))
        return version

    async def _follow(self, version: str, backoff: _Backoff) -> None:
        """Watch the changes after `version`. Raise Gone or NotFound when the objects must be listed again."""
        view, time_slice = self.view, _TimeSlice()
        while True:
            error: WorldError | None = None
            try:
                async with self._client.watch(
                    view.kind,
                    self._namespace,
                    version=version,
                    selector=view.selector,
                    fields=view.fields,
                    metadata_only=view.metadata_only,
                ) as events:
                    self._is_current()
                    async for event, body in events:
                        backoff.reset()
                        version = _version_of(body) or version
                        if event in _TAKE:
                            self._take(partial(_TAKE[event], self), body)
                        await time_slice.pause()
            except (Gone, NotFound):
                raise
            except WorldError as trouble:
                self._is_lost(trouble)
                error = trouble
            await backoff.wait(error)

    def _take(self, act: Callable[[Json], None], body: Json) -> tuple[Place, ...]:
        """Call `act` with an object and return its place. Skip an object without a name or a version."""
        try:
            place, _ = _identify(body)
        except Exception as error:  # noqa: BLE001 - one bad object must not hide the others
            _log.warning("%s: skipped an object without a name or a version: %r", self.view.kind.plural, error)
            return ()
        act(body)
        return (place,)

    def _store_event(self, body: Json) -> None:
        place, version = _identify(body)
        if self._keep(place, version, body):
            self._changed(place)

    def _delete_event(self, body: Json) -> None:
        self._lose(*_identify(body))

    def _there_are_only(self, there: set[Place], *, missing_at: int | None) -> None:
        """Remove all objects except `there`: they were gone at the version `missing_at` (None: at every version)."""
        for place in self._entries.keys() - there:
            self._lose(place, missing_at)
        self._is_current()

    def _keep(self, place: Place, version: int, body: Json) -> bool:
        """Store an object unless the cache has a newer one; return whether its projection changed."""
        entry = self._entries.get(place)
        if entry is not None and version <= entry[0]:
            return False
        value = self._project(place, body, None if entry is None else entry[1])
        self._entries[place] = (version, value)
        return entry is None or value != entry[1]

    def _project(self, place: Place, body: Json, before: T | _Unread | None) -> T | _Unread:
        """Return the projection of an object. Log once why an object is unreadable."""
        try:
            demand_whole(body)
            return self.view.project(body, None if isinstance(before, _Unread) else before)
        except Exception as error:  # noqa: BLE001 - one unreadable object must not hide the others
            if self.view.refuse is not None:
                return self.view.refuse(body, error)
            unread = _Unread(_why(error))
            if unread != before:
                _log.warning("%s cannot be read: it %s", _full_name(self.view.kind, place), unread.why)
            return unread

    def _lose(self, place: Place, version: int | None) -> None:
        """Remove an object that was gone at a version, unless the cache has a newer one."""
        if place in self._writing and version is not None:
            self._writing[place].gone_at = version
        entry = self._entries.get(place)
        if entry is not None and (version is None or entry[0] <= version):
            del self._entries[place]
            self._changed(place)

    def _changed(self, place: Place) -> None:
        if place in self._writing:
            self._writing[place].changes.append(self._version(place))
            return
        if self.synced.is_set():  # objects of the first list are no changes
            for callback in self._subscribers:
                callback(*place)
        for key in self._lookers.pop(place, ()):
            self._wake(key)

    def _is_current(self) -> None:
        self._trouble = None
        self.synced.set()
        self._tried.set()

    def _is_lost(self, trouble: WorldError) -> None:
        is_repeated = str(trouble) == str(self._trouble)
        _log.log(logging.DEBUG if is_repeated else logging.WARNING, "%s: %s", self.view.kind.plural, trouble)
        if self._trouble is None:
            self._lost_at = _now()
        self._trouble = trouble
        self._tried.set()


_TAKE: dict[str, Callable[[Cache[Any], Json], None]] = {
    "ADDED": Cache._store_event,  # noqa: SLF001 - the table of the class above
    "MODIFIED": Cache._store_event,  # noqa: SLF001
    "DELETED": Cache._delete_event,  # noqa: SLF001
}
"""Handler of each type of event. Other types need none: a bookmark has only a version."""


def _identify(body: Json) -> tuple[Place, int]:
    """Return the place of an object and its version."""
    metadata = body["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise TypeError("its name is not a string")
    return (namespace, name), int(metadata["resourceVersion"])


def _version_of(body: Json) -> str:
    """Return the version in an event's object; "" if it has none."""
    metadata = body.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""


def _full_name(kind: Kind, place: Place) -> str:
    namespace, name = place
    return f"{kind.kind.lower()} {name}.{namespace}"


def _why(error: Exception) -> str:
    """Return the reason why an object is unreadable, as a phrase about it."""
    if isinstance(error, BoundExceeded):
        return str(error)
    cause = escape_controls(f"{type(error).__name__}: {error}", LONGEST_REASON)
    return f"has a field of an unexpected form ({cause}). Correct the object"


def _now() -> float:
    return asyncio.get_running_loop().time()


@define
class _TimeSlice:
    """A slice of work in the event loop: after TIME_SLICE seconds it yields to other tasks."""

    began: float = Factory(_now)

    async def pause(self) -> None:
        if _now() - self.began > TIME_SLICE:
            await asyncio.sleep(0)
            self.began = _now()


@define
class _Write:
    """A write of this process that is under way."""

    changes: list[int] = Factory(list)
    """Versions from events that arrived meanwhile; 0 for a deletion."""
    gone_at: int = 0
    """Version of the last deletion that arrived meanwhile; 0 if there was none."""


@define
class _Backoff:
    """Delays that double up to a limit. Random jitter keeps the caches from repeating at the same time."""

    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    async def wait(self, error: WorldError | None = None, *, most: float = LONGEST_WATCH_BACKOFF) -> None:
        """Sleep for the next delay, or longer if the server asked for it."""
        requested = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
        longest = min(most, WATCH_BACKOFF * 2.0 ** min(self.failures, 20))
        self.failures += 1
        await asyncio.sleep(max(requested, longest * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter is no secret
