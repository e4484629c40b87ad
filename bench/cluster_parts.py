"""Parts of the benches with many Canaries: a Canary, the controller in a process of its own, a Prometheus.

The controller is the users' command with its default flags. Its figures come from its log, which has a line for each
decision with the lateness of its cycle, and from the kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import asdict, field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from canarycore_planes.control_plane.api import Json

NAME = "podinfo"
OLD, NEW = f"{NAME}:6.0.0", f"{NAME}:6.0.1"
LABELS = {"app": NAME}
PROGRESSING = "Progressing"


@frozen(kw_only=True)
class Figure:
    """One figure."""

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    """The upper bound; None if there is none."""
    flagger: float | None = None
    """The figure of Flagger at its defaults; None if there is none."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figure for JSON, without fields that are None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


# ----------------------------------------------------------------------------------------------------------- objects


def target(namespace: str, name: str = NAME) -> Json:
    """Return a Deployment."""
    labels = {"app": name}
    container = {"name": "podinfod", "image": OLD, "ports": [{"name": "http", "containerPort": 9898}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def canary(namespace: str, name: str = NAME, *, step: int, most: int) -> Json:
    """Return its Canary: every 10 s it checks one metric, and the weight rises by `step` up to `most`."""
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 9898},
            "analysis": {
                "interval": "10s",
                "threshold": 5,
                "stepWeight": step,
                "maxWeight": most,
                "metrics": [{"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}],
            },
        },
    }


# ---------------------------------------------------------------------------------------------------- the controller


@frozen(kw_only=True)
class Line:
    """A line of the log about a decision."""

    canary: str
    at: float
    """Seconds since the epoch."""
    phase: str
    weight: int
    late: float
    """Seconds by which the cycle was late."""


@frozen(kw_only=True)
class Controller:
    """A running controller."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(factory=time.time)
    """Seconds since the epoch."""

    def decisions(self) -> list[Line]:
        """Return the lines of decisions so far."""
        lines = (json.loads(text) for text in self.log.read_text().splitlines() if text.endswith("}"))
        return [
            Line(
                canary=line["canary"],
                at=datetime.fromisoformat(line["ts"]).timestamp(),
                phase=line["phase"],
                weight=line["weight"],
                late=line["late"],
            )
            for line in lines
            if line.get("event") == "decision"
        ]

    def complaints(self) -> int:
        """Return the number of lines above level info."""
        lines = (json.loads(text) for text in self.log.read_text().splitlines() if text.endswith("}"))
        return sum(line.get("level") not in {"info", "debug"} for line in lines)


OURS = (sys.executable, "-m", "canarycore_cli", "controller", "-listen=127.0.0.1")


@contextmanager
def controller(
    kubeconfig: Path, prometheus: str, folder: Path, *flags: str, command: Sequence[str] = OURS
) -> Iterator[Controller]:
    """Run `canary controller`, or another command that takes Flagger's flags, while the context is open."""
    log = folder / f"controller-{time.monotonic_ns()}.log"
    arguments = (f"-kubeconfig={kubeconfig}", f"-metrics-server={prometheus}", "-port=0", *flags)
    with log.open("wb") as out, subprocess.Popen([*command, *arguments], stdout=out, stderr=out) as run:
        try:
            yield Controller(process=run, log=log)
        finally:
            run.terminate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, summed over all cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, field: str = "VmRSS") -> float:
    """Return the memory of a process in MB: `VmRSS` is the current value, `VmHWM` the peak."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def until(look: Callable[[], object], seconds: float, goal: str) -> None:
    """Return when `look` returns a true value. Raise TimeoutError, which names `goal`, after that many seconds."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {goal}")
        time.sleep(0.25)


# ------------------------------------------------------------------------------------------------- a metrics server


@contextmanager
def prometheus() -> Iterator[str]:
    """Run a metrics server that always answers 100, in a process of its own; yield its address."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


async def _answer(_: web.BaseRequest) -> web.StreamResponse:
    result = [{"metric": {}, "value": [time.time(), "100"]}]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@asynccontextmanager
async def _serve_metrics() -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(_answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def _serve() -> None:
    async with _serve_metrics() as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
