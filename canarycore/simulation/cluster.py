"""A simulated cluster that the real driver's loop runs against, with faults.

    world = SimulatedCluster(rollout)
    world.do(Deploy("v1")).run(until=Phase.INITIALIZED)
    world.do(Deploy("v2")).run(until=Phase.SUCCEEDED)
    for record in world.history:
        print(record)

`SimulatedCluster` is a thin wrapper: the cluster itself is a `State`, one frozen value that may be kept, compared and
put back. `step` runs one `canarycore.cycle` at the present moment; `run` steps and sleeps until something is so. Every
write (a commit, an effect, a notice, a call of a hook) has a number, and a `Fault` meets it by that number. After every
write the invariants are checked; a violation prints the schedule as a program.

A crash forgets what the process remembered (`CycleMemory`) and nothing else: the next step is a new process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.driver import CycleMemory, cycle
from canarycore.errors import CanaryError, Conflict
from canarycore.phases import Phase
from canarycore.questions import HookQuestion
from canarycore.simulation._program import source, with_imports
from canarycore.simulation.actions import Action, act
from canarycore.simulation.driver import ClusterRun, CycleRecord, Driver, Platform, SimulatedCycle, Write, WriteContext
from canarycore.simulation.invariants import EACH_CYCLE, EACH_WRITE, InvariantError
from canarycore.simulation.state import READS, Fault, FaultKind, State, next_change, observe, scaled

if TYPE_CHECKING:
    from canarycore._observation import Observation
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.effects import Effect
    from canarycore.notices import Notice

RETRY = 1.0
"""Seconds that the simulated driver waits after trouble other than a conflict."""

_BUSY = 100
"""Cycles at one moment from which on the driver is held to be in a busy loop."""

Until = Phase | Collection[Phase] | float | Callable[["SimulatedCluster"], bool] | None


class WaitError(CanaryError, AssertionError):
    """What `run` waited for cannot happen any more, or took too long."""


class BusyLoopError(CanaryError, AssertionError):
    """Cycle after cycle at one moment of time."""


def _in_time(pairs: Iterable[tuple[float, Action]]) -> list[tuple[float, Action]]:
    return sorted(pairs, key=lambda pair: pair[0])


@define
class SimulatedCluster:
    """A simulated cluster and the driver on it. See the module for the idea.

    rollout: the policy. state: where to start (default: an empty cluster that holds the rollout). faults: see `Fault`.
    schedule: (seconds, action) pairs that `run` and `sleep` carry out in time. driver: the loop, if it is not
    `canarycore.cycle`. platform: who carries effects out, if some part is not simulated. check: whether invariants are.
    """

    rollout: Rollout
    _start: State | None = field(default=None, kw_only=True, alias="state")
    faults: tuple[Fault, ...] = field(default=(), kw_only=True, converter=tuple)
    schedule: list[tuple[float, Action]] = field(factory=list, kw_only=True, converter=_in_time)
    driver: Driver = field(default=cycle, kw_only=True)
    platform: Platform = field(factory=Platform, kw_only=True)
    check: bool = field(default=True, kw_only=True)
    memory: CycleMemory = field(factory=CycleMemory, init=False)
    _cluster: ClusterRun = field(init=False, repr=False)
    _planned: tuple[tuple[float, Action], ...] = field(default=(), init=False, repr=False)
    _log: list[tuple[str, tuple[object, ...]]] = field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        start = self._start or State(rollout=self.rollout)
        self._planned = tuple(self.schedule)
        self._cluster = ClusterRun(start.but(faults=(*start.faults, *self.faults)), self.driver, self.platform)
        self._cluster.watch = self._watch if self.check else None

    # what one looks at ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The cluster, as one value; may be set."""
        return self._cluster.state

    @state.setter
    def state(self, state: State) -> None:
        self._log.append(("world.state = {}", (state,)))
        self._cluster.state = state

    @property
    def now(self) -> float:
        return self.state.now

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def phase(self) -> Phase:
        return self.state.status.phase

    @property
    def observation(self) -> Observation:
        """What the core is shown."""
        return observe(self.state)

    @property
    def history(self) -> list[CycleRecord]:
        """One record per cycle, in order."""
        return self._cluster.history

    @property
    def writes(self) -> list[Write]:
        """All writes that were carried out, in order."""
        return self._cluster.writes

    @property
    def notices(self) -> list[Notice]:
        """All notices published, in order, repeats included."""
        return [notice for record in self.history for notice in record.notices]

    @property
    def texts(self) -> list[str]:
        """The texts of all notices published."""
        return [notice.text for notice in self.notices]

    @property
    def effects(self) -> list[Effect]:
        """All effects carried out, in order."""
        return [effect for record in self.history for effect in record.effects]

    @property
    def calls(self) -> list[HookQuestion]:
        """All calls of hooks, in order."""
        return [asked for record in self.history for asked, _ in record.answers if isinstance(asked, HookQuestion)]

    def program(self) -> str:
        """This world's life so far as a Python script."""
        given: dict[str, object] = {"state": self._start, "faults": self.faults, "schedule": self._planned}
        if self.driver is not cycle:
            given["driver"] = self.driver
        made = [source(self.rollout), *(f"{name}={source(part)}" for name, part in given.items() if part)]
        lines = (line.format(", ".join(map(source, parts))) for line, parts in self._log)
        return with_imports("\n".join([f"world = SimulatedCluster({', '.join(made)})", *lines]))

    # what others do -------------------------------------------------------------------------------------------------

    def do(self, *actions: Action) -> SimulatedCluster:
        """Others act, at the present moment."""
        self._log.append(("world.do({})", actions))
        for action in actions:
            self._cluster.state = act(self.state, action)
        return self

    def sleep(self, seconds: float) -> SimulatedCluster:
        """Time passes, nobody looks."""
        self._log.append(("world.sleep({})", (seconds,)))
        self._pass(self.now + seconds)
        return self

    def fault(self, kind: FaultKind, after: int = 0, times: int = 1) -> SimulatedCluster:
        """Something goes wrong at the next write or observation, or `after` so many, so many times in a row."""
        self._log.append(("world.fault({})", (kind, after, times)))
        number = self.state.reads if kind in READS else self.state.writes
        self._cluster.state = self.state.but(faults=(*self.state.faults, Fault(kind, number + after, times)))
        return self

    def calm(self) -> SimulatedCluster:
        """From now on nothing goes wrong: faults that were still to come do not."""
        self._log.append(("world.calm()", ()))
        self._cluster.state = self.state.but(faults=())
        return self

    def restart(self) -> SimulatedCluster:
        """The process is replaced by a new one, between two cycles."""
        self._log.append(("world.restart()", ()))
        self._begin_anew()
        return self

    # what the driver does -------------------------------------------------------------------------------------------

    def step(self) -> CycleRecord:
        """One cycle, now."""
        self._log.append(("world.step()", ()))
        return self._step()

    def run(self, until: Until = None, *, limit: float = 86400.0, max_cycles: int = 10_000) -> SimulatedCluster:
        """Step, sleep until the driver's wake or the world's next change, and so on.

        until: a phase or several; a number of seconds to go on for; a condition; None for silence, when nothing will
        happen any more unless somebody acts. Raises NeverHappened when it cannot happen, or has not after `limit`
        simulated seconds or `max_cycles` cycles; BusyLoop when the driver never rests.
        """
        self._log.append(("world.run(until={})", (until,)))
        timed = isinstance(until, int | float)
        end = self.now + (until if isinstance(until, int | float) else limit)
        is_so = _condition(until)
        if is_so(self):
            return self
        at_this_moment, moment = 0, self.now
        for _ in range(max_cycles):
            record = self._step()
            if is_so(self):
                return self
            at_this_moment = at_this_moment + 1 if self.now == moment else 0
            moment = self.now
            if at_this_moment > _BUSY:
                raise BusyLoopError(f"{at_this_moment} cycles at {moment:g} s, the last: {record}\n\n{self.program()}")
            wake = self._wake(record)
            if wake == inf and until is None:
                return self
            if wake > end and not timed:
                raise WaitError(f"waited for {source(until)}, the last: {record}\n\n{self.program()}")
            self._pass(min(wake, end))
            if timed and self.now >= end:
                return self
        raise WaitError(f"waited for {source(until)} through {max_cycles} cycles, the last: {self.history[-1]}")

    def _step(self) -> CycleRecord:
        record = SimulatedCycle(self._cluster, self.memory).run()
        if record.crashed:
            self._begin_anew()
        self.history.append(record)
        if self.check:
            for invariant in EACH_CYCLE:
                self._demand(invariant.name, invariant.text, invariant.broken(record, self.history))
        return record

    def _begin_anew(self) -> None:
        self.memory = CycleMemory()
        self.platform.restart()

    def _wake(self, record: CycleRecord) -> float:
        """When the driver looks next: its wake, or a change that it is told of."""
        change = min(next_change(self.state), self.schedule[0][0] if self.schedule else inf)
        wake = inf if record.wake is None else record.wake
        if record.crashed or any(isinstance(trouble, Conflict) for trouble in record.troubles):
            wake = self.now
        elif record.troubles:
            wake = self.now + RETRY
        return max(self.now, min(change, wake))

    def _pass(self, moment: float) -> None:
        """Time passes up to `moment`; what is scheduled happens on the way."""
        while self.schedule and self.schedule[0][0] <= moment:
            time, action = self.schedule.pop(0)
            self._cluster.state = act(self.state.but(now=max(time, self.now)), action)
        self._cluster.state = scaled(self.state.but(now=max(moment, self.now)))

    def _watch(self, moment: WriteContext) -> None:
        for invariant in EACH_WRITE:
            self._demand(invariant.name, invariant.text, invariant.broken(moment, self.history))

    def _demand(self, name: str, text: str, broken: str | None) -> None:
        if broken is not None:
            last = "\n".join(map(str, self.history[-3:]))
            raise InvariantError(name, text, broken, last, self.program())


def _condition(until: Until) -> Callable[[SimulatedCluster], bool]:
    if isinstance(until, Phase):
        return lambda world: world.phase is until
    if callable(until):
        return until
    if isinstance(until, Collection):
        return lambda world: world.phase in until
    return _never


def _never(world: SimulatedCluster) -> bool:
    del world
    return False
