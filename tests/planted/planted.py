"""Plants the defects of tests/planted/defects.py, one at a time: each must make its test fail.

    python -m tests.planted.planted [NAME…] [--json]

The runner copies the sources, puts one defect in, and runs the one test that is named with it, there. It prints a table
of what failed, and exits with 1 when a defect survives its test: then the claim is not made, or made elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import asdict, frozen

from tests.planted.defects import DEFECTS, Defect

ROOT = Path(__file__).parents[2]
ADAPTERS = sorted(path.parent.name for path in ROOT.glob("adapters/*/pyproject.toml"))
PARTS = ("canarycore", "adapters", "tests", "pyproject.toml")
SKIPPED = shutil.ignore_patterns(".hypothesis")
"""Compiled files are copied too: they are valid but for the file with the defect, and halve the time of a run."""

AT_ONCE = 2
"""Copies under test at the same time: one per core of a small machine."""

PATIENCE = 120.0
"""Seconds after which a run counts as failed: a defect may well make a rollout go round in circles."""

PATIENCE_FOR_ALL = 800.0
"""Seconds for the tests of all defects: more than a minute on two quiet cores, and much more beside other sessions."""


@frozen(kw_only=True)
class Outcome:
    """caught: whether a test failed. test: the first that did."""

    name: str
    caught: bool
    test: str


def plant(defect: Defect) -> Outcome:
    """Copy the sources, put the defect in, and see whether its test fails."""
    with tempfile.TemporaryDirectory() as folder:
        tree = _copied(Path(folder))
        file = tree / defect.file
        file.write_text(changed(file.read_text(encoding="utf-8"), defect), encoding="utf-8")
        failed = _first_failure(tree, [defect.caught_by])
        return Outcome(name=defect.name, caught=bool(failed), test=failed)


def failure_without_any() -> str:
    """The first test of the list that fails although nothing is planted; there should be none."""
    with tempfile.TemporaryDirectory() as folder:
        tests = sorted({defect.caught_by for defect in DEFECTS})
        return _first_failure(_copied(Path(folder)), tests, PATIENCE_FOR_ALL)


def changed(text: str, defect: Defect) -> str:
    """The text with the defect; ValueError when it no longer stands where it was."""
    found = text.count(defect.old)
    if found != 1:
        raise ValueError(
            f"{defect.name!r}: {defect.file} holds its text {found} times, expected once; put the list right"
        )
    return text.replace(defect.old, defect.new)


def _copied(folder: Path) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=SKIPPED)
        else:
            shutil.copy2(source, tree / part)
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def _first_failure(tree: Path, tests: Iterable[str], patience: float = PATIENCE) -> str:
    """The first of the tests that fails in the copy, or how the run broke off; empty when all pass.

    The copy's packages go before those that are installed. A test that is not there is a failure of the list, and no
    defect that was caught.
    """
    packages = os.pathsep.join([str(tree), *(str(tree / "adapters" / name) for name in ADAPTERS)])
    env = {**os.environ, "PYTHONPATH": packages, "HYPOTHESIS_PROFILE": "ci", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    try:
        run = subprocess.run(
            [*command, *tests], cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return "it never ended"
    if run.returncode in {_NO_SUCH_TEST, _NOTHING_COLLECTED}:
        raise ValueError(f"found no test {tests}, expected one that fails; put the list right:\n{run.stdout[-2000:]}")
    failed = (line for line in run.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    told = next(failed, "").partition(" ")[2].partition(" - ")[0]
    return told or ("" if run.returncode == 0 else f"the run broke off with {run.returncode}")


_NO_SUCH_TEST, _NOTHING_COLLECTED = 4, 5
"""Exit codes of pytest."""


def main() -> int:
    """Plant all, or those that are named."""
    parser = argparse.ArgumentParser(description="Plant one defect at a time; each must make its test fail.")
    parser.add_argument("name", nargs="*", help="plant only these")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    wanted = parser.parse_args()
    defects = [defect for defect in DEFECTS if not wanted.name or defect.name in wanted.name]
    survived = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(plant, defects):
            survived += not outcome.caught
            sys.stdout.write((json.dumps(asdict(outcome)) if wanted.json else _row(outcome)) + "\n")
            sys.stdout.flush()
    return 1 if survived else 0


def _row(outcome: Outcome) -> str:
    return f"{'caught' if outcome.caught else 'SURVIVED':9}{outcome.name:62}{outcome.test}"


if __name__ == "__main__":
    sys.exit(main())
