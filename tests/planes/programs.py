"""The programs of the planes: built once from Go modules into the user's cache, or found on the machine.

    program("contour")          the path of the program; the first call builds it, which takes minutes
    module("contour")           the folder of its module's files, such as definitions

A build needs Go and a module proxy, and no source stays in this repository.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
from attrs import frozen

from tests.controlplane.real.binaries import Missing, _on_path


@frozen(kw_only=True)
class GoProgram:
    """A program of a Go module."""

    module: str
    version: str
    package: str
    """The package of the program, relative to the module."""
    minutes: int
    """How long a build takes on two cores."""

    @property
    def source(self) -> str:
        """The module at its version."""
        return f"{self.module}@{self.version}"


PROGRAMS = {
    "contour": GoProgram(
        module="github.com/projectcontour/contour", version="v1.33.8", package="cmd/contour", minutes=8
    ),
    "skipper": GoProgram(module="github.com/zalando/skipper", version="v0.21.0", package="cmd/skipper", minutes=2),
}


def program(name: str) -> Path:
    """Return the path of a program in the cache; build it if it is not there. Raises Missing."""
    wanted = PROGRAMS[name]
    path = platformdirs.user_cache_path("canarycore") / "planes" / f"{name}-{wanted.version}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _build(wanted, path)
    return path


def module(name: str) -> Path:
    """Return the folder with the files of a program's module. Raises Missing."""
    with tempfile.TemporaryDirectory() as work:
        return Path(json.loads(_go(Path(work), "mod", "download", "-json", PROGRAMS[name].source))["Dir"])


def envoy() -> Path:
    """Return Envoy, which the tests' dependencies install."""
    return Path(sys.executable).with_name("envoy")


def _build(wanted: GoProgram, path: Path) -> None:
    """Build in a module that requires the program's: `go install` would ask the proxy for more than it has."""
    sys.stderr.write(f"building {wanted.source} once, about {wanted.minutes} minutes\n")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as name:
        work = Path(name)
        (work / "go.mod").write_text(f"module planes\n\ngo 1.21\n\nrequire {wanted.module} {wanted.version}\n")
        flags = ("-mod=mod", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
        _go(work, "build", *flags, "-o", str(work / "program"), f"{wanted.module}/{wanted.package}")
        (work / "program").rename(path)


def _go(work: Path, *arguments: str) -> str:
    go = _on_path("go", "install Go to build the programs of the planes once")
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run([go, *arguments], cwd=work, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join(done.stderr.splitlines()[-20:])
        raise Missing(f"`go {' '.join(arguments[:2])} …` ended with {done.returncode}:\n{end}")
    return done.stdout
