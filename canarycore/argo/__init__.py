"""Rollouts of Argo as Deployments and Canaries, and back, with a list of all that has no equivalent.

    conversion = convert(documents)          the documents of some files, as plain mappings
    conversion.documents                     Deployments, Canaries, MetricTemplates, and the others as they are
    conversion.gaps                          what got lost or changed its meaning, each with its path and remedy
    convert_files([(name, text), ...])       the same for YAML texts, for all functions that read texts
    convert(documents, to="argo")            Rollouts and AnalysisTemplates, of the Canaries that lose nothing
    read_templates(documents)                AnalysisTemplates as definitions of checks, for `manifest.resolve`
    read_template_files([(name, text), ...]) the same of YAML texts

The formats are `Rollout`, `AnalysisTemplate` and `ClusterAnalysisTemplate` of `argoproj.io/v1alpha1`. A part counts as
taken over when the conversion has read it; all other parts are gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from json import dumps
from typing import Any, Literal

from attrs import evolve, frozen

from canarycore.argo._document import Json
from canarycore.argo._templates import AnalysisTemplate, fill_secrets, read_template_files, read_templates
from canarycore.argo._to_canaries import GROUP, Conversion, is_argos, is_template, to_canaries
from canarycore.argo._to_rollouts import is_canary, to_rollouts
from canarycore.errors import ManifestError
from canarycore.foreign import get_value
from canarycore.manifest import Document
from canarycore.manifest import documents as read_documents

__all__ = [
    "GROUP",
    "AnalysisTemplate",
    "Conversion",
    "ConvertedFiles",
    "Dialect",
    "convert",
    "convert_files",
    "fill_secrets",
    "is_argos",
    "is_canary",
    "is_template",
    "read_template_files",
    "read_templates",
]

Dialect = Literal["canary", "argo"]
"""The format of converted documents: Canaries, or Argo's Rollouts."""


@frozen(kw_only=True)
class ConvertedFiles(Conversion):
    """The conversion of some files. Its documents are those of the files that it changes.

    Gaps have a file and a line.
    """

    texts: tuple[tuple[str, str], ...] = ()
    """The name and the text of each file. The documents of a file that it changes are JSON, which is YAML."""


@frozen
class _Direction:
    each: Callable[[list[Json]], list[Conversion]]
    is_changed: Callable[[Mapping[str, Any], Conversion], bool]
    """Whether the document of a file, with this conversion, makes the file one that changes."""
    mark: str
    """A text that each file with a source has."""


def _is_replaced(document: Mapping[str, Any], piece: Conversion) -> bool:
    """Return whether a document of Argo becomes another one: a template that a Canary refers to stays."""
    return is_argos(document) and piece.documents != (document,)


_DIRECTIONS: dict[Dialect, _Direction] = {
    "canary": _Direction(to_canaries, _is_replaced, f"{GROUP}/"),
    "argo": _Direction(to_rollouts, lambda document, _: is_canary(document), "flagger.app/"),
}


def convert(documents: Iterable[Mapping[str, Any]], *, to: Dialect = "canary") -> Conversion:
    """Convert the Rollouts of some documents with the templates that they refer to, or the Canaries.

    Args:
        documents: The documents, also those that a Rollout or a Canary refers to.
        to: The format of the result. A Canary becomes a Rollout only if nothing gets lost; otherwise it stays as it is,
            and has gaps.

    Raises:
        ManifestError: A Canary to convert is invalid.
    """
    bodies = [dict(document) for document in documents]
    pieces = _DIRECTIONS[to].each(bodies)
    results = (body for piece in pieces for body in piece.documents)
    pairs = zip(bodies, pieces, strict=True)
    gaps = (evolve(gap, path=f"{_name(body)}: {gap.path}") for body, piece in pairs for gap in piece.gaps)
    return Conversion(documents=tuple(results), gaps=tuple(gaps))


def convert_files(files: Iterable[tuple[str, str]], *, to: Dialect = "canary") -> ConvertedFiles:
    """Convert some (name, text) pairs of YAML as `convert` does. A text with an error stays as it is.

    Raises:
        ManifestError: A Canary to convert is invalid.
    """
    pairs, direction = tuple(files), _DIRECTIONS[to]
    if not any(direction.mark in text for _, text in pairs):
        return ConvertedFiles(texts=pairs)
    parsed = [(name, document) for name, text in pairs for document in _read(text)]
    conversions = direction.each([dict(document.content) for _, document in parsed])
    pieces = [(name, document, each) for (name, document), each in zip(parsed, conversions, strict=True)]
    texts, bodies = dict(pairs), []
    changed = (name for name, document, piece in pieces if direction.is_changed(document.content, piece))
    for file in dict.fromkeys(changed):
        own = [body for name, _, piece in pieces if name == file for body in piece.documents]
        texts[file] = "\n---\n".join(map(dumps, own))
        bodies += own
    gaps = (
        evolve(gap, file=name or None, line=document.line(gap.path))
        for name, document, piece in pieces
        for gap in piece.gaps
    )
    return ConvertedFiles(texts=tuple(texts.items()), documents=tuple(bodies), gaps=tuple(gaps))


def _read(text: str) -> list[Document]:
    """Return the documents of a text; none if it has an error, which its own reader reports."""
    try:
        return list(read_documents(text))
    except ManifestError:
        return []


def _name(body: Mapping[str, Any]) -> str:
    return f"{body.get('kind')}/{get_value(body, 'metadata', 'name')}"
