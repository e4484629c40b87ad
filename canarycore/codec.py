"""The core's data to JSON and back: rollouts, statuses, observations, questions, answers, decisions, effects.

    text = to_json(status)
    status = from_json(text, Status)

What is read is equal to what was written. Fields are written by their names, enums by their values (texts of notices by
their names), and a value that may be of several kinds carries its kind as `"is"`. Numbers that JSON does not know (NaN,
infinities) are written as strings. `to_data` and `from_data` do the same with plain dicts and lists.

This is our own format, for stores, logs and replay. Flagger's is in `canarycore.manifest`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
from cattrs import transform_error
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_tagged_union

from canarycore import (
    _analysis,
    _case,
    _effects,
    _goal,
    _ladder,
    _notices,
    _phases,
    _questions,
    _spec,
    _status,
    _world,
)

T = TypeVar("T")

TAG = "is"


def to_json(value: object) -> str:
    """Any of the core's data, or a tuple of such, as JSON text on one line."""
    return json.dumps(to_data(value), allow_nan=False, separators=(",", ":"))


def from_json(text: str, kind: type[T]) -> T:
    """What `to_json` wrote. Raises ValueError that names each path that does not fit."""
    return from_data(json.loads(text), kind)


def to_data(value: object) -> Any:
    """Any of the core's data as plain dicts, lists, strings and numbers."""
    return _CONVERTER.unstructure(value)


def from_data(data: object, kind: type[T]) -> T:
    """What `to_data` made. Raises ValueError that names each path that does not fit."""
    try:
        return _CONVERTER.structure(data, kind)
    except BaseValidationError as errors:
        problems = "; ".join(transform_error(errors))
        raise ValueError(f"this is no {kind.__name__}: {problems}") from errors


_MODULES = (
    _analysis, _case, _effects, _goal, _ladder, _notices, _phases, _questions, _spec, _status, _world,
)  # fmt: skip
_NAMES = {name: value for module in _MODULES for name, value in vars(module).items()} | {"Mapping": Mapping}
_DATA = [
    value for name, value in _NAMES.items() if isinstance(value, type) and attrs.has(value) and not name.startswith("_")
]
_UNIONS = (_questions.Question, _questions.Answer, _effects.Effect, _case.Outcome)

_CONVERTER = make_converter(omit_if_default=False)
_CONVERTER.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else str(value))
_CONVERTER.register_unstructure_hook(_notices.Tell, lambda tell: tell.name)
_CONVERTER.register_structure_hook(_notices.Tell, lambda name, _: _notices.Tell[name])
for _class in _DATA:
    # modules import each other's names for type checkers only, to stay free of cycles
    attrs.resolve_types(_class, globalns=_NAMES)
for _union in _UNIONS:
    configure_tagged_union(_union, _CONVERTER, tag_name=TAG)
