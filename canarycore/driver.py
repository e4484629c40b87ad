"""The driver's loop as a generator: observe → decide (ask until decided) → commit → converge → publish.

The simulator and the async runner run the same generator. Each answers its requests in its own way:

    request     the driver sends back
    Observe     Observed(rollout, status, observation)
    Fetch       a mapping of question key to answer, for as many questions as it can
    Commit      nothing; throws Conflict into the generator when another process committed first
    Apply       nothing; throws WorldError when it could not carry out the effect
    Publish     nothing; throws WorldError when it could not deliver the notice

Status first, effects after: a decision is durable before its first effect. After a crash at any point, the next cycle
finds the status ahead of the cluster and converges again. `CycleMemory` only saves repeats between cycles: a driver may
lose it at any time. A driver that lives one turn stores it beside the status (`canarycore.codec` reads and writes it),
or its next turn repeats each notice of the outbox.

Answers take time, and a decision must not use an observation older than its answers. A driver with slow providers
closes the generator at a Fetch, waits, and runs another cycle when it has the answers (`canarycore_runtime` does so).
A driver that answers at once, such as a simulator, goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from canarycore._decide import consider, decide, deliberate
from canarycore._decision import Decision, DecisionBuilder, Inputs, Outcome
from canarycore._goal import converge, goal
from canarycore._preview import NextStep, preview
from canarycore._record import record
from canarycore.errors import Conflict, Unanswered, WorldError
from canarycore.phases import IDLE, OVER, Pending, Phase, Rule

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from canarycore._observation import Observation
    from canarycore._spec import Rollout
    from canarycore._status import Status
    from canarycore.effects import Effect
    from canarycore.notices import Notice
    from canarycore.questions import Answer, Question

__all__ = [
    "Apply",
    "Commit",
    "CycleMemory",
    "CycleResult",
    "Fetch",
    "NextStep",
    "Observe",
    "Observed",
    "Publish",
    "Request",
    "cycle",
    "deliberate",
    "preview",
]


@record
class Observe:
    """Read the rollout, its status and an observation, all at one moment."""


@record
class Fetch:
    """Answer these questions, concurrently if possible."""

    questions: tuple[Question, ...]


@record
class Commit:
    """Store this status, unless another process committed since the last Observe."""

    status: Status


@record
class Apply:
    """Carry out this effect."""

    effect: Effect


@record
class Publish:
    """Deliver this notice to its receivers."""

    notice: Notice


Request = Observe | Fetch | Commit | Apply | Publish


@record
class Observed:
    """The answer to Observe: everything is from one moment."""

    rollout: Rollout
    status: Status
    observation: Observation


@record
class CycleResult:
    """The outcome of one cycle."""

    decision: Decision | None
    """None when the commit met a conflict or a question had no answer: the cycle did nothing, and the next one observes
    afresh."""
    wake: float | None
    """When to run the next cycle: an absolute time in seconds on the observation's clock (`Observation.now`), not a
    delay. None waits for the next change in the cluster."""
    effects: tuple[Effect, ...] = ()
    """The effects that were carried out, in order. After any effect, `wake` is the observation's own time."""
    errors: tuple[WorldError, ...] = ()
    """The errors that the driver threw into the cycle."""


@define
class CycleMemory:
    """The memory of one process of one rollout between cycles. It saves repeats and reveals a faster process.

    Its size is bounded. A driver whose process ends between cycles stores it, as `to_json(memory)`.
    """

    answers: dict[str, Answer] = field(factory=dict)
    """The answers in the present status, by the keys of their questions."""

    published: set[str] = field(factory=set)
    """The keys of published notices. The next commit takes those out of the outbox; a driver may record more finely
    which receivers have a notice that is not published yet."""

    last_goal: tuple[Phase, str] | None = None
    """The phase and revision of the last effects; None once confirmed current, by a matching observation or a
    successful commit."""


_MOST_ANSWERS = 64
"""The answers that a memory holds; a fetch beyond drops the oldest."""

_MOST_NOTICES = 64
"""The notices that an outbox carries over, the newest, and the keys of published notices that a memory holds beside
those of the present cycle."""

_OBSERVE = Observe()


def cycle(memory: CycleMemory) -> Generator[Request, object, CycleResult]:
    """Run one cycle of a rollout; the module documents the requests and their answers.

    Raises only the exceptions that the driver throws into it and that are no WorldError.
    """
    observed = yield _OBSERVE
    assert isinstance(observed, Observed)
    rollout, status, observation = observed.rollout, observed.status, observed.observation
    try:
        takeover = detect_takeover(observed, memory.last_goal)
        decision = takeover or (yield from _decide(rollout, status, observation, memory))
    except Unanswered as error:
        return CycleResult(None, observation.now, (), (error,))
    outbox, unsaved = status.outbox, decision.notices
    after = status
    if decision.status is not status:
        unpublished = tuple([notice for notice in outbox if notice.key not in memory.published])
        outbox, unsaved = unpublished[-_MOST_NOTICES:] + decision.notices, ()
        after = decision.status.but(outbox=outbox) if outbox else decision.status
        try:
            yield Commit(after)
        except Conflict as conflict:
            return CycleResult(None, observation.now, (), (conflict,))
        except WorldError as error:
            return CycleResult(None, observation.now, (), (error,))
        memory.answers.clear()
        memory.last_goal = None
        memory.published &= {notice.key for notice in outbox}
    suspended = rollout.suspend and after.phase not in OVER  # a suspended rollout can still be deleted
    plan = () if suspended else converge(goal(rollout, after), observation).effects
    effects, errors = (yield from _apply(plan)) if plan else ([], [])
    memory.last_goal = (after.phase, after.applied) if plan else None
    for notice in (*outbox, *unsaved):
        if notice.key in memory.published:
            continue
        try:
            yield Publish(notice)
        except WorldError as error:
            errors.append(error)
        else:
            memory.published.add(notice.key)
    if len(memory.published) > _MOST_NOTICES:
        memory.published &= {notice.key for notice in (*outbox, *unsaved)}
    wake = observation.now if effects or errors else decision.wake
    return CycleResult(decision, wake, tuple(effects), tuple(errors))


def detect_takeover(observed: Observed, last_goal: tuple[Phase, str] | None) -> Decision | None:
    """Return the decision to converge once more after another process took over, or None.

    The other process brought the rollout to an idle phase while this one carried out effects for an older goal. Those
    effects came late, and a settled rollout ignores them, as its owner may change the cluster there. This observation
    may not show them yet: so the decision makes a settled status unsettled until the next cycle.
    """
    status = observed.status
    if last_goal is None or status.phase not in IDLE or last_goal == (status.phase, status.applied):
        return None
    builder = DecisionBuilder(observed.rollout, status, observed.observation)
    return builder.change(Rule.OVERTAKEN, pending=status.pending or (Pending.SETTLE,))


def decide_cycle(observed: Observed, last_goal: tuple[Phase, str] | None, answers: Mapping[str, Answer]) -> Outcome:
    """Return the decision of a cycle with this observation, this memory and these answers, or the Ask for more."""
    inputs = Inputs(observed.observation, answers)
    return detect_takeover(observed, last_goal) or decide(observed.rollout, observed.status, inputs)


def _decide(
    rollout: Rollout, status: Status, observation: Observation, memory: CycleMemory
) -> Generator[Request, object, Decision]:
    """Deliberate and fetch the answers to each Ask; reuse the answers since the last commit."""
    deliberation = consider(rollout, status, observation)
    if isinstance(deliberation, Decision):
        return deliberation
    answers = memory.answers
    try:
        ask = next(deliberation)
        while True:
            missing = ask.unanswered(answers)
            while missing:
                fetched: Mapping[str, Answer] = yield Fetch(missing)  # type: ignore[assignment]
                answers.update(fetched)
                remaining = ask.unanswered(answers)
                if remaining == missing:
                    raise Unanswered(", ".join(question.key for question in remaining))
                missing = remaining
            ask = deliberation.send(answers)
            while len(answers) > _MOST_ANSWERS:
                del answers[next(iter(answers))]
    except StopIteration as stop:
        decision: Decision = stop.value
        return decision


def _apply(effects: tuple[Effect, ...]) -> Generator[Request, object, tuple[list[Effect], list[WorldError]]]:
    """Apply effects in order, up to the first that fails: later ones may depend on it."""
    done: list[Effect] = []
    for effect in effects:
        try:
            yield Apply(effect)
        except WorldError as error:
            return done, [error]
        done.append(effect)
    return done, []
