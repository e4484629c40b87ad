"""One decision under way: its inputs, its answers and notices so far, and the decision that it becomes.

`Inputs` holds everything that a decision may depend on, `Decision` the result, `Explanation` the reason. The guards of
`_decide`, `_analysis`, `_transitions` and `_commands` share a `DecisionBuilder`: it computes the time of the next poll,
makes questions and notices with stable keys, and turns a rule into a `Decision` that waits, changes the status or
enters a phase.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define

from canarycore._fields import check_fields, instance
from canarycore._observation import EPSILON, Observation, RouteRefusal, Workload
from canarycore._record import record
from canarycore._spec import Hook, HookType, Rollout
from canarycore._status import Status
from canarycore._verdicts import Judgement
from canarycore.effects import Plan
from canarycore.notices import Notice, NoticeKind, format_notice
from canarycore.phases import FINISHED, Approval, CutShort, Phase, Reason, Rule
from canarycore.questions import Answer, Ask, HookAnswer, HookQuestion, Question
from canarycore.results import summarise_analysis, summarise_end

if TYPE_CHECKING:
    from canarycore._limits import CheckTally
    from canarycore.results import AnalysisResult, RolloutEnd


@record
class Inputs:
    """Everything that a decision may depend on. Raises WrongType if a value has another type than its field."""

    observation: Observation
    """The cluster at one moment."""
    answers: Mapping[str, Answer] = {}
    """The answers so far, by the key of their question."""

    def __attrs_post_init__(self) -> None:
        if self.observation.__class__ is not Observation or self.answers.__class__ is not dict:
            check_fields(self, _INPUT_RULES)


_INPUT_RULES = {"observation": instance(Observation), "answers": instance(Mapping)}


@record
class Explanation:
    """The reason for a decision, as data; `str` returns it as a sentence."""

    rule: Rule
    """The rule that fired."""
    before: Phase
    """The phase of the status that the decision started from."""
    after: Phase
    """The phase of the decision's status."""
    detail: str = ""
    """The reason why pods are not ready, or empty."""
    answers: tuple[tuple[Question, Answer], ...] = ()
    """The hooks and sources that the decision used, each with its answer. Metrics are in `judgements`."""
    judgements: tuple[Judgement, ...] = ()
    """The verdict of each check that was due."""

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
    """The outcome of `decide`: a status to commit, or a wait."""

    status: Status
    """The status to commit. The very object that `decide` received when there is nothing to write."""
    notices: tuple[Notice, ...]
    """The notices to publish. A driver commits them in the status's outbox, or publishes them directly when it writes
    nothing."""
    wake: float | None
    """When to decide again: an absolute time in seconds on the observation's clock (`Observation.now`), not a delay.
    None waits for the next change in the cluster."""
    explanation: Explanation
    """The reason for the decision."""


Deliberation = Generator[Ask, "Mapping[str, Answer]", Decision]
"""A decision under way: it yields an Ask, receives an answer to each of its questions, and returns the Decision."""


Outcome = Ask | Decision
"""The result of `decide`: questions to answer first, or the decision."""


Inquiry = Generator[Ask, "Mapping[str, Answer]", "Decision | None"]
"""A part of a decision; it returns None when its guards let the rollout pass."""


@define(init=False)
class DecisionBuilder:
    """One decision under way: the inputs, and the answers and notices so far."""

    rollout: Rollout
    status: Status
    observation: Observation
    poll: int
    """The number of intervals since the last analysis. Nothing is due at 0."""
    answers: tuple[tuple[Question, Answer], ...]
    judgements: tuple[Judgement, ...]
    notices: list[tuple[NoticeKind, tuple[str, ...], bool]]
    """Kind, arguments, and whether each poll repeats the notice while the decision writes nothing."""
    detail: str
    tallies: tuple[CheckTally, ...]
    """The tallies after the answers so far."""

    def __init__(self, rollout: Rollout, status: Status, observation: Observation) -> None:
        self.rollout, self.status, self.observation = rollout, status, observation
        age = observation.now - status.analysed_at + EPSILON
        self.poll = int(age // rollout.interval) if age > 0 else 0
        self.answers, self.judgements, self.notices, self.detail = (), (), [], ""
        self.tallies = status.tallies

    # time -------------------------------------------------------------------------------------------------------

    @property
    def next_poll(self) -> float:
        """The time at which the next interval has passed, in seconds."""
        return self.status.analysed_at + (self.poll + 1) * self.rollout.interval

    @property
    def is_overdue(self) -> bool:
        """Whether the cluster has not matched the goal for longer than the progress deadline."""
        return self.is_past_deadline(self.status.analysed_at + self.rollout.interval)

    def missing_since(self, side: Workload) -> float:
        """Return since when this side has lacked pods in this phase; by default, since the last analysis."""
        return self._in_this_phase(side.unready_since)

    def refused_since(self, refusal: RouteRefusal) -> float:
        """Return since when the routes have not been in force in this phase; by default, since the last analysis."""
        return self._in_this_phase(refusal.since)

    def _in_this_phase(self, since: float | None) -> float:
        return max(self.status.analysed_at if since is None else since, self.status.since or 0.0)

    def is_past_deadline(self, since: float) -> bool:
        """Whether the progress deadline, counted from `since`, has passed."""
        return self.observation.has_reached(since + self.rollout.progress_deadline)

    # the cluster ------------------------------------------------------------------------------------------------

    @property
    def is_primary_down(self) -> bool:
        """Whether the primary is missing or has no available pod."""
        primary = self.observation.primary
        return primary is None or not primary.has_capacity

    # notices ----------------------------------------------------------------------------------------------------

    def emit(self, kind: NoticeKind, *args: str) -> None:
        """Add a notice. Each poll repeats it while the decision writes nothing."""
        self.notices.append((kind, args, True))

    def emit_once(self, kind: NoticeKind, *args: str) -> None:
        """Add a notice that goes out once in this status."""
        self.notices.append((kind, args, False))

    def emit_plan(self, plan: Plan) -> None:
        """Add the notices of a plan, and why the routes are not in force.

        Alerts, and notices about a primary that is down, go out once in this status.
        """
        if self.observation.refusal is not None:
            self.detail = self.detail or str(self.observation.refusal)
        for kind, args in plan.notes:
            self.notices.append((kind, args, kind.value.severity is None and not self.is_primary_down))

    def _build_notices(self, after: Phase, poll: str = "", cause: str = "") -> tuple[Notice, ...]:
        """Return the notices of a decision that leads to `after`; `poll` makes the keys of repeats differ.

        `cause` is the detail of alerts.
        """
        status, names, templates = self.status, self.rollout.names, self.rollout.templates
        before = status.phase
        stem = f"{status.applied}@{status.analysed_at}/{before._value_}/"
        return tuple(
            [
                Notice(
                    kind,
                    f"{stem}{kind._name_}{'' if kind in _ONE_A_POLL else '/'.join(args)}{poll if repeats else ''}",
                    after if kind in _NOTICES_OF_NEXT_PHASE else before,
                    names,
                    args,
                    cause if kind.value.severity is not None else "",
                    templates.get(kind, "") if templates else "",
                )
                for kind, args, repeats in self.notices
            ]
        )

    # questions --------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> str:
        """The target's revision, which hooks and a new analysis are about; the status's, when there is no target."""
        target = self.observation.target
        return self.status.applied if target is None else target.revision

    def key(self, kind: str, name: str) -> str:
        """Return the key of a question: the time of the last analysis identifies the rung and the attempt."""
        status = self.status
        return f"{self.revision}@{status.analysed_at}/{status.phase._value_}#{self.poll}/{kind}/{name}"

    def call(self, hook: Hook, phase: Phase | None = None) -> Generator[Ask, Mapping[str, Answer], HookAnswer]:
        """Ask a hook and return its answer. `phase` is the phase in the call, by default the status's own."""
        status = self.status
        place = self.rollout.hooks.index(hook)  # names need not be unique
        key = self.key(f"{hook.type.value}/{place}", hook.name)
        question = HookQuestion(key, hook, phase or status.phase, self.revision)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, HookAnswer)
        self.answers += ((question, answer),)
        return answer

    # decisions --------------------------------------------------------------------------------------------------

    def wait(self, rule: Rule, wake: float | None) -> Decision:
        """Return a decision that writes nothing; `wake` as in `Decision`."""
        status = self.status
        notices = self._build_notices(status.phase, f"#{self.poll}") if self.notices else ()
        explanation = Explanation(rule, status.phase, status.phase, self.detail, self.answers, self.judgements)
        return Decision(status, notices, wake, explanation)

    def change(self, rule: Rule, wake: float | None = None, **changes: Any) -> Decision:
        """Return a decision with a changed status. Without `wake` the next cycle is due at once, to converge."""
        before = self.status
        changes["outbox"] = ()
        if self.tallies or before.tallies:  # those of a rung end with it
            changes.setdefault("tallies", () if changes.get("rung", before.rung) != before.rung else self.tallies)
        if "handled" in changes:
            changes.setdefault("refusal", "")
        if self.has_analysed:
            changes["analysis"] = self._summarise_analysis()
        if changes.get("phase") in FINISHED:
            changes["end"] = self._summarise_end(**changes)
            changes["analysis"] = None
        after = before.but(**changes)
        explanation = Explanation(rule, before.phase, after.phase, self.detail, self.answers, self.judgements)
        cause = after.end.failures if after.end is not None and "end" in changes else ""
        notices = self._build_notices(after.phase, cause=cause) if self.notices else ()
        return Decision(after, notices, self.observation.now if wake is None else wake, explanation)

    def enter(self, rule: Rule, phase: Phase, reason: Reason = Reason.NONE, **changes: Any) -> Decision:
        """Return a decision with a changed status in another phase, in which no step holds."""
        now = self.observation.now
        changes |= {"phase": phase, "reason": reason, "since": now, "analysed_at": now, "reached_at": None}
        changes.setdefault("returning", False)
        changes.setdefault("cut_short", CutShort.NONE)
        return self.change(rule, approval=Approval.NONE, **changes)

    # results ----------------------------------------------------------------------------------------------------

    @property
    def has_analysed(self) -> bool:
        """Whether this decision judged metrics, or a hook of the analysis failed."""
        return bool(self.judgements) or any(
            isinstance(question, HookQuestion)
            and question.hook.type in _HOOKS_OF_ANALYSIS
            and isinstance(answer, HookAnswer)
            and not answer.passed
            for question, answer in self.answers
        )

    def _summarise_analysis(self) -> AnalysisResult:
        status = self.status
        answers = [
            (question.hook, answer)
            for question, answer in self.answers
            if isinstance(question, HookQuestion)
            and isinstance(answer, HookAnswer)
            and question.hook.type in _HOOKS_OF_ANALYSIS
        ]
        rung = status.rung
        return summarise_analysis(
            answers,
            self.judgements,
            at=self.observation.now,
            revision=status.applied,
            weight=rung.weight,
            iteration=rung.iteration,
            tenths=rung.tenths,
        )

    def _summarise_end(self, phase: Phase, reason: Reason, **changes: Any) -> RolloutEnd:
        """Return the end of the rollout. A success is about the revision that the status names before it."""
        before = self.status
        announcements = [
            format_notice(self.rollout.templates.get(kind) or kind.value.template, args, self.rollout.names)
            for kind, args, _ in self.notices
            if kind in _ANNOUNCEMENTS
        ]
        return summarise_end(
            phase,
            reason,
            at=self.observation.now,
            revision=before.applied if phase is Phase.SUCCEEDED else changes.get("applied", before.applied),
            detail=next(iter(announcements), ""),
            analysis=changes.get("analysis", before.analysis),
        )


_HOOKS_OF_ANALYSIS = frozenset({HookType.PRE_ROLLOUT, HookType.ROLLOUT})
"""Hooks whose failure counts as a failed check."""

_ANNOUNCEMENTS = frozenset(
    {
        NoticeKind.ROLLING_BACK_CHECKS,
        NoticeKind.ROLLING_BACK_LIMIT,
        NoticeKind.ROLLING_BACK_INCONCLUSIVE,
        NoticeKind.ROLLING_BACK_DEADLINE,
        NoticeKind.ROLLBACK_HOOK_PASSED,
        NoticeKind.PROMOTION_FAILED,
        NoticeKind.ABORTED,
    }
)
"""Events that announce a failure."""

_NOTICES_OF_NEXT_PHASE = frozenset(
    {
        NoticeKind.INITIALIZED,
        NoticeKind.INITIALIZED_ALERT,
        NoticeKind.NEW_REVISION,
        NoticeKind.NEW_REVISION_ALERT,
        NoticeKind.STEPS_SKIPPED,
        NoticeKind.FAILED,
        NoticeKind.SUCCEEDED,
        NoticeKind.SUCCEEDED_ALERT,
        NoticeKind.SUCCEEDED_SKIPPED,
        NoticeKind.SUCCEEDED_SKIPPED_ALERT,
        NoticeKind.WITHDRAWN,
        NoticeKind.WITHDRAWN_ALERT,
    }
)
"""Notices that carry the phase that a decision leads to; the others carry the phase before it."""

_ONE_A_POLL = frozenset({NoticeKind.PRIMARY_UNREADY, NoticeKind.CANARY_UNREADY})
"""Notices whose arguments change with each pod: they go out once a poll, not at every change."""
