"""500 Canaries that advance each 10 s, on a real API server.

The control plane is that of the tests (tests/controlplane): etcd and kube-apiserver. Simplified: there are no pods. In
place of the controller manager and a kubelet, a stand-in writes the status of each Deployment as soon as its spec has
changed, all replicas ready; the metrics server answers each query alike. The controller is `canary controller` with
the flags' defaults, in a process of its own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from bench.cluster_parts import (
    NEW,
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
from canarycore_kubernetes.cache import View
from canarycore_kubernetes.client import connect
from canarycore_kubernetes.cluster import Cluster
from canarycore_kubernetes.kinds import CANARY, DEPLOYMENT
from tests.controlplane.background import in_background
from tests.controlplane.fake import deployment_status
from tests.controlplane.plane import plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bench.cluster_parts import Controller
    from canarycore_kubernetes.client import Client
    from tests.controlplane.api import Api, Json
    from tests.controlplane.plane import Plane

COUNT = 500
EXTRA = 20
"""Canaries at rest, whose spec is changed while the others advance."""

SPACE = "bench"
INTERVAL = 10.0
WINDOW = 60.0
"""Seconds over which is measured."""

LATE, REACTION, CPU = 1.0, 1.0, 4.1
"""What must hold: seconds, seconds; and Flagger's CPU milliseconds per progressing tick."""

FLAGGERS_INTERVAL, FLAGGERS_REACTION, FLAGGERS_MEMORY = 50.0, 43.0, 100.0
"""Flagger's at 500 canaries: the seconds that an interval of 10 s took, the seconds to a reaction, MB."""

FINAL = "Promotion completed!"


def cluster() -> Iterator[Figure]:
    """From 520 Canaries at rest to 520 promotions."""
    names = [f"app-{number}" for number in range(COUNT + EXTRA)]
    advancing, resting = names[:COUNT], names[COUNT:]
    with (
        tempfile.TemporaryDirectory() as folder,
        prometheus() as metrics,
        plane(("flagger", "istio"), pods=False) as server,
    ):
        server.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        cluster = _Watched(server)
        with (
            in_background(cluster.serving),
            controller(server.kubeconfig(), metrics, Path(folder), f"-namespace={SPACE}") as run,
        ):
            _at_once(lambda name: _make(server.api, name), names)
            until(lambda: cluster.are(names, "Initialized"), 300, "all canaries are at rest")
            yield from _measured(server.api, run, cluster, advancing, resting)
            until(lambda: cluster.are(names, "Succeeded"), 300, "all canaries are promoted")
            time.sleep(5)
            yield Figure(name="final events that are missing", value=_missing(server.api, names), most=0)
            yield Figure(name="memory, at most", value=megabytes(run.process.pid, "VmHWM"), unit="MB",
                         flagger=FLAGGERS_MEMORY)  # fmt: skip


def _measured(
    api: Api, run: Controller, cluster: _Watched, advancing: list[str], resting: list[str]
) -> Iterator[Figure]:
    """New revisions for all within an interval, as nobody deploys 500 at the same moment; then they advance."""
    deployed = _one_by_one(api, advancing, INTERVAL / COUNT)
    until(lambda: all(cluster.began.get(name) for name in advancing), 120, "all canaries advance")
    begin, spent = time.time(), cpu_seconds(run.process.pid)
    time.sleep(WINDOW / 3)
    late_ones = _one_by_one(api, resting, WINDOW / 3 / EXTRA)
    time.sleep(WINDOW / 3)
    end, used = time.time(), cpu_seconds(run.process.pid) - spent
    lines = [line for line in run.decisions() if begin <= line.at < end and line.phase == PROGRESSING]
    late = [line.late for line in lines]
    yield Figure(name="p50 lateness", value=percentile(late, 50), unit="s")
    yield Figure(name="p99 lateness", value=percentile(late, 99), unit="s", most=LATE,
                 flagger=FLAGGERS_INTERVAL - INTERVAL)  # fmt: skip
    yield Figure(name="worst lateness", value=max(late, default=0.0), unit="s")
    yield Figure(name="p99 of the interval", value=percentile(_gaps(lines), 99), unit="s", flagger=FLAGGERS_INTERVAL)
    yield Figure(name="ticks per second", value=len(lines) / (end - begin))
    cost = 1000 * used / max(1, len(lines))
    yield Figure(name="CPU per tick", value=cost, unit="ms", most=CPU, flagger=CPU)
    yield Figure(name="CPU", value=100 * used / (end - begin), unit="% of a core")
    for name, times in (("of 500 in 10 s", deployed), ("while 500 advance", late_ones)):
        until(lambda times=times: all(name in cluster.began for name in times), 60, "all changes are acted on")  # type: ignore[misc]
        waits = [cluster.began[key] - at for key, at in times.items()]
        yield Figure(name=f"a changed spec {name}: p50", value=percentile(waits, 50), unit="s")
        yield Figure(name=f"a changed spec {name}: worst", value=max(waits), unit="s", most=REACTION,
                     flagger=FLAGGERS_REACTION)  # fmt: skip


def _gaps(lines: list[Any]) -> list[float]:
    """Seconds between two looks at the same canary."""
    times: dict[str, list[float]] = {}
    for line in lines:
        times.setdefault(line.canary, []).append(line.at)
    return [after - before for found in times.values() for before, after in pairwise(found)]


# ----------------------------------------------------------------------------------------------------- what is asked


def _make(api: Api, name: str) -> None:
    api.create(target(SPACE, name))
    api.create(canary(SPACE, name, step=5, most=50))


def _at_once(work: Any, names: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))


def _one_by_one(api: Api, names: list[str], pause: float) -> dict[str, float]:
    """Deploy a new revision of each; returns when the server had it (seconds since the epoch)."""
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
    told = {event["involvedObject"]["name"] for event in events if event["message"].startswith(FINAL)}
    return len(set(names) - told)


# ------------------------------------------------------------------------------------------------- what is seen of it


@define(eq=False)
class _Watched:
    """Who watches the Canaries, and makes Deployments ready. began: when each was first seen to progress (seconds)."""

    plane: Plane
    phases: dict[str, str] = field(factory=dict)
    began: dict[str, float] = field(factory=dict)

    def are(self, names: list[str], phase: str) -> bool:
        """Whether all are in that phase."""
        return all(self.phases.get(name) == phase for name in names)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """In the loop of the caller."""
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
        return phase


def _stale(body: Json, _: Json | None) -> Json | None:
    """The Deployment, if its status is not about what was asked for last."""
    is_current = body["metadata"]["generation"] == body.get("status", {}).get("observedGeneration")
    return None if is_current else body


async def _make_ready(client: Client, body: Json) -> None:
    metadata = body["metadata"]
    status = {"status": deployment_status(body)}
    await client.merge(DEPLOYMENT, metadata["namespace"], metadata["name"], status, subresource="status")
