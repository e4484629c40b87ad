"""One kind's objects, kept current by a list and a watch, held as small projections.

Theory of operation. A list gives all objects and a version; a watch tells what happened since. A watch that ends is
taken up where it stopped, as bookmarks keep its version recent; only when the server has forgotten that version is all
listed again. What we write ourselves is put in as soon as the server has answered, so that nobody here reads something
older than what was written here: an event is passed over unless its version is newer than what is held.

Whoever looks at an object with the name of a rollout (`look`) is told once when it changes, by that name; to hear again
is to look again. So what a rollout depends on is always what it last looked at, and what nobody looks at any more is
forgotten by itself. "Changed" means that the projection did: a heartbeat in a status wakes nobody.

An object that cannot be read stays in the cache, marked with the reason. A rollout that needs it gets that as an
error and is woken when the object changes; no other rollout is concerned. No object ends a list or a watch.

While all is still no request is made.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from attrs import Factory, define, frozen

from canarycore.errors import WorldError
from canarycore.text import escape_controls
from canarycore_kubernetes.api.budget import BoundExceeded, demand_whole
from canarycore_kubernetes.api.client import ApiError, Gone, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")
Place = tuple[str, str]
"""Where an object is: its namespace and its name."""

_log = logging.getLogger("canarycore.kubernetes")

BACKOFF, BACKOFF_MOST = 0.2, 10.0
"""Seconds before the first and the latest repeat of a list or a watch."""

ABSENT = 300.0
"""Seconds until a kind that the server does not have is looked for again, at most."""

SYNC_PATIENCE = 30.0
"""Seconds for which what is held is good enough while the server cannot be reached."""

LONGEST_REASON = 200
"""Characters of the reason why an object cannot be read."""

STRETCH = 0.02
"""Seconds for which objects are read before others get their turn: a page or a burst of events may take long."""


@frozen(kw_only=True, eq=False)
class View(Generic[T]):
    """Which objects of a kind are held, and what of each.

    project: of the object as it came, and of what was held of it before (None if nothing was), what is held from now
    on; what it returns is compared by ==. selector and fields: a label and a field selector; what is written through a
    cluster should match them. metadata_only: the objects come without spec, data and status, which spares the server
    and the wire; what was written here comes whole. refuse: of an object that `project` failed for, and of the error,
    what is held instead; without it the object is held as unreadable.
    """

    kind: Kind
    project: Callable[[Json, T | None], T]
    selector: str = ""
    fields: str = ""
    metadata_only: bool = False
    refuse: Callable[[Json, Exception], T] | None = None


class UnreadableError(WorldError):
    """An object that is needed cannot be read. The message names it, the reason and the remedy."""


@frozen
class _Unread:
    """The stand-in for an object that cannot be read. why: a phrase about the object."""

    why: str


def strip_body(body: Json, _: Json | None = None) -> Json:
    """The whole object but for its status and what the API server notes about who manages its fields."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


class Cache(Generic[T]):
    """The objects that a view shows, in one namespace or (with an empty one) in all.

    synced: set when all objects were listed for the first time. `tell` is told the name of each rollout that looked at
    an object that has changed since.
    """

    def __init__(
        self, client: Client, view: View[T], *, namespace: str = "", wake: Callable[[str], None] = lambda _: None
    ) -> None:
        self.view: View[T] = view
        self.synced: asyncio.Event = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._wake = wake
        self._held: dict[Place, tuple[int, T | _Unread]] = {}
        self._lookers: dict[Place, set[str]] = {}
        self._subscribers: list[Callable[[str, str], None]] = []
        self._writing: dict[Place, _Write] = {}
        self._tried = asyncio.Event()
        self._trouble: WorldError | None = None
        self._lost_at = 0.0

    # what is held -----------------------------------------------------------------------------------------------

    async def ready(self) -> Self:
        """This cache, once it can be relied on.

        Raises WorldError, with the reason, when the objects could not be listed, or when the server has been out of
        reach for longer than PATIENCE. A kind that the server does not have has no objects, which is no error.
        """
        await self._tried.wait()
        if self._trouble is not None and (not self.synced.is_set() or _now() > self._lost_at + SYNC_PATIENCE):
            raise WorldError(f"the {self.view.kind.plural} of the cluster are not known: {self._trouble}")
        return self

    def get(self, namespace: str, name: str) -> T | None:
        """Return the projection of the object; None if it does not exist. Raises UnreadableError."""
        return self._read((namespace, name))

    def look(self, namespace: str, name: str, key: str) -> T | None:
        """The same, on behalf of the rollout `key`: it is woken when the object changes, appears or goes."""
        place = (namespace, name)
        lookers = self._lookers.get(place)
        if lookers is None:
            self._lookers[place] = {key}
        else:
            lookers.add(key)
        return self._read(place)

    def _read(self, place: Place) -> T | None:
        held = self._held.get(place)
        if held is None:
            return None
        if isinstance(held[1], _Unread):
            raise UnreadableError(f"{_full_name(self.view.kind, place)} cannot be read: it {held[1].why}")
        return held[1]

    def version(self, namespace: str, name: str) -> str:
        """The resourceVersion of what is held; "" if the object does not exist."""
        return str(self._version((namespace, name)) or "")

    def _version(self, place: Place) -> int:
        held = self._held.get(place)
        return 0 if held is None else held[0]

    def all(self) -> Iterator[tuple[Place, T]]:
        """((namespace, name), what is held) of each object that can be read, as they are now."""
        return iter([(place, value) for place, (_, value) in self._held.items() if not isinstance(value, _Unread)])

    def __len__(self) -> int:
        return len(self._held)

    def subscribe(self, callback: Callable[[str, str], None]) -> None:
        """Tell every change from now on: the namespace and name of each object that changed, appeared or went."""
        self._subscribers.append(callback)

    # what was written here --------------------------------------------------------------------------------------

    @contextmanager
    def writing(self, namespace: str, name: str) -> Iterator[None]:
        """While we write the object; the answer is `put`.

        Events about our own change, and about what others do to the object after it, may arrive before the answer does.
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

    def put(self, body: Json) -> None:
        """The object is so, as the server has just answered. Who looked at it is not told: it was us."""
        place, version = _identify(body)
        write = self._writing.get(place)
        if write is None or version > write.gone_at:
            self._keep(place, version, body)

    def drop(self, namespace: str, name: str) -> None:
        """The object is gone, as the server has just answered."""
        place = (namespace, name)
        write = self._writing.get(place)
        if write is None or not write.changes:
            self._held.pop(place, None)

    # list and watch ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """List and watch until cancelled."""
        backoff = _Backoff()
        while True:
            try:
                version = await self._list()
                await self._follow(version, backoff)
            except Gone:
                _log.info("%s: the server has forgotten what happened, listing all again", self.view.kind.plural)
                await backoff.wait()
            except NotFound as missing:
                self._there_are_only(set(), missing_at=None)
                await backoff.wait(missing, most=ABSENT)
            except WorldError as error:
                self._is_lost(error)
                await backoff.wait(error)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not hide a kind for ever
                _log.exception("%s: the list or the watch broke off", self.view.kind.plural)
                self._is_lost(WorldError(f"{type(error).__name__}: {error}"))
                await backoff.wait()

    async def _list(self) -> str:
        """Hold what there is; returns the version at which that was so."""
        view, there, version = self.view, set[Place](), ""
        pages = self._client.list(
            view.kind,
            self._namespace,
            selector=view.selector,
            fields=view.fields,
            metadata_only=view.metadata_only,
        )
        stretch = _Stretch()
        async with aclosing(pages):
            async for page in pages:
                version = page["metadata"]["resourceVersion"]
                for body in page["items"]:
                    there.update(self._take(self._found, body))
                    await stretch.pause()
        self._there_are_only(there, missing_at=int(version))
        return version

    async def _follow(self, version: str, backoff: _Backoff) -> None:
        """Take in what happens after `version`, until all has to be listed again: then Gone or NotFound is raised."""
        view, stretch = self.view, _Stretch()
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
                        await stretch.pause()
            except (Gone, NotFound):
                raise
            except WorldError as trouble:
                self._is_lost(trouble)
                error = trouble
            await backoff.wait(error)

    def _take(self, act: Callable[[Json], None], body: Json) -> tuple[Place, ...]:
        """Do this with an object; returns where it is. One that does not say where it is, is passed over."""
        try:
            place, _ = _identify(body)
        except Exception as error:  # noqa: BLE001 - it is nobody's, and must not hide the others
            _log.warning("%s: an object without a name or a version is passed over: %r", self.view.kind.plural, error)
            return ()
        act(body)
        return (place,)

    def _found(self, body: Json) -> None:
        place, version = _identify(body)
        if self._keep(place, version, body):
            self._changed(place)

    def _went(self, body: Json) -> None:
        self._lose(*_identify(body))

    def _there_are_only(self, there: set[Place], *, missing_at: int | None) -> None:
        """Of all others it is known that they were gone at that version (None: at any)."""
        for place in self._held.keys() - there:
            self._lose(place, missing_at)
        self._is_current()

    def _keep(self, place: Place, version: int, body: Json) -> bool:
        """Hold the object, unless something newer is held; returns whether what is held of it is another now."""
        held = self._held.get(place)
        if held is not None and version <= held[0]:
            return False
        value = self._project(place, body, None if held is None else held[1])
        self._held[place] = (version, value)
        return held is None or value != held[1]

    def _project(self, place: Place, body: Json, before: T | _Unread | None) -> T | _Unread:
        """Return the projection of an object. The log says once why one cannot be read."""
        try:
            demand_whole(body)
            return self.view.project(body, None if isinstance(before, _Unread) else before)
        except Exception as error:  # noqa: BLE001 - one object that cannot be read must not hide the others
            if self.view.refuse is not None:
                return self.view.refuse(body, error)
            unread = _Unread(_why(error))
            if unread != before:
                _log.warning("%s cannot be read: it %s", _full_name(self.view.kind, place), unread.why)
            return unread

    def _lose(self, place: Place, version: int | None) -> None:
        """The object was gone at that version, unless something newer is held."""
        if place in self._writing and version is not None:
            self._writing[place].gone_at = version
        held = self._held.get(place)
        if held is not None and (version is None or held[0] <= version):
            del self._held[place]
            self._changed(place)

    def _changed(self, place: Place) -> None:
        if place in self._writing:
            self._writing[place].changes.append(self._version(place))
            return
        if self.synced.is_set():  # what the first list finds is no change: it was there
            for callback in self._subscribers:
                callback(*place)
        for key in self._lookers.pop(place, ()):
            self._wake(key)

    def _is_current(self) -> None:
        self._trouble = None
        self.synced.set()
        self._tried.set()

    def _is_lost(self, trouble: WorldError) -> None:
        _log.warning("%s: %s", self.view.kind.plural, trouble)
        if self._trouble is None:
            self._lost_at = _now()
        self._trouble = trouble
        self._tried.set()


_TAKE: dict[str, Callable[[Cache[Any], Json], None]] = {
    "ADDED": Cache._found,  # noqa: SLF001 - the table of the class above
    "MODIFIED": Cache._found,  # noqa: SLF001
    "DELETED": Cache._went,  # noqa: SLF001
}
"""The handler of each type of event. Other types have none: a bookmark only tells a version."""


def _identify(body: Json) -> tuple[Place, int]:
    """Where an object is, and its version."""
    metadata = body["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise TypeError("its name is no text")
    return (namespace, name), int(metadata["resourceVersion"])


def _version_of(body: Json) -> str:
    """The version that an event tells; "" where it tells none."""
    metadata = body.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""


def _full_name(kind: Kind, place: Place) -> str:
    namespace, name = place
    return f"{kind.kind.lower()} {name}.{namespace}"


def _why(error: Exception) -> str:
    """Why an object cannot be read, as a phrase about it."""
    if isinstance(error, BoundExceeded):
        return str(error)
    found = escape_controls(f"{type(error).__name__}: {error}", LONGEST_REASON)
    return f"has a field of an unexpected form ({found}). Correct the object"


def _now() -> float:
    return asyncio.get_running_loop().time()


@define
class _Stretch:
    """A stretch of work in the event loop: after STRETCH seconds others get their turn."""

    began: float = Factory(_now)

    async def pause(self) -> None:
        if _now() - self.began > STRETCH:
            await asyncio.sleep(0)
            self.began = _now()


@define
class _Write:
    """A write of ours under way. changes: the versions that events brought meanwhile (0: gone). gone_at: if it went."""

    changes: list[int] = Factory(list)
    gone_at: int = 0


@define
class _Backoff:
    """Waits longer each time, up to a limit, and each time a little differently, so that not all come back at once."""

    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    async def wait(self, error: WorldError | None = None, *, most: float = BACKOFF_MOST) -> None:
        """At least for as long as the server asked for."""
        asked = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
        longest = min(most, BACKOFF * 2.0 ** min(self.failures, 20))
        self.failures += 1
        await asyncio.sleep(max(asked, longest * random.uniform(0.5, 1.0)))  # noqa: S311 - it keeps no secret
