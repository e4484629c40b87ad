"""canary lint: print all problems of manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from canarycore.manifest import Canary, check_files, check_namespaces
from canarycore_cli.console import BAD_INPUT, OK, out, print_json, print_problems
from canarycore_cli.manifests import read_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore.errors import Problem
    from canarycore.manifest import FilesReport


def lint(
    paths: Iterable[str], *, provider: str, strict: bool, as_json: bool, shared_gateways: Iterable[str] | None = None
) -> int:
    """Print the problems, and return the exit code.

    Args:
        paths: Files and folders; `-` is stdin.
        provider: The mesh provider of Canaries that name none.
        strict: Whether warnings fail too.
        as_json: Whether to print JSON.
        shared_gateways: The namespaces whose gateways every Canary may use, while other references to other namespaces
            are errors; None allows all references.
    """
    files = read_texts(paths)
    report = check_files(files, provider=provider)
    if shared_gateways is not None:
        problems = _cross_namespace_problems(report, tuple(shared_gateways))
        report = evolve(report, problems=(*report.problems, *problems))
    if as_json:
        print_json({"files": len(files), **report.to_json()})
    else:
        _print(report, len(files))
    return BAD_INPUT if report.errors or (strict and report.problems) else OK


def _cross_namespace_problems(report: FilesReport, shared_gateways: Iterable[str]) -> Iterator[Problem]:
    for piece in report.documents:
        if isinstance(piece.resource, Canary):
            yield from map(piece.locate, check_namespaces(piece.resource, gateways=shared_gateways))


def _print(report: FilesReport, files: int) -> None:
    console = out()
    print_problems(report.problems, console)
    errors = len(report.errors)
    warnings = len(report.problems) - errors
    scope = f"{_count(files, 'file')} with {_count(len(report.canaries), 'usable Canary', 'usable Canaries')}"
    verdict = "clean" if not report.problems else f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    console.print(f"{verdict} in {scope}", style="bold", markup=False)


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
