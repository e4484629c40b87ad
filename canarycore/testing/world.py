"""A simulated cluster that the real driver's loop runs against, with faults.

    world = World(rollout)
    world.do(Deploy("v1"))
    world.run(until=Phase.INITIALIZED)
    world.do(Deploy("v2"))
    world.run(until=Phase.SUCCEEDED)

`World` is a thin wrapper: the cluster itself is a `State`, one frozen value that may be kept, compared and put back.
`step` runs one `canarycore.cycle` at the present moment, `run` steps and sleeps until something is so. Every write (a
commit, an effect, a notice, a call of a hook) has a number; a `Fault` meets it by that number. After every write the
invariants are checked, and a violation prints the schedule as a program.

A crash forgets what the process remembered (`Memory`) and nothing else; the next step is a new process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from canarycore._cycle import Apply, Commit, Fetch, Memory, Observe, Publish, Rest, Seen, cycle
from canarycore._phases import Phase
from canarycore._questions import (
    Answer,
    HookAnswer,
    HookQuestion,
    MetricQuestion,
    Question,
    SourcesAnswer,
    SourcesQuestion,
)
from canarycore._world import World as Observation
from canarycore.errors import CanaryError, Conflict, Refused, WorldError
from canarycore.testing._actions import Action, act
from canarycore.testing._metrics import Asked
from canarycore.testing._state import Fault, FaultKind, State, apply, next_change, observe, resized

if TYPE_CHECKING:
    from canarycore._cycle import Request
    from canarycore._decide import Decision
    from canarycore._effects import Effect
    from canarycore._notices import Notice
    from canarycore._spec import Rollout
    from canarycore._status import Status

RETRY = 1.0
"""Seconds that the simulated driver waits after trouble other than a conflict."""

_BUSY = 100
"""Cycles at one moment after which the driver is held to be in a busy loop."""


class NeverHappened(CanaryError, AssertionError):
    """What `run` waited for cannot happen any more, or took too long."""


class BusyLoop(CanaryError, AssertionError):
    """Cycle after cycle at one moment of time."""


class Crash(Exception):  # noqa: N818 - it is no error of the library: a process died, as the fault asked
    """The simulated process died."""


@frozen
class Write:
    """Something that the driver did to the world. `of`: Status, an effect, a Notice or a HookQuestion."""

    number: int
    time: float
    of: Status | Effect | Notice | HookQuestion

    @property
    def is_commit(self) -> bool:
        return type(self.of).__name__ == "Status"


@frozen(kw_only=True)
class Record:
    """One cycle. `time`: seconds. `decision`: None after a conflict or a crash before it was made.

    committed: the status that was written, if one was. effects, notices: carried out and published, in order. asked:
    questions and their answers, hooks included. troubles: what went wrong. crashed: the process died in this cycle.
    wake: when it wanted to look again. state: the cluster after it.
    """

    time: float
    state: State
    decision: Decision | None = None
    committed: Status | None = None
    effects: tuple[Effect, ...] = ()
    notices: tuple[Notice, ...] = ()
    asked: tuple[tuple[Question, Answer], ...] = ()
    troubles: tuple[WorldError, ...] = ()
    crashed: bool = False
    wake: float | None = None

    @property
    def phase(self) -> Phase:
        return self.state.status.phase

    @property
    def because(self) -> str:
        return "" if self.decision is None else str(self.decision.because)

    def __str__(self) -> str:
        parts = [f"t={self.time:g} {self.phase.value} {self.state.status.rung}", self.because]
        parts += [f"did {effect}" for effect in self.effects]
        parts += [f"told {notice.text!r}" for notice in self.notices]
        parts += [f"trouble {trouble}" for trouble in self.troubles]
        return " | ".join(part for part in [*parts, "crashed" * self.crashed] if part)


Until = Phase | Collection[Phase] | float | Callable[["World"], bool] | None


def _in_time(pairs: Iterable[tuple[float, Action]]) -> list[tuple[float, Action]]:
    return sorted(pairs, key=lambda pair: pair[0])


@define
class World:
    """A simulated cluster and the driver on it. See the module for the idea.

    rollout: the policy. state: where to start (default: an empty cluster that holds the rollout). faults: see `Fault`.
    schedule: (seconds, action) pairs that `run` carries out in time. check: whether invariants are checked after every
    write.
    """

    rollout: Rollout
    state: State = field(kw_only=True)
    faults: tuple[Fault, ...] = field(default=(), kw_only=True, converter=tuple)
    schedule: list[tuple[float, Action]] = field(factory=list, kw_only=True, converter=_in_time)
    check: bool = field(default=True, kw_only=True)
    history: list[Record] = field(factory=list, init=False)
    writes: list[Write] = field(factory=list, init=False)
    memory: Memory = field(factory=Memory, init=False)
    _before: State | None = field(default=None, init=False)

    @state.default
    def _empty(self) -> State:
        return State(rollout=self.rollout)

    def __attrs_post_init__(self) -> None:
        self.state = self.state.but(faults=(*self.state.faults, *self.faults))

    # what one looks at ----------------------------------------------------------------------------------------------

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
        return observe(self.state)

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
        return [question for record in self.history for question, _ in record.asked if isinstance(question, HookQuestion)]

    # what others do -------------------------------------------------------------------------------------------------

    def do(self, *actions: Action) -> World:
        """Others act, at the present moment."""
        for action in actions:
            self.state = act(self.state, action)
        return self

    def sleep(self, seconds: float) -> World:
        """Time passes, nobody looks."""
        self._until(self.now + seconds)
        return self

    def restart(self) -> World:
        """The process is replaced by a new one, between two cycles."""
        self.memory = Memory()
        return self

    # what the driver does -------------------------------------------------------------------------------------------

    def step(self) -> Record:
        """One cycle, now."""
        record = _Turn(self).run(self.memory)
        if record.crashed:
            self.restart()
        self.history.append(record)
        return record

    def run(self, until: Until = None, *, limit: float = 86400.0, max_cycles: int = 10_000) -> World:
        """Step, sleep until the driver's wake or the world's next change, and so on.

        until: a phase or several; a number of seconds to go on for; a condition; None for silence, when nothing will
        happen any more unless somebody acts. Raises NeverHappened when it cannot happen, or has not after `limit`
        simulated seconds or `max_cycles` cycles.
        """
        end = self.now + (until if isinstance(until, int | float) else limit)
        is_so = _condition(until)
        busy, moment = 0, self.now
        for _ in range(max_cycles):
            if is_so(self):
                return self
            record = self.step()
            busy = busy + 1 if self.now == moment else 0
            moment = self.now
            if busy > _BUSY:
                raise BusyLoop(f"{busy} cycles at {moment:g} s; the last: {record}")
            if is_so(self):
                return self
            wake = self._wake(record)
            if wake == inf and until is None:
                return self
            if min(wake, end) == inf or (wake > end and not isinstance(until, int | float)):
                raise NeverHappened(f"waited for {until!r}, is {record}")
            self._until(min(wake, end))
            if self.now >= end and isinstance(until, int | float):
                return self
        raise NeverHappened(f"waited for {until!r} through {max_cycles} cycles, is {self.history[-1]}")

    def _wake(self, record: Record) -> float:
        """When the driver looks next: its wake, or a change that it is told of."""
        change = min(next_change(self.state), self.schedule[0][0] if self.schedule else inf)
        wake = inf if record.wake is None else record.wake
        if record.crashed or any(isinstance(trouble, Conflict) for trouble in record.troubles):
            wake = self.now
        elif record.troubles:
            wake = self.now + RETRY
        return max(self.now, min(change, wake))

    def _until(self, moment: float) -> None:
        """Time passes up to `moment`, and scheduled actions happen on the way."""
        while self.schedule and self.schedule[0][0] <= moment:
            time, action = self.schedule.pop(0)
            self.state = act(self.state.but(now=max(time, self.now)), action)
        self.state = _scaled(self.state.but(now=max(moment, self.now)))


def _condition(until: Until) -> Callable[[World], bool]:
    if isinstance(until, Phase):
        return lambda world: world.phase is until
    if callable(until):
        return until
    if isinstance(until, Collection):
        return lambda world: world.phase in until
    return lambda world: False


def _scaled(state: State) -> State:
    """What the target's autoscaler does, if it is let."""
    scaler, target = state.scaler, state.target
    if scaler is None or scaler.paused or target is None or not target.desired:
        return state
    return resized(state, "target", min(max(target.desired, scaler.minimum), scaler.maximum))


# ------------------------------------------------------------------------------------------------------- one cycle


@define
class _Turn:
    """One cycle under way: answers the requests of `cycle` and notes what happens."""

    world: World
    decision: Decision | None = None
    committed: Status | None = None
    effects: list[Effect] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    asked: list[tuple[Question, Answer]] = field(factory=list)
    version: int = 0

    def run(self, memory: Memory) -> Record:
        time = self.world.now
        rest, crashed = None, False
        try:
            rest = self._drive(memory)
        except Crash:
            crashed = True
        return Record(
            time=time,
            state=self.world.state,
            decision=self.decision if rest is None else rest.decision,
            committed=self.committed,
            effects=tuple(self.effects),
            notices=tuple(self.notices),
            asked=tuple(self.asked),
            troubles=() if rest is None else rest.troubles,
            crashed=crashed,
            wake=None if rest is None else rest.wake,
        )

    def _drive(self, memory: Memory) -> Rest:
        turn = cycle(memory)
        request: Request = next(turn)
        while True:
            try:
                answer = self._answer(request)
            except WorldError as trouble:
                advance: Callable[[], Request] = _thrown(turn, trouble)
            else:
                advance = _sent(turn, answer)
            try:
                request = advance()
            except StopIteration as stop:
                rest = stop.value
                assert isinstance(rest, Rest)
                return rest

    def _answer(self, request: Request) -> object:
        match request:
            case Observe():
                return self._observe()
            case Fetch(questions):
                return {question.key: self._fetch(question) for question in questions}
            case Commit(status):
                self._write(status, self._commit)
                self.committed = status
            case Apply(effect):
                self._write(effect, self._apply)
                self.effects.append(effect)
            case Publish(notice):
                self._write(notice, lambda _: None)
                self.notices.append(notice)
        return None

    def _observe(self) -> Seen:
        world = self.world
        state, before = world.state, world._before or world.state
        world.state = _scaled(state.but(reads=state.reads + 1))
        world._before = world.state
        stale = [fault.kind for fault in state.faults if fault.meets(fault.kind, state.reads)]
        shown = observe(world.state)
        if FaultKind.STALE_WORLD in stale:
            old = observe(before.but(now=state.now))
            shown = evolve(shown, target=old.target, primary=old.primary, routes=old.routes)
        stored = before if FaultKind.STALE_STATUS in stale else world.state
        self.version = stored.version
        return Seen(stored.rollout, stored.status, shown)

    def _fetch(self, question: Question) -> Answer:
        world = self.world
        answer: Answer
        if isinstance(question, HookQuestion):
            self._write(question, lambda _: None)
            name = question.hook.name
            answers = dict(world.state.hooks).get(name) or (HookAnswer(passed=True),)
            answer = answers[min(world.state.turn(name), len(answers) - 1)]
            world.state = world.state.turned(name)
        elif isinstance(question, MetricQuestion):
            answer = self._measure(question)
        else:
            assert isinstance(question, SourcesQuestion)
            answer = SourcesAnswer(error=world.state.sources)
        self.asked.append((question, answer))
        return answer

    def _measure(self, question: MetricQuestion) -> Answer:
        state = self.world.state
        name = f"metric {question.check.name}"
        routes = state.routes
        asked = Asked(
            question=question,
            rollout=state.rollout,
            now=state.now,
            revision="" if state.target is None else state.target.revision,
            weight=0 if routes is None else routes.weight,
            routes=routes,
            turn=state.turn(name),
        )
        self.world.state = state.turned(name)
        return state.metrics(asked)

    def _commit(self, status: Status) -> None:
        state = self.world.state
        if state.version != self.version:
            raise Conflict(f"version {self.version} was read, the store holds {state.version}")
        self.version = state.version + 1
        self.world.state = state.but(status=status, version=self.version)

    def _apply(self, effect: Effect) -> None:
        self.world.state = _scaled(apply(self.world.state, effect))

    def _write(self, of: Status | Effect | Notice | HookQuestion, carry_out: Callable[..., None]) -> None:
        world = self.world
        number = world.state.writes
        kinds = [fault.kind for fault in world.state.faults if fault.meets(fault.kind, number)]
        write = Write(number, world.now, of)
        if FaultKind.CRASH_BEFORE in kinds:
            world.state = world.state.but(faults=tuple(f for f in world.state.faults if not f.meets(FaultKind.CRASH_BEFORE, number)))
            raise Crash
        world.state = world.state.but(writes=number + 1)
        if FaultKind.RIVAL in kinds:
            world.history.append(_Turn(world).run(Memory()))
        if FaultKind.CONFLICT in kinds and write.is_commit:
            world.state = world.state.but(version=world.state.version + 1)
            raise Conflict("somebody else wrote in between")
        if FaultKind.LOST in kinds:
            raise WorldError("timed out")
        carry_out(of)
        world.writes.append(write)
        if FaultKind.CRASH_AFTER in kinds:
            raise Crash
        if FaultKind.APPLIED in kinds:
            raise WorldError("timed out")


def _thrown(turn: object, trouble: WorldError) -> Callable[[], Request]:
    return lambda: turn.throw(trouble)  # type: ignore[attr-defined, no-any-return]


def _sent(turn: object, answer: object) -> Callable[[], Request]:
    return lambda: turn.send(answer)  # type: ignore[attr-defined, no-any-return]
