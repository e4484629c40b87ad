"""The rules of fields: one table for every class that a hand-written policy or a stored status builds.

    step: int = field(default=0, validator=PERCENT)

A rule is a validator of attrs. It refuses a value of another type as `WrongType` and a value out of its range as
`WrongValue`; both name the field, the value, the expected values and the remedy. `canarycore.codec` builds the same
classes, so stored data meets the same rules.

attrs runs validators last. A class that computes fields from others calls `attrs.validate` before the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve

from canarycore.bounds import CHECKS, COUNT, FILE, ITEMS, NAME, TEXT, WAIT, Bound
from canarycore.errors import Problem, WrongType, WrongValue
from canarycore.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from attrs import Attribute


def describe_value(value: object) -> str:
    """Return a value for a message: bounded, and without the contents of an object."""
    match value:
        case Enum():
            return str(value)
        case type():
            return f"the class {value.__name__}"
        case tuple():
            return f"a tuple of {len(value)} items"
        case _:
            return shorten(value)


def fault(found: str, expected: str, remedy: str, rule: str = "type", *, part: str = "") -> Problem:
    """Return a problem of a value, whose path is the place of its wrong part, such as `[2]`."""
    return Problem(path=part, found=found, expected=expected, remedy=remedy, rule=rule)


def refuse(instance: object, field: str, problem: Problem) -> NoReturn:
    """Raise WrongType or WrongValue about a field of an object."""
    problem = evolve(problem, path=f"{type(instance).__name__}.{field}{problem.path}")
    raise WrongType(problem) if problem.rule == "type" else WrongValue(problem)


class FieldRule:
    """The rule of a field, a validator of attrs. `find` returns the problem of a value, or None."""

    __slots__ = ("find",)

    def __init__(self, find: Callable[[Any], Problem | None]) -> None:
        self.find: Callable[[Any], Problem | None] = find

    def __call__(self, instance: object, attribute: Attribute[Any], value: object) -> None:
        problem = self.find(value)
        if problem is not None:
            refuse(instance, attribute.name.lstrip("_"), problem)


class ScaledRule(FieldRule):
    """The rule of a weight: in percent, or in tenths of a percent where the object has `tenths`."""

    __slots__ = ("find_tenths",)

    def __init__(self, percent: FieldRule, tenths: FieldRule) -> None:
        super().__init__(percent.find)
        self.find_tenths = tenths.find

    def __call__(self, instance: object, attribute: Attribute[Any], value: object) -> None:
        is_fine = getattr(instance, "tenths", False) is True
        problem = (self.find_tenths if is_fine else self.find)(value)
        if problem is not None:
            refuse(instance, attribute.name, problem)


def check_fields(instance: object, rules: Mapping[str, FieldRule]) -> None:
    """Raise WrongType or WrongValue for the first field that breaks its rule.

    This is for records, which decisions make by the dozen: attrs' validators cost too much there. They compare classes
    themselves and call this only if one differs.
    """
    for name, rule in rules.items():
        problem = rule.find(getattr(instance, name))
        if problem is not None:
            refuse(instance, name, problem)


# single values ------------------------------------------------------------------------------------------------------


def whole(low: int, high: int) -> FieldRule:
    """Return the rule of a whole number from `low` to `high`."""
    expected = f"a whole number from {low} to {high}"

    def find(value: Any) -> Problem | None:
        if value.__class__ is not int and (isinstance(value, bool) or not isinstance(value, int)):
            return fault(describe_value(value), expected, "Write an int.")
        if low <= value <= high:
            return None
        return fault(describe_value(value), expected, f"Write {low} to {high}.", "range")

    return FieldRule(find)


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False, unit: str = "") -> FieldRule:
    """Return the rule of a finite number from `low` to `high`, or above `low`."""
    least = f" {'above' if above else 'from'} {low:g}" if low > -math.inf else ""
    most = f" to {high:,.0f}" if high < math.inf else ""
    expected = "a finite number" + (f" of {unit}" if unit else "") + least + most

    def find(value: Any) -> Problem | None:
        if value.__class__ is not float and (isinstance(value, bool) or not isinstance(value, float | int)):
            return fault(describe_value(value), expected, "Write a float.")
        if not low <= value <= high or (above and value == low) or not _is_finite(value):
            return fault(describe_value(value), expected, f"Write {expected}.", "range")
        return None

    return FieldRule(find)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def text(bound: Bound, *, empty: bool = True, secret: bool = False) -> FieldRule:
    """Return the rule of a text. A message does not show a secret one."""
    expected = f"{'a' if empty else 'a nonempty'} text of {bound}"

    def find(value: Any) -> Problem | None:
        if not isinstance(value, str):
            return fault(f"a {type(value).__name__}" if secret else describe_value(value), expected, "Write a str.")
        if len(value) > bound.most or not (value or empty):
            found = f"{len(value):,} characters" if value else "an empty text"
            return fault(found, expected, f"Write {expected}.", "bound" if value else "required")
        return None

    return FieldRule(find)


def _find_flag(value: object) -> Problem | None:
    return None if isinstance(value, bool) else fault(describe_value(value), "True or False", "Write True or False.")


def instance(kind: type[Any]) -> FieldRule:
    """Return the rule of an object of a class, or of a member of an enumeration."""
    members: tuple[Enum, ...] = tuple(kind) if issubclass(kind, Enum) else ()
    expected = f"a member of {kind.__name__}" if members else f"an object of {kind.__name__}"
    remedy = f"Write one of {', '.join(map(str, members))}." if members else f"Build it with {kind.__name__}(...)."

    def find(value: Any) -> Problem | None:
        if isinstance(value, kind):
            return None
        meant = (
            next((member for member in members if value in {member.value, member.name}), None)
            if (isinstance(value, str))
            else None
        )
        return fault(describe_value(value), expected, remedy if meant is None else f"Write {meant}.")

    return FieldRule(find)


# compound values ----------------------------------------------------------------------------------------------------


def instance_named(name: str) -> FieldRule:
    """Return the rule of an object of a class that stands above the module of its field, which cannot import it."""

    def find(value: Any) -> Problem | None:
        if type(value).__name__ == name:
            return None
        return fault(describe_value(value), f"an object of {name}", f"Build it with {name}(...).")

    return FieldRule(find)


def optional(rule: FieldRule) -> FieldRule:
    """Return the rule of a value that may be None."""

    def find(value: Any) -> Problem | None:
        problem = None if value is None else rule.find(value)
        return problem and evolve(problem, expected=f"{problem.expected}, or None")

    return FieldRule(find)


def items(rule: FieldRule, bound: Bound = ITEMS) -> FieldRule:
    """Return the rule of a tuple with a rule for each item."""
    expected = f"a tuple of {bound}"

    def find(value: Any) -> Problem | None:
        if not isinstance(value, tuple):
            return fault(describe_value(value), expected, "Write a tuple: (item,) for a single item, () for none.")
        if len(value) > bound.most:
            return fault(describe_value(value), expected, "Remove items.", "bound")
        return next(_problems_of_items(value, (rule,) * len(value)), None)

    return FieldRule(find)


def pairs(name: FieldRule, value: FieldRule) -> FieldRule:
    """Return the rule of a tuple of pairs of a name and a value."""

    def find(pair: Any) -> Problem | None:
        if not isinstance(pair, tuple) or len(pair) != 2:
            return fault(describe_value(pair), "a pair of a name and a value", "Write (name, value).")
        return next(_problems_of_items(pair, (name, value)), None)

    return items(FieldRule(find))


def mapping(rule: FieldRule) -> FieldRule:
    """Return the rule of a mapping from names to values with a rule."""
    expected = "a mapping from names to values"

    def find(value: Any) -> Problem | None:
        if not isinstance(value, Mapping):
            return fault(describe_value(value), expected, 'Write a dict: {"name": value}.')
        for name, item in value.items():
            problem = OPTIONAL_TEXT.find(name) or rule.find(item)
            if problem is not None:
                return evolve(problem, path=f"[{shorten(name)}]{problem.path}")
        return None

    return FieldRule(find)


def _problems_of_items(values: tuple[Any, ...], rules: tuple[FieldRule, ...]) -> Iterator[Problem]:
    for place, (value, rule) in enumerate(zip(values, rules, strict=True)):
        problem = rule.find(value)
        if problem is not None:
            yield evolve(problem, path=f"[{place}]{problem.path}")


def rising(rule: FieldRule, bound: Bound, number_of: Callable[[Any], float] = float) -> FieldRule:
    """Return the rule of a tuple whose numbers rise; `number_of` returns the number of an item."""
    listed = items(rule, bound)

    def find(value: Any) -> Problem | None:
        problem = listed.find(value)
        if problem is not None:
            return problem
        numbers = [number_of(item) for item in value]
        for place in range(1, len(numbers)):
            if numbers[place] <= numbers[place - 1]:
                expected, remedy = f"more than {numbers[place - 1]:g}", "Sort the numbers and remove repeats."
                return fault(describe_value(value[place]), expected, remedy, "rising", part=f"[{place}]")
        return None

    return FieldRule(find)


# the rules that many fields share -----------------------------------------------------------------------------------

FLAG = FieldRule(_find_flag)
PERCENT = whole(0, 100)
WEIGHT = whole(1, 100)
TENTHS = whole(0, 1000)
WEIGHT_IN_TENTHS = whole(1, 1000)
SHARE = ScaledRule(PERCENT, TENTHS)
INTEGER = whole(-(2**63), 2**63 - 1)
LONG_COUNT = whole(0, 2**63 - 1)
COUNT_FROM_0 = whole(0, COUNT.most)
COUNT_FROM_1 = whole(1, COUNT.most)
FINITE = number()
SECONDS = number(0, WAIT.most, unit="seconds")
SECONDS_ABOVE_0 = number(0, WAIT.most, above=True, unit="seconds")
LONG_SECONDS = number(0, COUNT.most, unit="seconds")
REQUIRED_NAME = text(NAME, empty=False)
OPTIONAL_NAME = text(NAME)
REQUIRED_TEXT = text(TEXT, empty=False)
OPTIONAL_TEXT = text(TEXT)
SECRET_TEXT = text(TEXT, secret=True)
FREE_TEXT = text(FILE)
LABELS = pairs(OPTIONAL_TEXT, FREE_TEXT)
CHECKS_OF_METRICS = Bound(3 * CHECKS.most, "items", "checks", "A metric has at most three checks.")
