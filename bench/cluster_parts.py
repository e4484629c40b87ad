"""What the benches of many Canaries are made of: a Canary, the controller in a process of its own, a Prometheus.

The controller is the command that users run, with the defaults that it has; what is told of it is read from its own
log and from the kernel: a line of the log for each decision, with how late the look was that led to it.
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

    from tests.controlplane.api import Json

NAME = "podinfo"
OLD, NEW = f"{NAME}:6.0.0", f"{NAME}:6.0.1"
LABELS = {"app": NAME}
PROGRESSING = "Progressing"


@frozen(kw_only=True)
class Figure:
    """One figure. most: what it must not exceed. flagger: the same of Flagger at its defaults, where it is known."""

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    flagger: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: without what does not apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


# ------------------------------------------------------------------------------------------------------- what is run


def target(namespace: str, name: str = NAME) -> Json:
    """A Deployment."""
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
    """Its Canary: every 10 s one metric is asked, and the weight rises by `step` up to `most`."""
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
    """A line of the log about a decision. at, late: seconds."""

    canary: str
    at: float
    phase: str
    weight: int
    late: float


@frozen(kw_only=True)
class Controller:
    """A running controller. started: seconds since the epoch."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(factory=time.time)

    def decisions(self) -> list[Line]:
        """All that changed something, so far."""
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
        """Lines above info."""
        lines = (json.loads(text) for text in self.log.read_text().splitlines() if text.endswith("}"))
        return sum(line.get("level") not in {"info", "debug"} for line in lines)


OURS = (sys.executable, "-m", "canarycore_cli", "controller", "-listen=127.0.0.1")


@contextmanager
def controller(
    kubeconfig: Path, prometheus: str, folder: Path, *flags: str, command: Sequence[str] = OURS
) -> Iterator[Controller]:
    """`canary controller`, or another command that takes Flagger's flags, while the context is open."""
    log = folder / f"controller-{time.monotonic_ns()}.log"
    given = (f"-kubeconfig={kubeconfig}", f"-metrics-server={prometheus}", "-port=0", *flags)
    with log.open("wb") as out, subprocess.Popen([*command, *given], stdout=out, stderr=out) as run:
        try:
            yield Controller(process=run, log=log)
        finally:
            run.terminate()


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, of all cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, what: str = "VmRSS") -> float:
    """What a process holds in memory; VmHWM: what it held at most."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def until(look: Callable[[], object], seconds: float, what: str) -> None:
    """Return when `look` finds something. Raises TimeoutError, which says what was awaited."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.25)


# ------------------------------------------------------------------------------------------------- a metrics server


@contextmanager
def prometheus() -> Iterator[str]:
    """A metrics server that is always content, in a process of its own; gives its address."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


async def _answer(_: web.BaseRequest) -> web.StreamResponse:
    result = [{"metric": {}, "value": [time.time(), "100"]}]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@asynccontextmanager
async def _serving() -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(_answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def _serve() -> None:
    async with _serving() as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
