"""canary lint: print all problems of manifests."""

from __future__ import annotations

import re
from itertools import filterfalse
from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.manifest import Canary, check_files, check_namespaces
from canarycore_cli.console import BAD_INPUT, OK, count_of, out, print_json, print_problems
from canarycore_cli.manifests.read import convert_argo, read_check_templates, read_files
from canarycore_runtime.plugins import find_installed_providers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from canarycore.errors import Problem
    from canarycore.manifest import FilesReport


def lint(
    paths: Iterable[str],
    *,
    provider: str,
    strict: bool,
    as_json: bool,
    shared_gateways: Iterable[str] | None = None,
    ignored: Collection[str] = (),
) -> int:
    """Print the problems, and return the exit code.

    Args:
        paths: Files and folders; `-` is stdin.
        provider: The mesh provider of Canaries that name none.
        strict: Whether warnings fail too.
        as_json: Whether to print JSON.
        shared_gateways: The namespaces whose gateways every Canary may use, while other references to other namespaces
            are errors; None allows all references.
        ignored: Rules whose problems do not count. A comment `# canary-lint: ignore RULE` at the line of a problem, or
            on a line of its own above it, does the same there.
    """
    files = read_files(paths)
    texts, gaps = convert_argo(files.texts)
    templates = read_check_templates(texts)
    report = check_files(texts, provider=provider, installed=find_installed_providers(), templates=templates)
    problems = [*files.problems, *gaps, *report.problems]
    if shared_gateways is not None:
        problems += _cross_namespace_problems(report, tuple(shared_gateways))
    ignorance = Ignorance(files.texts, ignored)
    report = evolve(report, problems=tuple(filterfalse(ignorance.covers, problems)))
    if as_json:
        print_json({"files": len(files.texts), **report.to_json()})
    else:
        _print(report, len(files.texts))
    return BAD_INPUT if report.errors or (strict and report.problems) else OK


_COMMENT = re.compile(r"#\s*canary-lint:\s*ignore\s+(?P<rules>[\w-]+(?:\s*,\s*[\w-]+)*)")


class Ignorance:
    """The rules that do not count: in all files, or at a line of one."""

    def __init__(self, texts: Iterable[tuple[str, str]], rules: Collection[str]) -> None:
        """Read the comments of the files. `rules` are ignored everywhere."""
        self._rules = frozenset(rules)
        self._at: dict[tuple[str, int], frozenset[str]] = {}
        for name, text in texts:
            if "canary-lint:" in text:
                self._read(name, text)

    def _read(self, name: str, text: str) -> None:
        for number, line in enumerate(text.splitlines(), 1):
            match = _COMMENT.search(line)
            if match is not None:
                is_alone = line.lstrip().startswith("#")
                rules = frozenset(rule.strip() for rule in match["rules"].split(","))
                self._at[name, number + is_alone] = rules

    def covers(self, problem: Problem) -> bool:
        """Check whether a problem does not count."""
        here = self._at.get((problem.file or "", problem.line or 0), frozenset())
        return problem.rule in self._rules or problem.rule in here


def _cross_namespace_problems(report: FilesReport, shared_gateways: Iterable[str]) -> Iterator[Problem]:
    for piece in report.documents:
        if isinstance(piece.resource, Canary):
            yield from map(piece.locate, check_namespaces(piece.resource, gateways=shared_gateways))


def _print(report: FilesReport, files: int) -> None:
    console = out()
    print_problems(report.problems, console)
    errors = len(report.errors)
    warnings = len(report.problems) - errors
    scope = f"{count_of(files, 'file')} with {count_of(len(report.canaries), 'usable Canary', 'usable Canaries')}"
    verdict = "clean" if not report.problems else f"{count_of(errors, 'error')}, {count_of(warnings, 'warning')}"
    console.print(f"{verdict} in {scope}", style="bold", markup=False)
