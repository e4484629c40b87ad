"""What can happen next, from every spot in the life of a rollout.

A **spot** is the world, the controller's point in its cycle (or its rest between two), and two marks: whether the world
moved under a cycle after it was observed (`moved`), and whether somebody else committed since (`overtaken`). What can
happen at one, a `Move` each, does not depend on how many faults are left or what happened before.

Others act between any two steps of the controller that touch the same things: before an observation, a commit and an
effect. Before a question or a notice they need not be tried: these change nothing that others see, so the same comes of
acting after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from canarycore._record import record
from canarycore._spec import HookType, Rollout, TargetRef
from canarycore.driver import Apply, Commit, Fetch, Publish
from canarycore.errors import Conflict, WorldError
from canarycore.phases import WAITS, Rule
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion, SourcesAnswer, SourcesQuestion
from canarycore.simulation.actions import act
from canarycore.simulation.driver import CycleRecord, Driver, Write, WriteContext
from canarycore.simulation.invariants import EACH_COMMIT, EACH_EFFECT
from canarycore.simulation.metrics import MetricRequest as Circumstances
from canarycore.simulation.metrics import healthy, sick
from canarycore.simulation.state import apply, next_change, scaled
from canarycore.verification._fingerprints import Fingerprint, InternTable
from canarycore.verification._memory import ProcessMemory, QuestionsAndAnswers
from canarycore.verification._process import CyclePoint, after, begin
from canarycore.verification._steps import (
    ActorAction,
    Answers,
    AnswersWithoutNumber,
    ClockJump,
    CommitConflict,
    Crash,
    Excuse,
    ExtraCycle,
    LateTimer,
    Proceed,
    RivalCycle,
    StaleObservation,
    StaleStatus,
    Step,
    Takeover,
    WriteTimeout,
)
from canarycore.verification._time import JUMP, RestState, rebased, recent

if TYPE_CHECKING:
    from canarycore.questions import Answer, Question
    from canarycore.simulation.state import State
    from canarycore.verification._situations import Trial

RETRY = 1.0
"""Seconds that the driver waits after trouble other than a conflict."""


_GO = Proceed()

_POLLED = "#"
"""In the key of a notice that is told at a poll, and that no status owes."""


@frozen
class BrokenInvariant:
    """An invariant that a write broke."""

    name: str
    text: str
    found: str


@define(eq=False)
class Node:
    """Somewhere in the life of a rollout. `mark` tells it from all others. `point` is None between two cycles.

    told: keys of notices that were published, as far as the status owes them or the process remembers them. wake: when
    the process looks again. stale: what the next observation shows instead of the present, the workloads and routes
    (`blind`) or the status. rule: why the last cycle waits, if it does.
    """

    mark: Fingerprint
    state: State
    told: frozenset[str]
    point: CyclePoint | None = None
    wake: float = inf
    stale: State | None = None
    blind: bool = False
    remembered: ProcessMemory = ProcessMemory()
    rule: Rule | None = None
    moved: bool = False
    overtaken: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.mark == other.mark

    def __hash__(self) -> int:
        return self.mark


@record
class Move:
    """A step from one spot to another, and what it broke."""

    step: Step
    to: Node
    found: BrokenInvariant | None = None

    @property
    def excuse(self) -> int:
        return self.step.excuse._value_  # flags join slowly, numbers fast


@define
class TrialModel:
    """The spots of one trial. `driver`: the loop under test."""

    trial: Trial
    driver: Driver
    _ones: InternTable = field(factory=InternTable)
    _points: dict[Fingerprint, CyclePoint] = field(factory=dict)

    def starts(self) -> list[Node]:
        return [self._rest(state, frozenset(), state.now, ProcessMemory()) for state in self.trial.starts]

    def free(self, spot: Node) -> tuple[Move, ...]:
        """What can happen without a fault; first what is to happen. Nothing if it rests for good."""
        return tuple(self._resume(spot) if spot.point is None else self._respond(spot, spot.point))

    def faults(self, spot: Node) -> Iterator[Move]:
        """What can go wrong here."""
        found = self._faults_at_rest(spot) if spot.point is None else self._faults_at(spot, spot.point)
        return (move for move in found if move.to.mark != spot.mark)

    # between two cycles -----------------------------------------------------------------------------------------

    def due(self, spot: Node) -> float:
        """When a cycle begins that nobody asks for: the process's own time, or a change that it is told of."""
        return max(spot.state.now, min(spot.wake, next_change(spot.state)))

    def _resume(self, spot: Node) -> Iterator[Move]:
        due = self.due(spot)
        if due < inf:
            yield Move(_GO, self._look(spot, due))

    def _look(self, spot: Node, moment: float) -> Node:
        state = self._ones.state(scaled(spot.state.but(now=self._ones.one(moment))))
        point = self._begin(state, spot.stale, spot.blind, recent(spot.remembered, state))
        return self._mid(state, spot.told, point, overtaken=point.stale and point.seen.status != state.status)

    def _begin(self, state: State, stale: State | None, blind: bool, remembered: ProcessMemory) -> CyclePoint:
        """The same cycle begins at many spots that are close together."""
        ones = self._ones
        mark = hash((ones.mark(state), stale and ones.mark(stale), blind, id(ones.memory(remembered))))
        point = self._points.get(mark)
        if point is None:
            if len(self._points) == _MOST_POINTS:
                self._points.clear()
            point = self._points[mark] = begin(self.driver, mark, state, stale, blind, remembered)
        return point

    def _faults_at_rest(self, spot: Node) -> Iterator[Move]:
        state, due, interval = spot.state, self.due(spot), spot.state.rollout.interval
        yield Move(Crash(), self._crashed(state, spot.told))
        if due > state.now:
            yield Move(ExtraCycle(), self._look(spot, state.now))
        if due < inf:
            for intervals in (1, 3):
                late = LateTimer(intervals * interval)
                yield Move(late, self._look(spot, due + late.seconds))
        for sign in (1, -1):
            jump = ClockJump(sign * JUMP * interval)
            yield Move(jump, self._jumped(spot, jump.seconds))
        for action in self.trial.actions:
            changed = self._acted(state, action)
            if changed is not None:
                to = self._rest(
                    changed, spot.told, changed.now, spot.remembered, spot.rule, stale=spot.stale, blind=spot.blind
                )
                yield Move(action, to)

    def _jumped(self, spot: Node, seconds: float) -> Node:
        """The clock is set; pods get ready as before, and the process sleeps for as long as before."""
        moved, status = spot.state.shifted(seconds), spot.state.status
        return self._rest(moved.but(status=status), spot.told, spot.wake + seconds, spot.remembered, spot.rule)

    def _acted(self, state: State, action: ActorAction) -> State | None:
        changed = self._ones.state(scaled(act(state, action.action)))
        return None if self._ones.alike(changed, state) else changed

    # within a cycle ---------------------------------------------------------------------------------------------

    def _respond(self, spot: Node, point: CyclePoint) -> Iterator[Move]:
        request = point.request
        if isinstance(request, Fetch):
            passing, *others = _answers(request.questions)
            yield Move(_GO, self._on(spot, point, passing))
            for answers in others:
                yield Move(Answers(_only(answers), _excuse(answers)), self._on(spot, point, answers))
        elif isinstance(request, Commit) and spot.overtaken:
            yield Move(_GO, self._on(spot, point, Conflict("overtaken")))
        else:
            yield self._write(spot, point, _GO)

    def _write(self, spot: Node, point: CyclePoint, step: Step, response: WorldError | None = None) -> Move:
        """A write that is carried out, and what it broke."""
        state, told, refused = self._carried_out(spot.state, spot.told, point)
        found = _broken(spot, point, state) if refused is None else None
        return Move(step, self._on(spot, point, response or refused, state, told), found)

    def _carried_out(
        self, state: State, told: frozenset[str], point: CyclePoint
    ) -> tuple[State, frozenset[str], WorldError | None]:
        request = point.request
        if isinstance(request, Publish):
            key = request.notice.key
            return state, told if _POLLED in key else told | {key}, None
        if isinstance(request, Commit):
            return state.but(status=self._ones.one(request.status)), told, None
        assert isinstance(request, Apply)
        try:
            return self._ones.state(scaled(apply(state, request.effect))), told, None
        except WorldError as refused:
            return state, told, refused

    def _on(
        self,
        spot: Node,
        point: CyclePoint,
        response: object,
        state: State | None = None,
        told: frozenset[str] | None = None,
    ) -> Node:
        """On to the next point of the cycle, or to rest after it."""
        state, told = spot.state if state is None else state, spot.told if told is None else told
        following = after(self.driver, self._ones, point, response)
        if following.request is not None:
            return self._mid(state, told, following, moved=spot.moved, overtaken=spot.overtaken)
        return self._ended(state, told, following, moved=spot.moved)

    def _ended(
        self,
        state: State,
        told: frozenset[str],
        point: CyclePoint,
        *,
        moved: bool,
        stale: State | None = None,
        blind: bool = False,
    ) -> Node:
        rest = point.rest
        assert rest is not None
        rule = point.decision.explanation.rule if rest.decision is None else rest.decision.explanation.rule
        wake = state.now if moved or point.stale else _wake(point, state.now)  # a change is told of
        return self._rest(state, told, wake, point.remembered, rule, stale=stale, blind=blind)

    def _faults_at(self, spot: Node, point: CyclePoint) -> Iterator[Move]:
        request, state = point.request, spot.state
        yield Move(Crash(), self._crashed(state, spot.told))
        if isinstance(request, Commit):
            yield Move(CommitConflict(), self._on(spot, point, Conflict("somebody else was first")))
        if isinstance(request, Fetch):
            for answers in _unmeasured(request.questions):
                yield Move(AnswersWithoutNumber(_only(answers)), self._on(spot, point, answers))
        else:
            timeout = WorldError("timed out")
            yield Move(WriteTimeout(applied=False), self._on(spot, point, timeout))
            if not (isinstance(request, Commit) and spot.overtaken):
                yield self._write(spot, point, WriteTimeout(applied=True), timeout)
        yield from self._stale(spot, point)
        if not isinstance(request, Commit | Apply):
            return
        for action in self.trial.actions:
            changed = self._acted(state, action)
            if changed is not None:
                overtaken = spot.overtaken or changed.status is not state.status
                yield Move(action, self._mid(changed, spot.told, point, moved=True, overtaken=overtaken))
        for rival in (RivalCycle(), Takeover(state.rollout.interval)):
            changed, told = self._led_by_another(state, spot.told, getattr(rival, "seconds", None))
            if told != spot.told or not self._ones.alike(changed, state):
                overtaken = spot.overtaken or changed.status is not state.status
                yield Move(rival, self._mid(changed, told, point, moved=True, overtaken=overtaken))

    def _stale(self, spot: Node, point: CyclePoint) -> Iterator[Move]:
        """Where the cycle ends next: the observation after it shows the world, or the status, before it."""
        state, told, response = self._answered(spot.state, spot.told, point)
        if isinstance(point.request, Commit) and spot.overtaken:
            state, told, response = spot.state, spot.told, Conflict("overtaken")
        following, old = after(self.driver, self._ones, point, response), point.state
        if following.request is not None:
            return
        if (state.target, state.primary, state.routes) != (old.target, old.primary, old.routes):
            yield Move(StaleObservation(), self._ended(state, told, following, moved=spot.moved, stale=old, blind=True))
        if state.status is not old.status:
            yield Move(StaleStatus(), self._ended(state, told, following, moved=spot.moved, stale=old))

    def _answered(self, state: State, told: frozenset[str], point: CyclePoint) -> tuple[State, frozenset[str], object]:
        """What becomes of a request when all is well."""
        if isinstance(point.request, Fetch):
            return state, told, _answers(point.request.questions)[0]
        return self._carried_out(state, told, point)

    def _crashed(self, state: State, told: frozenset[str]) -> Node:
        return self._rest(state, told, state.now, ProcessMemory())

    def _led_by_another(
        self, state: State, told: frozenset[str], seconds: float | None
    ) -> tuple[State, frozenset[str]]:
        """Another process runs one cycle, or all that are due in so many seconds."""
        end, remembered = state.now + (seconds or 0.0), ProcessMemory()
        while True:
            point = self._begin(state, None, blind=False, remembered=remembered)
            while point.request is not None:
                state, told, response = self._answered(state, told, point)
                point = after(self.driver, self._ones, point, response)
            wake = max(state.now, min(_wake(point, state.now), next_change(state)))
            if seconds is None or wake > end:
                return self._ones.state(scaled(state.but(now=end))), told
            state, remembered = self._ones.state(scaled(state.but(now=wake))), point.remembered

    # spots ------------------------------------------------------------------------------------------------------

    def _mid(
        self, state: State, told: frozenset[str], point: CyclePoint, *, moved: bool = False, overtaken: bool = False
    ) -> Node:
        if point.request is None:
            return self._ended(state, told, point, moved=moved)
        ones = self._ones
        told = ones.one(told)
        mark = hash((ones.mark(state), id(told), point.mark, moved, overtaken))
        return Node(mark, state, told, point, moved=moved, overtaken=overtaken)

    def _rest(
        self,
        state: State,
        told: frozenset[str],
        wake: float,
        remembered: ProcessMemory,
        rule: Rule | None = None,
        *,
        stale: State | None = None,
        blind: bool = False,
    ) -> Node:
        ones, rule = self._ones, rule if rule in WAITS else None
        told &= {notice.key for notice in state.status.outbox}.union(remembered.published)
        resting = rebased(RestState(ones.state(state), told, wake, stale, remembered), ones)
        state, memory = ones.state(resting.state), ones.memory(resting.remembered)
        stale = resting.stale and ones.state(resting.stale)
        told, wake = ones.one(resting.told), ones.one(resting.wake)
        mark = hash((ones.mark(state), id(told), id(wake), stale and ones.mark(stale), blind, id(memory), id(rule)))
        return Node(mark, state, told, None, wake, stale, blind, memory, rule)


_MOST_POINTS = 4096
"""Cycles that are kept under way."""


# -------------------------------------------------------------------------------------------------------- helpers


def _wake(point: CyclePoint, now: float) -> float:
    rest = point.rest
    assert rest is not None
    if any(isinstance(trouble, Conflict) for trouble in rest.errors):
        return now
    if rest.errors:
        return now + RETRY
    return inf if rest.wake is None else rest.wake


def _broken(spot: Node, point: CyclePoint, after_it: State) -> BrokenInvariant | None:
    """The first invariant that this write breaks."""
    request = point.request
    if isinstance(request, Publish):
        return None
    is_commit = isinstance(request, Commit)
    of = request.status if is_commit else request.effect  # type: ignore[union-attr]
    decision = point.decision
    if decision.explanation.rule in _NOTHING_TO_DO:
        return BrokenInvariant("I12", "an idle cycle does nothing", f"{of} in a cycle with nothing to do")
    moment = WriteContext(
        before=_under(point.seen.rollout, spot.state),
        write=Write(0, spot.state.now, of),
        after=_under(point.seen.rollout, after_it),
        observation=point.seen.observation,
        stale=spot.moved or point.stale,
        decision=decision,
        answers=point.asked,
    )
    told = tuple([notice for notice in spot.state.status.outbox if notice.key in spot.told])
    history = [CycleRecord(time=spot.state.now, state=spot.state, notices=told)] if told else []
    for invariant in EACH_COMMIT if is_commit else EACH_EFFECT:
        found = invariant.broken(moment, history)
        if found is not None:
            return BrokenInvariant(invariant.name, invariant.text, found)
    return None


_NOTHING_TO_DO = frozenset({Rule.IDLE, Rule.GONE})


def _under(rollout: Rollout, state: State) -> State:
    """With the rollout that the write was decided under: its owner may have edited it since."""
    return state if state.rollout is rollout else state.but(rollout=rollout)


def _answers(questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
    """What the providers may answer: first that all is well, then each way in which it is not.

    One answer at a time is changed: the first that does not pass decides.
    """
    good = _good_ones(questions)
    return [good, *[_with(good, number, bad) for number, ask in enumerate(questions) for bad in _bad(ask)]]


def _unmeasured(questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
    """Ways in which there is no number to judge: tried for the first metric, as they are alike for all."""
    if not isinstance(questions[0], MetricQuestion):
        return []
    value = healthy(_circumstances(questions[0])).value
    return [_with(_good_ones(questions), 0, answer) for answer in (*_NO_NUMBER, MetricAnswer(value=value, samples=0))]


_NO_NUMBER = (MetricAnswer(), MetricAnswer(value=nan), MetricAnswer(value=inf), MetricAnswer(error="timed out"))
"""One object each: an answer of NaN is equal to nothing but itself."""


def _good_ones(questions: tuple[Question, ...]) -> QuestionsAndAnswers:
    return tuple([(question, _good(question)) for question in questions])


def _with(asked: QuestionsAndAnswers, number: int, answer: Answer) -> QuestionsAndAnswers:
    return (*asked[:number], (asked[number][0], answer), *asked[number + 1 :])


def _only(asked: QuestionsAndAnswers) -> tuple[Answer, ...]:
    return tuple([answer for _, answer in asked])


_HARMLESS = frozenset(
    {HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION, HookType.POST_ROLLOUT}
)


def _excuse(answers: QuestionsAndAnswers) -> Excuse:
    """A gate that is closed holds a rollout up and changes nothing about its end."""
    question = answers[0][0]
    harmless = isinstance(question, HookQuestion) and question.hook.type in _HARMLESS
    return Excuse.NONE if harmless or isinstance(question, SourcesQuestion) else Excuse.FAIL


def _good(question: Question) -> Answer:
    if isinstance(question, HookQuestion):
        return HookAnswer(passed=question.hook.type is not HookType.ROLLBACK)
    if isinstance(question, MetricQuestion):
        return healthy(_circumstances(question))
    return SourcesAnswer()


def _bad(question: Question) -> Iterator[Answer]:
    if isinstance(question, HookQuestion):
        yield HookAnswer(passed=question.hook.type is HookType.ROLLBACK, text="timed out")
    elif isinstance(question, SourcesQuestion):
        yield SourcesAnswer(error="offline")
    elif question.check.minimum is not None or question.check.maximum is not None:
        yield sick(_circumstances(question))


def _circumstances(question: MetricQuestion) -> Circumstances:
    return Circumstances(question=question, rollout=_NOBODYS, now=0.0, revision="", routes=None, turn=0)


_NOBODYS = Rollout(name="", target=TargetRef(name=""))
