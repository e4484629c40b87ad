"""The endpoint controller of the API server in memory: each Service has a slice of the ready pods that it selects.

A workload stands for its pods: they have the labels of its template, and its status counts those that are ready. A
ReplicaSet that belongs to a Deployment does not count again; one that its Deployment left behind does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.foreign import get_integer, get_items, get_texts
from canarycore_planes.control_plane.api import Json

if TYPE_CHECKING:
    from tests.controlplane.in_memory.objects import Key, Objects, Resource

SLICES = ("discovery.k8s.io", "endpointslices")
_SERVICES = ("", "services")
_COUNTS = {
    ("apps", "deployments"): "availableReplicas",
    ("apps", "daemonsets"): "numberAvailable",
    ("apps", "replicasets"): "availableReplicas",
    ("apps", "statefulsets"): "availableReplicas",
}
"""The number of ready pods in a workload's status."""

Pair = tuple[str, str, str]
"""A namespace, a label and its value."""

Source = tuple["Resource", "Key"]
"""A workload."""


@define
class _Pods:
    labels: Mapping[str, str]
    count: int


@define(eq=False)
class EndpointSlices:
    """The slices of all Services. Give `follow` to the objects as a follower."""

    objects: Objects
    _pods: dict[Source, _Pods] = field(factory=dict)
    _sources: defaultdict[Pair, set[Source]] = field(factory=lambda: defaultdict(set))
    _selectors: dict[Key, Mapping[str, str]] = field(factory=dict)
    _services: defaultdict[Pair, set[Key]] = field(factory=lambda: defaultdict(set))

    def follow(self, resource: Resource, key: Key, body: Json | None) -> None:
        """Take up a change of an object, and write the slices that it changes."""
        if resource == _SERVICES:
            self._follow_service(key, body)
        elif resource in _COUNTS:
            self._follow_pods((resource, key), body)

    def _follow_service(self, key: Key, body: Json | None) -> None:
        selector = {} if body is None else get_texts(body, "spec", "selector")
        before = self._selectors.pop(key, {})
        for pair in _pairs(key[0], before):
            self._services[pair].discard(key)
        if selector:
            self._selectors[key] = selector
        for pair in _pairs(key[0], selector):
            self._services[pair].add(key)
        if selector or before:
            self._write(key)

    def _follow_pods(self, source: Source, body: Json | None) -> None:
        namespace = source[1][0]
        before, now = self._pods.pop(source, _Pods({}, 0)), _pods_of(source[0], body)
        if now.count:
            self._pods[source] = now
        for pair in _pairs(namespace, before.labels):
            self._sources[pair].discard(source)
        for pair in _pairs(namespace, now.labels if now.count else {}):
            self._sources[pair].add(source)
        if before == now:
            return
        pairs = {*_pairs(namespace, before.labels), *_pairs(namespace, now.labels)}
        for service in sorted({service for pair in pairs for service in self._services[pair]}):
            self._write(service)

    def _write(self, key: Key) -> None:
        """Write the slice of a Service; delete it where there is none."""
        namespace, name = key
        place = (namespace, f"{name}-slice")
        present = self.objects.table(SLICES).objects.get(place)
        selector = self._selectors.get(key)
        if selector is None:
            if present is not None:
                self.objects.delete(SLICES, place)
            return
        endpoints = [
            {
                "addresses": [f"10.0.0.{number}"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod},
            }
            for number, pod in enumerate(self._ready(namespace, selector))
        ]
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": place[1], "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": endpoints,
        }
        if present is None:
            self.objects.create(SLICES, namespace, body)
        elif present["endpoints"] != endpoints:
            self.objects.replace(SLICES, place, body)

    def _ready(self, namespace: str, selector: Mapping[str, str]) -> Iterable[str]:
        pair, *_ = _pairs(namespace, selector)
        for source in sorted(self._sources[pair]):
            pods = self._pods[source]
            if selector.items() <= pods.labels.items():
                yield from (f"{source[1][1]}-{number}" for number in range(pods.count))


def _pods_of(resource: Resource, body: Json | None) -> _Pods:
    if body is None or any(owner.get("controller") for owner in _owners(resource, body)):
        return _Pods({}, 0)
    labels = get_texts(body, "spec", "template", "metadata", "labels")
    return _Pods(labels, get_integer(body, "status", _COUNTS[resource]) or 0)


def _owners(resource: Resource, body: Json) -> list[Json]:
    return get_items(body, "metadata", "ownerReferences") if resource[1] == "replicasets" else []


def _pairs(namespace: str, labels: Mapping[str, str]) -> list[Pair]:
    return [(namespace, label, value) for label, value in sorted(labels.items())]
