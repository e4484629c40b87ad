"""The examples run unchanged."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.house.projects import ROOT

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_tiny_controller_promotes_its_second_revision():
    assert run("tiny_controller.py").splitlines()[-1].endswith("Promotion completed! Scaling down podinfo.default")


def test_the_tiny_controller_is_under_sixty_lines_without_its_imports():
    lines = (EXAMPLES / "tiny_controller.py").read_text().splitlines()
    assert len([line for line in lines if not line.startswith(("from ", "import "))]) < 60


def test_the_machine_shows_the_bug_of_the_router_as_a_few_events():
    message, start, schedule = run("own_router.py").partition("state = AnyLife()\n")
    assert start
    assert re.match(r"found Routes\(weight=\d+,.*\), expected Routes\(weight=\d+,.*\), as set", message)
    events = schedule.partition("Explanation:")[0].splitlines()
    assert events[-1] == "state.teardown()"
    assert len(events) < 7


def test_the_test_of_the_router_has_under_twenty_lines():
    _, _, program = (EXAMPLES / "own_router.py").read_text().partition("class AnyLife")
    assert len(program.partition("\n\n\n")[0].splitlines()) < 20


def test_simulate_policy_promotes_good_versions_and_no_bad_ones():
    lines = run("simulate_policy.py").splitlines()[1:]
    promoted = [line.split()[1] for line in lines]
    assert (promoted[0], promoted[-1]) == ("100%", "0%")


@pytest.mark.e2e
def test_rehearse_policy_promotes_the_good_version_and_rolls_the_bad_one_back():
    outcomes = [line for line in run("rehearse_policy.py").splitlines() if line.startswith("outcome")]
    assert outcomes == ["outcome: Succeeded", "outcome: Failed"]


def test_every_example_is_listed_in_the_readme_of_the_examples():
    readme = (EXAMPLES / "README.md").read_text()
    names = [path.name for path in [*EXAMPLES.glob("*.py"), *(EXAMPLES / "manifests").rglob("*.yaml")]]
    assert [name for name in names if f"`{name}`" not in readme] == []
