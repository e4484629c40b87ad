"""Annotations that carry the fields of an analysis that Flagger's definition of Canaries lacks.

    metadata:
      annotations:
        canarycore/analysis.drain: 30s
        canarycore/analysis.minSamples: "100"

An API server drops a field that its definition lacks, but stores every annotation. A value is the field's, as text. The
codec of the field reads it, so it has the same bounds and errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from canarycore.foreign import get_value
from canarycore.manifest._model import OWN_FIELDS, Analysis, Canary
from canarycore.manifest._reader._fields import Cursor, Problems, fields_of, show

if TYPE_CHECKING:
    from canarycore.manifest._reader._fields import Codec

ANALYSIS_ANNOTATION = "canarycore/analysis."
"""Prefix of the annotations; the name of the field follows."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}+")
"""Pattern of a number with at most the digits of `canarycore.bounds.DIGITS`."""
_TRUTH = {"true": True, "false": False}
_KNOWN = frozenset(f"{ANALYSIS_ANNOTATION}{name}" for name in OWN_FIELDS)


def annotated_fields(annotations: Iterable[str]) -> frozenset[str]:
    """Return the fields that annotations with these names carry, as `analysis.drain`."""
    return frozenset(f"analysis.{key.removeprefix(ANALYSIS_ANNOTATION)}" for key in _KNOWN.intersection(annotations))


def read_annotations(document: Mapping[str, Any], cursor: Cursor) -> dict[str, Any]:
    """Return the values of a Canary's annotations by the attribute of the analysis.

    Add a problem where an annotation is wrong, or where the field itself has another value.
    """
    below = cursor.at("metadata").at("annotations")
    annotations = get_value(document, "metadata", "annotations")
    texts = {
        key: text
        for key, text in (annotations.items() if isinstance(annotations, Mapping) else ())
        if isinstance(key, str) and key.startswith(ANALYSIS_ANNOTATION) and isinstance(text, str)
    }
    if not texts:
        return {}
    below.unknown_of(texts, _KNOWN, "the analysis that an annotation can carry")
    section = "canaryAnalysis" if get_value(document, "spec", "analysis") is None else "analysis"
    written = get_value(document, "spec", section)
    if not isinstance(written, Mapping):
        for key in sorted(texts.keys() & _KNOWN):
            below.at(key).warn(texts[key], "a Canary with an analysis", "Add spec.analysis.", "no-analysis")
        return {}
    return {
        fields_of(Analysis)[name].name: _read_field(texts[key], name, below.at(key), written, f"spec.{section}.{name}")
        for name in OWN_FIELDS
        if (key := f"{ANALYSIS_ANNOTATION}{name}") in texts
    }


def with_annotations(canary: Canary, values: Mapping[str, Any]) -> Canary:
    """Return a Canary whose analysis has the values of its annotations."""
    if not values or canary.analysis is None:
        return canary
    analysis = evolve(canary.analysis, **values)
    spec = evolve(canary.spec, analysis=analysis) if canary.spec.analysis else None
    return evolve(canary, spec=spec or evolve(canary.spec, canary_analysis=analysis))


def _read_field(text: str, name: str, cursor: Cursor, written: Mapping[str, Any], path: str) -> Any:
    codec: Codec = fields_of(Analysis)[name].metadata["codec"]
    problems = Problems()
    value = codec.read(_scalar(text, codec), Cursor(cursor.path, problems))
    for problem in problems.listed():
        is_type = problem.rule == "type"  # the codec's remedy speaks of values without quotes
        cursor.problems.add(evolve(problem, remedy=f"Write {problem.expected}, in quotes.") if is_type else problem)
    field = written.get(name)
    if field is None or problems.failed:
        return value
    ignored = Problems()
    if codec.read(field, Cursor(path, ignored)) != value and not ignored.failed:
        cursor.refuse(text, f"{show(field)}, as in {path}", f"Remove the annotation, or {path}.", "contradiction")
    return value


def _scalar(text: str, codec: Codec) -> object:
    """Return the JSON value of a text, where the codec reads no text."""
    match codec.describe().get("type"):
        case "integer" if _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        case "boolean":
            return _TRUTH.get(text, text)
        case "array":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        case _:
            return text
