"""Contour with the Envoy of a wheel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from canarycore.foreign import get_text
from canarycore_planes.bench import METRICS, PORT, TARGET, App, Bench, DataPlane, Entry
from canarycore_planes.control_plane.api import Json
from canarycore_planes.data_planes import gateway_api
from canarycore_planes.programs import ModuleFile, envoy, program

_XDS, _HTTP, _HEALTH, _DEBUG = 8001, 8003, 8004, 6060
_API = "projectcontour.io/v1"
_GATEWAY_API = "sigs.k8s.io/gateway-api@v1.3.0"
"""The version of the Gateway API's definitions that this Contour reads."""


def _start(bench: Bench, *config: object) -> None:
    contour = program("contour")
    ports = {
        "xds": _XDS,
        "http": _HTTP,
        "health": _HEALTH,
        "debug-http": _DEBUG,
        "envoy-service-http": PORT,
        "stats": METRICS,
    }
    places = [f"--{name}-address=127.0.0.1" for name in ports] + [
        f"--{name}-port={port}" for name, port in ports.items()
    ]
    bench.start("contour", contour, "serve", "--kubeconfig", bench.plane.kubeconfig(), "--insecure",
                "--disable-leader-election", *places, *config)  # fmt: skip
    bootstrap = bench.folder / "envoy.json"
    subprocess.run(
        [contour, "bootstrap", bootstrap, "--admin-address", bench.folder / "admin.sock",
         "--xds-address=127.0.0.1", f"--xds-port={_XDS}", "--resources-dir", bench.folder / "resources"],
        check=True, capture_output=True,
    )  # fmt: skip
    bench.start("envoy", envoy(), "-c", bootstrap, "--service-cluster", "projectcontour", "--service-node", "envoy",
                "--concurrency", "1", "-l", "warning")  # fmt: skip


def _start_gateway(bench: Bench) -> None:
    gateway_api.create_gateway(bench, "projectcontour.io/gateway-controller", 80)
    reference = {"namespace": gateway_api.NAMESPACE, "name": gateway_api.GATEWAY}
    _start(bench, "--config-path", bench.write("contour.yaml", {"gateway": {"gatewayRef": reference}}))


_KINDS = ModuleFile(program="contour", path="examples/contour/01-crds.yaml")


def _definitions() -> list[Path]:
    return [_KINDS.read()]


def _gateway_definitions() -> list[Path]:
    return [*_definitions(), *gateway_api.definitions(_GATEWAY_API)]


def _edge(app: App) -> list[Json]:
    return [_entry(Entry(host=app.host, service=app.service, name="edge"))]


def _entry(entry: Entry) -> Json:
    spec = {
        "virtualhost": {"fqdn": entry.host},
        "includes": [{"name": entry.service, "conditions": [{"prefix": "/"}]}],
    }
    return {"apiVersion": _API, "kind": "HTTPProxy", "metadata": entry.metadata, "spec": spec}


def _read_host(body: Json) -> str:
    return get_text(body, "spec", "virtualhost", "fqdn") if body["kind"] == "HTTPProxy" else ""


def _used(app: App) -> list[Json]:
    ports = [{"name": "http", "port": 80, "targetPort": 9898}]
    service = {"selector": {"app": TARGET}, "ports": ports}
    route = {"conditions": [{"prefix": "/"}], "services": [{"name": app.service, "port": 80}]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": app.service}, "spec": service},
        {"apiVersion": _API, "kind": "HTTPProxy", "metadata": {"name": "edge"},
         "spec": {"virtualhost": {"fqdn": app.host}, "routes": [route]}},
    ]  # fmt: skip


CONTOUR = DataPlane(
    provider="contour",
    title="Contour and Envoy",
    programs=("contour",),
    files=(_KINDS,),
    entry=_entry,
    read_host=_read_host,
    start=_start,
    edge=_edge,
    used=_used,
    definitions=_definitions,
    metrics="/stats/prometheus",
    can=frozenset({"ab"}),
    options={
        "timeout": "5s",
        "retries": {"attempts": 2, "perTryTimeout": "1s", "retryOn": "gateway-error,connect-failure"},
    },
)

CONTOUR_GATEWAY = DataPlane(
    provider="gatewayapi:v1",
    title="Contour and Envoy",
    programs=("contour",),
    files=(_KINDS,),
    entry=_entry,
    read_host=_read_host,
    start=_start_gateway,
    edge=gateway_api.edge,
    used=gateway_api.used,
    definitions=_gateway_definitions,
    spec=gateway_api.SPEC,
    metrics="/stats/prometheus",
    can=frozenset({"ab", "mirror", "affinity"}),
)
