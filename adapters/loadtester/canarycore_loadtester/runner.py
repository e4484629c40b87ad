"""The tasks that run and wait. Their number and their time are bounded.

Callers wait for some tasks; others run in the background. Each of the two has slots and a queue of its own, so load
tests of a minute do not delay a test of a second. A task that already runs or waits in the background is not started
again: Flagger calls its hooks at each interval.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Self

from canarycore.errors import CanaryError
from canarycore.text import escape_controls
from canarycore_loadtester.tasks import Task, TaskResult

if TYPE_CHECKING:
    from canarycore_loadtester.options import LoadtesterOptions
    from canarycore_loadtester.telemetry import LoadtesterMetrics

_log = logging.getLogger("canarycore.loadtester")

LONGEST_LOGGED = 4000
"""Most characters of output in a log record."""


class Busy(CanaryError):
    """As many tasks run and wait as may."""


class TaskRunner:
    """The runner of all tasks. Use it as a context: its end kills what runs."""

    def __init__(self, options: LoadtesterOptions, metrics: LoadtesterMetrics) -> None:
        self._options, self._metrics = options, metrics
        self._slots = asyncio.Semaphore(options.concurrency)
        self._background_slots = asyncio.Semaphore(options.concurrency)
        self._waited = 0
        self._running = 0
        self._background: dict[tuple[str, str, str], asyncio.Task[TaskResult]] = {}
        metrics.observe("running", "Tasks that run.", lambda: self._running)
        metrics.observe("waiting", "Tasks that wait.", lambda: self._waited + len(self._background) - self._running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._background.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, task: Task) -> None:
        """Run a task in the background, unless it already does. Raise Busy."""
        if task.key in self._background:
            _log.info("%s: skipped %s, it is already running", task.canary, task.kind)
            return
        self._check_room(len(self._background))
        running = asyncio.create_task(self._run(task, self._background_slots))
        self._background[task.key] = running
        running.add_done_callback(lambda _: self._background.pop(task.key, None))

    async def run(self, task: Task) -> TaskResult:
        """Run a task to its end. Raise Busy."""
        self._check_room(self._waited)
        self._waited += 1
        try:
            return await self._run(task, self._slots)
        finally:
            self._waited -= 1

    def _check_room(self, present: int) -> None:
        most = self._options.concurrency + self._options.queue
        if present >= most:
            raise Busy(f"found {present} tasks that run or wait, expected fewer than {most}: try again later")

    async def _run(self, task: Task, slots: asyncio.Semaphore) -> TaskResult:
        async with slots:
            self._running += 1
            begin = time.monotonic()
            _log.info("%s: %s starting", task.canary, task.kind)
            try:
                result = await self._run_in_time(task)
            finally:
                self._running -= 1
                self._metrics.seconds.labels(task.kind).observe(time.monotonic() - begin)
        self._report(task, result)
        return result

    async def _run_in_time(self, task: Task) -> TaskResult:
        try:
            async with asyncio.timeout(self._options.timeout):
                return await task.run()
        except TimeoutError:
            return TaskResult(is_success=False, error=f"no end after {self._options.timeout:g} s: killed")
        except (CanaryError, OSError) as error:
            return TaskResult(is_success=False, error=str(error))

    def _report(self, task: Task, result: TaskResult) -> None:
        self._metrics.finished.labels(task.kind, "success" if result.is_success else "failure").inc()
        if not result.is_success:
            _log.error("%s: %s failed: %s", task.canary, task.kind, escape_controls(result.error, LONGEST_LOGGED))
            return
        if task.logs_output:
            _log.info("%s: %s printed: %s", task.canary, task.kind, escape_controls(result.output, LONGEST_LOGGED))
        _log.info("%s: %s finished", task.canary, task.kind)
