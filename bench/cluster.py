"""500 Canaries that advance every 10 s, on a real API server.

The control plane is that of adapters/planes: etcd and kube-apiserver, without pods. In place of the
controller manager and a kubelet, a stand-in writes the status of each Deployment after a change of its spec, with all
replicas ready. The metrics server gives every query the same answer. The controller is `canary controller` with its
default flags, in a process of its own.

If $FLAGGER is a command (such as "/opt/flagger -kubeconfig-qps=1000 -kubeconfig-burst=2000 -threadiness=20"), Flagger
does the same first, and its column has the measured figures; otherwise it has figures of an earlier run. The bench
measures both from outside: a tick is a change of a weight that a watch of the Canaries reports.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from bench.cluster_parts import (
    NEW,
    OURS,
    PROGRESSING,
    Figure,
    canary,
    controller,
    cpu_seconds,
    megabytes,
    percentile,
    prometheus,
    target,
    until,
)
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_planes.background import in_background
from tests.controlplane.in_memory.server import deployment_status
from tests.controlplane.plane import plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bench.cluster_parts import Controller
    from canarycore_kubernetes.api.client import Client
    from canarycore_planes.control_plane.api import Api, Json
    from canarycore_planes.control_plane.plane import Plane

COUNT = 500
EXTRA = 20
"""Canaries at rest; the bench changes their spec while the others advance."""

SPACE = "bench"
_FLAGS = (f"-namespace={SPACE}", "-mesh-provider=istio")
INTERVAL = 10.0
WINDOW = 60.0
"""Seconds of the measurement."""

LATE, REACTION, CPU = 1.0, 1.0, 4.1
"""Upper bounds of the lateness and of the reaction, in seconds, and of the CPU time of a tick, in milliseconds."""

FLAGGER = {"interval": 50.0, "cpu": 4.1, "deployed": 43.0, "changed": 43.0, "memory": 100.0}
"""Flagger's figures with 500 Canaries at its defaults; that of CPU is with raised limits."""

FINAL = "Promotion completed!"


def cluster() -> Iterator[Figure]:
    """Measure 520 Canaries from rest to their promotions."""
    command = shlex.split(os.environ.get("FLAGGER", ""))
    flagger = FLAGGER
    if command:
        with _stage(command) as (stage, run):
            flagger = stage.figures(run.process.pid)
    with _stage(OURS) as (stage, run):
        measured = stage.figures(run.process.pid)
        late = [line.late for line in run.decisions() if stage.within(line.at) and line.phase == PROGRESSING]
        yield Figure(name="p50 lateness", value=percentile(late, 50), unit="s")
        yield Figure(name="p99 lateness", value=percentile(late, 99), unit="s", most=LATE,
                     flagger=flagger["interval"] - INTERVAL)  # fmt: skip
        yield Figure(name="worst lateness", value=max(late, default=0.0), unit="s")
        for key, name, unit, most in _FIGURES:
            yield Figure(name=name, value=measured[key], unit=unit, most=most, flagger=flagger.get(key))
        until(lambda: stage.watch.are(stage.names, "Succeeded"), 300, "all canaries are promoted")
        time.sleep(5)
        yield Figure(name="final events that are missing", value=_missing(stage.api, stage.names), most=0)
        yield Figure(name="memory, at most", value=megabytes(run.process.pid, "VmHWM"), unit="MB",
                     flagger=flagger["memory"])  # fmt: skip


_FIGURES = (
    ("interval", "p99 of the interval", "s", None),
    ("ticks", "ticks per second", "", None),
    ("cpu", "CPU per tick", "ms", CPU),
    ("load", "CPU", "% of a core", None),
    ("deployed", "a changed spec of 500 in 10 s: worst", "s", REACTION),
    ("changed", "a changed spec while 500 advance: worst", "s", REACTION),
)
"""The figures of both controllers: key, text, unit and upper bound."""


@define(eq=False)
class _Stage:
    """A control plane with Canaries at rest. The measurement is from `begin` to `end`, in seconds since the epoch."""

    api: Api
    watch: _Watch
    names: list[str] = field(factory=lambda: [f"app-{number}" for number in range(COUNT + EXTRA)])
    begin: float = 0.0
    end: float = 0.0

    def figures(self, pid: int) -> dict[str, float]:
        """Deploy a new revision of each Canary, spread over an interval, and measure while they advance."""
        watch, advancing, resting = self.watch, self.names[:COUNT], self.names[COUNT:]
        deployed = _one_by_one(self.api, advancing, INTERVAL / COUNT)
        until(lambda: all(watch.began.get(name) for name in advancing), 300, "all canaries advance")
        self.begin, spent = time.time(), cpu_seconds(pid)
        time.sleep(WINDOW / 3)
        changed = _one_by_one(self.api, resting, WINDOW / 3 / EXTRA)
        time.sleep(WINDOW / 3)
        self.end, used = time.time(), cpu_seconds(pid) - spent
        until(lambda: all(name in watch.began for name in self.names), 300, "all changes are acted on")
        moves = [(name, at) for name, at in watch.moves if self.within(at)]
        seconds = self.end - self.begin
        return {
            "interval": percentile(_gaps(moves), 99),
            "ticks": len(moves) / seconds,
            "cpu": 1000 * used / max(1, len(moves)),
            "load": 100 * used / seconds,
            "deployed": max(watch.began[name] - at for name, at in deployed.items()),
            "changed": max(watch.began[name] - at for name, at in changed.items()),
            "memory": megabytes(pid, "VmHWM"),
        }

    def within(self, moment: float) -> bool:
        """Check whether the moment is part of the measurement."""
        return self.begin <= moment < self.end


@contextmanager
def _stage(command: Sequence[str]) -> Iterator[tuple[_Stage, Controller]]:
    """Yield 520 Canaries at rest in a control plane of their own, and the controller that initialised them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        prometheus() as metrics,
        plane(("flagger", "istio"), pods=False) as server,
    ):
        server.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        stage = _Stage(server.api, _Watch(server))
        with (
            in_background(stage.watch.serving),
            controller(server.kubeconfig(), metrics, Path(folder), *_FLAGS, command=command) as run,
        ):
            _at_once(lambda name: _make(server.api, name), stage.names)
            until(lambda: stage.watch.are(stage.names, "Initialized"), 600, "all canaries are at rest")
            yield stage, run


def _gaps(moves: list[tuple[str, float]]) -> list[float]:
    """Return the seconds between each two moves of the same Canary."""
    times: dict[str, list[float]] = {}
    for name, at in moves:
        times.setdefault(name, []).append(at)
    return [after - before for moments in times.values() for before, after in pairwise(moments)]


# --------------------------------------------------------------------------------------------------------- requests


def _make(api: Api, name: str) -> None:
    api.create(target(SPACE, name))
    api.create(canary(SPACE, name, step=5, most=50))


def _at_once(work: Any, names: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))


def _one_by_one(api: Api, names: list[str], pause: float) -> dict[str, float]:
    """Deploy a new revision of each; return the time of each response, in seconds since the epoch."""
    times = {}
    for name in names:
        containers = [target(SPACE, name)["spec"]["template"]["spec"]["containers"][0] | {"image": NEW}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        began = time.monotonic()
        api.patch(f"/apis/apps/v1/namespaces/{SPACE}/deployments/{name}", patch)
        times[name] = time.time()
        time.sleep(max(0.0, pause - (time.monotonic() - began)))
    return times


def _missing(api: Api, names: list[str]) -> int:
    events = api.list(f"/api/v1/namespaces/{SPACE}/events")
    promoted = {event["involvedObject"]["name"] for event in events if event["message"].startswith(FINAL)}
    return len(set(names) - promoted)


# ------------------------------------------------------------------------------------------------------------ watch


@define(eq=False)
class _Watch:
    """A watch of the Canaries, which also makes Deployments ready."""

    plane: Plane
    phases: dict[str, str] = field(factory=dict)
    began: dict[str, float] = field(factory=dict)
    """The time at which each Canary began to progress, in seconds since the epoch."""
    moves: list[tuple[str, float]] = field(factory=list)
    """Each change of a weight: the Canary's name, and the time in seconds since the epoch."""
    weights: dict[str, int] = field(factory=dict)

    def are(self, names: list[str], phase: str) -> bool:
        """Check whether all of these Canaries are in the phase."""
        return all(self.phases.get(name) == phase for name in names)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Watch in the event loop of the caller while the context is open."""
        async with (
            connect(str(self.plane.kubeconfig(name="stand-in"))) as client,
            Cluster(client, namespace=SPACE) as cluster,
            asyncio.TaskGroup() as group,
        ):
            canaries = cluster.cache(View(kind=CANARY, project=lambda body, _: self._saw(body)))
            deployments = cluster.cache(View(kind=DEPLOYMENT, project=_stale))

            def changed(namespace: str, name: str) -> None:
                body = deployments.get(namespace, name)
                if body is not None:
                    group.create_task(_make_ready(client, body))

            deployments.subscribe(changed)
            await canaries.ready()
            await deployments.ready()
            yield

    def _saw(self, body: Json) -> str:
        name, phase = body["metadata"]["name"], str(body.get("status", {}).get("phase", ""))
        self.phases[name] = phase
        if phase == PROGRESSING:
            self.began.setdefault(name, time.time())
            weight = body["status"].get("canaryWeight", 0)
            if weight != self.weights.get(name):
                self.weights[name] = weight
                self.moves.append((name, time.time()))
        return phase


def _stale(body: Json, _: Json | None) -> Json | None:
    """Return the Deployment if its status is older than its spec, else None."""
    is_current = body["metadata"]["generation"] == body.get("status", {}).get("observedGeneration")
    return None if is_current else body


async def _make_ready(client: Client, body: Json) -> None:
    metadata = body["metadata"]
    status = {"status": deployment_status(body)}
    await client.merge(DEPLOYMENT, metadata["namespace"], metadata["name"], status, subresource="status")
