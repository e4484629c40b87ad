"""Namespaces of Linux that hold a whole bench, and end with it.

    with rehearse(plan) as lines:
        for line in lines:
            …                       the story, a mapping a line

The bench runs in a process of its own, the first of a PID namespace, with a network and a mount namespace. The kernel
ends all processes of a PID namespace with its first one, and a network with its last process. The files of the bench
are in a file system in memory, which only the mount namespace has. So nothing stays behind, however this process ends:
at the end of the block it closes the input of the first process, which ends at that; if it is killed, the kernel does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from canarycore.errors import CanaryError
from canarycore_planes.control_plane.api import Json
from canarycore_planes.go_programs import find_in_cache
from canarycore_planes.processes import die_with_the_owner
from canarycore_planes.rehearsal.plan import RehearsalPlan
from canarycore_planes.rehearsal.requirements import isolation

_GRACE = 10.0
"""Seconds within which the kernel ends all processes."""
_LONGEST_ERROR = 4_000


class BenchError(CanaryError):
    """The process of a bench ended before its story."""


@contextmanager
def rehearse(plan: RehearsalPlan) -> Iterator[Iterator[Json]]:
    """Rehearse a plan while the context is open. Yields the lines of the story. All processes have ended after it."""
    mount = find_in_cache("bench")
    mount.mkdir(parents=True, exist_ok=True)
    command = (*isolation(), sys.executable, "-m", "canarycore_planes.rehearsal.stage", str(mount))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,  # Ctrl-C reaches this process only
        preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
    )  # fmt: skip
    try:
        yield _read(process, plan)
    finally:
        _end(process)


def _read(process: subprocess.Popen[str], plan: RehearsalPlan) -> Iterator[Json]:
    """Yield the lines of the process. Raises BenchError if it ends before its last line."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    line: Json = {}
    with suppress(BrokenPipeError):  # it ended already: its error follows
        process.stdin.write(plan.dump() + "\n")
        process.stdin.flush()
    for text in process.stdout:
        line = json.loads(text)
        if line.get("kind") == "error":
            raise BenchError(line["text"])
        yield line
    if "outcome" not in line:
        raise BenchError(f"the bench ended early: {process.stderr.read()[-_LONGEST_ERROR:].strip() or 'no reason'}")


def _end(process: subprocess.Popen[str]) -> None:
    """End the process, and with it all others of its namespaces."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
