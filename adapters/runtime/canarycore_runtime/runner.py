"""The runner: many rollouts in one process, each with a cycle when its time comes or when something changes.

    async with Runner(parts) as runner:
        ...                      # rollouts advance
        runner.wake("default/podinfo")

One task group lives as long as the runner. It has a task that lists the store, a task per source of changes, a task per
cycle under way, and the tasks of questions. Wake times are timers of the event loop, which keeps them in a heap; a
rollout that waits has no task.

Rollouts do not disturb each other. A cycle is a task of its own, at most one per rollout, and an error ends as the
trouble of that rollout. The number of cycles under way is bounded, and a cycle that waits for a provider gives its slot
to the next. Each namespace has a share of all bounded resources that the others cannot use up (`Limits`), and waiting
namespaces take turns.

The next cycle of a rollout begins at the soonest of these moments:

    wake         the time that the decision named
    at once      after effects, as the cluster has to follow
    back-off     with jitter, after a failure, or when the same effects repeat because the cluster does not follow
    back-off     of its own after the failure of a notifier, which delays nothing else
    at once      after a change
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Literal, Self
from zlib import crc32

from attrs import define, frozen

from canarycore import Phase
from canarycore.driver import CycleResult
from canarycore.errors import WorldError
from canarycore_runtime._calls import EARLY, Limits, call_port, describe, is_cancelled_from_outside
from canarycore_runtime._driver import Driver, GoneError, LookAgainError, UndeliveredError
from canarycore_runtime._slots import RunnerCapacity

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from canarycore import Status
    from canarycore.driver import Observed
    from canarycore.effects import Effect
    from canarycore_runtime.ports import Adapters, Changes

_log = logging.getLogger("canarycore.runner")


@frozen
class CycleReport:
    """The report of one cycle to an observer of the runner."""

    key: str
    """The key of the rollout, `namespace/name`."""

    observed: Observed | None
    """The basis of the decision; None when the rollout could not be observed."""

    result: CycleResult
    """The end of the cycle; `result.decision.explanation` gives the reason."""

    lateness: float
    """Seconds from the due time of the cycle to its beginning."""


@frozen(kw_only=True)
class Stats:
    """The counters of a runner since its start."""

    rollouts: int
    """Rollouts that the runner advances now."""

    under_way: int
    """Cycles under way now."""

    cycles: int
    """Cycles that have ended."""

    troubled: int
    """Cycles that have ended with a trouble."""

    late_mean: float
    """Mean lateness of all cycles (seconds)."""

    late_worst: float
    """Greatest lateness of a cycle (seconds)."""


class Runner:
    """Advances all rollouts of the store while its context is open."""

    def __init__(
        self,
        parts: Adapters,
        limits: Limits | None = None,
        *,
        refuse: Literal["error", "warning"] | None = "error",
        on_cycle: Callable[[CycleReport], None] = lambda _: None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        """Run on the adapters in `parts`.

        `refuse` is the lowest severity of a finding of `canarycore.manifest.problems` with which the runner refuses a
        rollout: it then changes nothing, and each report of a cycle has the finding. None refuses no rollout. Use it
        for rollouts of manifests, which Flagger would run.

        `on_cycle` gets the report of each cycle. `jitter` returns numbers in [0, 1); a seeded one makes back-off
        repeatable.
        """
        self._parts = parts
        self._limits = limits or Limits()
        self._refuse = refuse
        self._on_cycle = on_cycle
        self._jitter = jitter or random.Random().random  # noqa: S311 - it spreads retries and protects no secret
        self._capacity = RunnerCapacity.under(self._limits)
        self._group = asyncio.TaskGroup()
        self._listening: list[asyncio.Task[None]] = []
        self._rollouts: dict[str, _ScheduledRollout] = {}
        self._stopping: asyncio.Task[None] | None = None
        self._counters = _CycleCounters()

    # lifetime ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._listening = [self._group.create_task(self._list())]
        self._listening += [self._group.create_task(self._listen(source)) for source in self._parts.changes]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop. The body's own error passes unchanged; the task group gets a cancellation only."""
        try:
            await self.stop()
        except asyncio.CancelledError as cancelled:
            kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    async def stop(self) -> None:
        """Begin no further cycle, wait for cycles under way within the grace time, then cancel the others.

        A cycle that only waits for answers ends at once. No write stays half-done: this waits for a write under way,
        and the next process does the writes that had not begun. A cancellation of `stop` abandons writes under way too.
        """
        if self._stopping is None:
            for task in self._listening:
                task.cancel()
            for scheduled in self._rollouts.values():
                scheduled.disarm()
                scheduled.driver.changed.set()
            self._stopping = self._group.create_task(self._end())
        await asyncio.shield(self._stopping)

    async def _end(self) -> None:
        rollouts = tuple(self._rollouts.values())
        tasks = {scheduled.task for scheduled in rollouts if scheduled.task is not None}
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=self._limits.grace)
        for scheduled in rollouts:
            scheduled.driver.drop_questions()
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def wake(self, key: str) -> None:
        """Begin a cycle of a rollout that changed, now or right after the cycle under way.

        While its effects fail, or its cluster does not follow them, the cycle waits for at most `Limits.patience`.
        """
        if self._stopping is not None:
            return
        scheduled = self._rollouts.get(key)
        if scheduled is None:
            self._begin(key, self._now)
            return
        scheduled.driver.retry_refused()
        if scheduled.task is not None:
            scheduled.driver.changed.set()
        else:
            self._arm(scheduled, max(self._now, scheduled.not_before))

    def stats(self) -> Stats:
        """Return the counters since the start."""
        counters = self._counters
        return Stats(
            rollouts=len(self._rollouts),
            under_way=sum(scheduled.task is not None for scheduled in self._rollouts.values()),
            cycles=counters.cycles,
            troubled=counters.troubled,
            late_mean=counters.total_lateness / counters.cycles if counters.cycles else 0.0,
            late_worst=counters.worst_lateness,
        )

    # rollouts and their changes ---------------------------------------------------------------------------------

    async def _list(self) -> None:
        """Begin new rollouts, and wake those that are gone for a last cycle, which forgets them."""
        spread, failures, logged = self._limits.spread, 0, ""
        while True:
            try:
                keys = set(await call_port(self._limits.call, self._parts.store.keys))
            except WorldError as trouble:
                failures += 1
                level = logging.DEBUG if str(trouble) == logged else logging.WARNING
                _log.log(level, "the store did not list the rollouts: %s", trouble)
                logged = str(trouble)
                await asyncio.sleep(self._backoff(failures))
                continue
            new, begin = keys - self._rollouts.keys(), self._now
            width = min(spread, len(new) / self._limits.pace)
            for key in new:
                self._begin(key, begin + width * (crc32(key.encode()) / 2**32))
            for key in self._rollouts.keys() - keys:
                self.wake(key)
            spread, failures, logged = 0.0, 0, ""
            await asyncio.sleep(self._limits.resync)

    async def _listen(self, source: Changes) -> None:
        """Wake rollouts that a source names. After its failure and a back-off wake all, as changes may be lost."""
        failures = 0
        while True:
            try:
                async for key in source.changes():
                    failures = 0
                    self.wake(key)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_cancelled_from_outside():
                    raise
                failures += 1
                _log.warning("%s stopped reporting changes: %s: %s", type(source).__name__, type(error).__name__, error)
            else:
                return
            await asyncio.sleep(self._backoff(failures))
            for key in tuple(self._rollouts):
                self.wake(key)

    # cycles of one rollout --------------------------------------------------------------------------------------

    def _begin(self, key: str, due: float) -> None:
        driver = Driver(key, self._parts, self._limits, self._capacity, self._group, self._refuse)
        self._rollouts[key] = scheduled = _ScheduledRollout(driver)
        self._arm(scheduled, due)

    def _arm(self, scheduled: _ScheduledRollout, due: float) -> None:
        """Begin a cycle at `due`, unless one is due sooner."""
        if self._stopping is not None or (scheduled.due is not None and scheduled.due <= due):
            return
        scheduled.disarm()
        scheduled.due, now = due, self._now
        wait = self._limits.end(due) - now if due > now else 0.0
        scheduled.timer = asyncio.get_running_loop().call_later(wait, self._ring, scheduled)

    def _ring(self, scheduled: _ScheduledRollout) -> None:
        due, scheduled.due = scheduled.due, None
        assert due is not None, "a timer without a due time was cancelled"
        if self._now < due - EARLY:  # the event loop's clock runs ahead of the runner's
            self._arm(scheduled, due)
        else:
            name = f"cycle of {scheduled.driver.key}"
            scheduled.task = self._group.create_task(self._run_cycle(scheduled, due), name=name)

    async def _run_cycle(self, scheduled: _ScheduledRollout, due: float) -> None:
        driver = scheduled.driver
        try:
            result = await driver.drive()
        except GoneError:
            self._forget(driver)
            return
        except LookAgainError:
            scheduled.lateness = max(scheduled.lateness, driver.began - due)
            result = None
        except Exception as error:  # noqa: BLE001 - any error ends as a trouble of this rollout
            result = self._trouble(driver.key, error)
        finally:
            scheduled.task = None
        if result is None:
            self._arm(scheduled, self._now)
            return
        lateness, scheduled.lateness = max(scheduled.lateness, driver.began - due), 0.0
        self._counters.count(lateness, is_troubled=bool(result.errors))
        self._report(CycleReport(driver.key, driver.observed, result, lateness))
        self._plan(scheduled, result)

    def _forget(self, driver: Driver) -> None:
        driver.drop_questions()
        del self._rollouts[driver.key]
        if driver.changed.is_set():  # it came back meanwhile
            self.wake(driver.key)

    def _trouble(self, key: str, error: Exception) -> CycleResult:
        if not isinstance(error, WorldError):
            _log.error("a cycle of %s failed", key, exc_info=error)
            error = WorldError(f"the cycle failed: {describe(error)}")
        return CycleResult(None, self._now, (), (error,))

    def _report(self, report: CycleReport) -> None:
        try:
            self._on_cycle(report)
        except Exception:  # noqa: BLE001 - an observer must not disturb the runner
            _log.exception("on_cycle failed for %s", report.key)

    # the next cycle ---------------------------------------------------------------------------------------------

    def _plan(self, scheduled: _ScheduledRollout, result: CycleResult) -> None:
        """Arm the next cycle of a rollout after the end of one."""
        now = self._now
        is_undelivered = any(isinstance(error, UndeliveredError) for error in result.errors)
        is_stuck = any(not isinstance(error, UndeliveredError) for error in result.errors)
        is_stuck = is_stuck or scheduled.is_repeating(result)
        scheduled.failures = scheduled.failures + 1 if is_stuck else 0
        scheduled.notifier_failures = scheduled.notifier_failures + 1 if is_undelivered else 0
        scheduled.not_before = now
        due = self._due_by_decision(result)
        if is_stuck:
            delay = self._backoff(scheduled.failures)
            scheduled.not_before = now + min(delay, self._limits.patience)
            due = now + delay if due is None or due <= now else min(due, now + delay)
        elif result.effects:
            due = now
        if is_undelivered:
            retry = now + self._backoff(scheduled.notifier_failures)
            due = retry if due is None else min(due, retry)
        if scheduled.driver.changed.is_set():
            due = scheduled.not_before
        if due is not None:
            self._arm(scheduled, due)

    def _due_by_decision(self, result: CycleResult) -> float | None:
        """Return the decision's wake time, or the resync where it names none and the rollout has not terminated."""
        decision = result.decision
        if decision is None:
            return None
        if decision.wake is None and decision.status.phase is not Phase.TERMINATED:
            return self._now + self._limits.resync
        return decision.wake

    def _backoff(self, failures: int) -> float:
        """Return a pause in seconds: it doubles with each failure, and jitter takes off up to a half."""
        limits = self._limits
        delay = min(limits.max_backoff, limits.backoff * 2.0 ** min(failures - 1, 60))
        return delay * (0.5 + 0.5 * self._jitter())

    @property
    def _now(self) -> float:
        return self._parts.clock()


@define(eq=False)
class _ScheduledRollout:
    """One rollout of the runner and its next cycle."""

    driver: Driver

    due: float | None = None
    """When the next cycle begins (seconds since the epoch); None while one is under way, or until a change."""

    timer: asyncio.TimerHandle | None = None
    """The timer of the next cycle."""

    task: asyncio.Task[None] | None = None
    """The task of the cycle under way."""

    failures: int = 0
    """Failures of the cluster in a row, including repeated effects."""

    notifier_failures: int = 0
    """Failures of notifiers in a row."""

    lateness: float = 0.0
    """Greatest lateness of the cycles that asked the present questions (seconds)."""

    not_before: float = 0.0
    """The earliest time of a cycle after a change (seconds since the epoch)."""

    last_effects: tuple[Status, tuple[Effect, ...]] | None = None
    """The status that the last cycle observed, and its effects."""

    def disarm(self) -> None:
        """Cancel the timer of the next cycle."""
        self.due = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def is_repeating(self, result: CycleResult) -> bool:
        """Check whether the last two cycles observed the same status, had the same effects, and ask for another."""
        observed, decision = self.driver.observed, result.decision
        if observed is None or decision is None:
            return False
        before, self.last_effects = self.last_effects, (observed.status, result.effects)
        at_once = bool(result.effects) or (decision.wake is not None and decision.wake <= observed.observation.now)
        return at_once and before == self.last_effects


@define
class _CycleCounters:
    """The counters behind `Stats`; lateness is in seconds."""

    cycles: int = 0
    troubled: int = 0
    total_lateness: float = 0.0
    worst_lateness: float = 0.0

    def count(self, lateness: float, *, is_troubled: bool) -> None:
        """Count one cycle."""
        self.cycles += 1
        self.troubled += is_troubled
        self.total_lateness += lateness
        self.worst_lateness = max(self.worst_lateness, lateness)
