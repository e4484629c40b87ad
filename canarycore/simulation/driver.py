"""The simulated driver: it answers the requests of `canarycore.cycle`, injects faults, and records each cycle."""

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
"""`canarycore.cycle`, or another loop with the same protocol."""


class Platform:
    """The part of a simulated cluster that shows its state and carries out effects; a subclass may test a real part."""

    def look(self, state: State) -> State:
        """Return the state, with the parts that this platform holds itself."""
        return scaled(state)

    def apply(self, state: State, effect: Effect) -> State:
        """Return the state after an effect. Raise WorldError where the effect fails."""
        return scaled(apply(state, effect))

    def restart(self) -> None:
        """Drop the knowledge of the old process: a new one takes its place."""


class ProcessCrash(Exception):
    """A crash of the simulated process, raised by a fault."""


@record
class Write:
    """A write of the driver to the cluster."""

    number: int
    """Number of the write, to which faults refer."""
    time: float
    """Time of the write (seconds)."""
    of: Status | Effect | Notice | HookQuestion
    """The content: a status to commit, an effect, a notice, or the call of a hook."""

    @property
    def is_commit(self) -> bool:
        """Whether the write is a commit of the status."""
        return isinstance(self.of, Status)


@record(kw_only=True)
class WriteContext:
    """A write with its circumstances, which the invariants check."""

    before: State
    """The cluster before the write."""
    write: Write
    """The write."""
    after: State
    """The cluster after the write."""
    observation: Observation
    """The observation of this cycle."""
    stale: bool
    """Whether the observation or the status of this cycle was out of date."""
    decision: Decision
    """The decision of this cycle."""
    answers: tuple[tuple[Question, Answer], ...]
    """Questions since the last commit, with their answers."""


@record(kw_only=True)
class CycleRecord:
    """The record of one cycle."""

    time: float
    """Time of the cycle (seconds)."""
    state: State
    """The cluster after the cycle."""
    decision: Decision | None = None
    """The decision; None where the cycle ended before it, or in a conflict."""
    committed: Status | None = None
    """The committed status; None where the cycle committed nothing."""
    effects: tuple[Effect, ...] = ()
    """Effects carried out, in order."""
    notices: tuple[Notice, ...] = ()
    """Notices published, in order."""
    answers: tuple[tuple[Question, Answer], ...] = ()
    """Questions, hooks included, with their answers."""
    troubles: tuple[WorldError, ...] = ()
    """Errors of the cluster in this cycle."""
    crashed: bool = False
    """Whether the process crashed in this cycle."""
    blank: bool = False
    """Whether the process remembered nothing at the start of the cycle."""
    wake: float | None = None
    """Absolute time at which the driver wants the next cycle (seconds); None: it waits for an event."""

    @property
    def phase(self) -> Phase:
        """The phase after the cycle."""
        return self.state.status.phase

    @property
    def explanation(self) -> str:
        """The explanation of the decision as text; empty where there is no decision."""
        return "" if self.decision is None else str(self.decision.explanation)

    def __str__(self) -> str:
        parts = [f"t={self.time:g} {describe_state(self.phase.value, str(self.state.status.rung))}", self.explanation]
        parts += [f"did {effect}" for effect in self.effects]
        parts += [f"told {notice.text!r}" for notice in self.notices]
        parts += [f"trouble: {trouble}" for trouble in self.troubles]
        return " | ".join(part for part in [*parts, "crashed" * self.crashed] if part)


@define
class ClusterRun:
    """The present state of a cluster, and the history of the driver's cycles and writes."""

    state: State
    """The present state."""
    driver: Driver = cycle
    """The loop under test."""
    platform: Platform = field(factory=Platform)
    """The part that shows the state and carries out effects."""
    answers: dict[str, tuple[Question, Answer]] = field(factory=dict)
    """Questions since the last commit with their answers, by the key of the question."""
    before: State | None = None
    """The state of the previous observation."""
    history: list[CycleRecord] = field(factory=list)
    """Records of all cycles, in order."""
    writes: list[Write] = field(factory=list)
    """Writes carried out, in order."""
    watch: Callable[[WriteContext], None] | None = None
    """A function to call after each write."""


@define
class SimulatedCycle:
    """One cycle of the driver on a simulated cluster."""

    cluster: ClusterRun
    """The cluster."""
    memory: CycleMemory
    """The memory of the process."""
    observed: Observed | None = None
    """The driver's view of the cluster in this cycle."""
    version: int = 0
    """Version of the status in that view."""
    stale: bool = False
    """Whether that view is out of date."""
    decision: Decision | None = None
    """The decision, once the driver has made one."""
    committed: Status | None = None
    """The committed status."""
    effects: list[Effect] = field(factory=list)
    """Effects carried out so far."""
    notices: list[Notice] = field(factory=list)
    """Notices published so far."""
    answers: list[tuple[Question, Answer]] = field(factory=list)
    """Questions so far, with their answers."""

    def run(self) -> CycleRecord:
        """Run the cycle to its end, or to a crash, and return its record."""
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
            answers=tuple(self.answers),
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
                self.observed = self._observe()
                return self.observed
            case Fetch(questions):
                return {question.key: self._fetch(question) for question in questions}
            case Commit(status):
                self._note_decision()
                self._write(status, self._commit)
                self.committed = status
            case Apply(effect):
                self._note_decision()
                self._write(effect, self._apply)
                self.effects.append(effect)
            case Publish(notice):
                self._note_decision()
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

    def _note_decision(self) -> None:
        """Repeat the driver's decision from the same inputs, before the first write clears the answers."""
        if self.decision is None and self.observed is not None:
            answers = {question.key: answer for question, answer in self.cluster.answers.values()} | self.memory.answers
            outcome = decide_cycle(self.observed, self.memory.last_goal, answers)
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
        self.answers.append((question, answer))
        self.cluster.answers[question.key] = (question, answer)
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
        """Carry out one write, with the faults at its number."""
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
        if cluster.watch is not None and self.decision is not None and self.observed is not None:
            cluster.watch(
                WriteContext(
                    before=before,
                    write=write,
                    after=cluster.state,
                    observation=self.observed.observation,
                    stale=self.stale,
                    decision=self.decision,
                    answers=tuple(cluster.answers.values()),
                )
            )
        if write.is_commit:
            cluster.answers.clear()
        if FaultKind.CRASH_AFTER in kinds:
            raise ProcessCrash
        if FaultKind.APPLIED in kinds:
            raise WorldError("timed out")


def measure(state: State, question: MetricQuestion) -> MetricAnswer:
    """Return the answer of the metrics in this state, without a change of the state."""
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
    """Do nothing: a notice or a call leaves no trace in the cluster."""
    del of
