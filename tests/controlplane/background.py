"""An event loop in a thread, for services that run while a test waits."""

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
