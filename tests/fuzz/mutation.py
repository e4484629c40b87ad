"""Mutations of JSON, as recipes: a case stays small and can be saved, however large the input is that it makes.

    mutated = mutate(random, sample)       a copy of the sample with one to three things wrong
    expand(mutated)                        the values that it stands for
    to_text(mutated)                       the JSON text that it stands for

A recipe is a mapping with one key that begins with `$`, such as `{"$digits": 4000}` for a number of 4,000 digits.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Path = tuple[str | int, ...]

LARGEST = 3_000_000
"""Bytes of the largest input: no API server stores larger objects."""

LONGEST_NUMBER, DEEPEST = 4_000, 900
"""Digits of the largest number and depth of the deepest value that Python reads from JSON text."""

_STRANGE_TEXTS = (
    *("", " ", "\x00", "\x1b[2J", "\ud800", "\u202e", "é" * 40, "\U0001d7d9", "²", "0x1F", "010", "1e999", "-1", "+1"),
    *("NaN", "true", "null", "{{", "{{ .x", "../..", "a/b/c", "http://[", "1h1", "99999999999999999999h", "a\nb\r\nc"),
    *("<script>", ",", "=", "-", ";", "2024-13-45T99:99:99Z", "0000-00-00T00:00:00Z", "\\", '"', "%", "%00", "$1"),
    *("*", "[", "(", "(a+)+$"),
)
_STRANGE_NUMBERS = (
    -1, 0, 1, 101, 65536, 2**31, 2**63, -(2**63), 2**64, 10**19, 0.5, -0.0, 1e308, float("inf"), float("nan"),
)  # fmt: skip
_WRONG_TYPES = (None, True, False, 0, 1, -1, 1.5, "", "text", [], {}, [None], [[]], {"": None}, {"a": {}}, ["a"], [{}])
_LENGTHS = (100, 5_000, 100_000)
_DEPTHS = (50, 1_200, 20_000)
_DIGITS = (20, 400, LONGEST_NUMBER)


def mutate(random: Random, sample: Any, *, within: str = "") -> Any:
    """A copy of the sample with one to three mutations. within: the part of a mapping that most mutations concern."""
    for _ in range(10):
        holder = {"": copy.deepcopy(sample)}
        for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
            paths = [path for path in walk(holder) if path]
            inside = [path for path in paths if path[:2] == ("", within)] if within and random.random() < 0.85 else []
            if paths:
                random.choice(_MUTATIONS)(random, holder, random.choice(inside or paths), paths)
        if size(holder) <= LARGEST:
            return holder.get("")
    return sample


def walk(value: Any, at: Path = ()) -> Iterator[Path]:
    """The path of each value inside, the whole first; not into recipes."""
    yield at
    if is_recipe(value):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*at, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*at, index))


def read(value: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


# ------------------------------------------------------------------------------------------------------ the mutations


def _delete(_: Random, root: Any, path: Path, __: list[Path]) -> None:
    del read(root, path[:-1])[path[-1]]


def _nullify(_: Random, root: Any, path: Path, __: list[Path]) -> None:
    read(root, path[:-1])[path[-1]] = None


def _retype(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    read(root, path[:-1])[path[-1]] = copy.deepcopy(random.choice(_WRONG_TYPES))


def _enlarge(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    value = read(root, path)
    read(root, path[:-1])[path[-1]] = random.choice(
        (
            {"$text": [value if isinstance(value, str) and value else "a", random.choice(_LENGTHS)]},
            {"$digits": random.choice(_DIGITS)},
            {"$digits": -random.choice(_DIGITS)},
            {
                "$list": [
                    copy.deepcopy(value),
                    random.choice(_LENGTHS[:2] if isinstance(value, dict | list) else _LENGTHS),
                ]
            },
            {"$keys": [copy.deepcopy(value), random.choice(_LENGTHS[:2])]},
            {"$deep_list": random.choice(_DEPTHS)},
            {"$deep_map": random.choice(_DEPTHS)},
        )
    )


def _change_number(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    value = read(root, path)
    changed = -value if isinstance(value, int | float) and random.random() < 0.3 else random.choice(_STRANGE_NUMBERS)
    read(root, path[:-1])[path[-1]] = changed


def _change_text(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    value, strange = read(root, path), random.choice(_STRANGE_TEXTS)
    place = random.randrange(len(value) + 1) if isinstance(value, str) else 0
    inserted = value[:place] + strange + value[place:] if isinstance(value, str) else strange
    read(root, path[:-1])[path[-1]] = random.choice((strange, inserted))


def _repeat(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    parent = read(root, path[:-1])
    if isinstance(parent, list):
        parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))  # type: ignore[arg-type]
    else:
        parent[path[-1]] = [copy.deepcopy(parent[path[-1]])] * 2


def _swap(random: Random, root: Any, path: Path, paths: list[Path]) -> None:
    read(root, path[:-1])[path[-1]] = copy.deepcopy(read(root, random.choice(paths)))


def _rename(random: Random, root: Any, path: Path, _: list[Path]) -> None:
    parent = read(root, path[:-1])
    if isinstance(parent, dict) and len(path) > 1:
        parent[random.choice((*_STRANGE_TEXTS, str(path[-1]).upper(), f"{path[-1]}s"))] = parent.pop(path[-1])


_MUTATIONS: tuple[Callable[[Random, Any, Path, list[Path]], None], ...] = (
    _delete, _nullify, _retype, _retype, _enlarge, _change_number, _change_text, _repeat, _swap, _rename,
)  # fmt: skip


def size(value: Any) -> int:
    """About how many bytes of JSON a mutated sample makes."""
    if is_recipe(value):
        ((name, argument),) = value.items()
        if name == "$text":
            return int(argument[1]) + len(str(argument[0]))
        return (size(argument[0]) + 8) * argument[1] if isinstance(argument, list) else 6 * abs(argument)
    if isinstance(value, dict):
        return sum(len(key) + size(item) for key, item in value.items())
    return sum(map(size, value)) if isinstance(value, list) else 8 + (len(value) if isinstance(value, str) else 0)


# --------------------------------------------------------------------------------------------------------- the recipes


def is_recipe(value: Any) -> bool:
    """Whether a value is written as a recipe."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _RECIPES


def expand(value: Any) -> Any:
    """The values that a mutated sample stands for."""
    if is_recipe(value):
        ((name, argument),) = value.items()
        return _RECIPES[name](argument)
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    return [expand(item) for item in value] if isinstance(value, list) else value


def _text(argument: Any) -> str:
    piece, times = argument
    return str(piece) * (times // max(1, len(str(piece))) + 1)


def _digits(count: int) -> int:
    number = 10 ** min(abs(count), LONGEST_NUMBER) - 1
    return number if count > 0 else -number


def _list(argument: Any) -> list[Any]:
    item, times = argument
    return [expand(item) for _ in range(times)]


def _keys(argument: Any) -> dict[str, Any]:
    item, times = argument
    return dict.fromkeys((f"key{number}" for number in range(times)), expand(item))


def _deep(inner: Callable[[Any], Any]) -> Callable[[int], Any]:
    def build(depth: int) -> Any:
        value: Any = None
        for _ in range(min(depth, DEEPEST)):
            value = inner(value)
        return value

    return build


_RECIPES: dict[str, Callable[[Any], Any]] = {
    "$text": _text,
    "$digits": _digits,
    "$list": _list,
    "$keys": _keys,
    "$deep_list": _deep(lambda value: [value]),
    "$deep_map": _deep(lambda value: {"a": value}),
}


def to_text(value: Any) -> str:
    """The JSON text of a mutated sample. Text may hold what Python's own values cannot, such as unlimited depth."""
    if is_recipe(value):
        ((name, argument),) = value.items()
        return _TEXTS[name](argument) if name in _TEXTS else json.dumps(_RECIPES[name](argument))
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_text, value)) + "]"
    return json.dumps(value)


_TEXTS: dict[str, Callable[[Any], str]] = {
    "$digits": lambda count: "-" * (count < 0) + "9" * abs(count),
    "$deep_list": lambda depth: "[" * depth + "null" + "]" * depth,
    "$deep_map": lambda depth: '{"a":' * depth + "null" + "}" * depth,
    "$list": lambda argument: "[" + ",".join([to_text(argument[0])] * argument[1]) + "]",
    "$keys": lambda argument: (
        "{"
        + ",".join(f'"key{number}":{text}' for text in [to_text(argument[0])] for number in range(argument[1]))
        + "}"
    ),
}


# ------------------------------------------------------------------------------------------------------- the reduction


def smaller(value: Any) -> Iterator[Any]:
    """Copies of a case with less in them, the smallest steps last."""
    paths = sorted((path for path in walk(value) if path), key=len)
    for path in paths:
        reduced = copy.deepcopy(value)
        _delete(None, reduced, path, [])  # type: ignore[arg-type]
        yield reduced
    for path in paths:
        found = read(value, path)
        for simple in _simpler(found):
            reduced = copy.deepcopy(value)
            read(reduced, path[:-1])[path[-1]] = simple
            yield reduced


def _simpler(value: Any) -> Iterator[Any]:
    if is_recipe(value):
        ((name, argument),) = value.items()
        if isinstance(argument, int) and abs(argument) > 1:
            yield {name: argument // 2}
        elif isinstance(argument, list) and argument[1] > 1:
            yield {name: [argument[0], argument[1] // 2]}
    elif isinstance(value, str) and len(value) > 1:
        yield value[: len(value) // 2]
        yield value[len(value) // 2 :]
    elif isinstance(value, dict | list) and value:
        yield type(value)()
