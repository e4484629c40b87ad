"""The distributions of this checkout, read from their pyproject files."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import field, frozen
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@frozen
class Project:
    """A distribution: its folder and the tables of its pyproject."""

    folder: Path

    @property
    def text(self) -> str:
        return (self.folder / "pyproject.toml").read_text()

    @property
    def table(self) -> dict[str, Any]:
        return tomllib.loads(self.text)["project"]

    @property
    def name(self) -> str:
        return self.table["name"]

    @property
    def package(self) -> Path:
        return self.folder / self.name.replace("-", "_")

    @property
    def requirements(self) -> list[Requirement]:
        """All requirements, with those of the extras."""
        lines = [*self.table["dependencies"]]
        for extra in self.table.get("optional-dependencies", {}).values():
            lines += extra
        return [Requirement(line) for line in lines]

    def __str__(self) -> str:
        return self.name


PROJECTS = [Project(path.parent) for path in sorted([ROOT / "pyproject.toml", *ROOT.glob("adapters/*/pyproject.toml")])]
OURS = {project.name for project in PROJECTS}


def imported(path: Path) -> set[str]:
    """Return the top-level names of the modules that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@frozen
class Module:
    """A module of a distribution, with its syntax tree."""

    name: str
    """The dotted name: `canarycore_kubernetes.api.client`."""
    path: Path
    tree: ast.Module = field(repr=False, eq=False)

    @property
    def distribution(self) -> str:
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The package that contains the module; a package contains its own `__init__`."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def public_classes(self) -> list[str]:
        """The classes at the top of the module whose names do not begin with an underscore."""
        classes = (node for node in self.tree.body if isinstance(node, ast.ClassDef))
        return [node.name for node in classes if not node.name.startswith("_")]


@cache
def modules() -> dict[str, Module]:
    """Return every module of every distribution, by its dotted name."""
    packages = [project.package for project in PROJECTS]
    found = (_module(path, package) for package in packages for path in sorted(package.rglob("*.py")))
    return {module.name: module for module in found}


def _module(path: Path, package: Path) -> Module:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(path.read_text()))


def imports(module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    """Yield the names of the `known` modules that `module` imports, also in functions and for type checkers."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from members & known.keys()
            if members - known.keys():
                yield node.module


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {tuple(sorted({node} | {other for other in reached[node] if node in reached[other]})) for node in graph}
    return sorted(list(group) for group in groups if len(group) > 1)


def levels(graph: Mapping[str, set[str]]) -> int:
    """Return the number of nodes on the longest path through a graph without circles."""
    heights: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in heights:
            heights[node] = 1 + max(map(height, graph[node]), default=0)
        return heights[node]

    return max(map(height, graph))


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph.get(waiting.pop(), set()) - reached
        reached |= fresh
        waiting += fresh
    return reached


def shown(path: Path) -> str:
    """Return `path` as seen from the top of the checkout."""
    return str(path.relative_to(ROOT))
