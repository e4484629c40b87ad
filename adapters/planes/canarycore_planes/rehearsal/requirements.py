"""The parts of a bench that this machine lacks, each with its remedy, and the build of programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

from attrs import frozen

from canarycore.errors import CanaryError
from canarycore_planes.bench import DataPlane
from canarycore_planes.control_plane import binaries
from canarycore_planes.go_programs import MissingProgram, find_in_cache, on_path
from canarycore_planes.programs import PROGRAMS, place, program

UNSHARE = ("unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
"""The program that runs another in namespaces of its own, which end with it."""

_MINUTES = 6
"""Minutes that a build of the control plane takes on two cores."""

_TOOLS = {
    "ip": "install iproute2",
    "mount": "install util-linux",
    "openssl": "install openssl",
    "prometheus": "install Prometheus (Debian: apt-get install prometheus)",
}
_GO = "install Go 1.24 or later, which builds the programs once"


class MissingParts(CanaryError):
    """This machine lacks parts of a bench. The message names all, with remedies."""


@frozen
class _Part:
    """A part that Go builds or fetches."""

    title: str
    is_there: bool
    make: Callable[[], object]


def isolation() -> tuple[str, ...]:
    """Return the command before a program that runs it in namespaces: as root, or as root of a user namespace."""
    return UNSHARE if os.geteuid() == 0 else (UNSHARE[0], "--map-root-user", *UNSHARE[1:])


def demand_parts(name: str, data_plane: DataPlane) -> None:
    """Raise MissingParts if this machine lacks a part of a bench of this data plane."""
    missing = tuple(find_missing(name, data_plane))
    if missing:
        listed = "".join(f"\n  {line}" for line in missing)
        raise MissingParts(f"--plane {name}: this machine lacks {len(missing)} of its parts:{listed}")


def find_missing(name: str, data_plane: DataPlane) -> Iterator[str]:
    """Yield each part that this machine lacks, with its remedy. `name` is that of the data plane."""
    yield from _find_missing_namespaces()
    for tool, remedy in _TOOLS.items():
        if shutil.which(tool) is None:
            yield f"{tool}: found none on the PATH; {remedy}"
    try:
        binaries.find_etcd()
    except MissingProgram as problem:
        yield str(problem)
    unbuilt = [part for part in _parts(data_plane) if not part.is_there]
    for part in unbuilt:
        yield f"{part.title}: not built yet; build it once: canary rehearse --plane {name} --build"
    if unbuilt and shutil.which("go") is None:
        yield f"go: found none on the PATH; {_GO}"


def build(data_plane: DataPlane, report: Callable[[str], None]) -> None:
    """Build the programs of a data plane that the cache lacks, one after the other. Raises MissingProgram."""
    unbuilt = [part for part in _parts(data_plane) if not part.is_there]
    if unbuilt:
        on_path("go", _GO)
    for part in unbuilt:
        report(f"building {part.title}")
        part.make()


def _find_missing_namespaces() -> Iterator[str]:
    if sys.platform != "linux":
        yield f"Linux: found {sys.platform}; run it on Linux, where a namespace holds the bench"
        return
    if shutil.which(UNSHARE[0]) is None:
        yield f"{UNSHARE[0]}: found none on the PATH; install util-linux"
        return
    probe = subprocess.run(
        (*isolation(), "true"), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if probe.returncode:
        why = (probe.stderr.strip().splitlines() or ["no reason"])[-1]
        yield f"namespaces: {why}; run as root, or let the kernel give you user namespaces (user.max_user_namespaces)"


def _parts(data_plane: DataPlane) -> Iterator[_Part]:
    servers = f"the control plane (Kubernetes {binaries.VERSION}, about {_MINUTES} minutes)"
    yield _Part(servers, binaries.are_built(), binaries.binaries)
    for name in data_plane.programs:
        recipe = PROGRAMS[name]
        title = f"{name} ({recipe.version}, about {recipe.minutes} minutes)"
        yield _Part(title, find_in_cache(place(name)).exists(), lambda name=name: program(name))  # type: ignore[misc]
    for file in data_plane.files:
        yield _Part(f"{file.path} of {file.program}", find_in_cache(file.place).exists(), file.read)
