"""The time of every regular expression of the sources grows linearly with its input.

The test finds the expressions in the syntax trees, so it misses none. It runs each with the methods that its module
uses, on strings of its own alphabet: a beginning that it matches, a repeated part, and an unexpected end.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path
from re import _constants as ops  # type: ignore[attr-defined]  # the parser's names have no public home
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from attrs import frozen

from tests.growth import is_linear, seconds
from tests.house.projects import ROOT

SOURCES = ("canarycore", "adapters", "deploy")

USES = ("match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")

COMPUTED = {
    "adapters/cli/canarycore_cli/loadtester.py": "the operator's own --namespace-regexp",
    "adapters/kubernetes/canarycore_kubernetes/scaling/autoscalers.py": "a target's name, escaped, with a suffix",
    "adapters/kubernetes/canarycore_kubernetes/migration/equivalent.py": "expressions from a table of the source",
    "adapters/local/canarycore_local/requests/matching.py": "a condition of the user's own manifest",
    "canarycore/argo/_conditions.py": "a condition of at most 1,000 characters, in parts that begin differently",
    "canarycore/manifest/routing.py": "parts that begin with a dot or a slash, which no character before them is",
    "canarycore/manifest/_lint/_rollouts.py": "names of fields from a table, escaped, one of them at a time",
}
"""Files that compute an expression, with the reason why it is linear or no attack."""


@frozen
class Use:
    """An expression, and a method by which a file uses it."""

    file: str
    line: int
    pattern: str | bytes
    flags: int
    way: str

    @property
    def run(self) -> Callable[[str], object]:
        method = getattr(re.compile(self.pattern, self.flags), self.way)
        if self.way in {"sub", "subn"}:
            method = partial(method, self.pattern[:0])
        finish = list if self.way == "finditer" else lambda result: result
        return lambda text: finish(method(text.encode() if isinstance(self.pattern, bytes) else text))

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.way}"


# ------------------------------------------------------------------------------------------------ finding expressions


def uses() -> Iterator[Use]:
    for file, tree in _trees():
        for call in _calls(tree):
            pattern = call.args[0]
            if isinstance(pattern, ast.Constant):
                place = (str(file.relative_to(ROOT)), call.lineno, pattern.value, _flags(call))
                yield from (Use(*place, way) for way in _ways(tree, call))


def computed() -> set[str]:
    """Return the files with an expression that is no literal."""
    return {
        str(file.relative_to(ROOT))
        for file, tree in _trees()
        for call in _calls(tree)
        if not isinstance(call.args[0], ast.Constant)
    }


def _trees() -> Iterator[tuple[Path, ast.AST]]:
    """Yield the files that import the module `re`, each with its syntax tree."""
    for file in (file for folder in SOURCES for file in sorted((ROOT / folder).rglob("*.py"))):
        text = file.read_text()
        if "import re" in text:
            yield file, ast.parse(text)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls such as `re.match(expression, …)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name), args=[_, *_]):
                if name in {"compile", *USES}:
                    yield node


def _flags(call: ast.Call) -> int:
    names = [node.attr for argument in call.args[1:] for node in ast.walk(argument) if isinstance(node, ast.Attribute)]
    names += [node.attr for word in call.keywords for node in ast.walk(word.value) if isinstance(node, ast.Attribute)]
    return sum(int(flag) for name in names if isinstance(flag := getattr(re, name, None), re.RegexFlag))


def _ways(tree: ast.AST, call: ast.Call) -> Iterable[str]:
    """Return the methods by which a file uses an expression; all methods if it has no name."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr != "compile":
        return [call.func.attr]
    names = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value is call
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    methods = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    return sorted(methods & set(USES)) or USES


# ------------------------------------------------------------------------------------------------- adversarial strings

_CATEGORIES = {ops.CATEGORY_DIGIT: "1", ops.CATEGORY_SPACE: " ", ops.CATEGORY_WORD: "a"}
_ENDS = ("", "\x00", "\n")


def _letters(nodes: Any) -> Iterator[str]:
    """Yield the characters of an expression, and one for each set of characters."""
    for kind, argument in nodes:
        if kind in {ops.LITERAL, ops.NOT_LITERAL}:
            yield chr(argument)
        elif kind is ops.RANGE:
            yield chr(argument[0])
        elif kind is ops.CATEGORY:
            yield _CATEGORIES.get(argument, "-")
        elif kind is ops.ANY:
            yield "a"
        elif kind is ops.IN:
            yield from _letters(argument)
        else:
            for inner in _below(argument):
                yield from _letters(inner)


def _repeats(nodes: Any) -> Iterator[tuple[str, str]]:
    """Yield for each repetition a string that leads to it, and one that it repeats."""
    before = ""
    for kind, argument in nodes:
        if kind in {ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT}:
            yield before, _sample(argument[2]) or "a"
        for inner in _below(argument):
            yield from ((before + lead, repeated) for lead, repeated in _repeats(inner))
        before += _sample([(kind, argument)])


def _sample(nodes: Any) -> str:
    """Return a string that an expression matches, or almost."""
    text = ""
    for kind, argument in nodes:
        if kind in {ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT}:
            text += _sample(argument[2]) * max(argument[0], 1)
        elif kind is ops.BRANCH:
            text += _sample(argument[1][0])
        elif kind is ops.IN and argument[0][0] is ops.NEGATE:
            text += next(letter for letter in "a0 -" if letter not in set(_letters(argument)))
        elif list(_below(argument)):
            text += "".join(map(_sample, _below(argument)))
        else:
            text += next(_letters([(kind, argument)]), "")
    return text


def _below(argument: Any) -> Iterator[Any]:
    """Yield the expressions inside an argument of a node."""
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _below(part)


@cache
def attacks(pattern: str | bytes, flags: int) -> tuple[tuple[str, str, str], ...]:
    """Return different triples of beginning, repeated part and end."""
    tree = parser.parse(pattern, flags)
    letters = list(dict.fromkeys(["a", " ", *_letters(tree)]))[:10]
    leads = dict(_repeats(tree))
    begins = list(dict.fromkeys(["", *leads]))[:4]
    pumps = dict.fromkeys([*letters, *map("".join, product(letters, repeat=2)), *(pump for _, pump in _repeats(tree))])
    return tuple(product(begins, pumps, _ENDS))


# --------------------------------------------------------------------------------------------------------------- tests

ALL_USES = tuple(dict.fromkeys(uses()))


TINY, SHORT, LONG = 22, 200, 4000
"""Lengths of inputs. An exponential expression shows on the first, and would not end on a longer one."""


def _is_slow(run: Callable[[str], object], attack: tuple[str, str, str]) -> bool:
    begin, pump, end = attack

    def work(length: int) -> Callable[[], object]:
        return partial(run, begin + pump * (length // len(pump)) + end)

    for length, most in ((TINY, 0.05), (SHORT, 0.05), (LONG, 0.002)):
        if seconds(work(length), repeats=1) > most and seconds(work(length)) > most:
            return length < LONG or not is_linear(work, LONG // 2)  # quadratic work is well above is_linear's floor
    return False


@pytest.mark.parametrize("use", ALL_USES, ids=str)
def test_an_expression_takes_time_in_proportion_to_its_input(use):
    slow = [attack for attack in attacks(use.pattern, use.flags) if _is_slow(use.run, attack)]
    assert slow == []


def test_the_test_finds_the_expressions_of_the_sources():
    assert len(ALL_USES) > 20
    assert {"match", "fullmatch", "search", "sub"} <= {use.way for use in ALL_USES}


def test_each_computed_expression_has_a_reason():
    assert computed() == set(COMPUTED)


@pytest.mark.parametrize(
    ("pattern", "way"),
    [
        (r"(\d+\.?\d*|\.\d+)([a-z]+)", "match"),
        (r"(a+)+b", "fullmatch"),
        (r"\s*(?=\{\{-\s)x", "search"),
        (r"\{\{.*?\}\}", "search"),
        (r"(a|a)*b", "match"),
        (r"(\s*,)*x", "search"),
        (r"\s+$", "search"),
    ],
)
def test_the_test_finds_a_slow_expression(pattern, way):
    run = Use("", 0, pattern, 0, way).run
    assert any(_is_slow(run, attack) for attack in attacks(pattern, 0))
