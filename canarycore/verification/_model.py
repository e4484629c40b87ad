"""The model of a trial: nodes, and the steps from each of them.

A **node** is the cluster, the controller's point in its cycle (or its rest between two), and two flags: whether the
cluster changed since the observation of the cycle (`moved`), and whether another process committed since then
(`overtaken`). The steps from a node, a `Move` each, depend neither on the number of faults left nor on the past.

Others act before an observation, a commit and an effect. The model tries no action before a question or a notice: these
change nothing that others see, so an action after them leads to the same nodes.

`PromiseModel` also checks promises. Its nodes carry the time and the requests of the rollout (`RolloutTally`).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from canarycore._record import record
from canarycore._spec import HookType, Rollout, TargetRef
from canarycore._verdicts import Verdict, judge
from canarycore.driver import Apply, Commit, Fetch, Publish
from canarycore.errors import Conflict, WorldError
from canarycore.phases import WAITS, Rule
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion, SourcesAnswer, SourcesQuestion
from canarycore.simulation.actions import act
from canarycore.simulation.driver import CycleRecord, Driver, Write, WriteContext
from canarycore.simulation.invariants import EACH_COMMIT, EACH_EFFECT
from canarycore.simulation.metrics import MetricRequest, healthy, scenario_value, sick
from canarycore.simulation.promises import Promise, RolloutTally, find_broken
from canarycore.simulation.state import apply, approved, next_change, scaled
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
    from canarycore.policy._scenario import Scenario
    from canarycore.questions import Answer, Question
    from canarycore.simulation.state import State
    from canarycore.verification._situations import Trial

RETRY = 1.0
"""Seconds that the driver waits after an error other than a conflict."""


_GO = Proceed()

_POLLED = "#"
"""Mark in the key of a notice that a poll publishes, and that is never in an outbox."""


@frozen
class BrokenInvariant:
    """An invariant that a write or an end breaks."""

    name: str
    """I1 to I19, "table" or "promise"."""
    text: str
    """The invariant or the promise as a sentence."""
    found: str
    """The way in which it is broken."""


@define(eq=False)
class Node:
    """A node: the cluster and the process at one step of a schedule."""

    fingerprint: Fingerprint
    """The fingerprint of the node."""
    state: State
    """The cluster."""
    published: frozenset[str]
    """Keys of published notices that the status or the process still refers to."""
    point: CyclePoint | None = None
    """The point of the cycle; None between two cycles."""
    wake: float = inf
    """Absolute time of the next cycle (seconds)."""
    stale: State | None = None
    """An old state that the next observation shows in part; None: the observation is up to date."""
    blind: bool = False
    """Whether the next observation shows the old workloads and routes, not the old status."""
    memory: ProcessMemory = ProcessMemory()
    """The memory of the process."""
    rule: Rule | None = None
    """The rule by which the last cycle waits, if it does."""
    moved: bool = False
    """Whether the cluster changed since the observation of this cycle."""
    overtaken: bool = False
    """Whether another process committed since the observation of this cycle."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return self.fingerprint


@record
class Move:
    """A step from one node to another."""

    step: Step
    """The step."""
    to: Node
    """The node after the step."""
    found: BrokenInvariant | None = None
    """The invariant that the step breaks."""

    @property
    def excuse(self) -> int:
        """The value of the step's excuse: numbers combine faster than flags."""
        return self.step.excuse._value_


@define
class TrialModel:
    """The nodes of one trial, and the moves between them."""

    trial: Trial
    """The trial."""
    driver: Driver
    """The loop under test."""
    without: frozenset[type] = field(default=frozenset(), kw_only=True)
    """Types of steps and of actions to leave out."""
    actions: tuple[ActorAction, ...] = field(init=False)
    """Actions of others, without those to leave out."""
    _table: InternTable = field(factory=InternTable, init=False)
    _points: dict[Fingerprint, CyclePoint] = field(factory=dict, init=False)

    @actions.default
    def _select_actions(self) -> tuple[ActorAction, ...]:
        if ActorAction in self.without:
            return ()
        return tuple(step for step in self.trial.actions if type(step.action) not in self.without)

    def starts(self) -> list[Node]:
        """Return the first nodes."""
        return [self._rest(state, frozenset(), state.now, ProcessMemory()) for state in self.trial.starts]

    def free(self, node: Node) -> tuple[Move, ...]:
        """Return the moves without a fault, success first; none where the rollout rests for good."""
        return tuple(self._resume(node) if node.point is None else self._respond(node, node.point))

    def faults(self, node: Node) -> Iterator[Move]:
        """Return the moves by a fault."""
        moves = self._faults_at_rest(node) if node.point is None else self._faults_at(node, node.point)
        if self.without:
            moves = (move for move in moves if type(move.step) not in self.without)
        return (move for move in moves if move.to.fingerprint != node.fingerprint)

    # between two cycles -----------------------------------------------------------------------------------------

    def due(self, node: Node) -> float:
        """Return the time of the next cycle: the process's own timer, or a change that triggers an event."""
        return max(node.state.now, min(node.wake, next_change(node.state)))

    def _resume(self, node: Node) -> Iterator[Move]:
        due = self.due(node)
        if due < inf:
            yield Move(_GO, self._look(node, due))

    def _look(self, node: Node, context: float) -> Node:
        state = self._table.intern_state(scaled(node.state.but(now=self._table.intern(context))))
        point = self._begin(state, node.stale, node.blind, recent(node.memory, state))
        return self._in_cycle(
            state, node.published, point, overtaken=point.stale and point.observed.status != state.status
        )

    def _begin(self, state: State, stale: State | None, blind: bool, memory: ProcessMemory) -> CyclePoint:
        """Return the first point of a cycle, which many neighbouring nodes share."""
        table = self._table
        fingerprint = hash(
            (table.fingerprint(state), stale and table.fingerprint(stale), blind, id(table.intern_memory(memory)))
        )
        point = self._points.get(fingerprint)
        if point is None:
            if len(self._points) == _MOST_POINTS:
                self._points.clear()
            point = self._points[fingerprint] = begin(self.driver, fingerprint, state, stale, blind, memory)
        return point

    def _faults_at_rest(self, node: Node) -> Iterator[Move]:
        state, due, interval = node.state, self.due(node), node.state.rollout.interval
        yield Move(Crash(), self._crashed(state, node.published))
        if due > state.now:
            yield Move(ExtraCycle(), self._look(node, state.now))
        if due < inf:
            for intervals in (1, 3):
                late = LateTimer(intervals * interval)
                yield Move(late, self._look(node, due + late.seconds))
        for sign in (1, -1):
            jump = ClockJump(sign * JUMP * interval)
            yield Move(jump, self._jumped(node, jump.seconds))
        for action in self.actions:
            changed = self._changed(state, action)
            if changed is not None:
                to = self._rest(
                    changed, node.published, changed.now, node.memory, node.rule, stale=node.stale, blind=node.blind
                )
                yield Move(action, to)

    def _jumped(self, node: Node, seconds: float) -> Node:
        """Set the clock; pods take as long to get ready, and the process sleeps for as long, as before."""
        moved, status = node.state.shifted(seconds), node.state.status
        return self._rest(moved.but(status=status), node.published, node.wake + seconds, node.memory, node.rule)

    def _changed(self, state: State, action: ActorAction) -> State | None:
        changed = self._table.intern_state(scaled(act(state, action.action)))
        return None if self._table.is_same(changed, state) else changed

    # within a cycle ---------------------------------------------------------------------------------------------

    def _respond(self, node: Node, point: CyclePoint) -> Iterator[Move]:
        request = point.request
        if isinstance(request, Fetch):
            passing, *others = self._answers(request.questions)
            yield Move(self._first_step(passing), self._respond_with(node, point, passing))
            for answers in others:
                yield Move(Answers(_only(answers), _excuse(answers)), self._respond_with(node, point, answers))
        elif isinstance(request, Commit) and node.overtaken:
            yield Move(_GO, self._respond_with(node, point, Conflict("overtaken")))
        else:
            yield self._write(node, point, _GO)

    def _answers(self, questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
        return _answers(questions)

    def _first_step(self, answers: QuestionsAndAnswers) -> Step:
        del answers
        return _GO

    def _unmeasured(self, questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
        return _unmeasured(questions)

    def _write(self, node: Node, point: CyclePoint, step: Step, response: WorldError | None = None) -> Move:
        """Carry out a write, and check its invariants."""
        state, published, refused = self._carry_out(node.state, node.published, point)
        broken = _broken(node, point, state) if refused is None else None
        return Move(step, self._respond_with(node, point, response or refused, state, published), broken)

    def _carry_out(
        self, state: State, published: frozenset[str], point: CyclePoint
    ) -> tuple[State, frozenset[str], WorldError | None]:
        request = point.request
        if isinstance(request, Publish):
            key = request.notice.key
            return state, published if _POLLED in key else published | {key}, None
        if isinstance(request, Commit):
            return approved(state.but(status=self._table.intern(request.status))), published, None
        assert isinstance(request, Apply)
        try:
            return self._table.intern_state(scaled(apply(state, request.effect))), published, None
        except WorldError as refused:
            return state, published, refused

    def _respond_with(
        self,
        node: Node,
        point: CyclePoint,
        response: object,
        state: State | None = None,
        published: frozenset[str] | None = None,
    ) -> Node:
        """Return the node at the next point of the cycle, or at rest after it."""
        state, published = node.state if state is None else state, node.published if published is None else published
        following = after(self.driver, self._table, point, response)
        if following.request is not None:
            return self._in_cycle(state, published, following, moved=node.moved, overtaken=node.overtaken)
        return self._ended(state, published, following, moved=node.moved)

    def _ended(
        self,
        state: State,
        published: frozenset[str],
        point: CyclePoint,
        *,
        moved: bool,
        stale: State | None = None,
        blind: bool = False,
    ) -> Node:
        result = point.result
        assert result is not None
        rule = (point.decision if result.decision is None else result.decision).explanation.rule
        wake = state.now if moved or point.stale else _wake(point, state.now)  # a change triggers an event
        return self._rest(state, published, wake, point.memory, rule, stale=stale, blind=blind)

    def _faults_at(self, node: Node, point: CyclePoint) -> Iterator[Move]:
        request, state = point.request, node.state
        yield Move(Crash(), self._crashed(state, node.published))
        if isinstance(request, Commit):
            yield Move(CommitConflict(), self._respond_with(node, point, Conflict("somebody else was first")))
        if isinstance(request, Fetch):
            for answers in self._unmeasured(request.questions):
                yield Move(AnswersWithoutNumber(_only(answers)), self._respond_with(node, point, answers))
        else:
            timeout = WorldError("timed out")
            yield Move(WriteTimeout(applied=False), self._respond_with(node, point, timeout))
            if not (isinstance(request, Commit) and node.overtaken):
                yield self._write(node, point, WriteTimeout(applied=True), timeout)
        yield from self._stale(node, point)
        if not isinstance(request, Commit | Apply):
            return
        for action in self.actions:
            changed = self._changed(state, action)
            if changed is not None:
                overtaken = node.overtaken or changed.status is not state.status
                yield Move(action, self._in_cycle(changed, node.published, point, moved=True, overtaken=overtaken))
        for rival in (RivalCycle(), Takeover(state.rollout.interval)):
            changed, published = self._run_another(state, node.published, getattr(rival, "seconds", None))
            if published != node.published or not self._table.is_same(changed, state):
                overtaken = node.overtaken or changed.status is not state.status
                yield Move(rival, self._in_cycle(changed, published, point, moved=True, overtaken=overtaken))

    def _stale(self, node: Node, point: CyclePoint) -> Iterator[Move]:
        """Let the next observation show the cluster, or the status, from before the cycle, if it ends next."""
        state, published, response = self._answered(node.state, node.published, point)
        if isinstance(point.request, Commit) and node.overtaken:
            state, published, response = node.state, node.published, Conflict("overtaken")
        following, old = after(self.driver, self._table, point, response), point.state
        if following.request is not None:
            return
        if _table_of(state) != _table_of(old):
            yield Move(
                StaleObservation(), self._ended(state, published, following, moved=node.moved, stale=old, blind=True)
            )
        if state.status is not old.status:
            yield Move(StaleStatus(), self._ended(state, published, following, moved=node.moved, stale=old))

    def _answered(
        self, state: State, published: frozenset[str], point: CyclePoint
    ) -> tuple[State, frozenset[str], object]:
        """Return the state after a successful request, with the response to it."""
        if isinstance(point.request, Fetch):
            return state, published, self._answers(point.request.questions)[0]
        return self._carry_out(state, published, point)

    def _crashed(self, state: State, published: frozenset[str]) -> Node:
        return self._rest(state, published, state.now, ProcessMemory())

    def _run_another(
        self, state: State, published: frozenset[str], seconds: float | None
    ) -> tuple[State, frozenset[str]]:
        """Run one cycle of another process, or all its cycles in so many seconds."""
        end, memory = state.now + (seconds or 0.0), ProcessMemory()
        while True:
            point = self._begin(state, None, blind=False, memory=memory)
            while point.request is not None:
                state, published, response = self._answered(state, published, point)
                point = after(self.driver, self._table, point, response)
            wake = max(state.now, min(_wake(point, state.now), next_change(state)))
            if seconds is None or wake > end:
                return self._table.intern_state(scaled(state.but(now=end))), published
            state, memory = self._table.intern_state(scaled(state.but(now=wake))), point.memory

    # nodes ------------------------------------------------------------------------------------------------------

    def _in_cycle(
        self,
        state: State,
        published: frozenset[str],
        point: CyclePoint,
        *,
        moved: bool = False,
        overtaken: bool = False,
    ) -> Node:
        if point.request is None:
            return self._ended(state, published, point, moved=moved)
        table = self._table
        published = table.intern(published)
        fingerprint = hash((table.fingerprint(state), id(published), point.fingerprint, moved, overtaken))
        return Node(fingerprint, state, published, point, moved=moved, overtaken=overtaken)

    def _rest(
        self,
        state: State,
        published: frozenset[str],
        wake: float,
        memory: ProcessMemory,
        rule: Rule | None = None,
        *,
        stale: State | None = None,
        blind: bool = False,
    ) -> Node:
        table, rule = self._table, rule if rule in WAITS else None
        published &= {notice.key for notice in state.status.outbox}.union(memory.published)
        resting = rebased(RestState(table.intern_state(state), published, wake, stale, memory), table)
        state, memory = table.intern_state(resting.state), table.intern_memory(resting.memory)
        stale = resting.stale and table.intern_state(resting.stale)
        published, wake = table.intern(resting.published), table.intern(resting.wake)
        fingerprint = hash(
            (
                table.fingerprint(state),
                id(published),
                id(wake),
                stale and table.fingerprint(stale),
                blind,
                id(memory),
                id(rule),
            )
        )
        return Node(fingerprint, state, published, None, wake, stale, blind, memory, rule)


_MOST_POINTS = 4096
"""Most cycles whose points stay stored."""


# ------------------------------------------------------------------------------------------------------- promises


@define(eq=False)
class WatchedNode(Node):
    """A node with the time and the requests of its rollout."""

    tally: RolloutTally = RolloutTally()
    """The time and the expected requests of the rollout so far."""
    broken: frozenset[str] = frozenset()
    """Names of the promises that are broken already."""
    rest: Fingerprint = 0
    """Fingerprint of the last node at rest, without its tally; 0 after a fault."""


@define
class PromiseModel(TrialModel):
    """The model of a trial in a scenario, with promises.

    The tally grows with time, so a rollout that waits for ever would have no end of nodes. But a wait that comes back
    to the same node at rest without a fault can go on for as long as one likes: its counts become infinite at once, and
    so are those of a rollout that rests for good before its end. Past `horizon` seconds nothing counts any more, and
    the time is infinite.
    """

    scenario: Scenario = field(kw_only=True)
    """The behaviour of both versions, and the traffic. It fixes the answers of checks that measure them."""
    promises: tuple[Promise, ...] = field(kw_only=True)
    """The promises to check."""
    horizon: float = field(kw_only=True)
    """The longest time of a rollout to count (seconds)."""

    def starts(self) -> list[Node]:
        """Return the first nodes."""
        return [self._watched(node, RolloutTally().at(node.state), frozenset(), 0) for node in super().starts()]

    def free(self, node: Node) -> tuple[Move, ...]:
        """Return the moves without a fault, success first; none where the rollout rests for good."""
        assert isinstance(node, WatchedNode)
        return tuple([self._follow(node, move, node.rest) for move in super().free(node)])

    def faults(self, node: Node) -> Iterator[Move]:
        """Return the moves by a fault."""
        assert isinstance(node, WatchedNode)
        moves = (self._follow(node, move, 0) for move in super().faults(node))
        return (move for move in moves if move.to.fingerprint != node.fingerprint)

    def _follow(self, node: WatchedNode, move: Move, rest: Fingerprint) -> Move:
        """Return the move with the tally after it, and with the promise that it breaks.

        rest: the last node at rest from which no fault leads here; 0: there is none.
        """
        to, tally, broken, found = move.to, node.tally, node.broken, move.found
        if len(broken) == len(self.promises):
            return Move(move.step, self._watched(to, tally, broken, 0), found)
        tally = self._counted(node, move.step).at(to.state)
        if to.point is None and (to.fingerprint == rest or self.due(to) == inf):
            tally = tally.for_ever(to.state, self.scenario)
        view = tally.view(to.state, self.scenario)
        unbroken = [promise for promise in self.promises if promise.name not in broken]
        promise = None if view is None or found is not None else find_broken(unbroken, view)
        if promise is not None:
            broken |= {promise.name}
            found = BrokenInvariant("promise", promise.name, str(view))
        return Move(move.step, self._watched(to, tally, broken, to.fingerprint if to.point is None else rest), found)

    def _counted(self, node: WatchedNode, step: Step) -> RolloutTally:
        """Return the tally after the time of a step."""
        tally = node.tally
        if tally.counted > self.horizon:
            return tally
        tally = tally.after(self._duration(node, step), node.state, self.scenario)
        return evolve(tally, seconds=inf) if tally.counted > self.horizon else tally

    def _duration(self, node: Node, step: Step) -> float:
        """Return the seconds of a step."""
        if node.point is not None:
            return step.seconds if isinstance(step, Takeover) else 0.0
        if isinstance(step, LateTimer):
            return self.due(node) - node.state.now + step.seconds
        return self.due(node) - node.state.now if isinstance(step, Proceed) else 0.0

    def _watched(self, node: Node, tally: RolloutTally, broken: frozenset[str], rest: Fingerprint) -> WatchedNode:
        table = self._table
        tally, broken = table.intern(tally), table.intern(broken)
        return WatchedNode(
            hash((node.fingerprint, id(tally), id(broken), rest)),
            node.state,
            node.published,
            node.point,
            node.wake,
            node.stale,
            node.blind,
            node.memory,
            node.rule,
            node.moved,
            node.overtaken,
            tally,
            broken,
            rest,
        )

    # answers ----------------------------------------------------------------------------------------------------

    def _answers(self, questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
        variants = [self._measured(answers) for answers in super()._answers(questions)]
        return [answers for number, answers in enumerate(variants) if answers not in variants[:number]]

    def _first_step(self, answers: QuestionsAndAnswers) -> Step:
        """Return the step of the best answers; those of a bad version excuse a rollback."""
        fails = any(
            judge(question.check, answer, 0).verdict is not Verdict.PASS
            for question, answer in answers
            if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer)
        )
        return Answers(_only(answers), Excuse.FAIL) if fails else _GO

    def _measured(self, answers: QuestionsAndAnswers) -> QuestionsAndAnswers:
        """Return the answers with the values of the scenario."""
        return tuple([(question, self._value(question) or answer) for question, answer in answers])

    def _value(self, question: Question) -> MetricAnswer | None:
        if not isinstance(question, MetricQuestion):
            return None
        value = scenario_value(question.check, self.scenario)
        return None if value is None else MetricAnswer(value=value, samples=1_000_000)


# -------------------------------------------------------------------------------------------------------- helpers


def _wake(point: CyclePoint, now: float) -> float:
    result = point.result
    assert result is not None
    if any(isinstance(trouble, Conflict) for trouble in result.errors):
        return now
    if result.errors:
        return now + RETRY
    return inf if result.wake is None else result.wake


def _broken(node: Node, point: CyclePoint, after_it: State) -> BrokenInvariant | None:
    """Return the first invariant that this write breaks, or None."""
    request = point.request
    if isinstance(request, Publish):
        return None
    is_commit = isinstance(request, Commit)
    of = request.status if is_commit else request.effect  # type: ignore[union-attr]
    decision = point.decision
    if decision.explanation.rule in _NOTHING_TO_DO:
        return BrokenInvariant("I12", "an idle cycle does nothing", f"{of} in a cycle with nothing to do")
    context = WriteContext(
        before=_under(point.observed.rollout, node.state),
        write=Write(0, node.state.now, of),
        after=_under(point.observed.rollout, after_it),
        observation=point.observed.observation,
        stale=node.moved or point.stale,
        decision=decision,
        answers=point.answers,
    )
    published = tuple([notice for notice in node.state.status.outbox if notice.key in node.published])
    history = [CycleRecord(time=node.state.now, state=node.state, notices=published)] if published else []
    for invariant in EACH_COMMIT if is_commit else EACH_EFFECT:
        found = invariant.broken(context, history)
        if found is not None:
            return BrokenInvariant(invariant.name, invariant.text, found)
    return None


_NOTHING_TO_DO = frozenset({Rule.IDLE, Rule.GONE})


def _under(rollout: Rollout, state: State) -> State:
    """Return the state with the rollout of the decision, which its owner may have edited since."""
    return state if state.rollout is rollout else state.but(rollout=rollout)


def _table_of(state: State) -> tuple[object, ...]:
    """Return what an observation of workloads and routes shows."""
    return state.target, state.primary, state.routes, state.former


def _answers(questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
    """Return the answers that the providers may give: all good, then each set with one bad answer.

    One bad answer is enough, as the first that does not pass decides.
    """
    good = _good_answers(questions)
    return [good, *[_with(good, number, bad) for number, question in enumerate(questions) for bad in _bad(question)]]


def _unmeasured(questions: tuple[Question, ...]) -> list[QuestionsAndAnswers]:
    """Return answers of the first metric that have no number, or are inconclusive; others would lead to the same.

    They are faults, as a policy may hold for ever: so a schedule has few of them.
    """
    if not isinstance(questions[0], MetricQuestion):
        return []
    value = healthy(_request(questions[0])).value
    unclear = questions[0].check.find_example(passes=None)
    inconclusive = () if unclear is None else (MetricAnswer(value=unclear, samples=1_000_000),)
    answers = (*_NO_NUMBER, MetricAnswer(value=value, samples=0), *inconclusive)
    return [_with(_good_answers(questions), 0, answer) for answer in answers]


_NO_NUMBER = (MetricAnswer(), MetricAnswer(value=nan), MetricAnswer(value=inf), MetricAnswer(error="timed out"))
"""Answers without a number, one object each: an answer of NaN equals only itself."""


def _good_answers(questions: tuple[Question, ...]) -> QuestionsAndAnswers:
    return tuple([(question, _good(question)) for question in questions])


def _with(answers: QuestionsAndAnswers, number: int, answer: Answer) -> QuestionsAndAnswers:
    return (*answers[:number], (answers[number][0], answer), *answers[number + 1 :])


def _only(answers: QuestionsAndAnswers) -> tuple[Answer, ...]:
    return tuple([answer for _, answer in answers])


_HARMLESS = frozenset(
    {HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION, HookType.POST_ROLLOUT}
)


def _excuse(answers: QuestionsAndAnswers) -> Excuse:
    """Return the excuse of some answers: a closed gate delays a rollout and does not change its end."""
    question = answers[0][0]
    harmless = isinstance(question, HookQuestion) and question.hook.type in _HARMLESS
    return Excuse.NONE if harmless or isinstance(question, SourcesQuestion) else Excuse.FAIL


def _good(question: Question) -> Answer:
    if isinstance(question, HookQuestion):
        return HookAnswer(passed=question.hook.type is not HookType.ROLLBACK)
    if isinstance(question, MetricQuestion):
        return healthy(_request(question))
    return SourcesAnswer()


def _bad(question: Question) -> Iterator[Answer]:
    if isinstance(question, HookQuestion):
        yield HookAnswer(passed=question.hook.type is HookType.ROLLBACK, text="timed out")
    elif isinstance(question, SourcesQuestion):
        yield SourcesAnswer(error="offline")
    else:
        yield sick(_request(question))


def _request(question: MetricQuestion) -> MetricRequest:
    return MetricRequest(question=question, rollout=_NO_ROLLOUT, now=0.0, revision="", routes=None, turn=0)


_NO_ROLLOUT = Rollout(name="-", target=TargetRef(name="-"), skip_analysis=True)
