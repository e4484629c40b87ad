"""The endpoints of Services, and whether the endpoint controller has followed the pods."""

from __future__ import annotations

from collections.abc import Iterable

from tests.controlplane.api import Api, Json

KIND = ("discovery.k8s.io/v1", "EndpointSlice")
"""The API version and the kind of endpoints."""


def list_slices(api: Api, namespace: str) -> list[Json]:
    """Return the EndpointSlices of a namespace, each with its API version and kind."""
    found = api.list(f"/apis/{KIND[0]}/namespaces/{namespace}/endpointslices")
    return [{"apiVersion": KIND[0], "kind": KIND[1], **body} for body in found]


def have_followed(api: Api, namespace: str, slices: Iterable[Json]) -> bool:
    """Check whether each Service of a namespace leads to exactly the ready pods that it selects."""
    pods = [pod for pod in api.list(f"/api/v1/namespaces/{namespace}/pods") if _is_ready(pod)]
    slices = list(slices)
    for service in api.list(f"/api/v1/namespaces/{namespace}/services"):
        selector = service["spec"].get("selector") or {}
        selected = {pod["metadata"]["name"] for pod in pods if _has_labels(pod, selector)}
        if selector and selected != _ready_endpoints(service["metadata"]["name"], slices):
            return False
    return True


def _has_labels(pod: Json, selector: Json) -> bool:
    labels: Json = pod["metadata"].get("labels", {})
    return selector.items() <= labels.items()


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _ready_endpoints(service: str, slices: Iterable[Json]) -> set[str]:
    """Return the names of the pods that are ready behind a Service."""
    own = (body for body in slices if body["metadata"]["labels"].get("kubernetes.io/service-name") == service)
    endpoints = (one for body in own for one in body.get("endpoints") or ())
    return {one["targetRef"]["name"] for one in endpoints if one.get("conditions", {}).get("ready") is not False}
