"""A client and its caches: what is read and written of a cluster goes through here.

    async with Cluster(client) as cluster:
        deployments = await cluster.cache(DEPLOYMENTS).ready()       # DEPLOYMENTS: a View
        found = deployments.look("default", "podinfo", key)          # wakes the rollout `key` when it changes
        await cluster.apply(body)                                    # is in the cache when this returns

Reads of caches cost nothing. `get` asks the server, for the few moments when a whole object is needed.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from canarycore.errors import CannotHappen
from canarycore_kubernetes.api.cache import Cache, View, strip_body
from canarycore_kubernetes.api.client import NotFound
from canarycore_kubernetes.api.kinds import by_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")


class Cluster:
    """The port Changes, and what the other ports stand on.

    `namespace`: the only one that is looked at; all if empty. reads_secrets: whether Secrets are read; an observer has
    no right to.
    """

    def __init__(self, client: Client, *, namespace: str = "", reads_secrets: bool = True) -> None:
        self.client: Client = client
        self.namespace: str = namespace
        self.reads_secrets: bool = reads_secrets
        self._caches: dict[Kind, Cache[Any]] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._ears: list[_Listener] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The caches stop; the body's own error leaves as it is, the task group is told of cancellation only."""
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
        """The cache of a view; it is made, and begins to list, when it is first asked for.

        A kind in place of a view stands for whole objects (`strip_body`). There is one cache per kind: asking for
        another view of a kind raises CannotHappen.
        """
        kind = view.kind if isinstance(view, View) else view
        cache = self._caches.get(kind)
        if cache is None:
            cache = self._begin(view if isinstance(view, View) else View(kind=view, project=strip_body))
        held = cache.view
        if held is not view and (isinstance(view, View) or held.project is not strip_body):
            raise CannotHappen(f"{kind.plural} are held by another view than the one that is asked for: share one")
        return cache

    def _begin(self, view: View[Any]) -> Cache[Any]:
        namespace = self.namespace if view.kind.namespaced else ""
        cache = Cache(self.client, view, namespace=namespace, wake=self.wake)
        self._caches[view.kind] = cache
        self._tasks.append(self._group.create_task(cache.run(), name=f"cache of {view.kind.plural}"))
        return cache

    def unsynced_kinds(self) -> str:
        """Which kinds have not been listed yet; empty when all are."""
        return ", ".join(kind.plural for kind, cache in self._caches.items() if not cache.synced.is_set())

    # the port Changes -------------------------------------------------------------------------------------------

    def wake(self, key: str) -> None:
        """Something about this rollout changed."""
        for ear in self._ears:
            ear.hear(key)

    async def changes(self) -> AsyncIterator[str]:
        """The rollouts about which something changed, as it happens; what changed twice meanwhile is told once."""
        ear = _Listener()
        self._ears.append(ear)
        try:
            while True:
                yield await ear.next()
        finally:
            self._ears.remove(ear)

    # the client's; what a write answers is put into the cache --------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The whole object, from the server. See `Client.get`."""
        return await self.client.get(kind, namespace, name)

    async def create(self, body: Json) -> Json:
        """See `Client.create`."""
        kind = by_object(body)
        with self._writing(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]):
            return self._written(kind, await self.client.create(body))

    async def apply(self, body: Json, *, subresource: str = "", force: bool = True) -> Json:
        """See `Client.apply`."""
        kind = by_object(body)
        with self._writing(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]):
            return self._written(kind, await self.client.apply(body, subresource=subresource, force=force))

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """See `Client.merge`."""
        with self._writing(kind, namespace, name):
            try:
                body = await self.client.merge(kind, namespace, name, patch, subresource=subresource)
            except NotFound:
                self._gone(kind, namespace, name)
                raise
            return self._written(kind, body)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "") -> bool:
        """See `Client.delete`. The cache hears of it by its watch: a finalizer may keep the object for a while."""
        return await self.client.delete(kind, namespace, name, uid=uid, version=version)

    def _writing(self, kind: Kind, namespace: str, name: str) -> AbstractContextManager[None]:
        cache = self._caches.get(kind)
        return nullcontext() if cache is None else cache.writing(namespace, name)

    def _written(self, kind: Kind, body: Json) -> Json:
        cache = self._caches.get(kind)
        if cache is not None:
            cache.put(body)
        return body

    def _gone(self, kind: Kind, namespace: str, name: str) -> None:
        cache = self._caches.get(kind)
        if cache is not None:
            cache.drop(namespace, name)


class _Listener:
    """Keys that somebody has yet to hear, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._any = asyncio.Event()

    def hear(self, key: str) -> None:
        self._keys[key] = None
        self._any.set()

    async def next(self) -> str:
        while not self._keys:
            self._any.clear()
            await self._any.wait()
        key = next(iter(self._keys))
        del self._keys[key]
        return key
