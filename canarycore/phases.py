"""Phases and the transition table: the names of everything that moves a rollout.

Theory of operation. A rollout is a status that only `decide` changes. Each change is the firing of one **rule**; the
table below says in which phases a rule may fire and to which phase it leads. `decide` returns the rule with every
decision (`Explanation.rule`). Tests hold the two together in both directions: no decision leaves the table, and some
decision reaches every row. A rule without a target leaves the phase as it is; a rule in `WAITS` does not write the
status at all.

Why this is right after a crash: a rule's new status is durable before its first effect. The goal of a phase is a
function of the status alone (`goal`), so every later process converges to the same place. `decide` moves forward only
while the observation matches the goal, so no decision depends on half-done effects.

The diagrams and the `transitions.Machine` for embedders (`canarycore.machine`) come from these rows.
"""

from __future__ import annotations

from attrs import frozen

from canarycore._enum import TextEnum


class Phase(TextEnum):
    """The phase of a rollout. The value is Flagger's (`status.phase` of a Canary)."""

    INITIALIZING = "Initializing"
    INITIALIZED = "Initialized"
    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    WAITING_PROMOTION = "WaitingPromotion"
    PROMOTING = "Promoting"
    FINALISING = "Finalising"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"


PROMOTED = frozenset({Phase.INITIALIZED, Phase.SUCCEEDED})
"""No rollout is under way, and the primary runs the revision of the last one."""

FINISHED = frozenset({Phase.SUCCEEDED, Phase.FAILED})
"""A rollout has ended, and no other has begun."""

IDLE = PROMOTED | FINISHED
"""No rollout is under way. Only a new revision, a command or a change in the cluster starts anything."""

BEFORE_ANALYSIS = IDLE | {Phase.WAITING}
"""An analysis of the target's revision may start. The status does not name that revision yet."""

ACTIVE = frozenset({Phase.PROGRESSING, Phase.WAITING_PROMOTION})
"""The canary is under analysis."""

BEFORE_PROMOTION = ACTIVE | {Phase.WAITING}
"""A rollout is under way, and the primary still runs the previous revision."""

PROMOTION = frozenset({Phase.PROMOTING, Phase.FINALISING})
"""The primary takes over the revision that passed."""

UNDER_WAY = BEFORE_PROMOTION | PROMOTION
"""A rollout is under way: a new revision waits, is under analysis or is being promoted."""

MAY_DRAIN = IDLE | {Phase.FINALISING, Phase.TERMINATING}
"""Pods may keep running only for proxies that follow new routes late."""

OVER = frozenset({Phase.TERMINATING, Phase.TERMINATED})
"""The owner has deleted the rollout."""

ALIVE = frozenset(Phase) - OVER
"""The rollout exists."""


class Pending(TextEnum):
    """Work that an idle phase still owes."""

    HOOKS = "post-rollout hooks"
    SETTLE = "settle"


class Approval(TextEnum):
    """The approval of a step."""

    NONE = ""
    ASKED = "asked"
    GIVEN = "given"


class CutShort(TextEnum):
    """Why a gradual return ended before its last step. The value is its text in a notice."""

    NONE = ""
    DEADLINE = "its deadline has passed"
    UNREADY = "the canary has no ready pods"
    REVISION = "the target has another revision"
    POLICY = "the policy has no steps any more"
    COMMAND = "the command abort ends it"


class Reason(TextEnum):
    """The reason for the phase. The status carries it along for the texts at the end of a rollout."""

    NONE = ""
    PASSED = "Passed"
    SKIPPED = "Skipped"
    REPLACED = "PrimaryReplaced"
    COMMANDED = "Commanded"
    WITHDRAWN = "Withdrawn"
    CHECKS = "FailedChecks"
    INCONCLUSIVE = "Inconclusive"
    DEADLINE = "ProgressDeadlineExceeded"
    HOOK = "RollbackHook"
    PROMOTION = "PromotionFailed"
    ABORTED = "Aborted"


class Rule(TextEnum):
    """The reason for a decision. The value is its text in an explanation."""

    # changes of phase
    DETECTED = "the rollout has no status yet"
    INITIALIZED = "the primary is ready and has all traffic"
    ADOPTED = "a primary exists: its revision counts as promoted"
    GATED = "a confirm-rollout gate is closed"
    STARTED = "the target has a new revision"
    GATED_PROMOTION = "a confirm-promotion gate is closed"
    PROMOTED = "every rung passed"
    SKIPPED = "the owner skips the analysis"
    RETURNED = "the target is back at an earlier promoted revision, and the rollback window skips the steps"
    REPLACED = "the primary is down, and the policy lets the new revision replace it"
    FINALISED = "all traffic is back on the primary"
    SUCCEEDED = "the drain is over"
    WITHDRAWN = "the target is back at the promoted revision"
    ROLLED_BACK_CHECKS = "failed checks reached the threshold"
    ROLLED_BACK_INCONCLUSIVE = "inconclusive analyses reached the limit"
    ROLLED_BACK_DEADLINE = "the progress deadline is exceeded"
    ROLLED_BACK_HOOK = "a rollback hook requested it"
    PROMOTION_FAILED = "the primary did not get ready with the new revision"
    ABORTED = "the command abort"
    PROMOTED_BY_COMMAND = "the command promote"
    RETRIED = "the command retry"
    DELETED = "the rollout is deleted"
    RESTORED = "the target is restored"
    # changes within a phase
    RESTARTED = "another revision arrived during the rollout"
    ADVANCED = "the rung passed"
    STEPPED_BACK = "one promotion step returned traffic to the primary"
    STEPPED_DOWN = "one step of the gradual return gave traffic back to the primary"
    CUT_SHORT = "steps of the gradual return no longer help: all traffic goes back at once"
    HALTED = "a check or hook failed"
    HELD = "the analysis is inconclusive"
    MEASURED = "the checks passed, but one needs further measurements"
    STAYED = "the rung passed, but its step is not over"
    FROZEN = "the analysis failed, and the policy freezes the rollout"
    NOTED = "the target has another revision, which starts no rollout"
    PAUSED = "the command pause"
    RESUMED = "the command resume"
    APPROVED = "the command approve"
    SKIPPED_TO = "the command skip-to"
    REFUSED = "the command does not apply in this phase"
    HOOKS_CALLED = "the post-rollout hooks were called"
    SETTLED = "the pending work of the phase is done"
    DRAIN_RESTARTED = "the canary's traffic leaves only now, so the drain begins anew"
    GIVEN_BACK = "the target has its traffic back"
    OVERTAKEN = "another process took over, and effects of this one came late"
    # waits, which write nothing
    INITIALISING = "the primary is being created"
    CONVERGING = "the cluster does not match the status yet"
    UNREADY = "pods are not ready"
    GATE_CLOSED = "a gate is closed"
    UNAPPROVED = "the rung passed, but its step is not approved"
    NOT_DUE = "the interval has not passed"
    STEPPING_DOWN = "the next step of the gradual return is not due"
    SHORT_OF_CAPACITY = "the side that gets more traffic lacks ready pods"
    DRAINING = "routes are draining"
    ON_HOLD = "the rollout is paused"
    SUSPENDED = "the rollout is suspended"
    RESTORING = "the target is being restored"
    IDLE = "nothing to do"
    GONE = "the rollout has ended"


WAITS = frozenset(
    {
        Rule.INITIALISING,
        Rule.CONVERGING,
        Rule.UNREADY,
        Rule.GATE_CLOSED,
        Rule.UNAPPROVED,
        Rule.NOT_DUE,
        Rule.STEPPING_DOWN,
        Rule.SHORT_OF_CAPACITY,
        Rule.DRAINING,
        Rule.ON_HOLD,
        Rule.SUSPENDED,
        Rule.RESTORING,
        Rule.IDLE,
        Rule.GONE,
    }
)
"""The rules that write no status: the rollout waits."""


@frozen
class Row:
    """One row of the transition table."""

    rule: Rule
    """The rule that fires."""
    sources: frozenset[Phase]
    """The phases in which the rule may fire."""
    target: Phase | None = None
    """The phase that it leads to. None leaves the phase as it is."""


def _row(rule: Rule, sources: frozenset[Phase] | Phase, target: Phase | None = None) -> Row:
    return Row(rule, frozenset({sources}) if isinstance(sources, Phase) else sources, target)


ROWS: tuple[Row, ...] = (
    _row(Rule.DETECTED, Phase.INITIALIZING, Phase.INITIALIZING),
    _row(Rule.INITIALIZED, Phase.INITIALIZING, Phase.INITIALIZED),
    _row(Rule.ADOPTED, Phase.INITIALIZING, Phase.INITIALIZED),
    _row(Rule.GATED, IDLE, Phase.WAITING),
    _row(Rule.STARTED, BEFORE_ANALYSIS, Phase.PROGRESSING),
    _row(Rule.RETRIED, Phase.FAILED, Phase.PROGRESSING),
    _row(Rule.GATED_PROMOTION, Phase.PROGRESSING, Phase.WAITING_PROMOTION),
    _row(Rule.PROMOTED, ACTIVE, Phase.PROMOTING),
    _row(Rule.SKIPPED, ACTIVE, Phase.PROMOTING),
    _row(Rule.RETURNED, ACTIVE, Phase.PROMOTING),
    _row(Rule.REPLACED, ACTIVE, Phase.PROMOTING),
    _row(Rule.PROMOTED_BY_COMMAND, BEFORE_PROMOTION | {Phase.FAILED}, Phase.PROMOTING),
    _row(Rule.FINALISED, Phase.PROMOTING, Phase.FINALISING),
    _row(Rule.SUCCEEDED, Phase.FINALISING, Phase.SUCCEEDED),
    _row(Rule.WITHDRAWN, BEFORE_PROMOTION | {Phase.PROMOTING}, Phase.SUCCEEDED),
    _row(Rule.RESTARTED, ACTIVE | {Phase.PROMOTING}, Phase.PROGRESSING),
    _row(Rule.ROLLED_BACK_CHECKS, ACTIVE, Phase.FAILED),
    _row(Rule.ROLLED_BACK_INCONCLUSIVE, ACTIVE, Phase.FAILED),
    _row(Rule.ROLLED_BACK_DEADLINE, ACTIVE, Phase.FAILED),
    _row(Rule.ROLLED_BACK_HOOK, BEFORE_PROMOTION, Phase.FAILED),
    _row(Rule.PROMOTION_FAILED, PROMOTION, Phase.FAILED),
    _row(Rule.ABORTED, UNDER_WAY | PROMOTED, Phase.FAILED),
    _row(Rule.DELETED, ALIVE, Phase.TERMINATING),
    _row(Rule.RESTORED, Phase.TERMINATING, Phase.TERMINATED),
    _row(Rule.ADVANCED, ACTIVE),
    _row(Rule.STEPPED_BACK, Phase.PROMOTING),
    _row(Rule.STEPPED_DOWN, Phase.FAILED),
    _row(Rule.CUT_SHORT, Phase.FAILED),
    _row(Rule.HALTED, ACTIVE),
    _row(Rule.HELD, ACTIVE),
    _row(Rule.MEASURED, ACTIVE),
    _row(Rule.STAYED, ACTIVE),
    _row(Rule.FROZEN, ACTIVE),
    _row(Rule.NOTED, frozenset({Phase.INITIALIZING, Phase.FAILED})),
    _row(Rule.PAUSED, UNDER_WAY),
    _row(Rule.RESUMED, UNDER_WAY),
    _row(Rule.APPROVED, ACTIVE),
    _row(Rule.SKIPPED_TO, Phase.PROGRESSING),
    _row(Rule.REFUSED, ALIVE),
    _row(Rule.HOOKS_CALLED, FINISHED),
    _row(Rule.SETTLED, IDLE),
    _row(Rule.DRAIN_RESTARTED, IDLE | PROMOTION),
    _row(Rule.GIVEN_BACK, Phase.TERMINATING),
    _row(Rule.OVERTAKEN, IDLE),
    _row(Rule.INITIALISING, Phase.INITIALIZING),
    _row(Rule.CONVERGING, ALIVE - {Phase.INITIALIZING}),
    _row(Rule.UNREADY, ACTIVE | PROMOTION),
    _row(Rule.GATE_CLOSED, BEFORE_PROMOTION),
    _row(Rule.UNAPPROVED, ACTIVE),
    _row(Rule.NOT_DUE, BEFORE_PROMOTION | {Phase.PROMOTING}),
    _row(Rule.STEPPING_DOWN, Phase.FAILED),
    _row(Rule.SHORT_OF_CAPACITY, ACTIVE | {Phase.PROMOTING, Phase.FAILED}),
    _row(Rule.DRAINING, MAY_DRAIN),
    _row(Rule.ON_HOLD, UNDER_WAY),
    _row(Rule.SUSPENDED, ALIVE),
    _row(Rule.RESTORING, Phase.TERMINATING),
    _row(Rule.IDLE, IDLE),
    _row(Rule.GONE, Phase.TERMINATED),
)
"""The transition table."""

TRANSITIONS: frozenset[tuple[Phase, Rule, Phase]] = frozenset(
    (source, row.rule, row.target or source) for row in ROWS for source in row.sources
)
"""The table, expanded: (phase before, rule, phase after)."""
