"""Programs of Go modules for tests, built once into the user's cache folder.

    build("flagd", Path("tests/e2e/flagd"))       the path of the program; the first call builds it

The folder has the `main.go` of the program and its `go.mod`, which pins each module. A change of either builds anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs

from tests.controlplane.real.binaries import Missing, _on_path

FLAGS = ("-mod=mod", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w")


def build(name: str, source: Path) -> Path:
    """Return the path of a program in the cache; build it if it is not there. Raises Missing without Go or a module."""
    content = b"".join(file.read_bytes() for file in sorted(source.glob("*")) if file.is_file())
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = platformdirs.user_cache_path("canarycore") / "programs" / f"{name}-{digest}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _build(source, path)
    return path


def _build(source: Path, path: Path) -> None:
    """Build in a copy, as the build completes go.mod and writes go.sum; the program appears when it is complete."""
    go = _on_path("go", f"install Go to build {path.name} once")
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        work = shutil.copytree(source, Path(folder, "module"))
        binary = Path(folder, "program")
        command = [go, "build", *FLAGS, "-o", str(binary), "."]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            end = "\n".join(done.stderr.splitlines()[-20:])
            raise Missing(f"{path.name} could not be built: `go build` ended with {done.returncode}:\n{end}")
        binary.rename(path)
