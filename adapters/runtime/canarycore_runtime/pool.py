"""Adapters that are open: each is opened when it is first needed, and closed when nobody has needed it for a while.

    pool = Pool(open_adapter)                # open_adapter(key): a context manager
    async with pool, pool.lend(key) as adapter:
        ...

The key is the adapter's whole configuration, its secrets included. So one adapter serves all who are configured alike,
and a configuration that changes is another adapter: nothing has to notice the change. To open or to close an adapter
makes nobody wait but those who need this one.
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
"""Seconds after which an adapter that nobody used is closed."""

SPARE = 32
"""Adapters that one group has open though nobody uses them."""

_log = logging.getLogger("canarycore.pool")


@define(eq=False)
class _Entry(Generic[T]):
    """An adapter that is open, or that its first user is opening."""

    adapter: T | None = None
    stack: AsyncExitStack = Factory(AsyncExitStack)
    opening: asyncio.Lock = Factory(asyncio.Lock)
    users: int = 0
    """How many have it lent now, or wait until it is open."""
    used: float = 0.0
    """When it was last given back (monotonic seconds)."""


class Pool(Generic[K, T]):
    """The adapters that `open_adapter` opens, by their keys, while the pool's context is open.

    group: whose adapter it is, by its key: a group that uses ever more keys closes its own idle adapters, not those of
    others. idle: seconds after which an unused adapter is closed. spare: unused adapters that a group may have.
    """

    def __init__(
        self,
        open_adapter: Callable[[K], AbstractAsyncContextManager[T]],
        clock: Callable[[], float] = time.monotonic,
        *,
        group: Callable[[K], str] = lambda _: "",
        idle: float = IDLE,
        spare: int = SPARE,
    ) -> None:
        self._open_adapter = open_adapter
        self._clock = clock
        self._group = group
        self._idle_time = idle
        self._spare = spare
        self._entries: dict[K, _Entry[T]] = {}
        self._idle: OrderedDict[K, None] = OrderedDict()  # the longest unused first
        self._idle_of: Counter[str] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """The adapters that are open or being opened."""
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
        """The adapter of that key. Whatever opening it raises is raised here."""
        entry = self._entries.setdefault(key, _Entry())
        entry.users += 1
        self._take_from_idle(key)
        try:
            yield await self._opened(entry, key)
        finally:
            entry.users -= 1
            entry.used = self._clock()
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
        """Keep an adapter that nobody uses now for a while, and close what has been unused for too long."""
        if self._entries.get(key) is entry and not entry.users:
            if entry.adapter is None:  # it could not be opened
                del self._entries[key]
            else:
                self._idle[key] = None
                self._count_idle(key, +1)
        for surplus in self._surplus(self._group(key)):
            self._take_from_idle(surplus)
            self._close(surplus)

    def _surplus(self, group: str) -> list[K]:
        """The adapters that have been idle for too long, or the group's oldest beyond its spare ones."""
        deadline, surplus = self._clock() - self._idle_time, []
        for key in self._idle:
            if self._entries[key].used >= deadline:
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
    """Close an adapter that is of no use any more: its errors concern nobody but us."""
    try:
        await stack.aclose()
    except Exception:  # noqa: BLE001 - whatever an adapter raises
        _log.warning("an adapter could not be closed", exc_info=True)
