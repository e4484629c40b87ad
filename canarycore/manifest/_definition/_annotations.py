"""Annotations that carry the fields of a Canary that Flagger's definition of Canaries lacks.

    metadata:
      annotations:
        canarycore/analysis.drain: 30s
        canarycore/analysis.minSamples: "100"
        canarycore/service.routeKind: GRPCRoute

An API server drops a field that its definition lacks, but stores every annotation. A value is the field's, as text. The
codec of the field reads it, so it has the same bounds and errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore.foreign import get_value
from canarycore.manifest._model import OWN_FIELDS, Analysis, Canary
from canarycore.manifest._reader._fields import Cursor, Problems, fields_of, show
from canarycore.manifest._service import OWN_FIELDS_OF_SERVICES, Service

if TYPE_CHECKING:
    from attrs import Attribute

    from canarycore.manifest._reader._fields import Codec

FIELD_ANNOTATION = "canarycore/"
"""Prefix of the annotations; the field follows, such as `analysis.drain`."""

ANALYSIS_ANNOTATION = f"{FIELD_ANNOTATION}analysis."
"""Prefix of the annotations with fields of the analysis; the name of the field follows."""


@frozen(kw_only=True)
class _Section:
    """A section of the spec, some of whose fields annotations can carry."""

    name: str
    type: type[Any]
    fields: tuple[str, ...]
    """The names of these fields."""

    @property
    def prefix(self) -> str:
        return f"{FIELD_ANNOTATION}{self.name}."

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset(f"{self.prefix}{name}" for name in self.fields)

    def path(self, document: Mapping[str, Any]) -> str:
        """Return the name of the section in a manifest, which may be the deprecated one."""
        is_old = self.name == "analysis" and get_value(document, "spec", self.name) is None
        return "canaryAnalysis" if is_old else self.name


_SECTIONS = (
    _Section(name="analysis", type=Analysis, fields=OWN_FIELDS),
    _Section(name="service", type=Service, fields=OWN_FIELDS_OF_SERVICES),
)

CARRIED_FIELDS = tuple(f"{section.name}.{name}" for section in _SECTIONS for name in section.fields)
"""The fields that an annotation can carry, such as `analysis.drain`."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}+")
"""Pattern of a number with at most the digits of `canarycore.bounds.DIGITS`."""
_TRUTH = {"true": True, "false": False}
_KNOWN = frozenset(f"{FIELD_ANNOTATION}{field}" for field in CARRIED_FIELDS)


def annotated_fields(annotations: Iterable[str]) -> frozenset[str]:
    """Return the fields that annotations with these names carry, as `analysis.drain`."""
    return frozenset(key.removeprefix(FIELD_ANNOTATION) for key in _KNOWN.intersection(annotations))


def read_annotations(document: Mapping[str, Any], cursor: Cursor) -> dict[str, dict[str, Any]]:
    """Return the values of a Canary's annotations by section, and by the attribute of the section.

    Add a problem where an annotation is wrong, or where the field itself has another value.
    """
    below = cursor.at("metadata").at("annotations")
    annotations = get_value(document, "metadata", "annotations")
    texts = {
        key: text
        for key, text in (annotations.items() if isinstance(annotations, Mapping) else ())
        if isinstance(key, str) and isinstance(text, str)
    }
    return {section.name: _read_section(section, texts, document, below) for section in _SECTIONS}


def _read_section(
    section: _Section, annotations: Mapping[str, str], document: Mapping[str, Any], below: Cursor
) -> dict[str, Any]:
    texts = {key: text for key, text in annotations.items() if key.startswith(section.prefix)}
    if not texts:
        return {}
    below.unknown_of(texts, section.annotations, f"the {section.name} that an annotation can carry")
    path = section.path(document)
    written = get_value(document, "spec", path)
    if not isinstance(written, Mapping):
        for key in sorted(texts.keys() & section.annotations):
            rule, expected = f"no-{section.name}", f"a Canary with {_ARTICLES[section.name]} {section.name}"
            below.at(key).warn(texts[key], expected, f"Add spec.{section.name}.", rule)
        return {}
    fields = fields_of(section.type)
    return {
        fields[name].name: _read_field(
            texts[key], fields[name], below.at(key), written.get(name), f"spec.{path}.{name}"
        )
        for name in section.fields
        if (key := f"{section.prefix}{name}") in texts
    }


_ARTICLES = {"analysis": "an", "service": "a"}


def with_annotations(canary: Canary, values: Mapping[str, Mapping[str, Any]]) -> Canary:
    """Return a Canary whose sections have the values of its annotations."""
    spec, analysis, service = canary.spec, values.get("analysis"), values.get("service")
    if service and spec.service is not None:
        spec = evolve(spec, service=evolve(spec.service, **service))
    if analysis and canary.analysis is not None:
        changed = evolve(canary.analysis, **analysis)
        spec = evolve(spec, analysis=changed) if spec.analysis else evolve(spec, canary_analysis=changed)
    return canary if spec is canary.spec else evolve(canary, spec=spec)


def _read_field(text: str, known: Attribute[Any], cursor: Cursor, field: object, path: str) -> Any:
    """Return the value of an annotation. field: the value of the field itself, which is at `path`."""
    codec: Codec = known.metadata["codec"]
    problems = Problems()
    value = codec.read(_scalar(text, codec), Cursor(cursor.path, problems))
    for problem in problems.listed():
        is_type = problem.rule == "type"  # the codec's remedy speaks of values without quotes
        cursor.problems.add(evolve(problem, remedy=f"Write {problem.expected}, in quotes.") if is_type else problem)
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
        case "array" | "object":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        case _:
            return text
