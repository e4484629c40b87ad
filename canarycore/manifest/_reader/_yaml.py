"""Plain documents of a YAML text, with the line of every field.

ruamel.yaml parses the text. Values follow the Kubernetes tools: `yes`, `no`, `on`, `off`, `y` and `n` without quotes
are booleans, a number that begins with 0 is octal, dates stay text, `<<` merges, and a `List` stands for its items.
Unlike there, a repeated key is an error.

A file has bounds (`canarycore.bounds`): the reader counts characters before it parses, nodes and levels while it
composes, and values while it expands aliases. A problem with its line reports an excess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from canarycore.bounds import DEPTH, FILE, FILE_VALUES
from canarycore.errors import CanaryError, ManifestError, Problem
from canarycore.manifest._reader._fields import Problems
from canarycore.manifest._reader._path import join
from canarycore.text import clip, shorten

if TYPE_CHECKING:
    from canarycore.bounds import Bound

OLD_BOOLEANS = {
    spelling: value
    for words, value in ((("y", "yes", "on"), True), (("n", "no", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
"""The booleans of YAML 1.1 besides true and false."""


class Document(NamedTuple):
    """A document and where its fields stand: line numbers (from 1) by path."""

    content: Mapping[str, Any]
    lines: Mapping[str, int]

    def line(self, path: str) -> int | None:
        """The line of a path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def documents(text: str) -> tuple[Document, ...]:
    """The documents of a YAML text, empty ones left out.

    Raises ManifestError where it is no YAML, a document is no mapping or a bound is exceeded, CanaryError where
    ruamel.yaml is missing.
    """
    if len(text) > FILE.most:
        raise ManifestError((_excess(f"a file of {len(text):,} characters", FILE, 1),))
    problems = Problems()
    found: list[Document] = []
    reading = _Reading(problems)
    try:
        for node in _composed(text.replace(f"\n{_MARK}", "\n")):
            if node is not None:
                found += _unlisted(reading.document(node))
    except ManifestError as error:
        for problem in error.problems:
            problems.add(problem)
    if problems.first:
        raise ManifestError(problems.listed())
    return tuple(found)


_MARK = "\ufeff"
"""The byte order mark, which editors write at the beginning of a file: joined files have it before any document."""


def _composed(text: str) -> Iterator[Any]:
    """The documents of a text as nodes; raises ManifestError."""
    try:
        from ruamel.yaml import YAML  # only here, so that all else works without it
        from ruamel.yaml.composer import Composer
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.parser import Parser
        from ruamel.yaml.scanner import Scanner
    except ImportError as error:
        raise CanaryError("reading YAML needs ruamel.yaml: pip install 'canarycore[yaml]'") from error
    yaml = YAML(typ="rt", pure=True)
    # those of "rt" keep comments, which nobody reads here, at a cost that grows with the square of their number
    yaml.Parser, yaml.Scanner = Parser, _tolerant(Scanner)
    yaml.Composer = _bounded(Composer)
    try:
        yield from yaml.compose_all(text)
    except ManifestError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise ManifestError((_syntax(what.removeprefix("found "), mark and mark.line + 1, text),)) from error
    except Exception as error:  # ruamel.yaml lets errors of other kinds through, of a bad escape for instance
        raise ManifestError((_syntax(str(error), None, text),)) from error


def _tolerant(scanner: type[Any]) -> type[Any]:
    """A scanner of ruamel.yaml that passes over tabs before a comment and at a line's end, as Go's YAML does."""

    class Tolerant(scanner):  # type: ignore[misc]  # a class that mypy cannot know
        def scan_to_next_token(self) -> None:
            super().scan_to_next_token()
            while self.reader.peek() == "\t" and (blanks := self.blanks_before_an_end()):
                self.reader.forward(blanks)
                super().scan_to_next_token()

        def blanks_before_an_end(self) -> int:
            """The number of blanks that are followed by a comment or the end of the line; 0 if they are not."""
            count = 0
            while self.reader.peek(count) in " \t":
                count += 1
            return count if self.reader.peek(count) in "#\r\n\0" else 0

    return Tolerant


def _bounded(composer: type[Any]) -> type[Any]:
    """A composer of ruamel.yaml that counts nodes and levels."""

    class Bounded(composer):  # type: ignore[misc]  # a class that mypy cannot know
        nodes = level = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.warn_double_anchors = False  # YAML allows them, and a warning for each fills the memory

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.nodes += 1
            self.level += 1
            for count, bound in ((self.nodes, FILE_VALUES), (self.level, DEPTH)):
                if count > bound.most:
                    line = self.parser.peek_event().start_mark.line + 1
                    raise ManifestError((_excess(f"more {bound.unit}", bound, line),))
            node = super().compose_node(parent, index)
            self.level -= 1
            return node

    return Bounded


def _excess(found: str, bound: Bound, line: int) -> Problem:
    return Problem(
        path="",
        found=found,
        expected=f"{bound} in {bound.of}",
        remedy="Split it into several files, or remove what is not needed.",
        line=line,
        rule="bound",
    )


def _syntax(what: str, line: int | None, text: str) -> Problem:
    remedy = "Correct the indentation, quotes or brackets there."
    if "{{" in text:
        remedy = "This looks like a template: render it first (for example with `helm template`)."
    return Problem(
        path="", found=clip(what, _LONGEST_COMPLAINT), expected="YAML", remedy=remedy, line=line, rule="yaml-syntax"
    )


_LONGEST_COMPLAINT = 200


def _unlisted(document: Document) -> Iterator[Document]:
    """The items of a `List` as `kubectl get -o yaml` prints it, or the document itself."""
    items = document.content.get("items")
    if document.content.get("kind") != "List" or not isinstance(items, list):
        if document.content:
            yield document
        return
    lines = _lines_by_item(document.lines)
    for index, item in enumerate(items):
        yield Document(item if isinstance(item, dict) else {}, lines.get(str(index), {}))


def _lines_by_item(lines: Mapping[str, int]) -> Mapping[str, dict[str, int]]:
    """The lines of each item of a list, with paths as the item sees them."""
    found: dict[str, dict[str, int]] = {}
    for path, line in lines.items():
        index, is_item, rest = path.removeprefix("items[").partition("]")
        if is_item and path.startswith("items["):
            found.setdefault(index, {})[rest.removeprefix(".")] = line
    return found


class _Reading:
    """The documents of a file being read: nodes to values, and the lines on the way."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.lines: dict[str, int] = {}
        self.open: set[int] = set()  # nodes being read, to notice one that refers to itself
        self.values = 0

    def document(self, node: Any) -> Document:
        self.lines = {}
        content = self.value(node, "")
        if content is not None and not isinstance(content, dict):
            self._complain(node, "", "a document that is no mapping", "fields such as apiVersion and kind", "Indent.")
        return Document(content if isinstance(content, dict) else {}, self.lines)

    def value(self, node: Any, path: str) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.values += 1
        if self.values > FILE_VALUES.most or len(self.open) > DEPTH.most:
            bound = DEPTH if len(self.open) > DEPTH.most else FILE_VALUES
            raise ManifestError((_excess(f"more {bound.unit} once aliases are written out", bound, line),))
        if node.id == "scalar":
            return self._scalar(node, path)
        if id(node) in self.open:
            self._complain(node, path, "an alias of something around it", "a value", "Write the value out.")
            return None
        self.open.add(id(node))
        if node.id == "mapping":
            value: Any = self._mapping(node, path)
        else:
            value = [self.value(item, join(path, index)) for index, item in enumerate(node.value)]
        self.open.discard(id(node))
        return value

    def _mapping(self, node: Any, path: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.id != "scalar":
                self._complain(
                    key, path, "a key that is no text", "a field's name", "Quote it, or render the template."
                )
            elif key.tag.endswith(":merge"):
                for name, field in self._merge(value, path).items():
                    merged.setdefault(name, field)
            elif key.value in own:
                here, name = join(path, key.value), shorten(key.value)
                self._complain(key, here, f"the field {name} twice", "each field once", "Remove one of them.")
            else:
                here = join(path, key.value)
                self.lines[here] = key.start_mark.line + 1
                own[key.value] = self.value(value, here)
        return {**merged, **own}

    def _merge(self, node: Any, path: str) -> dict[str, Any]:
        """The fields that `<<` takes in; of several mappings the first goes before the others."""
        value = self.value(node, path)
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._complain(node, path, "<< with something else", "<< with a mapping", "Write the fields out.")
            return {}
        return {key: field for source in reversed(sources) for key, field in source.items()}

    def _complain(self, node: Any, path: str, found: str, expected: str, remedy: str) -> None:
        line = node.start_mark.line + 1
        self.problems.add(
            Problem(path=path, found=found, expected=expected, remedy=remedy, line=line, rule="yaml-structure")
        )

    def _scalar(self, node: Any, path: str) -> Any:
        try:
            return _scalar(node)
        except ValueError:
            kind = node.tag.rpartition(":")[2]
            self._complain(node, path, f"{shorten(node.value)} with the tag {kind}", f"a value of {kind}", "Remove it.")
            return None


def _scalar(node: Any) -> Any:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() in {"true", "yes", "on"}
        case "int":
            return _integer(text)
        case "float":
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        case _ if node.style is None and text in OLD_BOOLEANS:
            return OLD_BOOLEANS[text]
        case _:
            return text


_LONGEST_INTEGER = len("-0b") + 64
"""Characters of a number of 64 bits, written bit by bit."""


def _integer(text: str) -> int | float | str:
    """A whole number; one that no machine word holds is a float, as for the Kubernetes tools, or stays text."""
    digits = text.replace("_", "")
    if len(digits) > _LONGEST_INTEGER:
        number = float(digits) if digits.lstrip("+-").isdecimal() else inf
        return number if isfinite(number) else text
    magnitude = digits.lstrip("+-")
    if magnitude[:2] in {"0x", "0o", "0b"}:
        return int(digits, 0)
    if magnitude.startswith("0"):  # octal in YAML 1.1; with another digit it is a decimal fraction
        return int(digits, 8) if set(magnitude) <= set("01234567") else float(digits)
    return int(digits)
