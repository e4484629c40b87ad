"""The processes of a control plane end with their owner."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from canarycore_planes.control_plane.api import Access, Api, eventually
from canarycore_planes.control_plane.plane import Plane

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(plane: Plane) -> Iterator[subprocess.Popen[str]]:
    """`python -m tests.controlplane`; the fixture `plane` has seen to it that the servers are there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.controlplane"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:  # it closes the pipe
        yield process
        process.kill()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_the_servers_end_with_their_owner_however_it_ends(command: subprocess.Popen[str], end: signal.Signals):
    assert command.stdout is not None
    kubeconfig = Path(command.stdout.readline().strip().removeprefix("export KUBECONFIG="))
    assert Api(access(kubeconfig)).get("/version")
    assert len(working_in(kubeconfig.parent)) == 3
    command.send_signal(end)
    command.wait(timeout=30)
    eventually(lambda: not working_in(kubeconfig.parent))


def access(kubeconfig: Path) -> Access:
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    return Access(cluster["server"], config["users"][0]["user"]["token"], cluster["certificate-authority"])


def working_in(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if str(folder) in line:
            found.append(line)
    return found
