"""A document whose fields are counted as they are read: what nobody has read has no equivalent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

Json = dict[str, Any]


def make_resource(kind: str, name: str, namespace: str, spec: Json) -> Json:
    """Return a resource of Flagger; without a namespace where that is empty."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def drop_none(fields: Json) -> Json:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


@frozen
class DocumentPart:
    """A value of a document, with its path. All nodes of a document share the paths that were read."""

    value: Any
    path: str = ""
    _read: set[str] = field(factory=set, repr=False)
    _around: set[str] = field(factory=set, repr=False)
    """The paths around those that were read, so that a large document takes no time per pair."""

    def take(self, *names: str) -> Any:
        """Return the value below these fields, or None. It counts as read, with everything in it."""
        node = self.at(*names)
        if node.path not in node._read:  # noqa: SLF001  the same class
            node._read.add(node.path)  # noqa: SLF001
            node._around.update(node.path[: found.start()] for found in _SEPARATOR.finditer(node.path))  # noqa: SLF001
        return node.value

    def at(self, *names: str) -> DocumentPart:
        """Return the node below these fields; its value is None where a field is absent."""
        node = self
        for name in names:
            inner = node.value.get(name) if isinstance(node.value, Mapping) else None
            node = DocumentPart(inner, f"{node.path}.{name}" if node.path else name, self._read, self._around)
        return node

    def text(self, *names: str, default: str = "") -> str:
        """Return the text below these fields; `default` where there is another value, or none."""
        value = self.take(*names)
        return value if isinstance(value, str) else default

    def number(self, *names: str) -> int | None:
        """Return the whole number below these fields, also from a text; None where there is none."""
        value = self.take(*names)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LONGEST_NUMBER:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def items(self, *names: str) -> list[DocumentPart]:
        """Return the nodes of a list; none where there is no list."""
        node = self.at(*names)
        inner = node.value if isinstance(node.value, list) else []
        return [
            DocumentPart(value, f"{node.path}[{index}]", self._read, self._around) for index, value in enumerate(inner)
        ]

    @property
    def is_read(self) -> bool:
        """Whether any part of the document was read."""
        return bool(self._read)

    def unread(self) -> Iterator[DocumentPart]:
        """Yield the greatest parts that were not read at all, and hold something."""
        if self.path in self._read or self.value in _NOTHING:
            return
        inner = self._inner()
        has_read_parts = self.path in self._around if self.path else bool(self._read)
        if not inner or not has_read_parts:
            yield self
            return
        for node in inner:
            yield from node.unread()

    def _inner(self) -> list[DocumentPart]:
        if isinstance(self.value, Mapping):
            return [self.at(str(name)) for name in self.value]
        return self.items()

    def __bool__(self) -> bool:
        return self.value not in _NOTHING


_SEPARATOR = re.compile(r"[.\[]")
_NOTHING: tuple[Any, ...] = (None, {}, [], "")
_LONGEST_NUMBER = 12
"""Characters of the longest number."""
