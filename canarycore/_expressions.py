"""Conditions of a check: expressions over its result, such as `result >= 0.95`.

    conditions = Conditions.of("result >= 0.99", "result < 0.95")
    conditions.decide(0.97)        None: neither is true

A check with both conditions passes where only that of success is true, fails where that of failure is true, and is
inconclusive where neither is. A check with one condition passes or fails by that one (as in Argo Rollouts).

Evaluation is total and linear. A comparison with a value that does not exist has no truth: with missing data, a number
divided by zero, or NaN. `||` and `&&` have a truth all the same where the other side decides. A condition without a
truth is not true, and it is not false either, so it neither passes nor fails a check.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore._expression_parser import (
    CHOOSE,
    CONSTANT,
    NEGATE,
    RESULT,
    TRUTH,
    ExpressionError,
    Instruction,
    parse_program,
)
from canarycore.text import LONGEST_SHOWN, clip

if TYPE_CHECKING:
    from collections.abc import Callable

Number = float | None
"""A number; None for one that does not exist. NaN and infinities are numbers."""

Truth = bool | None
"""A truth; None for a condition without one."""


@frozen
class Expression:
    """A condition, ready to evaluate."""

    text: str
    """The condition as its owner wrote it."""
    program: tuple[Instruction, ...]
    """The parts, each after those that it needs."""

    @property
    def functions(self) -> frozenset[str]:
        """The names of the operations of the condition."""
        return frozenset(name for name, _ in self.program)

    def evaluate(self, result: Number) -> Truth:
        """Return the truth of the condition for a result; None if it has none."""
        stack: list[Any] = []
        for name, value in self.program:
            if name == CONSTANT:
                stack.append(value)
            elif name == RESULT:
                stack.append(result)
            elif name == TRUTH:
                stack.append(bool(value))
            else:
                count, apply = _OPERATIONS[name]
                operands = stack[-count:]
                del stack[-count:]
                stack.append(apply(*operands))
        truth: Truth = stack[-1]
        return truth


@lru_cache(maxsize=256)
def parse_condition(text: str) -> Expression:
    """Return a condition of a check. Raises ExpressionError for a text that is none."""
    return Expression(text, parse_program(text))


@frozen
class Conditions:
    """The conditions of a check: of success, of failure, or both."""

    success: Expression | None = None
    """The condition of a pass."""
    failure: Expression | None = None
    """The condition of a failure, which precedes that of a pass."""
    functions: frozenset[str] = frozenset()
    """The names of the operations of both."""

    @classmethod
    def of(cls, success: str, failure: str) -> Conditions | None:
        """Return the conditions of two texts; None if both are empty. Raises ExpressionError for a wrong one."""
        if not success and not failure:
            return None
        passes = parse_condition(success) if success else None
        fails = parse_condition(failure) if failure else None
        return cls(passes, fails, frozenset().union(*(each.functions for each in (passes, fails) if each)))

    def accept(self, value: Number) -> bool:
        """Whether the conditions say what such a value means, as they name missing data, NaN or infinity."""
        if value is None:
            return not self.functions.isdisjoint(("len", "default"))
        if math.isnan(value):
            return "isNaN" in self.functions
        return math.isfinite(value) or "isInf" in self.functions

    def decide(self, value: Number) -> Truth:
        """Return whether a check passes with a value; None if it neither passes nor fails."""
        fails = self.failure.evaluate(value) if self.failure else None
        if fails:
            return False
        if self.success is None:
            return True if fails is False else None
        passes = self.success.evaluate(value)
        if passes or self.failure is None:
            return passes
        return None

    def is_undefined(self, value: Number) -> bool:
        """Whether a condition has no truth for a value."""
        return any(each is not None and each.evaluate(value) is None for each in (self.success, self.failure))

    def explain(self, value: Number) -> str:
        """Return why a check fails with a value, such as `it does not meet result >= 0.95`."""
        if self.failure is not None and self.failure.evaluate(value):
            return f"it meets the failure condition {clip(self.failure.text, LONGEST_SHOWN)}"
        return f"it does not meet {clip(self.success.text, LONGEST_SHOWN)}" if self.success else ""

    def __str__(self) -> str:
        parts = (("success", self.success), ("failure", self.failure))
        return "; ".join(f"{name} if {each.text}" for name, each in parts if each is not None)


# operations ---------------------------------------------------------------------------------------------------------


def _compare(compare: Callable[[float, float], bool]) -> Callable[[Number, Number], Truth]:
    def apply(one: Number, other: Number) -> Truth:
        if one is None or other is None or math.isnan(one) or math.isnan(other):
            return None
        return compare(one, other)

    return apply


def _calculate(calculate: Callable[[float, float], float]) -> Callable[[Number, Number], Number]:
    def apply(one: Number, other: Number) -> Number:
        if one is None or other is None:
            return None
        try:
            return calculate(one, other)
        except (ZeroDivisionError, ValueError, OverflowError):
            return math.nan

    return apply


def _and(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return True if one and other else None


def _or(one: Truth, other: Truth) -> Truth:
    if one or other:
        return True
    return False if one is False and other is False else None


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _negate(number: Number) -> Number:
    return None if number is None else -number


def _choose(condition: Truth, one: Any, other: Any) -> Any:
    if condition is None:
        return None
    return one if condition else other


def _test(test: Callable[[float], bool]) -> Callable[[Number], Truth]:
    return lambda number: None if number is None else test(number)


_OPERATIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "<": (2, _compare(operator.lt)),
    "<=": (2, _compare(operator.le)),
    ">": (2, _compare(operator.gt)),
    ">=": (2, _compare(operator.ge)),
    "==": (2, _compare(operator.eq)),
    "!=": (2, _compare(operator.ne)),
    "+": (2, _calculate(operator.add)),
    "-": (2, _calculate(operator.sub)),
    "*": (2, _calculate(operator.mul)),
    "/": (2, _calculate(operator.truediv)),
    "%": (2, _calculate(math.fmod)),
    NEGATE: (1, _negate),
    "&&": (2, _and),
    "||": (2, _or),
    "!": (1, _not),
    CHOOSE: (3, _choose),
    "isNaN": (1, _test(math.isnan)),
    "isInf": (1, _test(math.isinf)),
    "len": (1, lambda number: 0.0 if number is None else 1.0),
    "default": (2, lambda number, other: other if number is None else number),
}
"""The number of operands and the function of each operation."""

__all__ = ["Conditions", "Expression", "ExpressionError", "Number", "Truth", "parse_condition"]
