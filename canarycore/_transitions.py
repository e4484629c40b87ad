"""The moves that more than one guard makes: start, restart, promote, withdraw, fail.

Each returns the `Decision` whose status is durable before its first effect; the effects follow from the status alone.
"""

from __future__ import annotations

from typing import Any

from canarycore._decision import Decision, DecisionBuilder
from canarycore._ladder import INITIAL_RUNG
from canarycore._spec import HookType, Rollout
from canarycore._status import Pending, Reason
from canarycore.notices import NoticeKind
from canarycore.phases import BEFORE_ANALYSIS, Phase, Rule


def start(case: DecisionBuilder, rule: Rule, **changes: Any) -> Decision:
    case.tell(NoticeKind.NEW_REVISION)
    case.tell(NoticeKind.NEW_REVISION_ALERT)
    return case.enter(rule, Phase.PROGRESSING, **fresh(case), pending=(), **changes)


def restart(case: DecisionBuilder) -> Decision:
    case.tell(NoticeKind.RESTARTED)
    return case.enter(Rule.RESTARTED, Phase.PROGRESSING, **fresh(case))


def fresh(case: DecisionBuilder) -> dict[str, Any]:
    """A new analysis of what the target carries now."""
    return {"applied": case.revision, "rung": INITIAL_RUNG, "failed_checks": 0, "holds": 0}


def promote(case: DecisionBuilder, rule: Rule, reason: Reason, **changes: Any) -> Decision:
    case.tell(NoticeKind.COPYING)
    return case.enter(rule, Phase.PROMOTING, reason, paused=False, **changes)


def withdraw(case: DecisionBuilder) -> Decision:
    case.tell(NoticeKind.WITHDRAWN)
    case.tell(NoticeKind.WITHDRAWN_ALERT)
    status = case.status
    return case.enter(
        Rule.WITHDRAWN,
        Phase.SUCCEEDED,
        Reason.WITHDRAWN,
        applied=status.promoted,
        rung=INITIAL_RUNG,
        failed_checks=0,
        holds=0,
        paused=False,
        drain_until=drained(case),
        pending=pending_work(case.rollout),
    )


def fail(case: DecisionBuilder, rule: Rule, reason: Reason, **changes: Any) -> Decision:
    """The rollback is durable with this status; its effects follow from it."""
    case.tell(NoticeKind.FAILED)
    anew = (
        fresh(case) if case.status.phase in BEFORE_ANALYSIS else {"rung": INITIAL_RUNG, "failed_checks": 0, "holds": 0}
    )
    return case.enter(
        rule,
        Phase.FAILED,
        reason,
        **{**anew, **changes},
        paused=False,
        drain_until=drained(case),
        pending=pending_work(case.rollout),
    )


def drained(case: DecisionBuilder) -> float:
    """When the canary may stop after its traffic was taken away in a hurry."""
    return case.world.now + (case.rollout.drain if case.status.rung.exposed else 0.0)


def pending_work(rollout: Rollout) -> tuple[Pending, ...]:
    return (Pending.HOOKS, Pending.SETTLE) if rollout.hooks_by_type[HookType.POST_ROLLOUT] else (Pending.SETTLE,)


def counted(case: DecisionBuilder, rule: Rule, **changes: Any) -> Decision:
    """The interval starts anew: an analysis was counted."""
    now = case.world.now
    return case.change(rule, now + case.rollout.interval, analysed_at=now, **changes)


def being_taken_back(case: DecisionBuilder) -> bool:
    """Whether the primary still carries a rejected revision that it can be relieved of."""
    return has_kept_the_rejected(case) and case.status.promoted in case.world.kept


def has_kept_the_rejected(case: DecisionBuilder) -> bool:
    """Whether a failed rollout has left the primary with another revision than the promoted one."""
    status, primary = case.status, case.world.primary
    return status.phase is Phase.FAILED and primary is not None and primary.revision != status.promoted
