"""One session per promise. `nox` alone runs what a contributor needs before a commit; `nox -l` lists all.

    tests     what the code claims                 lowest    the same with the oldest dependencies allowed
    types     strict, for users too                wheel     the same on built wheels; each adapter installs alone
    layers    who may import whom                  e2e       real Envoys, real processes
    lint      rules and format                     planted   a planted defect is found
    docs      built, true, linked                  deep      many examples, long schedules
    verify    every fault at every step            bench     how fast
    cluster   a real Kubernetes API server         mutants   hardly a change of the core goes unnoticed

What the sessions install is named in pyproject.toml: the distributions' dependencies and the dependency groups.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DISTRIBUTIONS = {
    "canarycore": ".",
    "canarycore-runtime": "adapters/runtime",
    "canarycore-metrics": "adapters/metrics",
    "canarycore-hooks": "adapters/hooks",
    "canarycore-mesh": "adapters/mesh",
    "canarycore-notifiers": "adapters/notifiers",
    "canarycore-kubernetes": "adapters/kubernetes",
    "canarycore-local": "adapters/local",
    "canarycore-cli": "adapters/cli",
}
PACKAGES = {name: name.replace("-", "_") for name in DISTRIBUTIONS}
SOURCES = [str(Path(folder, PACKAGES[name])) for name, folder in DISTRIBUTIONS.items()]
LIBRARIES = [
    *("canarycore", "canarycore_runtime", "canarycore_metrics", "canarycore_hooks"),
    *("canarycore_mesh", "canarycore_notifiers", "canarycore_kubernetes"),
]
PROCESSES = "tests/adapters/local"
ABOUT_SOURCES = ["--ignore=tests/house", "--ignore=tests/planted"]  # tests of the checkout, not of what is installed
EXTRAS = "canarycore[yaml,testing,simulation]"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "layers", "types", "tests", "docs"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = "CI" in os.environ


@nox.session
def tests(session: nox.Session) -> None:
    """What the code claims, fast."""
    _install_sources(session, "tests")
    _pytest(session)


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict on everything; pyright on what users import."""
    _install_sources(session, "tests", "types")
    session.run("mypy", *SOURCES, "bench", "examples", "noxfile.py")
    for package in LIBRARIES:
        session.run("pyright", "--verifytypes", package, "--ignoreexternal", silent=True)


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


@nox.session
def docs(session: nox.Session) -> None:
    """The pages build, their links lead somewhere, what is generated is what would be generated now."""
    _install_sources(session, "docs")
    session.run("python", "docs/generate.py", "--check")
    site = str(Path(session.create_tmp(), "site"))
    session.run("mkdocs", "build", "--strict", "--site-dir", site, *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def lowest(session: nox.Session) -> None:
    """The tests pass with the oldest dependencies that the pyprojects allow."""
    _install_sources(session, "tests", constraints=["-c", "constraints/lowest.txt"])
    _pytest(session)


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """The built wheels pass the tests; each distribution installs alone, and says what is missing."""
    _install_group(session, "tests", "wheel")
    wheels = Path(session.create_tmp(), "wheels").resolve()
    shutil.rmtree(wheels, ignore_errors=True)
    for folder in DISTRIBUTIONS.values():
        session.run("python", "-m", "build", "--wheel", "--outdir", str(wheels), folder, silent=True)
    from_wheels = ("--find-links", str(wheels), "--only-binary", ",".join(DISTRIBUTIONS))
    session.install(*from_wheels, EXTRAS, *list(DISTRIBUTIONS)[1:])
    with session.chdir(_without_sources(session)):
        _pytest(session, *ABOUT_SOURCES)
    for distribution in DISTRIBUTIONS:
        alone = Path(session.create_tmp(), "alone").resolve()
        session.run("python", "-m", "venv", "--clear", str(alone))
        python = str(alone / "bin" / "python")
        session.run(python, "-m", "pip", "install", "-q", *from_wheels, distribution, external=True)
        session.run(python, "tests/house/alone.py", distribution, external=True)


@nox.session
def e2e(session: nox.Session) -> None:
    """A real Envoy and real processes, one after the other: they share two cores."""
    _install_sources(session, "tests")
    session.run("pytest", "-m", "e2e", "--timeout=900", *session.posargs)


@nox.session
def cluster(session: nox.Session) -> None:
    """A real API server. The first run on a machine builds it: that takes minutes, and counts as part of a test."""
    _install_sources(session, "tests")
    session.run("pytest", "-m", "cluster and not sweep", "--timeout=1800", *session.posargs)


@nox.session
def sweep(session: nox.Session) -> None:
    """The other half of the writes at which a controller is killed."""
    _install_sources(session, "tests")
    session.run("pytest", "-m", "sweep", "--timeout=1800", *session.posargs)


@nox.session
def planted(session: nox.Session) -> None:
    """Each planted defect makes a test fail."""
    _install_sources(session, "tests")
    session.run("pytest", "-n2", "-m", "planted", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Hardly any small change of the core goes unnoticed: docs/defects.md has the rate, and what was not noticed.

    More than an hour on two quiet cores, so CI leaves it out. Names of mutants, with `*`, choose some of them.
    """
    _install_sources(session, "tests", "mutants")
    checkout = Path(session.create_tmp(), "mutants").resolve()
    shutil.rmtree(checkout, ignore_errors=True)
    for folder in ("canarycore", "tests", "docs", "examples"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (checkout / "shared").symlink_to(shared)  # mutmut runs the tests in a folder of the copy
    with session.chdir(checkout):
        session.run("mutmut", "run", "--max-children", "2", *session.posargs, env={"HYPOTHESIS_PROFILE": "ci"})


@nox.session
def deep(session: nox.Session) -> None:
    """Many examples and long schedules."""
    _install_sources(session, "tests")
    _pytest(session, "-m", "deep", "--timeout=0", env={"HYPOTHESIS_PROFILE": "deep"})


@nox.session
def verify(session: nox.Session) -> None:
    """No single fault, at any step of any strategy in any situation, breaks a promise."""
    _install_sources(session)
    session.run("canary", "verify", *session.posargs)


@nox.session(name="verify-deep")
def verify_deep(session: nox.Session) -> None:
    """The same for all pairs of faults, and for three of the plain canary (20 minutes, 5 GB)."""
    _install_sources(session)
    session.run("canary", "verify", "--faults", "2", *session.posargs)
    if not session.posargs:
        session.run("canary", "verify", "--faults", "3", "--strategy", "canary", "--situation", "plain")


@nox.session
def bench(session: nox.Session) -> None:
    """Decisions, imports, simulations and manifests, each beside a peer in the same run."""
    _install_sources(session, "bench")
    session.run("python", "-m", "bench", *session.posargs)


# ---------------------------------------------------------------------------------------------------------- helpers


def _install_group(session: nox.Session, *groups: str) -> None:
    session.install(*nox.project.dependency_groups(PROJECT, *groups))


def _install_sources(session: nox.Session, *groups: str, constraints: list[str] | None = None) -> None:
    """All distributions as editable installs, so that a change is seen at once, and what the groups name."""
    folders = [part for folder in DISTRIBUTIONS.values() for part in ("-e", folder)]
    folders[1] = f".[{EXTRAS.split('[')[1]}"
    session.install(*(constraints or []), *folders, *nox.project.dependency_groups(PROJECT, *groups))


def _pytest(session: nox.Session, *options: str, env: dict[str, str] | None = None) -> None:
    """Tests of plain code share both cores; those that start processes and measure traffic have the machine alone."""
    if session.posargs:
        session.run("pytest", *options, *session.posargs, env=env)
    else:
        session.run("pytest", "-n2", f"--ignore={PROCESSES}", *options, env=env)
        session.run("pytest", *options, PROCESSES, env=env)


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
