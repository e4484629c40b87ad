"""How a rollout advances: `decide`, a total function.

For any rollout, status and knowledge it returns a value: an `Ask` with all it needs at this point, or a `Decision`. It
never raises, reads no clock and draws no random number. There is one code path, so asking and deciding cannot disagree:
`deliberate` is a generator that yields an `Ask` wherever it must know more and goes on with the answers; `decide` runs
it from the start with the answers there are. A driver that stays with one decision sends answers to `deliberate`.

Guards come in the order of what matters most; the first match wins:

    deleted → suspended → a command → the phase's own guards

The guards of an analysis (phases Progressing and WaitingPromotion), in order:

    the target is missing · it is back at the promoted revision (withdraw) · it carries another one (restart) ·
    a rollback hook asks (polled once an interval) · primary not ready · canary not ready · the world is not as the
    status wants it · paused · the interval has not passed · the analysis is skipped · too many failed checks already ·
    hooks, in the manifest's order · metrics, all at once · gates, only after a pass · the next rung, or the promotion
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from canarycore._analysis import Judgement, Verdict, judge
from canarycore._goal import Plan, converge, goal, in_step, unready
from canarycore._ladder import GROUND, Rung, Strategy
from canarycore._notices import Notice, Tell
from canarycore._phases import ACTIVE, BEFORE_PROMOTION, IDLE, OVER, UNDER_WAY, Phase, Rule
from canarycore._questions import (
    Answer,
    Ask,
    HookAnswer,
    HookQuestion,
    MetricQuestion,
    Question,
    SourcesAnswer,
    SourcesQuestion,
)
from canarycore._spec import Check, Hook, HookType, NoData, Rollout
from canarycore._status import Pending, Reason, Status
from canarycore._world import Command, CommandKind, Workload, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EPSILON = 1e-6
"""Seconds by which a clock may be early: a timer that fires a hair too soon must not cost an interval."""


@frozen
class Known:
    """All that a decision may rest on: one observation, and the answers got so far by their question's key."""

    world: World
    answers: Mapping[str, Answer] = {}


@frozen
class Because:
    """Why: the rule that fired, hooks and sources asked and their answers, and each check's verdict on its value.

    It is data, and prints as a sentence.
    """

    rule: Rule
    before: Phase
    after: Phase
    detail: str = ""
    asked: tuple[tuple[Question, Answer], ...] = ()
    judgements: tuple[Judgement, ...] = ()

    def __str__(self) -> str:
        move = self.before.value if self.after is self.before else f"{self.before.value} → {self.after.value}"
        parts = [f"{move}: {self.rule.value}" + (f" ({self.detail})" if self.detail else "")]
        parts += [str(judgement) for judgement in self.judgements]
        parts += [
            f"{question.hook.type.value} {question.hook.name} {'passed' if answer.passed else 'did not pass'}"
            for question, answer in self.asked
            if isinstance(question, HookQuestion) and isinstance(answer, HookAnswer)
        ]
        return "; ".join(parts)


@frozen
class Decision:
    """What was decided.

    status: the status to commit; the very object that was given when nothing is to be written. notices: what to tell
    (committed with the status in its outbox, or published directly when nothing is written). wake: when to look again
    (seconds), None when only a change of the world matters. because: why.
    """

    status: Status
    notices: tuple[Notice, ...]
    wake: float | None
    because: Because


Thinking = Generator[Ask, "Mapping[str, Answer]", Decision]
"""A decision under way: yields an Ask, is sent an answer to each of its questions, returns the Decision."""

Outcome = Ask | Decision


def decide(rollout: Rollout, status: Status, known: Known) -> Outcome:
    """The next decision of a rollout, or what must be asked first. Total: never raises, whatever it is given."""
    thinking = deliberate(rollout, status, known.world)
    try:
        ask = next(thinking)
        while True:
            open_questions = ask.unanswered(known.answers)
            if open_questions:
                return Ask(open_questions)
            ask = thinking.send(known.answers)
    except StopIteration as stop:
        decision: Decision = stop.value
        return decision


def deliberate(rollout: Rollout, status: Status, world: World) -> Thinking:
    """`decide` for a driver that stays with it: yields each Ask and must be sent an answer to all of its questions."""
    case = _Case(rollout, status, world)
    phase, command = status.phase, world.command
    if status.since is None:
        return _detect(case)
    if world.deleted and phase not in OVER:
        return _delete(case)
    if rollout.suspend and phase not in OVER:
        case.tell_once(Tell.SUSPENDED)
        return case.wait(Rule.SUSPENDED, None)
    if command is not None and command.id != status.handled and phase not in OVER:
        decision = _COMMANDS[command.kind](case, command)
        if decision is not None:
            return decision
    outcome = _PHASES[phase](case)
    return outcome if isinstance(outcome, Decision) else (yield from outcome)


# ------------------------------------------------------------------------------------------------------ vocabulary


@define
class _Case:
    """One decision under way: the inputs, and what has been asked and told so far."""

    rollout: Rollout
    status: Status
    world: World
    asked: tuple[tuple[Question, Answer], ...] = ()
    judgements: tuple[Judgement, ...] = ()
    told: list[tuple[Tell, tuple[str, ...], bool]] = field(factory=list)
    detail: str = ""
    poll: int = field(init=False)

    # time -------------------------------------------------------------------------------------------------------

    @poll.default
    def _whole_intervals(self) -> int:
        """How many intervals have passed since the last analysis; nothing is due at 0."""
        return max(0, int((self.world.now - self.status.analysed_at + _EPSILON) // self.rollout.interval))

    @property
    def next_poll(self) -> float:
        return self.status.analysed_at + (self.poll + 1) * self.rollout.interval

    @property
    def overdue(self) -> bool:
        """Whether the world has failed to follow for longer than the progress deadline allows."""
        return self.expired(self.status.analysed_at + self.rollout.interval)

    def expired(self, since: float) -> bool:
        return self.world.now + _EPSILON >= since + self.rollout.progress_deadline

    # telling ----------------------------------------------------------------------------------------------------

    def tell(self, what: Tell, *args: str) -> None:
        """Something to tell: again at each poll while nothing is written."""
        self.told.append((what, args, True))

    def tell_once(self, what: Tell, *args: str) -> None:
        """Something to tell once in this status."""
        self.told.append((what, args, False))

    def tell_plan(self, plan: Plan) -> None:
        for what, args in plan.notes:
            self.told.append((what, args, what.value.severity is None))

    def _notices(self, phase: Phase, poll: int | None) -> tuple[Notice, ...]:
        status, names = self.status, self.rollout.names
        stem = f"{status.applied}@{status.analysed_at}/{status.phase._value_}/"
        return tuple(
            [
                Notice(
                    what,
                    stem + what._name_ + "/".join(args) + (f"#{poll}" if repeats and poll is not None else ""),
                    phase if what in _TOLD_AFTER else status.phase,
                    names,
                    args,
                )
                for what, args, repeats in self.told
            ]
        )

    # asking -----------------------------------------------------------------------------------------------------

    def key(self, kind: str, name: str) -> str:
        """The time of the last analysis stands for the rung and the attempt: each counted analysis moves it."""
        status, world = self.status, self.world
        revision = world.target.revision if world.target is not None else status.applied
        return f"{revision}@{status.analysed_at}/{status.phase._value_}#{self.poll}/{kind}/{name}"

    def call(self, hook: Hook, phase: Phase | None = None) -> Generator[Ask, Mapping[str, Answer], HookAnswer]:
        """The hook's answer. `phase`: what the hook is told, if not the status's own."""
        status, target = self.status, self.world.target
        revision = target.revision if target is not None and status.phase in _GATED_BY_TARGET else status.applied
        question = HookQuestion(self.key(hook.type.value, hook.name), hook, phase or status.phase, revision)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, HookAnswer)
        self.asked += ((question, answer),)
        return answer

    # deciding ---------------------------------------------------------------------------------------------------

    def wait(self, rule: Rule, wake: float | None) -> Decision:
        """Nothing is written."""
        status = self.status
        notices = self._notices(status.phase, self.poll) if self.told else ()
        because = Because(rule, status.phase, status.phase, self.detail, self.asked, self.judgements)
        return Decision(status, notices, wake, because)

    def change(self, rule: Rule, wake: float | None = None, **changes: Any) -> Decision:
        """A new status. Without `wake`: look again at once, as the world has to follow."""
        before = self.status
        changes["outbox"] = ()
        after = before.but(**changes)
        because = Because(rule, before.phase, after.phase, self.detail, self.asked, self.judgements)
        notices = self._notices(after.phase, None) if self.told else ()
        return Decision(after, notices, self.world.now if wake is None else wake, because)

    def enter(self, rule: Rule, phase: Phase, reason: Reason = Reason.NONE, **changes: Any) -> Decision:
        """A new status in another phase."""
        now = self.world.now
        return self.change(rule, phase=phase, reason=reason, since=now, analysed_at=now, **changes)


_TOLD_AFTER = frozenset(
    {
        Tell.INITIALIZED,
        Tell.INITIALIZED_ALERT,
        Tell.NEW_REVISION,
        Tell.NEW_REVISION_ALERT,
        Tell.FAILED,
        Tell.SUCCEEDED,
        Tell.SUCCEEDED_ALERT,
        Tell.SUCCEEDED_SKIPPED,
        Tell.SUCCEEDED_SKIPPED_ALERT,
        Tell.WITHDRAWN,
        Tell.WITHDRAWN_ALERT,
    }
)
"""Texts that tell the phase a decision leads to; the others tell the phase it was made in."""

_GATED_BY_TARGET = IDLE | {Phase.WAITING}
"""Phases whose gates are about the revision on the target, which no status carries yet."""


# ------------------------------------------------------------------------------------------- before and after all


def _detect(case: _Case) -> Decision:
    target = case.world.target
    return case.enter(Rule.DETECTED, Phase.INITIALIZING, applied=target.revision if target is not None else "")


def _delete(case: _Case) -> Decision:
    case.tell(Tell.TERMINATING)
    return case.enter(Rule.DELETED, Phase.TERMINATING, rung=GROUND, pending=())


def _terminating(case: _Case) -> Decision:
    plan = converge(goal(case.rollout, case.status), case.world)
    if not plan.done:
        case.tell_plan(plan)
        return case.wait(Rule.RESTORING, case.world.now + min(case.rollout.interval, 1.0))
    case.tell(Tell.TERMINATED)
    return case.enter(Rule.RESTORED, Phase.TERMINATED)


def _terminated(case: _Case) -> Decision:
    return case.wait(Rule.GONE, None)


# ------------------------------------------------------------------------------------------------------ initialise


def _initializing(case: _Case) -> Thinking:
    rollout, status, world = case.rollout, case.status, case.world
    target = world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.INITIALISING, case.next_poll)
    if target.revision != status.applied:
        return case.change(Rule.NOTED, applied=target.revision)
    if not rollout.skip_analysis:
        yield from _sources(case)
    plan = converge(goal(rollout, status), world)
    primary = world.primary
    reason = unready(primary, rollout.primary_ready) if primary is not None else ""
    if reason:
        case.tell(Tell.PRIMARY_UNREADY, reason)
    if not plan.done:
        return case.wait(Rule.INITIALISING, case.next_poll)
    case.tell(Tell.INITIALIZED)
    case.tell(Tell.INITIALIZED_ALERT)
    return case.enter(
        Rule.INITIALIZED, Phase.INITIALIZED, promoted=status.applied, drain_until=0.0, pending=(Pending.SETTLE,)
    )


def _sources(case: _Case) -> Generator[Ask, Mapping[str, Answer], None]:
    checks = case.rollout.checks
    error = ""
    if checks:
        question = SourcesQuestion(case.key("sources", "online"), checks)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, SourcesAnswer)
        case.asked += ((question, answer),)
        error = answer.error
    if error:
        case.tell(Tell.SOURCES_OFFLINE, error)
    else:
        case.tell(Tell.SOURCES_ONLINE)


# ------------------------------------------------------------------------------------------------------------ idle


def _idle(case: _Case) -> Decision | Thinking:
    status, world = case.status, case.world
    if Pending.HOOKS in status.pending:
        return _post_rollout(case)
    target = world.target
    plan = converge(goal(case.rollout, status), world)
    if target is not None and target.revision != status.applied:
        if status.phase is Phase.FAILED and target.revision == status.promoted:
            return case.change(Rule.NOTED, applied=target.revision)
        if not _being_taken_back(case):
            return _start_when_confirmed(case)
    if not plan.done:
        if _being_taken_back(case):
            case.tell(Tell.TAKING_BACK, status.promoted)
        case.tell_plan(plan)
        drained = status.drain_until if status.drain_until > world.now else case.next_poll
        return case.wait(Rule.CONVERGING, drained)
    if status.pending:
        return case.change(Rule.SETTLED, pending=())
    if target is not None and target.desired > 0:
        case.tell_once(Tell.SCALED_BY_HAND, str(target.desired))
    return case.wait(Rule.IDLE, None)


def _being_taken_back(case: _Case) -> bool:
    """Whether the primary still carries a rejected revision that it can be relieved of."""
    status, primary = case.status, case.world.primary
    return (
        status.phase is Phase.FAILED
        and primary is not None
        and primary.revision != status.promoted
        and status.promoted in case.world.kept
    )


def _post_rollout(case: _Case) -> Thinking:
    for hook in case.rollout.hooks_by_type[HookType.POST_ROLLOUT]:
        answer = yield from case.call(hook)
        if not answer.passed:
            case.tell(Tell.POST_ROLLOUT_FAILED, hook.name, answer.text)
            break
        case.tell(Tell.POST_ROLLOUT_PASSED, hook.name)
    if case.status.phase is Phase.SUCCEEDED:
        _tell_success(case)
    return case.change(Rule.HOOKS_CALLED, pending=(Pending.SETTLE,))


def _tell_success(case: _Case) -> None:
    reason = case.status.reason
    if reason is Reason.WITHDRAWN:
        return
    skipped = reason is Reason.SKIPPED
    case.tell(Tell.SUCCEEDED_SKIPPED if skipped else Tell.SUCCEEDED)
    case.tell(Tell.SUCCEEDED_SKIPPED_ALERT if skipped else Tell.SUCCEEDED_ALERT)


def _pending(rollout: Rollout) -> tuple[Pending, ...]:
    return (Pending.HOOKS, Pending.SETTLE) if rollout.hooks_by_type[HookType.POST_ROLLOUT] else (Pending.SETTLE,)


# --------------------------------------------------------------------------------------------------------- starting


def _start_when_confirmed(case: _Case) -> Thinking:
    """Past the confirm-rollout gates a new revision starts."""
    waiting = case.status.phase is Phase.WAITING
    for hook in case.rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]:
        answer = yield from case.call(hook)
        if answer.passed:
            case.tell(Tell.GATE_ROLLOUT_PASSED, hook.name)
            continue
        if waiting:
            return case.wait(Rule.GATE_CLOSED, case.next_poll)
        case.tell(Tell.GATE_ROLLOUT_CLOSED, hook.name)
        if not hook.mute_alert:
            case.tell(Tell.GATE_ROLLOUT_ALERT)
        return case.enter(Rule.GATED, Phase.WAITING, rung=GROUND, pending=())
    return _start(case, Rule.STARTED)


def _start(case: _Case, rule: Rule) -> Decision:
    case.tell(Tell.NEW_REVISION)
    case.tell(Tell.NEW_REVISION_ALERT)
    return case.enter(rule, Phase.PROGRESSING, **_fresh(case), pending=())


def _fresh(case: _Case) -> dict[str, Any]:
    """A new analysis of what the target carries now."""
    target = case.world.target
    revision = case.status.applied if target is None else target.revision
    return {"applied": revision, "rung": GROUND, "failed_checks": 0, "holds": 0}


def _waiting(case: _Case) -> Thinking:
    target = case.world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.GATE_CLOSED, case.next_poll)
    if target.revision == case.status.promoted:
        return _withdraw(case)
    if case.poll and not case.status.paused:
        decision = yield from _rollback_hooks(case)
        if decision is not None:
            return decision
    plan = converge(goal(case.rollout, case.status), case.world)
    if not plan.done:
        case.tell_plan(plan)
        return case.wait(Rule.CONVERGING, case.next_poll)
    if case.status.paused:
        return case.wait(Rule.ON_HOLD, None)
    if not case.poll:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    return (yield from _start_when_confirmed(case))


def _withdraw(case: _Case) -> Decision:
    case.tell(Tell.WITHDRAWN)
    case.tell(Tell.WITHDRAWN_ALERT)
    status = case.status
    return case.enter(
        Rule.WITHDRAWN,
        Phase.SUCCEEDED,
        Reason.WITHDRAWN,
        applied=status.promoted,
        rung=GROUND,
        failed_checks=0,
        holds=0,
        paused=False,
        drain_until=_drained(case),
        pending=_pending(case.rollout),
    )


def _drained(case: _Case) -> float:
    """When the canary may stop after its traffic was taken away in a hurry."""
    return case.world.now + (case.rollout.drain if case.status.rung.exposed else 0.0)


# --------------------------------------------------------------------------------------------------------- analysing


def _active(case: _Case) -> Thinking:
    rollout, status, world = case.rollout, case.status, case.world
    target = world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.UNREADY, case.next_poll)
    if target.revision != status.applied:
        return _withdraw(case) if target.revision == status.promoted else _restart(case)
    poll = case.poll
    if poll and not status.paused and rollout.hooks_by_type[HookType.ROLLBACK]:
        outcome = yield from _rollback_hooks(case)
        if outcome is not None:
            return outcome
    if not in_step(rollout, status, world):
        outcome = _out_of_step(case, target)
        if outcome is not None:
            return outcome
    if status.paused:
        return case.wait(Rule.ON_HOLD, None)
    if not poll:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    if rollout.skip_analysis:
        return _promote(case, Rule.SKIPPED, Reason.SKIPPED)
    if status.failed_checks >= rollout.threshold:
        return _roll_back_checks(case, status.failed_checks)
    return (yield from _analyse(case))


def _out_of_step(case: _Case, target: Workload) -> Decision | None:
    """A wait, or a rollback past the progress deadline, while pods are missing or the world is not as it should be."""
    rollout, world = case.rollout, case.world
    outcome = _side_unready(case, world.primary, rollout.primary_ready, is_primary=True) or _side_unready(
        case, target, rollout.canary_ready, is_primary=False
    )
    if outcome is not None:
        return outcome
    plan = converge(goal(rollout, case.status), world)
    if plan.done:
        return None
    case.tell_plan(plan)
    if case.overdue:
        return _roll_back_late(case, "the world does not follow")
    return case.wait(Rule.CONVERGING, case.next_poll)


def _restart(case: _Case) -> Decision:
    case.tell(Tell.RESTARTED)
    return case.enter(Rule.RESTARTED, Phase.PROGRESSING, **_fresh(case))


def _rollback_hooks(case: _Case) -> Generator[Ask, Mapping[str, Answer], Decision | None]:
    for hook in case.rollout.hooks_by_type[HookType.ROLLBACK]:
        answer = yield from case.call(hook)
        if answer.passed:
            case.tell(Tell.ROLLBACK_HOOK_PASSED, hook.name)
            case.tell(Tell.ROLLING_BACK_HOOK)
            case.tell(Tell.ROLLING_BACK_HOOK_ALERT)
            return _fail(case, Rule.ROLLED_BACK_HOOK, Reason.HOOK)
        case.tell(Tell.ROLLBACK_HOOK_QUIET, hook.name)
    return None


def _side_unready(case: _Case, side: Workload | None, threshold: int, *, is_primary: bool) -> Decision | None:
    """A wait, or a rollback past the progress deadline, when pods are missing on one side."""
    what = Tell.PRIMARY_UNREADY if is_primary else Tell.CANARY_UNREADY
    if side is None:
        reason = "it does not exist"
    elif is_primary and side.desired == 0:
        what, reason = Tell.PRIMARY_AT_ZERO, "it is scaled to zero"
    else:
        reason = unready(side, threshold)
    if not reason:
        return None
    case.detail = reason
    case.tell(what, reason)
    plan = converge(goal(case.rollout, case.status), case.world)
    case.tell_plan(plan)
    wake = case.next_poll
    since = side.unready_since if side is not None else None
    if side is not None and side.stuck:
        return _roll_back_late(case, reason)
    if since is not None:
        since = max(since, case.status.since or since)
        if case.expired(since):
            return _roll_back_late(case, reason)
        wake = min(wake, since + case.rollout.progress_deadline)
    return case.wait(Rule.UNREADY, wake)


def _analyse(case: _Case) -> Thinking:
    """Hooks in order, then metrics at once, then gates."""
    hooks, checks = case.rollout.hooks_by_type, case.rollout.checks_in_order
    climbing = not case.status.rung == GROUND  # noqa: SIM201  attrs' != is a second call, and this is the hot path
    kind = HookType.ROLLOUT if climbing else HookType.PRE_ROLLOUT
    if not climbing:
        case.tell(Tell.STARTING)
    outcome = (yield from _checking_hooks(case, kind)) if hooks[kind] else None
    if outcome is None and climbing and checks:
        questions = _metric_questions(case, checks)
        outcome = _verdict(case, questions, (yield Ask(questions)))
    if outcome is None and (hooks[HookType.CONFIRM_TRAFFIC_INCREASE] or hooks[HookType.CONFIRM_PROMOTION]):
        outcome = yield from _gates(case)
    return outcome or _climb(case)


_CHECKING_TEXTS = {
    HookType.PRE_ROLLOUT: (Tell.PRE_ROLLOUT_FAILED, Tell.PRE_ROLLOUT_PASSED),
    HookType.ROLLOUT: (Tell.ROLLOUT_HOOK_FAILED, None),
}


def _checking_hooks(case: _Case, kind: HookType) -> Generator[Ask, Mapping[str, Answer], Decision | None]:
    """Rollout hooks while traffic may be on the canary, pre-rollout hooks before; they end at the first that fails."""
    failed, passed = _CHECKING_TEXTS[kind]
    for hook in case.rollout.hooks_by_type[kind]:
        answer = yield from case.call(hook, Phase.PROGRESSING)
        if not answer.passed:
            case.tell(failed, hook.name, answer.text)
            return _halt(case)
        if passed is not None:
            case.tell(passed, hook.name)
    return None


def _metric_questions(case: _Case, checks: tuple[Check, ...]) -> tuple[MetricQuestion, ...]:
    stem, revision = case.key("metric", ""), case.status.applied
    return tuple([MetricQuestion(stem + check.name, check, revision) for check in checks])


def _verdict(
    case: _Case, questions: tuple[MetricQuestion, ...], answers: Mapping[str, Answer]
) -> Decision | None:
    """None when all checks passed; the first that did not is told, in Flagger's order."""
    enough = case.rollout.min_samples
    judgements = [judge(asked.check, answers[asked.key], enough) for asked in questions]  # type: ignore[arg-type]
    case.judgements = tuple(judgements)
    for judgement in judgements:
        if judgement.verdict is not Verdict.PASS:
            return _did_not_pass(case)
    return None


def _did_not_pass(case: _Case) -> Decision:
    """A hold where all that is missing is data and the owner wants to wait for it, else a failed check."""
    rollout = case.rollout
    bad = [judgement for judgement in case.judgements if judgement.verdict is not Verdict.PASS]
    hold = rollout.no_data is NoData.HOLD
    if all(judgement.thin or (hold and judgement.verdict is not Verdict.FAIL) for judgement in bad):
        return _hold(case, bad[0])
    told = next((judgement for judgement in bad if judgement.verdict is Verdict.FAIL), bad[0]) if hold else bad[0]
    case.tell(Tell.CHECK_FAILED, told.text(rollout))
    return _halt(case)


def _halt(case: _Case) -> Decision:
    """A failed check counts; at the threshold the rollout is rolled back in the same breath."""
    failed = case.status.failed_checks + 1
    if failed >= case.rollout.threshold:
        return _roll_back_checks(case, failed)
    return _counted(case, Rule.HALTED, failed_checks=failed)


def _hold(case: _Case, judgement: Judgement) -> Decision:
    rollout, holds = case.rollout, case.status.holds + 1
    case.tell(Tell.HELD, judgement.text(rollout))
    if rollout.inconclusive_limit and holds >= rollout.inconclusive_limit:
        case.tell(Tell.ROLLING_BACK_INCONCLUSIVE, str(holds))
        case.tell(Tell.ROLLING_BACK_INCONCLUSIVE_ALERT, str(holds))
        return _fail(case, Rule.ROLLED_BACK_INCONCLUSIVE, Reason.INCONCLUSIVE)
    return _counted(case, Rule.HELD, holds=holds)


def _counted(case: _Case, rule: Rule, **changes: Any) -> Decision:
    """The interval starts anew: an analysis was counted."""
    now = case.world.now
    return case.change(rule, now + case.rollout.interval, analysed_at=now, **changes)


def _climb(case: _Case) -> Decision:
    """The rung passed, and no gate is closed: the next one, or the promotion."""
    after = case.rollout.ladder.after(case.status.rung)
    return _promote(case, Rule.PROMOTED, Reason.PASSED) if after is None else _advance(case, after)


def _gates(case: _Case) -> Generator[Ask, Mapping[str, Answer], Decision | None]:
    """The gates between this rung and what comes after it; None when all are open."""
    status, ladder = case.status, case.rollout.ladder
    rung = status.rung
    if ladder.strategy is Strategy.WEIGHTS and not rung.mirrored and status.phase is Phase.PROGRESSING:
        outcome = yield from _gate(case, HookType.CONFIRM_TRAFFIC_INCREASE)
        if outcome is not None:
            return outcome
    return (yield from _gate(case, HookType.CONFIRM_PROMOTION)) if ladder.asks_promotion(rung) else None


_GATE_TEXTS = {
    HookType.CONFIRM_TRAFFIC_INCREASE: (
        Tell.GATE_INCREASE_PASSED,
        Tell.GATE_INCREASE_CLOSED,
        Tell.GATE_INCREASE_ALERT,
    ),
    HookType.CONFIRM_PROMOTION: (
        Tell.GATE_PROMOTION_PASSED,
        Tell.GATE_PROMOTION_CLOSED,
        Tell.GATE_PROMOTION_ALERT,
    ),
}


def _gate(case: _Case, kind: HookType) -> Generator[Ask, Mapping[str, Answer], Decision | None]:
    passed, closed, alert = _GATE_TEXTS[kind]
    for hook in case.rollout.hooks_by_type[kind]:
        answer = yield from case.call(hook)
        if answer.passed:
            case.tell(passed, hook.name)
            continue
        if case.status.phase is Phase.WAITING_PROMOTION:
            return case.wait(Rule.GATE_CLOSED, case.next_poll)
        case.tell(closed, hook.name)
        if not hook.mute_alert:
            case.tell_once(alert)
        if kind is HookType.CONFIRM_PROMOTION:
            now = case.world.now
            return case.change(
                Rule.GATED_PROMOTION,
                now + case.rollout.interval,
                phase=Phase.WAITING_PROMOTION,
                since=now,
                analysed_at=now,
            )
        return case.wait(Rule.GATE_CLOSED, case.next_poll)
    return None


def _advance(case: _Case, rung: Rung) -> Decision:
    rollout = case.rollout
    ladder = rollout.ladder
    if rung.iteration > ladder.iterations:
        if ladder.routed:
            case.tell(Tell.ALL_TO_CANARY_MIRRORED if ladder.mirror else Tell.ALL_TO_CANARY)
    elif rung.iteration:
        case.tell(Tell.ADVANCED_ITERATION, str(rung.iteration), str(ladder.iterations))
    else:
        case.tell(Tell.ADVANCED_WEIGHT, str(rung.weight))
    return _counted(case, Rule.ADVANCED, rung=rung)


# --------------------------------------------------------------------------------------------------------- promoting


def _promote(case: _Case, rule: Rule, reason: Reason) -> Decision:
    case.tell(Tell.COPYING)
    return case.enter(rule, Phase.PROMOTING, reason, paused=False)


def _promoting(case: _Case) -> Decision:
    status, world = case.status, case.world
    target, primary = world.target, world.primary
    if primary is None or primary.revision != status.applied:
        if target is None:
            case.tell(Tell.TARGET_MISSING)
        elif target.revision != status.applied:
            return _withdraw(case) if target.revision == status.promoted else _restart(case)
    outcome = _primary_settling(case)
    if outcome is not None:
        return outcome
    if case.poll < 1 and status.rung.exposed:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    return _step_back(case)


def _primary_settling(case: _Case) -> Decision | None:
    """None once the primary carries the passed revision, is ready, and routes are as wanted."""
    rollout, status, world = case.rollout, case.status, case.world
    if status.paused:
        return case.wait(Rule.ON_HOLD, None)
    primary = world.primary
    plan = converge(goal(rollout, status), world)
    arrived = primary is not None and primary.revision == status.applied
    reason = unready(primary, rollout.primary_ready) if primary is not None and arrived else ""
    if reason and primary is not None:
        case.detail = reason
        case.tell(Tell.PRIMARY_UNREADY, reason)
        case.tell_plan(plan)
        since = max(primary.unready_since or world.now, status.since or 0.0)
        if primary.stuck or case.expired(since):
            return _fail_promotion(case, reason)
        return case.wait(Rule.UNREADY, min(case.next_poll, since + rollout.progress_deadline))
    if not plan.done:
        case.tell_plan(plan)
        if case.overdue:
            return _fail_promotion(case, "it does not take the revision over" if not arrived else "routes do not follow")
        return case.wait(Rule.CONVERGING, case.next_poll)
    return None


def _step_back(case: _Case) -> Decision:
    rollout, status = case.rollout, case.status
    ladder, rung = rollout.ladder, status.rung
    weight = ladder.back(rung.weight)
    if ladder.step_back and rung.exposed:
        case.tell(Tell.PRIMARY_WEIGHT, str(100 - weight))
        if weight > 0:
            return _counted(case, Rule.STEPPED_BACK, rung=Rung(weight=weight, iteration=rung.iteration))
    elif rung.exposed and ladder.routed or rung.iteration and ladder.routed:
        case.tell(Tell.ALL_TO_PRIMARY)
    now = case.world.now
    drain = now + rollout.interval if rung.exposed else now
    return case.enter(Rule.FINALISED, Phase.FINALISING, status.reason, rung=GROUND, drain_until=drain)


def _finalising(case: _Case) -> Decision:
    rollout, status, world = case.rollout, case.status, case.world
    outcome = _primary_settling(case)
    if outcome is not None:
        return outcome
    if world.now + _EPSILON < status.drain_until:
        return case.wait(Rule.DRAINING, status.drain_until)
    pending = _pending(rollout)
    if Pending.HOOKS not in pending:
        _tell_success(case)
    return case.enter(
        Rule.SUCCEEDED,
        Phase.SUCCEEDED,
        status.reason,
        promoted=status.applied,
        previous=status.promoted,
        drain_until=world.now,
        pending=pending,
    )


# ------------------------------------------------------------------------------------------------------ rolling back


def _fail(case: _Case, rule: Rule, reason: Reason, **changes: Any) -> Decision:
    """The rollback is durable with this status; its effects follow from it."""
    case.tell(Tell.FAILED)
    fresh = _fresh(case) if case.status.phase in _GATED_BY_TARGET else {"rung": GROUND, "failed_checks": 0, "holds": 0}
    return case.enter(
        rule,
        Phase.FAILED,
        reason,
        **{**fresh, **changes},
        paused=False,
        drain_until=_drained(case),
        pending=_pending(case.rollout),
    )


def _roll_back_checks(case: _Case, failed: int) -> Decision:
    case.tell(Tell.ROLLING_BACK_CHECKS, str(failed))
    case.tell(Tell.ROLLING_BACK_CHECKS_ALERT, str(failed))
    return _fail(case, Rule.ROLLED_BACK_CHECKS, Reason.CHECKS)


def _roll_back_late(case: _Case, why: str) -> Decision:
    case.tell(Tell.ROLLING_BACK_DEADLINE, why)
    case.tell(Tell.ROLLING_BACK_DEADLINE_ALERT, why)
    return _fail(case, Rule.ROLLED_BACK_DEADLINE, Reason.DEADLINE)


def _fail_promotion(case: _Case, why: str) -> Decision:
    case.tell(Tell.PROMOTION_FAILED, why)
    case.tell(Tell.PROMOTION_FAILED_ALERT, why)
    return _fail(case, Rule.PROMOTION_FAILED, Reason.PROMOTION)


# ---------------------------------------------------------------------------------------------------------- commands


def _refuse(case: _Case, command: Command, why: str) -> Decision:
    case.tell(Tell.REFUSED, command.kind.value, why)
    return case.change(Rule.REFUSED, handled=command.id)


def _command_promote(case: _Case, command: Command) -> Decision | None:
    status, target = case.status, case.world.target
    if status.phase not in BEFORE_PROMOTION:
        return _refuse(case, command, f"nothing is being analysed in phase {status.phase.value}")
    if target is None or target.revision == status.promoted:
        return _refuse(case, command, "the target carries no revision to promote")
    if status.phase in ACTIVE and target.revision != status.applied:
        return _refuse(case, command, "the target carries another revision than the one under analysis")
    case.tell(Tell.PROMOTING_BY_COMMAND, command.id)
    case.tell(Tell.COPYING)
    return case.enter(
        Rule.PROMOTED_BY_COMMAND,
        Phase.PROMOTING,
        Reason.COMMANDED,
        applied=target.revision,
        paused=False,
        handled=command.id,
    )


def _command_abort(case: _Case, command: Command) -> Decision | None:
    status, target = case.status, case.world.target
    if status.phase is Phase.INITIALIZING:
        return None  # there is nothing to go back to yet; it is carried out, or refused, once there is
    waits_to_start = (
        status.phase in (Phase.INITIALIZED, Phase.SUCCEEDED)
        and target is not None
        and target.revision != status.applied
    )
    if status.phase not in UNDER_WAY and not waits_to_start:
        return _refuse(case, command, f"nothing is under way in phase {status.phase.value}")
    case.tell(Tell.ABORTED, command.id)
    case.tell(Tell.ABORTED_ALERT)
    return _fail(case, Rule.ABORTED, Reason.ABORTED, handled=command.id)


def _command_pause(case: _Case, command: Command) -> Decision | None:
    if case.status.phase not in UNDER_WAY or case.status.paused:
        return _refuse(case, command, "there is nothing to pause")
    case.tell(Tell.PAUSED, command.id)
    return case.change(Rule.PAUSED, paused=True, handled=command.id)


def _command_resume(case: _Case, command: Command) -> Decision | None:
    if case.status.phase not in UNDER_WAY or not case.status.paused:
        return _refuse(case, command, "it is not paused")
    case.tell(Tell.RESUMED, command.id)
    return case.change(Rule.RESUMED, paused=False, handled=command.id)


def _command_retry(case: _Case, command: Command) -> Decision | None:
    status, target = case.status, case.world.target
    if status.phase is not Phase.FAILED:
        return _refuse(case, command, f"only a failed rollout is retried, this one is {status.phase.value}")
    if target is None or target.revision == status.promoted:
        return _refuse(case, command, "the target carries no revision to try")
    if _being_taken_back(case):
        return None  # kept until the primary is as it was
    case.tell(Tell.RETRYING, command.id)
    case.tell(Tell.NEW_REVISION)
    case.tell(Tell.NEW_REVISION_ALERT)
    return case.enter(Rule.RETRIED, Phase.PROGRESSING, **_fresh(case), pending=(), handled=command.id)


def _command_skip_to(case: _Case, command: Command) -> Decision | None:
    status, ladder, target = case.status, case.rollout.ladder, case.world.target
    if status.phase is not Phase.PROGRESSING or ladder.strategy is not Strategy.WEIGHTS:
        return _refuse(case, command, "only an analysis by weights can skip to a weight")
    if not 0 < command.weight <= 100:
        return _refuse(case, command, f"the weight is {command.weight}, expected 1 to 100")
    if target is None or target.revision != status.applied:
        return _refuse(case, command, "the target carries another revision than the one under analysis")
    case.tell(Tell.SKIPPED_TO, str(command.weight), command.id)
    return _counted(case, Rule.SKIPPED_TO, rung=Rung(weight=command.weight), handled=command.id)


_COMMANDS: dict[CommandKind, Callable[[_Case, Command], Decision | None]] = {
    CommandKind.PROMOTE: _command_promote,
    CommandKind.ABORT: _command_abort,
    CommandKind.PAUSE: _command_pause,
    CommandKind.RESUME: _command_resume,
    CommandKind.RETRY: _command_retry,
    CommandKind.SKIP_TO: _command_skip_to,
}

_PHASES: dict[Phase, Callable[[_Case], Decision | Thinking]] = {
    Phase.INITIALIZING: _initializing,
    Phase.INITIALIZED: _idle,
    Phase.WAITING: _waiting,
    Phase.PROGRESSING: _active,
    Phase.WAITING_PROMOTION: _active,
    Phase.PROMOTING: _promoting,
    Phase.FINALISING: _finalising,
    Phase.SUCCEEDED: _idle,
    Phase.FAILED: _idle,
    Phase.TERMINATING: _terminating,
    Phase.TERMINATED: _terminated,
}
