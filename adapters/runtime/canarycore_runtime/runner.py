"""The runner: many rollouts in one process, each looked at when its time has come or when something changed.

    async with Runner(parts) as runner:
        ...                      # rollouts advance
        runner.wake("default/podinfo")

One task group lives as long as the runner. In it are: a task that lists the store, one per source of changes, one per
cycle under way, and the questions that cycles have put. Wake times are timers of the event loop (which keeps them in a
heap); a rollout that rests has no task.

What keeps rollouts from each other: a cycle is a task of its own, at most one per rollout, and its errors end as that
rollout's trouble; cycles under way are bounded, and one that waits for a provider gives its place to the next. Each
namespace has a share of all that is bounded, which the others cannot use up (`Limits`); waiting namespaces take turns.

When a rollout is looked at again, the soonest of: the time the decision named; at once after effects, as the world has
to follow; after a back-off with jitter when something failed, or when the same effects are wanted again and again (the
world does not follow); after a back-off of its own when a notifier failed, which holds nothing else up; at once when
something changed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Self
from zlib import crc32

from attrs import define, frozen

from canarycore import Phase
from canarycore.driver import CycleResult
from canarycore.errors import WorldError
from canarycore_runtime._calls import EARLY, Limits, call, cancelled_from_outside, describe
from canarycore_runtime._driver import Driver, GoneError, LookAgainError, UndeliveredError
from canarycore_runtime._slots import Capacity

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
    """One cycle, as an observer is told of it.

    key: the rollout. seen: what it was decided from (None when that could not be observed). rest: how it ended;
    `rest.decision.explanation` says why. late: seconds from the wanted moment to the actual one.
    """

    key: str
    seen: Observed | None
    rest: CycleResult
    late: float


@frozen(kw_only=True)
class Stats:
    """What a runner has done so far.

    rollouts: known now. under_way: cycles under way now. cycles: ended. troubled: ended with a trouble. Lateness is in
    seconds between the moment a cycle was due and the one at which it began.
    """

    rollouts: int
    under_way: int
    cycles: int
    troubled: int
    late_mean: float
    late_worst: float


class Runner:
    """Advances all rollouts of the store while its context is open.

    `on_cycle` is told of each cycle. `jitter` gives numbers in [0, 1); a seeded one makes back-off repeatable.
    """

    def __init__(
        self,
        parts: Adapters,
        limits: Limits | None = None,
        *,
        on_cycle: Callable[[CycleReport], None] = lambda _: None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._parts = parts
        self._limits = limits or Limits()
        self._on_cycle = on_cycle
        self._jitter = jitter or random.Random().random  # noqa: S311 - it spreads retries, it keeps no secret
        self._capacity = Capacity.under(self._limits)
        self._group = asyncio.TaskGroup()
        self._listening: list[asyncio.Task[None]] = []
        self._places: dict[str, _RolloutSlot] = {}
        self._stopping: asyncio.Task[None] | None = None
        self._tally = _Tally()

    # lifetime ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._listening = [self._group.create_task(self._list())]
        self._listening += [self._group.create_task(self._listen(source)) for source in self._parts.changes]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The body's own error leaves as it is; the task group is told of cancellation only."""
        try:
            await self.stop()
        except asyncio.CancelledError as cancelled:
            kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    async def stop(self) -> None:
        """Begin nothing new, let cycles under way end within the grace time, cancel what is left.

        A cycle that only waits for answers ends at once. Nothing is left half-applied: a write under way is carried to
        its end, and what was not begun is done by whoever comes next. To cancel this is to abandon even such writes.
        """
        if self._stopping is None:
            for task in self._listening:
                task.cancel()
            for place in self._places.values():
                place.rest()
                place.driver.changed.set()
            self._stopping = self._group.create_task(self._end())
        await asyncio.shield(self._stopping)

    async def _end(self) -> None:
        places = tuple(self._places.values())
        turns = {place.turn for place in places if place.turn is not None}
        if turns:
            _, turns = await asyncio.wait(turns, timeout=self._limits.grace)
        for place in places:
            place.driver.drop_questions()
        if turns:
            for turn in turns:
                turn.cancel()
            await asyncio.wait(turns)

    def wake(self, key: str) -> None:
        """Something about this rollout changed: look at it now, or right after the cycle under way.

        While its effects fail, or its world does not follow them, it waits for at most `Limits.patience`.
        """
        if self._stopping is not None:
            return
        place = self._places.get(key)
        if place is None:
            self._begin(key, self._now)
        elif place.turn is not None:
            place.driver.changed.set()
        else:
            self._arm(place, max(self._now, place.not_before))

    def stats(self) -> Stats:
        """What has been done so far, and how punctually."""
        tally = self._tally
        return Stats(
            rollouts=len(self._places),
            under_way=sum(place.turn is not None for place in self._places.values()),
            cycles=tally.cycles,
            troubled=tally.troubled,
            late_mean=tally.late / tally.cycles if tally.cycles else 0.0,
            late_worst=tally.worst,
        )

    # finding rollouts, hearing of changes -----------------------------------------------------------------------

    async def _list(self) -> None:
        """New rollouts begin; one that is gone is looked at once more, and forgotten."""
        spread, failures = self._limits.spread, 0
        while True:
            try:
                keys = set(await call(self._limits.call, self._parts.store.keys))
            except WorldError as trouble:
                failures += 1
                _log.warning("the rollouts could not be listed: %s", trouble)
                await asyncio.sleep(self._backoff(failures))
                continue
            found, begin = keys - self._places.keys(), self._now
            width = min(spread, len(found) / self._limits.pace)
            for key in found:
                self._begin(key, begin + width * (crc32(key.encode()) / 2**32))
            for key in self._places.keys() - keys:
                self.wake(key)
            spread, failures = 0.0, 0
            await asyncio.sleep(self._limits.resync)

    async def _listen(self, source: Changes) -> None:
        """A source that fails is heard again after a back-off; what changed meanwhile is found by looking."""
        failures = 0
        while True:
            try:
                async for key in source.changes():
                    failures = 0
                    self.wake(key)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and cancelled_from_outside():
                    raise
                failures += 1
                _log.warning("%s stopped telling changes: %s: %s", type(source).__name__, type(error).__name__, error)
            else:
                return
            await asyncio.sleep(self._backoff(failures))
            for key in tuple(self._places):
                self.wake(key)

    # looking at one rollout -------------------------------------------------------------------------------------

    def _begin(self, key: str, due: float) -> None:
        driver = Driver(key, self._parts, self._limits, self._capacity, self._group)
        self._places[key] = place = _RolloutSlot(driver)
        self._arm(place, due)

    def _arm(self, place: _RolloutSlot, due: float) -> None:
        """Look at the rollout then, unless it is looked at sooner anyway."""
        if self._stopping is not None or (place.due is not None and place.due <= due):
            return
        place.rest()
        place.due, now = due, self._now
        wait = self._limits.end(due) - now if due > now else 0.0
        place.timer = asyncio.get_running_loop().call_later(wait, self._ring, place)

    def _ring(self, place: _RolloutSlot) -> None:
        due, place.due = place.due, None
        assert due is not None, "a timer without a due time was cancelled"
        if self._now < due - EARLY:  # the event loop's clock runs ahead of ours
            self._arm(place, due)
        else:
            place.turn = self._group.create_task(self._look(place, due), name=f"cycle of {place.driver.key}")

    async def _look(self, place: _RolloutSlot, due: float) -> None:
        driver = place.driver
        try:
            rest = await driver.drive()
        except GoneError:
            self._forget(driver)
            return
        except LookAgainError:
            place.late = max(place.late, driver.began - due)
            rest = None
        except Exception as error:  # noqa: BLE001 - it ends as this rollout's trouble
            rest = self._trouble(driver.key, error)
        finally:
            place.turn = None
        if rest is None:
            self._arm(place, self._now)
            return
        late, place.late = max(place.late, driver.began - due), 0.0
        self._tally.count(late, troubled=bool(rest.errors))
        self._tell(CycleReport(driver.key, driver.seen, rest, late))
        self._plan(place, rest)

    def _forget(self, driver: Driver) -> None:
        driver.drop_questions()
        del self._places[driver.key]
        if driver.changed.is_set():  # it came back meanwhile
            self.wake(driver.key)

    def _trouble(self, key: str, error: Exception) -> CycleResult:
        if not isinstance(error, WorldError):
            _log.error("a cycle of %s broke off", key, exc_info=error)
            error = WorldError(f"the cycle broke off: {describe(error)}")
        return CycleResult(None, self._now, (), (error,))

    def _tell(self, turn: CycleReport) -> None:
        try:
            self._on_cycle(turn)
        except Exception:  # noqa: BLE001 - who watches must not disturb
            _log.exception("on_cycle failed for %s", turn.key)

    # when to look again -----------------------------------------------------------------------------------------

    def _plan(self, place: _RolloutSlot, rest: CycleResult) -> None:
        now = self._now
        unheard = any(isinstance(trouble, UndeliveredError) for trouble in rest.errors)
        stuck = any(not isinstance(trouble, UndeliveredError) for trouble in rest.errors) or place.repeats(rest)
        place.stuck = place.stuck + 1 if stuck else 0
        place.unheard = place.unheard + 1 if unheard else 0
        place.not_before = now
        wanted = self._wanted(rest)
        if stuck:
            delay = self._backoff(place.stuck)
            place.not_before = now + min(delay, self._limits.patience)
            wanted = now + delay if wanted is None or wanted <= now else min(wanted, now + delay)
        elif rest.effects:
            wanted = now
        if unheard:
            heard = now + self._backoff(place.unheard)
            wanted = heard if wanted is None else min(wanted, heard)
        if place.driver.changed.is_set():
            wanted = place.not_before
        if wanted is not None:
            self._arm(place, wanted)

    def _wanted(self, rest: CycleResult) -> float | None:
        """When the decision wants to look again; without a wish the resync does, except at what has ended."""
        decision = rest.decision
        if decision is None:
            return None
        if decision.wake is None and decision.status.phase is not Phase.TERMINATED:
            return self._now + self._limits.resync
        return decision.wake

    def _backoff(self, failures: int) -> float:
        """Seconds: doubling, between half of it and the whole."""
        limits = self._limits
        delay = min(limits.backoff_most, limits.backoff * 2.0 ** min(failures - 1, 60))
        return delay * (0.5 + 0.5 * self._jitter())

    @property
    def _now(self) -> float:
        return self._parts.clock()


@define(eq=False)
class _RolloutSlot:
    """One rollout in the runner. due: when it is looked at next (None: under way, or not before a change).

    stuck, unheard: failures in a row, of the world and of notifiers. late: of the cycle that put the questions
    (seconds). not_before: no change wakes it sooner. did: the status that the last cycle saw, and its effects.
    """

    driver: Driver
    due: float | None = None
    timer: asyncio.TimerHandle | None = None
    turn: asyncio.Task[None] | None = None
    stuck: int = 0
    unheard: int = 0
    late: float = 0.0
    not_before: float = 0.0
    did: tuple[Status, tuple[Effect, ...]] | None = None

    def rest(self) -> None:
        """No timer is running."""
        self.due = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def repeats(self, rest: CycleResult) -> bool:
        """Whether the last two cycles saw the same status, did the same, and want to be repeated at once."""
        seen, decision = self.driver.seen, rest.decision
        if seen is None or decision is None:
            return False
        before, self.did = self.did, (seen.status, rest.effects)
        at_once = bool(rest.effects) or (decision.wake is not None and decision.wake <= seen.observation.now)
        return at_once and before == self.did


@define
class _Tally:
    cycles: int = 0
    troubled: int = 0
    late: float = 0.0
    worst: float = 0.0

    def count(self, late: float, *, troubled: bool) -> None:
        self.cycles += 1
        self.troubled += troubled
        self.late += late
        self.worst = max(self.worst, late)
