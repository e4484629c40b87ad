"""Programs of Go modules, built once into the user's cache folder.

    build("flagd", Path("tests/e2e/flagd"))       the path of the program; the first call builds it

The folder has the `main.go` of the program and its `go.mod`, which pins each module. A change of either builds anew.
`cached` and `run_go` serve programs that need more than that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from canarycore.errors import CanaryError

FLAGS = ("-mod=mod", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w")


class MissingProgram(CanaryError):
    """This machine lacks a program, or a part of its build. The text names the part and the remedy."""


def on_path(name: str, remedy: str) -> Path:
    """Return a program of the PATH. Raises MissingProgram."""
    found = shutil.which(name)
    if found is None:
        raise MissingProgram(f"{name}: found none on the PATH; {remedy}")
    return Path(found)


def find_in_cache(name: str) -> Path:
    """Return the path of a part in the cache, which may be missing there."""
    return platformdirs.user_cache_path("canarycore") / name


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return a path in the cache. The first process makes it: `make` writes beside it, and renames what is complete."""
    path = find_in_cache(name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(path)
    return path


def run_go(work: Path, *arguments: str, **environment: str) -> str:
    """Run a command of Go in a folder; return what it prints. Raises MissingProgram without Go, or if it fails."""
    go = on_path("go", "install Go, which builds this part once")
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"} | environment
    process = subprocess.run([go, *arguments], cwd=work, env=env, capture_output=True, text=True, check=False)
    if process.returncode:
        end = "\n".join(process.stderr.splitlines()[-20:])
        raise MissingProgram(f"`go {' '.join(arguments[:2])} …` ended with {process.returncode}:\n{end}")
    return process.stdout


def build(name: str, source: Path) -> Path:
    """Return the path of a program in the cache; build it if it is not there. Raises MissingProgram."""
    content = b"".join(file.read_bytes() for file in sorted(source.glob("*")) if file.is_file())
    digest = hashlib.sha256(content).hexdigest()[:12]
    return cached(f"programs/{name}-{digest}", lambda path: _build(source, path))


def _build(source: Path, path: Path) -> None:
    """Build in a copy, as the build completes go.mod and writes go.sum; the program appears when it is complete."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        work = Path(shutil.copytree(source, Path(folder, "module")))
        binary = Path(folder, "program")
        run_go(work, "build", *FLAGS, "-o", str(binary), ".")
        binary.rename(path)
