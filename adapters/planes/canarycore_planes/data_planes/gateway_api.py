"""The Gateway API: the objects of an app's owner, and the files of its definitions."""

from __future__ import annotations

from pathlib import Path

from canarycore_planes.bench import TARGET, App, Bench
from canarycore_planes.control_plane.api import Json
from canarycore_planes.programs import module

NAMESPACE, GATEWAY = "gateways", "edge"
"""The place of the bench's Gateway."""

SPEC = {"service": {"hosts": ["{host}"], "gatewayRefs": [{"name": GATEWAY, "namespace": NAMESPACE}]}}
"""The fields of a Canary's spec."""

_API = "gateway.networking.k8s.io/v1"


def create_gateway(bench: Bench, controller: str, port: int) -> None:
    """Create the Gateway of a controller."""
    listener = {"name": "http", "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}}}
    bench.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    bench.api.create(
        {
            "apiVersion": _API,
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY},
            "spec": {"controllerName": controller},
        }
    )
    spec = {"gatewayClassName": GATEWAY, "listeners": [listener]}
    bench.api.create({"apiVersion": _API, "kind": "Gateway", "metadata": {"name": GATEWAY}, "spec": spec}, NAMESPACE)


def edge(app: App) -> list[Json]:
    """Return nothing: the Canary's route leads the host from the Gateway."""
    del app
    return []


def used(app: App) -> list[Json]:
    """Return a Service, and a route of the owner's that leads the host to it."""
    ports = [{"name": "http", "port": 80, "targetPort": 9898}]
    route = {
        "parentRefs": [{"name": GATEWAY, "namespace": NAMESPACE}],
        "hostnames": [app.host],
        "rules": [{"backendRefs": [{"name": app.service, "port": 80}]}],
    }
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": app.service},
         "spec": {"selector": {"app": TARGET}, "ports": ports}},
        {"apiVersion": _API, "kind": "HTTPRoute", "metadata": {"name": TARGET}, "spec": route},
    ]  # fmt: skip


def definitions(source: str) -> list[Path]:
    """Return the files of the definitions in a version of the API's module."""
    return sorted((module(source) / "config" / "crd" / "experimental").glob("gateway.networking.*.yaml"))
