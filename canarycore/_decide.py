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
from typing import TYPE_CHECKING

from canarycore._analysis import analyse, roll_back_checks
from canarycore._commands import COMMANDS
from canarycore._decision import EPSILON, Decision, DecisionBuilder, Deliberation, Inputs, Inquiry, Outcome
from canarycore._goal import converge, goal, in_step, unready
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore._observation import Observation, Workload
from canarycore._spec import HookType, Rollout
from canarycore._status import Pending, Reason, Status
from canarycore._transitions import (
    being_taken_back,
    counted,
    fail,
    has_kept_the_rejected,
    pending_work,
    promote,
    restart,
    start,
    withdraw,
)
from canarycore.notices import NoticeKind
from canarycore.phases import OVER, Phase, Rule
from canarycore.questions import Answer, Ask, SourcesAnswer, SourcesQuestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def decide(rollout: Rollout, status: Status, known: Inputs) -> Outcome:
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


def deliberate(rollout: Rollout, status: Status, world: Observation) -> Deliberation:
    """`decide` for a driver that stays with it: yields each Ask and must be sent an answer to all of its questions."""
    outcome = consider(rollout, status, world)
    return _decided(outcome) if isinstance(outcome, Decision) else outcome


def _decided(decision: Decision) -> Deliberation:
    """Nothing has to be asked."""
    yield from ()
    return decision


def consider(rollout: Rollout, status: Status, world: Observation) -> Decision | Deliberation:
    """The decision at once where nothing has to be asked, else one under way."""
    case = DecisionBuilder(rollout, status, world)
    phase, command = status.phase, world.command
    if status.since is None:
        return _detect(case)
    if world.deleted and phase not in OVER:
        return _delete(case)
    if rollout.suspend and phase not in OVER:
        case.tell_once(NoticeKind.SUSPENDED)
        return case.wait(Rule.SUSPENDED, None)
    if command is not None and command.id != status.handled and phase not in OVER:
        decision = COMMANDS[command.kind](case, command)
        if decision is not None:
            return decision
    return _PHASES[phase](case)


def _detect(case: DecisionBuilder) -> Decision:
    target = case.world.target
    return case.enter(Rule.DETECTED, Phase.INITIALIZING, applied=target.revision if target is not None else "")


def _delete(case: DecisionBuilder) -> Decision:
    case.tell(NoticeKind.TERMINATING)
    return case.enter(Rule.DELETED, Phase.TERMINATING, rung=INITIAL_RUNG, pending=())


def _terminating(case: DecisionBuilder) -> Decision:
    plan = converge(goal(case.rollout, case.status), case.world)
    if not plan.done:
        case.tell_plan(plan)
        return case.wait(Rule.RESTORING, case.world.now + min(case.rollout.interval, 1.0))
    case.tell(NoticeKind.TERMINATED)
    return case.enter(Rule.RESTORED, Phase.TERMINATED)


def _terminated(case: DecisionBuilder) -> Decision:
    return case.wait(Rule.GONE, None)


def _initializing(case: DecisionBuilder) -> Deliberation:
    rollout, status, world = case.rollout, case.status, case.world
    target = world.target
    if target is None:
        case.tell(NoticeKind.TARGET_MISSING)
        return case.wait(Rule.INITIALISING, case.next_poll)
    if target.revision != status.applied:
        return case.change(Rule.NOTED, applied=target.revision)
    if not rollout.skip_analysis:
        yield from _sources(case)
    plan = converge(goal(rollout, status), world)
    primary = world.primary
    reason = unready(primary, rollout.primary_ready) if primary is not None else ""
    if reason:
        case.tell(NoticeKind.PRIMARY_UNREADY, reason)
    if not plan.done:
        return case.wait(Rule.INITIALISING, case.next_poll)
    case.tell(NoticeKind.INITIALIZED)
    case.tell(NoticeKind.INITIALIZED_ALERT)
    return case.enter(
        Rule.INITIALIZED, Phase.INITIALIZED, promoted=status.applied, drain_until=0.0, pending=(Pending.SETTLE,)
    )


def _sources(case: DecisionBuilder) -> Generator[Ask, Mapping[str, Answer], None]:
    checks = case.rollout.checks
    error = ""
    if checks:
        question = SourcesQuestion(case.key("sources", "online"), checks)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, SourcesAnswer)
        case.asked += ((question, answer),)
        error = answer.error
    if error:
        case.tell(NoticeKind.SOURCES_OFFLINE, error)
    else:
        case.tell(NoticeKind.SOURCES_ONLINE)


def _idle(case: DecisionBuilder) -> Decision | Deliberation:
    status, world = case.status, case.world
    if Pending.HOOKS in status.pending:
        return _post_rollout(case)
    target = world.target
    plan = converge(goal(case.rollout, status), world)
    if target is not None and target.revision != status.applied:
        if status.phase is Phase.FAILED and target.revision == status.promoted:
            return case.change(Rule.NOTED, applied=target.revision)
        if not being_taken_back(case):
            return _start_when_confirmed(case)
    if not plan.done:
        if being_taken_back(case):
            case.tell(NoticeKind.TAKING_BACK, status.promoted)
        elif has_kept_the_rejected(case):
            case.tell(NoticeKind.STRANDED)
        case.tell_plan(plan)
        drained = status.drain_until if status.drain_until > world.now else case.next_poll
        return case.wait(Rule.CONVERGING, drained)
    if status.pending:
        return case.change(Rule.SETTLED, pending=())
    if target is not None and target.desired > 0:
        case.tell_once(NoticeKind.SCALED_BY_HAND, str(target.desired))
    return case.wait(Rule.IDLE, None)


def _post_rollout(case: DecisionBuilder) -> Deliberation:
    for hook in case.rollout.hooks_by_type[HookType.POST_ROLLOUT]:
        answer = yield from case.call(hook)
        if not answer.passed:
            case.tell(NoticeKind.POST_ROLLOUT_FAILED, hook.name, answer.text)
            break
        case.tell(NoticeKind.POST_ROLLOUT_PASSED, hook.name)
    if case.status.phase is Phase.SUCCEEDED:
        _tell_success(case)
    return case.change(Rule.HOOKS_CALLED, pending=(Pending.SETTLE,))


def _start_when_confirmed(case: DecisionBuilder) -> Deliberation:
    """Past the confirm-rollout gates a new revision starts."""
    waiting = case.status.phase is Phase.WAITING
    for hook in case.rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]:
        answer = yield from case.call(hook)
        if answer.passed:
            case.tell(NoticeKind.GATE_ROLLOUT_PASSED, hook.name)
            continue
        if waiting:
            return case.wait(Rule.GATE_CLOSED, case.next_poll)
        case.tell(NoticeKind.GATE_ROLLOUT_CLOSED, hook.name)
        if not hook.mute_alert:
            case.tell(NoticeKind.GATE_ROLLOUT_ALERT)
        return case.enter(Rule.GATED, Phase.WAITING, rung=INITIAL_RUNG, pending=())
    return start(case, Rule.STARTED)


def _waiting(case: DecisionBuilder) -> Deliberation:
    target = case.world.target
    if target is None:
        case.tell(NoticeKind.TARGET_MISSING)
        return case.wait(Rule.GATE_CLOSED, case.next_poll)
    if target.revision == case.status.promoted:
        return withdraw(case)
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


def _active(case: DecisionBuilder) -> Decision | Deliberation:
    rollout, status = case.rollout, case.status
    target = case.world.target
    if target is None:
        case.tell(NoticeKind.TARGET_MISSING)
        return case.wait(Rule.UNREADY, case.next_poll)
    if target.revision != status.applied:
        return withdraw(case) if target.revision == status.promoted else restart(case)
    if case.poll and not status.paused and rollout.hooks_by_type[HookType.ROLLBACK]:
        return _active_unless_rolled_back(case, target)
    return _under_analysis(case, target)


def _active_unless_rolled_back(case: DecisionBuilder, target: Workload) -> Deliberation:
    rolled_back = yield from _rollback_hooks(case)
    outcome = rolled_back or _under_analysis(case, target)
    return outcome if isinstance(outcome, Decision) else (yield from outcome)


def _under_analysis(case: DecisionBuilder, target: Workload) -> Decision | Deliberation:
    rollout, status = case.rollout, case.status
    if not in_step(rollout, status, case.world):
        outcome = _out_of_step(case, target)
        if outcome is not None:
            return outcome
    if status.paused:
        return case.wait(Rule.ON_HOLD, None)
    if not case.poll:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    if rollout.skip_analysis:
        return promote(case, Rule.SKIPPED, Reason.SKIPPED)
    if status.failed_checks >= rollout.threshold:
        return roll_back_checks(case, status.failed_checks)
    return analyse(case)


def _rollback_hooks(case: DecisionBuilder) -> Inquiry:
    for hook in case.rollout.hooks_by_type[HookType.ROLLBACK]:
        answer = yield from case.call(hook)
        if answer.passed:
            case.tell(NoticeKind.ROLLBACK_HOOK_PASSED, hook.name)
            case.tell(NoticeKind.ROLLING_BACK_HOOK)
            case.tell(NoticeKind.ROLLING_BACK_HOOK_ALERT)
            return fail(case, Rule.ROLLED_BACK_HOOK, Reason.HOOK)
        case.tell(NoticeKind.ROLLBACK_HOOK_QUIET, hook.name)
    return None


def _out_of_step(case: DecisionBuilder, target: Workload) -> Decision | None:
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
    return case.wait(Rule.CONVERGING, case.next_poll)


def _side_unready(case: DecisionBuilder, side: Workload | None, threshold: int, *, is_primary: bool) -> Decision | None:
    """A wait, or a rollback past the progress deadline, when pods are missing on one side."""
    what = NoticeKind.PRIMARY_UNREADY if is_primary else NoticeKind.CANARY_UNREADY
    if side is None:
        reason = "it does not exist"
    elif is_primary and side.desired == 0:
        what, reason = NoticeKind.PRIMARY_AT_ZERO, "it is scaled to zero"
    else:
        reason = unready(side, threshold)
    if not reason:
        return None
    case.detail = reason
    case.tell(what, reason)
    plan = converge(goal(case.rollout, case.status), case.world)
    case.tell_plan(plan)
    wake = case.next_poll
    if side is not None and side.stuck:
        return _roll_back_late(case, reason)
    since = None if side is None else _lacking_since(case, side, is_primary=is_primary)
    if since is not None:
        if case.expired(since):
            return _roll_back_late(case, reason)
        wake = min(wake, since + case.rollout.progress_deadline)
    return case.wait(Rule.UNREADY, wake)


def _lacking_since(case: DecisionBuilder, side: Workload, *, is_primary: bool) -> float | None:
    """Since when a side of an analysis lacks pods, for the progress deadline; None where nobody can tell.

    The platform tells it while too few pods are available. Where those of another revision go on serving it tells
    nothing: then the canary's own have been awaited since the analysis began, if it could begin as soon as they came.
    Later, or behind a gate that may have been closed for long, they lack for a moment, as when they are scaled.
    """
    status, gates = case.status, case.rollout.hooks_by_type[HookType.CONFIRM_TRAFFIC_INCREASE]
    is_awaited = status.rung.is_initial and not (is_primary or status.paused or gates)
    return case.missing_since(side) if is_awaited or side.unready_since is not None else None


def _roll_back_late(case: DecisionBuilder, why: str) -> Decision:
    case.tell(NoticeKind.ROLLING_BACK_DEADLINE, why)
    case.tell(NoticeKind.ROLLING_BACK_DEADLINE_ALERT, why)
    return fail(case, Rule.ROLLED_BACK_DEADLINE, Reason.DEADLINE)


def _promoting(case: DecisionBuilder) -> Decision:
    status, world = case.status, case.world
    target, primary = world.target, world.primary
    if primary is None or primary.revision != status.applied:
        if target is None:
            case.tell(NoticeKind.TARGET_MISSING)
        elif target.revision != status.applied:
            return withdraw(case) if target.revision == status.promoted else restart(case)
    outcome = _primary_settling(case)
    if outcome is not None:
        return outcome
    if case.poll < 1 and status.rung.exposed:
        return case.wait(Rule.NOT_DUE, case.next_poll)
    return _step_back(case)


def _primary_settling(case: DecisionBuilder) -> Decision | None:
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
        case.tell(NoticeKind.PRIMARY_UNREADY, reason)
        case.tell_plan(plan)
        since = case.missing_since(primary)
        if primary.stuck or case.expired(since):
            return _fail_promotion(case, f"{rollout.primary_name} not ready: {reason}")
        return case.wait(Rule.UNREADY, min(case.next_poll, since + rollout.progress_deadline))
    if not plan.done:
        case.tell_plan(plan)
        if case.overdue:
            why = "routes do not follow" if arrived else "it does not take the revision over"
            return _fail_promotion(case, why)
        return case.wait(Rule.CONVERGING, case.next_poll)
    return None


def _step_back(case: DecisionBuilder) -> Decision:
    rollout, status = case.rollout, case.status
    ladder, rung = rollout.ladder, status.rung
    weight = ladder.back(rung.weight)
    if ladder.step_back and rung.exposed:
        case.tell(NoticeKind.PRIMARY_WEIGHT, str(100 - weight))
        if weight > 0:
            return counted(case, Rule.STEPPED_BACK, rung=Rung(weight=weight, iteration=rung.iteration))
    elif (rung.exposed and ladder.routed) or (rung.iteration and ladder.routed):
        case.tell(NoticeKind.ALL_TO_PRIMARY)
    now = case.world.now
    drain = now + rollout.interval if rung.exposed else now
    return case.enter(Rule.FINALISED, Phase.FINALISING, status.reason, rung=INITIAL_RUNG, drain_until=drain)


def _finalising(case: DecisionBuilder) -> Decision:
    rollout, status, world = case.rollout, case.status, case.world
    outcome = _primary_settling(case)
    if outcome is not None:
        return outcome
    if world.now + EPSILON < status.drain_until:
        return case.wait(Rule.DRAINING, status.drain_until)
    pending = pending_work(rollout)
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


def _tell_success(case: DecisionBuilder) -> None:
    reason = case.status.reason
    if reason is Reason.WITHDRAWN:
        return
    skipped = reason is Reason.SKIPPED
    case.tell(NoticeKind.SUCCEEDED_SKIPPED if skipped else NoticeKind.SUCCEEDED)
    case.tell(NoticeKind.SUCCEEDED_SKIPPED_ALERT if skipped else NoticeKind.SUCCEEDED_ALERT)


def _fail_promotion(case: DecisionBuilder, why: str) -> Decision:
    case.tell(NoticeKind.PROMOTION_FAILED, why)
    case.tell(NoticeKind.PROMOTION_FAILED_ALERT, why)
    return fail(case, Rule.PROMOTION_FAILED, Reason.PROMOTION)


_PHASES: dict[Phase, Callable[[DecisionBuilder], Decision | Deliberation]] = {
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
