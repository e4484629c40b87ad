"""The rendering of templates, as Go's executor walks them (text/template/exec.go)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from attrs import Factory, define, evolve, frozen

from canarycore.gotemplate._errors import TemplateError, show
from canarycore.gotemplate._functions import FUNCTIONS
from canarycore.gotemplate._parser import (
    DEPTH,
    Action,
    Branch,
    Chain,
    CommandNode,
    Dot,
    Field,
    Function,
    Include,
    Jump,
    Literal,
    Nil,
    Pipeline,
    Text,
    Variable,
    describe_pipeline,
    parse_tree,
)
from canarycore.gotemplate._values import MISSING, describe, is_true, text_of

if TYPE_CHECKING:
    from canarycore.gotemplate._parser import Node, Operand
    from canarycore.gotemplate._values import Value

__all__ = ["LONGEST", "STEPS", "Template", "parse"]

STEPS = 10_000
"""The most steps of a rendering: actions, evaluations, rounds, and each 64 characters of a value."""

LONGEST = 64 * 1024
"""The most characters of a rendering, and of each value in it."""

_PER_STEP = 64


@frozen
class Template:
    """A template that is parsed."""

    trees: Mapping[str, tuple[Node, ...]]
    """The nodes of the template under "", and those that it defines under their names."""
    functions: Mapping[str, Callable[[], Value]]
    """The functions of the template's owner, which take no arguments."""

    def render(self, data: Value = MISSING, *, steps: int = STEPS, longest: int = LONGEST) -> str:
        """Return the text of the template. `data` is the first present value (`.`). Raises TemplateError."""
        run = _Run(self, steps, longest)
        run.walk(self.trees[""], data, _Scope({"$": data}))
        return "".join(run.parts)


def parse(text: str, functions: Mapping[str, Callable[[], Value]] | None = None) -> Template:
    """Return the template of a text. `functions` are those of its owner. Raises TemplateError."""
    own = dict(functions or {})
    return Template(parse_tree(text, own), own)


class _Jumped(Exception):
    """A `break` or `continue` on its way to its loop."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


@define
class _Scope:
    """The variables of a block, and of those around it."""

    own: dict[str, Value]
    outer: _Scope | None = None

    def find(self, name: str) -> dict[str, Value]:
        """Return the variables among which this one is."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.own:
                return scope.own
            scope = scope.outer
        raise TemplateError(f"found the variable {show(name)}, expected one that is declared")


@define
class _Run:
    """One rendering."""

    template: Template
    steps: int
    longest: int
    parts: list[str] = Factory(list)
    _length: int = 0
    _depth: int = 0

    # nodes --------------------------------------------------------------------------------------------------------

    def walk(self, nodes: tuple[Node, ...], dot: Value, scope: _Scope) -> None:
        """Render nodes. A declaration holds for the nodes behind it."""
        for node in nodes:
            self.step()
            if isinstance(node, Text):
                self.write(node.text)
            elif isinstance(node, Action):
                value = self.pipeline(node.pipeline, dot, scope)
                if not node.pipeline.declared:
                    self.write(self.text(value, node.pipeline))
            elif isinstance(node, Jump):
                raise _Jumped(node.word)
            elif isinstance(node, Include):
                self.include(node, dot, scope)
            elif node.word == "range":
                self.loop(node, dot, scope)
            else:
                self.branch(node, dot, scope)

    def branch(self, node: Branch, dot: Value, scope: _Scope) -> None:
        """Render an `if` or a `with`."""
        inner = _Scope({}, scope)
        value = self.pipeline(node.pipeline, dot, inner)
        if is_true(value):
            self.walk(node.body, value if node.word == "with" else dot, _Scope({}, inner))
        else:
            self.walk(node.otherwise, dot, _Scope({}, inner))

    def loop(self, node: Branch, dot: Value, scope: _Scope) -> None:
        """Render a `range`."""
        outer = _Scope({}, scope)
        names, is_assignment = node.pipeline.declared, node.pipeline.is_assignment
        value = self.pipeline(node.pipeline, dot, outer)
        rounds = 0
        for key, element in self.items(value, len(names)):
            rounds += 1
            self.step()
            inner = _Scope({}, outer)
            for name, part in zip(names, (key, element) if len(names) > 1 else (element,), strict=False):
                (scope.find(name) if is_assignment else outer.own)[name] = part
            try:
                self.walk(node.body, element, inner)
            except _Jumped as jump:
                if jump.word == "break":
                    break
        if not rounds:
            self.walk(node.otherwise, dot, _Scope({}, outer))

    def items(self, value: Value, names: int) -> Iterable[tuple[Value, Value]]:
        """Return the keys and elements of what a `range` goes through."""
        if isinstance(value, Mapping):
            return ((name, value[name]) for name in sorted(value))
        if value is MISSING:
            return ()
        if isinstance(value, int) and not isinstance(value, bool):
            if names > 1:
                raise TemplateError(f"found a range over {value} with two variables, expected one")
            return ((number, number) for number in range(value))
        raise TemplateError(f"found a range over {describe(value)}, expected a map or a whole number")

    def include(self, node: Include, dot: Value, scope: _Scope) -> None:
        """Render another template in place of a `template`."""
        nodes = self.template.trees.get(node.name)
        if nodes is None or not node.name:
            raise TemplateError(
                f"line {node.line}: found the template {show(node.name)!r}, expected one that is defined"
            )
        value = self.pipeline(node.pipeline, dot, scope) if node.pipeline is not None else MISSING
        self._depth += 1
        if self._depth > DEPTH:
            raise TemplateError(f"line {node.line}: found templates more than {DEPTH} deep, expected fewer")
        self.walk(nodes, value, _Scope({"$": value}))
        self._depth -= 1

    # values -------------------------------------------------------------------------------------------------------

    def pipeline(self, pipeline: Pipeline, dot: Value, scope: _Scope) -> Value:
        """Return the value of a pipeline, after setting its variables."""
        values: tuple[Value, ...] = ()
        for command in pipeline.commands:
            try:
                values = (self.command(command, dot, scope, values),)
            except TemplateError as error:
                raise _located(error, pipeline.line) from None
        for name in pipeline.declared:
            (scope.find(name) if pipeline.is_assignment else scope.own)[name] = values[0]
        return values[0]

    def command(self, command: CommandNode, dot: Value, scope: _Scope, last: tuple[Value, ...]) -> Value:
        """Return the value of a command. last: the value of the command before it, if there is one."""
        first, *rest = command.words
        if isinstance(first, Function):
            return self.call(first.name, rest, dot, scope, last)
        if (rest or last) and not self.is_absent(first, dot, scope):
            raise TemplateError("found arguments for what is no function, expected none")
        if isinstance(first, Nil):
            raise TemplateError("found nil alone, expected a value")
        return self.operand(first, dot, scope)

    def is_absent(self, word: Operand, dot: Value, scope: _Scope) -> bool:
        """Check whether an operand is a field of what has no value: Go then ignores its arguments."""
        if isinstance(word, Field):
            return _fields(dot, word.names[:-1]) is MISSING
        if isinstance(word, Variable | Chain) and word.names:
            return self.operand(evolve(word, names=word.names[:-1]), dot, scope) is MISSING
        return False

    def call(self, name: str, words: list[Operand], dot: Value, scope: _Scope, last: tuple[Value, ...] = ()) -> Value:
        """Return the value of a function."""
        self.step()
        count = len(words) + len(last)
        if name in self.template.functions:
            if count:
                raise TemplateError(f"found {count} arguments of {name}, expected none")
            return self.checked(self.template.functions[name]())
        function, least, most = FUNCTIONS[name]
        if count < least or (most is not None and count > most):
            wanted = f"{least}" if least == most else f"at least {least}"
            raise TemplateError(f"found {count} arguments of {name}, expected {wanted}")
        if function is None:
            return self.lazy(name, words, dot, scope, last)
        values = [self.operand(word, dot, scope) for word in words]
        return self.checked(function(*values, *last))

    def lazy(self, name: str, words: list[Operand], dot: Value, scope: _Scope, last: tuple[Value, ...]) -> Value:
        """Return the first value that decides an `and` or an `or`."""
        value: Value = None
        for word in words:
            value = self.operand(word, dot, scope)
            if is_true(value) == (name == "or"):
                return value
        return last[0] if last else value

    def operand(self, word: Operand, dot: Value, scope: _Scope) -> Value:
        """Return the value of an operand."""
        self.step()
        if isinstance(word, Literal):
            return word.value
        if isinstance(word, Dot):
            return dot
        if isinstance(word, Nil):
            return MISSING
        if isinstance(word, Field):
            return _fields(dot, word.names)
        if isinstance(word, Variable):
            return _fields(scope.find(word.name)[word.name], word.names)
        if isinstance(word, Function):
            return self.call(word.name, [], dot, scope)
        if isinstance(word, Pipeline):
            return self.pipeline(word, dot, _Scope({}, scope))
        return _fields(self.operand(word.of, dot, scope), word.names)

    # bounds -------------------------------------------------------------------------------------------------------

    def step(self, steps: int = 1) -> None:
        """Count steps."""
        self.steps -= steps
        if self.steps < 0:
            raise TemplateError("found a template that takes too many steps, expected a shorter one")

    def checked(self, value: Value) -> Value:
        """Return a value that is not too long."""
        if isinstance(value, str):
            self.step(len(value) // _PER_STEP)
            if len(value) > self.longest:
                raise TemplateError(f"found a text of {len(value):,} characters, expected at most {self.longest:,}")
        return value

    def write(self, text: str) -> None:
        """Add a text to the rendering."""
        self._length += len(text)
        if self._length > self.longest:
            raise TemplateError(f"found a rendering of more than {self.longest:,} characters, expected a shorter one")
        self.parts.append(text)

    def text(self, value: Value, pipeline: Pipeline) -> str:
        """Return the text of an action."""
        if value is MISSING:
            shown = show(describe_pipeline(pipeline))
            raise TemplateError(f"line {pipeline.line}: found {shown} without a value, expected a name that has one")
        return str(self.checked(text_of(value)))


def _fields(value: Value, names: tuple[str, ...]) -> Value:
    """Return a field of a field of a value."""
    for name in names:
        if value is MISSING or value is None:
            value = MISSING
        elif isinstance(value, Mapping):
            value = value.get(name, MISSING)
        else:
            raise TemplateError(f"found the field {show(name)} of {describe(value)}, expected a map")
    return value


def _located(error: TemplateError, line: int) -> TemplateError:
    """Return an error that names its line."""
    return error if str(error).startswith("line ") else TemplateError(f"line {line}: {error}")
