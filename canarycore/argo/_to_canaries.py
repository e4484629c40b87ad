"""Rollouts of Argo as Canaries, document by document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from canarycore.argo._analysis import Templates
from canarycore.argo._document import DocumentPart, Json
from canarycore.argo._gaps import Gaps
from canarycore.argo._rollout import Objects, convert_rollout, index_objects
from canarycore.errors import Problem
from canarycore.foreign import get_value

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
    return _group(document) == GROUP and document.get("kind") in {"Rollout", *_TEMPLATES}


def to_canaries(bodies: list[Json]) -> list[Conversion]:
    """Convert each document. Templates become part of the Rollouts that refer to them."""
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


def _group(document: Mapping[str, Any]) -> str:
    version = document.get("apiVersion")
    return version.partition("/")[0] if isinstance(version, str) else ""
