"""Bounds for one object of the API server, so that a large one cannot delay the others.

    text = await read_within(response, LONGEST_ANSWER, enter_large)
    body = await decode(text)           # marks each unreadable object
    demand_whole(body)                  # raises BoundExceeded for a marked object
    demand_small(body["spec"])          # raises BoundExceeded for a value that costs too much to read

Theory of operation. The API server accepts objects of 1.5 MB with values nested 10,000 levels deep from every user with
write access, and lists them among all others. A list or a watch that fails at such an object would hide the others. So
`decode` always succeeds: if the fast decoder fails, a slow one cuts off values that are nested too deeply and marks
their object. The reader of a marked object refuses it and continues with the next.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import re
from itertools import chain
from typing import TYPE_CHECKING, Any

from canarycore.bounds import Bound
from canarycore.errors import WorldError
from canarycore.manifest import find_excess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import aiohttp

    from canarycore_runtime.mesh import Json

LONGEST_ANSWER = 2**24
"""Largest answer, in bytes. JSON escapes characters, so an object of etcd's 1.5 MB may need six times as many bytes."""

LARGE = 2**19
"""Size of an answer, in bytes, above which it counts as large; the client reads only a few large answers at once."""

LARGEST = 2**18
"""Most characters of names and texts in an object: the API server's limit for annotations."""

MOST_VALUES = 5_000
"""Most items and entries, names included, in an object."""

DEEPEST = 100
"""Most levels of lists and mappings in an object."""

UNREADABLE = "canarycore/unreadable"
"""Key beside `metadata` that marks an unreadable object; its value is the reason. No API field has this name."""

_SHALLOW = 1_000
"""Brackets of a text up to which it is not too deep for `json` and `marshal`, whatever its form."""

_MOST_DIGITS = 400
"""Most digits of a number; Kubernetes numbers have at most 20."""


class BoundExceeded(WorldError):
    """An object exceeds a bound. The message is a phrase about the object that names the bound."""


class Oversized(WorldError):
    """An answer is longer than its limit."""


async def read_within(
    response: aiohttp.ClientResponse, limit: int, enter_large: Callable[[], Awaitable[object]]
) -> bytes:
    """Read the body of a response. Raise Oversized as soon as it is longer than `limit` bytes.

    `enter_large` is awaited once, when the body exceeds LARGE and before the rest is read.
    """
    parts, size, is_large = [], 0, False
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGE and not is_large:
            is_large = True
            await enter_large()
        if size > limit:
            raise Oversized(f"{response.method} {response.url.path}: the answer has more than {limit:,} bytes")
    return b"".join(parts)


async def read_beginning(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read only the first `limit` bytes of the body of a response."""
    text = b""
    async for part in response.content.iter_any():
        text += part
        if len(text) >= limit:
            break
    return text[:limit]


def demand_whole(body: Json) -> None:
    """Raise BoundExceeded if `decode` marked the object."""
    if UNREADABLE in body:
        raise BoundExceeded(str(body[UNREADABLE]))


def demand_small(value: object, *, values: int = MOST_VALUES, characters: int = LARGEST) -> None:
    """Raise BoundExceeded if a value has more values, characters or levels. The bounds limit the cost of the check."""
    excess = find_excess(
        value,
        values=Bound(values, "values", _OBJECT, _OBJECT_REASON),
        texts=Bound(characters, "characters", _OBJECT, _OBJECT_REASON),
        depth=Bound(DEEPEST, "levels", _OBJECT, _OBJECT_REASON),
    )
    if excess is not None:
        raise BoundExceeded(f"has {excess.found}, expected {excess.expected}: make it smaller")


_OBJECT = "a part of an object"
_OBJECT_REASON = "Real objects have far less."


def demand_flat(value: object) -> None:
    """Raise BoundExceeded if a value has too many levels: copying and comparing recurse once per level."""
    for _ in _levels(value):
        pass


def _levels(value: object) -> Iterator[list[Any]]:
    """Yield the values of each level, names of entries included. Raise BoundExceeded if there are too many levels."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        yield level
        level = [part for item in level if isinstance(item, (dict, list)) for part in _parts(item)]
        if not level:
            return
    raise BoundExceeded(f"is nested deeper than {DEEPEST} levels: make it flatter")


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return chain(value, value.values()) if isinstance(value, dict) else value


# ------------------------------------------------------------------------------------------------------------ decoding


async def decode(text: bytes) -> Any:
    """Return the data of a JSON text. Raise ValueError if the text is not JSON.

    The slow decoder runs in a thread, because it may take seconds for a text of LONGEST_ANSWER bytes.
    """
    try:
        data = json.loads(text)
        if text.count(b"{") + text.count(b"[") > _SHALLOW:
            marshal.dumps(data)  # refuses more than 2,000 levels; json accepts 1,000 in Python 3.11, 10,000 in 3.13
    except (RecursionError, ValueError):
        return await asyncio.to_thread(_decode_slowly, text)
    return data


def _decode_slowly(text: bytes) -> Any:
    """Decode a text that the fast decoder refuses: it is nested too deeply or has a number of too many digits."""
    data = json.loads(b"".join(_flattened(text)), parse_int=_integer)
    for body in _objects(data):
        try:
            demand_flat(body)
        except BoundExceeded as error:
            mark_unreadable(body, str(error))
    return data


def _flattened(text: bytes) -> Iterator[bytes]:
    """Yield the pieces of a JSON text, with null in place of values that are nested too deeply."""
    depth = begin = 0
    for token in _TOKENS.finditer(text):
        bracket = token[0]
        if bracket in b"[{":
            depth += 1
            if depth == _CUT:
                yield text[begin : token.start()]
        elif bracket in b"]}":
            if depth == _CUT:
                yield b"null"
                begin = token.end()
            depth -= 1
    if depth < _CUT:  # otherwise a bracket is not closed, and the text is not JSON
        yield text[begin:]


_CUT = DEEPEST + 4
"""First level that is cut off, counted from the whole answer; an object is at most three levels below it."""

_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""Strings and brackets. An unterminated string matches too; otherwise each of its quotes would start a new search."""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _objects(data: Any) -> list[Json]:
    """Return the objects of an answer: the items of a list, the object of an event, or the answer itself."""
    if not isinstance(data, dict):
        return []
    if isinstance(data.get("items"), list):
        return [item for item in data["items"] if isinstance(item, dict)]
    inner = data.get("object")
    return [inner if isinstance(inner, dict) and "type" in data else data]


def mark_unreadable(body: Json, why: str) -> None:
    """Remove everything from an object except its identity, in place, and add the reason `why` it is unreadable."""
    metadata = body.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    identity = {name: known[name] for name in _IDENTITY if isinstance(known.get(name), (str, int))}
    kind: Json = {name: body[name] for name in ("apiVersion", "kind") if name in body}
    body.clear()
    body.update({**kind, "metadata": identity, UNREADABLE: why})


_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
