"""The values that a condition tells apart: the breaks between its truths, and examples of each.

A part of a condition is affine if it is a multiple of the result and a constant. Where all comparisons compare affine
parts, the truth changes at their breaks only, so one value between each two breaks, and those beside a break, show all
that the condition says about numbers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore._expression_parser import CHOOSE, CONSTANT, FUNCTIONS, NEGATE, RESULT, TRUTH

if TYPE_CHECKING:
    from canarycore._expressions import Conditions, Expression, Number

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OTHERS = {"&&": 2, "||": 2, "!": 1, "%": 2, CHOOSE: 3}
"""The number of operands of operations whose value is not affine."""

_MOST_BREAKS = 64
"""The most breaks of which values are tried."""

_Affine = tuple[float, float] | None
"""The factor of the result and the constant; None for a part that is not affine."""


@frozen
class ConditionValues:
    """Values of a check with conditions."""

    values: tuple[float, ...]
    """The values, rising."""
    is_complete: bool
    """Whether they show all that the conditions say about numbers."""


@lru_cache(maxsize=256)
def find_values(conditions: Conditions) -> ConditionValues:
    """Return values on both sides of each break of some conditions, and between them."""
    pairs = [_find_breaks(each) for each in (conditions.success, conditions.failure) if each is not None]
    breaks = sorted({number for found, _ in pairs for number in found if math.isfinite(number)})
    is_complete = all(complete for _, complete in pairs) and len(breaks) <= _MOST_BREAKS
    breaks = breaks[:_MOST_BREAKS] or [0.0]
    values = {*breaks, breaks[0] - _beyond(breaks[0]), breaks[-1] + _beyond(breaks[-1])}
    values |= {low + (high - low) / 2 for low, high in pairwise(breaks)}
    values |= {math.nextafter(number, end) for number in breaks for end in (-math.inf, math.inf)}
    return ConditionValues(tuple(sorted(value for value in values if math.isfinite(value))), is_complete)


def find_range(conditions: Conditions) -> tuple[Number, Number] | None:
    """Return the least and the greatest value that passes, if conditions say the same as such a range.

    None stands for no bound. There is no range if a value is inconclusive, and if conditions speak of missing data.
    """
    found = find_values(conditions)
    if not found.is_complete or not conditions.functions.isdisjoint(FUNCTIONS):
        return None
    decisions = [conditions.decide(value) for value in found.values]
    if None in decisions or True not in decisions or all(decisions):
        return None
    first, last = decisions.index(True), len(decisions) - 1 - decisions[::-1].index(True)
    if not all(decisions[first : last + 1]):
        return None
    low = None if first == 0 else found.values[first]
    high = None if last == len(decisions) - 1 else found.values[last]
    return low, high


@lru_cache(maxsize=256)
def find_example(conditions: Conditions, decision: bool | None) -> Number:
    """Return a value with this decision, as far from other ones as there is one; None if there is none."""
    decisions = {value: conditions.decide(value) for value in find_values(conditions).values}
    others = [value for value, each in decisions.items() if each is not decision]
    best: tuple[float, float] | None = None
    for value, each in decisions.items():
        distance = min((abs(other - value) for other in others), default=-abs(value))
        if each is decision and (best is None or distance > best[0]):
            best = distance, value
    return None if best is None else best[1]


def _beyond(number: float) -> float:
    return max(1.0, abs(number) / 2)


def _find_breaks(expression: Expression) -> tuple[list[float], bool]:
    """Return the numbers at which a comparison of an expression changes, and whether these are all."""
    stack: list[_Affine] = []
    breaks: list[float] = []
    is_complete = True
    for name, value in expression.program:
        if name in {CONSTANT, TRUTH}:
            stack.append((0.0, value))
        elif name == RESULT:
            stack.append((1.0, 0.0))
        elif name in _COMPARISONS:
            found, known = _break(stack.pop(-2), stack.pop())
            breaks += found
            is_complete &= known
            stack.append(None)
        elif name in {"isNaN", "isInf"}:  # no multiple of a number is either
            is_complete &= stack.pop() is not None
            stack.append(None)
        elif name in _OTHERS:
            del stack[-_OTHERS[name] :]
            stack.append(None)
        else:
            stack.append(_combine(name, stack))
    if not is_complete:
        breaks += [value for name, value in expression.program if name == CONSTANT]
    return breaks, is_complete


def _break(one: _Affine, other: _Affine) -> tuple[list[float], bool]:
    """Return where a comparison changes. One of truths changes where those do."""
    if one is None or other is None:
        return [], False
    factor, constant = one[0] - other[0], other[1] - one[1]
    if not math.isfinite(factor) or not math.isfinite(constant):
        return [], False
    return ([constant / factor] if factor else []), True


def _combine(name: str, stack: list[_Affine]) -> _Affine:
    """Take the operands of an arithmetic operation or a function off the stack; return its value."""
    if name == NEGATE:
        return _scale(stack.pop(), -1.0)
    if name == "len":
        stack.pop()
        return 0.0, 1.0
    other, one = stack.pop(), stack.pop()
    if name == "default":
        return one
    if one is None or other is None:
        return None
    if name in {"+", "-"}:
        sign = 1.0 if name == "+" else -1.0
        return one[0] + sign * other[0], one[1] + sign * other[1]
    if name == "*" and not (one[0] and other[0]):
        return _scale(one, other[1]) if not other[0] else _scale(other, one[1])
    if name == "/" and not other[0] and other[1]:
        return one[0] / other[1], one[1] / other[1]
    return None


def _scale(part: _Affine, factor: float) -> _Affine:
    return None if part is None else (part[0] * factor, part[1] * factor)
