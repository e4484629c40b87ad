"""Commands of an operator: in every phase, a rollout carries a command out once or refuses it with a reason.

A handler returns None to leave the command for later. The status stores the id of the last handled command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarycore._decision import Decision, DecisionBuilder
from canarycore._gradual_return import cut_short
from canarycore._ladder import Strategy
from canarycore._observation import Command, CommandKind
from canarycore._transitions import can_restore_primary, climb, fail, promote, start
from canarycore.notices import NoticeKind
from canarycore.phases import ACTIVE, BEFORE_PROMOTION, PROMOTED, UNDER_WAY, Approval, CutShort, Phase, Reason, Rule

if TYPE_CHECKING:
    from collections.abc import Callable


def _refuse(builder: DecisionBuilder, command: Command, reason: str) -> Decision:
    builder.emit(NoticeKind.REFUSED, command.kind.value, reason)
    return builder.change(Rule.REFUSED, handled=command.id, refusal=reason)


def _command_promote(builder: DecisionBuilder, command: Command) -> Decision | None:
    status, target = builder.status, builder.observation.target
    if status.phase not in BEFORE_PROMOTION and status.phase is not Phase.FAILED:
        return _refuse(builder, command, f"no rollout waits for a promotion in phase {status.phase.value}")
    if target is None or target.revision == status.promoted:
        return _refuse(builder, command, "the target has no new revision to promote")
    if status.phase in ACTIVE and target.revision != status.applied:
        return _refuse(builder, command, "the target has another revision than the one under analysis")
    if status.phase is Phase.FAILED:
        if can_restore_primary(builder):
            return None  # wait until the primary has the promoted revision again
        if not builder.is_primary_down:
            return _refuse(builder, command, "the rollout has failed, and the primary serves: use retry instead")
    builder.emit(NoticeKind.PROMOTING_BY_COMMAND, command.id)
    fresh = {"failed_checks": 0, "holds": 0, "pending": ()} if status.phase is Phase.FAILED else {}
    changes = {"applied": target.revision, "handled": command.id, **fresh}
    return promote(builder, Rule.PROMOTED_BY_COMMAND, Reason.COMMANDED, **changes)


def _command_abort(builder: DecisionBuilder, command: Command) -> Decision | None:
    status, target = builder.status, builder.observation.target
    if status.phase is Phase.INITIALIZING:
        return None  # there is no promoted revision to go back to yet: handle the command once there is
    if status.returning:
        return cut_short(builder, CutShort.COMMAND, handled=command.id)
    waits_to_start = status.phase in PROMOTED and target is not None and target.revision != status.applied
    if status.phase not in UNDER_WAY and not waits_to_start:
        return _refuse(builder, command, f"no rollout is under way in phase {status.phase.value}")
    builder.emit(NoticeKind.ABORTED, command.id)
    builder.emit(NoticeKind.ABORTED_ALERT)
    return fail(builder, Rule.ABORTED, Reason.ABORTED, handled=command.id)


def _command_pause(builder: DecisionBuilder, command: Command) -> Decision | None:
    if builder.status.phase not in UNDER_WAY or builder.status.paused:
        return _refuse(builder, command, "no rollout is under way, or it is paused already")
    builder.emit(NoticeKind.PAUSED, command.id)
    return builder.change(Rule.PAUSED, paused=True, handled=command.id)


def _command_resume(builder: DecisionBuilder, command: Command) -> Decision | None:
    if builder.status.phase not in UNDER_WAY or not builder.status.paused:
        return _refuse(builder, command, "the rollout is not paused")
    builder.emit(NoticeKind.RESUMED, command.id)
    changes: dict[str, Any] = {"paused": False, "handled": command.id, "analysed_at": builder.observation.now}
    if builder.status.is_frozen:
        changes |= {"reason": Reason.NONE, "failed_checks": 0, "holds": 0, "tallies": ()}
    return builder.change(Rule.RESUMED, **changes)


def _command_retry(builder: DecisionBuilder, command: Command) -> Decision | None:
    status, target = builder.status, builder.observation.target
    if status.phase is not Phase.FAILED:
        return _refuse(builder, command, f"only a failed rollout can be retried, this one is {status.phase.value}")
    if target is None or target.revision == status.promoted:
        return _refuse(builder, command, "the target has no new revision to try")
    if status.returning or can_restore_primary(builder):
        return None  # wait until the primary has the promoted revision and all traffic again
    builder.emit(NoticeKind.RETRYING, command.id)
    return start(builder, Rule.RETRIED, handled=command.id)


def _command_skip_to(builder: DecisionBuilder, command: Command) -> Decision | None:
    status, ladder, target = builder.status, builder.rollout.ladder, builder.observation.target
    if status.phase is not Phase.PROGRESSING or ladder.strategy is not Strategy.WEIGHTS:
        return _refuse(builder, command, "only an analysis by weights can skip to a weight")
    if not 0 < command.weight <= ladder.total:
        return _refuse(builder, command, f"the weight is {command.weight}, expected 1 to {ladder.total}")
    if target is None or target.revision != status.applied:
        return _refuse(builder, command, "the target has another revision than the one under analysis")
    rung = ladder.at_weight(command.weight)
    builder.emit(NoticeKind.SKIPPED_TO, f"{rung.percent:g}", command.id)
    return climb(builder, Rule.SKIPPED_TO, rung, handled=command.id)


def _command_approve(builder: DecisionBuilder, command: Command) -> Decision | None:
    status, target = builder.status, builder.observation.target
    if status.phase not in ACTIVE:
        return _refuse(builder, command, f"no analysis is under way in phase {status.phase.value}")
    step = builder.rollout.ladder.step_at(status.rung)
    if step is None or not step.approval:
        return _refuse(builder, command, f"the step at {status.rung} waits for no approval")
    if status.approval is Approval.GIVEN:
        return _refuse(builder, command, "the step is approved already")
    if target is None or target.revision != status.applied:
        return _refuse(builder, command, "the target has another revision than the one under analysis")
    builder.emit(NoticeKind.APPROVED, f"{status.rung.percent:g}", command.id)
    return builder.change(Rule.APPROVED, approval=Approval.GIVEN, handled=command.id)


COMMANDS: dict[CommandKind, Callable[[DecisionBuilder, Command], Decision | None]] = {
    CommandKind.PROMOTE: _command_promote,
    CommandKind.ABORT: _command_abort,
    CommandKind.PAUSE: _command_pause,
    CommandKind.RESUME: _command_resume,
    CommandKind.RETRY: _command_retry,
    CommandKind.APPROVE: _command_approve,
    CommandKind.SKIP_TO: _command_skip_to,
}
