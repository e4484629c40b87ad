"""YAML text to plain documents, with the line of every field.

ruamel.yaml does the parsing; what is made of it follows the Kubernetes tools: `yes`, `no`, `on`, `off` without quotes
are booleans, dates stay text, `<<` merges, and a `List` stands for its items. Unlike them, a key given twice is an
error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from canarycore.errors import CanaryError, ManifestError, Problem
from canarycore.manifest._fields import join

OLD_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}


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

    Raises ManifestError where it is no YAML or a document is no mapping, CanaryError where ruamel.yaml is missing.
    """
    try:
        from ruamel.yaml import YAML  # only here, so that all else works without it
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
    except ImportError as error:
        raise CanaryError("reading YAML needs ruamel.yaml: pip install 'canarycore[yaml]'") from error
    problems: list[Problem] = []
    found: list[Document] = []
    try:
        for node in YAML(typ="rt", pure=True).compose_all(text):
            if node is not None:
                found += _unlisted(_Reading(problems).document(node))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, (error.context, error.problem)))
        problems.append(_syntax(what.removeprefix("found "), mark and mark.line + 1, text))
    except YAMLError as error:
        problems.append(_syntax(str(error), None, text))
    if problems:
        raise ManifestError(tuple(problems))
    return tuple(found)


def _syntax(what: str, line: int | None, text: str) -> Problem:
    remedy = "Correct the indentation, quotes or brackets there."
    if "{{" in text:
        remedy = "This looks like a template: render it first (for example with `helm template`)."
    return Problem(path="", found=what, expected="YAML", remedy=remedy, line=line, rule="yaml-syntax")


def _unlisted(document: Document) -> Iterator[Document]:
    """The items of a `List` as `kubectl get -o yaml` prints it, or the document itself."""
    if document.content.get("kind") != "List" or not isinstance(document.content.get("items"), list):
        if document.content:
            yield document
        return
    for index, item in enumerate(document.content["items"]):
        prefix = f"items[{index}]"
        lines = {
            path.removeprefix(prefix).removeprefix("."): line
            for path, line in document.lines.items()
            if path == prefix or path.startswith(f"{prefix}.")
        }
        if isinstance(item, Mapping):
            yield Document(item, lines)


class _Reading:
    """One document being read: nodes to values, and the lines on the way."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.lines: dict[str, int] = {}
        self.open: set[int] = set()  # nodes being read, to notice one that refers to itself

    def document(self, node: Any) -> Document:
        content = self.value(node, "")
        if content is not None and not isinstance(content, dict):
            self._complain(node, "", "a document that is no mapping", "fields such as apiVersion and kind", "Indent.")
        return Document(content if isinstance(content, dict) else {}, self.lines)

    def value(self, node: Any, path: str) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node.id == "scalar":
            return _scalar(node)
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
                merged = {**self._merge(value, path), **merged}
            elif key.value in own:
                here = join(path, key.value)
                self._complain(key, here, f"the field {key.value!r} twice", "each field once", "Remove one of them.")
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
        self.problems.append(
            Problem(path=path, found=found, expected=expected, remedy=remedy, line=line, rule="yaml-structure")
        )


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
        case _ if node.style is None and text.lower() in OLD_BOOLEANS:
            return OLD_BOOLEANS[text.lower()]
        case _:
            return text


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits.lstrip("+-")[:2] in {"0x", "0o", "0b"} else int(digits)
