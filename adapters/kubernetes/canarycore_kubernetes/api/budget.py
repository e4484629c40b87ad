"""The bounds within which one object is read, so that its cost stays its own.

    text = await read_within(response, LONGEST_ANSWER, enter_large)
    body = await decode(text)           # marks each object that cannot be read
    demand_whole(body)                  # raises BoundExceeded for a marked object
    demand_small(body["spec"])          # raises BoundExceeded for what would cost too much to read

Theory of operation. The API server takes objects of 1.5 MB with values nested 10,000 deep, from everybody who may write
one, and gives them to us among all others. A list or a watch that breaks off at such an object would hide all others.
So an answer is always decoded: where the fast decoder gives up, a slow one cuts off what is nested too deeply, and the
object that it was cut from is marked. The reader of a marked object refuses it, and reads on.
"""

from __future__ import annotations

import asyncio
import json
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
"""Bytes of an answer. An object of etcd's 1.5 MB may take six times as many as JSON, which escapes characters."""

LARGE = 2**19
"""Bytes of an answer beyond which it is one of the few large ones that are read at once."""

LARGEST = 2**18
"""Characters of names and texts in an object that is read: those of an annotation that the API server takes."""

MOST_VALUES = 5_000
"""Items and entries, with their names, in an object that is read."""

DEEPEST = 100
"""Levels of lists and mappings in an object that is read."""

UNREADABLE = "canarycore/unreadable"
"""The name beside `metadata` that marks an object, with the reason. The API server has no field of this name."""

_MOST_DIGITS = 400
"""Digits of a number; no number of Kubernetes has more than 20."""


class BoundExceeded(WorldError):
    """An object exceeds the bounds; the message says which one, and is about the object."""


class Oversized(WorldError):
    """An answer is longer than it may be."""


async def read_within(
    response: aiohttp.ClientResponse, limit: int, enter_large: Callable[[], Awaitable[object]]
) -> bytes:
    """Read the body of a response. Raises Oversized as soon as it is longer than `limit` bytes.

    enter_large: awaited once, as soon as it is longer than LARGE, before more of it is read.
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
    """Read the first `limit` bytes of the body of a response, and not the rest."""
    text = b""
    async for part in response.content.iter_any():
        text += part
        if len(text) >= limit:
            break
    return text[:limit]


def demand_whole(body: Json) -> None:
    """Raise BoundExceeded where `decode` has marked the object."""
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
    """Raise BoundExceeded where a value has more levels: what copies or compares it calls itself for each."""
    for _ in _levels(value):
        pass


def _levels(value: object) -> Iterator[list[Any]]:
    """The values of each level, names of entries included. Raises BoundExceeded where there are too many levels."""
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
    """The data of a JSON text. Raises ValueError for what is no JSON.

    The slow decoder runs in a thread: it may take seconds for a text of LONGEST_ANSWER.
    """
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return await asyncio.to_thread(_decode_slowly, text)


def _decode_slowly(text: bytes) -> Any:
    """Decode what is nested too deeply for the fast decoder, or has numbers of too many digits."""
    data = json.loads(b"".join(_flattened(text)), parse_int=_integer)
    for body in _objects(data):
        try:
            demand_flat(body)
        except BoundExceeded as error:
            mark_unreadable(body, str(error))
    return data


def _flattened(text: bytes) -> Iterator[bytes]:
    """The pieces of a JSON text without what is nested too deeply: null stands there."""
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
    if depth < _CUT:  # or it has no end, and is no JSON
        yield text[begin:]


_CUT = DEEPEST + 4
"""The level that is cut off, counted from an answer: an object in it is three levels lower at most."""

_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""Texts and brackets. A text without an end matches too, or each of its quotes would search for one."""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _objects(data: Any) -> list[Json]:
    """The objects of an answer: a list's items, an event's object, or the answer itself."""
    if not isinstance(data, dict):
        return []
    if isinstance(data.get("items"), list):
        return [item for item in data["items"] if isinstance(item, dict)]
    inner = data.get("object")
    return [inner if isinstance(inner, dict) and "type" in data else data]


def mark_unreadable(body: Json, why: str) -> None:
    """Leave of an object what identifies it, and the reason why it is not read. The object is changed."""
    metadata = body.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    identity = {name: known[name] for name in _IDENTITY if isinstance(known.get(name), (str, int))}
    kind: Json = {name: body[name] for name in ("apiVersion", "kind") if name in body}
    body.clear()
    body.update({**kind, "metadata": identity, UNREADABLE: why})


_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
