"""Adapters that are open: each is opened when it is first needed, and closed when nobody has needed it for a while.

    pool = Pool(opened)                      # opened(key): a context manager
    async with pool, pool.lend(key) as adapter:
        ...

The key is the adapter's whole configuration, its secrets included. So one adapter serves all who are configured alike,
and a configuration that changes is another adapter: nothing has to notice the change.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from attrs import define

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")

IDLE = 600.0
"""Seconds after which an adapter that nobody used is closed."""


@define(eq=False)
class _Open(Generic[T]):
    """An open adapter. `users`: how many have it lent now. `used`: when it was last given back (monotonic seconds)."""

    adapter: T
    stack: AsyncExitStack
    users: int = 0
    used: float = 0.0


class Pool(Generic[K, T]):
    """What `opened` opens, by its key, while the pool's context is open."""

    def __init__(
        self, opened: Callable[[K], AbstractAsyncContextManager[T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._clock = clock
        self._open: dict[K, _Open[T]] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            _, entry = self._open.popitem()
            await entry.stack.aclose()

    @asynccontextmanager
    async def lend(self, key: K) -> AsyncGenerator[T, None]:
        """The adapter of that key. Whatever opening it raises is raised here."""
        async with self._opening:
            await self._close_idle()
            entry = self._open.get(key) or await self._add(key)
            entry.users += 1
        try:
            yield entry.adapter
        finally:
            entry.users -= 1
            entry.used = self._clock()

    async def _add(self, key: K) -> _Open[T]:
        async with AsyncExitStack() as stack:
            adapter = await stack.enter_async_context(self._opened(key))
            entry = self._open[key] = _Open(adapter, stack.pop_all())
        return entry

    async def _close_idle(self) -> None:
        now = self._clock()
        for key, entry in [*self._open.items()]:
            if not entry.users and now - entry.used > IDLE:
                del self._open[key]
                await entry.stack.aclose()
