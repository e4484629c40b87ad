"""The core's data as JSON: rollouts, statuses, observations, questions, answers, decisions, effects, memories.

    text = to_json(status)
    status = from_json(text, Status)

Reading returns a value equal to the one written. Fields have their own names (but `Notice.kind` is stored as `tell`),
enums their values (kinds of notices their names), and a value of several possible types carries its type as `"is"`.
Numbers that JSON lacks (NaN, infinities) become strings. `to_data` and `from_data` do the same with plain dicts and
lists.

Reading is strict: each value has the type of its field and stays within `canarycore.bounds`, and the classes check
their fields as they do in code. Every refusal is a ValueError with the path. Only unknown fields pass, so that an older
release reads the data of a newer one.

This is canarycore's own format, for stores, logs and replay. Flagger's is in `canarycore.manifest`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, make_mapping_structure_fn, override
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_tagged_union
from cattrs.v import format_exception

from canarycore import (
    _canary_size,
    _decision,
    _goal,
    _ladder,
    _observation,
    _reference,
    _spec,
    _status,
    _verdicts,
    effects,
    notices,
    phases,
    questions,
    results,
    traffic,
)
from canarycore.bounds import DEPTH, DIGITS, FILE, PROBLEMS, STORED_ITEMS
from canarycore.driver import CycleMemory
from canarycore.errors import FieldError
from canarycore.text import clip, enumerate_some, shorten

T = TypeVar("T")

TAG = "is"
"""The key of the type of a value that may have several."""


def to_json(value: object) -> str:
    """Return any of the core's data, or a tuple of such, as JSON text on one line."""
    return json.dumps(to_data(value), allow_nan=False, separators=(",", ":"))


def from_json(text: str, kind: type[T]) -> T:
    """Return the value that `to_json` wrote. Raises ValueError that names each path that does not fit."""
    if len(text) > FILE.most:
        raise ValueError(f"this is no {_name(kind)}: expected a text of {FILE}")
    try:
        data = json.loads(text, parse_int=_parse_int, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"this is no {_name(kind)}: expected {DEPTH}") from None
    except ValueError as error:
        raise ValueError(f"this is no {_name(kind)}: {error}") from error
    return from_data(data, kind)


def to_data(value: object) -> Any:
    """Return any of the core's data as plain dicts, lists, strings and numbers."""
    return _CONVERTER.unstructure(value)


def from_data(data: object, kind: type[T]) -> T:
    """Return the value that `to_data` made plain. Raises ValueError that names each path that does not fit."""
    try:
        return _CONVERTER.structure(data, kind)
    except BaseValidationError as errors:
        problems = enumerate_some(transform_error(errors, format_exception=_describe_fault), "; ", PROBLEMS.most, 300)
        raise ValueError(f"this is no {_name(kind)}: {problems}") from errors
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"this is no {_name(kind)}: {clip(str(error))} @ $") from error


def _name(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))


def _describe_fault(error: BaseException, kind: type[Any] | None) -> str:
    """Describe the fault at a path: a validator's text, or the expected type."""
    is_validators = isinstance(error, FieldError) or (
        isinstance(error, ValueError) and (kind is None or attrs.has(kind))
    )
    return str(error.args[0]) if is_validators and error.args else format_exception(error, kind)


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS.most:
        raise ValueError(f"a number of {len(digits):,} digits, expected {DIGITS}")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name}, which JSON does not know")


_MODULES = (
    _verdicts, _decision, effects, _goal, _ladder, notices, phases, questions, _reference, _spec, _status, _observation,
    results, traffic, _canary_size,
)  # fmt: skip
_NAMES = {name: value for module in _MODULES for name, value in vars(module).items()} | {"Mapping": Mapping}
_NOT_STORED = {"canarycore.errors", "canarycore._expressions"}
_DATA = [
    value
    for name, value in _NAMES.items()
    if isinstance(value, type) and attrs.has(value) and value.__module__ not in _NOT_STORED and name[0] != "_"
]
_DATA.append(CycleMemory)
_UNIONS = (questions.Question, questions.Answer, effects.Effect, _decision.Outcome)

_CONVERTER = make_converter(omit_if_default=False)
_CONVERTER.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else str(value))
_CONVERTER.register_unstructure_hook(notices.NoticeKind, lambda kind: kind.name)


# strict reading -----------------------------------------------------------------------------------------------------

_NOT_FINITE = {str(value): value for value in (math.nan, math.inf, -math.inf)}


def _read_float(value: object, _: object) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"found {shorten(value)}, expected a number")
    return float(value)


def _read_int(value: object, _: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value.bit_length() > _MOST_BITS:
        raise ValueError(f"found {shorten(value)}, expected a whole number")
    return value


_MOST_BITS = 64


def _read_bool(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"found {shorten(value)}, expected true or false")
    return value


def _read_text(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"found {shorten(value)}, expected a text")
    return value


def _read_kind(value: object, _: object) -> notices.NoticeKind:
    if not isinstance(value, str) or value not in notices.NoticeKind.__members__:
        raise ValueError(f"found {shorten(value)}, expected the name of a notice")
    return notices.NoticeKind[value]


def _object_reader(kind: type[Any]) -> Callable[[object, object], Any]:
    read = make_dict_structure_fn(kind, _CONVERTER)
    return lambda value, _: read(_mapping(value), kind)


def _union_reader(union: Any) -> Callable[[object, object], Any]:
    read = _CONVERTER.get_structure_hook(union)
    names = [member.__name__ for member in get_args(union)]

    def checked(value: object, kind: object) -> Any:
        tag = _mapping(value).get(TAG)
        if tag not in names:
            raise ValueError(f"found {TAG!r} {shorten(tag)}, expected one of {', '.join(names)}")
        return read(value, kind)

    return checked


def _map_reader(kind: Any) -> Callable[[object, object], Any]:
    read = make_mapping_structure_fn(kind, _CONVERTER)
    return lambda value, _: read(_mapping(value), kind)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or len(value) > STORED_ITEMS.most:
        raise ValueError(f"found {shorten(value)}, expected an object with {STORED_ITEMS}")
    return value


def _tuple_reader(kind: Any) -> Callable[[object, object], tuple[Any, ...]]:
    items = get_args(kind)
    if items[-1] is Ellipsis:
        return lambda value, _: tuple(_CONVERTER.structure(_list(value), list[items[0]]))  # type: ignore[valid-type]

    def read(value: object, _: object) -> tuple[Any, ...]:
        values = _list(value)
        if len(values) != len(items):
            raise ValueError(f"found {len(values)} items, expected {len(items)}")
        return tuple(_CONVERTER.structure(item, inner) for item, inner in zip(values, items, strict=True))

    return read


def _set_reader(kind: Any) -> Callable[[object, object], set[Any]]:
    (item,) = get_args(kind)
    return lambda value, _: set(_CONVERTER.structure(_list(value), list[item]))  # type: ignore[valid-type]


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > STORED_ITEMS.most:
        raise ValueError(f"found {shorten(value)}, expected a list of {STORED_ITEMS}")
    return value


def _has_origin(*origins: object) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) in origins


def _read_step(value: object, _: object) -> int | _ladder.Step:
    """Read a step of a ladder: a weight, or an object."""
    return _CONVERTER.structure(value, _ladder.Step) if isinstance(value, Mapping) else _read_int(value, int)


_CONVERTER.register_structure_hook_func(lambda kind: kind == int | _ladder.Step, _read_step)
for _kind, _read in ((float, _read_float), (int, _read_int), (bool, _read_bool), (str, _read_text)):
    _CONVERTER.register_structure_hook(_kind, _read)
_CONVERTER.register_structure_hook(notices.NoticeKind, _read_kind)
_CONVERTER.register_structure_hook_factory(attrs.has, _object_reader)
_CONVERTER.register_structure_hook_factory(_has_origin(tuple), _tuple_reader)
_CONVERTER.register_structure_hook_factory(_has_origin(set), _set_reader)
_CONVERTER.register_unstructure_hook_func(_has_origin(set), sorted)
_CONVERTER.register_structure_hook_factory(_has_origin(dict, Mapping), _map_reader)
for _class in _DATA:
    # modules import each other's names only for type checkers, which avoids cycles
    attrs.resolve_types(_class, globalns=_NAMES)

_STORED_AS = override(rename="tell")
"""The key of `Notice.kind` in stored data."""
_read_notice = make_dict_structure_fn(notices.Notice, _CONVERTER, kind=_STORED_AS)
_write_notice = make_dict_unstructure_fn(notices.Notice, _CONVERTER, kind=_STORED_AS)
_CONVERTER.register_structure_hook(notices.Notice, lambda value, kind: _read_notice(_mapping(value), kind))
_CONVERTER.register_unstructure_hook(notices.Notice, _write_notice)

for _union in _UNIONS:
    configure_tagged_union(_union, _CONVERTER, tag_name=TAG)
    _CONVERTER.register_structure_hook(_union, _union_reader(_union))
