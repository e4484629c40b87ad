"""Plants the defects of tests/planted/defects.py, one at a time: each must make its test fail.

    python -m tests.planted.planted [NAME…] [--json]

The runner copies the sources once, puts one defect in, runs the one test that is named with it, there, and takes the
defect out. It prints a table of what failed, and exits with 1 when a defect survives its test: then the claim is not
made, or made elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from tests.planted.defects import DEFECTS, Defect

if TYPE_CHECKING:
    from tests.planted.fork_server import Answer, Request

ROOT = Path(__file__).parents[2]
SERVER = Path("tests", "planted", "fork_server.py")
ADAPTERS = sorted(path.parent.name for path in ROOT.glob("adapters/*/pyproject.toml"))
PARTS = ("canarycore", "adapters", "tests", "pyproject.toml")
SKIPPED = shutil.ignore_patterns(".hypothesis")
"""Compiled files are copied too: they are valid but for the file with the defect, and halve the time of a run."""

AT_ONCE = 2
"""Copies under test at the same time: one per core of a small machine."""

BROKEN_OFF = "it never ended, or was killed"
"""The outcome of a run without an end. It is a failure of the test where the list says that the defect is endless."""

PATIENCE = 120.0
"""Seconds after which a run is broken off."""

PATIENCE_FOR_ENDLESS = 30.0
"""The same for a defect of which the list says that its test waits for ever; without the defect it takes a second."""

PATIENCE_FOR_ALL = 800.0
"""Seconds for the tests of all defects: more than a minute on two quiet cores, and much more beside other sessions."""


@frozen(kw_only=True)
class Outcome:
    """caught: whether a test failed. test: the first that did."""

    name: str
    caught: bool
    test: str


@frozen
class Copy:
    """A copy of the sources with a server that runs tests there (fork_server.py)."""

    tree: Path
    server: subprocess.Popen[str]

    def plant(self, defect: Defect) -> Outcome:
        """Put the defect in, see whether its test fails, and take the defect out."""
        with self._planted(defect):
            patience = PATIENCE_FOR_ENDLESS if defect.is_endless else PATIENCE
            failed = self.first_failure([defect.caught_by], patience)
        if failed == BROKEN_OFF and not defect.is_endless:
            expected = f"a failure of {defect.caught_by} within {patience:g} s"
            raise ValueError(f"{defect.name!r}: {failed}, expected {expected}")
        return Outcome(name=defect.name, caught=bool(failed), test=failed)

    def first_failure(self, tests: Iterable[str], patience: float) -> str:
        """The first of the tests that fails in the copy, or how the run broke off; empty when all pass.

        A test that is not there is a failure of the list, and no defect that was caught.
        """
        answer = self._ask({"tests": list(tests), "patience": patience})
        if answer["code"] in {_NO_SUCH_TEST, _NOTHING_COLLECTED}:
            raise ValueError(f"found no test {tests}, expected one that fails; put the list right:\n{answer['output']}")
        if answer["code"] is None:
            return BROKEN_OFF
        return answer["failed"] or (f"the run broke off with {answer['code']}" if answer["code"] else "")

    @contextmanager
    def _planted(self, defect: Defect) -> Iterator[None]:
        """Change the file, and its time too: else its compiled file could pass for a file of the same size."""
        source, file = ROOT / defect.file, self.tree / defect.file
        file.write_text(changed(source.read_text(encoding="utf-8"), defect), encoding="utf-8")
        os.utime(file, (0, source.stat().st_mtime + 2))
        try:
            yield
        finally:
            shutil.copy2(source, file)

    def _ask(self, request: Request) -> Answer:
        requests, answers = self.server.stdin, self.server.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        answer: Answer = json.loads(answers.readline())
        return answer


@contextmanager
def copied() -> Iterator[Copy]:
    """Copy the sources, and start the server there: the copy's packages go before those that are installed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = _copied(Path(folder))
        packages = os.pathsep.join([str(tree), *(str(tree / "adapters" / name) for name in ADAPTERS)])
        env = {**os.environ, "PYTHONPATH": packages, "HYPOTHESIS_PROFILE": "ci", "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            [sys.executable, str(SERVER)],
            cwd=tree,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            yield Copy(tree, server)


def failure_without_any(copy: Copy) -> str:
    """The first test of the list that fails although nothing is planted; there should be none."""
    return copy.first_failure(sorted({defect.caught_by for defect in DEFECTS}), PATIENCE_FOR_ALL)


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
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for _ in range(min(AT_ONCE, len(defects))):
            free.put(stack.enter_context(copied()))
        for outcome in pool.map(partial(_plant_in_a_free_copy, free), defects):
            survived += not outcome.caught
            sys.stdout.write((json.dumps(asdict(outcome)) if wanted.json else _row(outcome)) + "\n")
            sys.stdout.flush()
    return 1 if survived else 0


def _plant_in_a_free_copy(free: queue.SimpleQueue[Copy], defect: Defect) -> Outcome:
    copy = free.get()
    try:
        return copy.plant(defect)
    finally:
        free.put(copy)


def _row(outcome: Outcome) -> str:
    return f"{'caught' if outcome.caught else 'SURVIVED':9}{outcome.name:62}{outcome.test}"


if __name__ == "__main__":
    sys.exit(main())
