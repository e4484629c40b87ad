"""Blocking calls in threads of their own.

    threads = Threads()
    token = await threads.run(credentials.refresh)

The event loop has few threads for the whole process, and a few names that do not resolve would take all of them. So
each adapter has its own threads. They are daemons: a call that hangs does not keep the process alive.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """Runs at most `limit` blocking calls at the same time, each in a new thread."""

    def __init__(self, limit: int = 1) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of the function, or raise its error.

        A cancelled caller abandons the thread, which counts until it ends. Raises OSError when the system has no thread
        left.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        call = partial(self._call, loop, outcome, partial(function, *arguments))
        try:
            threading.Thread(target=call, name="canarycore call", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise OSError(f"no thread can be started: {error}") from error
        return await outcome

    def _call(self, loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[T], function: Callable[[], T]) -> None:
        """Run the function in the thread, and pass the outcome to the loop unless the loop is closed."""
        try:
            settle = partial(outcome.set_result, function())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            settle = partial(outcome.set_exception, error)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._end, outcome, settle)

    def _end(self, outcome: asyncio.Future[T], settle: Callable[[], None]) -> None:
        self._free.release()
        if not outcome.done():
            settle()


class NameLookup:
    """The methods of an event loop that look up host names, with threads of its own."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def getaddrinfo(self, host: str, port: int, **arguments: int) -> list[tuple[Any, ...]]:
        """Return the addresses of a host, as `socket.getaddrinfo` does."""
        look_up = partial(socket.getaddrinfo, host, port, **arguments)
        return await self._threads.run(look_up)

    async def getnameinfo(self, address: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Return the host and port of an address, as `socket.getnameinfo` does."""
        return await self._threads.run(socket.getnameinfo, address, flags)
