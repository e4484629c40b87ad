"""How a rollout advances: `decide`, a total function.

For any rollout, status and knowledge it returns a value: an `Ask` with all it needs at this point, or a `Decision`. It
never raises, reads no clock and draws no random number. There is one code path: the second call, with the answers,
walks the same guards as the first, so asking and deciding cannot disagree.

Guards come in the order of what matters most; the first match wins:

    deleted → suspended → a command → the phase's own guards

The guards of an analysis (phases Progressing and WaitingPromotion), in order:

    the target is missing · it is back at the promoted revision (withdraw) · it carries another one (restart) ·
    a rollback hook asks (polled once an interval) · primary not ready · canary not ready · the world is not as the
    status wants it · paused · the interval has not passed · the analysis is skipped · too many failed checks already ·
    hooks, in the manifest's order · metrics, all at once · gates, only after a pass · the next rung, or the promotion
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from canarycore._analysis import Judgement, Verdict, judge
from canarycore._goal import Plan, converge, goal, unready
from canarycore._ladder import GROUND, Rung, Strategy
from canarycore._notices import Notice, Tell
from canarycore._phases import ACTIVE, BEFORE_PROMOTION, IDLE, OVER, UNDER_WAY, Phase, Rule
from canarycore._questions import (
    Answer,
    Ask,
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    Question,
    SourcesAnswer,
    SourcesQuestion,
)
from canarycore._spec import CheckKind, Hook, HookType, NoData, Rollout
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
    """Why: the rule that fired, what was asked and answered, and each check's verdict. It prints as a sentence."""

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


Outcome = Ask | Decision


def decide(rollout: Rollout, status: Status, known: Known) -> Outcome:
    """The next decision of a rollout, or what must be asked first. Total: never raises, whatever it is given."""
    case = _Case(rollout, status, known.world, known.answers)
    if status.since is None:
        return _detect(case)
    if status.phase in OVER:
        return _PHASES[status.phase](case)
    if known.world.deleted:
        return _delete(case)
    if rollout.suspend:
        case.tell_once(Tell.SUSPENDED)
        return case.wait(Rule.SUSPENDED, None)
    command = known.world.command
    if command is not None and command.id != status.handled:
        outcome = _COMMANDS[command.kind](case, command)
        if outcome is not None:
            return outcome
    return _PHASES[status.phase](case)


# ------------------------------------------------------------------------------------------------------ vocabulary


@define
class _Case:
    """One decision under way: the inputs, and what has been asked and told so far."""

    rollout: Rollout
    status: Status
    world: World
    answers: Mapping[str, Answer]
    asked: list[tuple[Question, Answer]] = field(factory=list)
    judgements: tuple[Judgement, ...] = ()
    told: list[tuple[Tell, tuple[str, ...], bool]] = field(factory=list)
    detail: str = ""

    # time -------------------------------------------------------------------------------------------------------

    @property
    def poll(self) -> int:
        """How many whole intervals have passed since the last analysis; nothing is due at 0."""
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

    def tell(self, what: Tell, *args: object) -> None:
        """Something to tell: again at each poll while nothing is written."""
        self.told.append((what, tuple(map(str, args)), True))

    def tell_once(self, what: Tell, *args: object) -> None:
        """Something to tell once in this status."""
        self.told.append((what, tuple(map(str, args)), False))

    def tell_plan(self, plan: Plan) -> None:
        for what, args in plan.notes:
            self.told.append((what, args, what.value.severity is None))

    def _notices(self, phase: Phase, poll: int | None) -> tuple[Notice, ...]:
        rollout, status = self.rollout, self.status
        stem = f"{status.applied}@{status.since}/{status.phase.value}/{status.analysed_at}/{status.rung}"
        names = _names(rollout)
        return tuple(
            Notice(
                what,
                f"{stem}/{what.name}/{'/'.join(args)}" + (f"#{poll}" if repeats and poll is not None else ""),
                phase if what in _TOLD_AFTER else status.phase,
                names,
                args,
            )
            for what, args, repeats in self.told
        )

    # asking -----------------------------------------------------------------------------------------------------

    def key(self, kind: str, name: str) -> str:
        status, world = self.status, self.world
        revision = world.target.revision if world.target is not None else status.applied
        attempt = f"{status.failed_checks}.{status.holds}"
        return f"{revision}@{status.since}/{status.phase.value}/{status.rung}/{attempt}#{self.poll}/{kind}/{name}"

    def ask_hook(self, hook: Hook, phase: Phase | None = None) -> HookAnswer | Ask:
        """The hook's answer, or the question. `phase`: what the hook is told, if not the status's own."""
        status, target = self.status, self.world.target
        revision = target.revision if target is not None and status.phase in _GATED_BY_TARGET else status.applied
        question = HookQuestion(self.key(hook.type.value, hook.name), hook, phase or status.phase, revision)
        answer = self.answers.get(question.key)
        if not isinstance(answer, HookAnswer):
            return Ask((question,))
        self.asked.append((question, answer))
        return answer

    # deciding ---------------------------------------------------------------------------------------------------

    def wait(self, rule: Rule, wake: float | None) -> Decision:
        """Nothing is written."""
        status = self.status
        notices = self._notices(status.phase, self.poll) if self.told else ()
        because = Because(rule, status.phase, status.phase, self.detail, tuple(self.asked), self.judgements)
        return Decision(status, notices, wake, because)

    def change(self, rule: Rule, wake: float | None = None, **changes: object) -> Decision:
        """A new status. Without `wake`: look again at once, as the world has to follow."""
        before = self.status
        after = before.but(outbox=(), **changes)
        because = Because(rule, before.phase, after.phase, self.detail, tuple(self.asked), self.judgements)
        notices = self._notices(after.phase, None) if self.told else ()
        return Decision(after, notices, self.world.now if wake is None else wake, because)

    def enter(self, rule: Rule, phase: Phase, reason: Reason = Reason.NONE, **changes: object) -> Decision:
        """A new status in another phase."""
        now = self.world.now
        return self.change(rule, phase=phase, reason=reason, since=now, analysed_at=now, **changes)


def _names(rollout: Rollout) -> tuple[tuple[str, str], ...]:
    return (
        ("name", rollout.full_name),
        ("target", rollout.target_name),
        ("primary", rollout.primary_name),
        ("kind", rollout.target.kind),
        ("kind_lower", rollout.target.kind.lower()),
    )


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


def _detect(case: _Case) -> Outcome:
    target = case.world.target
    return case.enter(Rule.DETECTED, Phase.INITIALIZING, applied=target.revision if target is not None else "")


def _delete(case: _Case) -> Outcome:
    case.tell(Tell.TERMINATING)
    return case.enter(Rule.DELETED, Phase.TERMINATING, rung=GROUND, pending=())


def _terminating(case: _Case) -> Outcome:
    plan = converge(goal(case.rollout, case.status), case.world)
    if not plan.done:
        case.tell_plan(plan)
        return case.wait(Rule.RESTORING, case.world.now + min(case.rollout.interval, 1.0))
    case.tell(Tell.TERMINATED)
    return case.enter(Rule.RESTORED, Phase.TERMINATED)


def _terminated(case: _Case) -> Outcome:
    return case.wait(Rule.GONE, None)


# ------------------------------------------------------------------------------------------------------ initialise


def _initializing(case: _Case) -> Outcome:
    rollout, status, world = case.rollout, case.status, case.world
    target = world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.INITIALISING, case.next_poll)
    if target.revision != status.applied:
        return case.change(Rule.NOTED, applied=target.revision)
    if not rollout.skip_analysis:
        sources = _sources(case)
        if isinstance(sources, Ask):
            return sources
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


def _sources(case: _Case) -> Ask | None:
    checks = case.rollout.checks
    error = ""
    if checks:
        question = SourcesQuestion(case.key("sources", "online"), checks)
        answer = case.answers.get(question.key)
        if not isinstance(answer, SourcesAnswer):
            return Ask((question,))
        case.asked.append((question, answer))
        error = answer.error
    if error:
        case.tell(Tell.SOURCES_OFFLINE, error)
    else:
        case.tell(Tell.SOURCES_ONLINE)
    return None


# ------------------------------------------------------------------------------------------------------------ idle


def _idle(case: _Case) -> Outcome:
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
        case.tell_once(Tell.SCALED_BY_HAND, target.desired)
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


def _post_rollout(case: _Case) -> Outcome:
    for hook in case.rollout.hooks_by_type[HookType.POST_ROLLOUT]:
        answer = case.ask_hook(hook)
        if isinstance(answer, Ask):
            return answer
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


def _start_when_confirmed(case: _Case) -> Outcome:
    """Past the confirm-rollout gates a new revision starts."""
    waiting = case.status.phase is Phase.WAITING
    for hook in case.rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]:
        answer = case.ask_hook(hook)
        if isinstance(answer, Ask):
            return answer
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


def _start(case: _Case, rule: Rule) -> Outcome:
    case.tell(Tell.NEW_REVISION)
    case.tell(Tell.NEW_REVISION_ALERT)
    return case.enter(rule, Phase.PROGRESSING, **_fresh(case), pending=())


def _fresh(case: _Case) -> dict[str, object]:
    """A new analysis of what the target carries now."""
    target = case.world.target
    revision = case.status.applied if target is None else target.revision
    return {"applied": revision, "rung": GROUND, "failed_checks": 0, "holds": 0}


def _waiting(case: _Case) -> Outcome:
    target = case.world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.GATE_CLOSED, case.next_poll)
    if target.revision == case.status.promoted:
        return _withdraw(case)
    if case.status.paused:
        return case.wait(Rule.ON_HOLD, None)
    if case.poll < 1:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    return _rollback_hooks(case) or _start_when_confirmed(case)


def _withdraw(case: _Case) -> Outcome:
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


def _active(case: _Case) -> Outcome:
    rollout, status, world = case.rollout, case.status, case.world
    target = world.target
    if target is None:
        case.tell(Tell.TARGET_MISSING)
        return case.wait(Rule.UNREADY, case.next_poll)
    if target.revision != status.applied:
        return _withdraw(case) if target.revision == status.promoted else _restart(case)
    poll = case.poll
    if poll and not status.paused:
        outcome = _rollback_hooks(case)
        if outcome is not None:
            return outcome
    outcome = _side_unready(case, world.primary, rollout.primary_ready, is_primary=True) or _side_unready(
        case, target, rollout.canary_ready, is_primary=False
    )
    if outcome is not None:
        return outcome
    plan = converge(goal(rollout, status), world)
    if not plan.done:
        case.tell_plan(plan)
        if case.overdue:
            return _roll_back_late(case, "the world does not follow")
        return case.wait(Rule.CONVERGING, case.next_poll)
    if status.paused:
        return case.wait(Rule.ON_HOLD, None)
    if not poll:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    if rollout.skip_analysis:
        return _promote(case, Rule.SKIPPED, Reason.SKIPPED)
    if status.failed_checks >= rollout.threshold:
        return _roll_back_checks(case, status.failed_checks)
    return _analyse(case)


def _restart(case: _Case) -> Outcome:
    case.tell(Tell.RESTARTED)
    return case.enter(Rule.RESTARTED, Phase.PROGRESSING, **_fresh(case))


def _rollback_hooks(case: _Case) -> Outcome | None:
    for hook in case.rollout.hooks_by_type[HookType.ROLLBACK]:
        answer = case.ask_hook(hook)
        if isinstance(answer, Ask):
            return answer
        if answer.passed:
            case.tell(Tell.ROLLBACK_HOOK_PASSED, hook.name)
            case.tell(Tell.ROLLING_BACK_HOOK)
            case.tell(Tell.ROLLING_BACK_HOOK_ALERT)
            return _fail(case, Rule.ROLLED_BACK_HOOK, Reason.HOOK)
        case.tell(Tell.ROLLBACK_HOOK_QUIET, hook.name)
    return None


def _side_unready(case: _Case, side: Workload | None, threshold: int, *, is_primary: bool) -> Outcome | None:
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


def _analyse(case: _Case) -> Outcome:
    """Hooks in order, then metrics at once, then gates."""
    climbing = case.status.rung != GROUND
    if not climbing:
        case.tell(Tell.STARTING)
    outcome = _checking_hooks(case, climbing=climbing)
    if outcome is None and climbing:
        outcome = _metrics(case)
    return outcome or _gates(case)


def _checking_hooks(case: _Case, *, climbing: bool) -> Outcome | None:
    """Rollout hooks while traffic may be on the canary, pre-rollout hooks before; they end at the first that fails."""
    kind, failed, passed = (
        (HookType.ROLLOUT, Tell.ROLLOUT_HOOK_FAILED, None)
        if climbing
        else (HookType.PRE_ROLLOUT, Tell.PRE_ROLLOUT_FAILED, Tell.PRE_ROLLOUT_PASSED)
    )
    for hook in case.rollout.hooks_by_type[kind]:
        answer = case.ask_hook(hook, Phase.PROGRESSING)
        if isinstance(answer, Ask):
            return answer
        if not answer.passed:
            case.tell(failed, hook.name, answer.text)
            return _halt(case)
        if passed is not None:
            case.tell(passed, hook.name)
    return None


def _metrics(case: _Case) -> Outcome | None:
    checks = case.rollout.checks_in_order
    if not checks:
        return None
    stem = case.key("metric", "")
    answers = case.answers
    applied = case.status.applied
    judgements, missing = [], []
    for check in checks:
        key = stem + check.name
        answer = answers.get(key)
        question = MetricQuestion(key, check, applied)
        if isinstance(answer, MetricAnswer):
            case.asked.append((question, answer))
            judgements.append(judge(check, answer, case.rollout.min_samples))
        else:
            missing.append(question)
    if missing:
        return Ask(tuple(missing))
    case.judgements = tuple(judgements)
    return _verdict(case)


def _verdict(case: _Case) -> Outcome | None:
    """None when all checks passed; the first that did not is told, in Flagger's order."""
    bad = [judgement for judgement in case.judgements if judgement.verdict is not Verdict.PASS]
    if not bad:
        return None
    hold = case.rollout.no_data is NoData.HOLD
    if all(judgement.thin or (hold and judgement.verdict is not Verdict.FAIL) for judgement in bad):
        return _hold(case, bad[0])
    told = next((judgement for judgement in bad if judgement.verdict is Verdict.FAIL), bad[0]) if hold else bad[0]
    case.tell(Tell.CHECK_FAILED, told.text(case.rollout))
    return _halt(case)


def _halt(case: _Case) -> Outcome:
    """A failed check counts; at the threshold the rollout is rolled back in the same breath."""
    failed = case.status.failed_checks + 1
    if failed >= case.rollout.threshold:
        return _roll_back_checks(case, failed)
    return _counted(case, Rule.HALTED, failed_checks=failed)


def _hold(case: _Case, judgement: Judgement) -> Outcome:
    rollout, holds = case.rollout, case.status.holds + 1
    case.tell(Tell.HELD, judgement.text(rollout))
    if rollout.inconclusive_limit and holds >= rollout.inconclusive_limit:
        case.tell(Tell.ROLLING_BACK_INCONCLUSIVE, holds)
        case.tell(Tell.ROLLING_BACK_INCONCLUSIVE_ALERT, holds)
        return _fail(case, Rule.ROLLED_BACK_INCONCLUSIVE, Reason.INCONCLUSIVE)
    return _counted(case, Rule.HELD, holds=holds)


def _counted(case: _Case, rule: Rule, **changes: object) -> Decision:
    """The interval starts anew: an analysis was counted."""
    now = case.world.now
    return case.change(rule, now + case.rollout.interval, analysed_at=now, **changes)


def _gates(case: _Case) -> Outcome:
    """The rung passed: past the gates comes the next one, or the promotion."""
    rollout, status = case.rollout, case.status
    ladder, rung = rollout.ladder, status.rung
    waiting = status.phase is Phase.WAITING_PROMOTION
    if ladder.strategy is Strategy.WEIGHTS and not rung.mirrored and not waiting:
        outcome = _gate(case, HookType.CONFIRM_TRAFFIC_INCREASE)
        if outcome is not None:
            return outcome
    if ladder.asks_promotion(rung):
        outcome = _gate(case, HookType.CONFIRM_PROMOTION)
        if outcome is not None:
            return outcome
    after = ladder.after(rung)
    return _promote(case, Rule.PROMOTED, Reason.PASSED) if after is None else _advance(case, after)


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


def _gate(case: _Case, kind: HookType) -> Outcome | None:
    passed, closed, alert = _GATE_TEXTS[kind]
    for hook in case.rollout.hooks_by_type[kind]:
        answer = case.ask_hook(hook)
        if isinstance(answer, Ask):
            return answer
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


def _advance(case: _Case, rung: Rung) -> Outcome:
    rollout = case.rollout
    ladder = rollout.ladder
    if rung.iteration > ladder.iterations:
        if ladder.routed:
            case.tell(Tell.ALL_TO_CANARY_MIRRORED if ladder.mirror else Tell.ALL_TO_CANARY)
    elif rung.iteration:
        case.tell(Tell.ADVANCED_ITERATION, rung.iteration, ladder.iterations)
    else:
        case.tell(Tell.ADVANCED_WEIGHT, rung.weight)
    return _counted(case, Rule.ADVANCED, rung=rung)


# --------------------------------------------------------------------------------------------------------- promoting


def _promote(case: _Case, rule: Rule, reason: Reason) -> Outcome:
    case.tell(Tell.COPYING)
    return case.enter(rule, Phase.PROMOTING, reason, paused=False)


def _promoting(case: _Case) -> Outcome:
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


def _primary_settling(case: _Case) -> Outcome | None:
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


def _step_back(case: _Case) -> Outcome:
    rollout, status = case.rollout, case.status
    ladder, rung = rollout.ladder, status.rung
    weight = ladder.back(rung.weight)
    if ladder.step_back and rung.exposed:
        case.tell(Tell.PRIMARY_WEIGHT, 100 - weight)
        if weight > 0:
            return _counted(case, Rule.STEPPED_BACK, rung=Rung(weight=weight, iteration=rung.iteration))
    elif rung.exposed and ladder.routed or rung.iteration and ladder.routed:
        case.tell(Tell.ALL_TO_PRIMARY)
    now = case.world.now
    drain = now + rollout.interval if rung.exposed else now
    return case.enter(Rule.FINALISED, Phase.FINALISING, status.reason, rung=GROUND, drain_until=drain)


def _finalising(case: _Case) -> Outcome:
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


def _fail(case: _Case, rule: Rule, reason: Reason, **changes: object) -> Decision:
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


def _roll_back_checks(case: _Case, failed: int) -> Outcome:
    case.tell(Tell.ROLLING_BACK_CHECKS, failed)
    case.tell(Tell.ROLLING_BACK_CHECKS_ALERT, failed)
    return _fail(case, Rule.ROLLED_BACK_CHECKS, Reason.CHECKS)


def _roll_back_late(case: _Case, why: str) -> Outcome:
    case.tell(Tell.ROLLING_BACK_DEADLINE, why)
    case.tell(Tell.ROLLING_BACK_DEADLINE_ALERT, why)
    return _fail(case, Rule.ROLLED_BACK_DEADLINE, Reason.DEADLINE)


def _fail_promotion(case: _Case, why: str) -> Outcome:
    case.tell(Tell.PROMOTION_FAILED, why)
    case.tell(Tell.PROMOTION_FAILED_ALERT, why)
    return _fail(case, Rule.PROMOTION_FAILED, Reason.PROMOTION)


# ---------------------------------------------------------------------------------------------------------- commands


def _refuse(case: _Case, command: Command, why: str) -> Outcome:
    case.tell(Tell.REFUSED, command.kind.value, why)
    return case.change(Rule.REFUSED, handled=command.id)


def _command_promote(case: _Case, command: Command) -> Outcome | None:
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


def _command_abort(case: _Case, command: Command) -> Outcome | None:
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


def _command_pause(case: _Case, command: Command) -> Outcome | None:
    if case.status.phase not in UNDER_WAY or case.status.paused:
        return _refuse(case, command, "there is nothing to pause")
    case.tell(Tell.PAUSED, command.id)
    return case.change(Rule.PAUSED, paused=True, handled=command.id)


def _command_resume(case: _Case, command: Command) -> Outcome | None:
    if case.status.phase not in UNDER_WAY or not case.status.paused:
        return _refuse(case, command, "it is not paused")
    case.tell(Tell.RESUMED, command.id)
    return case.change(Rule.RESUMED, paused=False, handled=command.id)


def _command_retry(case: _Case, command: Command) -> Outcome | None:
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


def _command_skip_to(case: _Case, command: Command) -> Outcome | None:
    status, ladder, target = case.status, case.rollout.ladder, case.world.target
    if status.phase is not Phase.PROGRESSING or ladder.strategy is not Strategy.WEIGHTS:
        return _refuse(case, command, "only an analysis by weights can skip to a weight")
    if not 0 < command.weight <= 100:
        return _refuse(case, command, f"the weight is {command.weight}, expected 1 to 100")
    if target is None or target.revision != status.applied:
        return _refuse(case, command, "the target carries another revision than the one under analysis")
    case.tell(Tell.SKIPPED_TO, command.weight, command.id)
    return _counted(case, Rule.SKIPPED_TO, rung=Rung(weight=command.weight), handled=command.id)


_COMMANDS: dict[CommandKind, Callable[[_Case, Command], Outcome | None]] = {
    CommandKind.PROMOTE: _command_promote,
    CommandKind.ABORT: _command_abort,
    CommandKind.PAUSE: _command_pause,
    CommandKind.RESUME: _command_resume,
    CommandKind.RETRY: _command_retry,
    CommandKind.SKIP_TO: _command_skip_to,
}

_PHASES: dict[Phase, Callable[[_Case], Outcome]] = {
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
