"""The program helm, from the PATH or built once from its Go module; it then stays in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs
import pytest

VERSION = "3.16.4"
MODULE = f"helm.sh/helm/v3/cmd/helm@v{VERSION}"


def helm() -> Path:
    """Return the program. Without it and without Go, skip the test; in CI, fail."""
    found = shutil.which("helm")
    if found is not None:
        return Path(found)
    go = shutil.which("go")
    if go is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("found neither helm nor go on the PATH: the charts are not rendered")
    return _built(go)


def _built(go: str) -> Path:
    """Return the program in the cache; the first process builds it, which takes minutes."""
    program = platformdirs.user_cache_path("canarycore") / f"helm-{VERSION}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with program.with_name(f"{program.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _build(go, program)
    return program


def _build(go: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="build-") as folder:
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOBIN": folder}
        done = subprocess.run([go, "install", MODULE], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = "\n".join(done.stderr.splitlines()[-20:])
            pytest.fail(f"helm {VERSION} could not be built: `go install` ended with {done.returncode}:\n{reason}")
        Path(folder, "helm").rename(program)
