"""Reading plain data into typed data, with every mistake collected.

A wire class is an attrs class whose fields are made by `wire(codec)`. A **codec** reads a JSON value at a **spot** and
writes it back. A spot knows its path; what is wrong there is noted, and reading goes on, so that an owner sees all
mistakes at once. What a codec returns after a complaint is never used: nothing is built once an error is noted.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import attrs
from attrs import frozen

from canarycore.errors import Problem
from canarycore.manifest._duration import parse_duration

T = TypeVar("T")

Schema = Mapping[str, Any]
"""An OpenAPI v3 schema, as a CustomResourceDefinition holds it."""

PLACEHOLDER = re.compile(r"<[^<>\s][^<>]*>")
"""`<name>`: what documents leave for the reader to fill in."""


@frozen
class Spot:
    """A place in a document. `hidden`: what stands here may be a secret and is never printed."""

    path: str
    problems: list[Problem]
    hidden: bool = False

    def at(self, key: str | int, *, hidden: bool = False) -> Spot:
        """The place below this one; a hidden place hides all that is below it."""
        return Spot(join(self.path, key), self.problems, hidden or self.hidden)

    def refuse(self, value: object, expected: str, remedy: str, rule: str = "type") -> None:
        """Note that `value` cannot stand here."""
        if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
            rule, remedy = "placeholder", f"Replace the placeholder {value} by {expected}."
        found = "a value that is not shown" if self.hidden and rule != "placeholder" else show(value)
        self.problems.append(Problem(path=self.path, found=found, expected=expected, remedy=remedy, rule=rule))

    def miss(self, expected: str) -> None:
        """Note that something required is not here."""
        self.problems.append(
            Problem(path=self.path, found="nothing", expected=expected, remedy="Add the field.", rule="required")
        )

    def unknown(self, name: str, known: Iterable[str], owner: str) -> None:
        """Note a field below this place that nobody reads."""
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        self.problems.append(
            Problem(
                path=join(self.path, name),
                found=f"the unknown field {name!r}",
                expected=f"a field of {owner}",
                remedy=f"Did you mean {near[0]!r}?" if near else f"Remove it; known are {', '.join(sorted(names))}.",
                rule="unknown-field",
                severity="warning",
            )
        )

    @property
    def failed(self) -> bool:
        """Whether any error is noted in this document."""
        return any(problem.severity == "error" for problem in self.problems)


def join(path: str, key: str | int) -> str:
    """The path one step down: `a.b`, `a[0]`, or `a["b.c"]` for a key that is no plain word."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not re.fullmatch(r"[\w-]+", key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


LONGEST_SHOWN = 60


def show(value: object) -> str:
    """A found value as it is told: short, and with its type where that is the mistake."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case str():
            return repr(value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}...")
        case int() | float():
            return f"{value} (a number)"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


@frozen
class Codec:
    """How a JSON value becomes a typed one and back. `empty` stands for an absent field.

    schema: what OpenAPI v3 says of such a value; in a function where it refers to a class.
    """

    read: Callable[[Any, Spot], Any]
    write: Callable[[Any], Any] = lambda value: value
    empty: Any = None
    schema: Schema | Callable[[], Schema] = attrs.field(factory=dict, eq=False, repr=False)

    def describe(self) -> Schema:
        """The schema, whole."""
        return self.schema() if callable(self.schema) else self.schema


def wire(codec: Codec, *, required: bool = False, name: str = "", hidden: bool = False) -> Any:  # as attrs.field
    """A field of a wire class. `name` is its JSON name where that is not the attribute's in camel case."""
    return attrs.field(
        default=codec.empty,
        repr=not hidden,
        metadata={"codec": codec, "name": name, "required": required, "hidden": hidden},
    )


def json_name(field: attrs.Attribute[Any]) -> str:
    """What a wire class's field is called in JSON."""
    first, *rest = field.name.rstrip("_").split("_")
    name: str = field.metadata["name"] or first + "".join(word.capitalize() for word in rest)
    return name


def fields_of(cls: type[Any]) -> Mapping[str, attrs.Attribute[Any]]:
    """The wire fields of a class by their JSON names."""
    return _fields_of(cls)  # type: ignore[arg-type]  # mypy does not know that a class has a hash


@cache
def _fields_of(cls: type[Any]) -> Mapping[str, attrs.Attribute[Any]]:
    return {json_name(field): field for field in attrs.fields(cls) if "codec" in field.metadata}


def read_object(cls: type[T], value: object, spot: Spot, *, known: Iterable[str] = ()) -> T | None:
    """Read a mapping into `cls`; `known` are further names that are no mistake here."""
    if not isinstance(value, Mapping):
        spot.refuse(value, "a mapping", "Write its fields below it, indented.")
        return None
    fields = fields_of(cls)
    found: dict[str, Any] = {}
    for name, field in fields.items():
        here = spot.at(name, hidden=field.metadata["hidden"])
        codec: Codec = field.metadata["codec"]
        required, given = field.metadata["required"], value.get(name)
        if given is not None and not (required and given == ""):
            found[field.name] = codec.read(given, here)
        elif required:
            here.miss(f"the field: {spot.path or 'the document'} needs it")
    for name in value:
        if name not in fields and name not in known:
            spot.unknown(str(name), fields, cls.__name__)
    return None if spot.failed else cls(**found)


def write_object(instance: Any) -> dict[str, Any]:
    """The JSON mapping of a wire object; what is empty is left out."""
    written = {}
    for name, field in fields_of(type(instance)).items():
        value = getattr(instance, field.name)
        if value != field.metadata["codec"].empty:
            written[name] = field.metadata["codec"].write(value)
    return written


def schema_of(cls: type[Any]) -> Schema:
    """What OpenAPI v3 says of a wire class's mapping: the fields, and which are required."""
    fields = fields_of(cls)
    required = [name for name, field in fields.items() if field.metadata["required"]]
    return {
        "type": "object",
        "properties": {name: field.metadata["codec"].describe() for name, field in fields.items()},
        **({"required": required} if required else {}),
    }


# the codecs ---------------------------------------------------------------------------------------------------------


def _text(value: object, spot: Spot) -> str:
    if not isinstance(value, str):
        remedy = "Put it in quotes." if isinstance(value, int | float) else "Write one line of text."
        spot.refuse(value, "a text", remedy)
        return ""
    if PLACEHOLDER.fullmatch(value):
        spot.refuse(value, "the real value", "")
    return value


def _free(value: object, spot: Spot) -> str:
    return value if isinstance(value, str) else _text(value, spot)


def _name(value: object, spot: Spot) -> str:
    text = _text(value, spot)
    if text and not PLACEHOLDER.fullmatch(text) and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text):
        spot.refuse(text, "a Kubernetes name", "Use lower-case letters, digits, '-' and '.' only.", "name")
    return text


def _boolean(value: object, spot: Spot) -> bool:
    if not isinstance(value, bool):
        spot.refuse(value, "true or false", "Write true or false, without quotes.")
        return False
    return value


def _number(value: object, spot: Spot) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        spot.refuse(value, "a number", "Write it without quotes and unit.")
        return 0.0
    return float(value)


def duration(*, zero: bool = False) -> Codec:
    """A Go duration, kept as the owner wrote it; `zero`: it may be none at all."""
    least = "a duration of at least 0s" if zero else "a duration above 0s"

    def read(value: object, spot: Spot) -> str:
        expected = 'a duration such as "30s" or "1m30s"'
        if isinstance(value, int | float) and not isinstance(value, bool):
            spot.refuse(value, expected, f'Add the unit: "{value}s" for seconds.', "duration")
            return ""
        if not isinstance(value, str) or PLACEHOLDER.fullmatch(value):
            spot.refuse(value, expected, f"Write {expected}.", "duration")
            return ""
        try:
            seconds = parse_duration(value) if value else None  # Flagger takes an empty text for none
        except ValueError as error:
            spot.refuse(value, expected, f"{str(error).capitalize()}.", "duration")
            return ""
        if seconds is not None and (seconds < 0 or (seconds == 0 and not zero)):
            spot.refuse(value, least, "Give a longer one.", "duration")
        return value

    return Codec(read, empty="", schema={"type": "string"})


def integer(low: int | None = None, high: int | None = None) -> Codec:
    """A whole number from `low` to `high`."""
    limits = {(True, True): f" from {low} to {high}", (True, False): f" of at least {low}"}
    expected = "a whole number" + limits.get((low is not None, high is not None), "")

    def read(value: object, spot: Spot) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # YAML tools write 5.0 for 5
        if isinstance(value, bool) or not isinstance(value, int):
            spot.refuse(value, expected, "Write a whole number, without quotes and unit.")
            return 0
        if (low is not None and value < low) or (high is not None and value > high):
            spot.refuse(value, expected, f"Give {expected}.", "range")
        return value

    bounds = {"minimum": low, "maximum": high}
    limited = {name: bound for name, bound in bounds.items() if bound is not None}
    return Codec(read, schema={"type": "integer", **limited})


def one_of(*choices: str) -> Codec:
    """One of some texts; "" is allowed where Flagger allows it."""
    shown = ", ".join(choice for choice in choices if choice)

    def read(value: object, spot: Spot) -> str:
        if not isinstance(value, str) or value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Use one of {shown}."
            spot.refuse(value, f"one of {shown}", remedy, "choice")
            return ""
        return value

    return Codec(read, empty="", schema={"type": "string", "enum": list(choices)})


def list_of(item: Codec) -> Codec:
    """A list, kept as a tuple."""

    def read(value: object, spot: Spot) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            spot.refuse(value, "a list", "Begin each item with '- '.")
            return ()
        return tuple(item.read(element, spot.at(index)) for index, element in enumerate(value))

    def schema() -> Schema:
        return {"type": "array", "items": item.describe()}

    return Codec(read, lambda value: [item.write(element) for element in value], (), schema)


def rising(item: Codec) -> Codec:
    """A list of numbers each of which is greater than the one before."""
    listed = list_of(item)

    def read(value: object, spot: Spot) -> tuple[int, ...]:
        numbers: tuple[int, ...] = listed.read(value, spot)
        for index, (before, after) in enumerate(pairwise(numbers), start=1):
            if after <= before:
                spot.at(index).refuse(
                    after, f"more than the {before} before it", "List the weights in strictly rising order.", "rising"
                )
        return numbers

    return Codec(read, listed.write, (), listed.schema)


def map_of(item: Codec) -> Codec:
    """A mapping from names to values, kept as pairs in the order of the document."""

    def read(value: object, spot: Spot) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", "Write 'name: value' lines below it.")
            return ()
        return tuple((str(key), item.read(element, spot.at(str(key)))) for key, element in value.items())

    def schema() -> Schema:
        return {"type": "object", "additionalProperties": item.describe()}

    return Codec(read, lambda value: {key: item.write(element) for key, element in value}, (), schema)


def object_of(cls: type[Any], *, known: Iterable[str] = ()) -> Codec:
    """A nested wire class; `known` are names that it does not keep and that are no mistake."""

    def schema() -> Schema:
        return schema_of(cls)

    return Codec(lambda value, spot: read_object(cls, value, spot, known=known), write_object, schema=schema)


def section(owner: str, *names: str) -> Codec:
    """A mapping that is handed on as it is, after a look at its top-level names; without names anything goes."""

    def read(value: object, spot: Spot) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", f"Write the fields of {owner} below it.")
            return {}
        for name in value:
            if names and name not in names:
                spot.unknown(str(name), names, owner)
        return value

    return Codec(read, schema=ANYTHING)


ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


TEXT = Codec(_text, empty="", schema={"type": "string"})
FREE = Codec(_free, empty="", schema={"type": "string"})
"""Text in which anything may stand, also what looks like a placeholder: commands and queries."""
NAME = Codec(_name, empty="", schema={"type": "string"})
BOOLEAN = Codec(_boolean, empty=False, schema={"type": "boolean"})
NUMBER = Codec(_number, schema={"type": "number"})
PERCENT = integer(0, 100)
