"""The controller as a graph of points: where in its cycle it is, as a value that can be compared and gone on from.

A generator cannot be compared or copied, but it is a function of what it was sent. So a **point** is the observation a
cycle began with and the responses since; each is made once, by running the real `cycle()` that far, and kept. The next
request of a point, or the `CycleResult` its cycle ended with, is found by looking it up.
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
    """A point of a cycle. `mark` tells it from all others.

    `request` is None when the cycle has ended; then `rest` and `remembered` tell how.
    """

    mark: Fingerprint
    state: State
    seen: Observed
    before: ProcessMemory
    responses: tuple[object, ...]
    stale: bool = False
    request: Request | None = None
    rest: CycleResult | None = None
    remembered: ProcessMemory = EMPTY_MEMORY
    asked: QuestionsAndAnswers = ()
    next: dict[object, CyclePoint] = field(factory=dict)
    running: tuple[Generator[Request, object, CycleResult], CycleMemory] | None = None
    decided: Decision | None = None

    @property
    def decision(self) -> Decision:
        """What the cycle decided, found again from the same inputs."""
        if self.decided is None:
            answers = {question.key: answer for question, answer in self.asked}
            outcome = decide_cycle(self.seen, self.before.last_goal, answers)
            assert isinstance(outcome, Decision)
            self.decided = outcome
        return self.decided


def begin(
    driver: Driver, mark: Fingerprint, state: State, stale: State | None, blind: bool, before: ProcessMemory
) -> CyclePoint:
    """A cycle that has just observed `state`; with `stale`, its workloads and routes (`blind`), or its status."""
    shown, stored = observe(state), state
    if stale is not None and blind:
        old = observe(stale.but(now=state.now))
        shown = evolve(shown, target=old.target, primary=old.primary, routes=old.routes)
    elif stale is not None:
        stored = stale
    seen = Observed(stored.rollout, stored.status, shown)
    point = CyclePoint(mark, state, seen, before, (), stale is not None, asked=before.asked)
    _go(driver, point)
    return point


def after(driver: Driver, ones: InternTable, point: CyclePoint, response: object) -> CyclePoint:
    """The point that follows when the driver is sent `response`: answers as pairs, an error to throw, or None."""
    name = f"{type(response).__name__} {response}" if isinstance(response, WorldError) else response
    known = point.next.get(name)
    if known is None:
        what = tuple([answer for _, answer in response]) if isinstance(response, tuple) else name
        mark, responses = hash((point.mark, id(ones.one(what)))), (*point.responses, response)
        known = CyclePoint(mark, point.state, point.seen, point.before, responses, point.stale, asked=point.asked)
        if isinstance(response, tuple):
            known.asked += response
        else:
            known.decided = point.decided
        known.running, point.running = point.running, None
        _go(driver, known)
        point.next[name] = known
    return known


def _go(driver: Driver, point: CyclePoint) -> None:
    """Run the generator to this point: one response further if it is at hand, else from the start."""
    if point.running is not None:
        turn, memory = point.running
        responses = point.responses[-1:]
    else:
        asked = point.before.asked
        answers = {question.key: answer for question, answer in asked} if asked else {}
        memory = CycleMemory(answers=answers, published=set(point.before.published), last_goal=point.before.last_goal)
        turn = driver(memory)
        next(turn)
        responses = (point.seen, *point.responses)
    try:
        for response in responses:
            point.request = _send(turn, response)
    except StopIteration as stop:
        point.request, point.rest, point.running = None, stop.value, None
        if memory.answers or memory.published or memory.last_goal is not None:
            known = {question.key: (question, answer) for question, answer in point.asked}
            asked = tuple([known[key] for key in memory.answers])
            point.remembered = ProcessMemory(asked, frozenset(memory.published), memory.last_goal)
    else:
        point.running = (turn, memory)


def _send(turn: Generator[Request, object, CycleResult], response: object) -> Request:
    if isinstance(response, WorldError):
        return turn.throw(response)
    if isinstance(response, tuple):
        return turn.send({question.key: answer for question, answer in response})
    return turn.send(response)
