"""All targets, with the servers that they need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.fuzz.servers import adapters
from tests.fuzz.targets import Target, functions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def opened(names: Sequence[str] = ()) -> Iterator[tuple[Target, ...]]:
    """The targets whose names begin with one of these, or all; ready to be called."""
    with adapters() as asked:
        yield tuple(target for target in (*functions(), *asked) if not names or target.name.startswith(tuple(names)))
