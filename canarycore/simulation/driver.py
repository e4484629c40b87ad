"""One cycle of the simulated driver: it answers the requests of `canarycore.cycle`, meets faults, and takes notes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from canarycore._decision import Decision
from canarycore._observation import Observation
from canarycore._record import record
from canarycore._status import Status
from canarycore.driver import (
    Apply,
    Commit,
    CycleMemory,
    CycleResult,
    Fetch,
    Observe,
    Observed,
    Publish,
    Request,
    cycle,
    decide_cycle,
)
from canarycore.effects import Effect
from canarycore.errors import Conflict, WorldError
from canarycore.notices import Notice
from canarycore.questions import (
    Answer,
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    Question,
    SourcesAnswer,
    SourcesQuestion,
)
from canarycore.simulation.metrics import MetricRequest
from canarycore.simulation.state import FaultKind, State, apply, observe, scaled
from canarycore.text import describe_state

if TYPE_CHECKING:
    from canarycore.phases import Phase


Driver = Callable[[CycleMemory], Generator[Request, object, CycleResult]]
"""`canarycore.cycle`, or a loop that stands in for it."""


class Platform:
    """What shows the world and carries effects out. One of your own may use a part that is under test for it."""

    def look(self, state: State) -> State:
        """The state, with what this platform knows better than it."""
        return scaled(state)

    def apply(self, state: State, effect: Effect) -> State:
        """What an effect makes of the state. Raises WorldError."""
        return scaled(apply(state, effect))

    def restart(self) -> None:
        """The process is another one from now on: what only the old one knew is lost."""


class ProcessCrash(Exception):
    """The simulated process died, as a fault asked for."""


@record
class Write:
    """Something that the driver did to the world. `number` is what faults go by. `of` says what it was."""

    number: int
    time: float
    of: Status | Effect | Notice | HookQuestion

    @property
    def is_commit(self) -> bool:
        return isinstance(self.of, Status)


@record(kw_only=True)
class WriteContext:
    """A write that just happened, in its circumstances: what the invariants are about.

    seen: the observation that this cycle rests on. stale: it, or the status, was not up to date. decision: the one that
    led here. asked: what was asked since the last commit, with the answers.
    """

    before: State
    write: Write
    after: State
    observation: Observation
    stale: bool
    decision: Decision
    answers: tuple[tuple[Question, Answer], ...]


@record(kw_only=True)
class CycleRecord:
    """One cycle. `time`: seconds. `decision`: None when the cycle ended before it was made, or in a conflict.

    committed: the status that was written, if one was. effects, notices: carried out and published, in order. asked:
    questions and their answers, hooks included. troubles: what went wrong. crashed: the process died in this cycle.
    blank: it remembered nothing when the cycle began. wake: when it wanted to look again (seconds). state: the cluster
    after it.
    """

    time: float
    state: State
    decision: Decision | None = None
    committed: Status | None = None
    effects: tuple[Effect, ...] = ()
    notices: tuple[Notice, ...] = ()
    answers: tuple[tuple[Question, Answer], ...] = ()
    troubles: tuple[WorldError, ...] = ()
    crashed: bool = False
    blank: bool = False
    wake: float | None = None

    @property
    def phase(self) -> Phase:
        return self.state.status.phase

    @property
    def explanation(self) -> str:
        return "" if self.decision is None else str(self.decision.explanation)

    def __str__(self) -> str:
        parts = [f"t={self.time:g} {describe_state(self.phase.value, str(self.state.status.rung))}", self.explanation]
        parts += [f"did {effect}" for effect in self.effects]
        parts += [f"told {notice.text!r}" for notice in self.notices]
        parts += [f"trouble: {trouble}" for trouble in self.troubles]
        return " | ".join(part for part in [*parts, "crashed" * self.crashed] if part)


@define
class ClusterRun:
    """A state that changes, and what the driver has done to it.

    driver: its loop. platform: who carries effects out. asked: since the last commit, by question key.
    """

    state: State
    driver: Driver = cycle
    platform: Platform = field(factory=Platform)
    asked: dict[str, tuple[Question, Answer]] = field(factory=dict)
    before: State | None = None
    history: list[CycleRecord] = field(factory=list)
    writes: list[Write] = field(factory=list)
    watch: Callable[[WriteContext], None] | None = None


@define
class SimulatedCycle:
    """One cycle under way."""

    cluster: ClusterRun
    memory: CycleMemory
    seen: Observed | None = None
    version: int = 0
    stale: bool = False
    decision: Decision | None = None
    committed: Status | None = None
    effects: list[Effect] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    asked: list[tuple[Question, Answer]] = field(factory=list)

    def run(self) -> CycleRecord:
        """The cycle, to its end or to a crash."""
        time, blank = self.cluster.state.now, self.memory == CycleMemory()
        rest = CycleResult(None, None)
        crashed = False
        try:
            rest = self._drive()
        except ProcessCrash:
            crashed = True
        return CycleRecord(
            time=time,
            state=self.cluster.state,
            decision=self.decision if crashed else rest.decision,
            committed=self.committed,
            effects=tuple(self.effects),
            notices=tuple(self.notices),
            answers=tuple(self.asked),
            troubles=rest.errors,
            crashed=crashed,
            blank=blank,
            wake=rest.wake,
        )

    def _drive(self) -> CycleResult:
        turn = self.cluster.driver(self.memory)
        request = next(turn)
        while True:
            try:
                try:
                    answer = self._answer(request)
                except WorldError as trouble:
                    request = turn.throw(trouble)
                else:
                    request = turn.send(answer)
            except StopIteration as stop:
                rest: CycleResult = stop.value
                return rest

    def _answer(self, request: Request) -> object:
        match request:
            case Observe():
                self.seen = self._observe()
                return self.seen
            case Fetch(questions):
                return {question.key: self._fetch(question) for question in questions}
            case Commit(status):
                self._decided()
                self._write(status, self._commit)
                self.committed = status
            case Apply(effect):
                self._decided()
                self._write(effect, self._apply)
                self.effects.append(effect)
            case Publish(notice):
                self._decided()
                self._write(notice, _nothing)
                self.notices.append(notice)
        return None

    def _observe(self) -> Observed:
        cluster = self.cluster
        state = cluster.platform.look(cluster.state)
        before = cluster.before or state
        cluster.before = cluster.state = state.but(reads=state.reads + 1)
        kinds = {fault.kind for fault in state.faults if fault.meets(fault.kind, state.reads)}
        shown = observe(state)
        if FaultKind.STALE_OBSERVATION in kinds:
            old = observe(before.but(now=max(before.now, state.now)))
            shown = evolve(shown, target=old.target, primary=old.primary, routes=old.routes)
        stored = before if FaultKind.STALE_STATUS in kinds else state
        self.stale = bool(kinds)
        self.version = stored.version
        return Observed(stored.rollout, stored.status, shown)

    def _decided(self) -> None:
        """What was decided, found again from the same inputs before the first write clears the answers."""
        if self.decision is None and self.seen is not None:
            answers = {question.key: answer for question, answer in self.cluster.asked.values()} | self.memory.answers
            outcome = decide_cycle(self.seen, self.memory.last_goal, answers)
            assert isinstance(outcome, Decision), f"it writes before it has the answers to {outcome.questions}"
            self.decision = outcome

    def _fetch(self, question: Question) -> Answer:
        answer: Answer
        if isinstance(question, HookQuestion):
            answer = self._call(question)
        elif isinstance(question, MetricQuestion):
            answer = self._measure(question)
        else:
            assert isinstance(question, SourcesQuestion)
            answer = SourcesAnswer(error=self.cluster.state.sources)
        self.asked.append((question, answer))
        self.cluster.asked[question.key] = (question, answer)
        return answer

    def _call(self, question: HookQuestion) -> HookAnswer:
        name = question.hook.name
        try:
            self._write(question, _nothing)
        except WorldError as trouble:
            return HookAnswer(passed=False, text=str(trouble))
        state = self.cluster.state
        self.cluster.state = state.turned(name, question.key)
        answers = dict(state.hooks).get(name) or (HookAnswer(passed=True),)
        return answers[min(state.turn(name, question.key), len(answers) - 1)]

    def _measure(self, question: MetricQuestion) -> Answer:
        state = self.cluster.state
        self.cluster.state = state.turned(f"metric {question.check.name}", question.key)
        return measure(state, question)

    def _commit(self, status: Status) -> None:
        state = self.cluster.state
        if state.version != self.version:
            raise Conflict(f"version {self.version} was read, the store holds {state.version}: observe again")
        self.version = state.version + 1
        self.cluster.state = state.but(status=status, version=self.version)

    def _apply(self, effect: Effect) -> None:
        self.cluster.state = self.cluster.platform.apply(self.cluster.state, effect)

    def _write(self, of: Status | Effect | Notice | HookQuestion, carry_out: Callable[..., None]) -> None:
        """One write, with the faults that meet it."""
        cluster = self.cluster
        write = Write(cluster.state.writes, cluster.state.now, of)
        kinds = {fault.kind for fault in cluster.state.faults if fault.meets(fault.kind, write.number)}
        cluster.state = cluster.state.but(writes=write.number + 1)
        if FaultKind.CRASH_BEFORE in kinds:
            raise ProcessCrash
        if FaultKind.RIVAL in kinds:
            cluster.history.append(SimulatedCycle(cluster, CycleMemory()).run())
            self.stale = True
        if FaultKind.CONFLICT in kinds and write.is_commit:
            cluster.state = cluster.state.but(version=cluster.state.version + 1)
        if FaultKind.LOST in kinds:
            raise WorldError("timed out")
        before = cluster.state
        carry_out(of)
        cluster.writes.append(write)
        if cluster.watch is not None and self.decision is not None and self.seen is not None:
            cluster.watch(
                WriteContext(
                    before=before,
                    write=write,
                    after=cluster.state,
                    observation=self.seen.observation,
                    stale=self.stale,
                    decision=self.decision,
                    answers=tuple(cluster.asked.values()),
                )
            )
        if write.is_commit:
            cluster.asked.clear()
        if FaultKind.CRASH_AFTER in kinds:
            raise ProcessCrash
        if FaultKind.APPLIED in kinds:
            raise WorldError("timed out")


def measure(state: State, question: MetricQuestion) -> MetricAnswer:
    """What the source of metrics answers in this state, which it leaves as it is."""
    return state.metrics(
        MetricRequest(
            question=question,
            rollout=state.rollout,
            now=state.now,
            revision="" if state.target is None else state.target.revision,
            routes=state.routes,
            turn=state.turn(f"metric {question.check.name}", question.key),
        )
    )


def _nothing(of: object) -> None:
    """A notice or a call leaves no trace in the cluster."""
    del of
