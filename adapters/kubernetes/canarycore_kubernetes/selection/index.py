"""An index of a cache: the objects of a key, such as the slices of a Service.

slices = Index(cluster, ENDPOINT_SLICES, lambda place, facts: [(place[0], facts.service)])
await slices.find(("shop", "web"), "shop/web")      its slices; the next change of one wakes the rollout shop/web
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from canarycore.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from canarycore_kubernetes.api.cache import Place, View
    from canarycore_kubernetes.api.cluster import Cluster

T = TypeVar("T")


class Index(Generic[T]):
    """The objects of a view by keys that their projections give. An unreadable object has none."""

    def __init__(self, cluster: Cluster, view: View[T], keys: Callable[[Place, T], Iterable[Hashable]]) -> None:
        self._cluster = cluster
        self._view = view
        self._keys = keys
        self._objects: dict[Hashable, dict[Place, T]] = {}
        self._known: dict[Place, tuple[Hashable, ...]] = {}
        self._lookers: dict[Hashable, set[str]] = {}
        self._is_following = False

    async def find(self, key: Hashable, looker: str) -> Mapping[Place, T]:
        """Return the objects of a key by place, and wake the rollout `looker` at their next change."""
        cache = await self._cluster.cache(self._view).ready()
        if not self._is_following:  # the cache reports changes only after its first list
            self._is_following = True
            cache.subscribe(lambda namespace, name: self._follow((namespace, name)), own_writes=True)
            for place, _ in cache.all():
                self._follow(place)
        self._lookers.setdefault(key, set()).add(looker)
        return self._objects.get(key, {})

    def _follow(self, place: Place) -> None:
        """Take up a change of an object, and wake the rollouts that looked at its keys."""
        try:
            value = self._cluster.cache(self._view).get(*place)
        except WorldError:
            value = None
        before = self._known.get(place, ())
        if before and self._objects[before[0]][place] == value:
            return
        self._known.pop(place, None)
        for key in before:
            objects = self._objects[key]
            del objects[place]
            if not objects:
                del self._objects[key]
        now = () if value is None else tuple(dict.fromkeys(self._keys(place, value)))
        if value is not None and now:
            self._known[place] = now
            for key in now:
                self._objects.setdefault(key, {})[place] = value
        for key in {*before, *now}:
            for looker in self._lookers.pop(key, ()):
                self._cluster.wake(looker)
