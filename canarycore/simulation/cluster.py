"""A simulated cluster with faults, on which the real driver's loop runs.

    cluster = SimulatedCluster(rollout)
    cluster.do(Deploy("v1")).run(until=Phase.INITIALIZED)
    cluster.do(Deploy("v2")).run(until=Phase.SUCCEEDED)
    for record in cluster.history:
        print(record)

`SimulatedCluster` is a thin wrapper around a `State`, one frozen value that a caller may store, compare and put back.
`step` runs one `canarycore.cycle` at the present time; `run` steps and sleeps until a condition holds. Every write (a
commit, an effect, a notice, a call of a hook) has a number, and a `Fault` refers to a write by its number. The cluster
checks the invariants after every write, and the promises after every cycle and whenever time passes; a violation prints
the schedule as a program. `repr(cluster)` is the same program, which builds the cluster again.

A crash clears the memory of the process (`CycleMemory`) and nothing else: the next step is a new process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore._fields import instance, items
from canarycore.driver import CycleMemory, cycle
from canarycore.errors import CanaryError, Conflict
from canarycore.phases import Phase
from canarycore.questions import HookQuestion
from canarycore.simulation._program import source, with_imports
from canarycore.simulation.actions import Action, AnswerHook, act
from canarycore.simulation.driver import ClusterRun, CycleRecord, Driver, Platform, SimulatedCycle, Write, WriteContext
from canarycore.simulation.invariants import EACH_CYCLE, EACH_WRITE, InvariantError
from canarycore.simulation.metrics import ScenarioMetrics
from canarycore.simulation.promises import Promise, RolloutTally, demand_no_pods, find_broken
from canarycore.simulation.state import READS, Fault, FaultKind, State, after, next_change, observe, scaled

if TYPE_CHECKING:
    from canarycore._observation import Observation
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.effects import Effect
    from canarycore.notices import Notice
    from canarycore.policy._scenario import Scenario
    from canarycore.simulation.promises import RolloutView

RETRY = 1.0
"""Seconds that the simulated driver waits after an error other than a conflict."""

_BUSY = 100
"""Number of cycles at one time above which `run` reports a busy loop."""

Until = Phase | Collection[Phase] | float | Callable[["SimulatedCluster"], bool] | None
"""A condition for `run` to wait for."""


class WaitError(CanaryError, AssertionError):
    """The condition of `run` can no longer come true, or took too long."""


class BusyLoopError(CanaryError, AssertionError):
    """The driver runs cycle after cycle at one time."""


def _sort_by_time(pairs: Iterable[tuple[float, Action]]) -> list[tuple[float, Action]]:
    return sorted(pairs, key=lambda pair: pair[0])


def _tuple_of(promises: Iterable[Promise]) -> tuple[Promise, ...]:
    return tuple(promises)


@define(repr=False)
class SimulatedCluster:
    """A simulated cluster with a driver."""

    rollout: Rollout
    """The policy."""
    _start: State | None = field(default=None, kw_only=True, alias="state")
    """The first state; None: an empty cluster with the rollout."""
    faults: tuple[Fault, ...] = field(default=(), kw_only=True, converter=tuple)
    """Faults to inject."""
    schedule: list[tuple[float, Action]] = field(factory=list, kw_only=True, converter=_sort_by_time)
    """Actions still to come with their times (seconds); `run` and `sleep` carry them out."""
    driver: Driver = field(default=cycle, kw_only=True)
    """The loop under test."""
    platform: Platform = field(factory=Platform, kw_only=True)
    """The part that shows the state and carries out effects."""
    check: bool = field(default=True, kw_only=True)
    """Whether to check the invariants and the promises."""
    scenario: Scenario | None = field(default=None, kw_only=True)
    """The behaviour of both versions, the traffic and the answers of hooks, all without chance; None: no request fails,
    and the metrics and hooks answer as the state says."""
    promises: tuple[Promise, ...] = field(
        default=(), kw_only=True, converter=_tuple_of, validator=items(instance(Promise))
    )
    """Invariants of your own."""
    memory: CycleMemory = field(factory=CycleMemory, init=False)
    """The memory of the present process."""
    _run: ClusterRun = field(init=False)
    _planned: tuple[tuple[float, Action], ...] = field(default=(), init=False)
    _log: list[tuple[str, tuple[object, ...]]] = field(factory=list, init=False)
    _tally: RolloutTally = field(factory=RolloutTally, init=False)

    def __attrs_post_init__(self) -> None:
        start = self._start or State(rollout=self.rollout)
        if self.scenario is not None:
            start = _in_scenario(start, self.scenario)
        self._planned = tuple(self.schedule)
        self._run = ClusterRun(start.but(faults=(*start.faults, *self.faults)), self.driver, self.platform)
        self._run.watch = self._watch if self.check else None

    # views ----------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state of the cluster; a caller may set it."""
        return self._run.state

    @state.setter
    def state(self, state: State) -> None:
        self._log.append(("cluster.state = {}", (state,)))
        self._run.state = state

    @property
    def now(self) -> float:
        """The time (seconds)."""
        return self.state.now

    @property
    def status(self) -> Status:
        """The status in the store."""
        return self.state.status

    @property
    def phase(self) -> Phase:
        """The phase in the store."""
        return self.state.status.phase

    @property
    def observation(self) -> Observation:
        """The observation that the core gets."""
        return observe(self.state)

    @property
    def history(self) -> list[CycleRecord]:
        """Records of all cycles, in order."""
        return self._run.history

    @property
    def writes(self) -> list[Write]:
        """Writes carried out, in order."""
        return self._run.writes

    @property
    def notices(self) -> list[Notice]:
        """Notices published, in order, with repeats."""
        return [notice for record in self.history for notice in record.notices]

    @property
    def texts(self) -> list[str]:
        """Texts of the notices published, in order."""
        return [notice.text for notice in self.notices]

    @property
    def effects(self) -> list[Effect]:
        """Effects carried out, in order."""
        return [effect for record in self.history for effect in record.effects]

    @property
    def calls(self) -> list[HookQuestion]:
        """Calls of hooks, in order."""
        questions = (question for record in self.history for question, _ in record.answers)
        return [question for question in questions if isinstance(question, HookQuestion)]

    @property
    def view(self) -> RolloutView | None:
        """The last rollout as a promise sees it; None before the first one."""
        return self._tally.view(self.state, self._assumptions)

    def program(self) -> str:
        """Return the life of this cluster so far as a Python script."""
        options: dict[str, object] = {
            "state": self._start,
            "faults": self.faults,
            "schedule": self._planned,
            "scenario": self.scenario,
            "promises": self.promises,
        }
        if self.driver is not cycle:
            options["driver"] = self.driver
        arguments = [source(self.rollout), *(f"{name}={source(part)}" for name, part in options.items() if part)]
        lines = (line.format(", ".join(map(source, parts))) for line, parts in self._log)
        program = "\n".join([f"cluster = SimulatedCluster({', '.join(arguments)})", *lines])
        return with_imports(program, self.promises)

    def __repr__(self) -> str:
        return self.program()

    # actions of others ----------------------------------------------------------------------------------------------

    def do(self, *actions: Action) -> SimulatedCluster:
        """Carry out actions of others at the present time."""
        self._log.append(("cluster.do({})", actions))
        for action in actions:
            self._run.state = act(self.state, action)
        return self

    def sleep(self, seconds: float) -> SimulatedCluster:
        """Let time pass without a cycle of the driver."""
        self._log.append(("cluster.sleep({})", (seconds,)))
        self._pass(self.now + seconds)
        return self

    def fault(self, kind: FaultKind, after: int = 0, times: int = 1) -> SimulatedCluster:
        """Inject a fault after so many further writes (or observations), at so many of them in a row."""
        self._log.append(("cluster.fault({})", (kind, after, times)))
        number = self.state.reads if kind in READS else self.state.writes
        self._run.state = self.state.but(faults=(*self.state.faults, Fault(kind, number + after, times)))
        return self

    def calm(self) -> SimulatedCluster:
        """Remove all faults that are still to come."""
        self._log.append(("cluster.calm()", ()))
        self._run.state = self.state.but(faults=())
        return self

    def restart(self) -> SimulatedCluster:
        """Replace the process by a new one, between two cycles."""
        self._log.append(("cluster.restart()", ()))
        self._start_process()
        return self

    # the driver -----------------------------------------------------------------------------------------------------

    def step(self) -> CycleRecord:
        """Run one cycle at the present time, and return its record."""
        self._log.append(("cluster.step()", ()))
        return self._step()

    def run(self, until: Until = None, *, limit: float = 86400.0, max_cycles: int = 10_000) -> SimulatedCluster:
        """Step, sleep until the driver's wake or the next change of the cluster, and repeat until a condition holds.

        until: a phase, several phases, a number of seconds, or a predicate of this cluster; None waits until nothing
        happens any more without an action. Raise WaitError where the condition cannot come true any more, or has not
        after `limit` simulated seconds or `max_cycles` cycles. Raise BusyLoopError where the driver never rests.
        """
        self._log.append(("cluster.run()", ()) if until is None else ("cluster.run(until={})", (until,)))
        timed = isinstance(until, int | float)
        end = self.now + (until if isinstance(until, int | float) else limit)
        holds = _condition(until)
        if holds(self):
            return self
        repeats, time = 0, self.now
        for _ in range(max_cycles):
            record = self._step()
            if holds(self):
                return self
            repeats = repeats + 1 if self.now == time else 0
            time = self.now
            if repeats > _BUSY:
                raise BusyLoopError(f"{repeats} cycles at {time:g} s, the last: {record}\n\n{self.program()}")
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
        record = SimulatedCycle(self._run, self.memory).run()
        if record.crashed:
            self._start_process()
        self.history.append(record)
        if self.check:
            for invariant in EACH_CYCLE:
                self._demand(invariant.name, invariant.text, invariant.broken(record, self.history))
        self._tally = self._tally.at(self.state)
        self._check_promises()
        return record

    def _start_process(self) -> None:
        self.memory = CycleMemory()
        self.platform.restart()

    def _wake(self, record: CycleRecord) -> float:
        """Return the time of the next cycle: the driver's wake, or a change that triggers an event."""
        change = min(next_change(self.state), self.schedule[0][0] if self.schedule else inf)
        wake = inf if record.wake is None else record.wake
        if record.crashed or any(isinstance(trouble, Conflict) for trouble in record.troubles):
            wake = self.now
        elif record.troubles:
            wake = self.now + RETRY
        return max(self.now, min(change, wake))

    def _pass(self, time: float) -> None:
        """Let time pass up to `time`, and carry out the scheduled actions on the way."""
        while self.schedule and self.schedule[0][0] <= time:
            due, action = self.schedule.pop(0)
            self._wait(due)
            self._run.state = act(self.state, action)
        self._wait(time)
        self._run.state = scaled(self.state)

    def _wait(self, time: float) -> None:
        """Let time pass up to `time`, while nothing else happens."""
        if time > self.now:
            self._tally = self._tally.after(time - self.now, self.state, self._assumptions)
            self._run.state = self.state.but(now=time)
            self._check_promises()

    def _check_promises(self) -> None:
        view = self.view if self.check and self.promises else None
        broken = None if view is None else find_broken(self.promises, view)
        if broken is not None:
            self._demand("promise", broken.name, str(view))

    @property
    def _assumptions(self) -> Scenario:
        from canarycore.policy._scenario import Scenario  # the package stands on this one

        return self.scenario or Scenario()

    def _watch(self, context: WriteContext) -> None:
        for invariant in EACH_WRITE:
            self._demand(invariant.name, invariant.text, invariant.broken(context, self.history))

    def _demand(self, name: str, text: str, broken: str | None) -> None:
        if broken is not None:
            last = "\n".join(map(str, self.history[-3:]))
            raise InvariantError(name, text, broken, last, self.program())


def _in_scenario(state: State, scenario: Scenario) -> State:
    """Return the state with the metrics, the hooks and the pace of pods of a scenario."""
    demand_no_pods(scenario)
    paces = dict(state.paces) | dict.fromkeys(("primary", "target"), after(scenario.ready_after))
    state = state.but(metrics=ScenarioMetrics(scenario), paces=tuple(sorted(paces.items())))
    for hook in state.rollout.hooks:
        state = act(state, AnswerHook(hook.name, (scenario.passes(hook),)))
    return state


def _condition(until: Until) -> Callable[[SimulatedCluster], bool]:
    if isinstance(until, Phase):
        return lambda cluster: cluster.phase is until
    if callable(until):
        return until
    if isinstance(until, Collection):
        return lambda cluster: cluster.phase in until
    return _never


def _never(cluster: SimulatedCluster) -> bool:
    del cluster
    return False
