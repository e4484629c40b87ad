"""A client and its caches: the other parts read and write a cluster through a `Cluster`.

    async with Cluster(client) as cluster:
        deployments = await cluster.cache(DEPLOYMENTS).ready()       # DEPLOYMENTS: a View
        deployment = deployments.look("default", "podinfo", key)     # wakes the rollout `key` when it changes
        await cluster.apply(body)                                    # the cache has the object on return

Reading a cache makes no request. `get` reads a whole object from the server.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from canarycore.errors import CannotHappen, Conflict
from canarycore_kubernetes.api.cache import Cache, View, strip_body
from canarycore_kubernetes.api.client import NotFound, Outdated
from canarycore_kubernetes.api.kinds import by_object
from canarycore_kubernetes.api.merge_patch import lock_version, merge_patch
from canarycore_kubernetes.api.ownership import MissingObjectError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")

REWRITE_ATTEMPTS = 5
"""Attempts of a write while others keep changing the same object."""

REWRITE_PAUSE = 0.05
"""Seconds before the second attempt; each further pause is twice as long."""


class Cluster:
    """A cluster as seen by the ports; implements the port Changes.

    `namespace` is the only observed namespace (all if empty). `reads_secrets` is whether the controller may read
    Secrets; an observer may not.
    """

    def __init__(self, client: Client, *, namespace: str = "", reads_secrets: bool = True) -> None:
        self.client: Client = client
        self.namespace: str = namespace
        self.reads_secrets: bool = reads_secrets
        self._caches: dict[Kind, Cache[Any]] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[_Listener] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the caches. Pass only a cancellation to the task group, so that other errors propagate unchanged."""
        for task in self._tasks:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    @overload
    def cache(self, view: View[T]) -> Cache[T]: ...
    @overload
    def cache(self, view: Kind) -> Cache[Json]: ...
    def cache(self, view: View[Any] | Kind) -> Cache[Any]:
        """Return the cache of a view. The first call creates the cache, which then begins to list.

        A kind in place of a view means whole objects (`strip_body`). A kind has one cache: raise CannotHappen for a
        second view of a kind.
        """
        kind = view.kind if isinstance(view, View) else view
        cache = self._caches.get(kind)
        if cache is None:
            cache = self._begin(view if isinstance(view, View) else View(kind=view, project=strip_body))
        current = cache.view
        if current is not view and (isinstance(view, View) or current.project is not strip_body):
            raise CannotHappen(f"{kind.plural} have a cache with another view: share one view")
        return cache

    def _begin(self, view: View[Any]) -> Cache[Any]:
        namespace = self.namespace if view.kind.namespaced else ""
        cache = Cache(self.client, view, namespace=namespace, wake=self.wake)
        self._caches[view.kind] = cache
        self._tasks.append(self._group.create_task(cache.run(), name=f"cache of {view.kind.plural}"))
        return cache

    def unsynced_kinds(self) -> str:
        """Return the kinds that the caches have not listed yet, as a text; empty if there are none."""
        return ", ".join(kind.plural for kind, cache in self._caches.items() if not cache.synced.is_set())

    def watched_kinds(self) -> tuple[str, ...]:
        """Return the plurals of the kinds that the caches watch."""
        return tuple(kind.plural for kind in self._caches)

    # the port Changes -------------------------------------------------------------------------------------------

    def wake(self, key: str) -> None:
        """Report a change to the rollout `key`."""
        for listener in self._listeners:
            listener.add(key)

    async def changes(self) -> AsyncIterator[str]:
        """Yield the key of each rollout that has a change; combine changes that arrive in between."""
        listener = _Listener()
        self._listeners.append(listener)
        try:
            while True:
                yield await listener.next()
        finally:
            self._listeners.remove(listener)

    # requests; the cache gets the answer to each write ----------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return a whole object from the server. See `Client.get`."""
        return await self.client.get(kind, namespace, name)

    async def require(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return a whole object from the server. Raise MissingObjectError if there is none."""
        body = await self.get(kind, namespace, name)
        if body is None:
            raise MissingObjectError(
                f"{kind.kind} {name}.{namespace} does not exist: create it, or correct the reference to it."
            )
        return body

    async def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return a stored object by a list: the controller may list and delete routes, but not get them."""
        async for page in self.client.list(kind, namespace, fields=f"metadata.name={name}"):
            for body in page["items"]:
                found: Json = body
                return found
        return None

    async def create(self, body: Json) -> Json:
        """Create an object. See `Client.create`."""
        kind = by_object(body)
        with self._writing(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]):
            return self._store(kind, await self.client.create(body))

    async def apply(self, body: Json, *, subresource: str = "", force: bool = True) -> Json:
        """Apply an object. See `Client.apply`."""
        kind = by_object(body)
        with self._writing(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]):
            return self._store(kind, await self.client.apply(body, subresource=subresource, force=force))

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """Patch an object. See `Client.merge`."""
        with self._writing(kind, namespace, name):
            try:
                body = await self.client.merge(kind, namespace, name, patch, subresource=subresource)
            except NotFound:
                self._gone(kind, namespace, name)
                raise
            return self._store(kind, body)

    async def rewrite(
        self, kind: Kind, namespace: str, name: str, edit: Callable[[Json], Json], *, body: Json | None = None
    ) -> Json:
        """Change an object as `edit` returns it for the state on the server. Return the new object.

        If others change it meanwhile, the change begins again after a pause. body: the object, if it was just read.
        Raise MissingObjectError if there is none, and Conflict while others keep changing it.
        """
        for attempt in range(REWRITE_ATTEMPTS):
            present = body or await self.require(kind, namespace, name)
            patch, body = merge_patch(present, edit(present)), None
            if not patch:
                return present
            try:
                return await self.merge(kind, namespace, name, lock_version(patch, present))
            except Outdated:
                await asyncio.sleep(REWRITE_PAUSE * 2**attempt)
        raise Conflict(f"{kind.plural} {namespace}/{name} is being changed by others all the time: trying again later")

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "") -> bool:
        """Delete an object. See `Client.delete`. The watch updates the cache: a finalizer may delay the deletion."""
        return await self.client.delete(kind, namespace, name, uid=uid, version=version)

    def _writing(self, kind: Kind, namespace: str, name: str) -> AbstractContextManager[None]:
        cache = self._caches.get(kind)
        return nullcontext() if cache is None else cache.writing(namespace, name)

    def _store(self, kind: Kind, body: Json) -> Json:
        cache = self._caches.get(kind)
        if cache is not None:
            cache.put(body)
        return body

    def _gone(self, kind: Kind, namespace: str, name: str) -> None:
        cache = self._caches.get(kind)
        if cache is not None:
            cache.drop(namespace, name)


class _Listener:
    """A queue of keys in order of arrival, each at most once."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._any = asyncio.Event()

    def add(self, key: str) -> None:
        self._keys[key] = None
        self._any.set()

    async def next(self) -> str:
        while not self._keys:
            self._any.clear()
            await self._any.wait()
        key = next(iter(self._keys))
        del self._keys[key]
        return key
