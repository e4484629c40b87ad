"""The program helm, from the PATH or built once from its Go module; it then stays in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from canarycore_planes.go_programs import cached, run_go

VERSION = "3.16.4"
MODULE = f"helm.sh/helm/v3/cmd/helm@v{VERSION}"


def helm() -> Path:
    """Return the program. Without it and without Go, skip the test; in CI, fail."""
    found = shutil.which("helm")
    if found is not None:
        return Path(found)
    if shutil.which("go") is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("found neither helm nor go on the PATH: the charts are not rendered")
    return cached(f"helm-{VERSION}", _build)


def _build(program: Path) -> None:
    """Build the program, which takes minutes. Raises Missing."""
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="build-") as folder:
        run_go(Path(folder), "install", MODULE, GOBIN=folder)
        Path(folder, "helm").rename(program)
