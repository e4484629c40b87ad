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
from math import isfinite
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from canarycore._goal import converge, goal
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore._spec import HookType, NoData
from canarycore._status import Status
from canarycore.effects import Initialise, Promote, RestorePrimary, ResumeScaler, ScaleDown, ScaleUp, SetRoutes
from canarycore.errors import CanaryError
from canarycore.notices import Notice, NoticeKind
from canarycore.phases import ACTIVE, ALIVE, IDLE, OVER, PROMOTED, PROMOTION, TRANSITIONS, WAITS, Pending, Phase, Rule
from canarycore.questions import HookQuestion, MetricAnswer, MetricQuestion
from canarycore.simulation.driver import measure
from canarycore.simulation.state import State, observe

if TYPE_CHECKING:
    from canarycore._observation import Routes, Workload
    from canarycore._spec import Rollout
    from canarycore.effects import Effect
    from canarycore.simulation.driver import CycleRecord, WriteContext

_SLACK = 1e-3
"""Seconds by which an interval may be short, as `decide` lets a timer be early by a hair."""


class InvariantError(CanaryError, AssertionError):
    """A write that must not be. `name` is I1 to I14 or "table"; `script` runs the schedule again."""

    def __init__(self, name: str, text: str, found: str, last: str, script: str) -> None:
        self.name: str = name
        self.found: str = found
        self.script: str = script
        super().__init__(f"{name} ({text}): {found}\n\nThe last cycles:\n{last}\n\nThe schedule:\n{script}")


@frozen
class OnWrite:
    """An invariant of every write. `broken` tells what is wrong, or None."""

    name: str
    text: str
    broken: Callable[[WriteContext, Sequence[CycleRecord]], str | None] = field(repr=False)


@frozen
class OnCycle:
    """An invariant of every cycle."""

    name: str
    text: str
    broken: Callable[[CycleRecord, Sequence[CycleRecord]], str | None] = field(repr=False)


# ---------------------------------------------------------------------------------------------------- of an effect


def traffic_moves_to_ready_pods_only(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I1: no write of ours moves traffic towards a side without available pods."""
    del history
    after = _new_routes(moment)
    if after is None:
        return None
    before = moment.before.routes
    if _exposes_more(before, after) and not _has_pods(moment, "target"):
        return f"routes went from {before} to {after} while the canary has no available pods"
    if after.weight < (100 if before is None else before.weight) and not _has_pods(moment, "primary"):
        return f"routes went from {before} to {after} while the primary has no available pods"
    return None


def capacity_goes_after_its_traffic(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I1: the canary is scaled down only when nothing reaches it, it has drained, and the primary can serve."""
    del history
    if moment.stale or not isinstance(moment.write.of, ScaleDown):
        return None
    routes, drained = moment.before.routes, moment.before.status.drain_until
    if routes is None or routes.is_exposed:
        return f"the canary was scaled down while routes are {routes}"
    if moment.write.time < drained:
        return f"the canary was scaled down at {moment.write.time:g}, it drains until {drained:g}"
    return (
        None if _has_pods(moment, "primary") else "the canary was scaled down while the primary has no available pods"
    )


def routes_are_those_of_the_status(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I2: a weight that is written is the status's rung, 0 while the canary cannot serve, or 100 on failover."""
    del history
    after = _new_routes(moment)
    if after is None:
        return None
    status = moment.before.status
    rung = status.rung if status.phase in ACTIVE | PROMOTION else INITIAL_RUNG
    if after.weight + after.primary != 100:
        return f"{after} does not add up to 100"
    if not after.is_exposed or (after.weight, after.mirrored, after.matched) == (
        rung.weight,
        rung.mirrored,
        rung.matched,
    ):
        return None
    if after.weight == 100 and not after.mirrored and not after.matched and _primary_failed(moment):
        return None
    return f"routes became {after} in phase {status.phase.value} at rung {rung}"


def only_the_revision_under_test_gets_traffic(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I3: traffic to the canary grows only while the target carries the revision under test, failover apart."""
    del history
    after = _new_routes(moment)
    if after is None or not _exposes_more(moment.before.routes, after) or _primary_failed(moment):
        return None
    status, target = moment.before.status, moment.before.target
    found = "nothing" if target is None else target.revision
    return (
        None
        if found == status.applied
        else f"traffic went up to {after}: the target carries {found}, not {status.applied}"
    )


def the_primary_gets_exactly_what_the_status_names(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I4: only the exact hash that passed is promoted; only the promoted one is restored."""
    del history
    effect, status = moment.write.of, moment.before.status
    if not isinstance(effect, Initialise | Promote | RestorePrimary) or moment.stale:
        return None
    lost = status.phase is not Phase.INITIALIZING  # somebody deleted the primary
    phases, revision = {
        Initialise: (
            IDLE | {Phase.INITIALIZING},
            status.promoted if lost else status.applied,
        ),
        Promote: (PROMOTION | PROMOTED | {Phase.INITIALIZING}, status.applied),
        RestorePrimary: (ACTIVE | {Phase.FAILED}, status.promoted),
    }[type(effect)]
    if status.phase not in phases or effect.revision != revision:
        return f"{effect} in phase {status.phase.value} of {status.applied} (promoted: {status.promoted})"
    primary = moment.after.primary
    return None if primary is not None and primary.revision == revision else f"{effect} left the primary at {primary}"


def effects_follow_from_the_stored_status(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I5: a decision is durable before its first effect."""
    del history
    effect = moment.write.of
    if moment.stale or isinstance(effect, Status | Notice | HookQuestion):
        return None
    state = moment.before
    plan = converge(goal(state.rollout, state.status), moment.observation)
    halted = state.rollout.suspend and state.status.phase not in OVER
    if halted or effect not in plan.effects:
        return f"{effect} does not follow from the stored status ({state.status.phase.value}, {state.status.rung})"
    return None


def no_rollback_onto_the_rejected_revision(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I6: in Failed, traffic goes back only to a primary that wholly carries the promoted revision."""
    del history
    before, after, status = moment.before.routes, _new_routes(moment), moment.before.status
    if after is None or before is None or status.phase is not Phase.FAILED or after.weight >= before.weight:
        return None
    primary = observe(moment.before).primary
    if primary is None or primary.revision != status.promoted:
        return f"traffic went back to a primary that carries {'nothing' if primary is None else primary.revision}"
    rejected = primary.total - primary.updated
    return f"traffic went back to a primary with {rejected} pods of another revision" if rejected else None


def a_new_revision_first_takes_the_traffic_away(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I13: a new revision sets weight 0 before anything else, starting pods apart, unless the primary cannot serve."""
    del history
    state, effect = moment.before, moment.write.of
    if moment.stale or isinstance(effect, Status | Notice | HookQuestion | ScaleUp | ResumeScaler):
        return None
    fresh = state.status.phase is Phase.PROGRESSING and state.status.rung == INITIAL_RUNG
    if not fresh or state.routes is None or not state.routes.is_exposed or not _has_pods(moment, "primary"):
        return None
    if isinstance(effect, SetRoutes) and not effect.routes.is_exposed:
        return None
    return f"{effect} came while the new revision gets traffic by {state.routes}"


def every_effect_changes_something(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I12: nothing is written that is so already."""
    del history
    effect = moment.write.of
    if moment.stale or isinstance(effect, Status | Notice | HookQuestion) or moment.before != moment.after:
        return None
    return f"{effect} changed nothing"


# ---------------------------------------------------------------------------------------------------- of a commit


def a_commit_is_on_the_table(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """Table: every commit is a row of the transition table, and waits commit nothing."""
    del history
    if not moment.write.is_commit:
        return None
    before, after, rule = moment.before.status, moment.after.status, moment.decision.explanation.rule
    if rule in WAITS:
        return f"{rule.name} was committed"
    known = (before.phase, rule, after.phase) in TRANSITIONS
    return None if known else f"{before.phase.value} went to {after.phase.value} by {rule.name}"


def rungs_follow_the_ladder(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I2: a rung that is committed is the ladder's next, a promotion step back, the ground, or a command's."""
    del history
    if not moment.write.is_commit:
        return None
    ladder = moment.before.rollout.ladder
    before, after, rule = moment.before.status.rung, moment.after.status.rung, moment.decision.explanation.rule
    allowed = {before, INITIAL_RUNG}
    if rule is Rule.ADVANCED:
        allowed = {ladder.after(before) or before}
    elif rule is Rule.STEPPED_BACK:
        allowed = {Rung(weight=ladder.back(before.weight), iteration=before.iteration)}
    elif rule is Rule.SKIPPED_TO:
        command = moment.observation.command
        allowed = {Rung(weight=0 if command is None else command.weight)}
    return None if after in allowed else f"{rule.name} led from {before} to {after}"


def a_rung_is_left_by_a_pass(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I3: a weight rises, and a promotion begins, only by a decision that saw this revision pass this rung."""
    del history
    if not moment.write.is_commit or moment.decision.explanation.rule not in {Rule.ADVANCED, Rule.PROMOTED}:
        return None
    status, target = moment.before.status, moment.observation.target
    if target is None or target.revision != status.applied:
        return f"{status.applied} advanced while the target carries {target}"
    if moment.write.time - status.analysed_at < moment.before.rollout.interval - _SLACK:
        return f"it advanced {moment.write.time - status.analysed_at:g} s after the last analysis"
    if status.rung == INITIAL_RUNG:
        return None
    passed = {
        question.check.name
        for question, answer in moment.answers
        if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer) and _passes(question, answer)
    }
    missing = [check.name for check in moment.before.rollout.checks if check.name not in passed]
    return f"it advanced without a pass of {', '.join(missing)}" if missing else None


def a_rejected_revision_does_not_succeed(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I5: what was rolled back is promoted only after another analysis or a command."""
    del history
    before, after = moment.before.status.phase, moment.after.status.phase
    if moment.write.is_commit and before is Phase.FAILED and after in PROMOTION | {Phase.SUCCEEDED}:
        return f"Failed went to {after.value}"
    return None


def failed_checks_count_once_and_never_fall(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I9: within one analysis failed checks rise by one a failed check, at most one an interval, and never fall."""
    del history
    before, after = moment.before.status, moment.after.status
    if not moment.write.is_commit or not {before.phase, after.phase} <= ACTIVE or before.applied != after.applied:
        return None
    rule = moment.decision.explanation.rule
    if after.failed_checks != before.failed_checks + (rule is Rule.HALTED):
        return f"failed checks went from {before.failed_checks} to {after.failed_checks} by {rule.name}"
    early = moment.write.time - before.analysed_at < moment.before.rollout.interval - _SLACK
    return "a check counted before the interval had passed" if early and rule is Rule.HALTED else None


def what_was_to_be_told_was_told(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I10: a notice leaves the outbox only after it was published."""
    if not moment.write.is_commit:
        return None
    published = {notice.key for record in history for notice in record.notices}
    kept = {notice.key for notice in moment.after.status.outbox}
    lost = [one for one in moment.before.status.outbox if one.key not in published and one.key not in kept]
    return f"{lost[0].text!r} left the outbox untold" if lost else None


def hooks_owed_were_called(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I10: post-rollout hooks are struck off only by a decision that has their answers, or by what replaces them."""
    del history
    before, after = moment.before.status, moment.after.status
    if not moment.write.is_commit or Pending.HOOKS not in before.pending or Pending.HOOKS in after.pending:
        return None
    if after.phase is not before.phase:
        return None
    called = {question.hook for question, _ in moment.answers if isinstance(question, HookQuestion)}
    owed = moment.before.rollout.hooks_by_type[HookType.POST_ROLLOUT]
    return "post-rollout hooks were struck off without a call" if owed and owed[0] not in called else None


def no_data_is_no_pass(moment: WriteContext, history: Sequence[CycleRecord]) -> str | None:
    """I11: a metric without a finite value in its range never lets a rung pass."""
    del history
    explanation = moment.decision.explanation
    if not moment.write.is_commit or explanation.rule not in {Rule.ADVANCED, Rule.PROMOTED}:
        return None
    for question, answer in moment.answers:
        if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer) and not _passes(question, answer):
            return f"{explanation.rule.name} with {question.check.name} at {answer}"
    return None


EACH_COMMIT: tuple[OnWrite, ...] = (
    OnWrite("table", "every commit is a row of the transition table", a_commit_is_on_the_table),
    OnWrite("I2", "rungs follow the ladder", rungs_follow_the_ladder),
    OnWrite("I3", "a rung is left by a pass", a_rung_is_left_by_a_pass),
    OnWrite("I5", "a rejected revision does not succeed", a_rejected_revision_does_not_succeed),
    OnWrite("I9", "failed checks count once and never fall", failed_checks_count_once_and_never_fall),
    OnWrite("I10", "what was to be told was told", what_was_to_be_told_was_told),
    OnWrite("I10", "hooks that are owed are called", hooks_owed_were_called),
    OnWrite("I11", "no data is no pass", no_data_is_no_pass),
)

EACH_EFFECT: tuple[OnWrite, ...] = (
    OnWrite("I1", "traffic moves to ready pods only", traffic_moves_to_ready_pods_only),
    OnWrite("I1", "capacity goes after its traffic", capacity_goes_after_its_traffic),
    OnWrite("I2", "routes are those of the status", routes_are_those_of_the_status),
    OnWrite("I3", "only the revision under test gets traffic", only_the_revision_under_test_gets_traffic),
    OnWrite("I4", "the primary gets exactly what the status names", the_primary_gets_exactly_what_the_status_names),
    OnWrite("I5", "a decision is durable before its first effect", effects_follow_from_the_stored_status),
    OnWrite("I6", "no rollback onto the rejected revision", no_rollback_onto_the_rejected_revision),
    OnWrite("I12", "every effect changes something", every_effect_changes_something),
    OnWrite("I13", "a new revision first takes the traffic away", a_new_revision_first_takes_the_traffic_away),
)

EACH_WRITE = EACH_COMMIT + EACH_EFFECT


# ----------------------------------------------------------------------------------------------------- of a cycle


def an_idle_cycle_does_nothing(record: CycleRecord, history: Sequence[CycleRecord]) -> str | None:
    """I12: an idle cycle reads and writes nothing; a hand-scaled target is told of once."""
    if record.decision is None or record.decision.explanation.rule is not Rule.IDLE or record.crashed:
        return None
    if record.answers or record.committed is not None or record.effects:
        return f"it asked {record.answers}, committed {record.committed} and did {record.effects}"
    fresh = {notice.key for before in history[:-1] for notice in before.notices}
    told = [notice for notice in record.notices if notice.kind is not NoticeKind.SCALED_BY_HAND and notice.key in fresh]
    return f"it told again: {told[0].text!r}" if told and not _restarted(history) else None


def _restarted(history: Sequence[CycleRecord]) -> bool:
    """Whether there was more than one process: a new one tells again what it cannot know was told."""
    return any(record.crashed or record.blank or record.troubles for record in history[1:])


EACH_CYCLE: tuple[OnCycle, ...] = (OnCycle("I12", "an idle cycle does nothing", an_idle_cycle_does_nothing),)


# -------------------------------------------------------------------------------------------------------- at rest

NAMED_WAITS = frozenset(
    {
        Rule.INITIALISING,
        Rule.CONVERGING,
        Rule.UNREADY,
        Rule.GATE_CLOSED,
        Rule.ON_HOLD,
        Rule.SUSPENDED,
        Rule.RESTORING,
    }
)
"""Waits that may last, as somebody else has to act: each is told."""


def check_at_rest(state: State, history: Sequence[CycleRecord]) -> str | None:
    """Return what is wrong with a cluster in which nothing happens any more (I8, I10, I14), or None.

    I8: the rollout is idle or over with all work done, or waits in a named state for somebody, or holds until data
    comes, if the policy says so. I10: every committed notice was published. I14: the target has the status's revision.
    """
    status = state.status
    rule = _last_rule(state, history)
    waits = rule in NAMED_WAITS
    holds = rule is Rule.HELD and _holds_for_good(state)
    if status.phase in ALIVE and not (waits or holds) and (status.phase not in IDLE or not status.is_settled):
        return f"I8: it rests in {status.phase.value} (pending: {status.pending}) by {rule}"
    published = {notice.key for record in history for notice in record.notices}
    untold = [notice for notice in status.outbox if notice.key not in published]
    if untold:
        return f"I10: {untold[0].text!r} was never told"
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
    """Whether the policy holds without a limit, for as long as its metrics are answered as they would be now."""
    rollout = state.rollout
    questions = [MetricQuestion(f"at rest/{one.name}", one, state.status.applied) for one in rollout.checks]
    passes = {_conclusion(rollout, question, measure(state, question)) for question in questions}
    return not rollout.inconclusive_limit and None in passes and False not in passes


def _conclusion(rollout: Rollout, question: MetricQuestion, answer: MetricAnswer) -> bool | None:
    """Whether a check passes; None where the owner wants to wait: for a value, or for enough requests behind it."""
    if answer.value is None or answer.error or not isfinite(answer.value):
        return None if rollout.no_data is NoData.HOLD else False
    return _passes(question, answer) if (answer.samples or 0) >= rollout.min_samples else None


def fingerprint(state: State) -> tuple[object, ...]:
    """What worlds that ended alike have in common: all but times, versions, keys and counts of calls (I7)."""
    status, view = state.status, observe(state)
    return (
        status.phase,
        status.reason,
        status.rung,
        status.failed_checks,
        status.applied,
        status.promoted,
        status.previous,
        status.paused,
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


def _new_routes(moment: WriteContext) -> Routes | None:
    """The routes that this write sets, if it sets any and knew what it did."""
    effect: Status | Effect | Notice | HookQuestion = moment.write.of
    return effect.routes if isinstance(effect, SetRoutes) and not moment.stale else None


def _exposes_more(before: Routes | None, after: Routes) -> bool:
    if before is None:
        return after.is_exposed
    more_weight = after.weight > before.weight
    return more_weight or (after.mirrored and not before.mirrored) or (after.matched and not before.matched)


def _has_pods(moment: WriteContext, workload: str) -> bool:
    found: Workload | None = getattr(observe(moment.before), workload)
    return found is not None and found.ready > 0


def _primary_failed(moment: WriteContext) -> bool:
    """Whether the primary has no available pods, or had none when the cycle looked: it may since have been promoted."""
    seen = moment.observation.primary
    return seen is None or not seen.ready or not _has_pods(moment, "primary")


def _passes(question: MetricQuestion, answer: MetricAnswer) -> bool:
    check, value = question.check, answer.value
    if value is None or answer.error or not isfinite(value):
        return False
    return (check.minimum is None or value >= check.minimum) and (check.maximum is None or value <= check.maximum)
