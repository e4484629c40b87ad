"""A client and its caches: what is read and written of a cluster goes through here.

    async with Cluster(client) as cluster:
        deployments = await cluster.cache(DEPLOYMENTS).ready()       # DEPLOYMENTS: a View
        found = deployments.look("default", "podinfo", key)          # wakes the rollout `key` when it changes
        await cluster.apply(body)                                    # is in the cache when this returns

Reads of caches cost nothing. `get` asks the server, for the few moments when a whole object is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from canarycore_kubernetes.cache import Cache, View
    from canarycore_kubernetes.client import Client
    from canarycore_runtime.mesh import Json, Kind

T = TypeVar("T")


class Cluster:
    """The port Changes, and what the other ports stand on.

    `namespace`: the only one that is looked at; all if empty.
    """

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        self.client: Client = client
        self.namespace: str = namespace

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    @overload
    def cache(self, view: View[T]) -> Cache[T]: ...
    @overload
    def cache(self, view: Kind) -> Cache[Json]: ...
    def cache(self, view: View[Any] | Kind) -> Cache[Any]:
        """The cache of a view; it is made, and begins to list, when it is first asked for.

        A kind in place of a view stands for whole objects (`found_body`). There is one cache per kind: asking for
        another view of a kind raises CannotHappen.
        """
        raise NotImplementedError

    def tell(self, key: str) -> None:
        """Something about this rollout changed."""
        raise NotImplementedError

    def changes(self) -> AsyncIterator[str]:
        """The rollouts about which something changed, as it happens; what changed twice meanwhile is told once."""
        raise NotImplementedError

    # the client's, with the answer put into the cache -----------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The whole object, from the server. See `Client.get`."""
        raise NotImplementedError

    async def create(self, body: Json) -> Json:
        """See `Client.create`."""
        raise NotImplementedError

    async def apply(self, body: Json, *, subresource: str = "", force: bool = True) -> Json:
        """See `Client.apply`."""
        raise NotImplementedError

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """See `Client.merge`."""
        raise NotImplementedError

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> bool:
        """See `Client.delete`."""
        raise NotImplementedError
