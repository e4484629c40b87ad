"""One task beside a body of code."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None], stop: Callable[[], object] | None = None) -> AsyncIterator[None]:
    """Work goes on while the context lasts; then it is stopped (by default cancelled) and waited for.

    If it fails, the body is cancelled. A lone error comes out as itself, not in a group: whoever uses an adapter does
    not care how many tasks it has.
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
