"""Argo's conditions as ranges, or as conditions: `result[0] >= 0.95` is a minimum.

Argo evaluates an expression over the result of a query. Comparisons of the result with numbers, joined by `&&`, are a
range here. Others are conditions, if they are in the language of `canarycore._expressions`.
"""

from __future__ import annotations

import re
from math import inf, nextafter
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore._condition_values import find_range
from canarycore._expression_parser import read_tokens

if TYPE_CHECKING:
    from canarycore._spec import Check

_RESULT = r"(?:result(?:\[0\])?|(?:asFloat|asInt)\(\s*result(?:\[0\])?\s*\))"
_NUMBER = r"-?\d{1,20}(?:\.\d{1,20})?"
_COMPARISON = re.compile(
    rf"\s*(?:({_RESULT})\s*(<=|>=|<|>|==)\s*({_NUMBER})|({_NUMBER})\s*(<=|>=|<|>|==)\s*({_RESULT}))\s*"
)
_AS_FLOAT = re.compile(r"\basFloat\s*+\(")
_SWAPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "=="}
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}

LONGEST_CONDITION = 1_000
"""Characters of the longest condition that is read."""


@frozen
class Range:
    """The values that pass, with both ends. None sets no bound."""

    minimum: float | None = None
    maximum: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no value passes."""
        return self.minimum is not None and self.maximum is not None and self.minimum > self.maximum

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

    They are no range if they do not fit together: values that meet neither condition are inconclusive.
    """
    if success and failure and read_conditions(success, "") != read_conditions("", failure):
        return None
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


def translate(condition: str) -> str:
    """Return a condition of Argo in the language here: the result is a number, so nothing converts it."""
    return _AS_FLOAT.sub("(", condition)


def index_result(condition: str) -> str:
    """Return a condition with `result[0]` for a number; `len` and `default` take the list, as most providers give."""
    tokens, text = read_tokens(condition), condition
    for place in reversed(range(len(tokens) - 1)):
        token, before = tokens[place], [each.text for each in tokens[max(place - 2, 0) : place]]
        is_list = before in (["len", "("], ["default", "("]) or tokens[place + 1].text == "["
        if token.text == "result" and not is_list:
            end = token.column - 1 + len(token.text)
            text = f"{text[:end]}[0]{text[end:]}"
    return text


def simplify(check: Check) -> Check:
    """Return a check with the range that its conditions say, or with conditions in one spelling."""
    if check.conditions is None:
        return check
    limits = find_range(check.conditions)
    if limits is not None:
        return evolve(check, minimum=limits[0], maximum=limits[1], success_condition="", failure_condition="")
    success, failure = (" ".join(_drop_index(each)) for each in (check.success_condition, check.failure_condition))
    return evolve(check, success_condition=success, failure_condition=failure)


def _drop_index(condition: str) -> list[str]:
    """Return the texts of the tokens of a condition, with `result` for `result[0]`."""
    texts: list[str] = []
    for token in read_tokens(condition)[:-1]:
        texts.append(token.text)
        if texts[-3:] == ["[", "0", "]"]:
            del texts[-3:]
    return texts


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
