"""Write the generated parts of the docs: `python docs/generate.py`; `--check` only reports stale parts.

A page marks the place with `<!-- generated: NAME -->` and `<!-- end -->`. The function of that name in `PARTS` returns
the text in between.
"""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from canarycore import bounds
from canarycore.machine import mermaid
from canarycore.manifest import AlertFacts
from canarycore_kubernetes.telemetry.troubles import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typer.core import TyperCommand

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), EXAMPLES / "README.md"]
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write the stale pages. Return 0, or 1 if `--check` is given and a page is stale."""
    stale = [page for page in PAGES if page.read_text() != rendered(page)]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(
                f"{page.relative_to(ROOT)}: found stale generated parts, expected current ones. Run docs/generate.py."
            )
        return 1 if stale else 0
    for page in stale:
        page.write_text(rendered(page))
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


def rendered(page: Path) -> str:
    """Return the text of the page with current generated parts."""
    return MARKED.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", page.read_text())


def _phases() -> str:
    return f"\n```mermaid\n{mermaid()}```\n\n"


def _tiny_controller() -> str:
    return f"\n```python\n{(EXAMPLES / 'tiny_controller.py').read_text()}```\n\n"


def _drivers() -> str:
    """Return the drivers of `examples/drivers.py` with their imports, without the platform that they run on."""
    text = (EXAMPLES / "drivers.py").read_text()
    body = ast.parse(text).body
    functions = [node for node in body if getattr(node, "name", "").startswith("run_")]
    used = {name.id for function in functions for name in ast.walk(function) if isinstance(name, ast.Name)}
    imports = [_import(node, used) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    sources = [str(ast.get_source_segment(text, function)) for function in functions]
    return "\n```python\n" + "\n\n\n".join(["\n".join(filter(None, imports)), *sources]) + "\n```\n\n"


def _import(statement: ast.Import | ast.ImportFrom, used: set[str]) -> str:
    """Return an import of the used names only; empty if there are none."""
    statement.names = [alias for alias in statement.names if alias.name in used]
    return ast.unparse(statement) if statement.names else ""


def _manifests() -> str:
    """Return a table of the manifests; the first line of each is its description."""
    lines = ["", "| Folder | File | Description |", "| --- | --- | --- |"]
    for path in sorted((EXAMPLES / "manifests").rglob("*.yaml")):
        description = path.read_text().splitlines()[0].removeprefix("#").strip()
        lines.append(f"| {path.parent.name} | `{path.name}` | {_cell(description)} |")
    return "\n".join([*lines, "", ""])


def _bounds() -> str:
    rows = [f"| {bound.of} | {bound.size} | {bound.reason} |" for bound in bounds.ALL]
    return "\n".join(["", "| Input | At most | Reason |", "| --- | --- | --- |", *rows, "", ""])


def _troubles() -> str:
    """Return the table of the reasons of the condition Blocked."""
    rows = [f"| `{reason.name}` | {_cell(reason.meaning)} | {_cell(reason.remedy)} |" for reason in REASONS]
    return "\n".join(["", "| Reason | Trouble | Remedy |", "| --- | --- | --- |", *rows, "", ""])


def _alert_facts() -> str:
    """Return the table of the fields in a template of an alert: the literal under a field describes it."""
    source = Path(inspect.getsourcefile(AlertFacts) or "").read_text()
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    body = next(node.body for node in classes if node.name == AlertFacts.__name__)
    fields = [ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)]
    texts = [ast.literal_eval(node.value) for node in body[1:] if isinstance(node, ast.Expr)]
    rows = [f"| `.{name}` | {_cell(text)} |" for name, text in zip(fields, texts, strict=True)]
    return "\n".join(["", "| Field | Value |", "| --- | --- |", *rows, "", ""])


def _series() -> str:
    from canarycore_kubernetes.telemetry.series import series_table

    return series_table()


def _observer_series() -> str:
    from canarycore_kubernetes.telemetry.series import OBSERVER_SERIES, series_table

    return series_table(OBSERVER_SERIES)


def _alerts() -> str:
    from canarycore_kubernetes.deploy.alert_rules import alert_table

    return alert_table()


def _defects() -> str:
    """Return the table of planted defects. Its module is run as a file, because the tests are not installed."""
    table: str = runpy.run_path(str(ROOT / "tests" / "planted" / "defects.py"))["table"]()
    return table


def _flagger_values() -> str:
    from canarycore_kubernetes.deploy.chart import values_table

    return values_table(flagger_only=True)


def _flagger_flags() -> str:
    from canarycore_kubernetes.migration.flags import flags_table

    return flags_table()


SERIES = re.compile(r"(?P<name>\w+)\{(?P<labels>[^}]*)\}")
"""A series with its labels, once the template's variables have other brackets."""

LABEL = re.compile(r'\w+[=!]~?=?"[^"]*"')


def _built_in_queries() -> str:
    """Return a table of the series and labels that the built-in queries of each provider need."""
    from canarycore_runtime.registry import installed, load_mesh

    providers: dict[tuple[str, str], list[str]] = {}
    for name in installed("meshes"):
        texts = [re.sub(r"\{\{ *(\w+) *\}\}", r"<\1>", query) for query in load_mesh(name).queries.values()]
        found = [match for text in texts for match in SERIES.finditer(text)]
        labels = [label for match in found for label in LABEL.findall(match["labels"])]
        row = (_codes(match["name"] for match in found), _codes(labels))
        providers.setdefault(row, []).append(name)
    rows = [f"| {_codes(names)} | {series} | {labels} |" for (series, labels), names in providers.items()]
    return "\n".join(["", "| Provider | Series | Labels |", "| --- | --- | --- |", *sorted(rows), "", ""])


def _codes(texts: Iterable[str]) -> str:
    """Return each text once, as code."""
    return ", ".join(f"`{_cell(text)}`" for text in dict.fromkeys(texts))


# ------------------------------------------------------------------------------------------------------ command line


def _commands() -> str:
    from canarycore_cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]  # the app has commands: it is a group
    return "\n" + "\n".join(_command(commands[name]) for name in sorted(commands)) + "\n"


def _command(command: TyperCommand) -> str:
    text = (command.help or "").replace("\b\n", "").strip()
    lines = [f"## canary {command.name}", "", text, "", "| Option | Meaning |", "| --- | --- |"]
    return "\n".join([*lines, *map(_parameter, command.params), ""])


def _parameter(parameter: Any) -> str:
    """Return a row of the table. Typer's parameter types have no common public base."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        usage = metavar or parameter.name.upper()
    else:
        usage = " ".join(filter(None, [", ".join([*parameter.opts, *parameter.secondary_opts]), metavar]))
    description = " ".join((parameter.help or "").split())
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        description += f" Default: `{default}`."
    return f"| `{_cell(usage)}` | {_cell(description)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PARTS: dict[str, Callable[[], str]] = {
    "phases": _phases,
    "tiny_controller": _tiny_controller,
    "drivers": _drivers,
    "manifests": _manifests,
    "defects": _defects,
    "commands": _commands,
    "bounds": _bounds,
    "troubles": _troubles,
    "alert_facts": _alert_facts,
    "series": _series,
    "observer_series": _observer_series,
    "alerts": _alerts,
    "flagger_values": _flagger_values,
    "flagger_flags": _flagger_flags,
    "built_in_queries": _built_in_queries,
}

if __name__ == "__main__":
    sys.exit(main())
