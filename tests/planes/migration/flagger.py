"""A real Flagger on a bench, and the commands by which an administrator replaces it.

    site = Site(app, metrics)
    site.install_flagger()
    plan = site.canary("migrate", "--json")
    site.carry_out(plan["steps"][3]["command"])     kubectl … scale deployment/flagger --replicas=0

A site is the namespace of one app, with a Flagger and a controller of its own. Their Deployments are paused, so the
bench makes no pods of them: each runs as a process with its container's arguments, as often as the Deployment says.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import define, evolve, field, frozen

from canarycore_planes.background import in_background
from canarycore_planes.bench import App, DataPlane
from canarycore_planes.control_plane.api import Json, eventually
from canarycore_planes.programs import PROGRAMS, module, program
from tests.servers import read_query, serving, vector

NAME = "flagger"

_OBSERVER = "canarycore-observer"
_APP = re.compile(r'(?:route=~"kube\(ew\)\?|envoy_cluster_name=~")_?([a-z0-9]+)_')
"""The namespace in a built-in query about Skipper's or Contour's series."""

PATIENCE = 240.0
"""Seconds that a step may take on a busy machine."""

_LOOP = "1s"
"""The interval at which Flagger looks for new Canaries."""


def for_flagger(data_plane: DataPlane) -> DataPlane:
    """Return a data plane as Flagger needs it: with its own definitions, and with annotations on the edge.

    Flagger 1.44 ends with a panic at an Ingress for Skipper that has no annotation.
    """

    def edge(app: App) -> list[Json]:
        bodies = data_plane.edge(app)
        for body in bodies:
            body["metadata"]["annotations"] = {"example.com/owner": app.name, **body["metadata"].get("annotations", {})}
        return bodies

    return evolve(data_plane, edge=edge, definitions=lambda: [*data_plane.definitions(), _artifact("crd.yaml")])


def _artifact(name: str) -> Path:
    return module(PROGRAMS[NAME].source) / "artifacts" / "flagger" / name


@frozen(kw_only=True)
class CommandResult:
    """The end of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The printed JSON."""
        return json.loads(self.stdout)


@define
class Site:
    """The namespace of an app with its controllers."""

    app: App
    kubeconfig: Path
    """The administrator's kubeconfig."""
    metrics: str
    """The address of the metrics server."""
    _commands: dict[str, list[str]] = field(factory=dict, init=False)
    """The command of each Deployment."""
    _begin: int = field(default=0, init=False)
    """The number of the observer's lines before its last start."""

    # commands ---------------------------------------------------------------------------------------------------------

    def canary(self, *arguments: str) -> CommandResult:
        """Run the command as the administrator."""
        command = [Path(sys.executable).with_name("canary"), *arguments]
        if arguments[0] != "install":
            command += ["--kubeconfig", self.kubeconfig]
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        self.app.bench.write(f"{self.app.name}-{time.time():.0f}-{arguments[0]}.out", process.stdout + process.stderr)
        return CommandResult(code=process.returncode, stdout=process.stdout, stderr=process.stderr)

    def carry_out(self, command: str) -> CommandResult:
        """Carry out a command of a plan."""
        match shlex.split(command):
            case ["kubectl", "-n", namespace, "scale", workload, replicas] if namespace == self.app.name:
                code = self.scale(workload.removeprefix("deployment/"), int(replicas.removeprefix("--replicas=")))
                return CommandResult(code=code, stdout="", stderr="")
            case ["canary", "install", *arguments]:
                self._install(arguments)
                return CommandResult(code=0, stdout="", stderr="")
            case ["canary", *arguments]:
                return self.canary(*arguments)
            case _:
                raise AssertionError(f"found {command!r}, expected a command of canary, or a scale in {self.app.name}")

    # workloads --------------------------------------------------------------------------------------------------------

    def install_flagger(self) -> None:
        """Install Flagger with the rights of its own manifests, and start it."""
        from ruamel.yaml import YAML

        bodies = YAML(typ="safe").load_all(_artifact("account.yaml"))
        (role,) = (body for body in bodies if body["kind"] == "ClusterRole")
        rules = [rule for rule in role["rules"] if "resources" in rule]
        (deployment,) = YAML(typ="safe").load_all(_artifact("deployment.yaml"))
        deployment["metadata"]["namespace"] = self.app.name
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        for only_in_the_chart in ("resources", "securityContext"):
            del container[only_in_the_chart]  # with them the plan is one of Helm
        container["command"] += [
            f"-mesh-provider={self.app.bench.data_plane.provider}",
            f"-metrics-server={self.metrics}",
            f"-namespace={self.app.name}",
            f"-control-loop-interval={_LOOP}",
        ]
        access = self.app.bench.api.service_account(self.app.name, NAME, rules)
        config = self.app.bench.plane.kubeconfig(access, f"{self.app.name}-{NAME}")
        arguments = [str(program(NAME)), *container["command"][1:], f"-kubeconfig={config}", "-port=0"]
        self._create(deployment, arguments)
        self.scale(NAME, 1)

    def _install(self, arguments: list[str]) -> None:
        """Create the objects that `canary install` exports, and start its Deployment."""
        from ruamel.yaml import YAML

        exported = self.canary("install", *arguments, "--export")
        assert exported.code == 0, exported.stderr
        bodies = [body for body in YAML(typ="safe").load_all(exported.stdout) if body]
        (deployment,) = (body for body in bodies if body["kind"] == "Deployment")
        for body in bodies:
            if body["kind"] not in ("Deployment", "Namespace"):
                self.app.bench.api.apply(body, self.app.name)
        name = deployment["metadata"]["name"]
        access = self.app.bench.api.service_account(self.app.name, name, ())
        config = self.app.bench.plane.kubeconfig(access, f"{self.app.name}-{name}")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        passed = [str(each).replace("$(POD_NAMESPACE)", self.app.name) for each in container["args"]]
        own = [f"--kubeconfig={config}", "--listen=127.0.0.1", "--port=0"]
        self._create(deployment, [str(Path(sys.executable).with_name("canary")), *passed, *own])
        self.scale(name, 1)

    def _create(self, deployment: Json, command: list[str]) -> None:
        deployment["spec"] |= {"paused": True, "replicas": 0}
        self.app.bench.api.apply(deployment, self.app.name)
        self._commands[deployment["metadata"]["name"]] = command

    def scale(self, name: str, replicas: int) -> int:
        """Scale a Deployment and its process. Return the exit code of an ended process; 0 for a start."""
        path = f"/apis/apps/v1/namespaces/{self.app.name}/deployments/{name}"
        self.app.bench.api.patch(path, {"spec": {"replicas": replicas}})
        process = self._process(name)
        if replicas:
            self.app.bench.start(process, *self._commands[name])
            return 0
        return self.app.bench.kill(process, signal.SIGTERM)

    def _process(self, name: str) -> str:
        return f"{self.app.name}-{name}"

    # the observer -----------------------------------------------------------------------------------------------------

    def start_observer(self, command: str = "") -> None:
        """Start the observer of a plan, or start it again, and wait until it has judged the app."""
        self._begin = len(self.observed())
        if command:
            self.carry_out(command)
        else:
            self.scale(_OBSERVER, 1)
        eventually(lambda: any(line["event"] == "adoption" for line in self.observed()[self._begin :]), PATIENCE)

    def stop_observer(self) -> list[Json]:
        """Stop the observer, and return the lines of its report since its start."""
        assert self.scale(_OBSERVER, 0) == 0
        return self.observed()[self._begin :]

    def observed(self) -> list[Json]:
        """Return all lines of the observer's report."""
        path = self.app.bench.folder / f"{self._process(_OBSERVER)}.log"
        lines = path.read_text().splitlines() if path.exists() else ()
        whole = (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}"))
        return [line for line in whole if line.get("logger") == "canarycore.observe"]

    # for failures -----------------------------------------------------------------------------------------------------

    def logs(self, count: int = 12) -> str:
        """Return the place of all logs, and the end of each of this app's."""
        folder = self.app.bench.folder
        parts = [f"logs: {folder}"]
        for path in sorted(folder.glob(f"{self.app.name}-*.log")):
            parts += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-count:]]
        return "\n".join(parts)


@define
class MetricsServer:
    """A Prometheus server for the success rate of each app. All requests succeed, unless a test says otherwise."""

    url: str = ""
    """Its address."""
    bad: set[str] = field(factory=set)
    """The apps whose requests fail."""

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        server = web.Application()
        server.router.add_route("*", "/api/v1/query", self._answer)
        async with serving(server) as self.url:
            yield

    async def _answer(self, request: web.Request) -> web.Response:
        app = _APP.search(await read_query(request))
        return vector(1 if app is None else 50 if app[1] in self.bad else 100)


@contextmanager
def metrics_server() -> Iterator[MetricsServer]:
    """Serve metrics from a thread of its own."""
    server = MetricsServer()
    with in_background(server._serve):
        yield server
