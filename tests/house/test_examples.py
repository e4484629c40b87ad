"""The examples run unchanged."""

from __future__ import annotations

import ast
import re
import runpy
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


def test_each_driver_publishes_the_same_notices_once():
    stories = re.split(r"^\w[\w ]*\n", run("drivers.py"), flags=re.MULTILINE)[1:]
    assert len(stories) == 3
    assert len(set(stories)) == 1
    lines = stories[0].splitlines()
    assert lines[-1].endswith("Promotion completed! Scaling down shop.default")
    assert len({line.partition("  ")[2] for line in lines}) == len(lines)


def test_each_driver_has_at_most_fifteen_lines():
    functions = [node for node in ast.parse((EXAMPLES / "drivers.py").read_text()).body if hasattr(node, "name")]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.name.startswith("run_")}
    assert len(lengths) == 3
    assert max(lengths.values()) <= 15


def test_processes_of_one_turn_publish_each_notice_once(tmp_path):
    printed = "".join(run("drivers.py", str(tmp_path / "shop.json"), "v1") for _ in range(4))
    assert printed.count("\n") == 2
    assert "Initialization done! shop.default" in printed


def test_four_hundred_turns_keep_status_and_memory_small(tmp_path, capsys):
    """A memory that is lost after each turn would publish over thirty thousand notices here."""
    drivers = runpy.run_path(str(EXAMPLES / "drivers.py"))
    path, sizes = tmp_path / "shop.json", []
    for turn in range(400):
        drivers["run_turn"](path, f"v{turn // 20}")
        sizes.append(path.stat().st_size)
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == len(lines) < 200
    assert max(sizes) < 8000
    assert max(sizes[200:]) <= max(sizes[:200]) + 100


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
