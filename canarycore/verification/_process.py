"""The controller's cycle as a graph of points: values to compare and to continue from.

A generator cannot be compared or copied, but its state is a function of the values sent to it. So a **point** is the
observation at the start of a cycle and the responses since then. The search makes each point once, by running the real
`cycle()` that far, and stores its next request, or the `CycleResult` at the end of the cycle.
"""

from __future__ import annotations

from collections.abc import Generator

from attrs import define, evolve, field

from canarycore._decision import Decision
from canarycore.driver import CycleMemory, CycleResult, Observed, Request, decide_cycle
from canarycore.errors import WorldError
from canarycore.simulation.driver import Driver
from canarycore.simulation.state import State, observe
from canarycore.verification._fingerprints import Fingerprint, InternTable
from canarycore.verification._memory import EMPTY_MEMORY, ProcessMemory, QuestionsAndAnswers


@define(eq=False)
class CyclePoint:
    """A point of a cycle."""

    fingerprint: Fingerprint
    """The fingerprint of the point."""
    state: State
    """The cluster at the start of the cycle."""
    observed: Observed
    """The controller's view at the start of the cycle."""
    before: ProcessMemory
    """The memory at the start of the cycle."""
    responses: tuple[object, ...]
    """Responses to the requests so far."""
    stale: bool = False
    """Whether the controller's view is out of date."""
    request: Request | None = None
    """The next request; None where the cycle has ended."""
    result: CycleResult | None = None
    """The result of the cycle; None where it has not ended."""
    memory: ProcessMemory = EMPTY_MEMORY
    """The memory at the end of the cycle."""
    answers: QuestionsAndAnswers = ()
    """Questions so far, those of the memory included, with their answers."""
    next: dict[object, CyclePoint] = field(factory=dict)
    """The following points by response."""
    running: tuple[Generator[Request, object, CycleResult], CycleMemory] | None = None
    """The generator at this point with its memory; None where another point has taken it over."""
    decided: Decision | None = None
    """The decision, once `decision` has computed it."""

    @property
    def decision(self) -> Decision:
        """The decision of the cycle, computed from the same inputs."""
        if self.decided is None:
            answers = {question.key: answer for question, answer in self.answers}
            outcome = decide_cycle(self.observed, self.before.last_goal, answers)
            assert isinstance(outcome, Decision)
            self.decided = outcome
        return self.decided


def begin(
    driver: Driver, fingerprint: Fingerprint, state: State, stale: State | None, blind: bool, before: ProcessMemory
) -> CyclePoint:
    """Return the first point of a cycle that observes `state`.

    With `stale` the observation shows its workloads and routes (`blind`), or its status, instead of the present table.
    """
    shown, stored = observe(state), state
    if stale is not None and blind:
        old = observe(stale.but(now=state.now))
        shown = evolve(shown, target=old.target, primary=old.primary, routes=old.routes)
    elif stale is not None:
        stored = stale
    observed = Observed(stored.rollout, stored.status, shown)
    point = CyclePoint(fingerprint, state, observed, before, (), stale is not None, answers=before.answers)
    _advance(driver, point)
    return point


def after(driver: Driver, table: InternTable, point: CyclePoint, response: object) -> CyclePoint:
    """Return the point after a response to the driver: answers as pairs, an error to throw, or None."""
    name = f"{type(response).__name__} {response}" if isinstance(response, WorldError) else response
    following = point.next.get(name)
    if following is None:
        content = tuple([answer for _, answer in response]) if isinstance(response, tuple) else name
        fingerprint = hash((point.fingerprint, id(table.intern(content))))
        responses = (*point.responses, response)
        following = CyclePoint(
            fingerprint, point.state, point.observed, point.before, responses, point.stale, answers=point.answers
        )
        if isinstance(response, tuple):
            following.answers += response
        else:
            following.decided = point.decided
        following.running, point.running = point.running, None
        _advance(driver, following)
        point.next[name] = following
    return following


def _advance(driver: Driver, point: CyclePoint) -> None:
    """Run the generator to this point: by one response where it is at the point before, else from the start."""
    if point.running is not None:
        turn, memory = point.running
        responses = point.responses[-1:]
    else:
        pairs = point.before.answers
        answers = {question.key: answer for question, answer in pairs} if pairs else {}
        memory = CycleMemory(answers=answers, published=set(point.before.published), last_goal=point.before.last_goal)
        turn = driver(memory)
        next(turn)
        responses = (point.observed, *point.responses)
    try:
        for response in responses:
            point.request = _send(turn, response)
    except StopIteration as stop:
        point.request, point.result, point.running = None, stop.value, None
        if memory.answers or memory.published or memory.last_goal is not None:
            by_key = {question.key: (question, answer) for question, answer in point.answers}
            kept = tuple([by_key[key] for key in memory.answers])
            point.memory = ProcessMemory(kept, frozenset(memory.published), memory.last_goal)
    else:
        point.running = (turn, memory)


def _send(turn: Generator[Request, object, CycleResult], response: object) -> Request:
    if isinstance(response, WorldError):
        return turn.throw(response)
    if isinstance(response, tuple):
        return turn.send({question.key: answer for question, answer in response})
    return turn.send(response)
