"""Hypothesis strategies for all inputs of the core, and for schedules of a simulated cluster.

    from hypothesis import given
    from canarycore.testing.strategies import rollouts

    @given(rollouts())
    def test_my_policy_store_keeps_a_rollout(rollout): ...

`rollouts` cover every ladder. `statuses`, `observations` and answers include combinations that no cluster has, as
`decide` must handle them too. `scenarios` are behaviours of an old and a new version. `clusters` are simulated clusters
in which a first revision is promoted. `schedules` are actions of others on such a cluster, and `faults` its failures,
as plain data.

Parameters narrow the draws: a strategy for a field of the policy, `without=` for types of actions or kinds of faults.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from canarycore._canary_size import CanarySize
from canarycore._fields import describe_value
from canarycore._ladder import INITIAL_RUNG, Ladder, Rung, Step, Strategy
from canarycore._limits import PLAIN, CheckLimits, CheckTally
from canarycore._observation import TOTAL_WEIGHT, Command, CommandKind, Observation, Routes, Workload
from canarycore._spec import (
    Check,
    CheckKind,
    GradualReturn,
    Hook,
    HookType,
    NoData,
    OnFailure,
    RollbackWindow,
    Rollout,
    TargetRef,
)
from canarycore._status import Status
from canarycore.notices import NoticeKind
from canarycore.phases import FINISHED, Approval, CutShort, Pending, Phase, Reason
from canarycore.policy import Behaviour, Scenario
from canarycore.questions import (
    Answer,
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    Question,
    SourcesAnswer,
)
from canarycore.simulation.actions import (
    Action,
    AnswerHook,
    AttachPods,
    ClaimRoute,
    Configure,
    Deploy,
    DetachPods,
    Edit,
    Recreate,
    ReleaseRoute,
    RemoveTarget,
    RenameRoutes,
    ReplaceTarget,
    RouteByHand,
    ScalePrimary,
    ScaleTarget,
    SendCommand,
    SetClock,
    SetMetrics,
    SetPace,
    SetSources,
)
from canarycore.simulation.cluster import SimulatedCluster
from canarycore.simulation.metrics import ByRevision, Constant, Metrics
from canarycore.simulation.state import (
    AT_ONCE,
    NEVER,
    Fault,
    FaultKind,
    Pace,
    Scaler,
    State,
    after,
    crash_loop,
    stuck,
)
from canarycore.traffic import Affinity, Match, StringMatch

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as _missing:
    message = "canarycore.testing.strategies needs Hypothesis: pip install canarycore[testing]"
    raise ModuleNotFoundError(message, name=_missing.name) from _missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hypothesis.strategies import DrawFn, SearchStrategy

    from canarycore.simulation.promises import Promise

T = TypeVar("T")

REVISIONS = ("v1", "v2", "v3")
"""A few revisions, so that draws often repeat one."""

MOST_IN_A_ROW = 6
"""Most faults in a row: one more than the retries of a Kubernetes client after a conflict."""

revisions: SearchStrategy[str] = st.sampled_from(REVISIONS)
weights: SearchStrategy[int] = st.integers(0, 100)
times: SearchStrategy[float] = st.sampled_from([0.0, 1.0, 9.0, 10.0, 11.0, 20.0, 30.0, 100.0, 1000.0])


# ------------------------------------------------------------------------------------------------------- rollouts


def ladders() -> SearchStrategy[Ladder]:
    """Draw ladders of every strategy, and ladders without steps."""
    back = st.sampled_from([0, 10, 30, 100])
    rising = st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(lambda steps: tuple(sorted(steps)))
    routed, mirror = st.booleans(), st.booleans()
    by_step = st.builds(
        Ladder,
        step=st.integers(1, 100),
        top=st.integers(1, 100),
        mirror=mirror,
        step_back=back,
    )
    by_steps = st.builds(Ladder, steps=rising | rising.flatmap(_steps), mirror=mirror, step_back=back)
    ab = st.builds(Ladder, strategy=st.just(Strategy.AB), iterations=st.integers(1, 5))
    blue_green = st.builds(
        Ladder,
        strategy=st.just(Strategy.BLUE_GREEN),
        iterations=st.integers(1, 5),
        mirror=mirror,
        routed=routed,
    )
    permille = st.lists(st.integers(1, 1000), min_size=1, max_size=5, unique=True).map(
        lambda steps: tuple(sorted(steps))
    )
    fine = st.builds(
        Ladder,
        tenths=st.just(True),
        steps=permille | permille.flatmap(_steps),
        mirror=mirror,
        step_back=st.sampled_from([0, 5, 300, 1000]),
    )
    in_place = st.builds(Ladder, steps=rising, mirror=mirror, in_place=st.just(True)) | st.builds(
        Ladder, steps=permille, tenths=st.just(True), in_place=st.just(True)
    )
    return st.one_of(by_step, by_steps, ab, blue_green, fine, in_place).flatmap(_bakes)


def _bakes(ladder: Ladder) -> SearchStrategy[Ladder]:
    """Draw a ladder that bakes, where it can, and more often as it is."""
    last = ladder.steps[-1] if ladder.steps else None
    if not ladder.routed or (isinstance(last, Step) and last.weight == ladder.total):
        return st.just(ladder)
    return st.sampled_from([0.0, 0.0, 0.0, 15.0, 60.0]).map(lambda bake: evolve(ladder, bake=bake))


def _steps(weights: tuple[int, ...]) -> SearchStrategy[tuple[int | Step, ...]]:
    """Draw steps with these weights: some with a match, a mirror, a hold or an approval, some without."""
    holds = st.sampled_from([0.0, 1.0, 15.0, 60.0])
    return st.tuples(
        *(
            st.just(weight)
            | st.builds(
                Step,
                weight=st.just(weight),
                match=st.sampled_from([(), (), _HEADER] if weight < TOTAL_WEIGHT else [()]),
                mirror=st.sampled_from([0, 0, 30] if weight < TOTAL_WEIGHT else [0]),
                size=st.sampled_from([None, None, CanarySize(replicas=1), CanarySize(percent=50)]),
                hold=holds,
                approval=st.booleans(),
            )
            for weight in weights
        )
    )


def checks() -> SearchStrategy[Check]:
    """Draw checks of each kind, some with limits of their own or without effect."""
    return st.builds(
        evolve,
        _kinds_of_checks(),
        from_weight=st.sampled_from([0, 0, 0, 50]),
        limits=st.just(PLAIN) | limits(),
        dry_run=st.sampled_from(_RARELY),
    )


_RARELY = [False, False, False, True]


def limits() -> SearchStrategy[CheckLimits]:
    """Draw the limits of a check, with small numbers."""
    few = st.none() | st.integers(0, 2)
    return st.builds(
        CheckLimits,
        initial_delay=st.sampled_from([0.0, 0.0, 15.0]),
        every=st.sampled_from([0.0, 0.0, 25.0]),
        count=st.integers(1, 3),
        success_limit=st.integers(0, 2),
        failure_limit=few,
        inconclusive_limit=few,
        error_limit=few,
    )


def _kinds_of_checks() -> SearchStrategy[Check]:
    return st.one_of(
        st.just(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)),
        st.just(Check(name="request-duration", kind=CheckKind.DURATION, maximum=500.0)),
        st.just(Check(name="not-found", kind=CheckKind.TEMPLATE, maximum=5.0)),
        st.just(Check(name="inline", kind=CheckKind.QUERY, minimum=0.0, maximum=1.0)),
        st.just(Check(name="wide", kind=CheckKind.QUERY, minimum=-1e9)),
        st.builds(
            Check,
            name=st.just("conditional"),
            kind=st.sampled_from([CheckKind.QUERY, CheckKind.SUCCESS_RATE]),
            success_condition=st.sampled_from(["result >= 99", "isNaN(result) || result[0] * 2 > 198"]),
            failure_condition=st.sampled_from(["", "result < 1", "default(result, 0) < 0.5 || isInf(result)"]),
        ),
    )


def hooks() -> SearchStrategy[tuple[Hook, ...]]:
    """Draw up to four hooks of any types."""
    types = st.lists(st.sampled_from(HookType), max_size=4)
    return types.map(
        lambda drawn: tuple(
            Hook(name=f"{kind.value}-{number}", type=kind, url="http://hooks.example", mute_alert=number % 2 == 1)
            for number, kind in enumerate(drawn)
        )
    )


_RETURNS = (
    GradualReturn(step=30, interval=5.0),
    GradualReturn(step=10, interval=30.0, deadline=20.0),
    GradualReturn(step=40, interval=5.0, deadline=120.0, follows_capacity=True),
)

_FIELDS: dict[str, SearchStrategy[Any]] = {
    "target": st.builds(TargetRef, name=st.just("podinfo"), kind=st.sampled_from(["Deployment", "DaemonSet"])),
    "ladder": ladders(),
    "interval": st.sampled_from([10.0, 30.0]),
    "threshold": st.integers(1, 3),
    "checks": st.lists(checks(), max_size=3, unique_by=lambda check: check.name).map(tuple),
    "hooks": hooks(),
    "affinity": st.sampled_from([None, None, Affinity(cookie_name="canary")]),
    "no_data": st.sampled_from(NoData),
    "min_samples": st.sampled_from([0, 0, 100]),
    "inconclusive_limit": st.sampled_from([0, 2]),
    "on_failure": st.sampled_from(OnFailure),
    "rollback_window": st.none()
    | st.builds(RollbackWindow, revisions=st.integers(1, 2), steps=st.sampled_from([(), (20,), (20, 60)])),
    "replace_down_primary": st.booleans(),
    "progress_deadline": st.sampled_from([20.0, 60.0, 600.0]),
    "primary_ready": st.sampled_from([100, 50]),
    "canary_ready": st.sampled_from([100, 50]),
    "skip_analysis": st.sampled_from([False, False, False, True]),
    "suspend": st.sampled_from([False, False, False, False, True]),
    "revert_on_deletion": st.booleans(),
    "drain": st.sampled_from([0.0, 1.0]),
    "texts": st.sampled_from([{}, {}, {NoticeKind.SUCCEEDED: "{name} is live", NoticeKind.ADVANCED_WEIGHT: "{0}%"}]),
    "gradual_return": st.sampled_from([None, None, *_RETURNS]),
}
"""The usual strategies for the fields of a rollout. Strategies that live as long as the module draw faster."""

_HEADER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="always")),)),)


@st.composite
def rollouts(draw: DrawFn, /, **fields: SearchStrategy[Any]) -> Rollout:
    """Draw policies of every kind, with small numbers.

    fields: strategies for fields of the rollout, by name, in place of the usual ones.
    """
    drawn = {name: draw(strategy) for name, strategy in {**_FIELDS, **fields}.items()}
    match = _HEADER if drawn["ladder"].strategy is Strategy.AB else ()
    if drawn["ladder"].has_matches:  # a session cookie chooses the canary's requests too
        drawn["affinity"] = None
    return Rollout(**{"name": "podinfo", "namespace": "test", "match": match, **drawn})


# ------------------------------------------------------------------------------------------------ inputs of decide


def rungs() -> SearchStrategy[Rung]:
    """Draw rungs, on some ladder or on none."""
    return st.builds(
        Rung,
        weight=weights,
        mirrored=st.booleans(),
        matched=st.booleans(),
        iteration=st.integers(0, 6),
        tenths=st.booleans(),
    ) | st.just(INITIAL_RUNG)


def statuses() -> SearchStrategy[Status]:
    """Draw statuses, whether or not a rollout can reach them.

    Two rules hold: a status without a start time is in the first phase, and only a finished rollout has hooks pending.
    """
    return st.just(Status()) | st.builds(
        Status,
        phase=st.sampled_from(Phase),
        reason=st.sampled_from(Reason),
        since=times,
        analysed_at=times,
        rung=rungs(),
        failed_checks=st.integers(0, 4),
        holds=st.integers(0, 3),
        tallies=st.just(()) | st.lists(tallies(times), max_size=2, unique_by=lambda tally: tally.check).map(tuple),
        applied=st.sampled_from(["", *REVISIONS]),
        promoted=st.sampled_from(["", *REVISIONS]),
        previous=st.sampled_from(["", *REVISIONS]),
        history=st.lists(st.sampled_from(REVISIONS), max_size=2, unique=True).map(tuple),
        rejected=st.lists(st.sampled_from(REVISIONS), max_size=2, unique=True).map(tuple),
        drain_until=times,
        reached_at=st.none() | times,
        approval=st.sampled_from(Approval),
        returning=st.booleans(),
        capacity=st.integers(0, 3),
        cut_short=st.sampled_from(CutShort),
        paused=st.booleans(),
        handled=st.sampled_from(["", "c1", "c2"]),
        pending=st.sampled_from([(), (Pending.SETTLE,), (Pending.HOOKS, Pending.SETTLE)]),
    ).map(_without_early_hooks)


def tallies(times: SearchStrategy[float]) -> SearchStrategy[CheckTally]:
    """Draw tallies of the usual checks, with these times."""
    few = st.integers(0, 3)
    names = st.sampled_from(["0/request-success-rate", "1/request-duration"])
    return st.builds(
        CheckTally, check=names, at=times, measured=few, failed=few, inconclusive=few, errors=few, passes=few
    )


def _without_early_hooks(status: Status) -> Status:
    return status if status.phase in FINISHED else status.but(pending=status.pending[1:])


def workloads() -> SearchStrategy[Workload]:
    """Draw workloads with any numbers of pods, consistent or not."""
    few = st.integers(0, 3)
    return st.builds(
        Workload,
        revision=revisions,
        desired=few,
        updated=few,
        ready=few,
        total=few,
        unready_since=st.none() | times,
        stuck=st.sampled_from(["", "", "", 'deployment "podinfo" exceeded its progress deadline']),
        has_replicas=st.sampled_from([True, True, True, False]),
    ) | st.builds(_ready, revisions, st.integers(0, 3))


def _ready(revision: str, pods: int) -> Workload:
    return Workload(revision=revision, desired=pods, updated=pods, ready=pods, total=pods)


def routes() -> SearchStrategy[Routes]:
    """Draw routes."""
    return st.builds(
        Routes,
        weight=weights | st.sampled_from([0, 100]),
        mirrored=st.booleans(),
        matched=st.booleans(),
        cookie=st.sampled_from(["", *REVISIONS]),
        expired=st.sampled_from(["", *REVISIONS]),
        tenths=st.booleans(),
    ) | st.just(Routes())


def commands() -> SearchStrategy[Command]:
    """Draw commands, including weights outside 0 to 100."""
    kinds = st.sampled_from(CommandKind)
    return st.builds(Command, id=st.sampled_from(["c1", "c2", "c3"]), kind=kinds, weight=st.integers(-1, 101))


def observations() -> SearchStrategy[Observation]:
    """Draw observations."""
    return st.builds(
        Observation,
        now=times,
        target=st.none() | workloads(),
        primary=st.none() | workloads(),
        routes=st.none() | routes(),
        scaler_paused=st.none() | st.booleans(),
        restorable=st.lists(revisions, max_size=2, unique=True).map(tuple),
        command=st.none() | commands(),
        is_deleted=st.sampled_from([False, False, False, True]),
        is_restored=st.sampled_from([False, False, False, True]),
    )


def answers_to(question: Question) -> SearchStrategy[Answer]:
    """Draw answers of the type that fits `question`."""
    if isinstance(question, HookQuestion):
        return st.builds(HookAnswer, passed=st.booleans(), text=st.sampled_from(["", "no"]))
    if isinstance(question, MetricQuestion):
        return st.builds(
            MetricAnswer,
            value=st.sampled_from([None, nan, inf, -inf, -1.0, 0.0, 0.5, 98.99, 99.0, 100.0, 500.0, 501.0, 1e300]),
            samples=st.sampled_from([None, 0, 99, 100]),
            error=st.sampled_from(["", "", "", "timed out"]),
        )
    return st.builds(SourcesAnswer, error=st.sampled_from(["", "offline"]))


# ------------------------------------------------------------------------------------------------------- clusters


PACES: dict[str, Pace] = {
    "at once": AT_ONCE,
    "soon": after(5),
    "late": after(15),
    "too late": after(70),
    "never": NEVER,
    "never, and reported": stuck(5),
    "now and then": crash_loop(12, 5),
}
"""Paces at which pods get ready, by name."""

METRICS: dict[str, Metrics] = {
    "good": ByRevision(),
    "bad for v2": ByRevision(bad=("v2",)),
    "always the same": Constant(100.0),
    "no data": Constant(None),
    "NaN": Constant(nan),
    "infinite": Constant(inf),
    "below everything": Constant(-inf),
    "a timeout": Constant(MetricAnswer(error="timed out")),
    "a server's error": Constant(MetricAnswer(error="503 Service Unavailable")),
}
"""Metrics by name: good and bad values, a constant value, and each kind of missing value."""

ANSWERS: tuple[tuple[bool | str, ...], ...] = ((True,), (False,), (False, True), (True, False, True), ("timeout",))
"""Answers of hooks, in turn."""


def paces() -> SearchStrategy[Pace]:
    """Draw paces at which pods get ready: at once, soon, late, never, again and again."""
    return st.sampled_from(list(PACES.values()))


@st.composite
def scenarios(
    draw: DrawFn,
    /,
    *,
    error_rates: SearchStrategy[float] | None = None,
    old_error_rates: SearchStrategy[float] | None = None,
    rps: SearchStrategy[float] | None = None,
    **fields: SearchStrategy[Any],
) -> Scenario:
    """Draw scenarios: the behaviour of an old and a new version, and the traffic.

    error_rates: shares of failing requests of the new version, 0 to 1; None: from none to all of them. old_error_rates:
    those of the old version; None: none. rps: users' requests a second; None: 1 to 1000. fields: strategies for other
    fields of the scenario, by name.
    """
    new = draw(st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0]) if error_rates is None else error_rates)
    old = draw(st.just(0.0) if old_error_rates is None else old_error_rates)
    p99 = draw(st.sampled_from([None, 100.0, 5000.0]))
    return Scenario(
        old=Behaviour(error_rate=old),
        new=Behaviour(error_rate=new, p99=p99),
        rps=draw(st.sampled_from([100.0, 1.0, 1000.0]) if rps is None else rps),
        **{name: draw(strategy) for name, strategy in fields.items()},
    )


@st.composite
def clusters(
    draw: DrawFn,
    of: SearchStrategy[Rollout] | None = None,
    *,
    scenario: SearchStrategy[Scenario] | None = None,
    promises: Iterable[Promise] = (),
) -> SimulatedCluster:
    """Draw clusters in which v1 is promoted and idle.

    of: the rollouts; None: `rollouts()`, none of them suspended. scenario: the behaviour of versions; None: none, so
    that no request fails. promises: invariants of your own, which the cluster checks.
    """
    rollout = draw(rollouts(suspend=st.just(False)) if of is None else of)
    scaler = draw(st.sampled_from([None, None, Scaler(minimum=1, maximum=4), Scaler(minimum=3, maximum=4)]))
    replicas = draw(st.integers(1, 3))
    plain = scaler is None and replicas == State(rollout=rollout).replicas
    cluster = SimulatedCluster(
        rollout,
        state=None if plain else State(rollout=rollout, replicas=replicas, scaler=scaler),
        scenario=None if scenario is None else draw(scenario),
        promises=tuple(promises),
    )
    return cluster.do(Deploy("v1")).run()


_LADDERS, _SIDES = ladders(), st.sampled_from(["primary", "target"])
_ACTIONS: dict[type, SearchStrategy[Action]] = {
    Deploy: st.builds(Deploy, revisions),
    Configure: st.builds(Configure, revisions),
    ScaleTarget: st.builds(ScaleTarget, st.integers(0, 3)),
    ScalePrimary: st.builds(ScalePrimary, st.integers(0, 3)),
    DetachPods: st.builds(DetachPods, _SIDES),
    AttachPods: st.builds(AttachPods, _SIDES),
    SetPace: st.builds(SetPace, st.sampled_from(["primary", "target", *REVISIONS]), paces()),
    RouteByHand: st.builds(RouteByHand, st.none() | st.builds(Routes, weight=st.sampled_from([0, 5, 50, 100]))),
    SendCommand: st.builds(SendCommand, st.sampled_from(CommandKind), st.sampled_from([1, 50, 100])),
    SetMetrics: st.builds(SetMetrics, st.sampled_from(list(METRICS.values()))),
    SetSources: st.builds(SetSources, st.sampled_from(["", "offline"])),
    SetClock: st.builds(SetClock, st.sampled_from([-20.0, 20.0])),
    RemoveTarget: st.just(RemoveTarget()),
    ReplaceTarget: st.just(ReplaceTarget()),
    Recreate: st.just(Recreate()),
    RenameRoutes: st.just(RenameRoutes()),
    ClaimRoute: st.just(ClaimRoute()),
    ReleaseRoute: st.just(ReleaseRoute()),
}
"""Strategies for the actions that do not depend on the rollout."""


def actions(rollout: Rollout, *, without: Collection[type] = ()) -> SearchStrategy[Action]:
    """Draw actions of others during a rollout, except a deletion without a new creation.

    without: types of actions to leave out, such as `SendCommand`. Raise ValueError for one that is never drawn.
    """
    names = [hook.name for hook in rollout.hooks] or ["no such hook"]
    by_type = {
        **_ACTIONS,
        AnswerHook: st.builds(AnswerHook, st.sampled_from(names), st.sampled_from(ANSWERS)),
        Edit: st.builds(Edit, _LADDERS.map(lambda ladder: evolve(rollout, ladder=ladder))),
    }
    left_out = _known(without, by_type)
    return st.one_of([strategy for kind, strategy in by_type.items() if kind not in left_out])


def _known(without: Collection[T], known: Iterable[T]) -> Collection[T]:
    """Return what to leave out. Raise ValueError for something that is never drawn."""
    names = {part: getattr(part, "__name__", str(part)) for part in known}
    for part in without:
        if part not in names:
            raise ValueError(f"without: found {describe_value(part)}, expected some of {', '.join(names.values())}")
    return without


def faults(highest: int = 60, *, without: Collection[FaultKind] = ()) -> SearchStrategy[Fault]:
    """Draw faults at one of the first `highest` writes or observations; `without`: kinds to leave out."""
    times_in_a_row = st.just(1) | st.integers(1, MOST_IN_A_ROW)
    kinds = [kind for kind in FaultKind if kind not in _known(without, FaultKind)]
    return st.builds(Fault, st.sampled_from(kinds), st.integers(0, highest), times_in_a_row)


def schedules(
    rollout: Rollout, most: int = 6, *, without: Collection[type] = ()
) -> SearchStrategy[list[tuple[float, Action]]]:
    """Draw up to `most` actions with their times, in the first minutes after now (seconds).

    without: types of actions to leave out, as for `actions`.
    """
    moments = st.sampled_from([0.0, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0, 90.0])
    return st.lists(st.tuples(moments, actions(rollout, without=without)), max_size=most)
