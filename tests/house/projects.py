"""The distributions of this checkout, read from their pyproject files."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

from attrs import frozen
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
