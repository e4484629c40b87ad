"""Skipper, which polls the API server and routes by Ingresses."""

from __future__ import annotations

from canarycore_planes.bench import METRICS, PORT, TARGET, App, Bench, DataPlane
from canarycore_planes.control_plane.api import Json
from canarycore_planes.programs import program


def _start(bench: Bench) -> None:
    access = bench.api.access
    bench.start(
        "skipper", program("skipper"), "-kubernetes", f"-kubernetes-url={access.server}",
        f"-kubernetes-token-file={bench.write('token', access.token)}", "-enable-kubernetes-endpointslices",
        f"-address=127.0.0.1:{PORT}", f"-support-listener=127.0.0.1:{METRICS}", "-metrics-flavour=prometheus",
        "-serve-route-metrics", "-route-response-metrics", "-kubernetes-https-redirect=false",
        "-access-log-disabled", "-wait-first-route-load",
        SSL_CERT_FILE=access.authority,
    )  # fmt: skip


def ingress(app: App, **annotations: str) -> list[Json]:
    """Return a Service, and an Ingress that leads the host to it."""
    ports = [{"name": "http", "port": 80, "targetPort": 9898}]
    backend = {"service": {"name": app.service, "port": {"number": 80}}}
    rule = {"host": app.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    metadata = {"name": TARGET, "annotations": annotations}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": app.service},
         "spec": {"selector": {"app": TARGET}, "ports": ports}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {"rules": [rule]}},
    ]  # fmt: skip


INGRESS_REF = {"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": TARGET}}

SKIPPER = DataPlane(provider="skipper", start=_start, edge=ingress, used=ingress, spec=INGRESS_REF, pre_stop=5)
