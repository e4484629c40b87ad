"""The life of a rollout as a Hypothesis state machine: actions of others and faults in any order.

    from canarycore.testing.stateful import RolloutMachine

    class Mine(RolloutMachine):
        policies = {"mine": MY_POLICY}       # default: every strategy in every situation of `verify`
        driver = staticmethod(my_loop)       # default: canarycore.cycle
        promises = (AT_MOST_200,)            # default: none; `canarycore.simulation.Promise`
        scenario = Scenario(...)             # default: none, so that no request fails
        without = ("command", "edit")        # default: no rule is left out

    TestMine = Mine.TestCase                 # pytest and unittest run it

Each rule is one event. The driver runs while time passes, and at each tick. The cluster checks the invariants
(`canarycore.simulation.invariants`) after every write. At the end of a series the faults are over, and pods, providers
and gates are healthy. Then the rollout must come to rest within a bounded number of cycles, with all notices published
and no revision lost (I8, I10, I14). After that the next revision must be promoted (I7). The end checks no promise.

A failure prints the shortest series of rules that Hypothesis found, and a program for a `SimulatedCluster`. To set the
number and length of the series, assign `Mine.TestCase.settings = settings(...)`. Needs `pip install
canarycore[testing]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve

from canarycore._ladder import Ladder, Step
from canarycore._observation import CommandKind, Routes
from canarycore._spec import HookType, Rollout
from canarycore.driver import cycle
from canarycore.phases import PROMOTED, Phase
from canarycore.simulation.actions import (
    Action,
    AnswerHook,
    AttachPods,
    Configure,
    Delete,
    Deploy,
    DetachPods,
    Edit,
    Recreate,
    RemoveTarget,
    ReplaceTarget,
    RouteByHand,
    ScalePrimary,
    ScaleTarget,
    SendCommand,
    SetClock,
    SetMetrics,
    SetPace,
    SetScaler,
    SetSources,
)
from canarycore.simulation.cluster import SimulatedCluster
from canarycore.simulation.driver import Driver, Platform
from canarycore.simulation.invariants import check_at_rest
from canarycore.simulation.metrics import ByRevision
from canarycore.simulation.state import (
    AT_ONCE,
    FaultKind,
    Scaler,
    State,
    observe,
)
from canarycore.testing.strategies import ANSWERS, METRICS, MOST_IN_A_ROW, PACES, REVISIONS
from canarycore.verification import trials
from canarycore.verification._situations import other_steps

# import Hypothesis last: where it is missing, the import of our strategies raises the error that names the extra
# isort: split
from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, RuleBasedStateMachine, initialize, rule

if TYPE_CHECKING:
    from canarycore.policy import Scenario
    from canarycore.simulation.promises import Promise

FIRST, LAST = REVISIONS[0], "the last"
"""The first revision of a series, and the one that must be promoted at its end."""

MOST_CYCLES = 1000
"""Most cycles in which an undisturbed rollout must come to rest."""


def _step_back(ladder: Ladder) -> Ladder:
    """Return the ladder with a promotion by steps; one in place has no way back."""
    return ladder if ladder.in_place else evolve(ladder, step_back=40)


EDITS: dict[str, Callable[[Rollout], Rollout]] = {
    "other steps": lambda rollout: evolve(rollout, ladder=other_steps(rollout.ladder)),
    "promotion by steps": lambda rollout: evolve(rollout, ladder=_step_back(rollout.ladder)),
    "a lower threshold": lambda rollout: evolve(rollout, threshold=1),
    "no analysis": lambda rollout: evolve(rollout, skip_analysis=True),
    "suspended": lambda rollout: evolve(rollout, suspend=True),
    "not suspended": lambda rollout: evolve(rollout, suspend=False),
    "reverted on deletion": lambda rollout: evolve(rollout, revert_on_deletion=True),
}
"""Edits of a rollout by its owner, by name."""

SCALERS: dict[str, Scaler | None] = {"there": Scaler(minimum=2), "paused": Scaler(minimum=2, paused=True), "gone": None}
ROUTES: dict[str, Routes | None] = {
    "gone": None,
    "primary only": Routes(),
    "half": Routes(weight=50),
    "canary only": Routes(weight=100),
}

_POLICIES = {f"{trial.strategy}, {trial.situation}": trial.rollout for trial in trials()}
_NAMES = st.runner().flatmap(lambda machine: st.sampled_from(sorted(machine.policies)))
_FEW = st.integers(0, 3)
_TIMES = st.just(1) | st.integers(1, MOST_IN_A_ROW)
_SECONDS = st.sampled_from([1.0, 5.0, 10.0, 25.0, 100.0])


class RolloutMachine(RuleBasedStateMachine):
    """A state machine of one rollout; see the module for its rules and its end."""

    policies: ClassVar[Mapping[str, Rollout]] = _POLICIES
    """Policies to draw from, by name; a failure shows the name."""
    driver: ClassVar[Driver] = staticmethod(cycle)
    """The loop under test."""
    promises: ClassVar[tuple[Promise, ...]] = ()
    """Invariants of your own."""
    scenario: ClassVar[Scenario | None] = None
    """The behaviour of versions that the promises see. The rule `metrics` replaces its answers, so leave it out."""
    without: ClassVar[tuple[str, ...]] = ()
    """Names of rules to leave out."""

    cluster: SimulatedCluster
    """The cluster of the present series."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        rules = [name for name, value in vars(RolloutMachine).items() if hasattr(value, RULE_MARKER)]
        for name in cls.without:
            if name not in rules:
                raise ValueError(f"{cls.__name__}.without: found {name!r}, expected some of {', '.join(rules)}")
            setattr(cls, name, None)

    def platform(self) -> Platform:
        """Return the part that shows the state and carries out effects; a subclass may return its own."""
        return Platform()

    @initialize(policy=_NAMES, idle=st.booleans())
    def start(self, policy: str, idle: bool) -> None:
        """Deploy a first revision; if `idle`, wait until it is promoted."""
        rollout = self.policies[policy]
        state = State(rollout=rollout, scaler=Scaler(minimum=2) if rollout.autoscaled else None)
        self.cluster = SimulatedCluster(
            rollout,
            state=state,
            driver=type(self).driver,
            platform=self.platform(),
            scenario=self.scenario,
            promises=self.promises,
        )
        self.cluster.do(Deploy(FIRST))
        if idle:
            self.cluster.run(until=Phase.INITIALIZED).run(max_cycles=MOST_CYCLES)

    # the owner and operators ------------------------------------------------------------------------------------

    @rule(revision=st.sampled_from(REVISIONS))
    def deploy(self, revision: str) -> None:
        self.cluster.do(Deploy(revision))

    @rule(revision=st.sampled_from(REVISIONS))
    def configure(self, revision: str) -> None:
        self.cluster.do(Configure(revision))

    @rule(kind=st.sampled_from(CommandKind), weight=st.sampled_from([1, 50, 100]))
    def command(self, kind: CommandKind, weight: int) -> None:
        self.cluster.do(SendCommand(kind, weight))

    @rule(to=st.sampled_from(sorted(EDITS)))
    def edit(self, to: str) -> None:
        self.cluster.do(Edit(EDITS[to](self.cluster.state.rollout)))

    @rule()
    def delete(self) -> None:
        self.cluster.do(Delete())

    @rule()
    def recreate(self) -> None:
        self.cluster.do(Recreate())

    # other writers ----------------------------------------------------------------------------------------------

    @rule(replicas=st.integers(0, 3))
    def scale_target(self, replicas: int) -> None:
        self.cluster.do(ScaleTarget(replicas))

    @rule(replicas=st.integers(0, 3))
    def scale_primary(self, replicas: int) -> None:
        self.cluster.do(ScalePrimary(replicas))

    @rule(side=st.sampled_from(["primary", "target"]), is_reached=st.booleans())
    def endpoints(self, side: str, is_reached: bool) -> None:
        self.cluster.do(AttachPods(side) if is_reached else DetachPods(side))

    @rule(scaler=st.sampled_from(sorted(SCALERS)))
    def autoscaler(self, scaler: str) -> None:
        self.cluster.do(SetScaler(SCALERS[scaler]))

    @rule(routes=st.sampled_from(sorted(ROUTES)))
    def route_by_hand(self, routes: str) -> None:
        self.cluster.do(RouteByHand(ROUTES[routes]))

    @rule(again=st.booleans())
    def remove_target(self, again: bool) -> None:
        self.cluster.do(ReplaceTarget() if again else RemoveTarget())

    # pods and providers -----------------------------------------------------------------------------------------

    @rule(of=st.sampled_from(["primary", "target", *REVISIONS]), ready=st.sampled_from(sorted(PACES)))
    def pods(self, of: str, ready: str) -> None:
        self.cluster.do(SetPace(of, PACES[ready]))

    @rule(are=st.sampled_from(sorted(METRICS)))
    def metrics(self, are: str) -> None:
        self.cluster.do(SetMetrics(METRICS[are]))

    @rule(error=st.sampled_from(["", "offline"]))
    def sources(self, error: str) -> None:
        self.cluster.do(SetSources(error))

    @rule(kind=st.sampled_from(HookType), answers=st.sampled_from(ANSWERS))
    def hooks(self, kind: HookType, answers: tuple[bool | str, ...]) -> None:
        self.cluster.do(*[AnswerHook(hook.name, answers) for hook in self.cluster.state.rollout.hooks_by_type[kind]])

    # the driver, time and faults --------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        """Run a cycle, whether or not one is due."""
        self.cluster.step()

    @rule(seconds=_SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.cluster.run(until=seconds)

    @rule(seconds=_SECONDS)
    def sleep(self, seconds: float) -> None:
        """Let time pass without events and timers."""
        self.cluster.sleep(seconds)

    @rule(seconds=st.sampled_from([-20.0, 20.0]))
    def clock_jumps(self, seconds: float) -> None:
        self.cluster.do(SetClock(seconds))

    @rule()
    def restart(self) -> None:
        self.cluster.restart()

    @rule(writes=_FEW, done=st.booleans())
    def crash(self, writes: int, done: bool) -> None:
        """Crash the process after so many writes, or (if not `done`) before the next one."""
        self.cluster.fault(FaultKind.CRASH_AFTER if done else FaultKind.CRASH_BEFORE, writes)

    @rule(times=_TIMES)
    def conflict(self, times: int) -> None:
        """Let the commits among the next writes conflict."""
        self.cluster.fault(FaultKind.CONFLICT, 0, times)

    @rule(writes=_FEW, done=st.booleans(), times=_TIMES)
    def timeout(self, writes: int, done: bool, times: int) -> None:
        """Let writes time out after so many others; `done`: after they were carried out."""
        self.cluster.fault(FaultKind.APPLIED if done else FaultKind.LOST, writes, times)

    @rule(writes=_FEW)
    def rival(self, writes: int) -> None:
        """Run a whole cycle of another process before a write."""
        self.cluster.fault(FaultKind.RIVAL, writes)

    @rule(status=st.booleans(), times=_TIMES)
    def stale(self, status: bool, times: int) -> None:
        """Let the next observations show the previous status, or the previous workloads and routes."""
        self.cluster.fault(FaultKind.STALE_STATUS if status else FaultKind.STALE_OBSERVATION, 0, times)

    # the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """End all faults, and check that the rollout comes to rest and the next revision is promoted."""
        if sys.exception() is None:  # a failure here would hide the failure of a rule
            self.cluster.promises = ()
            self.cluster.calm().do(*_repairs(self.cluster.state)).run(max_cycles=MOST_CYCLES)
            self._demand(check_at_rest(self.cluster.state, self.cluster.history))
            again = [Recreate()] if self.cluster.state.deleted else []
            self.cluster.do(*again, SendCommand(CommandKind.RESUME), Deploy(LAST)).run(max_cycles=MOST_CYCLES)
            self._demand(check_at_rest(self.cluster.state, self.cluster.history) or _not_promoted(self.cluster.state))

    def _demand(self, wrong: str | None) -> None:
        assert wrong is None, f"{wrong}\n\nThe last cycle: {self.cluster.history[-1]}\n\n{self.cluster.program()}"


def _repairs(state: State) -> Iterator[Action]:
    """Return the actions that let a rollout come to its end."""
    rollout = state.rollout
    yield from (SetPace(key, AT_ONCE) for key, _ in state.paces)
    yield from (AnswerHook(hook.name, (hook.type is not HookType.ROLLBACK,)) for hook in rollout.hooks)
    approved = evolve(rollout.ladder, steps=tuple(map(_approve, rollout.ladder.steps)))
    yield from (SetMetrics(ByRevision()), SetSources(""), Edit(evolve(rollout, suspend=False, ladder=approved)))
    if state.target is None:
        yield Deploy(state.status.applied or FIRST)
    if state.primary is not None and not state.primary.desired:
        yield ScalePrimary(1)
    yield from (AttachPods("target"), AttachPods("primary"))


def _approve(step: int | Step) -> int | Step:
    """Return the step without the need of an approval."""
    return evolve(step, approval=False) if isinstance(step, Step) else step


def _not_promoted(state: State) -> str | None:
    """Return why a healthy revision is not promoted, or None where it is."""
    status, view = state.status, observe(state)
    if status.phase not in PROMOTED or (status.applied, status.promoted) != (LAST, LAST):
        return f"I7: it ends as {status.phase.value} of {status.applied}, promoted is {status.promoted}"
    if view.primary is None or view.primary.revision != LAST or not view.primary.ready:
        return f"I7: the primary ends as {view.primary}"
    return None if view.routes is not None and not view.routes.is_exposed else f"I7: routes end as {view.routes}"
