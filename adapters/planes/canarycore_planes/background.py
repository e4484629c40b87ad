"""Work in a thread while a test goes on or waits: an event loop with a service, or a function."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

Serve = Callable[[], AbstractAsyncContextManager[Any]]


@contextmanager
def in_background(serve: Serve) -> Iterator[asyncio.AbstractEventLoop]:
    """Enter `serve()` in a thread with a loop of its own; leave it at the end. Yield the loop."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_hold(serve, started)), daemon=True)
    thread.start()
    loop, over = started.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work(over)` in a thread until the end of the block: `over` is set then, and the work has to end."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _hold(serve: Serve, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    over = asyncio.Event()
    try:
        async with serve():
            started.set_result((asyncio.get_running_loop(), over))
            await over.wait()
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)
