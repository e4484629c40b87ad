"""Conditions on requests (Istio's HTTPMatchRequest), in one form for `analysis.match` and `service.match`.

Both fields hold `canarycore.traffic.Match`. Their rules for one condition differ: a mesh gets `service.match` as Istio
defines it, so `x-user: {}` there means that the header is present. In an analysis such a condition would send nearly
all requests to the canary, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
from attrs import evolve, frozen

from canarycore import bounds
from canarycore.manifest._reader._fields import (
    BOOLEAN,
    FREE,
    LABELS,
    PORT,
    TEXT,
    TEXTS,
    Codec,
    Cursor,
    list_of,
    map_of,
    object_of,
    wire,
)
from canarycore.traffic import PRESENT, Match, StringMatch

KINDS = ("exact", "prefix", "suffix", "regex")


def _read_string(value: object, cursor: Cursor) -> StringMatch | None:
    expected = f"one of {', '.join(KINDS)} with a text"
    remedy = 'Write for example: exact: "insider".'
    if not isinstance(value, Mapping):
        cursor.refuse(value, expected, remedy)
        return None
    kinds = [kind for kind in KINDS if value.get(kind) is not None]
    cursor.unknown_of(value, KINDS, "a string match")
    if len(kinds) != 1:
        cursor.refuse(value, expected, f"Write exactly one of them; found {', '.join(kinds) or 'none'}.", "match")
        return None
    return StringMatch(kind=kinds[0], value=FREE.read(value[kinds[0]], cursor.at(kinds[0])))


def _read_string_or_presence(value: object, cursor: Cursor) -> StringMatch | None:
    """Read a match in which an empty text counts as absent, as in Flagger."""
    if isinstance(value, Mapping) and all(text in (None, "") for text in value.values()):
        return StringMatch(kind=PRESENT, value="")
    return _read_string(value, cursor)


STRING_MATCH = Codec(
    _read_string,
    lambda match: {} if match.is_presence else {match.kind: match.value},
    schema={"type": "object", "properties": {kind: FREE.describe() for kind in KINDS}},
)
STRING_MATCH_OR_PRESENCE = evolve(STRING_MATCH, read=_read_string_or_presence)

NamedMatches = tuple[tuple[str, StringMatch], ...]

_REQUIRED = map_of(STRING_MATCH, nulls=False)
"""Conditions of an analysis: one that counted as absent would send more requests to the canary."""


@frozen(kw_only=True)
class AnalysisCondition:
    """The fields of an entry of `analysis.match`."""

    name: str = wire(TEXT)
    headers: NamedMatches = wire(_REQUIRED)
    without: NamedMatches = wire(_REQUIRED, name="withoutHeaders")
    query_params: NamedMatches = wire(_REQUIRED)
    uri: StringMatch | None = wire(STRING_MATCH)
    method: StringMatch | None = wire(STRING_MATCH)
    scheme: StringMatch | None = wire(STRING_MATCH)
    authority: StringMatch | None = wire(STRING_MATCH)
    source_labels: tuple[tuple[str, str], ...] = wire(LABELS)
    source_namespace: str = wire(TEXT)
    gateways: tuple[str, ...] = wire(TEXTS)
    port: int | None = wire(PORT)
    ignore_uri_case: bool = wire(BOOLEAN)


_NAMED = map_of(STRING_MATCH_OR_PRESENCE)


@frozen(kw_only=True)
class ServiceCondition(AnalysisCondition):
    """The fields of an entry of `service.match`."""

    headers: NamedMatches = wire(_NAMED)
    without: NamedMatches = wire(_NAMED, name="withoutHeaders")
    query_params: NamedMatches = wire(_NAMED)
    uri: StringMatch | None = wire(STRING_MATCH_OR_PRESENCE)
    method: StringMatch | None = wire(STRING_MATCH_OR_PRESENCE)
    scheme: StringMatch | None = wire(STRING_MATCH_OR_PRESENCE)
    authority: StringMatch | None = wire(STRING_MATCH_OR_PRESENCE)


T = TypeVar("T")


def _copy_fields(source: Any, target: type[T]) -> T:
    return target(**{field.name: getattr(source, field.name) for field in attrs.fields(target)})  # type: ignore[arg-type]


def _match(fields: type[AnalysisCondition]) -> Codec:
    """Return the codec of a `Match` whose JSON fields a wire class lists."""
    codec = object_of(fields)

    def read(value: object, cursor: Cursor) -> Match | None:
        condition = codec.read(value, cursor)
        return None if condition is None else _copy_fields(condition, Match)

    return evolve(codec, read=read, write=lambda match: codec.write(_copy_fields(match, fields)))


ANALYSIS_MATCH = list_of(_match(AnalysisCondition), bounds.CHECKS)
SERVICE_MATCH = list_of(_match(ServiceCondition))
