"""Rollouts of Argo as Deployments and Canaries, with a list of all that has no equivalent.

    conversion = convert(documents)          the documents of some files, as plain mappings
    conversion.documents                     Deployments, Canaries, MetricTemplates, and the others as they are
    conversion.gaps                          what got lost or changed its meaning, each with its path and remedy
    convert_files([(name, text), ...])       the same for YAML texts, for all functions that read texts

The formats are `Rollout`, `AnalysisTemplate` and `ClusterAnalysisTemplate` of `argoproj.io/v1alpha1`. A part counts as
taken over when the conversion has read it; all other parts are gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from json import dumps
from typing import Any

from attrs import evolve, frozen

from canarycore.argo._analysis import Templates
from canarycore.argo._document import DocumentPart, Json
from canarycore.argo._gaps import Gaps
from canarycore.argo._rollout import Objects, convert_rollout, index_objects
from canarycore.errors import ManifestError, Problem
from canarycore.foreign import get_value
from canarycore.manifest import Document
from canarycore.manifest import documents as read_documents

__all__ = ["GROUP", "Conversion", "ConvertedFiles", "convert", "convert_files", "is_argos"]

GROUP = "argoproj.io"
_TEMPLATES = {"AnalysisTemplate": False, "ClusterAnalysisTemplate": True}
"""The kinds of templates, and whether they belong to the cluster."""


@frozen(kw_only=True)
class Conversion:
    """The documents of a conversion, and its gaps."""

    documents: tuple[Json, ...] = ()
    """The converted documents, and those that are not Argo's, in the order of the files."""
    gaps: tuple[Problem, ...] = ()
    """All parts without an equivalent. A path begins with the kind and the name of its document."""


@frozen(kw_only=True)
class ConvertedFiles(Conversion):
    """The conversion of some files. Its documents are those of the files with Argo's; gaps have a file and a line."""

    texts: tuple[tuple[str, str], ...] = ()
    """The name and the text of each file. The documents of a file with Argo's are JSON, which is YAML."""


def is_argos(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a Rollout or a template of Argo Rollouts."""
    return _group(document) == GROUP and document.get("kind") in {"Rollout", *_TEMPLATES}


def convert(documents: Iterable[Mapping[str, Any]]) -> Conversion:
    """Convert the Rollouts of some documents with the templates that they refer to."""
    bodies = [dict(document) for document in documents]
    pieces = _convert_each(bodies)
    results = (body for piece in pieces for body in piece.documents)
    pairs = zip(bodies, pieces, strict=True)
    gaps = (evolve(gap, path=f"{_name(body)}: {gap.path}") for body, piece in pairs for gap in piece.gaps)
    return Conversion(documents=tuple(results), gaps=tuple(gaps))


def convert_files(files: Iterable[tuple[str, str]]) -> ConvertedFiles:
    """Convert the Rollouts of some (name, text) pairs of YAML. A text with an error stays as it is."""
    pairs = tuple(files)
    if not any(f"{GROUP}/" in text for _, text in pairs):
        return ConvertedFiles(texts=pairs)
    parsed = [(name, document) for name, text in pairs for document in _read(text)]
    conversions = _convert_each([dict(document.content) for _, document in parsed])
    pieces = [(name, document, each) for (name, document), each in zip(parsed, conversions, strict=True)]
    texts, bodies = dict(pairs), []
    for file in dict.fromkeys(name for name, document in parsed if is_argos(document.content)):
        own = [body for name, _, piece in pieces if name == file for body in piece.documents]
        texts[file] = "\n---\n".join(map(dumps, own))
        bodies += own
    gaps = (
        evolve(gap, file=name or None, line=document.line(gap.path))
        for name, document, piece in pieces
        for gap in piece.gaps
    )
    return ConvertedFiles(texts=tuple(texts.items()), documents=tuple(bodies), gaps=tuple(gaps))


def _convert_each(bodies: list[Json]) -> list[Conversion]:
    """Return what becomes of each document. Templates become part of the Rollouts that refer to them."""
    objects = index_objects(body for body in bodies if not is_argos(body))
    nodes, gaps = [DocumentPart(body) for body in bodies], [Gaps() for _ in bodies]
    pairs = list(zip(nodes, gaps, strict=True))
    templates = {
        (_TEMPLATES[node.value["kind"]], str(get_value(node.value, "metadata", "name"))): (node.at("spec"), own)
        for node, own in pairs
        if _is_template(node)
    }
    results = [_convert_one(node, templates, objects, own) for node, own in pairs]
    for node, own in pairs:
        if _is_template(node) and node.is_read:  # no Rollout of these files refers to the others
            for name in ("apiVersion", "kind", "metadata"):
                node.take(name)
            own.report_unread(node)
    return [
        Conversion(documents=tuple(result), gaps=tuple(own.problems)) for result, own in zip(results, gaps, strict=True)
    ]


def _is_template(node: DocumentPart) -> bool:
    return is_argos(node.value) and node.value["kind"] in _TEMPLATES


def _convert_one(node: DocumentPart, templates: Templates, objects: Objects, gaps: Gaps) -> list[Json]:
    if not is_argos(node.value):
        return [node.value]
    return convert_rollout(node, templates, objects, gaps) if node.value["kind"] == "Rollout" else []


def _read(text: str) -> list[Document]:
    """Return the documents of a text; none if it has an error, which its own reader reports."""
    try:
        return list(read_documents(text))
    except ManifestError:
        return []


def _name(body: Mapping[str, Any]) -> str:
    return f"{body.get('kind')}/{get_value(body, 'metadata', 'name')}"


def _group(document: Mapping[str, Any]) -> str:
    version = document.get("apiVersion")
    return version.partition("/")[0] if isinstance(version, str) else ""
