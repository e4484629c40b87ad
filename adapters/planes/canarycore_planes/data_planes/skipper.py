"""Skipper, which polls the API server and routes by Ingresses."""

from __future__ import annotations

from canarycore.foreign import get_items, get_text
from canarycore_planes.bench import METRICS, PORT, TARGET, App, Bench, DataPlane, Entry
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
    spec = {"selector": {"app": TARGET}, "ports": ports}
    body = _entry(Entry(host=app.host, service=app.service))
    body["metadata"]["annotations"] = annotations
    return [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": app.service}, "spec": spec}, body]


def _entry(entry: Entry) -> Json:
    backend = {"service": {"name": entry.service, "port": {"number": entry.port}}}
    rule = {"host": entry.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": entry.metadata,
        "spec": {"rules": [rule]},
    }


def _read_host(body: Json) -> str:
    hosts = (get_text(rule, "host") for rule in get_items(body, "spec", "rules"))
    return next(filter(None, hosts), "") if body["kind"] == "Ingress" else ""


INGRESS_REF = {"ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": TARGET}}

SKIPPER = DataPlane(
    provider="skipper",
    title="Skipper",
    programs=("skipper",),
    entry=_entry,
    read_host=_read_host,
    start=_start,
    edge=ingress,
    used=ingress,
    spec=INGRESS_REF,
    pre_stop=5,
)
