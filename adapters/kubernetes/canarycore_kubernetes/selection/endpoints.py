"""The ready endpoints of Services, as their EndpointSlices list them.

    endpoints = Endpoints(cluster, clock)
    reach = await endpoints.look("shop", "web-primary", "shop/web")      reach.ready: the pods that requests reach

A Deployment counts the pods that it runs. Requests reach only those that a Service selects and that its EndpointSlices
list as ready. One cache has the slices of all Services, with an index by Service: a slice has a generated name, and a
Service may have several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import ENDPOINT_SLICE
from canarycore_kubernetes.selection.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

SERVICE_LABEL = "kubernetes.io/service-name"
"""The label of a slice that names its Service."""


@frozen
class SliceFacts:
    """The projection of an EndpointSlice that a cache keeps."""

    service: str
    """The name of the Service."""

    ready: tuple[str, ...]
    """The pods that get requests by this slice; an endpoint without a pod has its address here."""


def slice_facts(body: Json, _: SliceFacts | None = None) -> SliceFacts:
    """Return the projection of an EndpointSlice. An endpoint without a condition `ready` is ready."""
    ready = (
        _endpoint_name(endpoint)
        for endpoint in get_items(body, "endpoints")
        if get_mapping(endpoint, "conditions").get("ready") is not False
    )
    return SliceFacts(get_text(body, "metadata", "labels", SERVICE_LABEL), tuple(filter(None, ready)))


ENDPOINT_SLICES: View[SliceFacts] = View(kind=ENDPOINT_SLICE, project=slice_facts)
"""The cached view of EndpointSlices."""


def _endpoint_name(endpoint: Json) -> str:
    return get_text(endpoint, "targetRef", "name") or next(map(str, get_list(endpoint, "addresses")), "")


@frozen
class Reach:
    """The pods that requests to a Service reach."""

    ready: int
    """The number of ready endpoints."""

    empty_since: float | None
    """Since when the Service has had no ready endpoint, in seconds since the epoch; None while it has some."""


@define(eq=False)
class Endpoints:
    """The endpoints of the Services of a cluster."""

    cluster: Cluster
    clock: Callable[[], float]
    """Seconds since the epoch."""

    _empty_since: dict[tuple[str, str], float] = field(factory=dict, init=False)
    _slices: Index[SliceFacts] = field(init=False)
    """The slices by namespace and Service."""

    @_slices.default
    def _index(self) -> Index[SliceFacts]:
        return Index(self.cluster, ENDPOINT_SLICES, lambda place, facts: [(place[0], facts.service)])

    async def look(self, namespace: str, service: str, key: str) -> Reach:
        """Return the ready endpoints of a Service, and wake the rollout `key` when they next change."""
        place = (namespace, service)
        slices = await self._slices.find(place, key)
        ready = len({name for facts in slices.values() for name in facts.ready})  # two address families have one pod
        if ready:
            self._empty_since.pop(place, None)
        else:
            self._empty_since.setdefault(place, self.clock())
        return Reach(ready, self._empty_since.get(place))
