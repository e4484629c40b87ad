"""A background task for the body of a context."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@asynccontextmanager
async def run_in_background(
    work: Coroutine[Any, Any, None], stop: Callable[[], object] | None = None
) -> AsyncIterator[None]:
    """Run `work` while the context is open, then call `stop` (default: cancel the task) and wait for its end.

    An error of the task cancels the body. A single error leaves the context unwrapped, not in an exception group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            try:
                yield
            finally:
                (stop or task.cancel)()
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) > 1:
            raise
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
