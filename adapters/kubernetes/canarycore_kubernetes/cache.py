"""One kind's objects, kept current by a list and a watch, held as small projections.

Theory of operation. A list gives all objects and a version; a watch tells what happened since. A watch that ends is
taken up where it stopped, as bookmarks keep its version recent; only when the server has forgotten that version is all
listed again. What we write ourselves is put in as soon as the server has answered, so that nobody here reads something
older than what was written here: an event is passed over unless its version is newer than what is held.

Whoever looks at an object with the name of a rollout (`look`) is told once when it changes, by that name; to hear again
is to look again. So what a rollout depends on is always what it last looked at, and what nobody looks at any more is
forgotten by itself. "Changed" means that the projection did: a heartbeat in a status wakes nobody.

While all is still no request is made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore_kubernetes.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")

_log = logging.getLogger("canarycore.kubernetes")

BACKOFF, BACKOFF_MOST = 0.2, 30.0
"""Seconds before the first and the latest repeat of a list or a watch that failed."""

ABSENT = 300.0
"""Seconds until a kind that the server does not have is looked for again, at most."""

PATIENCE = 30.0
"""Seconds for which what is held is good enough while the server cannot be reached."""


@frozen(kw_only=True, eq=False)
class View(Generic[T]):
    """Which objects of a kind are held, and what of each.

    project: of the object as it came, and of what was held of it before (None if nothing was), what is held from now
    on; it must not raise, and what it returns is compared by ==. selector and fields: a label and a field selector.
    metadata_only: the objects come without spec, data and status, which spares the server and the wire.
    """

    kind: Kind
    project: Callable[[Json, T | None], T]
    selector: str = ""
    fields: str = ""
    metadata_only: bool = False


def found_body(body: Json, _: Json | None = None) -> Json:
    """The whole object but for its status and what the API server notes about who manages its fields."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


class Cache(Generic[T]):
    """The objects that a view shows, in one namespace or (with an empty one) in all.

    synced: set when all objects were listed for the first time. `tell` is told the name of each rollout that looked at
    an object that has changed since.
    """

    def __init__(
        self, client: Client, view: View[T], *, namespace: str = "", tell: Callable[[str], None] = lambda _: None
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """List and watch until cancelled."""
        raise NotImplementedError

    async def ready(self) -> Self:
        """This cache, once it can be relied on.

        Raises WorldError, with the reason, when the objects could not be listed, or when the server has been out of
        reach for longer than PATIENCE. A kind that the server does not have has no objects, which is no error.
        """
        raise NotImplementedError

    def get(self, namespace: str, name: str) -> T | None:
        """What is held of the object; None if it does not exist."""
        raise NotImplementedError

    def look(self, namespace: str, name: str, key: str) -> T | None:
        """The same, on behalf of the rollout `key`: it is woken when the object changes, appears or goes."""
        raise NotImplementedError

    def version(self, namespace: str, name: str) -> str:
        """The resourceVersion of what is held; "" if the object does not exist."""
        raise NotImplementedError

    def all(self) -> Iterator[tuple[tuple[str, str], T]]:
        """((namespace, name), what is held) of each object."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def subscribe(self, callback: Callable[[str, str], None]) -> None:
        """Tell every change: the namespace and name of each object that changed, appeared or went."""
        raise NotImplementedError

    def put(self, body: Json) -> T:
        """The object is so, as the server has just answered. Who looked at it is not told: it was us."""
        raise NotImplementedError

    def drop(self, namespace: str, name: str) -> None:
        """The object is gone, as the server has just answered."""
        raise NotImplementedError
