"""An analysis that is due: hooks in the manifest's order, all metrics at once, gates after a pass, the next rung.

The initial rung runs the pre-rollout hooks and asks no metric. Every later rung runs the rollout hooks and the metrics;
a rollout leaves it only when all of them pass, and stays while the hold of a step lasts or its approval is missing.
Otherwise a failed check counts, or the analysis holds if the owner wants to wait for data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore._decision import Decision, DecisionBuilder, Deliberation, Inquiry
from canarycore._gradual_return import explain_canary_overload, hold_traffic
from canarycore._ladder import Rung, Strategy
from canarycore._measurements import FOR_A_HUMAN, count_answers, describe_excess, exceeds, find_due, find_open
from canarycore._observation import EPSILON
from canarycore._revisions import is_return, next_rung
from canarycore._spec import HookType, NoData
from canarycore._transitions import climb, count_analysis, fail_or_freeze, freeze, promote
from canarycore._verdicts import Judgement, Verdict, judge
from canarycore.notices import NoticeKind
from canarycore.phases import Approval, Phase, Reason, Rule
from canarycore.questions import Answer, Ask, MetricQuestion
from canarycore.text import format_timespan

if TYPE_CHECKING:
    from collections.abc import Mapping


def analyse(builder: DecisionBuilder) -> Deliberation:
    """Run the hooks in order, then the metrics at once, then the gates, and advance if all pass."""
    rollout, is_on_ladder = builder.rollout, not builder.status.rung.is_initial
    kind = HookType.ROLLOUT if is_on_ladder else HookType.PRE_ROLLOUT
    if not is_on_ladder:
        builder.emit(NoticeKind.STARTING)
    outcome = (yield from _call_hooks(builder, kind)) if rollout.hooks_by_type[kind] else None
    if outcome is None and is_on_ladder and rollout.checks_by_place:
        checks = find_due(rollout, builder.status, builder.observation.now)
        stem, revision = builder.key("metric", ""), builder.status.applied
        questions = tuple([MetricQuestion(stem + place, check, revision) for place, check in checks])
        answers = (yield Ask(questions)) if questions else {}
        places = tuple([place for place, _ in checks])
        outcome = _judge_metrics(builder, places, questions, answers)
    if outcome is None and rollout.ladder.stays:
        outcome = _stay(builder)
    if outcome is None and rollout.has_gates:
        outcome = yield from _gates(builder)
    return outcome or _advance_rung(builder)


_HOOK_NOTICES = {
    HookType.PRE_ROLLOUT: (NoticeKind.PRE_ROLLOUT_FAILED, NoticeKind.PRE_ROLLOUT_PASSED),
    HookType.ROLLOUT: (NoticeKind.ROLLOUT_HOOK_FAILED, None),
}


def _call_hooks(builder: DecisionBuilder, kind: HookType) -> Inquiry:
    """Call the hooks of this type up to the first that fails."""
    failed, passed = _HOOK_NOTICES[kind]
    for hook in builder.rollout.hooks_by_type[kind]:
        answer = yield from builder.call(hook, Phase.PROGRESSING)
        if not answer.passed:
            builder.emit(failed, hook.name, answer.text)
            return _halt_advancement(builder)
        if passed is not None:
            builder.emit(passed, hook.name)
    return None


def _judge_metrics(
    builder: DecisionBuilder,
    places: tuple[str, ...],
    questions: tuple[MetricQuestion, ...],
    answers: Mapping[str, Answer],
) -> Decision | None:
    """Return None if all checks pass. The notice is about the first that does not, in Flagger's order."""
    min_samples = builder.rollout.min_samples
    judgements = [judge(question.check, answers[question.key], min_samples) for question in questions]  # type: ignore[arg-type]
    builder.judgements, passed = tuple(judgements), Verdict.PASS
    if builder.rollout.has_limits:
        return _judge_by_limits(builder, places)
    for judgement in judgements:
        if judgement.verdict is not passed:
            return _hold_or_halt(builder, [each for each in judgements if each.verdict is not passed])
    return None


def _judge_by_limits(builder: DecisionBuilder, places: tuple[str, ...]) -> Decision | None:
    """Return None if all checks pass, and those with limits of their own are concluded.

    A limit that is exceeded comes first, then the bad answers that the policy's threshold counts.
    """
    placed = tuple(zip(places, builder.judgements, strict=True))
    tallies, builder.tallies = count_answers(builder.status, placed, builder.observation.now)
    bad = [(place, each) for place, each in placed if each.verdict is not Verdict.PASS and not each.check.dry_run]
    excess = {
        place: exceeds(each.check.limits, tallies[place], each.verdict) for place, each in bad if place in tallies
    }
    for place, judgement in bad:
        if excess.get(place):
            return _end_by_limit(builder, judgement, describe_excess(judgement, tallies[place]))
    counted = [judgement for place, judgement in bad if excess.get(place) is None]
    if counted:
        return _hold_or_halt(builder, counted)
    for _, judgement in bad[:1]:
        builder.emit(NoticeKind.CHECK_FAILED, judgement.text(builder.rollout))
    unfinished = find_open(builder.rollout, builder.status, tallies)
    if not unfinished:
        return None
    builder.detail = f"check {unfinished} needs further measurements"
    return count_analysis(builder, Rule.MEASURED)


def _end_by_limit(builder: DecisionBuilder, judgement: Judgement, why: str) -> Decision:
    """Freeze the rollout for want of clear data, which a human can judge; roll back or freeze it for bad values."""
    builder.emit(NoticeKind.CHECK_FAILED, judgement.text(builder.rollout))
    if judgement.verdict in FOR_A_HUMAN:
        return freeze(builder, Reason.INCONCLUSIVE, why)
    notices = NoticeKind.ROLLING_BACK_LIMIT, NoticeKind.ROLLING_BACK_LIMIT_ALERT
    return fail_or_freeze(builder, Rule.ROLLED_BACK_CHECKS, Reason.CHECKS, notices, argument=why, why=why)


def _hold_or_halt(builder: DecisionBuilder, bad: list[Judgement]) -> Decision:
    """Hold if values are inconclusive, or data is missing and the owner waits for it; else count a failed check."""
    rollout = builder.rollout
    hold = rollout.no_data is NoData.HOLD
    if all(judgement.is_hold(rollout.no_data) for judgement in bad):
        return _hold_analysis(builder, bad[0])
    bad = [judgement for judgement in bad if judgement.verdict is not Verdict.INCONCLUSIVE]
    first = next((judgement for judgement in bad if judgement.verdict is Verdict.FAIL), bad[0]) if hold else bad[0]
    builder.emit(NoticeKind.CHECK_FAILED, first.text(rollout))
    return _halt_advancement(builder)


def _stay(builder: DecisionBuilder) -> Decision | None:
    """Stay on the step until its hold is over and it is approved; return None then."""
    status, now = builder.status, builder.observation.now
    step = builder.rollout.ladder.step_at(status.rung)
    if step is None:
        return None
    left = 0.0 if status.reached_at is None else status.reached_at + step.hold - now
    if left > EPSILON:
        builder.detail = f"{format_timespan(left)} of its hold are left"
        return count_analysis(builder, Rule.STAYED)
    if not step.approval or status.approval is Approval.GIVEN:
        return None
    if status.approval is Approval.ASKED:
        return builder.wait(Rule.UNAPPROVED, builder.next_poll)
    builder.detail = "it waits for the command approve"
    weight = f"{status.rung.percent:g}"
    builder.emit(NoticeKind.APPROVAL_ASKED, weight)
    builder.emit(NoticeKind.APPROVAL_ALERT, weight)
    return count_analysis(builder, Rule.STAYED, approval=Approval.ASKED)


def _halt_advancement(builder: DecisionBuilder) -> Decision:
    """Count a failed check; roll back at the threshold, in the same decision."""
    failed = builder.status.failed_checks + 1
    if failed >= builder.rollout.threshold:
        return roll_back_checks(builder, failed)
    return count_analysis(builder, Rule.HALTED, failed_checks=failed)


def _hold_analysis(builder: DecisionBuilder, judgement: Judgement) -> Decision:
    rollout, holds = builder.rollout, builder.status.holds + 1
    builder.emit(NoticeKind.HELD, judgement.text(rollout))
    if rollout.inconclusive_limit and holds >= rollout.inconclusive_limit:
        notices = NoticeKind.ROLLING_BACK_INCONCLUSIVE, NoticeKind.ROLLING_BACK_INCONCLUSIVE_ALERT
        return fail_or_freeze(
            builder,
            Rule.ROLLED_BACK_INCONCLUSIVE,
            Reason.INCONCLUSIVE,
            notices,
            argument=str(holds),
            why=f"inconclusive analyses reached {holds}",
            holds=holds,
        )
    return count_analysis(builder, Rule.HELD, holds=holds)


def roll_back_checks(builder: DecisionBuilder, failed: int) -> Decision:
    """Roll back by failed checks, or freeze the rollout if the policy says so."""
    notices = NoticeKind.ROLLING_BACK_CHECKS, NoticeKind.ROLLING_BACK_CHECKS_ALERT
    why = f"failed checks threshold reached {failed}"
    return fail_or_freeze(
        builder,
        Rule.ROLLED_BACK_CHECKS,
        Reason.CHECKS,
        notices,
        argument=str(failed),
        why=why,
        failed_checks=failed,
    )


def _gates(builder: DecisionBuilder) -> Inquiry:
    """Ask the gates between this rung and the next step; return None if all are open."""
    status, ladder = builder.status, builder.rollout.ladder
    rung = status.rung
    if ladder.strategy is Strategy.WEIGHTS and not ladder.is_mirror_rung(rung) and status.phase is Phase.PROGRESSING:
        outcome = yield from _gate(builder, HookType.CONFIRM_TRAFFIC_INCREASE)
        if outcome is not None:
            return outcome
    after = next_rung(builder.rollout, status, rung, status.applied)
    return (yield from _gate(builder, HookType.CONFIRM_PROMOTION)) if ladder.is_gated(after) else None


_GATE_NOTICES = {
    HookType.CONFIRM_TRAFFIC_INCREASE: (
        NoticeKind.GATE_INCREASE_PASSED,
        NoticeKind.GATE_INCREASE_CLOSED,
        NoticeKind.GATE_INCREASE_ALERT,
    ),
    HookType.CONFIRM_PROMOTION: (
        NoticeKind.GATE_PROMOTION_PASSED,
        NoticeKind.GATE_PROMOTION_CLOSED,
        NoticeKind.GATE_PROMOTION_ALERT,
    ),
}


def _gate(builder: DecisionBuilder, kind: HookType) -> Inquiry:
    passed, closed, alert = _GATE_NOTICES[kind]
    for hook in builder.rollout.hooks_by_type[kind]:
        answer = yield from builder.call(hook)
        if answer.passed:
            builder.emit(passed, hook.name)
            continue
        if builder.status.phase is Phase.WAITING_PROMOTION:
            return builder.wait(Rule.GATE_CLOSED, builder.next_poll)
        builder.emit(closed, hook.name)
        if not hook.mute_alert:
            builder.emit_once(alert)
        if kind is HookType.CONFIRM_PROMOTION:
            now = builder.observation.now
            return builder.change(
                Rule.GATED_PROMOTION,
                now + builder.rollout.interval,
                phase=Phase.WAITING_PROMOTION,
                since=now,
                analysed_at=now,
            )
        return builder.wait(Rule.GATE_CLOSED, builder.next_poll)
    return None


def _advance_rung(builder: DecisionBuilder) -> Decision:
    """Go to the next rung, or promote after the last."""
    rollout, status = builder.rollout, builder.status
    after = next_rung(rollout, status, status.rung, status.applied)
    if after is not None:
        return _hold_increase(builder, after) or _advance(builder, after)
    if status.rung.is_initial and is_return(rollout, status, status.applied):
        return promote(builder, Rule.RETURNED, Reason.SKIPPED)
    return promote(builder, Rule.PROMOTED, Reason.PASSED)


def _hold_increase(builder: DecisionBuilder, after: Rung) -> Decision | None:
    """Wait for pods of the canary that bear its present share, at most for the deadline of a return.

    Each interval analyses the rung again meanwhile.
    """
    rollout = builder.rollout
    if rollout.gradual_return is None:
        return None
    overload = explain_canary_overload(builder, after)
    end = builder.status.analysed_at + rollout.interval + rollout.longest_return
    if not overload or builder.observation.has_reached(end):
        return None
    return hold_traffic(builder, overload, builder.next_poll)


def _advance(builder: DecisionBuilder, rung: Rung) -> Decision:
    rollout = builder.rollout
    ladder = rollout.ladder
    if rung.iteration > ladder.iterations:
        if ladder.routed:
            builder.emit(NoticeKind.ALL_TO_CANARY_MIRRORED if ladder.mirror else NoticeKind.ALL_TO_CANARY)
    elif rung.iteration:
        builder.emit(NoticeKind.ADVANCED_ITERATION, str(rung.iteration), str(ladder.iterations))
    else:
        builder.emit(NoticeKind.ADVANCED_WEIGHT, f"{rung.percent:g}")
    return climb(builder, Rule.ADVANCED, rung)
