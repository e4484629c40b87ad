"""The docs are true: their code runs, their commands print the shown output, their generated parts are current."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.house.projects import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = Sybil([PythonCodeBlockParser()])
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(#[^)]*)?\)")


@frozen
class Command:
    """A command line of a page with its output on the page; "…" matches any text."""

    page: str
    line: str
    output: str

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def commands() -> list[Command]:
    result = []
    for page in PAGES:
        for block in CONSOLE.findall(page.read_text()):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                result.append(Command(page.name, line, output))
    return result


def is_rehearsal(command: Command) -> bool:
    return "canary rehearse" in command.line


COMMANDS = commands()
QUICK = [command for command in COMMANDS if not is_rehearsal(command)]
REHEARSALS = [command for command in COMMANDS if is_rehearsal(command)]


def output_of(command: Command) -> str:
    shell = f'canary() {{ "{sys.executable}" -m canarycore_cli "$@"; }}\n{command.line}'
    environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1"}
    result = subprocess.run(["bash", "-c", shell], cwd=ROOT, env=environment, capture_output=True, text=True)
    return result.stdout


def assert_prints_output(command: Command) -> None:
    actual = re.sub(r"[ \t]+$", "", output_of(command), flags=re.MULTILINE)
    expected = command.output.replace("…", "...")
    assert doctest.OutputChecker().check_output(expected, actual, doctest.ELLIPSIS), actual


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_on_a_page_runs(page: Path):
    for example in PYTHON.parse(page).examples():
        example.evaluate()


def test_the_docs_show_commands_and_rehearsals():
    assert QUICK
    assert REHEARSALS


@pytest.mark.parametrize("command", QUICK, ids=str)
def test_a_command_prints_what_its_page_shows(command: Command):
    assert_prints_output(command)


@pytest.mark.e2e
@pytest.mark.parametrize("command", REHEARSALS, ids=str)
def test_a_rehearsal_ends_as_its_page_shows(command: Command):
    assert_prints_output(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_on_a_page_leads_to_a_file(page: Path):
    targets = [target for target, _ in LINK.findall(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def decision_places() -> list[tuple[str, str]]:
    """(name, file) of each row of the README's table of places."""
    section = (ROOT / "README.md").read_text().split("### Where is")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][2:]
    return [(re.findall(r"`([\w.]+)`", row)[0].rpartition(".")[2], re.findall(r"\]\((.+)\)", row)[0]) for row in rows]


@pytest.mark.parametrize(("name", "file"), decision_places())
def test_the_readme_names_the_place_of_a_decision(name: str, file: str):
    pattern = rf"^\s*(async )?(def|class) {name}\b|^{name}\b.*="
    assert re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)


def test_the_generated_parts_are_current():
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_start_page_links_every_page():
    linked = {target for target, _ in LINK.findall((ROOT / "docs" / "index.md").read_text())}
    docs = ROOT / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"index.md"}
    assert pages - linked == set()


def public_modules() -> set[str]:
    """Return the names of all modules that a program may import, without those of the command line."""
    folders = [ROOT / "canarycore", *(ROOT / "adapters").glob("*/canarycore_*")]
    paths = [path for folder in folders for path in folder.rglob("*.py") if folder.name != "canarycore_cli"]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    modules = {".".join(part[2:] if part[0] == "adapters" else part).removesuffix(".__init__") for part in parts}
    return {module for module in modules if "._" not in module}


def test_the_reference_renders_every_public_module():
    text = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    listed = dict(re.findall(r"^::: (\S+)((?:\n .*)*)", text, re.MULTILINE))
    recursive = tuple(f"{name}." for name, options in listed.items() if "show_submodules: true" in options)
    modules = public_modules()
    assert modules - set(listed) == {module for module in modules - set(listed) if module.startswith(recursive)}
    assert set(listed) <= modules


def test_contributing_names_every_session():
    noxfile = (ROOT / "noxfile.py").read_text()
    functions = re.findall(r"@nox\.session(?:\((.*)\))?\ndef (\w+)", noxfile)
    sessions = {(re.findall(r'name="([\w-]+)"', options) or [name])[0] for options, name in functions}
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert sessions - set(rows) == set()
