"""One session per promise. `nox` alone runs what a contributor needs before a commit; `nox -l` lists all.

    tests     what the code claims                 wheel     the same on built wheels and the oldest dependencies
    types     strict, for users too                e2e       real Envoys, real processes
    layers    who may import whom                  planted   a planted defect is found
    lint      rules and format                     deep      many examples, long schedules
    docs      built, true, linked                  bench     how fast
    verify    every fault at every step            mutants   hardly a change of the core goes unnoticed
    cluster   a real Kubernetes API server         hostile   no tenant harms the others
    fuzz      whatever others write, nothing breaks    audit     no known vulnerability, allowed licences
    browser   the web page in a real Chromium         planes    rollouts on real data planes
    pythons   the claims on other versions of Python

Sessions install the distributions' dependencies and the dependency groups that pyproject.toml names. Those that run the
sources share one environment, `.nox/shared`; `wheel` has one of its own, and `pythons` has `.nox/python-3.X`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parent
DISTRIBUTIONS = {
    "canarycore": ".",
    "canarycore-runtime": "adapters/runtime",
    "canarycore-metrics": "adapters/metrics",
    "canarycore-hooks": "adapters/hooks",
    "canarycore-mesh": "adapters/mesh",
    "canarycore-notifiers": "adapters/notifiers",
    "canarycore-loadtester": "adapters/loadtester",
    "canarycore-kubernetes": "adapters/kubernetes",
    "canarycore-local": "adapters/local",
    "canarycore-planes": "adapters/planes",
    "canarycore-cli": "adapters/cli",
}
PACKAGES = {name: name.replace("-", "_") for name in DISTRIBUTIONS}
SOURCES = [str(Path(folder, PACKAGES[name])) for name, folder in DISTRIBUTIONS.items()]
LIBRARIES = [
    *("canarycore", "canarycore_runtime", "canarycore_metrics", "canarycore_hooks"),
    *("canarycore_mesh", "canarycore_notifiers", "canarycore_loadtester", "canarycore_kubernetes"),
]
PROCESSES = "tests/adapters/local"
FOLDERS = {
    "e2e": (
        "tests/e2e",
        "tests/house",
        "tests/adapters/kubernetes/deploy",
        "tests/adapters/metrics",
        "tests/adapters/local",
    ),
    "cluster": (
        "tests/cluster/controller",
        "tests/cluster/resources",
        "tests/cluster/faults",
        "tests/cluster/workloads_and_routes",
        "tests/cluster/labs",
        "tests/cluster/api",
        "tests/cluster/control_plane",
        "tests/conformance",
    ),
    "sweep": ("tests/cluster", "tests/conformance"),
    "hostile": ("tests/cluster/controller",),
    "planes": ("tests/planes",),
    "browser": ("tests/browser",),
    "planted": ("tests/planted",),
}
"""The folders of a session's tests, by its mark: to collect all 14,000 tests takes half a minute."""

CLUSTERS = 3
"""The folders of the session `cluster` that run at a time: each has servers of its own, and its tests mostly wait."""

USING_DEPENDENCIES = (
    *("tests/core/data/test_codec.py", "tests/core/simulation", "tests/manifest", "tests/policy"),
    *(f"tests/adapters/{name}" for name in ("cli", "hooks", "loadtester", "mesh", "notifiers", "page")),
    *(f"tests/adapters/runtime/{name}" for name in ("contracts", "test_http.py", "test_calls.py")),
    *(f"tests/adapters/metrics/{name}" for name in ("test_prometheus.py", "test_clouds.py")),
    *(f"tests/adapters/kubernetes/{name}" for name in ("api", "test_controller.py")),
    "--ignore=tests/adapters/kubernetes/api/test_ownership.py",  # many rollouts, by the client that the others use
)
"""The tests that use each dependency. The session `tests` runs all, on files that `wheel` finds to be the same."""
ON_EACH_PYTHON = (
    *("tests/core", "tests/manifest", "tests/policy", "tests/argo", "tests/conformance", "tests/verify"),
    "tests/adapters",
    f"--ignore={PROCESSES}",  # it measures traffic, so it needs the machine alone
    "--ignore=tests/adapters/kubernetes/api/test_ownership.py",  # many rollouts, by the client that the others use
    "--ignore=tests/adapters/kubernetes/selection",  # long rollouts, by the same
)
"""The tests whose result may depend on the version of Python.

Some folders are left out: `house` reads sources and pages; the folders of other sessions start servers and processes.
"""
LOWEST = ("-c", "constraints/lowest.txt")
EXTRAS = "canarycore[yaml,testing,simulation]"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
TESTS = nox.project.dependency_groups(PROJECT, "tests")
PYTHONS = nox.project.python_versions(PROJECT)
"""The versions of Python that the classifiers name. CI demands each of them."""
NEXT_PYTHON = "3.14"
"""A version that no classifier names yet: its tests run where the machine has it."""
SHARED = ROOT / ".nox" / "shared"
SHARED_GROUPS = ("tests", "types", "docs", "bench", "mutants", "browser")

LICENCES_ONLY = "--licences-only"
LICENCES = (
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "ISC License (ISCL)"),
    *("BSD License", "BSD-2-Clause", "BSD-3-Clause"),
    *("Apache-2.0", "Apache License 2.0", "Apache Software License"),
    *("PSF-2.0", "Python Software Foundation License"),
    *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),  # their own files stay under it
    *("Apache-2.0 AND BSD-2-Clause", "Apache-2.0 AND MIT", "Apache-2.0 OR BSD-2-Clause", "Apache-2.0 OR BSD-3-Clause"),
    *("MIT OR Apache-2.0", "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0"),
)
"""Licences that our dependencies may have, as they state them: each allows us to distribute under Apache-2.0."""

EXTRAS_OF_ADAPTERS = ("-e", "adapters/metrics[cloudwatch,stackdriver]", "-e", "adapters/runtime[http,testing]",
                      "-e", "adapters/loadtester[http2]")  # fmt: skip

Env = dict[str, str] | None

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Let the sessions keep compiled files: without them each process compiles all that it imports, for 4 seconds."""

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "layers", "types", "tests", "docs"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = "CI" in os.environ


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the claims about the code, fast."""
    _pytest(partial(_run, session), session.posargs)


@nox.session(venv_backend="none")
def pythons(session: nox.Session) -> None:
    """Run the claims on each other version of Python that is here; CI demands those that the classifiers name."""
    others = [version for version in (*PYTHONS, NEXT_PYTHON) if not _runs(sys.executable, version)]
    found = {version: python for version in others if (python := _find_python(version))}
    missing = [version for version in others if version not in found]
    demanded = [version for version in missing if version in PYTHONS]
    if "CI" in os.environ and demanded:
        session.error(_describe_missing(demanded))
    if missing:
        session.warn(f"{_describe_missing(missing)}. Tests skipped.")
    for version, python in found.items():
        environment = ROOT / ".nox" / f"python-{version}"
        _make_current(session, environment, python, TESTS)
        chosen = session.posargs or ("-n2", "--dist=worksteal", *ON_EACH_PYTHON)
        _run_in(session, environment, "pytest", *chosen, env={"HYPOTHESIS_PROFILE": "smoke"})


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """mypy --strict on everything; pyright on what users import."""
    _share(session)
    everything = ("mypy", *SOURCES, "bench", "examples", "noxfile.py")
    public = [("pyright", "--verifytypes", package, "--ignoreexternal") for package in LIBRARIES]
    with ThreadPoolExecutor(2) as cores:  # each checker uses one
        list(cores.map(lambda command: _run(session, *command, silent=True), [everything, *public]))


@nox.session
def layers(session: nox.Session) -> None:
    """The core imports nothing that acts; adapters never import one another."""
    _install_group(session, "layers")
    folders = os.pathsep.join(DISTRIBUTIONS.values())  # imports are read, nothing is run: no need to install
    session.run("lint-imports", "--no-cache", *session.posargs, env={"PYTHONPATH": folders})


@nox.session
def lint(session: nox.Session) -> None:
    """Wide rules, each exception with its reason; one format."""
    _install_group(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The pages build, their links lead somewhere, what is generated is what would be generated now."""
    _run(session, "python", "docs/generate.py", "--check")
    site = str(Path(session.create_tmp(), "site"))
    _run(session, "mkdocs", "build", "--strict", "--site-dir", site, *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Test the built wheels with the oldest dependencies that they allow; install each distribution alone."""
    session.install(*nox.project.dependency_groups(PROJECT, "wheel"))
    wheels = Path(session.create_tmp(), "wheels").resolve()
    shutil.rmtree(wheels, ignore_errors=True)
    for folder in DISTRIBUTIONS.values():
        session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), folder, silent=True)
    from_wheels = ("--find-links", str(wheels), "--only-binary", ",".join(DISTRIBUTIONS))
    session.install("--no-compile", *LOWEST, *from_wheels, EXTRAS, *list(DISTRIBUTIONS)[1:], *TESTS)
    for name, folder in DISTRIBUTIONS.items():
        (built,) = wheels.glob(f"{PACKAGES[name]}-*.whl")
        _compare(session, built, ROOT / folder / PACKAGES[name])
    with session.chdir(_without_sources(session)):
        env = {"HYPOTHESIS_PROFILE": "smoke"}
        _pytest(session.run, session.posargs, *OF_KILLED_PROCESSES, env=env, folders=USING_DEPENDENCIES)
    for distribution in DISTRIBUTIONS:
        alone = Path(session.create_tmp(), "alone").resolve()
        session.run("python", "-m", "venv", "--clear", "--without-pip", str(alone))
        python = str(alone / "bin" / "python")
        install = ("python", "-m", "pip", "--python", python, "install", "-q", "--no-compile")
        session.run(*install, *from_wheels, distribution)
        session.run(python, "tests/house/alone.py", distribution, external=True)


@nox.session(venv_backend="none")
def e2e(session: nox.Session) -> None:
    """A real Envoy and real processes, one after the other: they share two cores."""
    _marked(session, "e2e", "--timeout=900")


@nox.session(venv_backend="none")
def cluster(session: nox.Session) -> None:
    """A real API server. The first run on a machine builds it: that takes minutes, and counts as part of a test."""
    run = partial(_marked, session, "cluster", "--timeout=1800", but=("sweep", "hostile"))
    if session.posargs:
        run()
        return
    _share(session)
    logs = Path(session.create_tmp(), "audit-logs").resolve()
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    run = partial(run, env={"CANARYCORE_AUDIT_LOGS": str(logs)}, silent=True)
    with ThreadPoolExecutor(CLUSTERS) as clusters:
        for output in clusters.map(lambda folder: run(folders=(folder,)), FOLDERS["cluster"]):
            session.log(output)
    session.log(run(folders=("tests/cluster/test_role.py",)))


@nox.session(venv_backend="none")
def browser(session: nox.Session) -> None:
    """The web page in a real Chromium, which the machine has: light, dark, a phone, the keyboard alone."""
    _marked(session, "browser")


@nox.session(venv_backend="none")
def sweep(session: nox.Session) -> None:
    """The other half of the writes at which a controller is killed, and further traces on a real API server."""
    _marked(session, "sweep", "--timeout=1800")


@nox.session(venv_backend="none")
def hostile(session: nox.Session) -> None:
    """300 hostile Canaries of one namespace do not harm the 20 honest ones of another (4 minutes)."""
    _marked(session, "hostile", "--timeout=1800")


@nox.session(venv_backend="none")
def planes(session: nox.Session) -> None:
    """No request is lost on real data planes. The first run on a machine builds them: that takes minutes."""
    _marked(session, "planes")


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Mutated objects, answers and manifests end as values or documented errors; `-- --minutes 30` for long."""
    _run(session, "python", "-m", "tests.fuzz", *session.posargs)


@nox.session(venv_backend="none")
def planted(session: nox.Session) -> None:
    """Each planted defect makes a test fail."""
    _marked(session, "planted", "-n2")


@nox.session(venv_backend="none")
def mutants(session: nox.Session) -> None:
    """Hardly any small change of the core goes unnoticed: docs/defects.md has the rate, and what was not noticed.

    More than an hour on two quiet cores, so CI leaves it out. Names of mutants, with `*`, choose some of them.
    """
    checkout = Path(session.create_tmp(), "mutants").resolve()
    shutil.rmtree(checkout, ignore_errors=True)
    for folder in ("canarycore", "tests", "docs", "examples"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (checkout / "shared").symlink_to(shared)  # mutmut runs the tests in a folder of the copy
    with session.chdir(checkout):
        _run(session, "mutmut", "run", "--max-children", "2", *session.posargs, env={"HYPOTHESIS_PROFILE": "ci"})


@nox.session(venv_backend="none")
def deep(session: nox.Session) -> None:
    """Many examples and long schedules."""
    deep = {"HYPOTHESIS_PROFILE": "deep"}
    _pytest(partial(_run, session), session.posargs, "-m", "deep", "--timeout=0", env=deep)


@nox.session(venv_backend="none")
def verify(session: nox.Session) -> None:
    """No single fault, at any step of any strategy in any situation, breaks a promise."""
    _run(session, "canary", "verify", *session.posargs)


@nox.session(name="verify-deep", venv_backend="none")
def verify_deep(session: nox.Session) -> None:
    """The same for all pairs of faults, and for three of the plain canary (20 minutes, 5 GB)."""
    _run(session, "canary", "verify", "--faults", "2", *session.posargs)
    if not session.posargs:
        _run(session, "canary", "verify", "--faults", "3", "--strategy", "canary", "--situation", "plain")


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Decisions, imports, simulations and manifests, each beside a peer in the same run."""
    _run(session, "python", "-m", "bench", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """The newest and the oldest dependencies have no known vulnerability, and licences that are allowed.

    The vulnerabilities come from the package index (JSON API), or from OSV with `-- --vulnerability-service osv`. The
    session fails where it cannot ask for one of them. `-- --licences-only` asks for none.
    """
    _install_group(session, "audit")
    arguments = [argument for argument in session.posargs if argument != LICENCES_ONLY]
    for name, bounds in (("newest", ()), ("oldest", LOWEST)):
        python = _without_tools(session, name, *bounds)
        session.run("pip-licenses", f"--python={python}", f"--allow-only={';'.join(LICENCES)}",
                    "--ignore-packages", *DISTRIBUTIONS, "pip", "setuptools")  # fmt: skip
        if LICENCES_ONLY not in session.posargs:
            frozen = _frozen(session, python, name)
            session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", *arguments, "-r", frozen)


# ---------------------------------------------------------------------------------------------------------- helpers


def _without_tools(session: nox.Session, name: str, *bounds: str) -> str:
    """Make an environment of all distributions and their dependencies; returns its Python."""
    folder = Path(session.create_tmp(), name).resolve()
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True)
    python = str(folder / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", *bounds, *_sources(), *EXTRAS_OF_ADAPTERS, external=True)
    return python


def _frozen(session: nox.Session, python: str, name: str) -> str:
    """Write the dependencies that are installed there, without our own, with their versions."""
    found = session.run(python, "-m", "pip", "freeze", "--exclude-editable", external=True, silent=True)
    path = Path(session.create_tmp(), f"{name}.txt")
    path.write_text(str(found))
    return str(path)


def _install_group(session: nox.Session, *groups: str) -> None:
    session.install(*nox.project.dependency_groups(PROJECT, *groups))


def _run(session: nox.Session, program: str, *arguments: str, silent: bool = False, env: Env = None) -> object:
    """Run a program of the shared environment, which is made current first; returns its output if it is silent."""
    _share(session)
    return _run_in(session, SHARED, program, *arguments, silent=silent, env=env)


def _run_in(
    session: nox.Session, environment: Path, program: str, *arguments: str, silent: bool = False, env: Env = None
) -> object:
    """Run a program of an environment, whose other programs it finds; returns its output if it is silent."""
    programs = environment / "bin"
    found = {"PATH": os.pathsep.join([str(programs), os.environ["PATH"]]), **(env or {})}
    return session.run(str(programs / program), *arguments, silent=silent, env=found, external=True)


def _share(session: nox.Session) -> None:
    """Make the shared environment current."""
    _make_current(session, SHARED, sys.executable, nox.project.dependency_groups(PROJECT, *SHARED_GROUPS))


def _make_current(session: nox.Session, environment: Path, python: str, packages: Iterable[str]) -> None:
    """Build an environment of the sources and these packages anew if a pyproject or its Python has changed."""
    pyprojects = b"".join((ROOT / folder / "pyproject.toml").read_bytes() for folder in DISTRIBUTIONS.values())
    stamp, digest = environment / "stamp", hashlib.sha256(pyprojects + _version(python).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    session.run(python, "-m", "venv", "--clear", str(environment), external=True)
    install = (str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile")
    with session.chdir(ROOT):  # the sources are named from there
        session.run(*install, *_sources(), *packages, external=True)
    stamp.write_text(digest)


def _find_python(version: str) -> str:
    """Return a Python of this version that runs: the one of the PATH, or pyenv's newest; empty without one."""
    candidates = (shutil.which(f"python{version}") or "", *_pythons_of_pyenv(version))
    return next((python for python in candidates if _runs(python, version)), "")


def _pythons_of_pyenv(version: str) -> list[str]:
    """Return the Pythons of this version that pyenv has installed, the newest patch first."""
    root = _output("pyenv", "root") or str(Path.home() / ".pyenv")
    folders = [folder for folder in Path(root, "versions").glob(f"{version}.*") if folder.suffix[1:].isdecimal()]
    folders.sort(key=lambda folder: int(folder.suffix[1:]), reverse=True)
    return [str(folder / "bin" / "python3") for folder in folders]


def _describe_missing(versions: list[str]) -> str:
    """Describe the Pythons that were not found, with the remedy."""
    numbers = " ".join(versions)
    return f"found no Python {numbers} that runs, expected each on the PATH or in pyenv: try `pyenv install {numbers}`"


def _runs(python: str, version: str) -> bool:
    """Return whether a Python runs, and has this version. A shim of pyenv may exist and not run."""
    return _version(python).startswith(f"{version}.")


def _version(python: str) -> str:
    """Return the version and the build of a Python; empty if it does not run."""
    return _output(python, "-c", "import sys; print(sys.version)")


def _output(program: str, *arguments: str) -> str:
    """Return the output of a program; empty if it fails or is missing."""
    try:
        return subprocess.run([program, *arguments], capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _sources() -> list[str]:
    """All distributions as editable installs, so that a change is seen at once."""
    folders = [part for folder in DISTRIBUTIONS.values() for part in ("-e", folder)]
    return ["-e", f".[{EXTRAS.split('[')[1]}", *folders[2:]]


def _pytest(
    run: Callable[..., object], posargs: list[str], *options: str, env: Env = None, folders: tuple[str, ...] = ()
) -> None:
    """Tests of plain code share both cores; those that start processes and measure traffic have the machine alone."""
    if posargs:
        run("pytest", *options, *posargs, env=env)
    else:
        run("pytest", "-n4", "--dist=worksteal", f"--ignore={PROCESSES}", *options, *folders, env=env)
        run("pytest", *options, PROCESSES, env=env)


OF_KILLED_PROCESSES = ("-W", "default::ResourceWarning", "-W", "default::pytest.PytestUnraisableExceptionWarning")
"""Warnings that are no failure where tests kill processes and servers: a connection may end without a farewell. The
oldest libraries leave event loops open as well."""


def _marked(
    session: nox.Session,
    mark: str,
    *options: str,
    but: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    silent: bool = False,
    env: Env = None,
) -> object:
    """Run the tests with this mark and none of the others: those that the command line names, or all in the folders."""
    marks = " and not ".join((mark, *but))
    chosen = session.posargs or folders or FOLDERS[mark]
    return _run(session, "pytest", "-m", marks, *OF_KILLED_PROCESSES, *options, *chosen, silent=silent, env=env)


def _compare(session: nox.Session, wheel: Path, package: Path) -> None:
    """Fail unless a wheel has each file of its package as it is in the sources."""
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    sources = {str(path.relative_to(package.parent)): path.read_bytes() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        built = {name: archive.read(name) for name in archive.namelist() if name.startswith(f"{package.name}/")}
    different = sorted(name for name in sources | built if sources.get(name) != built.get(name))
    if different:
        session.error(f"{wheel.name}: found files that differ from the sources, expected the same: {different}")


def _without_sources(session: nox.Session) -> Path:
    """A copy of the checkout without its packages: what is imported there is what was installed."""
    checkout = Path(session.create_tmp(), "checkout").resolve()
    shutil.rmtree(checkout, ignore_errors=True)
    copy = checkout / "main"
    for folder in ("tests", "examples", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in DISTRIBUTIONS.values():
        (copy / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / folder / "pyproject.toml", copy / folder)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (checkout / "shared").symlink_to(shared)
    return copy
