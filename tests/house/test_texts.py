"""What no file of the project says."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.house.projects import ROOT

REGISTRIES = re.compile(r"\b(pypi|pythonhosted|npmjs|crates|proxy\.golang|maven)\.(org|com|io)\b")
MACHINES = re.compile(r"(?<![\w.])/(home|root|Users|work|opt/homebrew)/\w")
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")[:-1]


def lines_with(pattern: re.Pattern[str], name: str) -> list[str]:
    path = ROOT / name
    if not path.is_file():  # deleted, not yet committed
        return []
    return [line for line in path.read_text(errors="replace").splitlines() if pattern.search(line)]


def test_the_checkout_knows_its_files():
    assert "pyproject.toml" in TRACKED


@pytest.mark.parametrize("name", TRACKED)
def test_a_file_names_no_package_registry(name: str):
    assert lines_with(REGISTRIES, name) == []


@pytest.mark.parametrize("name", TRACKED)
def test_a_file_names_no_path_of_somebodys_machine(name: str):
    assert lines_with(MACHINES, name) == []
