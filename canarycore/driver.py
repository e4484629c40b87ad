"""The driver's loop, as a generator: observe → decide (ask until decided) → commit → converge → publish.

The same generator runs in the simulator and in the async runner; each answers its requests in its own way:

    request     the driver answers with
    Observe     Seen(rollout, status, world)
    Fetch       a mapping of question key to answer, for as many as it could get
    Commit      nothing; throws Conflict into the generator when somebody else committed first
    Apply       nothing; throws WorldError when the effect could not be carried out
    Publish     nothing; throws WorldError when the notice could not be delivered

Status first, effects after: a decision is durable before its first effect, so a crash at any point is followed by a
cycle that finds the status ahead of the world and converges again. What the generator keeps in `CycleMemory` between
cycles only saves repeats; losing it is always safe.

Answers take time, and a decision should not rest on a view that is older than its answers. A driver whose providers
can be slow closes the generator at a Fetch, waits, and runs another cycle when the answers are in
(`canarycore_runtime` does so); one that answers at once, such as a simulator, simply goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from canarycore._decide import consider, decide, deliberate
from canarycore._decision import Decision, DecisionBuilder, Inputs, Outcome
from canarycore._goal import converge, goal
from canarycore._record import record
from canarycore._status import Pending
from canarycore.errors import Conflict, Unanswered, WorldError
from canarycore.phases import IDLE, OVER, Phase, Rule

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
    "Observe",
    "Observed",
    "Publish",
    "Request",
    "cycle",
    "deliberate",
]


@record
class Observe:
    """Look at the rollout, its status and the world, all at one moment."""


@record
class Fetch:
    """Answer these questions, concurrently if possible."""

    questions: tuple[Question, ...]


@record
class Commit:
    """Make this status durable, unless somebody else was first."""

    status: Status


@record
class Apply:
    """Carry this effect out."""

    effect: Effect


@record
class Publish:
    """Tell this notice."""

    notice: Notice


Request = Observe | Fetch | Commit | Apply | Publish


@record
class Observed:
    """The answer to Observe."""

    rollout: Rollout
    status: Status
    observation: Observation


@record
class CycleResult:
    """A cycle's end. `wake`: when to look again (seconds; None: at the next change). `troubles`: what went wrong.

    `effects` were carried out; the world should be looked at again soon. `decision` is None when the commit met a
    conflict or a question found no answer: then nothing was done, and the next cycle observes afresh.
    """

    decision: Decision | None
    wake: float | None
    effects: tuple[Effect, ...] = ()
    troubles: tuple[WorldError, ...] = ()


@define
class CycleMemory:
    """The memory of one process of one rollout between cycles. It saves repeats and reveals a faster process."""

    answers: dict[str, Answer] = field(factory=dict)
    """The answers in the present status, by the keys of their questions."""

    published: set[str] = field(factory=set)
    """The keys of published notices. The next commit takes those out of the outbox; a driver may record more finely
    which receivers have a notice that is not published yet."""

    acted: tuple[Phase, str] | None = None
    """The phase and revision of the last effects; None once confirmed current, by a matching observation or a
    successful commit."""


_MOST_ANSWERS = 64
_LOOK = Observe()


def cycle(memory: CycleMemory) -> Generator[Request, object, CycleResult]:
    """One turn of a rollout."""
    seen = yield _LOOK
    assert isinstance(seen, Observed)
    rollout, status, observation = seen.rollout, seen.status, seen.observation
    try:
        decision = overtaken(seen, memory.acted) or (yield from _decide(rollout, status, observation, memory))
    except Unanswered as trouble:
        return CycleResult(None, observation.now, (), (trouble,))
    durable, passing = status.outbox, decision.notices
    after = status
    if decision.status is not status:
        unpublished = tuple([notice for notice in durable if notice.key not in memory.published])
        durable, passing = unpublished + decision.notices, ()
        after = decision.status.but(outbox=durable) if durable else decision.status
        try:
            yield Commit(after)
        except Conflict as conflict:
            return CycleResult(None, observation.now, (), (conflict,))
        except WorldError as trouble:
            return CycleResult(None, observation.now, (), (trouble,))
        memory.answers.clear()
        memory.acted = None
        memory.published &= {notice.key for notice in durable}
    suspended = rollout.suspend and after.phase not in OVER  # what is deleted must be able to go
    plan = () if suspended else converge(goal(rollout, after), observation).effects
    effects, troubles = (yield from _apply(plan)) if plan else ([], [])
    memory.acted = (after.phase, after.applied) if plan else None
    for notice in (*durable, *passing):
        if notice.key in memory.published:
            continue
        try:
            yield Publish(notice)
        except WorldError as trouble:
            troubles.append(trouble)
        else:
            memory.published.add(notice.key)
    wake = observation.now if effects or troubles else decision.wake
    return CycleResult(decision, wake, tuple(effects), tuple(troubles))


def overtaken(seen: Observed, acted: tuple[Phase, str] | None) -> Decision | None:
    """The decision to look once more at a rollout that another process brought to rest while we acted for what was.

    What we did then came too late, and at rest nobody looks for it: owners may do there as they like. This look may not
    show it yet; so what is settled is unsettled, and what is not is left so until the next one.
    """
    status = seen.status
    if acted is None or status.phase not in IDLE or acted == (status.phase, status.applied):
        return None
    return DecisionBuilder(seen.rollout, status, seen.observation).change(
        Rule.OVERTAKEN, pending=status.pending or (Pending.SETTLE,)
    )


def decided(seen: Observed, acted: tuple[Phase, str] | None, answers: Mapping[str, Answer]) -> Outcome:
    """What a cycle decides that saw this, last acted for that and has these answers."""
    return overtaken(seen, acted) or decide(seen.rollout, seen.status, Inputs(seen.observation, answers))


def _decide(
    rollout: Rollout, status: Status, observation: Observation, memory: CycleMemory
) -> Generator[Request, object, Decision]:
    """Deliberate, fetching what is asked; answers got before in this status are not fetched again."""
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
                left = ask.unanswered(answers)
                if left == missing:
                    raise Unanswered(", ".join(question.key for question in left))
                missing = left
            ask = deliberation.send(answers)
            while len(answers) > _MOST_ANSWERS:
                del answers[next(iter(answers))]
    except StopIteration as stop:
        decision: Decision = stop.value
        return decision


def _apply(effects: tuple[Effect, ...]) -> Generator[Request, object, tuple[list[Effect], list[WorldError]]]:
    """Effects in order, up to the first that fails: the later ones may rest on it."""
    done: list[Effect] = []
    for effect in effects:
        try:
            yield Apply(effect)
        except WorldError as trouble:
            return done, [trouble]
        done.append(effect)
    return done, []
