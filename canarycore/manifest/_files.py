"""Several files of YAML at once: what is in them, and what is wrong with them.

A problem is told with its file and line. All files are looked at before anything is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen

from canarycore.errors import ManifestError, Problem
from canarycore.foreign import get_value
from canarycore.manifest._model import AlertProvider, Canary, MetricTemplate, Resource
from canarycore.manifest._parse import Parsed, concerns_us, parse
from canarycore.manifest._reader._yaml import Document, documents
from canarycore.text import shorten


@frozen(kw_only=True)
class ParsedDocument:
    """One document of a file. `resource` is None for a foreign kind, and for one of ours that was refused."""

    file: str
    document: Document
    resource: Parsed | None = None

    def locate(self, problem: Problem) -> Problem:
        """The problem, with the file and line of its path in this document."""
        line = problem.line or self.document.line(problem.path)
        return attrs.evolve(problem, file=self.file or None, line=line)


@frozen(kw_only=True)
class FilesReport:
    """What some files hold, and what is wrong with it. `others` are documents of foreign kinds."""

    problems: tuple[Problem, ...] = ()
    found: tuple[ParsedDocument, ...] = ()

    @property
    def canaries(self) -> tuple[Canary, ...]:
        return tuple(self._of(Canary))

    @property
    def templates(self) -> tuple[MetricTemplate, ...]:
        return tuple(self._of(MetricTemplate))

    @property
    def providers(self) -> tuple[AlertProvider, ...]:
        return tuple(self._of(AlertProvider))

    @property
    def others(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(found.document.content for found in self.found if not concerns_us(found.document.content))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the files from being used."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def _of(self, kind: type[Any]) -> Iterator[Any]:
        return (found.resource for found in self.found if isinstance(found.resource, kind))

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, for programs."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.problems) - len(self.errors),
            "problems": [attrs.asdict(problem) for problem in self.problems],
            "canaries": [_full_name(resource) for resource in self.canaries],
            "templates": [_full_name(resource) for resource in self.templates],
            "providers": [_full_name(resource) for resource in self.providers],
            "others": [
                f"{other.get('kind')} {get_value(other, 'metadata', 'name') or ''}".strip() for other in self.others
            ],
        }


def _full_name(resource: Resource) -> str:
    return f"{resource.name}.{resource.namespace}"


def load(files: Iterable[tuple[str, str]]) -> FilesReport:
    """The resources of some (name, text) pairs; raises ManifestError with the problems of all of them."""
    report = read(files)
    if report.errors:
        raise ManifestError(report.problems)
    return report


def read(files: Iterable[tuple[str, str]]) -> FilesReport:
    """What is in some (name, text) pairs, and what is wrong with its form."""
    problems: list[Problem] = []
    pieces: list[ParsedDocument] = []
    for name, text in files:
        try:
            pieces += (ParsedDocument(file=name, document=document) for document in documents(text))
        except ManifestError as error:
            problems += (attrs.evolve(problem, file=name or None) for problem in error.problems)
    report = examine(pieces)
    return attrs.evolve(report, problems=(*problems, *report.problems))


def examine(pieces: Iterable[ParsedDocument]) -> FilesReport:
    """Some documents with their resources, and what is wrong with their form."""
    looked = [_look(piece) for piece in pieces]
    return FilesReport(
        found=tuple(found for found, _ in looked),
        problems=tuple(problem for _, problems in looked for problem in problems),
    )


def _look(found: ParsedDocument) -> tuple[ParsedDocument, tuple[Problem, ...]]:
    """A document with its resource, and the problems of its form."""
    content = found.document.content
    if "kind" not in content and "apiVersion" not in content:
        return found, (found.locate(_fragment(content)),)
    if not concerns_us(content):
        return found, ()
    try:
        resource = parse(content)
    except ManifestError as error:
        return found, tuple(found.locate(problem) for problem in error.problems)
    return attrs.evolve(found, resource=resource), tuple(found.locate(problem) for problem in resource.warnings)


def _fragment(content: Mapping[str, Any]) -> Problem:
    return Problem(
        path="",
        found=f"a document that begins with {shorten(next(iter(content)))}" if content else "a document without fields",
        expected="a Kubernetes object with apiVersion and kind",
        remedy="It is passed over; if it is a part of a Canary, put it there.",
        rule="fragment",
        severity="warning",
    )
