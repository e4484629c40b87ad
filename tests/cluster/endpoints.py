"""A watcher of endpoints: a Service leads to a ready pod at every moment in which some pod of its app is ready.

    with watching(access, PATHS) as watcher:
        ...
        assert outages(watcher.versions(namespace), "web") == []

This is I1 as users meet it: over the EndpointSlices that the cluster's own controllers write and that proxies follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from tests.cluster.watcher import Version
from tests.controlplane.endpoints import is_ready, ready_endpoints, service_of

PATHS = {
    "/api/v1/pods": "Pod",
    "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice",
}
"""The watched kinds, by path."""

GRACE = 1.0
"""Seconds for the endpoint controller to follow a pod."""


@define
class _Service:
    """The endpoints of one Service and the pods of its app, write by write."""

    name: str
    apps: tuple[str, ...]
    ready_pods: set[str] = field(factory=set)
    ready_endpoints: dict[str, int] = field(factory=dict)
    """The number of ready endpoints, by EndpointSlice."""
    was_reached: bool = False
    pods_since: float | None = None
    """When a pod of the app became ready, if one is now (seconds since the epoch)."""
    none_since: float | None = None
    """When the last ready endpoint went, if there is none now (seconds since the epoch)."""

    def take(self, version: Version) -> None:
        name = version.name
        if version.kind == "Pod" and any(name.startswith(f"{app}-") for app in self.apps):
            is_up = not version.gone and is_ready(version.body)
            (self.ready_pods.add if is_up else self.ready_pods.discard)(name)
        elif version.kind == "EndpointSlice" and service_of(version.body) == self.name:
            self.ready_endpoints[name] = 0 if version.gone else len(ready_endpoints(version.body))
        if not self.ready_pods:
            self.pods_since = None
        elif self.pods_since is None:
            self.pods_since = version.at
        if any(self.ready_endpoints.values()):
            self.was_reached, self.none_since = True, None
        elif self.none_since is None:
            self.none_since = version.at

    def outage(self, now: float) -> float:
        """Return for how long the Service has led nowhere although a pod was ready (seconds)."""
        if not self.was_reached or self.none_since is None or self.pods_since is None:
            return 0.0
        return max(0.0, now - max(self.none_since, self.pods_since) - GRACE)


def outages(versions: Iterable[Version], service: str, *apps: str) -> list[str]:
    """Return the moments at which the Service led nowhere although a pod of the app was ready, after its first pod.

    apps: names of the app's workloads, by which its pods' names begin; by default the Service's name.
    """
    state, found = _Service(name=service, apps=apps or (service,)), []
    for version in versions:
        if seconds := state.outage(version.at):
            found.append(f"{service} led nowhere for {seconds:.1f} s (before {version.kind} {version.name})")
        state.take(version)
    if not state.was_reached:
        found.append(f"{service} never led to a ready pod")
    return found
