"""Grids: the values of some fields of a policy or scenario, by the paths of the fields.

    {"ladder.step": [5, 10, 20], "threshold": [3, 5], "checks[request-success-rate].minimum": [99, 99.5]}

A path has the names of fields, separated by dots. Square brackets hold the place of an item in a tuple, from 0, the
name of an item, or the key of a mapping. Each point of a grid changes all its fields at once, so that the validators of
a class see the values together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, TypeVar

from attrs import evolve, fields, has

from canarycore.errors import Problem, WrongType, WrongValue
from canarycore.text import enumerate_some, nearest, shorten

T = TypeVar("T")

Grid = Mapping[str, object]
"""A list of values for each path. The type is wide, as that of a literal with lists of several types is."""

Point = dict[str, Any]
"""One value for each path of a grid."""

_Changes = dict[tuple[str, ...], Any]
"""New values by the steps of their paths."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\[\]]+)\]")


def variants(thing: T, grid: Grid, argument: str) -> list[tuple[Point, T]]:
    """Return each combination of a grid's values with the changed object; the last path varies fastest.

    argument: the name of the grid in errors. Raise FieldError for an unknown path or a value that does not fit.
    """
    return [(point, _at(thing, point, argument)) for point in _points(grid, argument)]


def _points(grid: Grid, argument: str) -> list[Point]:
    if not isinstance(grid, Mapping):
        raise _fault(WrongType, argument, grid, "a mapping from paths to values", 'Write {"ladder.step": [5, 10]}.')
    columns = [[(path, _plain(value)) for value in _values(values, path, argument)] for path, values in grid.items()]
    return [dict(row) for row in product(*columns)]


def _values(values: object, path: str, argument: str) -> list[object]:
    where = f"{argument}[{shorten(path)}]"
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise _fault(WrongType, where, values, "a list of values", "Write a list, for one value too.")
    listed = list(values)
    if not listed:
        raise _fault(WrongValue, where, listed, "at least one value", "Add a value, or remove the path.")
    return listed


def _plain(value: Any) -> object:
    """Return a scalar of NumPy as Python's own: fields are strict about types."""
    return value.item() if type(value).__module__ == "numpy" else value


def _at(thing: T, point: Point, argument: str) -> T:
    """Return an object with the fields of a point."""
    changes = {_steps(path, argument): value for path, value in point.items()}
    return _change(thing, changes, argument) if changes else thing


def _steps(path: object, argument: str) -> tuple[str, ...]:
    if isinstance(path, str) and path and not _STEP.sub("", path):
        return tuple(match[1] or match[2] for match in _STEP.finditer(path))
    raise _fault(WrongValue, argument, path, "the path of a field", 'Write a path such as "ladder.step".')


def _change(thing: Any, changes: _Changes, where: str) -> Any:
    """Return an object with new values at the ends of these steps."""
    inner: dict[str, _Changes] = {}
    for (step, *rest), value in changes.items():
        inner.setdefault(step, {})[tuple(rest)] = value
    parts = _parts(thing)
    values: dict[Any, Any] = {}
    for step, below in inner.items():
        place = f"{where}[{shorten(step)}]"
        key = _key(thing, parts, step, place)
        if key in values or (() in below and len(below) > 1):
            raise _fault(WrongValue, where, step, "paths of different fields", "Remove one of the two paths.")
        values[key] = below[()] if () in below else _change(parts.get(key), below, place)
    if has(type(thing)):
        return evolve(thing, **values)
    if isinstance(thing, Mapping):
        return {**thing, **values}
    return tuple(values.get(place, item) for place, item in enumerate(thing))


def _parts(thing: Any) -> dict[Any, Any]:
    """Return the values below an object: of its fields, of its items by place, or of its keys."""
    if has(type(thing)):
        return {part.name: getattr(thing, part.name) for part in fields(type(thing)) if part.init}
    if isinstance(thing, Mapping):
        return dict(thing)
    return dict(enumerate(thing)) if isinstance(thing, tuple) else {}


def _key(thing: Any, parts: dict[Any, Any], step: str, where: str) -> Any:
    """Return the key of a step. A mapping takes any key; `demand_known_names` judges those of a scenario."""
    if isinstance(thing, Mapping) or step in parts:
        return step
    names = list(parts)
    if isinstance(thing, tuple):
        if step.isdecimal() and int(step) in parts:
            return int(step)
        names = [getattr(item, "name", str(place)) for place, item in parts.items()]
        if names.count(step) == 1:
            return names.index(step)
    if has(type(thing)):
        expected = f"a field of {type(thing).__name__}"
    else:
        expected = "an item of the tuple" if isinstance(thing, tuple) else "the end of the path"
    near = nearest(step, names)
    remedy = f"Did you mean {near!r}?" if near else f"Remove it; there are {enumerate_some(names) or 'none'}."
    raise _fault(WrongValue, where, step, expected, remedy)


def _fault(error: type[WrongType | WrongValue], path: str, found: object, expected: str, remedy: str) -> Exception:
    return error(Problem(path=path, found=shorten(found), expected=expected, remedy=remedy, rule="grid"))
