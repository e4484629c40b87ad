"""`canary rehearse --plane` as a user runs it: good and bad versions, and an end that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from attrs import frozen

from canarycore_planes.control_plane.api import eventually
from canarycore_planes.data_planes.catalog import DATA_PLANES
from canarycore_planes.rehearsal.requirements import MissingParts, build, demand_parts
from tests.planes.scenarios import demand_parts as skip_without_parts

Json = dict[str, Any]

pytestmark = [pytest.mark.planes, pytest.mark.timeout(1800)]

MANIFEST = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop, namespace: test}
spec:
  provider: %s
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  ingressRef: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: front}
  progressDeadlineSeconds: 60
  service: {port: 80, targetPort: 9898}
  analysis:
    interval: 10s
    threshold: 1
    maxWeight: 50
    stepWeight: 25
    metrics:
      - {name: request-success-rate, thresholdRange: {min: 99}, interval: 15s}
      - {name: up, templateRef: {name: up}, thresholdRange: {min: 1}, interval: 15s}
    webhooks:
      - {name: load-test, url: "http://flagger-loadtester.test/"}
      - {name: take-back, type: rollback, url: "http://flagger-loadtester.test/rollback/check"}
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: up, namespace: test}
spec:
  provider: {type: prometheus, address: "http://prometheus.monitoring:9090"}
  query: sum(up)
"""
ROUTES = {"contour": "HTTPProxy", "skipper": "Ingress"}
GOOD_COMMAND = f"{sys.executable} -m http.server --bind 127.0.0.1 $PORT"
PATIENCE = 120.0


@pytest.fixture(params=DATA_PLANES)
def plane(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    with skip_without_parts():
        build(DATA_PLANES[name], print)
        try:
            demand_parts(name, DATA_PLANES[name])
        except MissingParts as problem:
            (pytest.fail if "CI" in os.environ else pytest.skip)(str(problem))
    return name


@frozen
class Command:
    """A running command."""

    process: subprocess.Popen[str]
    temporary: Path
    """The folder of its temporary files."""

    def until(self, kind: str) -> Json:
        """Read lines up to the first of a kind, and return it."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line: Json = json.loads(text)
            if line.get("kind") == kind:
                return line
        raise AssertionError(f"found no {kind}: {self.process.communicate()[1]}")


@contextmanager
def running(plane: str, folder: Path, *options: str) -> Iterator[Command]:
    """Run the command on the manifest, with a folder of its own for temporary files."""
    manifest, temporary = folder / "canary.yaml", folder / "tmp"
    manifest.write_text(MANIFEST % plane)
    temporary.mkdir()
    arguments = ["rehearse", str(manifest), "--plane", plane, "--json", "--rps", "30", *options]
    command = [Path(sys.executable).with_name("canary"), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)}
    )
    try:
        yield Command(process, temporary)
    finally:
        process.kill()
        process.wait()


@frozen
class End:
    """The story of a rehearsal that ended."""

    code: int
    lines: list[Json]
    errors: str

    @property
    def result(self) -> Json:
        """The last line."""
        return self.lines[-1]

    def objects(self, weight: int, kind: str) -> list[Json]:
        """Return the routing objects of a kind at the first state with a weight."""
        line = next(line for line in self.lines if line.get("kind") == "objects" and line["weight"] == weight)
        return [body for body in line["objects"] if body["kind"] == kind]


def rehearse(plane: str, folder: Path, *options: str) -> End:
    """Run the command to its end."""
    with running(plane, folder, *options) as command:
        stdout, stderr = command.process.communicate()
        return End(command.process.returncode, [json.loads(text) for text in stdout.splitlines()], stderr)


def test_a_good_version_is_promoted_and_no_request_is_lost(plane: str, tmp_path: Path):
    end = rehearse(plane, tmp_path, "--new-cmd", GOOD_COMMAND)
    assert end.code == 0, end.errors
    assert end.result["outcome"] == "Succeeded"
    assert (end.result["lost"], end.result["bad_requests"]) == (0, 0)
    assert end.result["answered"] == end.result["requests"] > 100
    splits = {split["weight"]: split for split in end.result["splits"] if split["phase"] == "Progressing"}
    assert 5 < splits[25]["measured"] < 45
    assert 30 < splits[50]["measured"] < 70
    (route,) = end.objects(50, ROUTES[plane])
    assert "shop-canary" in json.dumps(route)
    texts = [line["text"] for line in end.lines if line.get("kind") == "event"]
    assert "Promotion completed! Scaling down shop.test" in texts


def test_a_bad_version_is_rolled_back_and_nobody_else_answers_badly(plane: str, tmp_path: Path):
    end = rehearse(plane, tmp_path, "--new", "errors=50%")
    assert end.code == 3, end.errors
    assert end.result["outcome"] == "Failed"
    assert end.result["lost"] == 0
    assert end.result["bad_requests"] > 0
    assert all(split["bad"] <= split["versions"].get("v2", 0) for split in end.result["splits"])
    last = end.result["splits"][-1]
    assert last["phase"] == "Failed"
    assert last["versions"]["v1"] > 2 * last["versions"].get("v2", 0), "the proxy has followed the last routes"


# ------------------------------------------------------------------------------------------------ nothing stays behind


def namespaces_of(process: int) -> dict[str, int]:
    """Return the PID, network and mount namespaces of a process; nothing of one that is gone."""
    try:
        return {kind: Path(f"/proc/{process}/ns/{kind}").stat().st_ino for kind in ("pid", "net", "mnt")}
    except OSError:
        return {}


def processes_in(namespaces: dict[str, int]) -> list[str]:
    """Return the processes in one of these namespaces."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [
        _command_line(number)
        for number in numbers
        if namespaces.items() & namespaces_of(number).items()
    ]  # fmt: skip


def _command_line(process: int) -> str:
    try:
        return f"{process} {Path(f'/proc/{process}/cmdline').read_bytes().decode(errors='replace')}"
    except OSError:
        return f"{process} (ended)"


def children_of(process: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def named_networks() -> str:
    return subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", ["remark", "start"])
def test_a_command_that_is_ended_leaves_nothing_behind(plane: str, tmp_path: Path, number: signal.Signals, moment: str):
    before = named_networks()
    with running(plane, tmp_path, "--new-cmd", GOOD_COMMAND) as command:
        command.until(moment)
        (unshare,) = eventually(lambda: children_of(command.process.pid))
        (first,) = eventually(lambda: children_of(unshare))
        inside = namespaces_of(first)
        assert not inside.items() & namespaces_of(os.getpid()).items()
        assert len(processes_in(inside)) > (8 if moment == "start" else 0)
        command.process.send_signal(number)
        command.process.wait(timeout=PATIENCE)
        if number is not signal.SIGKILL:  # the command waits for the end of all others
            assert processes_in(inside) == []
            assert command.process.returncode == 1
            assert "stopped: all processes have ended" in command.process.communicate()[1]
        eventually(lambda: not processes_in(inside), describe=lambda: processes_in(inside))
        assert named_networks() == before
        assert list(command.temporary.iterdir()) == []
    place = platformdirs.user_cache_path("canarycore") / "bench"
    assert list(place.iterdir()) == []
    assert str(place) not in Path("/proc/mounts").read_text()
