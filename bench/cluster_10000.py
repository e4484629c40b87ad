"""10,000 Canaries, one controller, an API server in memory (bench/fakeapi.py): each in a process of its own.

The bench begins one rollout and copies its objects, so the controller finds 10,000 Canaries at its start, as after a
crash. There are several mixes, because no real cluster has 10,000 rollouts that all advance every ten seconds: most
Canaries of a fleet are at rest.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from bench.cluster_parts import (
    NAME,
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
from bench.fakeapi import RESOURCES, Fleet, api_server
from tests.controlplane import crds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.cluster_parts import Controller
    from bench.fakeapi import Server
    from canarycore_planes.control_plane.api import Json

COUNT = 10_000
SEED = "seed"
LATE, MEMORY, START, CPU = 1.0, 500.0, 30.0, 4.1
"""Upper bounds: lateness in seconds, memory in MB, start in seconds, and CPU of a tick in milliseconds (Flagger's)."""

WINDOW = 40.0
"""Seconds of the measurement, at least one interval."""

_GROUPS = {"Canary": "flagger.app/v1beta1", "Deployment": "apps/v1", "Service": "v1"}
_ISTIO = "networking.istio.io/v1beta1"


@frozen(kw_only=True)
class Mix:
    """A fleet of which `progressing` Canaries advance every `interval` seconds; the others are at rest."""

    progressing: int
    interval: int

    @property
    def name(self) -> str:
        return f"{self.progressing} progressing each {self.interval} s"


MIXES = (
    Mix(progressing=1_000, interval=10),
    Mix(progressing=COUNT, interval=60),
    Mix(progressing=COUNT, interval=30),
    Mix(progressing=COUNT, interval=10),
)


def cluster_10000(mixes: tuple[Mix, ...] = MIXES) -> Iterator[Figure]:
    """Measure one mix after the other."""
    with tempfile.TemporaryDirectory() as name, prometheus() as metrics:
        resting, advancing = _seeds(metrics, Path(name))
        for mix in mixes:
            fleets = (
                Fleet(
                    bodies=_with_interval(resting, mix.interval), copies=COUNT - mix.progressing, namespace="resting"
                ),
                Fleet(bodies=_with_interval(advancing, mix.interval), copies=mix.progressing, namespace="advancing"),
            )
            with api_server(*fleets) as server, controller(server.kubeconfig, metrics, Path(name)) as run:
                yield from _measure(mix, server, run)


def _measure(mix: Mix, server: Server, run: Controller) -> Iterator[Figure]:
    until(run.decisions, 300, "a first decision")
    started, first = cpu_seconds(run.process.pid), run.decisions()[0].at - run.started
    until(lambda: len({line.canary for line in run.decisions()}) >= mix.progressing * 0.99, 300, "a decision for each")
    begin, spent, served = time.time(), cpu_seconds(run.process.pid), cpu_seconds(server.pid)
    time.sleep(max(WINDOW, mix.interval + 10))
    end = time.time()
    used, fakes = cpu_seconds(run.process.pid) - spent, cpu_seconds(server.pid) - served
    lines = [line for line in run.decisions() if begin <= line.at < end and line.phase == PROGRESSING]
    late = [line.late for line in lines]
    seconds = [0] * mix.interval
    for line in lines:
        seconds[int(line.at - begin) % mix.interval] += 1
    yield Figure(name=f"{mix.name}: start to first decision", value=first, unit="s", most=START)
    yield Figure(name=f"{mix.name}: CPU until then", value=started, unit="s")
    yield Figure(name=f"{mix.name}: p50 lateness", value=percentile(late, 50), unit="s")
    yield Figure(name=f"{mix.name}: p99 lateness", value=percentile(late, 99), unit="s", most=LATE)
    yield Figure(name=f"{mix.name}: worst lateness", value=max(late, default=0.0), unit="s")
    yield Figure(name=f"{mix.name}: ticks per second", value=len(lines) / (end - begin))
    yield Figure(name=f"{mix.name}: ticks wanted per second", value=mix.progressing / mix.interval)
    yield Figure(name=f"{mix.name}: busiest second of an interval, to the mean", value=_peak(seconds), unit="x")
    cost = 1000 * used / max(1, len(lines))
    yield Figure(name=f"{mix.name}: CPU per tick", value=cost, unit="ms", most=CPU, flagger=CPU)
    yield Figure(name=f"{mix.name}: CPU", value=100 * used / (end - begin), unit="% of a core")
    yield Figure(name=f"{mix.name}: CPU of the server in memory", value=100 * fakes / (end - begin), unit="% of a core")
    memory = megabytes(run.process.pid, "VmHWM")
    yield Figure(name=f"{mix.name}: memory, at most", value=memory, unit="MB", most=MEMORY)
    yield Figure(name=f"{mix.name}: warnings", value=run.complaints())


def _peak(counts: list[int]) -> float:
    return max(counts) * len(counts) / max(1, sum(counts))


# ------------------------------------------------------------------------------------------------------------- seeds


def _seeds(metrics: str, folder: Path) -> tuple[list[Json], list[Json]]:
    """Return the objects of one Canary at rest, and those of one that advances."""
    with api_server() as server, controller(server.kubeconfig, metrics, folder) as run:
        crds.install(server.api, "flagger", "istio")
        server.api.create(target(SEED))
        server.api.create(canary(SEED, step=1, most=100))
        until(lambda: _phase(server) == "Initialized" and _scaled_down(server), 60, "a canary at rest")
        resting = _owned(server)
        image = {"spec": {"template": {"spec": {"containers": [_container(resting) | {"image": NEW}]}}}}
        server.api.patch(f"/apis/apps/v1/namespaces/{SEED}/deployments/{NAME}", image)
        until(lambda: any(line.weight for line in run.decisions()), 60, "a first weight")
        time.sleep(1)
        return resting, _owned(server)


def _phase(server: Server) -> str:
    (body,) = server.api.list(f"/apis/flagger.app/v1beta1/namespaces/{SEED}/canaries")
    return str(body.get("status", {}).get("phase", ""))


def _scaled_down(server: Server) -> bool:
    deployment = server.api.get(f"/apis/apps/v1/namespaces/{SEED}/deployments/{NAME}")
    return deployment is not None and deployment["spec"]["replicas"] == 0


def _container(bodies: list[Json]) -> Json:
    (deployment,) = (body for body in bodies if body["kind"] == "Deployment" and body["metadata"]["name"] == NAME)
    container: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def _owned(server: Server) -> list[Json]:
    bodies = []
    for kind, (_, plural) in RESOURCES.items():
        version = _GROUPS.get(kind, _ISTIO)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        items = server.api.list(f"{root}/namespaces/{SEED}/{plural}")
        bodies += [item | {"apiVersion": version, "kind": kind} for item in items]
    return bodies


def _with_interval(bodies: list[Json], interval: int) -> list[Json]:
    """Return the bodies with another interval of the Canary."""
    return [_set_interval(body, interval) if body["kind"] == "Canary" else body for body in bodies]


def _set_interval(body: Json, interval: int) -> Json:
    spec = body["spec"]
    return body | {"spec": spec | {"analysis": spec["analysis"] | {"interval": f"{interval}s"}}}
