"""The programs etcd, kube-apiserver and kube-controller-manager, found or built.

etcd is searched in $KUBEBUILDER_ASSETS and on the PATH (Debian: `etcd-server`). The other two come from
$KUBEBUILDER_ASSETS, or from a build of the Kubernetes Go modules (see main.go; minutes on two cores), which stays in
the user's cache folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs
from attrs import frozen

VERSION = "1.34.4"
SERVERS = ("kube-apiserver", "kube-controller-manager")

_SOURCE = Path(__file__).with_name("main.go")
_STAGING = re.compile(r"^\s*(\S+) => \./staging/", re.MULTILINE)
_STAMP = "k8s.io/component-base/version"


class Missing(Exception):
    """This machine lacks a part of the control plane. The text names the part and the remedy."""


@frozen
class Binaries:
    """The programs of a control plane."""

    etcd: Path
    apiserver: Path
    manager: Path


def binaries() -> Binaries:
    """Return all programs; build them first if necessary. Raise Missing if a part is not available."""
    etcd = _given("etcd") or _on_path("etcd", "install etcd (Debian: apt-get install etcd-server)")
    apiserver, manager = (_given(name) or _built() / name for name in SERVERS)
    return Binaries(etcd, apiserver, manager)


def _given(name: str) -> Path | None:
    """Return the program of $KUBEBUILDER_ASSETS, of any version; None without one."""
    path = Path(os.environ.get("KUBEBUILDER_ASSETS", "."), name)
    return path if "KUBEBUILDER_ASSETS" in os.environ and path.is_file() else None


def _on_path(name: str, remedy: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name}: found none on the PATH; {remedy}, or set KUBEBUILDER_ASSETS to a folder that has it")
    return Path(found)


def _built() -> Path:
    """Return the folder in the cache; the first process fills it."""
    folder = platformdirs.user_cache_path("canarycore") / f"controlplane-{VERSION}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _build(folder)
    return folder


def _build(folder: Path) -> None:
    """Build both servers as one program under two names; the folder appears when it is complete."""
    go = _on_path("go", f"install Go to build Kubernetes {VERSION} once")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as name:
        work = Path(name)
        shutil.copy(_SOURCE, work)
        (work / "go.mod").write_text(_module(go, work))
        (work / "bin").mkdir()
        major, minor, _ = VERSION.split(".")
        stamps = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}  # else clients read v0.0.0
        flags = " ".join(["-s", "-w", *(f"-X {_STAMP}.{key}={value}" for key, value in stamps.items())])
        _run(
            go,
            work,
            "build",
            "-mod=mod",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
            f"bin/{SERVERS[0]}",
            ".",
        )
        (work / "bin" / SERVERS[1]).symlink_to(SERVERS[0])
        (work / "bin").rename(folder)


def _module(go: Path, work: Path) -> str:
    """Return a go.mod that requires Kubernetes, and its staging modules at the same release."""
    found = json.loads(_run(go, work, "mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"))
    staged = _STAGING.findall(Path(found["GoMod"]).read_text())
    replaced = (f"replace {name} => {name} v0.{VERSION.partition('.')[2]}" for name in staged)
    return "\n".join(["module controlplane", "go 1.24.0", f"require k8s.io/kubernetes v{VERSION}", *replaced])


def _run(go: Path, work: Path, *arguments: str) -> str:
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run([go, *arguments], cwd=work, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-20:])
        raise Missing(
            f"Kubernetes {VERSION} could not be built: `go {arguments[0]}` ended with {done.returncode}:\n{said}"
        )
    return done.stdout
