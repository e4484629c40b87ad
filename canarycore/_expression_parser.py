"""The parser of conditions: `result >= 0.95 && !isNaN(result)` as a program for a stack machine.

The language is a small part of CEL, and of the expressions of Argo Rollouts. A condition may hold numbers, `true` and
`false`, `result` (or `result[0]`), arithmetic, comparisons, `&& || !`, `? :`, parentheses, and four functions. Each
part is a number or a truth value. The parser checks that too, so a program never meets a wrong type.

The cost is linear: the length, the parts, the depth and the digits of a condition have bounds, and each character is
read once.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal, NoReturn

from attrs import define, field, frozen

from canarycore.bounds import CONDITION, CONDITION_DEPTH, CONDITION_PARTS, DIGITS
from canarycore.text import nearest, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

Instruction = tuple[str, float]
"""An operation, and the value of a constant (0 for others)."""

Kind = Literal["number", "truth"]
"""The type of a part."""

CONSTANT = "constant"
TRUTH = "truth"
RESULT = "result"
NEGATE = "negate"
CHOOSE = "?"
"""Names of the operations that are no operator or function."""

FUNCTIONS: dict[str, tuple[tuple[Kind, ...], Kind]] = {
    "isNaN": (("number",), "truth"),
    "isInf": (("number",), "truth"),
    "len": (("number",), "number"),
    "default": (("number", "number"), "number"),
}
"""The types of the arguments and of the result of each function."""

_ON_RESULT = frozenset({"len", "default"})
"""The functions whose first argument is `result`: a number always has a value."""

_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">="}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
"""The operators of two parts, from the weakest."""

_TOKEN = re.compile(r"[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|[A-Za-z_]\w*+|&&|\|\||[=!<>]=|[-+*/%<>!()?:,\[\]]")
_DIGITS = re.compile(r"[0-9]++")
_SPACES = " \t\n\r"

_SUBSET = "numbers, true, false, result, + - * / %, comparisons, && || !, ? :, isNaN, isInf, len and default"
_REMEDIES = {
    "and": "Write && for and.",
    "or": "Write || for or.",
    "not": "Write ! for not.",
    "=": "Write == to compare.",
    "&": "Write && for and.",
    "|": "Write || for or.",
    "asFloat": "Write its argument alone: the result is a number.",
    "asInt": "Write its argument alone: the result is a number.",
    '"': "Write a query whose result is a number, and compare numbers.",
    "'": "Write a query whose result is a number, and compare numbers.",
    ".": "Write a query whose result is one number: it has no fields.",
}
"""Remedies for what other languages know."""


class ExpressionError(ValueError):
    """A text is no condition."""

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"found {found}, expected {expected}. {remedy}")


@frozen
class ConditionToken:
    """A word, a number or a sign of a condition."""

    text: str
    column: int

    def __str__(self) -> str:
        return f"{shorten(self.text)} at character {self.column}" if self.text else "the end"


def parse_program(text: str) -> tuple[Instruction, ...]:
    """Return the program of a condition, whose last value is its truth.

    Raises ExpressionError for a text beyond a bound or outside the language.
    """
    if len(text) > CONDITION.most:
        raise ExpressionError(f"{len(text):,} characters", str(CONDITION), "Shorten the condition.")
    parser = _Parser(tokens=read_tokens(text))
    kind = parser.read_choice(0)
    parser.expect("", "an operator, or the end")
    if kind != "truth":
        raise ExpressionError("a number", "a condition that is true or false", "Compare it, as in result >= 0.95.")
    return tuple(parser.program)


def read_tokens(text: str) -> list[ConditionToken]:
    """Return the tokens of a condition, and an empty one for its end. Raises ExpressionError for another character."""
    tokens: list[ConditionToken] = []
    place = 0
    while place < len(text):
        if text[place] in _SPACES:
            place += 1
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            remedy = _REMEDIES.get(text[place], "Remove it, or write a query whose result the condition can compare.")
            raise ExpressionError(f"{text[place]!r} at character {place + 1}", _SUBSET, remedy)
        tokens.append(ConditionToken(match[0], place + 1))
        place = match.end()
    return [*tokens, ConditionToken("", len(text) + 1)]


@define
class _Parser:
    """A parser that writes each part after the parts that it needs."""

    tokens: list[ConditionToken]
    place: int = 0
    program: list[Instruction] = field(factory=list)

    @property
    def token(self) -> ConditionToken:
        return self.tokens[self.place]

    def take(self) -> ConditionToken:
        token = self.token
        self.place += 1
        return token

    def expect(self, text: str, expected: str = "") -> None:
        """Take a token of this text, or refuse what is there."""
        if self.token.text != text:
            self.refuse(expected or repr(text))
        if text:
            self.take()

    def refuse(self, expected: str) -> NoReturn:
        remedy = _REMEDIES.get(self.token.text, "Correct the condition.")
        raise ExpressionError(str(self.token), expected, remedy)

    def emit(self, operation: str, value: float = 0.0) -> None:
        if len(self.program) >= CONDITION_PARTS.most:
            raise ExpressionError("more parts", str(CONDITION_PARTS), "Simplify the condition, or the query.")
        self.program.append((operation, value))

    def demand(self, kind: Kind, wanted: Kind, operation: str) -> None:
        if kind != wanted:
            remedy = "Join comparisons by && and ||." if wanted == "number" else "Compare it, as in result >= 0.95."
            raise ExpressionError(f"{operation} of {_NAMES[kind]}", f"{operation} of {_NAMES[wanted]}", remedy)

    def read_choice(self, depth: int) -> Kind:
        """Read `condition ? one : other`, or a part without it."""
        if depth > CONDITION_DEPTH.most:
            raise ExpressionError("deeper parts", str(CONDITION_DEPTH), "Simplify the condition, or the query.")
        kind = self.read_level(0, depth)
        if self.token.text != "?":
            return kind
        self.demand(kind, "truth", "?")
        self.take()
        one = self.read_choice(depth + 1)
        self.expect(":")
        other = self.read_choice(depth + 1)
        self.demand(other, one, ":")
        self.emit(CHOOSE)
        return one

    def read_level(self, level: int, depth: int) -> Kind:
        """Read parts that operators of a level join, from left to right."""
        if level == len(_LEVELS):
            return self.read_unary(depth)
        kind = self.read_level(level + 1, depth)
        while self.token.text in _LEVELS[level]:
            operator = self.take().text
            other = self.read_level(level + 1, depth)
            kind = self.join(operator, kind, other)
        return kind

    def join(self, operator: str, kind: Kind, other: Kind) -> Kind:
        """Write an operator of two parts; return the type of its value."""
        wanted: Kind = "truth" if operator in {"&&", "||"} else "number"
        if operator in {"==", "!="}:
            wanted = kind
        self.demand(kind, wanted, operator)
        self.demand(other, wanted, operator)
        self.emit(operator)
        return "number" if operator in _LEVELS[3] | _LEVELS[4] else "truth"

    def read_unary(self, depth: int) -> Kind:
        """Read a part with the signs before it: each sign is one level deep."""
        signs: list[str] = []
        while self.token.text in {"!", "-"}:
            signs.append(self.take().text)
        kind = self.read_part(depth + len(signs))
        for sign in reversed(signs):
            wanted: Kind = "truth" if sign == "!" else "number"
            self.demand(kind, wanted, sign)
            self.emit(sign if sign == "!" else NEGATE)
        return kind

    def read_part(self, depth: int) -> Kind:
        """Read a number, a name, a call, or a part in parentheses."""
        text = self.token.text
        if text == "(":
            self.take()
            kind = self.read_choice(depth + 1)
            self.expect(")")
            return kind
        if text[:1].isdigit():
            self.emit(CONSTANT, self.read_number())
            return "number"
        reader = _NAMED.get(text)
        if reader is not None:
            return reader(self)
        if text in FUNCTIONS:
            return self.read_call(text, depth)
        if text[:1].isalpha() and text not in _REMEDIES:
            near = nearest(text, [*FUNCTIONS, *_NAMED])
            remedy = f"Did you mean {near}?" if near else "Write a query whose result is one number, and compare it."
            raise ExpressionError(str(self.token), _SUBSET, remedy)
        return self.refuse("a number, result, a function or a part in parentheses")

    def read_number(self) -> float:
        token = self.take()
        if any(len(digits) > DIGITS.most for digits in _DIGITS.findall(token.text)):
            raise ExpressionError(f"a number of more digits at character {token.column}", str(DIGITS), "Round it.")
        value = float(token.text)
        if not math.isfinite(value):
            raise ExpressionError(str(token), "a finite number", "Write a smaller number.")
        return value

    def read_result(self) -> Kind:
        self.take()
        if self.token.text == "[":
            self.take()
            if self.token.text != "0":
                remedy = "A query has one number here: write result, or a query of its own for each number."
                raise ExpressionError(f"the index {self.token}", "result or result[0]", remedy)
            self.take()
            self.expect("]")
        self.emit(RESULT)
        return "number"

    def read_truth(self) -> Kind:
        self.emit(TRUTH, float(self.take().text == "true"))
        return "truth"

    def read_call(self, name: str, depth: int) -> Kind:
        arguments, kind = FUNCTIONS[name]
        self.take()
        self.expect("(")
        for number, wanted in enumerate(arguments):
            if number:
                self.expect(",")
            elif name in _ON_RESULT and self.token.text != RESULT:
                self.refuse(f"{name}(result)")
            self.demand(self.read_choice(depth + 1), wanted, f"{name}()")
            if not number and name in _ON_RESULT and self.program[-1][0] != RESULT:
                raise ExpressionError(f"{name}() of a computed value", f"{name}(result)", "Write result alone.")
        self.expect(")")
        self.emit(name)
        return kind


_NAMES: dict[Kind, str] = {"number": "a number", "truth": "a truth value"}
_NAMED: dict[str, Callable[[_Parser], Kind]] = {
    "result": _Parser.read_result,
    "true": _Parser.read_truth,
    "false": _Parser.read_truth,
}
