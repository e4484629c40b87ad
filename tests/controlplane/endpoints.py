"""The endpoints of Services, and whether the endpoint controller has followed the pods."""

from __future__ import annotations

from collections.abc import Iterable

from canarycore_planes.control_plane.api import Api, Json

KIND = ("discovery.k8s.io/v1", "EndpointSlice")
"""The API version and the kind of endpoints."""


def list_slices(api: Api, namespace: str) -> list[Json]:
    """Return the EndpointSlices of a namespace, each with its API version and kind."""
    found = api.list(f"/apis/{KIND[0]}/namespaces/{namespace}/endpointslices")
    return [{"apiVersion": KIND[0], "kind": KIND[1], **body} for body in found]


def have_followed(api: Api, namespace: str, slices: Iterable[Json]) -> bool:
    """Check whether each Service of a namespace leads to exactly the ready pods that it selects."""
    pods = [pod for pod in api.list(f"/api/v1/namespaces/{namespace}/pods") if is_ready(pod)]
    slices = list(slices)
    for service in api.list(f"/api/v1/namespaces/{namespace}/services"):
        selector = service["spec"].get("selector") or {}
        selected = {pod["metadata"]["name"] for pod in pods if _has_labels(pod, selector)}
        if selector and selected != _pods_behind(service["metadata"]["name"], slices):
            return False
    return True


def _has_labels(pod: Json, selector: Json) -> bool:
    labels: Json = pod["metadata"].get("labels", {})
    return selector.items() <= labels.items()


def is_ready(pod: Json) -> bool:
    """Check whether a pod is ready and not on its way out."""
    conditions = pod.get("status", {}).get("conditions", ())
    is_ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _pods_behind(service: str, slices: Iterable[Json]) -> set[str]:
    """Return the names of the pods that are ready behind a Service."""
    own = (body for body in slices if service_of(body) == service)
    return {endpoint["targetRef"]["name"] for body in own for endpoint in ready_endpoints(body)}


def service_of(body: Json) -> str:
    """Return the name of a slice's Service."""
    return str(body["metadata"].get("labels", {}).get("kubernetes.io/service-name", ""))


def ready_endpoints(body: Json) -> list[Json]:
    """Return the endpoints of a slice that get requests. An endpoint without the condition is ready."""
    endpoints = body.get("endpoints") or ()
    return [endpoint for endpoint in endpoints if endpoint.get("conditions", {}).get("ready") is not False]
