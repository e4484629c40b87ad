"""One decision under way: its inputs, what has been asked and told so far, and the decision it becomes.

`Inputs` is what a decision may rest on, `Decision` what comes out, `Explanation` why. `DecisionBuilder` is the builder
in between that the guards of `_decide`, `_climb`, `_moves` and `_commands` share: it knows the time of the next poll,
makes questions and notices with stable keys, and turns a rule into a `Decision` that waits, changes the status or
enters a phase.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from attrs import define

from canarycore._observation import Observation, Workload
from canarycore._record import record
from canarycore._spec import Hook, Rollout
from canarycore._status import Reason, Status
from canarycore._verdicts import Judgement
from canarycore.effects import Plan
from canarycore.notices import Notice, NoticeKind
from canarycore.phases import Phase, Rule
from canarycore.questions import Answer, Ask, HookAnswer, HookQuestion, Question

if TYPE_CHECKING:
    from collections.abc import Mapping


EPSILON = 1e-6
"""Seconds by which a clock may be early: a timer that fires a hair too soon must not cost an interval."""


@record
class Inputs:
    """All that a decision may rest on: one observation, and the answers got so far by their question's key."""

    observation: Observation
    answers: Mapping[str, Answer] = {}


@record
class Explanation:
    """Why: the rule that fired, hooks and sources asked and their answers, and each check's verdict on its value.

    It is data, and prints as a sentence.
    """

    rule: Rule
    before: Phase
    after: Phase
    detail: str = ""
    answers: tuple[tuple[Question, Answer], ...] = ()
    judgements: tuple[Judgement, ...] = ()

    def __str__(self) -> str:
        move = self.before.value if self.after is self.before else f"{self.before.value} → {self.after.value}"
        parts = [f"{move}: {self.rule.value}" + (f" ({self.detail})" if self.detail else "")]
        parts += [str(judgement) for judgement in self.judgements]
        parts += [
            f"{question.hook.type.value} {question.hook.name} {'passed' if answer.passed else 'did not pass'}"
            for question, answer in self.answers
            if isinstance(question, HookQuestion) and isinstance(answer, HookAnswer)
        ]
        return "; ".join(parts)


@record
class Decision:
    """What was decided.

    status: the status to commit; the very object that was given when nothing is to be written. notices: what to tell
    (committed with the status in its outbox, or published directly when nothing is written). wake: when to look again
    (seconds), None when only a change of the world matters. because: why.
    """

    status: Status
    notices: tuple[Notice, ...]
    wake: float | None
    explanation: Explanation


Deliberation = Generator[Ask, "Mapping[str, Answer]", Decision]
"""A decision under way: yields an Ask, is sent an answer to each of its questions, returns the Decision."""


Outcome = Ask | Decision


Inquiry = Generator[Ask, "Mapping[str, Answer]", "Decision | None"]
"""Part of a decision: None when its guards let the rollout pass."""


@define(init=False)
class DecisionBuilder:
    """One decision under way: the inputs, and what has been asked and told so far.

    poll: how many intervals have passed since the last analysis; nothing is due at 0.
    """

    rollout: Rollout
    status: Status
    observation: Observation
    poll: int
    answers: tuple[tuple[Question, Answer], ...]
    judgements: tuple[Judgement, ...]
    notices: list[tuple[NoticeKind, tuple[str, ...], bool]]
    detail: str

    def __init__(self, rollout: Rollout, status: Status, observation: Observation) -> None:
        self.rollout, self.status, self.observation = rollout, status, observation
        age = observation.now - status.analysed_at + EPSILON
        self.poll = int(age // rollout.interval) if age > 0 else 0
        self.answers, self.judgements, self.notices, self.detail = (), (), [], ""

    # time -------------------------------------------------------------------------------------------------------

    @property
    def next_poll(self) -> float:
        return self.status.analysed_at + (self.poll + 1) * self.rollout.interval

    @property
    def overdue(self) -> bool:
        """Whether the world has failed to follow for longer than the progress deadline allows."""
        return self.expired(self.status.analysed_at + self.rollout.interval)

    def missing_since(self, side: Workload) -> float:
        """Since when pods of this side have been missing in this phase; where nobody tells, since the last analysis."""
        told, status = side.unready_since, self.status
        return max(status.analysed_at if told is None else told, status.since or 0.0)

    def expired(self, since: float) -> bool:
        return self.observation.now + EPSILON >= since + self.rollout.progress_deadline

    # telling ----------------------------------------------------------------------------------------------------

    def emit(self, what: NoticeKind, *args: str) -> None:
        """Something to tell: again at each poll while nothing is written."""
        self.notices.append((what, args, True))

    def emit_once(self, what: NoticeKind, *args: str) -> None:
        """Something to tell once in this status."""
        self.notices.append((what, args, False))

    def emit_plan(self, plan: Plan) -> None:
        for what, args in plan.notes:
            self.notices.append((what, args, what.value.severity is None))

    def _notices(self, after: Phase, again: str = "") -> tuple[Notice, ...]:
        """What was told, as notices of a decision that leads to `after`. `again` tells a repeat from the first."""
        status, names = self.status, self.rollout.names
        before = status.phase
        stem = f"{status.applied}@{status.analysed_at}/{before._value_}/"
        return tuple(
            [
                Notice(
                    what,
                    f"{stem}{what._name_}{'' if what in _FORMER_STATUS else '/'.join(args)}{again if repeats else ''}",
                    after if what in _NOTICES_AFTER_EFFECTS else before,
                    names,
                    args,
                )
                for what, args, repeats in self.notices
            ]
        )

    # asking -----------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> str:
        """What the target carries, which hooks and a new analysis are about; without a target, what they were about."""
        target = self.observation.target
        return self.status.applied if target is None else target.revision

    def key(self, kind: str, name: str) -> str:
        """The time of the last analysis stands for the rung and the attempt: each counted analysis moves it."""
        status = self.status
        return f"{self.revision}@{status.analysed_at}/{status.phase._value_}#{self.poll}/{kind}/{name}"

    def call(self, hook: Hook, phase: Phase | None = None) -> Generator[Ask, Mapping[str, Answer], HookAnswer]:
        """The hook's answer. `phase`: what the hook is told, if not the status's own."""
        status = self.status
        place = self.rollout.hooks.index(hook)  # names need not be unique
        key = self.key(f"{hook.type.value}/{place}", hook.name)
        question = HookQuestion(key, hook, phase or status.phase, self.revision)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, HookAnswer)
        self.answers += ((question, answer),)
        return answer

    # deciding ---------------------------------------------------------------------------------------------------

    def wait(self, rule: Rule, wake: float | None) -> Decision:
        """Nothing is written."""
        status = self.status
        notices = self._notices(status.phase, f"#{self.poll}") if self.notices else ()
        explanation = Explanation(rule, status.phase, status.phase, self.detail, self.answers, self.judgements)
        return Decision(status, notices, wake, explanation)

    def change(self, rule: Rule, wake: float | None = None, **changes: Any) -> Decision:
        """A new status. Without `wake`: look again at once, as the world has to follow."""
        before = self.status
        changes["outbox"] = ()
        after = before.but(**changes)
        explanation = Explanation(rule, before.phase, after.phase, self.detail, self.answers, self.judgements)
        notices = self._notices(after.phase) if self.notices else ()
        return Decision(after, notices, self.observation.now if wake is None else wake, explanation)

    def enter(self, rule: Rule, phase: Phase, reason: Reason = Reason.NONE, **changes: Any) -> Decision:
        """A new status in another phase."""
        now = self.observation.now
        return self.change(rule, phase=phase, reason=reason, since=now, analysed_at=now, **changes)


_NOTICES_AFTER_EFFECTS = frozenset(
    {
        NoticeKind.INITIALIZED,
        NoticeKind.INITIALIZED_ALERT,
        NoticeKind.NEW_REVISION,
        NoticeKind.NEW_REVISION_ALERT,
        NoticeKind.FAILED,
        NoticeKind.SUCCEEDED,
        NoticeKind.SUCCEEDED_ALERT,
        NoticeKind.SUCCEEDED_SKIPPED,
        NoticeKind.SUCCEEDED_SKIPPED_ALERT,
        NoticeKind.WITHDRAWN,
        NoticeKind.WITHDRAWN_ALERT,
    }
)
"""Texts that tell the phase a decision leads to; the others tell the phase it was made in."""

_FORMER_STATUS = frozenset({NoticeKind.PRIMARY_UNREADY, NoticeKind.CANARY_UNREADY})
"""Texts about what moves while one waits for it: told once a poll, and not each time that a pod more is there."""
