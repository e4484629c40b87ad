"""Resources and problems of several YAML files.

Each problem has its file and line. All files are read before any of them is refused.
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
    """One document of a file."""

    file: str
    """Name of the file."""
    document: Document
    """The document."""
    resource: Parsed | None = None
    """The resource; None for other kinds, and for a refused document."""

    def locate(self, problem: Problem) -> Problem:
        """Return the problem with the file and line of its path in this document."""
        line = problem.line or self.document.line(problem.path)
        return attrs.evolve(problem, file=self.file or None, line=line)


@frozen(kw_only=True)
class FilesReport:
    """The documents of some files, with their problems."""

    problems: tuple[Problem, ...] = ()
    """Problems of all files."""
    documents: tuple[ParsedDocument, ...] = ()
    """Documents of all files."""

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """Canaries of all files."""
        return tuple(self._of(Canary))

    @property
    def templates(self) -> tuple[MetricTemplate, ...]:
        """MetricTemplates of all files."""
        return tuple(self._of(MetricTemplate))

    @property
    def providers(self) -> tuple[AlertProvider, ...]:
        """AlertProviders of all files."""
        return tuple(self._of(AlertProvider))

    @property
    def others(self) -> tuple[Mapping[str, Any], ...]:
        """Documents of kinds that are not Flagger's."""
        contents = (parsed.document.content for parsed in self.documents)
        return tuple(content for content in contents if not concerns_us(content))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that make the files unusable."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def _of(self, kind: type[Any]) -> Iterator[Any]:
        return (parsed.resource for parsed in self.documents if isinstance(parsed.resource, kind))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data, for programs."""
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
    """Return the resources of some (name, text) pairs. Raise ManifestError with all problems where one is an error."""
    report = read(files)
    if report.errors:
        raise ManifestError(report.problems)
    return report


def read(files: Iterable[tuple[str, str]]) -> FilesReport:
    """Return the resources of some (name, text) pairs, and the problems of their form."""
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
    """Return some documents with their resources, and the problems of their form."""
    results = [_examine(piece) for piece in pieces]
    return FilesReport(
        documents=tuple(parsed for parsed, _ in results),
        problems=tuple(problem for _, problems in results for problem in problems),
    )


def _examine(piece: ParsedDocument) -> tuple[ParsedDocument, tuple[Problem, ...]]:
    """Return a document with its resource, and the problems of its form."""
    content = piece.document.content
    if "kind" not in content and "apiVersion" not in content:
        return piece, (piece.locate(_fragment(content)),)
    if not concerns_us(content):
        return piece, ()
    try:
        resource = parse(content)
    except ManifestError as error:
        return piece, tuple(piece.locate(problem) for problem in error.problems)
    return attrs.evolve(piece, resource=resource), tuple(piece.locate(problem) for problem in resource.warnings)


def _fragment(content: Mapping[str, Any]) -> Problem:
    return Problem(
        path="",
        found=f"a document that begins with {shorten(next(iter(content)))}" if content else "a document without fields",
        expected="a Kubernetes object with apiVersion and kind",
        remedy="The document is ignored; if it belongs to a Canary, move it there.",
        rule="fragment",
        severity="warning",
    )
