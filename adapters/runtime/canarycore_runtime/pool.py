"""A pool of open adapters: it opens an adapter at its first use, and closes it after a time without use.

    pool = Pool(open_adapter)                # open_adapter(key): a context manager
    async with pool, pool.lend(key) as adapter:
        ...

The key is the whole configuration of an adapter, including its secrets. So one adapter serves all users of the same
configuration, and a new configuration opens a new adapter. Opening or closing an adapter delays its own users only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from attrs import Factory, define

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")

IDLE = 600.0
"""Seconds without use after which the pool closes an adapter."""

SPARE = 32
"""Unused adapters that one group may keep open."""

_log = logging.getLogger("canarycore.pool")


@define(eq=False)
class _Entry(Generic[T]):
    """An adapter that is open, or that its first user is opening."""

    adapter: T | None = None
    """None until it is open."""

    stack: AsyncExitStack = Factory(AsyncExitStack)
    """Closes the adapter."""

    opening: asyncio.Lock = Factory(asyncio.Lock)
    """Held while a user opens the adapter."""

    users: int = 0
    """Users of the adapter, including those that wait for it to open."""

    last_used: float = 0.0
    """The end of the last use (monotonic seconds)."""


class Pool(Generic[K, T]):
    """Open adapters by their keys, while the pool's context is open."""

    def __init__(
        self,
        open_adapter: Callable[[K], AbstractAsyncContextManager[T]],
        clock: Callable[[], float] = time.monotonic,
        *,
        group: Callable[[K], str] = lambda _: "",
        idle: float = IDLE,
        spare: int = SPARE,
    ) -> None:
        """Open adapters with `open_adapter`.

        `group` names the owner of an adapter by its key, so that a group with many keys closes its own unused adapters
        and no others. `idle` is the time in seconds after which an unused adapter closes. `spare` is the number of
        unused adapters that a group may keep.
        """
        self._open_adapter = open_adapter
        self._clock = clock
        self._group = group
        self._idle_time = idle
        self._spare = spare
        self._entries: dict[K, _Entry[T]] = {}
        self._idle: OrderedDict[K, None] = OrderedDict()  # by the end of their last use, the oldest first
        self._idle_of: Counter[str] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return the number of adapters that are open or opening."""
        return len(self._entries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._idle.clear()
        self._idle_of.clear()
        for key in tuple(self._entries):
            self._close(key)
        while self._closing:
            await asyncio.wait(self._closing)

    @asynccontextmanager
    async def lend(self, key: K) -> AsyncGenerator[T, None]:
        """Yield the adapter of a key. Raises any error of opening it."""
        entry = self._entries.setdefault(key, _Entry())
        entry.users += 1
        self._take_from_idle(key)
        try:
            yield await self._opened(entry, key)
        finally:
            entry.users -= 1
            entry.last_used = self._clock()
            self._give_back(key, entry)

    async def _opened(self, entry: _Entry[T], key: K) -> T:
        async with entry.opening:
            if entry.adapter is None:
                entry.adapter = await entry.stack.enter_async_context(self._open_adapter(key))
            return entry.adapter

    def _take_from_idle(self, key: K) -> None:
        if key in self._idle:
            del self._idle[key]
            self._count_idle(key, -1)

    def _give_back(self, key: K, entry: _Entry[T]) -> None:
        """Keep an adapter without users for a while, and close adapters that were unused for too long."""
        if self._entries.get(key) is entry and not entry.users:
            if entry.adapter is None:  # its opening failed
                del self._entries[key]
            else:
                self._idle[key] = None
                self._count_idle(key, +1)
        for surplus in self._surplus(self._group(key)):
            self._take_from_idle(surplus)
            self._close(surplus)

    def _surplus(self, group: str) -> list[K]:
        """Return the adapters to close: those idle for too long, else the oldest idle one of a group with too many."""
        deadline, surplus = self._clock() - self._idle_time, []
        for key in self._idle:
            if self._entries[key].last_used >= deadline:
                break
            surplus.append(key)
        if not surplus and self._idle_of[group] > self._spare:
            surplus.append(next(key for key in self._idle if self._group(key) == group))
        return surplus

    def _count_idle(self, key: K, change: int) -> None:
        group = self._group(key)
        self._idle_of[group] += change
        if not self._idle_of[group]:
            del self._idle_of[group]

    def _close(self, key: K) -> None:
        closing = asyncio.create_task(_close(self._entries.pop(key).stack))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(stack: AsyncExitStack) -> None:
    """Close an adapter, and log an error of it: no user needs the adapter any more."""
    try:
        await stack.aclose()
    except Exception:  # noqa: BLE001 - an adapter may raise anything
        _log.warning("an adapter failed to close", exc_info=True)
