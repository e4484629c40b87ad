"""A cluster of processes with a real data plane, and the apps on it.

    with bench(CONTOUR, folder, installation) as running:
        app = running.app("shop")
        app.begin()
        app.deploy("v2")
        app.ends("Succeeded")

Control plane, pods, the data plane's controller and proxy, Prometheus, and `canary controller` with the rights that it
is installed with. Each app has a namespace and a host of its own, so several may roll out at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import define, field, frozen
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from canarycore_planes.control_plane.api import Api, Json, RequestError, define_kinds, eventually
from canarycore_planes.control_plane.plane import Plane, run_control_plane
from canarycore_planes.pods import ProcessKubelet
from canarycore_planes.processes import die_with_the_owner
from canarycore_planes.programs import ModuleFile

TARGET = "podinfo"
"""The name of each app's Deployment, Service and Canary."""

PORT, METRICS = 8080, 8002
"""The ports of the proxy on the loopback address of the bench's network, and of its metrics."""

URL = f"http://127.0.0.1:{PORT}/"
PROMETHEUS = "http://127.0.0.1:9090"

INTERVAL = 10
"""Seconds between two steps of an analysis: Flagger's least."""

CONTROLLERS = "controllers"
"""The namespace of the controller."""

_CANARIES = "/apis/flagger.app/v1beta1/canaries"
_PATIENCE = 180.0
_GRACE = 20.0
_PAUSE = 0.1
_SCRAPE = {"scrape_interval": "2s", "scrape_timeout": "2s"}


@frozen(kw_only=True)
class Entry:
    """The way of a host's requests to a Service."""

    host: str
    """The host."""
    service: str
    """The name of the Service."""
    port: int = 80
    """The port of the Service."""
    name: str = TARGET
    """The name of the object."""
    namespace: str = ""
    """The namespace of both; empty for the namespace of the request."""

    @property
    def metadata(self) -> Json:
        """The metadata of the object."""
        return {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}


@frozen(kw_only=True)
class DataPlane:
    """A data plane: how it starts, and what the owner of an app writes for it."""

    provider: str
    """The provider of the Canary."""
    title: str
    """Its controller and its proxy, for people."""
    programs: tuple[str, ...]
    """The programs that it needs, by their names in `PROGRAMS`."""
    files: tuple[ModuleFile, ...] = ()
    """The files that it needs of modules."""
    entry: Callable[[Entry], Json]
    """Return the object by which requests enter, if an owner has written none."""
    read_host: Callable[[Json], str]
    """Return the host that an owner's object leads in; empty for all other objects."""
    start: Callable[[Bench], None]
    """Start the controller and the proxy."""
    edge: Callable[[App], list[Json]]
    """Return the objects that lead an app's host to its Canary's route."""
    used: Callable[[App], list[Json]]
    """Return the objects that lead an app's host to its Service, before there is a Canary."""
    definitions: Callable[[], list[Path]] = list
    """Return the files of the data plane's CustomResourceDefinitions."""
    spec: Mapping[str, Any] = field(factory=dict)
    """Fields of the Canary's spec that this data plane needs."""
    metrics: str = "/metrics"
    """The path of the proxy's metrics."""
    pre_stop: int = 0
    """Seconds for which an ended pod must still answer, because the proxy learns so late of it. A Deployment that
    replaces its pods under traffic loses requests otherwise, with and without a Canary."""
    can: frozenset[str] = frozenset()
    """The routes that it supports beside weights: "ab", "mirror", "affinity"."""
    options: Mapping[str, Any] = field(factory=dict)
    """All options of `spec.service` that it supports."""


@frozen(kw_only=True)
class Installation:
    """The parts of an installed controller."""

    definitions: Sequence[Json]
    """The CustomResourceDefinitions of Canaries and the resources beside them."""
    account: str
    """The name of its service account."""
    rules: Sequence[Json]
    """The rules of its roles."""
    command: Sequence[str]
    """The command that starts it, without options."""


@define
class Bench:
    """A running bench."""

    plane: Plane
    data_plane: DataPlane
    installation: Installation
    folder: Path
    apps: list[App] = field(factory=list)
    _processes: dict[str, subprocess.Popen[bytes]] = field(factory=dict)

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self.plane.api

    @property
    def pods(self) -> ProcessKubelet:
        """The kubelet."""
        kubelet = self.plane.kubelet
        assert isinstance(kubelet, ProcessKubelet)
        return kubelet

    # processes ------------------------------------------------------------------------------------------------------

    def start(self, name: str, *command: object, **environment: str) -> None:
        """Start a process with its log in the folder. It ends with the bench."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*map(str, command)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                env=os.environ | environment, process_group=0,
                preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
            )  # fmt: skip

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a process, and return its exit code."""
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=_GRACE)

    def stop(self) -> None:
        """End all processes, the newest first."""
        for name in reversed(self._processes.copy()):
            self.kill(name)

    def write(self, name: str, content: Any) -> Path:
        """Write a file into the folder: a text, or JSON."""
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def start_prometheus(self) -> None:
        """Start Debian's Prometheus. It scrapes the proxy and the pods."""
        jobs: list[Json] = [
            {
                "job_name": "proxy",
                "metrics_path": self.data_plane.metrics,
                "static_configs": [{"targets": [f"127.0.0.1:{METRICS}"]}],
            },
            {
                "job_name": "pods",
                "file_sd_configs": [{"files": [str(self.pods.targets)], "refresh_interval": "5s"}],
            },
        ]
        config = self.write("prometheus.yml", {"global": _SCRAPE, "scrape_configs": jobs})
        flags = {"config.file": config, "storage.tsdb.path": self.folder / "tsdb", "log.level": "warn"}
        address = PROMETHEUS.removeprefix("http://")
        self.start("prometheus", "prometheus", *(f"--{key}={value}" for key, value in flags.items()),
                   f"--web.listen-address={address}")  # fmt: skip

    def start_controller(self) -> None:
        """Start `canary controller` with the rights that it is installed with."""
        access = self.api.service_account(CONTROLLERS, self.installation.account, self.installation.rules)
        config = self.plane.kubeconfig(access, "controller")
        self.start(
            "controller", *self.installation.command, "--kubeconfig", config,
            "--mesh-provider", self.data_plane.provider, "--metrics-server", PROMETHEUS,
            "--listen", "127.0.0.1", "--port", "8089",
        )  # fmt: skip

    # apps -----------------------------------------------------------------------------------------------------------

    def app(self, name: str) -> App:
        """Return a new app in a namespace of its own."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.apps.append(App(self, name))
        return self.apps[-1]


@define
class App:
    """An app with its Deployment, its Canary and its host."""

    bench: Bench
    name: str
    """Its namespace."""
    service: str = TARGET
    """The name of its Service."""
    host: str = ""
    """The host of its requests."""
    pre_stop: int = 0
    """Seconds for which its pods sleep before they end. 0: they end at once."""
    states: list[tuple[float, str, int]] = field(factory=list)
    """Each phase and weight of the Canary's status, with the time at which it was seen."""
    statuses: list[Json] = field(factory=list)
    """Each status of the Canary."""

    def __attrs_post_init__(self) -> None:
        self.host = self.host or f"{self.name}.test"

    @property
    def path(self) -> str:
        """The path of its Canary."""
        return f"/apis/flagger.app/v1beta1/namespaces/{self.name}/canaries/{TARGET}"

    def create(self, *bodies: Json) -> None:
        """Create objects in its namespace."""
        for body in bodies:
            self.bench.api.create(body, self.name)

    def deployment(self, version: str = "v1", **settings: object) -> Json:
        """Return its Deployment at a version, with the settings of `app.py`."""
        container: Json = {
            "name": "app",
            "image": f"app:{version}",
            "ports": [{"name": "http", "containerPort": 9898}],
            "env": [{"name": key, "value": str(value)} for key, value in settings.items()],
        }
        if self.pre_stop:
            container["lifecycle"] = {"preStop": {"sleep": {"seconds": self.pre_stop}}}
        template = {
            "metadata": {"labels": {"app": TARGET}},
            "spec": {"terminationGracePeriodSeconds": 20, "containers": [container]},
        }
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": TARGET}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": TARGET}, "spec": spec}

    def canary(self, **more: Any) -> Json:
        """Return its Canary. more: fields of the spec; `service` and `analysis` are added to the usual fields."""
        metric = {"interval": "15s"}
        analysis = {
            "interval": f"{INTERVAL}s",
            "threshold": 2,
            "maxWeight": 60,
            "stepWeight": 20,
            "metrics": [
                {"name": "request-success-rate", **metric, "thresholdRange": {"min": 99}},
                {"name": "request-duration", **metric, "thresholdRange": {"max": 500}},
            ],
            **more.pop("analysis", {}),
        }
        needed = json.loads(json.dumps(self.bench.data_plane.spec).replace("{host}", self.host))
        service = {"port": 80, "targetPort": 9898, **needed.pop("service", {}), **more.pop("service", {})}
        spec = {
            "provider": self.bench.data_plane.provider,
            "progressDeadlineSeconds": 60,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": TARGET},
            "service": service,
            "analysis": {key: value for key, value in analysis.items() if value is not None},
            **needed,
            **more,
        }
        return {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": TARGET}, "spec": spec}

    # its way --------------------------------------------------------------------------------------------------------

    def begin(self, **more: Any) -> None:
        """Create the app with a Canary, and wait until the proxy leads its host to the primary."""
        self.create(*self.bench.data_plane.edge(self), self.deployment(), self.canary(**more))
        self.ends("Initialized")
        self.is_reachable()

    def deploy(self, version: str, **settings: object) -> None:
        """Bring a version, and wait for the beginning of its analysis."""
        template = self.deployment(version, **settings)["spec"]["template"]
        self.bench.api.patch(
            f"/apis/apps/v1/namespaces/{self.name}/deployments/{TARGET}", {"spec": {"template": template}}
        )
        self.ends("Progressing")

    def status(self) -> Json:
        """Return the Canary's status."""
        return (self.bench.api.get(self.path) or {}).get("status") or {}

    def ends(self, *phases: str, seconds: float = _PATIENCE) -> str:
        """Wait for one of these phases, and return it."""
        return eventually(lambda: self._phase_of(phases), seconds, self.status)

    def _phase_of(self, phases: tuple[str, ...]) -> str | None:
        phase = str(self.status().get("phase", ""))
        return phase if phase in phases else None

    def at_weight(self, weight: int) -> None:
        """Wait until the Canary is at this weight."""
        eventually(lambda: self.status().get("canaryWeight") == weight, _PATIENCE, self.status)

    def is_reachable(self) -> None:
        """Wait until the proxy answers for the host."""
        with PoolManager(retries=False) as pool:
            eventually(lambda: _answers(pool, self.host))

    def events(self) -> list[str]:
        """Return the texts of the Canary's events."""
        events = self.bench.api.list(f"/api/v1/namespaces/{self.name}/events")
        return [body["message"] for body in events if body["involvedObject"]["kind"] == "Canary"]

    def delete(self) -> None:
        """Delete the Canary, and wait until it is gone."""
        self.bench.api.delete(self.path)
        eventually(lambda: self.bench.api.get(self.path) is None, describe=self.status)


@contextmanager
def bench(
    data_plane: DataPlane,
    folder: Path,
    installation: Installation,
    *,
    commands: Mapping[str, Sequence[str]] = MappingProxyType({}),
    has_controller: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Bench]:
    """Start a bench. Raises MissingProgram, and Broken if a server ends.

    commands: the programs of images, beside the bench's own. has_controller: whether `canary controller` starts, with
    the Prometheus that it asks. report: hears of each part that starts.
    """
    (folder / "pods").mkdir(parents=True)
    with ExitStack() as stack:
        node = partial(ProcessKubelet, folder=folder / "pods", commands=commands)
        report("starting etcd, kube-apiserver and kube-controller-manager")
        control = stack.enter_context(run_control_plane(node=node))
        running = Bench(control, data_plane, installation, folder)
        stack.callback(running.pods.stop)
        stack.callback(running.stop)
        control.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONTROLLERS}})
        define_kinds(control.api, [*deepcopy(installation.definitions), *_read_definitions(data_plane)])
        eventually(lambda: _is_served(control.api))
        report(f"starting {data_plane.title}")
        data_plane.start(running)
        if has_controller:
            report("starting Prometheus and the controller")
            running.start_prometheus()
            running.start_controller()
        over = threading.Event()
        stack.callback(over.set)
        watching = threading.Thread(target=_watch, args=(running, over), daemon=True)
        watching.start()
        yield running


def _read_definitions(data_plane: DataPlane) -> Iterator[Json]:
    """Yield the CustomResourceDefinitions of the data plane's objects."""
    from ruamel.yaml import YAML

    for path in data_plane.definitions():
        bodies = YAML(typ="safe").load_all(path)
        yield from (body for body in bodies if body and body["kind"] == "CustomResourceDefinition")


def _answers(pool: PoolManager, host: str) -> bool:
    """Whether the proxy has a good answer for a host."""
    with suppress(HTTPError):
        return pool.request("GET", URL, headers={"Host": host}, timeout=2).status == 200
    return False


def _is_served(api: Api) -> bool:
    with suppress(RequestError):
        return api.list(_CANARIES) == []
    return False


def _watch(running: Bench, over: threading.Event) -> None:
    """Note each phase and weight of the apps' Canaries, until the bench ends. A new definition ends a watch."""
    while not over.wait(_PAUSE):
        with suppress(RequestError, HTTPError, ValueError):
            for event in running.api.watch(_CANARIES):
                _note(running, event["object"])


def _note(running: Bench, body: Json) -> None:
    status = body.get("status") or {}
    app = next((app for app in running.apps if app.name == body["metadata"].get("namespace")), None)
    if app is not None and status.get("phase"):
        app.statuses.append(status)
        state = str(status["phase"]), int(status.get("canaryWeight", 0))
        if not app.states or app.states[-1][1:] != state:
            app.states.append((time.time(), *state))
