"""The invariants of every write to a cluster, as named predicates.

Each returns None, or a text that says what is wrong. Predicates in `EACH_WRITE` get a `WriteContext` (the cluster
before and after a write, the observation and the decision behind it) and the history of earlier cycles. Predicates in
`EACH_CYCLE` get the record of a cycle. `check_at_rest` is for a cluster in which nothing happens any more.
`fingerprint` compares the end of a run with faults to the end of one without (I7).

There are two exceptions by design. **Failover**: when the primary has no available pods and the canary has some, all
traffic goes to the canary, whether or not checks passed; a canary under test serves better than no pods. **Commands**:
skip-to raises the weight, and promote promotes, without a pass; the command's id is in the status. Both are exceptions
of I3, failover also of I2.

Predicates about effects do not apply to a cycle that observed stale data (faults STALE_... and RIVAL): it acts in good
faith, and the next cycle corrects it. All predicates about commits always apply, as the optimistic lock protects
commits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, isinf, isnan
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from canarycore._canary_size import FULL_SIZE
from canarycore._goal import converge, goal
from canarycore._ladder import INITIAL_RUNG
from canarycore._limits import PLAIN
from canarycore._observation import MOST_PERMILLE
from canarycore._spec import HookType, NoData
from canarycore._status import Status
from canarycore._verdicts import Verdict, judge
from canarycore.bounds import REVISIONS
from canarycore.effects import (
    Initialise,
    Promote,
    Resize,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import CanaryError
from canarycore.notices import Notice, NoticeKind
from canarycore.phases import (
    ACTIVE,
    ALIVE,
    IDLE,
    OVER,
    PROMOTED,
    PROMOTION,
    TRANSITIONS,
    WAITS,
    Approval,
    Pending,
    Phase,
    Rule,
)
from canarycore.questions import HookQuestion, MetricAnswer, MetricQuestion
from canarycore.simulation.driver import measure
from canarycore.simulation.state import State, observe

if TYPE_CHECKING:
    from canarycore._ladder import Rung
    from canarycore._observation import Routes, Workload
    from canarycore._spec import Rollout
    from canarycore.effects import Effect
    from canarycore.simulation.driver import CycleRecord, WriteContext

_SLACK = 1e-3
"""Seconds by which an interval may be too short, as `decide` accepts a timer that is slightly early."""


class InvariantError(CanaryError, AssertionError):
    """A write breaks an invariant, or a rollout breaks a promise."""

    def __init__(self, name: str, text: str, found: str, last: str, script: str) -> None:
        self.name: str = name
        """I1 to I19, "table" or "promise"."""
        self.found: str = found
        """The way in which the invariant or the promise is broken."""
        self.script: str = script
        """A program that repeats the schedule."""
        super().__init__(f"{name} ({text}): {found}\n\nThe last cycles:\n{last}\n\nThe schedule:\n{script}")


@frozen
class WriteInvariant:
    """An invariant of every write."""

    name: str
    """I1 to I19 or "table"."""
    text: str
    """The invariant as a sentence."""
    broken: Callable[[WriteContext, Sequence[CycleRecord]], str | None] = field(repr=False)
    """The predicate: it returns what is wrong, or None."""


@frozen
class CycleInvariant:
    """An invariant of every cycle."""

    name: str
    """I1 to I19 or "table"."""
    text: str
    """The invariant as a sentence."""
    broken: Callable[[CycleRecord, Sequence[CycleRecord]], str | None] = field(repr=False)
    """The predicate: it returns what is wrong, or None."""


# ---------------------------------------------------------------------------------------------------- of an effect


def traffic_moves_to_ready_pods_only(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I1: no write of ours moves traffic towards a side without available pods."""
    del history
    after = _new_routes(context)
    if after is None:
        return None
    before = context.before.routes
    if _exposes_more(before, after) and not _has_pods(context, "target"):
        return f"routes went from {before} to {after} while the canary has no available pods"
    if after.permille < (MOST_PERMILLE if before is None else before.permille) and not _has_pods(context, "primary"):
        return f"routes went from {before} to {after} while the primary has no available pods"
    return None


def capacity_goes_after_its_traffic(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I1: we scale the canary down only when it gets no traffic, has drained, and the primary can serve."""
    del history
    if context.stale or not isinstance(context.write.of, ScaleDown):
        return None
    if not context.before.has_replicas:
        return "the canary was scaled down although it has no replicas"
    routes, drained = context.before.routes, context.before.status.drain_until
    if routes is None or routes.is_exposed:
        return f"the canary was scaled down while routes are {routes}"
    former = context.before.former
    if former is not None and former.routes.is_exposed:
        return f"the canary was scaled down while former routes are {former.routes}"
    if context.write.time < drained:
        return f"the canary was scaled down at {context.write.time:g}, it drains until {drained:g}"
    return (
        None if _has_pods(context, "primary") else "the canary was scaled down while the primary has no available pods"
    )


def a_canary_gets_traffic_at_its_size(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I19: traffic to a canary grows only while it has the size of its step, and is ready; except failover."""
    del history
    after, target = _new_routes(context), context.observation.target
    rollout, status = context.before.rollout, context.before.status
    if after is None or target is None or status.phase not in ACTIVE:
        return None
    if not _takes_sizes(context, target) or _primary_failed(context):
        return None
    if not _exposes_more(context.before.routes, after):
        return None
    wanted = rollout.ladder.size_on(status.rung).count(target.wanted)
    if target.desired == wanted and target.ready >= wanted * rollout.canary_ready // 100:
        return None
    return (
        f"routes became {after} while {target.desired} pods of the canary are desired of {wanted}, {target.ready} ready"
    )


def a_canary_shrinks_after_its_traffic(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I19: a canary loses pods for a smaller size only while it has no more traffic than its step gives it."""
    del history
    before, after = context.before, context.after
    if context.stale or not isinstance(context.write.of, Resize | ScaleUp) or before.target is None:
        return None
    if after.target is None or after.target.desired >= before.target.desired:
        return None
    drained = before.status.analysed_at + before.rollout.drain
    if context.write.time < drained:
        return f"the canary lost pods at {context.write.time:g}, it drains until {drained:g}"
    wanted = before.rollout.ladder.routes_on(before.status.rung)
    more = before.routes is None or _exposes_more(wanted, before.routes)
    return f"the canary lost pods while routes are {before.routes}" if more else None


def a_promotion_begins_at_full_size(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I19: a primary that serves gets its new revision only while the canary has its owner's number of pods."""
    del history
    target, status = context.observation.target, context.before.status
    if not isinstance(context.write.of, Promote) or context.stale or status.phase not in PROMOTION or target is None:
        return None
    if not _takes_sizes(context, target) or _primary_failed(context) or target.desired >= target.wanted:
        return None
    return f"the promotion began while {target.desired} pods of the canary are desired of {target.own}"


def _takes_sizes(context: WriteContext, target: Workload) -> bool:
    """Check whether the steps have sizes, and nothing keeps the canary from them: an autoscaler, or no analysis."""
    rollout, is_autoscaled = context.before.rollout, context.observation.scaler_paused is not None
    return bool(rollout.ladder.sizes) and not rollout.skip_analysis and target.has_replicas and not is_autoscaled


def routes_are_those_of_the_status(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I2: we write the weight of the status's rung, 0 while the canary cannot serve, or all on failover."""
    del history
    after = _new_routes(context)
    if after is None:
        return None
    status = context.before.status
    rung = status.rung if status.phase in ACTIVE | PROMOTION or status.returning else INITIAL_RUNG
    if after.weight + after.primary != after.total:
        return f"{after} does not add up to {after.total}"
    wanted = context.before.rollout.ladder.routes_on(rung)
    if not after.is_exposed or (after.permille, after.mirrored, after.matched) == (
        wanted.permille,
        wanted.mirrored,
        wanted.matched,
    ):
        return None
    if after.permille == MOST_PERMILLE and not after.mirrored and not after.matched and _primary_failed(context):
        return None
    return f"routes became {after} in phase {status.phase.value} at rung {rung}"


def only_the_revision_under_test_gets_traffic(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: traffic to the canary grows only while the target carries the revision under test, except failover."""
    del history
    after = _new_routes(context)
    if after is None or not _exposes_more(context.before.routes, after) or _primary_failed(context):
        return None
    status, target = context.before.status, context.before.target
    actual = "nothing" if target is None else target.revision
    if actual == status.applied:
        return None
    return f"traffic went up to {after}: the target carries {actual}, not {status.applied}"


def the_primary_gets_exactly_what_the_status_names(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I4: we promote only the exact revision that passed, and restore only the promoted one."""
    del history
    effect, status = context.write.of, context.before.status
    if not isinstance(effect, Initialise | Promote | RestorePrimary) or context.stale:
        return None
    lost = status.phase in IDLE  # somebody deleted the primary
    phases, revision = {
        Initialise: (
            IDLE | PROMOTION | {Phase.INITIALIZING},
            status.promoted if lost else status.applied,
        ),
        Promote: (PROMOTION | PROMOTED | {Phase.INITIALIZING}, status.applied),
        RestorePrimary: (ACTIVE | {Phase.FAILED}, status.promoted),
    }[type(effect)]
    if status.phase not in phases or effect.revision != revision:
        return f"{effect} in phase {status.phase.value} of {status.applied} (promoted: {status.promoted})"
    primary = context.after.primary
    return None if primary is not None and primary.revision == revision else f"{effect} left the primary at {primary}"


def an_existing_primary_is_adopted(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I15: before the first promotion, no revision replaces a primary that gets the traffic and has pods."""
    del history
    effect, state = context.write.of, context.before
    if context.stale or not isinstance(effect, Promote) or state.status.phase is not Phase.INITIALIZING:
        return None
    if state.routes is None or not _has_pods(context, "primary"):
        return None
    return f"{effect} replaces a primary that serves: {context.observation.primary}"


def a_new_status_keeps_an_existing_primary(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I15: a rollout without a status takes the revision of its primary for the promoted one."""
    del history
    primary, after = context.observation.primary, context.after.status
    if not context.write.is_commit or context.before.status.phase is not Phase.INITIALIZING or primary is None:
        return None
    if after.phase is Phase.INITIALIZED and after.promoted != primary.revision:
        return f"{after.promoted} counts as promoted, the primary carries {primary.revision}"
    return None


def former_routes_go_after_the_present_ones(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I16: routes that the manifest lost go only when its own have been in force for the drain."""
    del history
    before, after = context.before, context.after
    if before.former is None or after.former is not None or isinstance(context.write.of, Restore):
        return None
    if before.routes is None:
        return "the former routes went before there were others"
    wait = before.rollout.drain
    since = before.former.since
    if since is None or context.write.time < since + wait:
        return f"the former routes went within {wait:g} s of the first moment of the present ones"
    return None


def a_route_stays_with_its_canary(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I17: while another Canary has the route, we write no routes and make no primary."""
    del history
    before, after = context.before, context.after
    if not before.claimed or (before.routes, before.primary) == (after.routes, after.primary):
        return None
    return f"{context.write.of} took the route of another Canary"


def effects_follow_from_the_stored_status(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I5: a decision is durable before its first effect."""
    del history
    effect = context.write.of
    if context.stale or isinstance(effect, Status | Notice | HookQuestion):
        return None
    state = context.before
    plan = converge(goal(state.rollout, state.status), context.observation)
    halted = state.rollout.suspend and state.status.phase not in OVER
    if halted or effect not in plan.effects:
        return f"{effect} does not follow from the stored status ({state.status.phase.value}, {state.status.rung})"
    return None


def no_rollback_onto_the_rejected_revision(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I6: in Failed, traffic goes back only to a primary that wholly carries the promoted revision."""
    del history
    before, after, status = context.before.routes, _new_routes(context), context.before.status
    if after is None or before is None or status.phase is not Phase.FAILED or after.permille >= before.permille:
        return None
    primary = observe(context.before).primary
    if primary is None or primary.revision != status.promoted:
        return f"traffic went back to a primary that carries {'nothing' if primary is None else primary.revision}"
    rejected = primary.total - primary.updated
    return f"traffic went back to a primary with {rejected} pods of another revision" if rejected else None


def a_new_revision_first_takes_the_traffic_away(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I13: weight 0 is the first effect for a new revision, except starting pods, if the primary can serve."""
    del history
    state, effect = context.before, context.write.of
    if context.stale or isinstance(effect, Status | Notice | HookQuestion | ScaleUp | Resize | ResumeScaler):
        return None
    fresh = state.status.phase is Phase.PROGRESSING and state.status.rung == INITIAL_RUNG
    if not fresh or state.routes is None or not state.routes.is_exposed or not _has_pods(context, "primary"):
        return None
    if isinstance(effect, SetRoutes) and not effect.routes.is_exposed:
        return None
    return f"{effect} came while the new revision gets traffic by {state.routes}"


def every_effect_changes_something(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I12: we write nothing that has its value already."""
    del history
    effect = context.write.of
    if context.stale or isinstance(effect, Status | Notice | HookQuestion) or context.before != context.after:
        return None
    return f"{effect} changed nothing"


# ---------------------------------------------------------------------------------------------------- of a commit


def a_commit_is_on_the_table(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check the table: every commit is a row of the transition table, and waits commit nothing."""
    del history
    if not context.write.is_commit:
        return None
    before, after, rule = context.before.status, context.after.status, context.decision.explanation.rule
    if rule in WAITS:
        return f"{rule.name} was committed"
    known = (before.phase, rule, after.phase) in TRANSITIONS
    return None if known else f"{before.phase.value} went to {after.phase.value} by {rule.name}"


def rungs_follow_the_ladder(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I2: a committed rung is the ladder's next, a step back in a promotion, the initial one, or a command's."""
    del history
    if not context.write.is_commit:
        return None
    ladder = context.before.rollout.ladder
    before, after, rule = context.before.status.rung, context.after.status.rung, context.decision.explanation.rule
    if context.after.status.returning:
        return None  # I18
    allowed = {before, INITIAL_RUNG}
    if rule is Rule.ADVANCED:
        allowed = {ladder.after(before) or before}
        if _is_within_window(context):
            allowed = {_first_unskipped(context) or before}
    elif rule is Rule.STEPPED_BACK:
        policy = context.before.rollout.gradual_return
        follows = policy is not None and policy.follows_capacity and not ladder.step_back
        allowed = {ladder.lower(before, policy.step) if policy is not None and follows else ladder.back(before)}
    elif rule is Rule.SKIPPED_TO:
        command = context.observation.command
        allowed = {ladder.at_weight(0 if command is None else command.weight)}
    return None if after in allowed else f"{rule.name} led from {before} to {after}"


def a_rung_is_left_by_a_pass(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: a weight rises, and a promotion begins, only by a decision that saw this revision pass this rung."""
    del history
    if not context.write.is_commit or context.decision.explanation.rule not in _PASSES:
        return None
    status, target = context.before.status, context.observation.target
    if target is None or target.revision != status.applied:
        return f"{status.applied} advanced while the target carries {target}"
    if context.write.time - status.analysed_at < context.before.rollout.interval - _SLACK:
        return f"it advanced {context.write.time - status.analysed_at:g} s after the last analysis"
    if status.rung == INITIAL_RUNG:
        return None
    passed = {
        question.check.name
        for question, answer in context.answers
        if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer) and _passes(question, answer)
    }
    rollout = context.before.rollout
    measured = {tally.check for tally in status.tallies if tally.measured}
    measured |= {_place(question) for question, _ in context.answers if isinstance(question, MetricQuestion)}
    missing = [
        check.name
        for place, check in rollout.checks_at(status.rung)
        if not (check.name in passed or check.dry_run or (check.limits != PLAIN and place in measured))
    ]
    return f"it advanced without a pass of {', '.join(missing)}" if missing else None


_PASSES = frozenset({Rule.ADVANCED, Rule.PROMOTED, Rule.RETURNED})
"""The rules by which an analysis goes up."""


def only_a_return_skips_steps(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: a promotion leaves out no rung, but those that the rollback window skips for a revision of it."""
    del history
    rule, status, rollout = context.decision.explanation.rule, context.before.status, context.before.rollout
    if not context.write.is_commit or rule not in {Rule.PROMOTED, Rule.RETURNED}:
        return None
    is_within = _is_within_window(context)
    after = _first_unskipped(context) if is_within else rollout.ladder.after(status.rung)
    if after is not None:
        return f"{rule.name} of {status.applied} skipped {after}, its history is {status.history}"
    return None if is_within or rule is Rule.PROMOTED else f"{status.applied} returned, its history is {status.history}"


def _is_within_window(context: WriteContext) -> bool:
    """Whether the revision under test is one that the window names, and was never rejected."""
    status, window = context.before.status, context.before.rollout.rollback_window
    if window is None or status.applied in status.rejected:
        return False
    return status.applied in status.history[: window.revisions]


def _first_unskipped(context: WriteContext) -> Rung | None:
    """Return the next rung of the ladder that the window names, or that a rollout in place needs; None if none is."""
    rollout, rung = context.before.rollout, context.before.status.rung
    window, ladder = rollout.rollback_window, rollout.ladder
    weights = () if window is None else window.steps
    rungs = ladder.rungs if len(ladder.rungs) <= MOST_PERMILLE + 1 else ladder.rungs[-1:]  # iterations have no weight
    for after in rungs:
        is_above = (after.permille, after.iteration) > (rung.permille, rung.iteration)
        if is_above and (after.weight in weights or (ladder.in_place and after.permille == MOST_PERMILLE)):
            return after
    return None


def the_history_has_no_rejected_revision(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I5: no revision to which a return may skip steps was ever rejected, and each of them was promoted."""
    del history
    before, after = context.before.status, context.after.status
    if not context.write.is_commit:
        return None
    rejected = {*after.history} & {*after.rejected}
    if rejected:
        return f"{', '.join(sorted(rejected))} was rejected, and is in the history {after.history}"
    new = {*after.history} - {*before.history} - {before.promoted}
    return f"{', '.join(sorted(new))} came into the history without a promotion" if new else None


def a_rollout_in_place_ends_at_full_weight(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: in place, a pass promotes only the version that has all requests, on which nothing moves later."""
    del history
    rollout, rung = context.before.rollout, context.before.status.rung
    if not (context.write.is_commit and rollout.ladder.in_place):
        return None
    if context.decision.explanation.rule not in {Rule.PROMOTED, Rule.RETURNED} or rung.permille == MOST_PERMILLE:
        return None
    return f"it promoted {context.before.status.applied} in place at {rung}"


def a_step_is_over_when_it_is_left(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: an analysis leaves a step only after its hold, and with the approval that it needs."""
    del history
    if not context.write.is_commit or context.decision.explanation.rule not in {Rule.ADVANCED, Rule.PROMOTED}:
        return None
    status = context.before.status
    step = context.before.rollout.ladder.step_at(status.rung)
    if step is None:
        return None
    end = context.write.time if status.reached_at is None else status.reached_at + step.hold
    if context.write.time < end - _SLACK:
        return f"it left {status.rung} at {context.write.time:g}, the step holds until {end:g}"
    is_approved = not step.approval or status.approval is Approval.GIVEN
    return None if is_approved else f"it left {status.rung} without its approval"


def a_frozen_rollout_moves_nothing(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I3: a frozen rollout stays on its rung until a command or another revision comes."""
    del history
    before, after = context.before.status, context.after.status
    rule = context.decision.explanation.rule
    if not (context.write.is_commit and before.is_frozen) or rule in _THAW:
        return None
    return None if (after.rung, after.phase) == (before.rung, before.phase) else f"{rule.name} moved it to {after.rung}"


_THAW = frozenset(
    {
        Rule.RESTARTED,
        Rule.WITHDRAWN,
        Rule.ABORTED,
        Rule.PROMOTED_BY_COMMAND,
        Rule.SKIPPED_TO,
        Rule.DELETED,
    }
)
"""The rules that move a frozen rollout: a command, another revision or the owner's deletion."""


_BEARABLE = 1.25
"""Load of a ready pod, as a multiple of that at the start of the rollout, below which a side bears more."""


def _is_overloaded(side: Workload | None, share: int, capacity: int) -> bool:
    """Check whether a side bears less than its share (permille) of the requests that `capacity` pods bore."""
    return share * capacity > (0.0 if side is None else side.ready * MOST_PERMILLE * _BEARABLE)


def a_gradual_return_goes_down_by_its_steps(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I18: after a rollback each decision takes at most one step of traffic from a canary that serves.

    More goes at once only with an alert. Traffic never goes up again.
    """
    del history
    before, after, rollout = context.before.status, context.after.status, context.before.rollout
    policy, is_rollback = rollout.gradual_return, after.phase is Phase.FAILED is not before.phase
    if not context.write.is_commit or not (before.returning or is_rollback) or after.phase is not Phase.FAILED:
        return None
    if after.rung.permille > before.rung.permille:
        return f"the canary got traffic back: {before.rung} became {after.rung}"
    if context.decision.explanation.rule is Rule.STEPPED_DOWN and after.returning and after.rung == before.rung:
        return f"a step left the canary at {after.rung}"
    kinds, target = {notice.kind for notice in context.decision.notices}, context.observation.target
    if policy is None or NoticeKind.RETURN_CUT_SHORT_ALERT in kinds:
        return None
    if is_rollback and (target is None or target.revision != before.applied or not target.ready):
        return None
    routes = context.observation.routes
    weight = before.rung.permille if routes is None else min(before.rung.permille, routes.permille)
    least = weight - policy.step * (1 if rollout.ladder.tenths else 10)
    primary = context.observation.primary
    is_overloaded = _is_overloaded(primary, MOST_PERMILLE - weight, before.capacity)
    if policy.follows_capacity and after.rung.permille < weight and is_overloaded:
        return f"traffic went back to {primary}, {before.capacity} pods had it before: {weight / 10:g}% was the limit"
    if after.rung.permille < least:
        return f"{weight / 10:g}% went to {after.rung.percent:g}% in one step of {policy.step}"
    return None


def a_promotion_does_not_overload_the_primary(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I18: with a policy that follows capacity, a promotion moves one step of traffic to pods that bear theirs.

    More goes at once only with an alert.
    """
    del history
    before, rollout, rule = context.before.status, context.before.rollout, context.decision.explanation.rule
    policy, primary = rollout.gradual_return, context.observation.primary
    if not context.write.is_commit or rule not in {Rule.STEPPED_BACK, Rule.FINALISED} or rollout.ladder.in_place:
        return None
    if policy is None or not policy.follows_capacity or not before.rung.weight:
        return None
    if NoticeKind.RETURN_CUT_SHORT_ALERT in {notice.kind for notice in context.decision.notices}:
        return None
    share = MOST_PERMILLE - before.rung.permille
    if _is_overloaded(primary, share, before.capacity):
        return f"traffic went to {primary} with {share / 10:g}% already, {before.capacity} pods had all before"
    most = max(policy.step, rollout.ladder.step_back) * (1 if rollout.ladder.tenths else 10)
    moved = before.rung.permille - context.after.status.rung.permille
    return f"{moved / 10:g}% went to the primary in one step" if moved > most else None


def an_increase_does_not_overload_the_canary(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I18: with a policy that follows capacity, a pass gives the canary more only if its pods bear its share.

    Past the deadline of a return the checks alone decide, and a step with a size has the pods that its owner chose.
    """
    del history
    before, after, rollout = context.before.status, context.after.status, context.before.rollout
    policy, target, rule = rollout.gradual_return, context.observation.target, context.decision.explanation.rule
    if not context.write.is_commit or rule is not Rule.ADVANCED or policy is None or not policy.follows_capacity:
        return None
    if rollout.ladder.in_place or not before.rung.weight or after.rung.permille <= before.rung.permille:
        return None
    if rollout.ladder.size_on(before.rung) != FULL_SIZE:
        return None
    if context.observation.has_reached(before.analysed_at + rollout.interval + rollout.longest_return):
        return None
    if _is_overloaded(target, before.rung.permille, before.capacity):
        share = before.rung.percent
        return f"traffic went to {target} with {share:g}% already, {before.capacity} pods of the primary had all before"
    return None


def a_rejected_revision_does_not_succeed(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I5: a rejected revision is promoted only after another analysis or a command."""
    del history
    before, after = context.before.status.phase, context.after.status.phase
    if context.decision.explanation.rule is Rule.PROMOTED_BY_COMMAND and after is Phase.PROMOTING:
        return None
    if context.write.is_commit and before is Phase.FAILED and after in PROMOTION | {Phase.SUCCEEDED}:
        return f"Failed went to {after.value}"
    return None


def a_rejection_is_remembered(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I5: the status that rejects a revision names it from then on, so that no return ever serves it again."""
    del history
    before, after = context.before.status, context.after.status
    if not context.write.is_commit:
        return None
    is_rejection = after.phase is Phase.FAILED is not before.phase and after.applied not in ("", after.promoted)
    expected = {*before.rejected, *((after.applied,) if is_rejection else ())}
    if len(after.rejected) == REVISIONS.most or expected <= {*after.rejected}:
        return None
    lost = ", ".join(sorted(expected - {*after.rejected}))
    return f"{context.decision.explanation.rule.name} does not remember the rejection of {lost}"


def failed_checks_count_once_and_never_fall(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I9: in one analysis the failed checks rise by one per failed check and interval, and never fall."""
    del history
    before, after = context.before.status, context.after.status
    if not context.write.is_commit or not {before.phase, after.phase} <= ACTIVE or before.applied != after.applied:
        return None
    rule = context.decision.explanation.rule
    if rule is Rule.RESUMED and before.is_frozen:
        allowed = {0}
    elif rule is Rule.FROZEN:  # no check counts if the owner lowered the threshold
        allowed = {before.failed_checks, before.failed_checks + 1}
    else:
        allowed = {before.failed_checks + (rule is Rule.HALTED)}
    if after.failed_checks not in allowed:
        return f"failed checks went from {before.failed_checks} to {after.failed_checks} by {rule.name}"
    early = context.write.time - before.analysed_at < context.before.rollout.interval - _SLACK
    return "a check counted before the interval had passed" if early and rule is Rule.HALTED else None


def notices_leave_the_outbox_published(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I10: a notice leaves the outbox only after it was published."""
    if not context.write.is_commit:
        return None
    allowed = {notice.key for record in history for notice in record.notices}
    allowed |= {notice.key for notice in context.after.status.outbox}
    lost = [notice for notice in context.before.status.outbox if notice.key not in allowed]
    return f"{lost[0].text!r} left the outbox unpublished" if lost else None


def pending_hooks_were_called(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I10: post-rollout hooks stop being pending only by a decision with their answers, or in another phase."""
    del history
    before, after = context.before.status, context.after.status
    if not context.write.is_commit or Pending.HOOKS not in before.pending or Pending.HOOKS in after.pending:
        return None
    if after.phase is not before.phase:
        return None
    called = {question.hook for question, _ in context.answers if isinstance(question, HookQuestion)}
    pending = context.before.rollout.hooks_by_type[HookType.POST_ROLLOUT]
    return "post-rollout hooks are no longer pending without a call" if pending and pending[0] not in called else None


def no_data_is_no_pass(context: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Check I11: a metric without a finite value in its range never lets a rung pass, but within limits of its own."""
    del history
    explanation = context.decision.explanation
    if not context.write.is_commit or explanation.rule not in {Rule.ADVANCED, Rule.PROMOTED}:
        return None
    for question, answer in context.answers:
        if not isinstance(question, MetricQuestion) or not isinstance(answer, MetricAnswer):
            continue
        if not (_passes(question, answer) or _is_tolerated(context.before.status, question, answer)):
            return f"{explanation.rule.name} with {question.check.name} at {answer}"
    return None


EACH_COMMIT: tuple[WriteInvariant, ...] = (
    WriteInvariant("table", "every commit is a row of the transition table", a_commit_is_on_the_table),
    WriteInvariant("I2", "rungs follow the ladder", rungs_follow_the_ladder),
    WriteInvariant("I3", "a rung is left by a pass", a_rung_is_left_by_a_pass),
    WriteInvariant("I3", "only a return skips steps", only_a_return_skips_steps),
    WriteInvariant("I5", "the history has no rejected revision", the_history_has_no_rejected_revision),
    WriteInvariant("I3", "a rollout in place ends at full weight", a_rollout_in_place_ends_at_full_weight),
    WriteInvariant("I3", "a step is over when it is left", a_step_is_over_when_it_is_left),
    WriteInvariant("I3", "a frozen rollout moves nothing", a_frozen_rollout_moves_nothing),
    WriteInvariant("I18", "a gradual return goes down by its steps", a_gradual_return_goes_down_by_its_steps),
    WriteInvariant("I18", "a promotion does not overload the primary", a_promotion_does_not_overload_the_primary),
    WriteInvariant("I18", "an increase does not overload the canary", an_increase_does_not_overload_the_canary),
    WriteInvariant("I5", "a rejected revision does not succeed", a_rejected_revision_does_not_succeed),
    WriteInvariant("I5", "a rejection is remembered", a_rejection_is_remembered),
    WriteInvariant("I9", "failed checks count once and never fall", failed_checks_count_once_and_never_fall),
    WriteInvariant("I15", "an existing primary is adopted", a_new_status_keeps_an_existing_primary),
    WriteInvariant("I10", "notices leave the outbox published", notices_leave_the_outbox_published),
    WriteInvariant("I10", "pending hooks are called", pending_hooks_were_called),
    WriteInvariant("I11", "no data is no pass", no_data_is_no_pass),
)

EACH_EFFECT: tuple[WriteInvariant, ...] = (
    WriteInvariant("I1", "traffic moves to ready pods only", traffic_moves_to_ready_pods_only),
    WriteInvariant("I1", "capacity goes after its traffic", capacity_goes_after_its_traffic),
    WriteInvariant("I19", "a canary gets traffic at its size", a_canary_gets_traffic_at_its_size),
    WriteInvariant("I19", "a canary shrinks after its traffic", a_canary_shrinks_after_its_traffic),
    WriteInvariant("I19", "a promotion begins at full size", a_promotion_begins_at_full_size),
    WriteInvariant("I2", "routes are those of the status", routes_are_those_of_the_status),
    WriteInvariant("I3", "only the revision under test gets traffic", only_the_revision_under_test_gets_traffic),
    WriteInvariant(
        "I4", "the primary gets exactly what the status names", the_primary_gets_exactly_what_the_status_names
    ),
    WriteInvariant("I15", "an existing primary is adopted", an_existing_primary_is_adopted),
    WriteInvariant("I16", "former routes go after the present ones", former_routes_go_after_the_present_ones),
    WriteInvariant("I17", "a route stays with its Canary", a_route_stays_with_its_canary),
    WriteInvariant("I5", "a decision is durable before its first effect", effects_follow_from_the_stored_status),
    WriteInvariant("I6", "no rollback onto the rejected revision", no_rollback_onto_the_rejected_revision),
    WriteInvariant("I12", "every effect changes something", every_effect_changes_something),
    WriteInvariant("I13", "a new revision first takes the traffic away", a_new_revision_first_takes_the_traffic_away),
)

EACH_WRITE = EACH_COMMIT + EACH_EFFECT


# ----------------------------------------------------------------------------------------------------- of a cycle


def an_idle_cycle_does_nothing(record: CycleRecord, history: Sequence[CycleRecord]) -> str | None:
    """Check I12: an idle cycle reads and writes nothing, and reports a hand-scaled target once."""
    if record.decision is None or record.decision.explanation.rule is not Rule.IDLE or record.crashed:
        return None
    if record.answers or record.committed is not None or record.effects:
        return f"it asked {record.answers}, committed {record.committed} and did {record.effects}"
    earlier = {notice.key for before in history[:-1] for notice in before.notices}
    repeats = [
        notice for notice in record.notices if notice.kind is not NoticeKind.SCALED_BY_HAND and notice.key in earlier
    ]
    return f"it published again: {repeats[0].text!r}" if repeats and not _restarted(history) else None


def _restarted(history: Sequence[CycleRecord]) -> bool:
    """Return whether there may have been more than one process: a new one publishes notices again."""
    return any(record.crashed or record.blank or record.troubles for record in history[1:])


EACH_CYCLE: tuple[CycleInvariant, ...] = (
    CycleInvariant("I12", "an idle cycle does nothing", an_idle_cycle_does_nothing),
)


# -------------------------------------------------------------------------------------------------------- at rest

NAMED_WAITS = frozenset(
    {
        Rule.INITIALISING,
        Rule.CONVERGING,
        Rule.UNREADY,
        Rule.GATE_CLOSED,
        Rule.UNAPPROVED,
        Rule.ON_HOLD,
        Rule.SUSPENDED,
        Rule.RESTORING,
    }
)
"""Waits that may last, as they need an action of others: a notice reports each of them."""


def check_at_rest(state: State, history: Sequence[CycleRecord]) -> str | None:
    """Return what is wrong with a cluster in which nothing happens any more (I8, I10, I14, I16), or None.

    I8: the rollout is idle or over with all work done, or waits in a named state for somebody, or holds until data
    comes, if the policy says so. I10: every committed notice was published. I14: the target has the status's revision.
    I16: no former routes are left.
    """
    status = state.status
    rule = _last_rule(state, history)
    waits = rule in NAMED_WAITS
    holds = rule is Rule.HELD and _holds_for_good(state)
    if status.phase in ALIVE and not (waits or holds) and (status.phase not in IDLE or not status.is_settled):
        return f"I8: it rests in {status.phase.value} (pending: {status.pending}) by {rule}"
    published = {notice.key for record in history for notice in record.notices}
    unpublished = [notice for notice in status.outbox if notice.key not in published]
    if unpublished:
        return f"I10: {unpublished[0].text!r} was never published"
    if status.phase in ALIVE and not waits and state.former is not None:
        return f"I16: the former routes {state.former.routes} were never taken back in {status.phase.value}"
    target = state.target
    if status.phase in ALIVE and not waits and target is not None and target.revision != status.applied:
        return f"I14: revision {target.revision} is lost in {status.phase.value} of {status.applied}"
    return None


def _last_rule(state: State, history: Sequence[CycleRecord]) -> Rule | None:
    """Return the rule of the last poll. Between two polls pods may come and go, and nothing is due."""
    since = history[-1].time - state.rollout.interval if history else 0.0
    rules = (
        record.decision.explanation.rule for record in reversed(history) if record.decision and record.time >= since
    )
    return next((rule for rule in rules if rule is not Rule.NOT_DUE), None)


def _holds_for_good(state: State) -> bool:
    """Return whether the policy holds without a limit while its metrics have their present answers."""
    rollout = state.rollout
    questions = [MetricQuestion(f"at rest/{check.name}", check, state.status.applied) for check in rollout.checks]
    passes = {_conclusion(rollout, question, measure(state, question)) for question in questions}
    return not rollout.inconclusive_limit and None in passes and False not in passes


def _conclusion(rollout: Rollout, question: MetricQuestion, answer: MetricAnswer) -> bool | None:
    """Return whether a check passes, or None where the policy waits for a clear value or for more requests."""
    if question.check.conditions is not None:
        judgement = judge(question.check, answer, rollout.min_samples)
        return None if judgement.is_hold(rollout.no_data) else judgement.verdict is Verdict.PASS
    if answer.value is None or answer.error or not isfinite(answer.value):
        return None if rollout.no_data is NoData.HOLD else False
    return _passes(question, answer) if (answer.samples or 0) >= rollout.min_samples else None


def fingerprint(state: State) -> tuple[object, ...]:
    """Return the parts of a state that two runs with the same end share: no times, versions, keys or counts (I7)."""
    status, view = state.status, observe(state)
    return (
        status.phase,
        status.reason,
        status.rung,
        status.approval,
        status.failed_checks,
        status.applied,
        status.promoted,
        status.previous,
        status.history,
        status.rejected,
        status.paused,
        status.returning,
        status.capacity,
        status.cut_short,
        status.handled,
        status.pending,
        _timeless(view.target),
        _timeless(view.primary),
        view.routes,
        view.scaler_paused,
        view.restorable,
        view.is_restored,
    )


def _timeless(workload: Workload | None) -> Workload | None:
    return None if workload is None else evolve(workload, unready_since=None)


# -------------------------------------------------------------------------------------------------------- helpers


def _new_routes(context: WriteContext) -> Routes | None:
    """Return the routes that this write sets, or None where it sets none or its view was stale."""
    effect: Status | Effect | Notice | HookQuestion = context.write.of
    return effect.routes if isinstance(effect, SetRoutes) and not context.stale else None


def _exposes_more(before: Routes | None, after: Routes) -> bool:
    if before is None:
        return after.is_exposed
    more_weight = after.permille > before.permille
    return more_weight or (after.mirrored and not before.mirrored) or (after.matched and not before.matched)


def _has_pods(context: WriteContext, workload: str) -> bool:
    pods: Workload | None = getattr(observe(context.before), workload)
    return pods is not None and pods.ready > 0


def _primary_failed(context: WriteContext) -> bool:
    """Return whether the primary has no available pods, now or at this cycle's observation (before a promotion)."""
    observed = context.observation.primary
    return observed is None or not observed.ready or not _has_pods(context, "primary")


def _place(question: MetricQuestion) -> str:
    return question.key.rpartition("/metric/")[2]


def _is_tolerated(status: Status, question: MetricQuestion, answer: MetricAnswer) -> bool:
    """Whether a check with limits of its own may have this bad answer after those of its tally."""
    limits, value = question.check.limits, answer.value
    tally = next((each for each in status.tallies if each.check == _place(question)), None)
    if question.check.dry_run:
        return True
    if answer.error or (value is not None and isinf(value)):
        return False  # an error is no measurement
    conditions = question.check.conditions
    if value is None or isnan(value) or (conditions is not None and conditions.decide(value) is None):
        limit, before = limits.inconclusive_limit, tally.inconclusive if tally else 0
    else:
        limit, before = limits.failure_limit, tally.failed if tally else 0
    return limit is not None and before < limit


def _passes(question: MetricQuestion, answer: MetricAnswer) -> bool:
    check, value = question.check, answer.value
    if answer.error:
        return False
    if check.conditions is not None and (check.conditions.accept(value) or (value is not None and isfinite(value))):
        return check.conditions.decide(value) is True
    if value is None or not isfinite(value):
        return False
    return (check.minimum is None or value >= check.minimum) and (check.maximum is None or value <= check.maximum)
