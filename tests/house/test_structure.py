"""The layout of the sources: folders stay small, imports point down, and names are unique."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict

import pytest

from tests.house.projects import PROJECTS, ROOT, Module, circles, imports, levels, modules, shown

MOST_MODULES = 12
MOST_LEVELS = 7
ONE_MODULE_PER_PROVIDER = {
    "adapters/mesh/canarycore_mesh",
    "adapters/metrics/canarycore_metrics",
    "adapters/notifiers/canarycore_notifiers",
}
CORE = "canarycore"

ADAPTERS = [project.package.name for project in PROJECTS if project.package.name != CORE]


def graph_of(chosen: list[Module]) -> dict[str, set[str]]:
    return {module.name: set(imports(module, modules())) - {module.name} for module in chosen}


def test_no_folder_has_more_than_twelve_modules():
    folders = Counter(shown(path.parent) for top in ("canarycore", "adapters", "tests", "bench", "examples", "docs")
                      for path in (ROOT / top).rglob("*.py"))  # fmt: skip
    crowded = {folder: count for folder, count in folders.items() if count > MOST_MODULES}
    assert crowded.keys() <= ONE_MODULE_PER_PROVIDER | {CORE}


def test_no_modules_import_each_other_in_a_circle():
    assert circles(graph_of(list(modules().values()))) == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_folders_of_an_adapter_have_at_most_seven_levels_and_no_circle(adapter: str):
    inside = [module for module in modules().values() if module.distribution == adapter]
    graph: dict[str, set[str]] = {module.folder: set() for module in inside}
    for module in inside:
        targets = {modules()[name].folder for name in imports(module, modules())}
        graph[module.folder] |= {folder for folder in targets if folder.startswith(adapter)} - {module.folder}
    graph.pop(adapter)  # the modules at the top stand on all folders, and errors and options are below them
    graph = {folder: below - {adapter} for folder, below in graph.items()} or {adapter: set()}
    assert circles(graph) == []
    assert levels(graph) <= MOST_LEVELS


def test_no_distribution_imports_a_private_module_of_another():
    private = {
        (module.name, name)
        for module in modules().values()
        for name in imports(module, modules())
        if modules()[name].distribution != module.distribution and any(part[0] == "_" for part in name.split("."))
    }
    assert private == set()


def test_no_two_public_classes_have_the_same_name():
    homes = defaultdict(list)
    for module in modules().values():
        for name in module.public_classes:
            homes[name].append(module.name)
    assert {name: home for name, home in homes.items() if len(home) > 1} == {}


def test_a_session_looks_for_its_tests_in_every_folder_that_has_some():
    implied = {"cluster": set((ROOT / "tests" / "cluster").glob("*/test_*.py"))}  # marked by a conftest.py
    (folders,) = re.findall(r"^FOLDERS = (\{.*?^\})", (ROOT / "noxfile.py").read_text(), re.MULTILINE | re.DOTALL)
    missed = [
        (mark, shown(path))
        for mark, searched in ast.literal_eval(folders).items()
        for path in (ROOT / "tests").rglob("*.py")
        if (re.search(rf"\bmark\.{mark}\b", path.read_text()) or path in implied.get(mark, ()))
        and not shown(path).startswith(searched)
    ]
    assert missed == []
