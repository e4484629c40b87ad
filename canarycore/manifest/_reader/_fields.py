"""Readers from plain data to typed data that collect every mistake.

A wire class is an attrs class with fields by `wire(codec)`. A **codec** reads a JSON value at a **cursor** and writes
it back. A cursor has the path of the value. A codec records a mistake at the cursor and goes on, so that an owner gets
all mistakes at once. After a mistake its result is unused, as a document with an error makes no object.
"""

from __future__ import annotations

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
from canarycore.text import nearest, shorten

if TYPE_CHECKING:
    from canarycore.bounds import Bound

T = TypeVar("T")

Schema = Mapping[str, Any]
"""An OpenAPI v3 schema, as a CustomResourceDefinition holds it."""

_PLACEHOLDER = re.compile(r"<[^<>\s][^<>]*+>")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def is_placeholder(text: str) -> bool:
    """Return whether a text is a placeholder of documentation, such as `<name>`."""
    return len(text) <= bounds.NAME.most and _PLACEHOLDER.fullmatch(text) is not None


@define
class Problems:
    """The problems of one document: the first ones, and the number of the others."""

    first: list[Problem] = attrs.field(factory=list)
    """The first problems, up to `canarycore.bounds.PROBLEMS`."""
    left_out: int = 0
    """Number of further problems."""
    failed: bool = False
    """Whether any of them is an error."""

    def add(self, problem: Problem) -> None:
        """Add a problem."""
        self.failed = self.failed or problem.severity == "error"
        if len(self.first) < bounds.PROBLEMS.most:
            self.first.append(problem)
        else:
            self.left_out += 1

    def listed(self) -> tuple[Problem, ...]:
        """Return the first problems, and one more that counts the others."""
        if not self.left_out:
            return tuple(self.first)
        rest = Problem(
            path="",
            found=f"{self.left_out} more problems",
            expected="none",
            remedy="Correct the problems above first.",
            rule="bound",
            severity="error" if self.failed else "warning",
        )
        return (*self.first, rest)


@frozen
class Cursor:
    """A position in a document."""

    path: str
    """Path of the position."""
    problems: Problems
    """Problems of the document."""
    hidden: bool = False
    """Whether the value may be a secret, which no problem shows."""

    def at(self, key: str | int, *, hidden: bool = False) -> Cursor:
        """Return the cursor at a key of this value; below a hidden value all values are hidden."""
        return Cursor(join(self.path, key), self.problems, hidden or self.hidden)

    def refuse(self, value: object, expected: str, remedy: str, rule: str = "type") -> None:
        """Add the problem that `value` is wrong at this position."""
        if isinstance(value, str) and is_placeholder(value):
            rule, remedy = "placeholder", f"Replace the placeholder {value} by {expected}."
        found = "a value that is not shown" if self.hidden and rule != "placeholder" else show(value)
        self.problems.add(Problem(path=self.path, found=found, expected=expected, remedy=remedy, rule=rule))

    def warn(self, value: object, expected: str, remedy: str, rule: str) -> None:
        """Add the warning that `value` has another effect than it seems to have."""
        self.problems.add(
            Problem(path=self.path, found=show(value), expected=expected, remedy=remedy, rule=rule, severity="warning")
        )

    def miss(self, expected: str) -> None:
        """Add the problem that a required value is missing at this position."""
        self.problems.add(
            Problem(path=self.path, found="nothing", expected=expected, remedy="Add the field.", rule="required")
        )

    def unknown(self, name: str, known: Iterable[str], owner: str) -> None:
        """Add a warning about an unknown field below this position."""
        names = list(known)
        near = nearest(name, names)
        self.problems.add(
            Problem(
                path=join(self.path, name),
                found=f"the unknown field {shorten(name)}",
                expected=f"a field of {owner}",
                remedy=f"Did you mean {near!r}?" if near else f"Remove it; the fields are {', '.join(sorted(names))}.",
                rule="unknown-field",
                severity="warning",
            )
        )

    def unknown_of(
        self, value: Mapping[str, Any], known: Collection[str], owner: str, *, more: Iterable[str] = ()
    ) -> None:
        """Add warnings about the first unknown fields of a mapping. more: further names without a warning."""
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
        """Return whether `value` is within a bound; add a problem where it is not."""
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
        """Whether the document has an error."""
        return self.problems.failed


def show(value: object) -> str:
    """Return a value for a problem: short, and with its type where the type may be the mistake."""
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


@frozen
class Codec:
    """A conversion of a JSON value to a typed one, and back."""

    read: Callable[[Any, Cursor], Any]
    """The function from the JSON value at a cursor to the typed value."""
    write: Callable[[Any], Any] = lambda value: value
    """The function from the typed value to the JSON value."""
    empty: Any = None
    """The typed value of an absent field."""
    schema: Schema | Callable[[], Schema] = attrs.field(factory=dict, eq=False, repr=False)
    """The OpenAPI v3 schema of the JSON value, or a function that returns it."""

    def describe(self) -> Schema:
        """Return the schema."""
        return self.schema() if callable(self.schema) else self.schema


def wire(codec: Codec, *, required: bool = False, name: str = "", hidden: bool = False) -> Any:  # as attrs.field
    """Return a field of a wire class. name: its JSON name, if not the attribute's name in camel case."""
    return attrs.field(
        default=codec.empty,
        repr=not hidden,
        metadata={"codec": codec, "name": name, "required": required, "hidden": hidden},
    )


def json_name(field: attrs.Attribute[Any]) -> str:
    """Return the JSON name of a wire class's field."""
    first, *rest = field.name.rstrip("_").split("_")
    name: str = field.metadata["name"] or first + "".join(word.capitalize() for word in rest)
    return name


def fields_of(cls: type[Any]) -> Mapping[str, attrs.Attribute[Any]]:
    """Return the wire fields of a class by their JSON names."""
    return _fields_of(cls)  # type: ignore[arg-type]  # mypy does not know that a class has a hash


@cache
def _fields_of(cls: type[Any]) -> Mapping[str, attrs.Attribute[Any]]:
    return {json_name(field): field for field in attrs.fields(cls) if "codec" in field.metadata}


def read_object(cls: type[T], value: object, cursor: Cursor, *, known: Iterable[str] = ()) -> T | None:
    """Read a mapping into `cls`. known: further names without a warning."""
    if not isinstance(value, Mapping):
        cursor.refuse(value, "a mapping", "Write its fields below it, indented.")
        return None
    fields = fields_of(cls)
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        below = cursor.at(name, hidden=field.metadata["hidden"])
        codec: Codec = field.metadata["codec"]
        required, content = field.metadata["required"], value.get(name)
        if content is not None and not (required and content == ""):
            arguments[field.name] = codec.read(content, below)
        elif required:
            below.miss(f"the field: {cursor.path or 'the document'} needs it")
    cursor.unknown_of(value, fields, cls.__name__, more=known)
    return None if cursor.failed else cls(**arguments)


def write_object(instance: Any) -> dict[str, Any]:
    """Return the JSON mapping of a wire object, without empty fields."""
    written = {}
    for name, field in fields_of(type(instance)).items():
        value = getattr(instance, field.name)
        if value != field.metadata["codec"].empty:
            written[name] = field.metadata["codec"].write(value)
    return written


def schema_of(cls: type[Any]) -> Schema:
    """Return the OpenAPI v3 schema of a wire class's mapping."""
    fields = fields_of(cls)
    required = [name for name, field in fields.items() if field.metadata["required"]]
    return {
        "type": "object",
        "properties": {name: field.metadata["codec"].describe() for name, field in fields.items()},
        **({"required": required} if required else {}),
    }


# the codecs ---------------------------------------------------------------------------------------------------------


def text(bound: Bound = bounds.TEXT, *, free: bool = False) -> Codec:
    """Return the codec of a text of bounded length. free: whether it may look like a placeholder."""

    def read(value: object, cursor: Cursor) -> str:
        if not isinstance(value, str):
            remedy = "Put it in quotes." if isinstance(value, int | float) else "Write one line of text."
            cursor.refuse(value, "a text", remedy)
            return ""
        if not cursor.holds(value, bound):
            return ""
        if not free and is_placeholder(value):
            cursor.refuse(value, "the real value", "")
        return value

    return Codec(read, empty="", schema={"type": "string", "maxLength": bound.most})


def _name(value: object, cursor: Cursor) -> str:
    name: str = _NAME_TEXT.read(value, cursor)
    if name and not is_placeholder(name) and not _NAME.fullmatch(name):
        cursor.refuse(name, "a Kubernetes name", "Use lower-case letters, digits, '-' and '.' only.", "name")
    return name


def _boolean(value: object, cursor: Cursor) -> bool:
    if not isinstance(value, bool):
        cursor.refuse(value, "true or false", "Write true or false, without quotes.")
        return False
    return value


_GREATEST = sys.float_info.max
"""The greatest finite number. The comparison with it refuses NaN too."""


def _number(value: object, cursor: Cursor) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_GREATEST <= value <= _GREATEST:
        cursor.refuse(value, "a number", "Write it without quotes and unit.")
        return 0.0
    return float(value)


def duration(*, zero: bool = False, longest: Bound | None = None) -> Codec:
    """Return the codec of a Go duration, as text. zero: whether it may be 0."""
    least = "a duration of at least 0s" if zero else "a duration above 0s"

    def read(value: object, cursor: Cursor) -> str:
        expected = 'a duration such as "30s" or "1m30s"'
        if isinstance(value, int | float) and not isinstance(value, bool):
            cursor.refuse(value, expected, f'Add the unit: "{shorten(value)}s" for seconds.', "duration")
            return ""
        if not isinstance(value, str) or is_placeholder(value):
            cursor.refuse(value, expected, f"Write {expected}.", "duration")
            return ""
        try:
            seconds = parse_duration(value) if value else None  # Flagger takes an empty text for none
        except ValueError as error:
            cursor.refuse(value, expected, f"{str(error).capitalize()}.", "duration")
            return ""
        if seconds is not None and (seconds < 0 or (seconds == 0 and not zero)):
            cursor.refuse(value, least, "Write a longer duration.", "duration")
        if seconds is not None and longest is not None and seconds > longest.most:
            cursor.refuse(value, f"a duration of {longest}", "Write a shorter duration.", "bound")
        return value

    return Codec(read, empty="", schema={"type": "string", "maxLength": bounds.DURATION.most})


_ADMITTED = re.compile(r"[0-9]+(m|s)")
"""The beginning of each duration that Flagger's Canary definition admits: `1min` too."""


def defaulted_duration(default: str, least: str, longest: Bound) -> Codec:
    """Return the codec of a duration, of which a text that Flagger admits and cannot read counts as the default.

    least: the duration as which a shorter one counts, 0 too.
    """
    strict = duration(zero=True, longest=longest)

    def read(value: object, cursor: Cursor) -> str:
        is_admitted = isinstance(value, str) and len(value) <= bounds.DURATION.most and _ADMITTED.match(value)
        if not is_admitted or is_duration(str(value)):
            text: str = strict.read(value, cursor)
            return text
        expected = f'a duration such as "30s" or "1m30s": this one counts as {default}'
        cursor.warn(value, expected, f"Write {default}, or the duration that you mean ({least} or more).", "duration")
        return str(value)

    return Codec(read, empty="", schema=strict.schema)


UNLIMITED = ("infinity", "infinite")
"""Contour's words for a request without a timeout."""


def passed_on_duration() -> Codec:
    """Return the codec of a duration that the mesh reads: 0 and other words have the meaning that they have there."""
    strict = duration(zero=True)

    def read(value: object, cursor: Cursor) -> str:
        if not isinstance(value, str) or is_placeholder(value) or len(value) > bounds.DURATION.most:
            text: str = strict.read(value, cursor)
            return text
        if value and value not in UNLIMITED and not is_duration(value):
            expected = 'a duration such as "30s", or "0s" for none: the mesh may refuse this text'
            cursor.warn(value, expected, "Write a duration that the mesh knows.", "duration")
        return value

    return Codec(read, empty="", schema=strict.schema)


def is_duration(text: str) -> bool:
    """Return whether a text is a Go duration of at least 0."""
    try:
        return parse_duration(text) >= 0
    except ValueError:
        return False


_GREATEST_PORT = 65535


def integer(low: int, high: int) -> Codec:
    """Return the codec of a whole number from `low` to `high`."""
    is_short = high <= _GREATEST_PORT
    expected = f"a whole number {f'from {low} to {high}' if is_short else f'of at least {low} and at most {high}'}"

    def read(value: object, cursor: Cursor) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # YAML tools write 5.0 for 5
        if isinstance(value, bool) or not isinstance(value, int):
            cursor.refuse(value, expected, "Write a whole number, without quotes and unit.")
            return 0
        if not low <= value <= high:
            cursor.refuse(value, expected, f"Write {expected}.", "range")
        return value

    return Codec(read, schema={"type": "integer", "minimum": low, "maximum": high})


def count(low: int = 0) -> Codec:
    """Return the codec of a whole number of 32 bits, at least `low`."""
    return integer(low, bounds.COUNT.most)


def one_of(*choices: str, refused: Mapping[str, tuple[str, str]] | None = None) -> Codec:
    """Return the codec of one of some texts.

    refused: other texts that owners try, each with the reason against it and the remedy.
    """
    shown = ", ".join(choice for choice in choices if choice)

    def read(value: object, cursor: Cursor) -> str:
        if isinstance(value, str) and refused and value in refused:
            reason, remedy = refused[value]
            cursor.refuse(value, f"one of {shown}: {reason}", remedy, "choice")
            return ""
        if not isinstance(value, str) or value not in choices:
            near = nearest(value, choices) if isinstance(value, str) else ""
            remedy = f"Did you mean {near!r}?" if near else f"Use one of {shown}."
            cursor.refuse(value, f"one of {shown}", remedy, "choice")
            return ""
        return value

    return Codec(read, empty="", schema={"type": "string", "enum": list(choices)})


def list_of(item: Codec, bound: Bound = bounds.ITEMS) -> Codec:
    """Return the codec of a list, as a tuple."""

    def read(value: object, cursor: Cursor) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            cursor.refuse(value, "a list", "Begin each item with '- '.")
            return ()
        if not cursor.holds(value, bound):
            return ()
        return tuple(item.read(element, cursor.at(index)) for index, element in enumerate(value))

    def schema() -> Schema:
        return {"type": "array", "maxItems": bound.most, "items": item.describe()}

    return Codec(read, lambda value: [item.write(element) for element in value], (), schema)


def rising(item: Codec, bound: Bound, number_of: Callable[[Any], int | None] = lambda number: number) -> Codec:
    """Return the codec of a list whose numbers strictly rise; `number_of` returns the number of an item."""
    listed = list_of(item, bound)

    def read(value: object, cursor: Cursor) -> tuple[Any, ...]:
        items: tuple[Any, ...] = listed.read(value, cursor)
        numbers = [number_of(item) for item in items]
        for index, (before, after) in enumerate(pairwise(numbers), start=1):
            if before is not None and after is not None and after <= before:
                cursor.at(index).refuse(
                    after, f"more than the {before} before it", "List the weights in strictly rising order.", "rising"
                )
        return items

    return Codec(read, listed.write, (), listed.schema)


def map_of(item: Codec, bound: Bound = bounds.ITEMS, *, nulls: bool = True) -> Codec:
    """Return the codec of a mapping from names to values, as pairs in the order of the document.

    nulls: whether null values count as absent, as for the API server. If not, the codec of the values reads them.
    """

    def read(value: object, cursor: Cursor) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, Mapping):
            cursor.refuse(value, "a mapping", "Write 'name: value' lines below it.")
            return ()
        if not cursor.holds(value, bound):
            return ()
        return tuple(
            (key, item.read(element, cursor.at(key)))
            for key, element in value.items()
            if element is not None or not nulls
        )

    def schema() -> Schema:
        return {"type": "object", "maxProperties": bound.most, "additionalProperties": item.describe()}

    return Codec(read, lambda value: {key: item.write(element) for key, element in value}, (), schema)


def object_of(cls: type[Any], *, known: Iterable[str] = ()) -> Codec:
    """Return the codec of a nested wire class. known: further names without a warning."""

    def schema() -> Schema:
        return schema_of(cls)

    return Codec(lambda value, cursor: read_object(cls, value, cursor, known=known), write_object, schema=schema)


def section(owner: str, *names: str) -> Codec:
    """Return the codec of a mapping that stays as it is. names: known top-level names; none: all names are known."""

    def read(value: object, cursor: Cursor) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            cursor.refuse(value, "a mapping", f"Write the fields of {owner} below it.")
            return {}
        if cursor.holds(value, bounds.ITEMS) and names:
            cursor.unknown_of(value, names, owner)
        return value

    return Codec(read, schema=ANYTHING)


ANYTHING: Schema = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "maxProperties": bounds.ITEMS.most,
}


TEXT = text()
FREE = text(bounds.QUERY, free=True)
"""The codec of any text, such as commands and queries, even one that looks like a placeholder."""
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
PASSED_ON_DURATION = passed_on_duration()
