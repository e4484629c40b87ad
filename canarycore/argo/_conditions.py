"""Argo's conditions as ranges: `result[0] >= 0.95` is a minimum.

Argo evaluates an expression over the result of a query. A check here has a range. Comparisons of the result with
numbers, joined by `&&`, are ranges; other expressions are not.
"""

from __future__ import annotations

import re
from math import inf, nextafter

from attrs import evolve, frozen

_RESULT = r"(?:result(?:\[0\])?|(?:default|asFloat|asInt)\(\s*result(?:\[0\])?\s*(?:,\s*-?[\d.]+\s*)?\))"
_NUMBER = r"-?\d{1,20}(?:\.\d{1,20})?"
_COMPARISON = re.compile(
    rf"\s*(?:({_RESULT})\s*(<=|>=|<|>|==)\s*({_NUMBER})|({_NUMBER})\s*(<=|>=|<|>|==)\s*({_RESULT}))\s*"
)
_SWAPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "=="}
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}

LONGEST_CONDITION = 1_000
"""Characters of the longest condition that is read."""


@frozen
class Range:
    """The values that pass, with both ends. None sets no bound."""

    minimum: float | None = None
    maximum: float | None = None

    def narrow(self, operator: str, number: float) -> Range:
        """Return the range of the values that also pass a comparison."""
        least = {">=": number, ">": nextafter(number, inf), "==": number}.get(operator)
        most = {"<=": number, "<": nextafter(number, -inf), "==": number}.get(operator)
        narrowed = self
        if least is not None:
            narrowed = evolve(narrowed, minimum=least if self.minimum is None else max(self.minimum, least))
        if most is not None:
            narrowed = evolve(narrowed, maximum=most if self.maximum is None else min(self.maximum, most))
        return narrowed


def read_conditions(success: str, failure: str) -> Range | None:
    """Return the range of two conditions; None if they are no range. An empty condition says nothing.

    Values that meet neither condition are inconclusive in Argo. Here they fail, as the range is that of success.
    """
    found = Range()
    if not success and not failure:
        return None
    if success:
        comparisons = _comparisons(success, "&&")
        if comparisons is None:
            return None
        for operator, number in comparisons:
            found = found.narrow(operator, number)
        return found
    comparisons = _comparisons(failure, "||")
    if comparisons is None or any(operator not in _NEGATED for operator, _ in comparisons):
        return None
    for operator, number in comparisons:
        found = found.narrow(_NEGATED[operator], number)
    return found


def is_gap(success: str, failure: str) -> bool:
    """Whether values may meet neither condition, or the two contradict each other."""
    return bool(success and failure) and read_conditions(success, "") != read_conditions("", failure)


def _comparisons(condition: str, joined: str) -> list[tuple[str, float]] | None:
    """Return the comparisons of the result that a condition joins; None if it has another form."""
    if len(condition) > LONGEST_CONDITION:
        return None
    found = []
    for part in condition.split(joined):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            return None
        before, operator, number, swapped_number, swapped, _ = match.groups()
        found.append((operator, float(number)) if before else (_SWAPPED[swapped], float(swapped_number)))
    return found
