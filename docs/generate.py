"""Writes the generated parts of the docs: `python docs/generate.py`; `--check` only says whether they are current.

A page marks the place with `<!-- generated: NAME -->` and `<!-- end -->`; what stands between is what the function of
that name in `PARTS` returns.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from canarycore import bounds
from canarycore.machine import mermaid

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.core import TyperCommand

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [*sorted((ROOT / "docs").glob("*.md")), EXAMPLES / "README.md"]
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """0 when everything is current (afterwards, or with `--check` already)."""
    stale = [page for page in PAGES if page.read_text() != rendered(page)]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)}: found old generated parts, expected current ones. Run docs/generate.py.")
        return 1 if stale else 0
    for page in stale:
        page.write_text(rendered(page))
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


def rendered(page: Path) -> str:
    """The page with its generated parts as they should be."""
    return MARKED.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", page.read_text())


def _phases() -> str:
    return f"\n```mermaid\n{mermaid()}```\n\n"


def _tiny_controller() -> str:
    return f"\n```python\n{(EXAMPLES / 'tiny_controller.py').read_text()}```\n\n"


def _manifests() -> str:
    """Each manifest with its first line, which says what it is."""
    lines = ["", "| Folder | File | What it is |", "| --- | --- | --- |"]
    for path in sorted((EXAMPLES / "manifests").rglob("*.yaml")):
        told = path.read_text().splitlines()[0].removeprefix("#").strip()
        lines.append(f"| {path.parent.name} | `{path.name}` | {_cell(told)} |")
    return "\n".join([*lines, "", ""])


def _bounds() -> str:
    rows = [f"| {bound.of} | {bound.size} | {bound.reason} |" for bound in bounds.ALL]
    return "\n".join(["", "| Input | At most | Why that is enough |", "| --- | --- | --- |", *rows, "", ""])


def _defects() -> str:
    """Read as a file: the tests are no package that is installed."""
    table: str = runpy.run_path(str(ROOT / "tests" / "planted" / "defects.py"))["table"]()
    return table


# ------------------------------------------------------------------------------------------------------ command line


def _commands() -> str:
    from canarycore_cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]  # the app has commands: it is a group
    return "\n" + "\n".join(_command(commands[name]) for name in sorted(commands)) + "\n"


def _command(command: TyperCommand) -> str:
    text = (command.help or "").replace("\b\n", "").strip()
    lines = [f"## canary {command.name}", "", text, "", "| | |", "| --- | --- |"]
    return "\n".join([*lines, *map(_parameter, command.params), ""])


def _parameter(parameter: Any) -> str:
    """A row of the table. Typer's parameter types have no common public base."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        usage = metavar or parameter.name.upper()
    else:
        usage = " ".join(filter(None, [", ".join([*parameter.opts, *parameter.secondary_opts]), metavar]))
    told = " ".join((parameter.help or "").split())
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        told += f" Default: `{default}`."
    return f"| `{_cell(usage)}` | {_cell(told)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PARTS: dict[str, Callable[[], str]] = {
    "phases": _phases,
    "tiny_controller": _tiny_controller,
    "manifests": _manifests,
    "defects": _defects,
    "commands": _commands,
    "bounds": _bounds,
}

if __name__ == "__main__":
    sys.exit(main())
