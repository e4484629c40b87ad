"""Contour with the Envoy that the tests' dependencies install."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.controlplane.api import Json
from tests.planes.bench import METRICS, PORT, TARGET, App, Bench, DataPlane
from tests.planes.programs import PROGRAMS, envoy, module, program

_XDS, _HTTP, _HEALTH, _DEBUG = 8001, 8003, 8004, 6060
_API = "projectcontour.io/v1"


def _start(bench: Bench) -> None:
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
                "--disable-leader-election", *places)  # fmt: skip
    bootstrap = bench.folder / "envoy.json"
    subprocess.run(
        [contour, "bootstrap", bootstrap, "--admin-address", bench.folder / "admin.sock",
         "--xds-address=127.0.0.1", f"--xds-port={_XDS}", "--resources-dir", bench.folder / "resources"],
        check=True, capture_output=True,
    )  # fmt: skip
    bench.start("envoy", envoy(), "-c", bootstrap, "--service-cluster", "projectcontour", "--service-node", "envoy",
                "--concurrency", "1", "-l", "warning")  # fmt: skip


def _definitions() -> list[Path]:
    return [module(PROGRAMS["contour"].source) / "examples" / "contour" / "01-crds.yaml"]


def _edge(app: App) -> list[Json]:
    include = {"name": app.service, "namespace": app.name, "conditions": [{"prefix": "/"}]}
    spec = {"virtualhost": {"fqdn": app.host}, "includes": [include]}
    return [{"apiVersion": _API, "kind": "HTTPProxy", "metadata": {"name": "edge"}, "spec": spec}]


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
