"""The syntax tree of a template, as Go's parser builds it (text/template/parse/parse.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define, field, frozen

from canarycore.gotemplate._errors import TemplateError, show
from canarycore.gotemplate._functions import FUNCTIONS
from canarycore.gotemplate._lexer import KEYWORDS, Lexeme, tokens
from canarycore.gotemplate._literals import char, number, raw, string
from canarycore.text import enumerate_some

if TYPE_CHECKING:
    from collections.abc import Collection

    from canarycore.gotemplate._values import Value

__all__ = [
    "DEPTH",
    "Action",
    "Branch",
    "Chain",
    "CommandNode",
    "Dot",
    "Field",
    "Function",
    "Include",
    "Jump",
    "Literal",
    "Nil",
    "Node",
    "Operand",
    "Pipeline",
    "Text",
    "Variable",
    "describe_pipeline",
    "parse_tree",
]

DEPTH = 50
"""The deepest nesting of blocks and parentheses, and of templates in templates."""


# --------------------------------------------------------------------------------------------------------- operands


@frozen
class Literal:
    """A constant."""

    value: Value


@frozen
class Dot:
    """The present value, `.`."""


@frozen
class Nil:
    """The constant `nil`."""


@frozen
class Field:
    """Fields of the present value, `.a.b`."""

    names: tuple[str, ...]


@frozen
class Variable:
    """A variable with fields, `$x.a`."""

    name: str
    names: tuple[str, ...]


@frozen
class Function:
    """A function by its name."""

    name: str


@frozen
class Chain:
    """Fields of a pipeline or of a function's result, `(f).a`."""

    of: Operand
    names: tuple[str, ...]


@frozen
class CommandNode:
    """An operand, or a function with its arguments."""

    words: tuple[Operand, ...]


@frozen
class Pipeline:
    """Commands, each of which gets the value of the one before as its last argument."""

    line: int
    commands: tuple[CommandNode, ...]
    declared: tuple[str, ...] = ()
    is_assignment: bool = False


Operand = Literal | Dot | Nil | Field | Variable | Function | Chain | Pipeline


# ------------------------------------------------------------------------------------------------------------ nodes


@frozen
class Text:
    """A text as it stands."""

    text: str


@frozen
class Action:
    """A pipeline whose value is written."""

    pipeline: Pipeline


@frozen
class Branch:
    """An `if`, `with` or `range`."""

    word: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@frozen
class Include:
    """A `template`."""

    name: str
    pipeline: Pipeline | None
    line: int


@frozen
class Jump:
    """A `break` or `continue`."""

    word: str


Node = Text | Action | Branch | Include | Jump

_END = frozenset({"end"})
_END_OR_ELSE = frozenset({"end", "else"})
_VALUES = {"string": string, "raw": raw, "char": char, "number": number}


def parse_tree(text: str, functions: Collection[str]) -> dict[str, tuple[Node, ...]]:
    """Return the nodes of a template under the name "", and those of the templates that it defines.

    functions: the names of the owner's functions. Raises TemplateError.
    """
    parser = _Parser([*tokens(text)], functions)
    parser.trees[""], _ = parser.nodes(frozenset(), is_top=True)
    return parser.trees


@define
class _Parser:
    """The parser of one template."""

    tokens: list[Lexeme]
    functions: Collection[str]
    trees: dict[str, tuple[Node, ...]] = Factory(dict)
    _at: int = 0
    _variables: list[str] = field(factory=lambda: ["$"])
    _loops: int = 0
    _depth: int = 0

    # tokens -------------------------------------------------------------------------------------------------------

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self.tokens[min(self._at, len(self.tokens) - 1)].line if self.tokens else 1

    def peek(self, *, skip: bool = True) -> Lexeme | None:
        """Return the next token, by default the next one that is no white space."""
        at = self._at
        while skip and at < len(self.tokens) and self.tokens[at].kind == "space":
            at += 1
        return self.tokens[at] if at < len(self.tokens) else None

    def take(self, *, skip: bool = True) -> Lexeme:
        """Take the next token."""
        token = self.peek(skip=skip)
        if token is None:
            raise self.error("the end of the template", "the end of the action")
        while self.tokens[self._at] is not token:
            self._at += 1
        self._at += 1
        return token

    def error(self, found: str, expected: str) -> TemplateError:
        """Return the error of an unexpected part."""
        return TemplateError(f"line {self.line}: found {show(found)}, expected {expected}")

    def close(self, what: str) -> None:
        """Take the end of an action."""
        token = self.take()
        if token.kind != "close":
            raise self.error(token.text, f"}}}} after {what}")

    def deeper(self) -> None:
        """Enter a block or parentheses."""
        self._depth += 1
        if self._depth > DEPTH:
            raise TemplateError(f"line {self.line}: found blocks or parentheses more than {DEPTH} deep, expected fewer")

    # nodes --------------------------------------------------------------------------------------------------------

    def nodes(self, ends: Collection[str], *, is_top: bool = False) -> tuple[tuple[Node, ...], str]:
        """Return the nodes up to one of these words, and the word. Without words, up to the template's end."""
        found: list[Node] = []
        while (token := self.peek(skip=False)) is not None:
            self.take(skip=False)
            if token.kind == "text":
                found.append(Text(token.text))
                continue
            word = self.peek()
            if word is not None and word.kind == "name" and word.text in ends:
                self.take()
                return tuple(found), word.text
            node = self.action(is_top=is_top)
            if node is not None:
                found.append(node)
        if ends:
            raise TemplateError(f"line {self.line}: found the end of the template, expected {{{{ end }}}}")
        return tuple(found), ""

    def action(self, *, is_top: bool) -> Node | None:
        """Return the node of an action; None for a definition."""
        token = self.peek()
        word = token.text if token is not None and token.kind == "name" else ""
        if word in {"if", "with", "range"}:
            self.take()
            return self.branch(word)
        if word == "define":
            if not is_top:
                raise self.error("{{ define }} in a block", "it outside of all blocks")
            self.take()
            self.define(self.name("define"))
            return None
        if word in {"template", "block"}:
            self.take()
            return self.include(word)
        if word in {"break", "continue"}:
            self.take()
            self.close(word)
            if not self._loops:
                raise TemplateError(f"line {self.line}: found {{{{ {word} }}}} outside of {{{{ range }}}}")
            return Jump(word)
        if word in {"end", "else"}:
            raise self.error(f"{{{{ {word} }}}}", "an action that begins a block before it")
        pipeline = self.pipeline("an action", "close")
        return Action(pipeline)

    def branch(self, word: str) -> Branch:
        """Return an `if`, `with` or `range` from behind its word."""
        self.deeper()
        variables = len(self._variables)
        pipeline = self.pipeline(word, "close")
        self._loops += word == "range"
        body, end = self.nodes(_END_OR_ELSE)
        self._loops -= word == "range"
        otherwise: tuple[Node, ...] = ()
        again = self.peek() if end == "else" and word != "range" else None
        if again is not None and again.kind == "name" and again.text == word:
            self.take()
            otherwise = (self.branch(word),)  # it takes the end of both
        else:
            if end == "else":
                self.close("else")
                otherwise, _ = self.nodes(_END)
            self.close("end")
        del self._variables[variables:]
        self._depth -= 1
        return Branch(word, pipeline, body, otherwise)

    def name(self, word: str) -> str:
        """Return the name of a template, a constant text."""
        token = self.take()
        if token.kind not in {"string", "raw"}:
            raise self.error(token.text, f"the template's name in quotes after {word}")
        return str(_VALUES[token.kind](token))

    def define(self, name: str) -> None:
        """Add the template that a `define` or `block` defines."""
        self.deeper()
        if self.tokens[self._at - 1].kind != "close":
            self.close(f"the name {name!r}")
        variables, self._variables = self._variables, ["$"]
        loops, self._loops = self._loops, 0
        body, _ = self.nodes(_END)
        self.close("end")
        self._variables, self._loops = variables, loops
        self._depth -= 1
        if _is_empty(body) and name in self.trees:
            return
        if not _is_empty(self.trees.get(name, ())):
            raise TemplateError(f"line {self.line}: found a second template {show(name)!r}, expected one")
        self.trees[name] = body

    def include(self, word: str) -> Include:
        """Return a `template` or `block` from behind its word."""
        line, name = self.line, self.name(word)
        pipeline = None
        token = self.peek()
        if word == "block" or (token is not None and token.kind != "close"):
            pipeline = self.pipeline(word, "close")
        else:
            self.take()
        if word == "block":
            self.define(name)
        return Include(name, pipeline, line)

    # pipelines ----------------------------------------------------------------------------------------------------

    def pipeline(self, where: str, end: str) -> Pipeline:
        """Return a pipeline and take its end: the end of the action, or a parenthesis."""
        line = self.line
        declared, is_assignment = self.declaration(where)
        commands: list[CommandNode] = []
        while True:
            token = self.peek()
            if token is not None and end in {token.kind, token.text}:
                self.take()
                break
            if token is None or token.kind == "close" or token.text == ")":
                raise self.error("nothing" if token is None else token.text, "the end of the pipeline")
            commands.append(self.command())
            if len(commands) > 1 and isinstance(commands[-1].words[0], Literal | Dot | Nil):
                raise TemplateError(f"line {line}: found a constant after |, expected a function")
        if not commands:
            raise TemplateError(f"line {line}: found no value in {where}, expected one")
        return Pipeline(line, tuple(commands), declared, is_assignment)

    def declaration(self, where: str) -> tuple[tuple[str, ...], bool]:
        """Take the variables that a pipeline declares, or assigns: then the second value is true."""
        begin = self._at
        names: list[str] = []
        while (token := self.peek()) is not None and token.kind == "variable":
            names.append(self.take().text)
            mark = self.peek()
            if mark is None:
                break
            if mark.text in {":=", "="}:
                self.take()
                self._variables.extend(names)
                return tuple(names), mark.text == "="
            if mark.text == "," and where == "range" and len(names) == 1:
                self.take()
                continue
            break
        self._at = begin
        return (), False

    def known(self, name: str) -> str:
        """Return the name of a variable that is declared. Raises TemplateError for another one."""
        if name not in self._variables:
            raise TemplateError(f"line {self.line}: found the variable {show(name)}, expected one that is declared")
        return name

    def command(self) -> CommandNode:
        """Return a command and take the bar behind it."""
        words: list[Operand] = []
        while True:
            words.append(self.operand())
            token = self.peek(skip=False)
            if token is not None and token.kind == "space":
                token = self.peek()
                if token is not None and token.kind != "close" and token.text not in {"|", ")"}:
                    continue
            if token is not None and token.text == "|":
                self.take()
            elif token is None or (token.kind != "close" and token.text != ")"):
                raise self.error("nothing" if token is None else token.text, "a space, | or the end")
            return CommandNode(tuple(words))

    def operand(self) -> Operand:
        """Return a term with the fields behind it."""
        term = self.term()
        names: list[str] = []
        while (token := self.peek(skip=False)) is not None and token.kind == "field":
            names.append(self.take().text[1:])
        if not names:
            return term
        if isinstance(term, Literal | Dot | Nil):
            raise self.error(f".{names[0]} after a constant", "fields of a variable, a function or parentheses only")
        if isinstance(term, Field):
            return Field((*term.names, *names))
        if isinstance(term, Variable):
            return Variable(term.name, (*term.names, *names))
        return Chain(term, tuple(names))

    def term(self) -> Operand:
        """Return a term."""
        token = self.take()
        if token.kind in _VALUES:
            return Literal(_VALUES[token.kind](token))
        if token.kind == "field":
            return Field((token.text[1:],))
        if token.kind == "variable":
            return Variable(self.known(token.text), ())
        if token.text == ".":
            return Dot()
        if token.text == "(":
            self.deeper()
            inside = self.pipeline("parentheses", ")")
            self._depth -= 1
            return inside
        if token.kind == "name":
            return self.word(token.text)
        raise self.error(token.text, "a value")

    def word(self, text: str) -> Operand:
        """Return the operand that a word stands for."""
        if text in {"true", "false"}:
            return Literal(text == "true")
        if text == "nil":
            return Nil()
        if (text not in self.functions and text not in FUNCTIONS) or text in KEYWORDS:
            own = enumerate_some(sorted(self.functions), most=20) or "none"
            raise TemplateError(
                f"line {self.line}: found the name {show(text)}, expected one of {own}, or a function of Go's "
                "templates such as printf"
            )
        return Function(text)


def describe_pipeline(pipeline: Pipeline) -> str:
    """Return a pipeline of one name as it was written; "an action" for another one."""
    (word, *arguments), *others = (command.words for command in pipeline.commands)
    if arguments or others:
        return "an action"
    if isinstance(word, Field):
        return f"{{{{ .{'.'.join(word.names)} }}}}"
    if isinstance(word, Variable | Chain) and isinstance(of := getattr(word, "of", word), Variable | Function):
        return f"{{{{ {'.'.join((of.name, *word.names))} }}}}"
    return "an action"


def _is_empty(nodes: tuple[Node, ...]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)
