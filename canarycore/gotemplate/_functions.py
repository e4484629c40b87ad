"""The functions that every template has, as Go defines them (text/template/funcs.go)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from canarycore.gotemplate._errors import TemplateError
from canarycore.gotemplate._printf import sprint, sprintf, sprintln
from canarycore.gotemplate._values import MISSING, describe, is_true

if TYPE_CHECKING:
    from canarycore.gotemplate._values import Value

__all__ = ["BUILT_IN_FUNCTIONS", "FUNCTIONS"]


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(_bytes(value))
    if isinstance(value, Mapping):
        return len(value)
    raise TemplateError(f"found len of {describe(value)}, expected a string or a map")


def _index(value: Value, *keys: Value) -> Value:
    if _is_nil(value):
        raise TemplateError("found index of untyped nil, expected a map or a string")
    for key in keys:
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise TemplateError(f"found the key {key} of {describe(key)}, expected a string")
            value = value.get(key, "")
        elif isinstance(value, str):
            data = _bytes(value)
            at = _whole(key, "an index")
            if not 0 <= at < len(data):
                raise TemplateError(f"found the index {at} of a string of {len(data)} bytes, expected a smaller one")
            value = data[at]
        else:
            raise TemplateError(f"found index of {describe(value)}, expected a map or a string")
    return value


def _slice(value: Value, *places: Value) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"found slice of {describe(value)}, expected a string")
    if len(places) > 2:
        raise TemplateError("found slice of a string with three indexes, expected at most two")
    data = _bytes(value)
    begin, end, *_ = (*(_whole(place, "an index") for place in places), *(0, len(data))[len(places) :])
    if not 0 <= begin <= end <= len(data):
        raise TemplateError(f"found the slice {begin}:{end} of {len(data)} bytes, expected one inside")
    return data[begin:end].decode("utf-8", "surrogateescape")


def _whole(value: Value, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"found {describe(value)} as {what}, expected a whole number")
    return value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# ------------------------------------------------------------------------------------------------------- comparison


def _equal(first: Value, *others: Value) -> bool:
    if not others:
        raise TemplateError("found eq with one argument, expected two or more")
    return any(_is_equal(first, other) for other in others)


def _is_equal(first: Value, other: Value) -> bool:
    if _is_nil(first) or _is_nil(other):
        return _is_nil(first) and _is_nil(other)
    _demand_one_type(first, other)
    if isinstance(first, Mapping):
        raise TemplateError("found a comparison of maps, expected numbers, strings or booleans")
    return bool(first == other)


def _demand_one_type(first: Value, other: Value) -> None:
    if type(first) is not type(other):
        raise TemplateError(f"found a comparison of {describe(first)} with {describe(other)}, expected one type")


def _is_nil(value: Value) -> bool:
    return value is None or value is MISSING


def _less(first: Value, other: Value) -> bool:
    for value in (first, other):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TemplateError(f"found an order of {describe(value)}, expected numbers or strings")
    _demand_one_type(first, other)
    return bool(_bytes(first) < _bytes(other)) if isinstance(first, str) else bool(first < other)


def _less_or_equal(first: Value, other: Value) -> bool:
    return _less(first, other) or _is_equal(first, other)


# ---------------------------------------------------------------------------------------------------------- escapes

_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
}  # fmt: skip
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def _present(values: tuple[Value, ...]) -> str:
    """Return the text of values. Raises TemplateError where Go writes "<no value>"."""
    if any(map(_is_nil, values)):
        raise TemplateError("found an argument without a value, expected a name that has one")
    return sprint(values)


def _html(*values: Value) -> str:
    return _present(values).translate({ord(letter): text for letter, text in _HTML.items()})


def _js(*values: Value) -> str:
    return "".join(_js_letter(letter) for letter in _present(values))


def _js_letter(letter: str) -> str:
    if letter in _JS:
        return _JS[letter]
    if letter < " " or not letter.isprintable():
        return f"\\u{ord(letter):04X}"
    return letter


def _urlquery(*values: Value) -> str:
    data = _bytes(_present(values))
    return "".join(
        chr(byte) if chr(byte) in _UNRESERVED else "+" if byte == ord(" ") else f"%{byte:02X}" for byte in data
    )


def _printf(*values: Value) -> str:
    template, *others = values
    if not isinstance(template, str):
        raise TemplateError(f"found {describe(template)} as the first argument of printf, expected a string")
    return sprintf(template, others)


def _call(*values: Value) -> Value:
    raise TemplateError(f"found call of {describe(values[0])}, expected a function by its name")


Definition = tuple[Callable[..., "Value"] | None, int, int | None]

FUNCTIONS: Mapping[str, Definition] = {
    "and": (None, 1, None),
    "or": (None, 1, None),
    "not": (lambda value: not is_true(value), 1, 1),
    "len": (_length, 1, 1),
    "index": (_index, 1, None),
    "slice": (_slice, 1, None),
    "eq": (_equal, 1, None),
    "ne": (lambda first, other: not _is_equal(first, other), 2, 2),
    "lt": (_less, 2, 2),
    "le": (_less_or_equal, 2, 2),
    "gt": (lambda first, other: not _less_or_equal(first, other), 2, 2),
    "ge": (lambda first, other: not _less(first, other), 2, 2),
    "print": (lambda *values: sprint(values), 0, None),
    "printf": (_printf, 1, None),
    "println": (lambda *values: sprintln(values), 0, None),
    "html": (_html, 0, None),
    "js": (_js, 0, None),
    "urlquery": (_urlquery, 0, None),
    "call": (_call, 1, None),
}
"""Each function, and the least and the most arguments that it takes (None: any number).

A function that is None evaluates its arguments itself, from left to right and only as far as needed: it is a part of
the executor.
"""

BUILT_IN_FUNCTIONS = frozenset(FUNCTIONS)
"""The names of the functions that every template has."""
