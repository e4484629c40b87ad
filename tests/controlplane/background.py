"""An event loop in a thread, for what must go on while a test, or a whole loop of its own, waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any


@contextmanager
def in_background(serve: Callable[[], AbstractAsyncContextManager[Any]]) -> Iterator[asyncio.AbstractEventLoop]:
    """Enter `serve()` in a thread with a loop of its own; leave it at the end. Yields the loop."""
    loop = asyncio.new_event_loop()
    ready: Future[None] = Future()
    done = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_hold(serve, ready, done),), daemon=True)
    thread.start()
    try:
        ready.result()
        yield loop
    finally:
        if not ready.exception():
            loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


async def _hold(
    serve: Callable[[], AbstractAsyncContextManager[Any]], ready: Future[None], done: asyncio.Event
) -> None:
    try:
        async with serve():
            ready.set_result(None)
            await done.wait()
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)


def ask(loop: asyncio.AbstractEventLoop, question: Coroutine[Any, Any, Any]) -> Any:
    """The answer of a coroutine that runs in that loop."""
    return asyncio.run_coroutine_threadsafe(question, loop).result()
