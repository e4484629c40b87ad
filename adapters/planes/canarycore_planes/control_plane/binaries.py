"""The programs etcd, kube-apiserver, kube-controller-manager and kubectl, found or built.

etcd is searched in $KUBEBUILDER_ASSETS and on the PATH (Debian: `etcd-server`). The others come from
$KUBEBUILDER_ASSETS, or from a build of the Kubernetes Go modules (see main.go; minutes on two cores), which stays in
the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from attrs import frozen

from canarycore_planes.go_programs import cached, find_in_cache, on_path, run_go

VERSION = "1.34.4"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kubectl")

_SOURCE = Path(__file__).with_name("main.go")
_STAGING = re.compile(r"^\s*(\S+) => \./staging/", re.MULTILINE)
_STAMP = "k8s.io/component-base/version"


@frozen
class Binaries:
    """The programs of a control plane."""

    etcd: Path
    apiserver: Path
    manager: Path
    kubectl: Path

    @property
    def path(self) -> str:
        """A PATH on which this kubectl is the first."""
        return os.pathsep.join([str(self.kubectl.parent), os.environ["PATH"]])


def binaries() -> Binaries:
    """Return all programs; build them first if necessary. Raise MissingProgram if a part is not available."""
    etcd = find_etcd()
    apiserver, manager, kubectl = (_given(name) or cached(place(), _build) / name for name in PROGRAMS)
    return Binaries(etcd, apiserver, manager, kubectl)


def place() -> str:
    """Return the name of the built programs in the cache."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:8]
    return f"controlplane-{VERSION}-{digest}"


def are_built() -> bool:
    """Whether no program has to be built."""
    return all(map(_given, PROGRAMS)) or find_in_cache(place()).exists()


def find_etcd() -> Path:
    """Return etcd. Raises MissingProgram."""
    or_given = "or set KUBEBUILDER_ASSETS to a folder that has it"
    return _given("etcd") or on_path("etcd", f"install etcd (Debian: apt-get install etcd-server), {or_given}")


def _given(name: str) -> Path | None:
    """Return the program of $KUBEBUILDER_ASSETS, of any version; None without one."""
    path = Path(os.environ.get("KUBEBUILDER_ASSETS", "."), name)
    return path if "KUBEBUILDER_ASSETS" in os.environ and path.is_file() else None


def _build(folder: Path) -> None:
    """Build all as one program under several names; the folder appears when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as name:
        work = Path(name)
        shutil.copy(_SOURCE, work)
        (work / "go.mod").write_text(_module(work))
        (work / "bin").mkdir()
        major, minor, _ = VERSION.split(".")
        stamps = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor}  # else clients read v0.0.0
        flags = " ".join(["-s", "-w", *(f"-X {_STAMP}.{key}={value}" for key, value in stamps.items())])
        run_go(
            work,
            "build",
            "-mod=mod",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
            f"bin/{PROGRAMS[0]}",
            ".",
        )
        for program in PROGRAMS[1:]:
            (work / "bin" / program).symlink_to(PROGRAMS[0])
        (work / "bin").rename(folder)


def _module(work: Path) -> str:
    """Return a go.mod that requires Kubernetes, and its staging modules at the same release."""
    found = json.loads(run_go(work, "mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"))
    staged = _STAGING.findall(Path(found["GoMod"]).read_text())
    replaced = (f"replace {name} => {name} v0.{VERSION.partition('.')[2]}" for name in staged)
    return "\n".join(["module controlplane", "go 1.24.0", f"require k8s.io/kubernetes v{VERSION}", *replaced])
