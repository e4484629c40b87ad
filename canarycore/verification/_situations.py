"""Trials: the policies to verify, each with its start states and the actions of others.

`STRATEGIES` in `SITUATIONS` are policies of every kind. `trial` makes a trial of any other policy.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, field, frozen

from canarycore._canary_size import CanarySize
from canarycore._ladder import Ladder, Step, Strategy
from canarycore._limits import CheckLimits
from canarycore._observation import CommandKind, Routes
from canarycore._spec import (
    Check,
    CheckKind,
    GradualReturn,
    Hook,
    HookType,
    OnFailure,
    RollbackWindow,
    Rollout,
    TargetRef,
)
from canarycore.simulation.actions import (
    AttachPods,
    ClaimRoute,
    Configure,
    Delete,
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
    SetPace,
    SetScaler,
)
from canarycore.simulation.state import NEVER, LoadScaler, Scaler, State, after, redeployed, stuck
from canarycore.traffic import Affinity, Match, StringMatch
from canarycore.verification._steps import ActorAction, Excuse

OLD, NEW, THIRD = "v1", "v2", "v3"
"""The revisions: the promoted one, the new one, and one that may arrive at any time."""


@frozen(kw_only=True)
class Trial:
    """A policy to verify in a situation."""

    strategy: str
    """Name of the strategy, or of the policy."""
    situation: str = "plain"
    """Name of the situation."""
    rollout: Rollout
    """The policy."""
    scaler: Scaler | None = None
    """The target's autoscaler; None where there is none."""
    has_replicas: bool = True
    """Whether target and primary have pods to scale."""
    load_scaler: LoadScaler | None = field(init=False)
    """The primary's autoscaler, where a policy follows its capacity."""
    reduced: tuple[str, ...] = ()
    """Sentences about times and counts of the policy that the trial shortens."""
    starts: tuple[State, ...] = field(init=False, eq=False, repr=False)
    """Start states: an empty cluster, and one with a promoted revision and a new one. With a rollback window also those
    in which an earlier revision comes back."""
    actions: tuple[ActorAction, ...] = field(init=False, eq=False, repr=False)
    """Actions of others, each with its excuse."""

    @load_scaler.default
    def _scale_primary(self) -> LoadScaler | None:
        policy = self.rollout.gradual_return
        if policy is None or not policy.follows_capacity:
            return None
        return LoadScaler(full=_FULL_SIZE, lag=1.5 * self.rollout.interval)

    @starts.default
    def _from_nothing_and_from_idle(self) -> tuple[State, ...]:
        pace = after(self.rollout.interval / 4)
        paces = (("primary", pace), ("target", pace))
        empty = State(rollout=self.rollout, scaler=self.scaler, has_replicas=self.has_replicas, paces=paces)
        if self.load_scaler is not None:
            empty = empty.but(load_scaler=self.load_scaler, replicas=_FULL_SIZE)
        starts = redeployed(empty, OLD), _with_new_revision(empty, OLD, NEW)
        return starts if self.rollout.rollback_window is None else (*starts, *_with_returns(empty))

    @actions.default
    def _list_actions(self) -> tuple[ActorAction, ...]:
        actions = _actions_of_others(self.rollout, self.scaler)
        if self.load_scaler is not None:
            actions.append(ActorAction(ScaleTarget(1), Excuse.SIZE))
        return tuple(actions)


_FULL_SIZE = 3
"""Pods of a primary that has all requests, and an autoscaler."""


def _with_returns(empty: State) -> tuple[State, ...]:
    """Return the states in which v2 is promoted and v1 has just come back: promoted once, or rejected since."""
    state = _with_new_revision(empty, NEW, OLD)
    before = state.status.but(previous=OLD)
    return state.but(status=before.but(history=(OLD,))), state.but(status=before.but(rejected=(OLD,)))


def _with_new_revision(empty: State, promoted: str, revision: str) -> State:
    """Return the state in which one revision is promoted and idle and another one has just arrived."""
    from canarycore.simulation.cluster import SimulatedCluster

    cluster = SimulatedCluster(empty.rollout, state=empty, check=False).do(Deploy(promoted)).run()
    return redeployed(cluster.state, revision).but(writes=0, reads=0, version=0, turns=())


def _actions_of_others(rollout: Rollout, scaler: Scaler | None) -> list[ActorAction]:
    other, fail, wait, size = Excuse.OTHER, Excuse.FAIL, Excuse.WAIT, Excuse.SIZE
    slow = after(rollout.interval / 2)
    actions = [
        ActorAction(Deploy(THIRD), other),
        ActorAction(Deploy(OLD), other),
        ActorAction(Configure(THIRD), other),
        ActorAction(RouteByHand(None)),
        ActorAction(RenameRoutes()),
        ActorAction(ClaimRoute(), wait),
        ActorAction(ReleaseRoute()),
        ActorAction(RouteByHand(Routes())),
        ActorAction(RouteByHand(Routes(weight=97))),
        ActorAction(ScaleTarget(0), other),
        ActorAction(ScaleTarget(3), other | size),
        ActorAction(ScalePrimary(0), fail | wait | size),
        ActorAction(DetachPods("target"), fail | wait),
        ActorAction(DetachPods("primary"), fail | wait),
        ActorAction(AttachPods("target"), other),
        ActorAction(AttachPods("primary"), other),
        ActorAction(SetPace("target", slow), other),
        ActorAction(SetPace("primary", slow), other),
        ActorAction(SetPace("target", NEVER), fail | wait),
        ActorAction(SetPace("primary", NEVER), fail | wait),
        ActorAction(SetPace(f"primary/{NEW}", stuck(1.0)), fail | wait),
        ActorAction(RemoveTarget(), fail | wait),
        ActorAction(ReplaceTarget(), other),
        ActorAction(Edit(evolve(rollout, ladder=other_steps(rollout.ladder))), other),
        ActorAction(Edit(evolve(rollout, skip_analysis=not rollout.skip_analysis)), other),
        ActorAction(Edit(evolve(rollout, suspend=True)), wait),
        ActorAction(Edit(rollout), other),  # GitOps reverts an edit
        ActorAction(Delete(), other),
        ActorAction(Recreate(), other),
        ActorAction(SendCommand(CommandKind.PROMOTE, id="promote"), other),
        ActorAction(SendCommand(CommandKind.ABORT, id="abort"), fail),
        ActorAction(SendCommand(CommandKind.PAUSE, id="pause"), wait),
        ActorAction(SendCommand(CommandKind.RESUME, id="resume"), other),
        ActorAction(SendCommand(CommandKind.RETRY, id="retry"), other),
        ActorAction(SendCommand(CommandKind.SKIP_TO, weight=50, id="skip-to"), other),
    ]
    if rollout.ladder.stays:
        actions.append(ActorAction(SendCommand(CommandKind.APPROVE, id="approve"), other))
    if scaler is not None:
        actions += [ActorAction(SetScaler(change), other | size) for change in (evolve(scaler, paused=True), None)]
    return actions


def other_steps(ladder: Ladder) -> Ladder:
    """Return a ladder of the same strategy with other steps."""
    if ladder.strategy is Strategy.WEIGHTS:
        return evolve(ladder, step=0, steps=(15, 70), top=ladder.total)
    return evolve(ladder, iterations=ladder.iterations + 1)


# ------------------------------------------------------------------------------------ the strategies and situations


def _hook(kind: HookType) -> Hook:
    return Hook(name=kind.value, type=kind, url=f"http://hooks.example/{kind.value}")


_GATES = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)
_CALLS = (HookType.PRE_ROLLOUT, HookType.ROLLOUT, HookType.POST_ROLLOUT, HookType.ROLLBACK)
_HEADER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="always")),)),)

_CHECK = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
_CONDITIONS = Check(
    name="errors",
    kind=CheckKind.QUERY,
    success_condition="len(result) == 0 || result < 1",
    failure_condition="result > 5",
)
_LIMITS = CheckLimits(initial_delay=15.0, count=2, failure_limit=1, inconclusive_limit=0, error_limit=1)

_POLICY = Rollout(
    name="podinfo",
    namespace="test",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(steps=(20, 60)),
    interval=10.0,
    threshold=2,
    checks=(_CHECK,),
    progress_deadline=20.0,
)

_ALL = CanarySize(percent=100)

STRATEGIES: dict[str, Rollout] = {
    "canary": _POLICY,
    "canary, promoted by steps": evolve(_POLICY, ladder=Ladder(step=40, top=80, step_back=50)),
    "canary with holds": evolve(
        _POLICY, ladder=Ladder(steps=(Step(weight=20, hold=15.0), Step(weight=60, approval=True)))
    ),
    "canary with a match": evolve(_POLICY, ladder=Ladder(steps=(Step(weight=0, match=_HEADER), 50))),
    "canary with mirrors": evolve(
        _POLICY, ladder=Ladder(steps=(Step(weight=0, mirror=30), Step(weight=50, mirror=10)))
    ),
    "canary with sizes": evolve(
        _POLICY, ladder=Ladder(steps=(Step(weight=20, size=CanarySize(replicas=1)), 40, Step(weight=60, size=_ALL)))
    ),
    "canary that shrinks": evolve(
        _POLICY,
        ladder=Ladder(
            steps=(Step(weight=20, size=CanarySize(replicas=3)), Step(weight=60, size=CanarySize(percent=50)))
        ),
    ),
    "canary that bakes": evolve(_POLICY, ladder=Ladder(steps=(50,), bake=15.0)),
    "canary that freezes": evolve(_POLICY, on_failure=OnFailure.FREEZE),
    "canary that returns by steps": evolve(
        _POLICY, ladder=Ladder(steps=(40, 80)), gradual_return=GradualReturn(step=30, interval=5.0, deadline=125.0)
    ),
    "canary that follows capacity": evolve(
        _POLICY,
        ladder=Ladder(steps=(50, 80)),
        gradual_return=GradualReturn(step=40, interval=5.0, deadline=125.0, follows_capacity=True),
    ),
    "canary with limits": evolve(_POLICY, checks=(evolve(_CHECK, limits=_LIMITS),)),
    "canary with conditions": evolve(_POLICY, checks=(_CONDITIONS,), inconclusive_limit=1),
    "canary with a rollback window": evolve(_POLICY, rollback_window=RollbackWindow(revisions=2, steps=(60,))),
    "canary after a mirror": evolve(_POLICY, ladder=Ladder(steps=(50,), mirror=True)),
    "canary in place": evolve(_POLICY, ladder=Ladder(steps=(20,), in_place=True)),
    "canary in tenths": evolve(_POLICY, ladder=Ladder(steps=(5, 600), tenths=True)),
    "canary with affinity": evolve(_POLICY, affinity=Affinity(cookie_name="canary")),
    "a/b": evolve(_POLICY, ladder=Ladder(strategy=Strategy.AB, iterations=2), match=_HEADER),
    "a/b that bakes": evolve(_POLICY, ladder=Ladder(strategy=Strategy.AB, iterations=1, bake=15.0), match=_HEADER),
    "blue/green": evolve(_POLICY, ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2)),
    "blue/green with a mirror": evolve(_POLICY, ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, mirror=True)),
    "blue/green without routes": evolve(
        _POLICY, ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, routed=False)
    ),
}
"""A short policy of each strategy: two rungs above the initial one, a rollback by two failed checks, 20 s for pods."""

Situation = Callable[[str, Rollout], Trial]
"""A function that makes a trial of a strategy's name and its policy."""

SITUATIONS: dict[str, Situation] = {
    "plain": lambda name, rollout: Trial(strategy=name, rollout=rollout),
    "autoscaled": lambda name, rollout: Trial(
        strategy=name, situation="autoscaled", rollout=evolve(rollout, autoscaled=True), scaler=Scaler(minimum=2)
    ),
    "revertOnDeletion": lambda name, rollout: Trial(
        strategy=name, situation="revertOnDeletion", rollout=evolve(rollout, revert_on_deletion=True)
    ),
    "without replicas": lambda name, rollout: Trial(
        strategy=name, situation="without replicas", rollout=rollout, has_replicas=False
    ),
    "skipAnalysis": lambda name, rollout: Trial(
        strategy=name, situation="skipAnalysis", rollout=evolve(rollout, skip_analysis=True)
    ),
    "replaceDownPrimary": lambda name, rollout: Trial(
        strategy=name, situation="replaceDownPrimary", rollout=evolve(rollout, replace_down_primary=True)
    ),
    "gates": lambda name, rollout: Trial(
        strategy=name, situation="gates", rollout=evolve(rollout, hooks=tuple(map(_hook, _GATES)))
    ),
    "hooks": lambda name, rollout: Trial(
        strategy=name, situation="hooks", rollout=evolve(rollout, hooks=tuple(map(_hook, _CALLS)))
    ),
}


def trials() -> list[Trial]:
    """Return the trials of every strategy in every situation; sizes of a canary exclude an autoscaler."""
    return [
        make(name, rollout)
        for name, rollout in STRATEGIES.items()
        for situation, make in SITUATIONS.items()
        if not (rollout.ladder.sizes and situation == "autoscaled")
    ]


LONGEST_WAIT = 2
"""Most intervals of a trial's progress deadline."""

MOST_FAILED = 2
"""Most failed or held analyses before a rollback in a trial."""

MOST_ITERATIONS = 100
"""Most iterations of a trial's ladder: further ones repeat the same states."""


def trial(rollout: Rollout) -> Trial:
    """Return the trial of any policy, with shorter waits and counts where longer ones would repeat the same states."""
    longest = LONGEST_WAIT * rollout.interval
    shorter: dict[str, float] = {
        "progress_deadline": min(rollout.progress_deadline, longest),
        "threshold": min(rollout.threshold, MOST_FAILED),
        "inconclusive_limit": min(rollout.inconclusive_limit, MOST_FAILED),
    }
    reduced = tuple(
        f"{name.replace('_', ' ')} {value:g} instead of {getattr(rollout, name):g}"
        for name, value in shorter.items()
        if value != getattr(rollout, name)
    )
    ladder = rollout.ladder
    if ladder.longest_hold > longest:
        reduced += (f"holds of at most {longest:g} instead of {ladder.longest_hold:g}",)
        steps = tuple(_shorten(step, longest) for step in ladder.steps)
        ladder = evolve(ladder, steps=steps, bake=min(ladder.bake, longest))
    if ladder.iterations > MOST_ITERATIONS:
        reduced += (f"iterations {MOST_ITERATIONS} instead of {ladder.iterations}",)
        ladder = evolve(ladder, iterations=MOST_ITERATIONS)
    policy = rollout.gradual_return and _shorten_return(rollout, rollout.gradual_return, longest)
    if policy != rollout.gradual_return and policy is not None:
        reduced += (f"a return of at most {policy.deadline:g} instead of {rollout.longest_return:g}",)
    shortened = evolve(rollout, ladder=ladder, gradual_return=policy, **shorter)  # type: ignore[arg-type]
    return trial_as_written(shortened, reduced)


def trial_as_written(rollout: Rollout, reduced: tuple[str, ...] = ()) -> Trial:
    """Return the trial of any policy with its own waits and counts, as a promise about times needs it."""
    return Trial(
        strategy=rollout.full_name,
        situation="as written",
        rollout=rollout,
        scaler=Scaler(minimum=2) if rollout.autoscaled else None,
        reduced=reduced,
    )


def _shorten_return(rollout: Rollout, policy: GradualReturn, longest: float) -> GradualReturn:
    """Return the policy with shorter waits, and a deadline that leaves the time for its steps."""
    interval = min(policy.interval, longest)
    needed = -(-rollout.ladder.total // policy.step) * interval + longest
    return policy if needed >= rollout.longest_return else evolve(policy, interval=interval, deadline=needed)


def _shorten(step: int | Step, longest: float) -> int | Step:
    return evolve(step, hold=min(step.hold, longest)) if isinstance(step, Step) else step
