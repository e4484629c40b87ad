"""Reading plain data into typed data, with every mistake collected.

A wire class is an attrs class whose fields are made by `wire(codec)`. A **codec** reads a JSON value at a **spot** and
writes it back. A spot knows its path; what is wrong there is noted, and reading goes on, so that an owner sees all
mistakes at once. What a codec returns after a complaint is never used: nothing is built once an error is noted.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from attrs import define, frozen

from canarycore import bounds
from canarycore.errors import Problem
from canarycore.manifest._duration import parse_duration
from canarycore.manifest._reader._path import join
from canarycore.text import LONGEST_SHOWN, shorten

if TYPE_CHECKING:
    from canarycore.bounds import Bound

T = TypeVar("T")

Schema = Mapping[str, Any]
"""An OpenAPI v3 schema, as a CustomResourceDefinition holds it."""

_PLACEHOLDER = re.compile(r"<[^<>\s][^<>]*+>")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def is_placeholder(text: str) -> bool:
    """Whether this is `<name>`: what documents leave for the reader to fill in."""
    return len(text) <= bounds.NAME.most and _PLACEHOLDER.fullmatch(text) is not None


@define
class Problems:
    """The problems of one document. Only the first ones are kept: what follows is counted."""

    kept: list[Problem] = attrs.field(factory=list)
    left_out: int = 0
    failed: bool = False
    """Whether any of them is an error."""

    def add(self, problem: Problem) -> None:
        """Note a problem."""
        self.failed = self.failed or problem.severity == "error"
        if len(self.kept) < bounds.PROBLEMS.most:
            self.kept.append(problem)
        else:
            self.left_out += 1

    def listed(self) -> tuple[Problem, ...]:
        """The problems that are kept, and how many more there were."""
        if not self.left_out:
            return tuple(self.kept)
        rest = Problem(
            path="",
            found=f"{self.left_out} more problems",
            expected="none",
            remedy="Correct those above first.",
            rule="bound",
            severity="error" if self.failed else "warning",
        )
        return (*self.kept, rest)


@frozen
class Cursor:
    """A place in a document. `hidden`: what stands here may be a secret and is never printed."""

    path: str
    problems: Problems
    hidden: bool = False

    def at(self, key: str | int, *, hidden: bool = False) -> Cursor:
        """The place below this one; a hidden place hides all that is below it."""
        return Cursor(join(self.path, key), self.problems, hidden or self.hidden)

    def refuse(self, value: object, expected: str, remedy: str, rule: str = "type") -> None:
        """Note that `value` cannot stand here."""
        if isinstance(value, str) and is_placeholder(value):
            rule, remedy = "placeholder", f"Replace the placeholder {value} by {expected}."
        found = "a value that is not shown" if self.hidden and rule != "placeholder" else show(value)
        self.problems.add(Problem(path=self.path, found=found, expected=expected, remedy=remedy, rule=rule))

    def miss(self, expected: str) -> None:
        """Note that something required is not here."""
        self.problems.add(
            Problem(path=self.path, found="nothing", expected=expected, remedy="Add the field.", rule="required")
        )

    def unknown(self, name: str, known: Iterable[str], owner: str) -> None:
        """Note a field below this place that nobody reads."""
        names = list(known)
        near = nearest(name, names)
        self.problems.add(
            Problem(
                path=join(self.path, name),
                found=f"the unknown field {shorten(name)}",
                expected=f"a field of {owner}",
                remedy=f"Did you mean {near!r}?" if near else f"Remove it; known are {', '.join(sorted(names))}.",
                rule="unknown-field",
                severity="warning",
            )
        )

    def unknown_of(
        self, value: Mapping[str, Any], known: Collection[str], owner: str, *, more: Iterable[str] = ()
    ) -> None:
        """Note the first fields of a mapping that nobody reads; `more` are no mistake, and not worth a hint."""
        names = [name for name in value if name not in known and name not in more]
        for name in names[: bounds.UNKNOWN_FIELDS.most]:
            self.unknown(name, known, owner)
        beyond = len(names) - bounds.UNKNOWN_FIELDS.most
        if beyond > 0:
            self.problems.add(
                Problem(
                    path=self.path,
                    found=f"{beyond} more unknown fields",
                    expected=f"fields of {owner}",
                    remedy="Remove them.",
                    rule="unknown-field",
                    severity="warning",
                )
            )

    def holds(self, value: Sized, bound: Bound) -> bool:
        """Whether what stands here is within a bound; note it where it is not."""
        size = len(value)
        if size <= bound.most:
            return True
        self.problems.add(
            Problem(
                path=self.path,
                found=f"{size:,} {bound.unit}",
                expected=str(bound),
                remedy="Shorten it.",
                rule="bound",
            )
        )
        return False

    @property
    def failed(self) -> bool:
        """Whether any error is noted in this document."""
        return self.problems.failed


def show(value: object) -> str:
    """A found value as it is told: short, and with its type where that is the mistake."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case str():
            return shorten(value)
        case int() | float():
            return f"{shorten(value)} (a number)"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def nearest(name: str, names: Iterable[str]) -> str:
    """The known name that `name` may be a slip of; "" if none is near."""
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= LONGEST_SHOWN else []
    return near[0] if near else ""


@frozen
class Codec:
    """How a JSON value becomes a typed one and back. `empty` stands for an absent field.

    schema: what OpenAPI v3 says of such a value; in a function where it refers to a class.
    """

    read: Callable[[Any, Cursor], Any]
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


def read_object(cls: type[T], value: object, spot: Cursor, *, known: Iterable[str] = ()) -> T | None:
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
    spot.unknown_of(value, fields, cls.__name__, more=known)
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


def text(bound: Bound = bounds.TEXT, *, free: bool = False) -> Codec:
    """A text of bounded length; `free`: anything may stand in it, also what looks like a placeholder."""

    def read(value: object, spot: Cursor) -> str:
        if not isinstance(value, str):
            remedy = "Put it in quotes." if isinstance(value, int | float) else "Write one line of text."
            spot.refuse(value, "a text", remedy)
            return ""
        if not spot.holds(value, bound):
            return ""
        if not free and is_placeholder(value):
            spot.refuse(value, "the real value", "")
        return value

    return Codec(read, empty="", schema={"type": "string", "maxLength": bound.most})


def _name(value: object, spot: Cursor) -> str:
    found: str = _NAME_TEXT.read(value, spot)
    if found and not is_placeholder(found) and not _NAME.fullmatch(found):
        spot.refuse(found, "a Kubernetes name", "Use lower-case letters, digits, '-' and '.' only.", "name")
    return found


def _boolean(value: object, spot: Cursor) -> bool:
    if not isinstance(value, bool):
        spot.refuse(value, "true or false", "Write true or false, without quotes.")
        return False
    return value


_GREATEST = sys.float_info.max
"""Beyond it a number is infinite; NaN lies in no range."""


def _number(value: object, spot: Cursor) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_GREATEST <= value <= _GREATEST:
        spot.refuse(value, "a number", "Write it without quotes and unit.")
        return 0.0
    return float(value)


def duration(*, zero: bool = False, longest: Bound | None = None) -> Codec:
    """A Go duration, kept as the owner wrote it; `zero`: it may be none at all."""
    least = "a duration of at least 0s" if zero else "a duration above 0s"

    def read(value: object, spot: Cursor) -> str:
        expected = 'a duration such as "30s" or "1m30s"'
        if isinstance(value, int | float) and not isinstance(value, bool):
            spot.refuse(value, expected, f'Add the unit: "{shorten(value)}s" for seconds.', "duration")
            return ""
        if not isinstance(value, str) or is_placeholder(value):
            spot.refuse(value, expected, f"Write {expected}.", "duration")
            return ""
        try:
            seconds = parse_duration(value) if value else None  # Flagger takes an empty text for none
        except ValueError as error:
            spot.refuse(value, expected, f"{str(error).capitalize()}.", "duration")
            return ""
        if seconds is not None and (seconds < 0 or (seconds == 0 and not zero)):
            spot.refuse(value, least, "Give a longer one.", "duration")
        if seconds is not None and longest is not None and seconds > longest.most:
            spot.refuse(value, f"a duration of {longest}", "Give a shorter one.", "bound")
        return value

    return Codec(read, empty="", schema={"type": "string", "maxLength": bounds.DURATION.most})


_GREATEST_PORT = 65535


def integer(low: int, high: int) -> Codec:
    """A whole number from `low` to `high`."""
    is_short = high <= _GREATEST_PORT
    expected = f"a whole number {f'from {low} to {high}' if is_short else f'of at least {low} and at most {high}'}"

    def read(value: object, spot: Cursor) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # YAML tools write 5.0 for 5
        if isinstance(value, bool) or not isinstance(value, int):
            spot.refuse(value, expected, "Write a whole number, without quotes and unit.")
            return 0
        if not low <= value <= high:
            spot.refuse(value, expected, f"Give {expected}.", "range")
        return value

    return Codec(read, schema={"type": "integer", "minimum": low, "maximum": high})


def count(low: int = 0) -> Codec:
    """A whole number of at least `low`, that fits into 32 bits."""
    return integer(low, bounds.COUNT.most)


def one_of(*choices: str) -> Codec:
    """One of some texts; "" is allowed where Flagger allows it."""
    shown = ", ".join(choice for choice in choices if choice)

    def read(value: object, spot: Cursor) -> str:
        if not isinstance(value, str) or value not in choices:
            near = nearest(value, choices) if isinstance(value, str) else ""
            remedy = f"Did you mean {near!r}?" if near else f"Use one of {shown}."
            spot.refuse(value, f"one of {shown}", remedy, "choice")
            return ""
        return value

    return Codec(read, empty="", schema={"type": "string", "enum": list(choices)})


def list_of(item: Codec, bound: Bound = bounds.ITEMS) -> Codec:
    """A list, kept as a tuple."""

    def read(value: object, spot: Cursor) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            spot.refuse(value, "a list", "Begin each item with '- '.")
            return ()
        if not spot.holds(value, bound):
            return ()
        return tuple(item.read(element, spot.at(index)) for index, element in enumerate(value))

    def schema() -> Schema:
        return {"type": "array", "maxItems": bound.most, "items": item.describe()}

    return Codec(read, lambda value: [item.write(element) for element in value], (), schema)


def rising(item: Codec, bound: Bound) -> Codec:
    """A list of numbers each of which is greater than the one before."""
    listed = list_of(item, bound)

    def read(value: object, spot: Cursor) -> tuple[int, ...]:
        numbers: tuple[int, ...] = listed.read(value, spot)
        for index, (before, after) in enumerate(pairwise(numbers), start=1):
            if after <= before:
                spot.at(index).refuse(
                    after, f"more than the {before} before it", "List the weights in strictly rising order.", "rising"
                )
        return numbers

    return Codec(read, listed.write, (), listed.schema)


def map_of(item: Codec, bound: Bound = bounds.ITEMS) -> Codec:
    """A mapping from names to values, kept as pairs in the order of the document."""

    def read(value: object, spot: Cursor) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", "Write 'name: value' lines below it.")
            return ()
        if not spot.holds(value, bound):
            return ()
        return tuple((key, item.read(element, spot.at(key))) for key, element in value.items())

    def schema() -> Schema:
        return {"type": "object", "maxProperties": bound.most, "additionalProperties": item.describe()}

    return Codec(read, lambda value: {key: item.write(element) for key, element in value}, (), schema)


def without_nulls(codec: Codec) -> Codec:
    """Return a codec of mappings like `codec`, for which a null value counts as absent."""

    def read(value: object, spot: Cursor) -> Any:
        if isinstance(value, Mapping):
            value = {name: item for name, item in value.items() if item is not None}
        return codec.read(value, spot)

    return attrs.evolve(codec, read=read)


def object_of(cls: type[Any], *, known: Iterable[str] = ()) -> Codec:
    """A nested wire class; `known` are names that it does not keep and that are no mistake."""

    def schema() -> Schema:
        return schema_of(cls)

    return Codec(lambda value, spot: read_object(cls, value, spot, known=known), write_object, schema=schema)


def section(owner: str, *names: str) -> Codec:
    """A mapping that is handed on as it is, after a look at its top-level names; without names anything goes."""

    def read(value: object, spot: Cursor) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            spot.refuse(value, "a mapping", f"Write the fields of {owner} below it.")
            return {}
        if spot.holds(value, bounds.ITEMS) and names:
            spot.unknown_of(value, names, owner)
        return value

    return Codec(read, schema=ANYTHING)


ANYTHING: Schema = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "maxProperties": bounds.ITEMS.most,
}


TEXT = text()
FREE = text(bounds.QUERY, free=True)
"""Text in which anything may stand, also what looks like a placeholder: commands and queries."""
_NAME_TEXT = text(bounds.NAME)
NAME = Codec(_name, empty="", schema=_NAME_TEXT.schema)
BOOLEAN = Codec(_boolean, empty=False, schema={"type": "boolean"})
NUMBER = Codec(_number, schema={"type": "number"})
PERCENT = integer(0, 100)
TEXTS = list_of(TEXT)
LABELS = map_of(FREE)
PORT = integer(1, _GREATEST_PORT)
COUNT = count()
DURATION = duration()
