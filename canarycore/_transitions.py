"""The transitions that several guards share: start, restart, promote, withdraw, fail.

Each returns a `Decision`. Its status is durable before its first effect, and the effects follow from the status alone.
"""

from __future__ import annotations

from typing import Any

from canarycore._decision import Decision, DecisionBuilder
from canarycore._gradual_return import begin_return, count_capacity
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore._revisions import is_return, next_rung, record_rejection
from canarycore._spec import HookType, OnFailure, Rollout
from canarycore.notices import NoticeKind
from canarycore.phases import BEFORE_ANALYSIS, Approval, Pending, Phase, Reason, Rule
from canarycore.text import format_timespan


def start(builder: DecisionBuilder, rule: Rule, **changes: Any) -> Decision:
    """Start the analysis of the target's revision."""
    builder.emit(NoticeKind.NEW_REVISION)
    builder.emit(NoticeKind.NEW_REVISION_ALERT)
    _report_return(builder)
    changes |= {**reset_analysis(builder), "capacity": count_capacity(builder)}
    return builder.enter(rule, Phase.PROGRESSING, pending=(), **changes)


def restart(builder: DecisionBuilder) -> Decision:
    """Start the analysis anew, as the target has another revision."""
    builder.emit(NoticeKind.RESTARTED)
    _report_return(builder)
    paused = builder.status.paused and not builder.status.is_frozen
    return builder.enter(Rule.RESTARTED, Phase.PROGRESSING, **reset_analysis(builder), paused=paused)


def _report_return(builder: DecisionBuilder) -> None:
    """Report a rollout that skips steps, as it returns within the rollback window."""
    rollout, status, revision = builder.rollout, builder.status, builder.revision
    if not rollout.skip_analysis and is_return(rollout, status, revision):
        rung = next_rung(rollout, status, INITIAL_RUNG, revision)
        builder.emit(NoticeKind.STEPS_SKIPPED, revision, "the promotion" if rung is None else str(rung))


def reset_analysis(builder: DecisionBuilder) -> dict[str, Any]:
    """Return the fields of a status that begins an analysis of the target's revision."""
    return {"applied": builder.revision, "rung": INITIAL_RUNG, "failed_checks": 0, "holds": 0, "analysis": None}


def promote(builder: DecisionBuilder, rule: Rule, reason: Reason, **changes: Any) -> Decision:
    """Begin to promote the revision under test."""
    builder.emit(NoticeKind.COPYING)
    return builder.enter(rule, Phase.PROMOTING, reason, paused=False, **changes)


def withdraw(builder: DecisionBuilder) -> Decision:
    """End the rollout, as the target is back at the promoted revision."""
    builder.emit(NoticeKind.WITHDRAWN)
    builder.emit(NoticeKind.WITHDRAWN_ALERT)
    status = builder.status
    return builder.enter(
        Rule.WITHDRAWN,
        Phase.SUCCEEDED,
        Reason.WITHDRAWN,
        applied=status.promoted,
        rung=INITIAL_RUNG,
        failed_checks=0,
        holds=0,
        paused=False,
        drain_until=drain_end(builder),
        pending=pending_work(builder.rollout),
    )


def fail(builder: DecisionBuilder, rule: Rule, reason: Reason, **changes: Any) -> Decision:
    """Roll back, at once or by the first step of a gradual return.

    The rollback is durable with this status, and its effects follow from it.
    """
    builder.emit(NoticeKind.FAILED)
    reset: dict[str, Any] = (
        reset_analysis(builder)
        if builder.status.phase in BEFORE_ANALYSIS
        else {"rung": INITIAL_RUNG, "failed_checks": 0, "holds": 0}
    )
    return builder.enter(
        rule,
        Phase.FAILED,
        reason,
        **{**reset, **begin_return(builder), **changes},
        **record_rejection(builder.status, reset.get("applied", builder.status.applied)),
        paused=False,
        drain_until=drain_end(builder),
        pending=pending_work(builder.rollout),
    )


def freeze(builder: DecisionBuilder, reason: Reason, why: str, **changes: Any) -> Decision:
    """Stop an analysis that failed where it is, until a command or another revision comes."""
    weight = f"{builder.status.rung.percent:g}"
    builder.emit(NoticeKind.FROZEN, weight, why)
    builder.emit(NoticeKind.FROZEN_ALERT, weight, why)
    return count_analysis(builder, Rule.FROZEN, paused=True, reason=reason, **changes)


def fail_or_freeze(
    builder: DecisionBuilder,
    rule: Rule,
    reason: Reason,
    notices: tuple[NoticeKind, NoticeKind],
    *,
    argument: str,
    why: str,
    **frozen: Any,
) -> Decision:
    """Roll back by this rule, or freeze the rollout if the policy says so.

    notices: the event and the alert of a rollback, with their argument. why: the reason in the notices of a freeze.
    frozen: changes of the status that freezes.
    """
    if builder.rollout.on_failure is OnFailure.FREEZE:
        return freeze(builder, reason, why, **frozen)
    for kind in notices:
        builder.emit(kind, argument)
    return fail(builder, rule, reason)


def drain_end(builder: DecisionBuilder, least: float = 0.0) -> float:
    """Return when the canary may stop, after a decision takes its traffic away at once; `least` is in seconds."""
    routes = builder.observation.routes
    is_exposed = builder.status.rung.is_exposed or (routes is not None and routes.is_exposed)
    drain = max(builder.rollout.drain, least) if is_exposed else 0.0
    return max(builder.status.drain_until, builder.observation.now + drain)


def pending_work(rollout: Rollout) -> tuple[Pending, ...]:
    """Return the work that a rollout owes at its end."""
    return (Pending.HOOKS, Pending.SETTLE) if rollout.hooks_by_type[HookType.POST_ROLLOUT] else (Pending.SETTLE,)


def count_analysis(builder: DecisionBuilder, rule: Rule, **changes: Any) -> Decision:
    """Change the status and begin a new interval."""
    now = builder.observation.now
    return builder.change(rule, now + builder.rollout.interval, analysed_at=now, **changes)


def climb(builder: DecisionBuilder, rule: Rule, rung: Rung, **changes: Any) -> Decision:
    """Go to a rung, where the hold of its step begins."""
    ladder = builder.rollout.ladder
    step = ladder.step_at(rung)
    if step is not None and step.hold:
        builder.emit(NoticeKind.HOLDING, f"{rung.percent:g}", format_timespan(step.hold))
    reached_at = builder.observation.now if ladder.stays else None
    return count_analysis(builder, rule, rung=rung, reached_at=reached_at, approval=Approval.NONE, **changes)


def can_restore_primary(builder: DecisionBuilder) -> bool:
    """Whether the primary has a rejected revision and can be restored to the promoted one."""
    return has_rejected_primary(builder) and builder.status.promoted in builder.observation.restorable


def has_rejected_primary(builder: DecisionBuilder) -> bool:
    """Whether a failed rollout left the primary with another revision than the promoted one."""
    status, primary = builder.status, builder.observation.primary
    return status.phase is Phase.FAILED and primary is not None and primary.revision != status.promoted
