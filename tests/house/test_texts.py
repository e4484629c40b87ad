"""No file of the project names a package registry or a path of a developer's machine."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.house.projects import ROOT

BANS = {
    "a package registry": re.compile(r"\b(pypi|pythonhosted|npmjs|crates|proxy\.golang|maven)\.(org|com|io)\b"),
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(home|root|Users|work|opt/homebrew)/\w"),
}
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")[:-1]
FILES = [name for name in LISTED if (ROOT / name).is_file()]  # without files deleted since the last commit


@pytest.mark.parametrize("ban", BANS)
def test_no_file_names(ban: str) -> None:
    assert "pyproject.toml" in FILES
    lines = [
        f"{name}:{number}: {line.strip()}"
        for name in FILES
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), start=1)
        if BANS[ban].search(line)
    ]
    assert lines == []
