"""Rollouts of Argo as Canaries, document by document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from canarycore.argo._analysis import Templates
from canarycore.argo._document import DocumentPart, Json
from canarycore.argo._gaps import Gaps
from canarycore.argo._rollout import Objects, convert_rollout, index_objects
from canarycore.errors import Problem
from canarycore.foreign import get_items, get_text, get_value

GROUP = "argoproj.io"
_TEMPLATES = {"AnalysisTemplate": False, "ClusterAnalysisTemplate": True}
"""The kinds of templates, and whether they belong to the cluster."""


@frozen(kw_only=True)
class Conversion:
    """The documents of a conversion, and its gaps."""

    documents: tuple[Json, ...] = ()
    """The converted documents, and those that stay as they are, in the order of the files."""
    gaps: tuple[Problem, ...] = ()
    """All parts without an equivalent. A path begins with the kind and the name of its document."""


def is_argos(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a Rollout or a template of Argo Rollouts."""
    return _group(document) == GROUP and get_text(document, "kind") in {"Rollout", *_TEMPLATES}


def is_template(document: Mapping[str, Any]) -> bool:
    """Return whether a document is an AnalysisTemplate or a ClusterAnalysisTemplate."""
    return is_argos(document) and document["kind"] in _TEMPLATES


def to_canaries(bodies: list[Json]) -> list[Conversion]:
    """Convert each document. Templates become part of the Rollouts that refer to them; those of Canaries stay too."""
    objects = index_objects(body for body in bodies if not is_argos(body))
    nodes, gaps = [DocumentPart(body) for body in bodies], [Gaps() for _ in bodies]
    pairs = list(zip(nodes, gaps, strict=True))
    templates = {
        (_TEMPLATES[node.value["kind"]], str(get_value(node.value, "metadata", "name"))): (node.at("spec"), own)
        for node, own in pairs
        if is_template(node.value)
    }
    of_canaries = frozenset(place for body in bodies for place in _find_templates(body))
    results = [_convert_one(node, templates, objects, own, of_canaries) for node, own in pairs]
    for node, own in pairs:
        if is_template(node.value) and node.is_read:  # no Rollout of these files refers to the others
            for name in ("apiVersion", "kind", "metadata"):
                node.take(name)
            own.report_unread(node)
    return [
        Conversion(documents=tuple(result), gaps=tuple(own.problems)) for result, own in zip(results, gaps, strict=True)
    ]


def _find_templates(body: Json) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of each template that a Canary refers to, in whichever namespace."""
    for section in ("analysis", "canaryAnalysis"):
        for metric in get_items(body, "spec", section, "metrics"):
            yield get_text(metric, "templateRef", "kind"), get_text(metric, "templateRef", "name")


def _convert_one(
    node: DocumentPart, templates: Templates, objects: Objects, gaps: Gaps, of_canaries: frozenset[tuple[str, str]]
) -> list[Json]:
    if not is_argos(node.value) or (node.value["kind"], get_text(node.value, "metadata", "name")) in of_canaries:
        return [node.value]
    return convert_rollout(node, templates, objects, gaps) if node.value["kind"] == "Rollout" else []


def _group(document: Mapping[str, Any]) -> str:
    version = document.get("apiVersion")
    return version.partition("/")[0] if isinstance(version, str) else ""
