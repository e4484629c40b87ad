"""How a rollout advances: `decide`, a total function.

For any rollout, status and inputs it returns a value: an `Ask` with every question that is open at this point, or a
`Decision`. It never raises, reads no clock and draws no random number. Asking and deciding share one code path, so they
cannot disagree: `deliberate` is a generator that yields an `Ask` wherever it needs answers and goes on with them;
`decide` runs it from the start with the answers so far. A driver that stays with one decision sends answers to
`deliberate`.

Guards come in the order of their importance; the first match wins:

    deleted → suspended → a command → the phase's own guards

The guards of an analysis (phases Progressing and WaitingPromotion), in order:

    the target is missing · it is back at the promoted revision (withdraw) · it has another one (restart) ·
    a rollback hook passes (polled once an interval) · primary not ready · canary not ready · the cluster does not match
    the goal · paused · the interval has not passed · the owner skips the analysis · too many failed checks already ·
    hooks, in the manifest's order · metrics, all at once · gates, only after a pass · the next rung, or the promotion
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from canarycore._analysis import analyse, roll_back_checks
from canarycore._commands import COMMANDS
from canarycore._decision import Decision, DecisionBuilder, Deliberation, Inputs, Inquiry, Outcome
from canarycore._goal import converge, explain_unready, exposes_more, goal, is_in_step
from canarycore._gradual_return import explain_overload, hold_traffic, promotion_step, report_cut, return_traffic
from canarycore._ladder import INITIAL_RUNG
from canarycore._observation import EPSILON, Observation, Workload
from canarycore._revisions import record_promotion
from canarycore._spec import HookType, Rollout
from canarycore._status import Status
from canarycore._transitions import (
    can_restore_primary,
    count_analysis,
    drain_end,
    fail,
    fail_or_freeze,
    has_rejected_primary,
    pending_work,
    promote,
    restart,
    start,
    withdraw,
)
from canarycore.effects import Plan, SetRoutes
from canarycore.notices import NoticeKind
from canarycore.phases import OVER, Approval, CutShort, Pending, Phase, Reason, Rule
from canarycore.questions import Answer, Ask, SourcesAnswer, SourcesQuestion
from canarycore.text import format_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def decide(rollout: Rollout, status: Status, inputs: Inputs) -> Outcome:
    """Return the next decision of a rollout, or the questions to answer first.

    The function is total: it returns a value for every input and never raises. A driver that receives an `Ask` fetches
    the answers and calls again with the same observation.
    """
    deliberation = deliberate(rollout, status, inputs.observation)
    try:
        ask = next(deliberation)
        while True:
            open_questions = ask.unanswered(inputs.answers)
            if open_questions:
                return Ask(open_questions)
            ask = deliberation.send(inputs.answers)
    except StopIteration as stop:
        decision: Decision = stop.value
        return decision


def deliberate(rollout: Rollout, status: Status, observation: Observation) -> Deliberation:
    """Run `decide` as a generator: it yields each Ask and takes a mapping with an answer to every question of it."""
    outcome = consider(rollout, status, observation)
    return _without_questions(outcome) if isinstance(outcome, Decision) else outcome


def _without_questions(decision: Decision) -> Deliberation:
    """Return the decision as a generator that asks nothing."""
    yield from ()
    return decision


def consider(rollout: Rollout, status: Status, observation: Observation) -> Decision | Deliberation:
    """Return the decision itself if it needs no answers, else the generator that makes it."""
    builder = DecisionBuilder(rollout, status, observation)
    phase, command = status.phase, observation.command
    if status.since is None:
        return _detect(builder)
    if observation.is_deleted and phase not in OVER:
        return _delete(builder)
    if rollout.suspend and phase not in OVER:
        builder.emit_once(NoticeKind.SUSPENDED)
        return builder.wait(Rule.SUSPENDED, None)
    if command is not None and command.id != status.handled and phase not in OVER:
        decision = COMMANDS[command.kind](builder, command)
        if decision is not None:
            return decision
    return _PHASES[phase](builder)


def _detect(builder: DecisionBuilder) -> Decision:
    """Enter Initializing, as the rollout has no status yet; adopt the primary of a status that was lost."""
    target, primary = builder.observation.target, builder.observation.primary
    if target is not None and primary is not None and primary.revision != target.revision:
        return _adopt(builder, primary)
    return builder.enter(Rule.DETECTED, Phase.INITIALIZING, applied=target.revision if target is not None else "")


def _adopt(builder: DecisionBuilder, primary: Workload) -> Decision:
    """Enter Initialized with the revision of the existing primary, so that the target's revision is analysed first.

    Drain first: the status that was lost may have sent traffic to the canary.
    """
    builder.emit(NoticeKind.ADOPTED, primary.revision)
    return builder.enter(
        Rule.ADOPTED,
        Phase.INITIALIZED,
        applied=primary.revision,
        promoted=primary.revision,
        drain_until=builder.observation.now + builder.rollout.drain,
        pending=(Pending.SETTLE,),
    )


def _delete(builder: DecisionBuilder) -> Decision:
    """Enter Terminating, as the owner deleted the rollout."""
    builder.emit(NoticeKind.TERMINATING)
    pending = (Pending.SETTLE,) if builder.rollout.revert_on_deletion else ()
    return builder.enter(Rule.DELETED, Phase.TERMINATING, rung=INITIAL_RUNG, drain_until=0.0, pending=pending)


def _terminating(builder: DecisionBuilder) -> Decision:
    """Give everything back, let the primary drain, then end: its pods go with the Canary."""
    rollout, status, now = builder.rollout, builder.status, builder.observation.now
    plan = converge(goal(rollout, status), builder.observation)
    if not plan.done:
        builder.emit_plan(plan)
        return builder.wait(Rule.RESTORING, now + min(rollout.interval, 1.0))
    if status.pending and rollout.drain:
        return builder.change(Rule.GIVEN_BACK, drain_until=now + rollout.drain, pending=())
    if not builder.observation.has_reached(status.drain_until):
        return _drain(builder)
    builder.emit(NoticeKind.TERMINATED)
    return builder.enter(Rule.RESTORED, Phase.TERMINATED)


def _terminated(builder: DecisionBuilder) -> Decision:
    return builder.wait(Rule.GONE, None)


def _initializing(builder: DecisionBuilder) -> Deliberation:
    """Create the primary and wait until it is ready and has all traffic."""
    rollout, status, observation = builder.rollout, builder.status, builder.observation
    target = observation.target
    if target is None:
        builder.emit(NoticeKind.TARGET_MISSING)
        return builder.wait(Rule.INITIALISING, builder.next_poll)
    primary = observation.primary
    reason = explain_unready(primary, rollout.primary_ready) if primary is not None else ""
    if primary is not None and primary.revision != target.revision and _serves(builder, reason):
        return _adopt(builder, primary)
    if target.revision != status.applied:
        return builder.change(Rule.NOTED, applied=target.revision)
    if not rollout.skip_analysis:
        yield from _sources(builder)
    plan = converge(goal(rollout, status), observation)
    if reason:
        builder.emit(NoticeKind.PRIMARY_UNREADY, reason)
    if not plan.done:
        _report_late_routes(builder)
        return builder.wait(Rule.INITIALISING, builder.next_poll)
    builder.emit(NoticeKind.INITIALIZED)
    builder.emit(NoticeKind.INITIALIZED_ALERT)
    return builder.enter(
        Rule.INITIALIZED,
        Phase.INITIALIZED,
        promoted=status.applied,
        drain_until=observation.now + rollout.drain,
        pending=(Pending.SETTLE,),
    )


def _report_late_routes(builder: DecisionBuilder) -> None:
    """Report routes that are not in force yet; past the progress deadline with an alert.

    The target keeps its traffic and its pods, so there is nothing to roll back.
    """
    refusal = builder.observation.refusal
    if refusal is None:
        return
    builder.detail = str(refusal)
    if builder.is_past_deadline(builder.refused_since(refusal)):
        builder.emit_once(NoticeKind.UNROUTED, refusal.reason)
        builder.emit_once(NoticeKind.UNROUTED_ALERT, refusal.reason)


def _serves(builder: DecisionBuilder, unready: str) -> bool:
    """Whether an initial primary may receive requests. Until it does, the target's next revision may replace it.

    `unready` is why it is not ready, or empty.
    """
    return not builder.is_primary_down and (not unready or builder.observation.routes is not None)


def _sources(builder: DecisionBuilder) -> Generator[Ask, Mapping[str, Answer], None]:
    checks = builder.rollout.checks
    error = ""
    if checks:
        question = SourcesQuestion(builder.key("sources", "online"), checks)
        answer = (yield Ask((question,)))[question.key]
        assert isinstance(answer, SourcesAnswer)
        builder.answers += ((question, answer),)
        error = answer.error
    if error:
        builder.emit(NoticeKind.SOURCES_OFFLINE, error)
    else:
        builder.emit(NoticeKind.SOURCES_ONLINE)


def _idle(builder: DecisionBuilder) -> Decision | Deliberation:
    """Start a new revision, finish pending work, or wait."""
    status, observation = builder.status, builder.observation
    if Pending.HOOKS in status.pending:
        return _post_rollout(builder)
    target = observation.target
    plan = converge(goal(builder.rollout, status), observation)
    if target is not None and target.revision != status.applied:
        if status.phase is Phase.FAILED and target.revision == status.promoted:
            return builder.change(Rule.NOTED, applied=target.revision)
        if not can_restore_primary(builder):
            return _start_when_confirmed(builder)
    if not plan.done:
        restarted = _restart_drain(builder, plan) if status.pending else None
        if restarted is not None:
            return restarted
        if can_restore_primary(builder):
            builder.emit(NoticeKind.TAKING_BACK, status.promoted)
        elif has_rejected_primary(builder):
            builder.emit_once(NoticeKind.STRANDED)
        builder.emit_plan(plan)
        if not observation.has_reached(status.drain_until):
            return _drain(builder) if not plan.effects else builder.wait(Rule.CONVERGING, status.drain_until)
        return builder.wait(Rule.CONVERGING, builder.next_poll)
    if status.pending:
        return builder.change(Rule.SETTLED, pending=())
    if target is not None and target.is_scaled_up:
        builder.emit_once(NoticeKind.SCALED_BY_HAND, str(target.desired))
    return builder.wait(Rule.IDLE, None)


def _failed(builder: DecisionBuilder) -> Decision | Deliberation:
    """Bring the traffic back first, if it goes back by steps; hooks and new revisions come after that."""
    return return_traffic(builder) if builder.status.returning else _idle(builder)


def _post_rollout(builder: DecisionBuilder) -> Deliberation:
    """Call the post-rollout hooks once, at the end of a rollout."""
    for hook in builder.rollout.hooks_by_type[HookType.POST_ROLLOUT]:
        answer = yield from builder.call(hook)
        if not answer.passed:
            builder.emit(NoticeKind.POST_ROLLOUT_FAILED, hook.name, answer.text)
            break
        builder.emit(NoticeKind.POST_ROLLOUT_PASSED, hook.name)
    if builder.status.phase is Phase.SUCCEEDED:
        _emit_success(builder)
    return builder.change(Rule.HOOKS_CALLED, pending=(Pending.SETTLE,))


def _start_when_confirmed(builder: DecisionBuilder) -> Deliberation:
    """Start a new revision once every confirm-rollout gate is open."""
    waiting = builder.status.phase is Phase.WAITING
    for hook in builder.rollout.hooks_by_type[HookType.CONFIRM_ROLLOUT]:
        answer = yield from builder.call(hook)
        if answer.passed:
            builder.emit(NoticeKind.GATE_ROLLOUT_PASSED, hook.name)
            continue
        if waiting:
            return builder.wait(Rule.GATE_CLOSED, builder.next_poll)
        builder.emit(NoticeKind.GATE_ROLLOUT_CLOSED, hook.name)
        if not hook.mute_alert:
            builder.emit(NoticeKind.GATE_ROLLOUT_ALERT)
        return builder.enter(Rule.GATED, Phase.WAITING, rung=INITIAL_RUNG, pending=())
    return start(builder, Rule.STARTED)


def _waiting(builder: DecisionBuilder) -> Deliberation:
    """Wait for the confirm-rollout gates."""
    target = builder.observation.target
    if target is None:
        builder.emit(NoticeKind.TARGET_MISSING)
        return builder.wait(Rule.GATE_CLOSED, builder.next_poll)
    if target.revision == builder.status.promoted:
        return withdraw(builder)
    if builder.poll and not builder.status.paused:
        decision = yield from _rollback_hooks(builder)
        if decision is not None:
            return decision
    plan = converge(goal(builder.rollout, builder.status), builder.observation)
    if not plan.done:
        builder.emit_plan(plan)
        return builder.wait(Rule.CONVERGING, builder.next_poll)
    if builder.status.paused:
        return builder.wait(Rule.ON_HOLD, None)
    if not builder.poll:
        return builder.wait(Rule.NOT_DUE, builder.next_poll)
    return (yield from _start_when_confirmed(builder))


def _active(builder: DecisionBuilder) -> Decision | Deliberation:
    """Guard an analysis: follow the target's revision and the rollback hooks."""
    rollout, status = builder.rollout, builder.status
    target = builder.observation.target
    if target is None:
        builder.emit(NoticeKind.TARGET_MISSING)
        return builder.wait(Rule.UNREADY, builder.next_poll)
    if target.revision != status.applied:
        return withdraw(builder) if target.revision == status.promoted else restart(builder)
    if builder.poll and not status.paused and rollout.hooks_by_type[HookType.ROLLBACK]:
        return _active_unless_rolled_back(builder, target)
    return _under_analysis(builder, target)


def _active_unless_rolled_back(builder: DecisionBuilder, target: Workload) -> Deliberation:
    rolled_back = yield from _rollback_hooks(builder)
    outcome = rolled_back or _under_analysis(builder, target)
    return outcome if isinstance(outcome, Decision) else (yield from outcome)


def _under_analysis(builder: DecisionBuilder, target: Workload) -> Decision | Deliberation:
    """Guard an analysis of the target's revision, and run it when it is due."""
    rollout, status = builder.rollout, builder.status
    if not is_in_step(rollout, status, builder.observation):
        outcome = _out_of_step(builder, target)
        if outcome is not None:
            return outcome
    if status.paused:
        return _on_hold(builder)
    if not builder.poll:
        return builder.wait(Rule.NOT_DUE, builder.next_poll)
    if rollout.skip_analysis:
        return promote(builder, Rule.SKIPPED, Reason.SKIPPED)
    if status.failed_checks >= rollout.threshold:
        return roll_back_checks(builder, status.failed_checks)
    return _replace_primary(builder) if _may_replace_primary(builder) else analyse(builder)


def _may_replace_primary(builder: DecisionBuilder) -> bool:
    """Whether the primary is down and the new revision may replace it without an analysis.

    With `skip_analysis` this includes a primary that somebody scaled to zero.
    """
    rollout, primary = builder.rollout, builder.observation.primary
    if not builder.is_primary_down:
        return False
    return rollout.skip_analysis or (rollout.replace_down_primary and (primary is None or primary.desired > 0))


def _replace_primary(builder: DecisionBuilder) -> Decision:
    """Promote the new revision once the primary has been down for an interval: a short outage replaces nothing."""
    observation, primary = builder.observation, builder.observation.primary
    since = (builder.status.since or 0.0) if primary is None else builder.missing_since(primary)
    due = since + builder.rollout.interval
    if not observation.has_reached(due):
        return builder.wait(Rule.UNREADY, min(due, builder.next_poll))
    builder.emit(NoticeKind.REPLACING_PRIMARY)
    return promote(builder, Rule.REPLACED, Reason.REPLACED)


def _rollback_hooks(builder: DecisionBuilder) -> Inquiry:
    """Call the rollback hooks; roll back at the first that passes."""
    for hook in builder.rollout.hooks_by_type[HookType.ROLLBACK]:
        answer = yield from builder.call(hook)
        if answer.passed:
            builder.emit(NoticeKind.ROLLBACK_HOOK_PASSED, hook.name)
            builder.emit(NoticeKind.ROLLING_BACK_HOOK)
            builder.emit(NoticeKind.ROLLING_BACK_HOOK_ALERT)
            return fail(builder, Rule.ROLLED_BACK_HOOK, Reason.HOOK)
        builder.emit(NoticeKind.ROLLBACK_HOOK_QUIET, hook.name)
    return None


def _out_of_step(builder: DecisionBuilder, target: Workload) -> Decision | None:
    """Wait while pods are missing or the cluster does not match the goal; roll back past the progress deadline.

    A primary that the new revision may replace need not be ready, and the routes need not lead to it.
    """
    rollout, observation = builder.rollout, builder.observation
    may_replace, outcome = _may_replace_primary(builder), None
    if not (may_replace or rollout.skip_analysis):
        outcome = _side_unready(builder, observation.primary, rollout.primary_ready, is_primary=True)
    outcome = outcome or _side_unready(builder, target, rollout.canary_ready, is_primary=False)
    if outcome is not None:
        return outcome
    plan = converge(goal(rollout, builder.status), observation)
    if plan.done:
        return None
    builder.emit_plan(plan)
    return None if may_replace else _wait_for_routes(builder)


def _wait_for_routes(builder: DecisionBuilder) -> Decision:
    """Wait while the cluster follows; roll back when its routes have been refused beyond the progress deadline."""
    refusal, wake = builder.observation.refusal, builder.next_poll
    if refusal is not None:
        since = builder.refused_since(refusal)
        if builder.is_past_deadline(since):
            return _roll_back_late(builder, refusal.reason)
        wake = min(wake, since + builder.rollout.progress_deadline)
    return builder.wait(Rule.CONVERGING, wake)


def _side_unready(
    builder: DecisionBuilder, side: Workload | None, threshold: int, *, is_primary: bool
) -> Decision | None:
    """Wait while one side lacks pods; roll back past the progress deadline. Return None if it has them."""
    kind = NoticeKind.PRIMARY_UNREADY if is_primary else NoticeKind.CANARY_UNREADY
    if side is None:
        reason = "it does not exist"
    elif is_primary and side.desired == 0:
        kind, reason = NoticeKind.PRIMARY_AT_ZERO, "it is scaled to zero"
    else:
        reason = explain_unready(side, threshold)
    if not reason:
        return None
    builder.detail = reason
    is_down = is_primary and builder.is_primary_down
    (builder.emit_once if is_down else builder.emit)(kind, reason)
    plan = converge(goal(builder.rollout, builder.status), builder.observation)
    builder.emit_plan(plan)
    wake = builder.next_poll
    if side is not None and side.stuck:
        return _roll_back_late(builder, reason)
    since = None if side is None else _unready_since(builder, side, is_primary=is_primary)
    if since is not None:
        if builder.is_past_deadline(since):
            return _roll_back_late(builder, reason)
        wake = min(wake, since + builder.rollout.progress_deadline)
    return builder.wait(Rule.UNREADY, wake)


def _unready_since(builder: DecisionBuilder, side: Workload, *, is_primary: bool) -> float | None:
    """Return since when a side of an analysis has lacked pods, for the progress deadline; None if that is unknown.

    The platform says so while too few pods are available, but not while pods of another revision still serve. Then the
    canary's own pods have been due since the analysis began, provided that it could start when they came. On later
    rungs, or behind a gate that may have been closed for long, pods are missing only briefly, as after a scaling. A
    canary that grows to the size of its step has no traffic of it yet: its pods have been due since the last analysis.
    """
    status, gates = builder.status, builder.rollout.hooks_by_type[HookType.CONFIRM_TRAFFIC_INCREASE]
    routes, sizes = builder.observation.routes, builder.rollout.ladder.sizes
    is_growing = bool(sizes) and routes is not None and exposes_more(routes, status.rung.routes)
    is_first = status.rung.is_initial or (is_growing and status.approval is Approval.NONE)
    is_due = is_first and not (is_primary or status.paused or gates)
    return builder.missing_since(side) if is_due or side.unready_since is not None else None


def _on_hold(builder: DecisionBuilder) -> Decision:
    """Wait for a command."""
    if builder.status.is_frozen:
        builder.detail = f"frozen by {builder.status.reason.value}"
    return builder.wait(Rule.ON_HOLD, None)


def _roll_back_late(builder: DecisionBuilder, why: str) -> Decision:
    """Roll back past the progress deadline, or freeze the rollout if the policy says so."""
    if builder.status.is_frozen:
        return _on_hold(builder)
    notices = NoticeKind.ROLLING_BACK_DEADLINE, NoticeKind.ROLLING_BACK_DEADLINE_ALERT
    frozen_by = f"progress deadline exceeded {why}"
    return fail_or_freeze(builder, Rule.ROLLED_BACK_DEADLINE, Reason.DEADLINE, notices, argument=why, why=frozen_by)


def _promoting(builder: DecisionBuilder) -> Decision:
    """Bring the primary to the passed revision, then move the traffic back to it."""
    status, observation = builder.status, builder.observation
    target, primary = observation.target, observation.primary
    if primary is None or primary.revision != status.applied:
        if target is None:
            builder.emit(NoticeKind.TARGET_MISSING)
        elif target.revision != status.applied:
            return withdraw(builder) if target.revision == status.promoted else restart(builder)
    outcome = _wait_for_primary(builder)
    if outcome is not None:
        return outcome
    if builder.poll < 1 and status.rung.is_exposed and not builder.rollout.ladder.in_place:
        return builder.wait(Rule.NOT_DUE, builder.next_poll)
    overload = "" if builder.rollout.ladder.in_place else explain_overload(builder, status.rung)
    if not (overload and status.rung.weight):
        return _step_back(builder)
    end = status.analysed_at + builder.rollout.longest_return
    if not observation.has_reached(end):
        return hold_traffic(builder, overload, end)
    report_cut(builder, CutShort.DEADLINE)
    return _finalise(builder, cut_short=CutShort.DEADLINE)


def _wait_for_primary(builder: DecisionBuilder) -> Decision | None:
    """Return None once the primary has the passed revision, is ready, and the routes match the goal."""
    rollout, status, observation = builder.rollout, builder.status, builder.observation
    if status.paused:
        return builder.wait(Rule.ON_HOLD, None)
    primary = observation.primary
    plan = converge(goal(rollout, status), observation)
    is_updated = primary is not None and primary.revision == status.applied
    reason = explain_unready(primary, rollout.primary_ready) if primary is not None and is_updated else ""
    wake, is_late = builder.next_poll, builder.is_overdue
    if reason and primary is not None:
        since = builder.missing_since(primary)
        is_late = bool(primary.stuck) or builder.is_past_deadline(since)
        wake = min(wake, since + rollout.progress_deadline)
    restarted = None if is_late else _restart_drain(builder, plan)
    if restarted is not None:
        return restarted
    if reason:
        builder.detail = reason
        builder.emit(NoticeKind.PRIMARY_UNREADY, reason)
        builder.emit_plan(plan)
        if is_late:
            return _fail_promotion(builder, f"{rollout.primary_name} not ready: {reason}")
        return builder.wait(Rule.UNREADY, wake)
    if not plan.done:
        builder.emit_plan(plan)
        if is_late:
            refusal = observation.refusal
            why = "routes do not follow" if is_updated else "it does not take the revision over"
            why += f": {refusal.reason}" if is_updated and refusal is not None else ""
            return _fail_promotion(builder, why)
        return builder.wait(Rule.CONVERGING, wake)
    return None


def _step_back(builder: DecisionBuilder) -> Decision:
    """Take one step of the way back, or enter Finalising. In place, the stable version has the traffic already."""
    rollout, status = builder.rollout, builder.status
    ladder, rung = rollout.ladder, status.rung
    step = promotion_step(rollout)
    if step and rung.is_exposed:
        after = ladder.lower(rung, step)
        builder.emit(NoticeKind.PRIMARY_WEIGHT, format_weight(after.routes.primary, tenths=after.tenths))
        if after.weight > 0:
            return count_analysis(builder, Rule.STEPPED_BACK, rung=after)
    elif ladder.routed and not ladder.in_place and (rung.is_exposed or rung.iteration):
        builder.emit(NoticeKind.ALL_TO_PRIMARY)
    return _finalise(builder)


def _finalise(builder: DecisionBuilder, **changes: Any) -> Decision:
    """Enter Finalising: all traffic goes to the primary, and the canary drains."""
    rollout, status, ladder = builder.rollout, builder.status, builder.rollout.ladder
    changes["drain_until"] = drain_end(builder, least=0.0 if ladder.in_place else rollout.interval)
    return builder.enter(Rule.FINALISED, Phase.FINALISING, status.reason, rung=INITIAL_RUNG, **changes)


def _finalising(builder: DecisionBuilder) -> Decision:
    """Wait for the drain, then end in Succeeded."""
    rollout, status, observation = builder.rollout, builder.status, builder.observation
    outcome = _wait_for_primary(builder)
    if outcome is not None:
        return outcome
    if not observation.has_reached(status.drain_until):
        return _drain(builder)
    pending = pending_work(rollout)
    if Pending.HOOKS not in pending:
        _emit_success(builder)
    return builder.enter(
        Rule.SUCCEEDED,
        Phase.SUCCEEDED,
        status.reason,
        **record_promotion(status),
        cut_short=status.cut_short,
        drain_until=observation.now,
        pending=pending,
    )


def _restart_drain(builder: DecisionBuilder, plan: Plan) -> Decision | None:
    """Begin the drain anew if the canary's traffic leaves only now, or has not left yet; return None if not."""
    observation, drain = builder.observation, builder.rollout.drain
    routes, end = observation.routes, observation.now + drain
    is_late = end > builder.status.drain_until + EPSILON
    if not (drain and is_late and (routes is None or routes.is_exposed)):
        return None
    moving = [effect.routes for effect in plan.effects if isinstance(effect, SetRoutes)]
    planned = moving[0] if moving else observation.written_routes
    is_leaving = planned is not None and not planned.is_exposed
    if not is_leaving:
        return None
    builder.emit_plan(plan)
    return builder.change(Rule.DRAIN_RESTARTED, drain_until=end)


def _drain(builder: DecisionBuilder) -> Decision:
    """Wait until proxies that follow late no longer send requests to the pods that go."""
    left = builder.status.drain_until - builder.observation.now
    builder.detail = f"proxies may still send requests to pods that go, for {left:.3g}s"
    return builder.wait(Rule.DRAINING, builder.status.drain_until)


def _emit_success(builder: DecisionBuilder) -> None:
    reason = builder.status.reason
    if reason is Reason.WITHDRAWN:
        return
    skipped = reason is Reason.SKIPPED
    builder.emit(NoticeKind.SUCCEEDED_SKIPPED if skipped else NoticeKind.SUCCEEDED)
    builder.emit(NoticeKind.SUCCEEDED_SKIPPED_ALERT if skipped else NoticeKind.SUCCEEDED_ALERT)


def _fail_promotion(builder: DecisionBuilder, why: str) -> Decision:
    builder.emit(NoticeKind.PROMOTION_FAILED, why)
    builder.emit(NoticeKind.PROMOTION_FAILED_ALERT, why)
    return fail(builder, Rule.PROMOTION_FAILED, Reason.PROMOTION)


_PHASES: dict[Phase, Callable[[DecisionBuilder], Decision | Deliberation]] = {
    Phase.INITIALIZING: _initializing,
    Phase.INITIALIZED: _idle,
    Phase.WAITING: _waiting,
    Phase.PROGRESSING: _active,
    Phase.WAITING_PROMOTION: _active,
    Phase.PROMOTING: _promoting,
    Phase.FINALISING: _finalising,
    Phase.SUCCEEDED: _idle,
    Phase.FAILED: _failed,
    Phase.TERMINATING: _terminating,
    Phase.TERMINATED: _terminated,
}
