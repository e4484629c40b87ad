"""Rollouts for the tests of faults: initial objects, metrics, and controllers in processes of their own.

    with measured() as server, controllers(plane, server.url, folder) as processes:
        create(plane.api, namespace)
        process = processes.start(namespace, proxy)
        bring(plane.api, namespace, "podinfo:2")

Intervals are of one second, where users have ten at least (`hasten`). A controller's process is forked from one that
has imported all it needs, so that a start takes a tenth of a second; being killed is the same for it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from aiohttp import web
from attrs import define, field, frozen

from canarycore.manifest import _resolve
from canarycore_kubernetes import controller
from canarycore_kubernetes.api.leader_election import LeaderElection, LeaseTimes
from canarycore_kubernetes.deploy.objects import rules
from canarycore_kubernetes.options import Options
from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Access, Api, Json
from canarycore_planes.control_plane.plane import Plane
from tests.cluster.watcher import NAME, Answered, Stand
from tests.controlplane.proxy import Proxy
from tests.servers import read_query, serving, vector

LABELS = {"app": NAME}
FIRST = "podinfo:1"
GOOD, BAD = 100.0, 50.0
"""The answers of the metrics server: the percentage of successful requests of a revision."""

ELECTION: Json = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "patch"]}
CANARY: Json = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": NAME},
    "spec": {
        "provider": "istio",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "service": {"port": 9898, "portDiscovery": True},
        "analysis": {
            "interval": "1s",
            "threshold": 2,
            "stepWeights": [30, 60],
            "metrics": [{"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}],
        },
    },
}
DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "podinfod", "image": FIRST, "ports": [{"containerPort": 9898}]}]},
        },
    },
}
TIMES = LeaseTimes(duration=4, retry=0.5, write=1.0)
"""The times of an election that is short enough for a test."""


def create(api: Api, namespace: str) -> None:
    """A namespace with a target and its Canary."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for body in (DEPLOYMENT, CANARY):
        api.create(body, namespace)


def bring(api: Api, namespace: str, image: str) -> None:
    """Another revision."""
    containers = [{**DEPLOYMENT["spec"]["template"]["spec"]["containers"][0], "image": image}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}", patch)


def ended(image: str) -> Callable[[Stand], bool]:
    """Whether a rollout of this image has come to its end, with all that belongs to it, as far as is known yet."""

    def look(stand: Stand) -> bool:
        if stand.target is None or not stand.settled:
            return False
        spec = stand.target["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        known = container["image"] == image and stand.status.applied == stand.tested
        return bool(known and spec["replicas"] == 0 and stand.weight == 0)

    return look


@contextmanager
def account(plane: Plane) -> Iterator[Access]:
    """The controller's account, with the rights that it is installed with."""
    namespace = "controllers"
    if plane.api.get(f"/api/v1/namespaces/{namespace}") is None:
        plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield plane.api.service_account(namespace, "controller", [*rules(["istio"]), ELECTION])


# ---------------------------------------------------------------------------------------------------- who measures


@define
class Measured:
    """A metrics server that says the same about all revisions of a namespace, until it is told otherwise."""

    url: str = ""
    values: dict[str, float | None] = field(factory=dict)
    answers: dict[str, list[Answered]] = field(factory=dict)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", self._answer)
        async with serving(app) as self.url:
            yield

    async def _answer(self, request: web.Request) -> web.Response:
        about = re.search(r'namespace="([^"]+)"', await read_query(request))
        value: float | None = 1.0
        if about is not None:
            value = self.values.get(about[1], GOOD)
            self.answers.setdefault(about[1], []).append(Answered(at=time.time(), value=value))
        return vector(value)


@contextmanager
def measured() -> Iterator[Measured]:
    """In a thread of its own."""
    server = Measured()
    with in_background(server._serve):
        yield server


# ----------------------------------------------------------------------------------------------- controllers' processes


@frozen(kw_only=True)
class Controllers:
    """Starts controllers, each in a process of its own, for one namespace, and through a proxy of its own."""

    plane: Plane
    access: Access
    metrics: str
    folder: Path
    processes: list[BaseProcess] = field(factory=list)

    def start(self, namespace: str, proxy: Proxy, name: str = "controller", *, elected: bool = False) -> BaseProcess:
        """A controller at work. elected: only while it holds the lease."""
        config = self.plane.kubeconfig(proxy.through(self.access), f"{namespace}-{name}")
        options = Options(
            kubeconfig=str(config),
            namespace=namespace,
            metrics_server=self.metrics,
            listen="127.0.0.1",
            port=0,
            enable_leader_election=elected,
            identity=name,
        )
        process = _FORKS.Process(target=_run, args=(options, self.folder / f"{namespace}-{name}.log"), daemon=True)
        process.start()
        self.processes.append(process)
        return process


@contextmanager
def controllers(plane: Plane, metrics: str, folder: Path) -> Iterator[Controllers]:
    """Whatever they started ends with the context."""
    with account(plane) as access:
        made = Controllers(plane=plane, access=access, metrics=metrics, folder=folder)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.join()


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["canarycore_cli.cluster.controller", "canarycore_mesh.istio", "canarycore_metrics.prometheus"]
)
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def _run(options: Options, log: Path) -> None:
    """Run a controller in its process."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_DEATH_SIGNAL, signal.SIGKILL)
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(told, stream.fileno())
    hasten()
    from canarycore_cli.cluster.controller import run

    run(options)


def hasten() -> None:
    """In this process intervals may be short, leases and the spread of a start are: tests cannot wait a minute."""
    _resolve.SHORTEST_INTERVAL = 1.0
    controller.START_SPREAD = 0.1
    controller.LeaderElection = partial(LeaderElection, times=TIMES)


@contextmanager
def hastened() -> Iterator[None]:
    """The same for as long as the context is open."""
    before = _resolve.SHORTEST_INTERVAL, controller.START_SPREAD, controller.LeaderElection
    hasten()
    try:
        yield
    finally:
        _resolve.SHORTEST_INTERVAL, controller.START_SPREAD, controller.LeaderElection = before
