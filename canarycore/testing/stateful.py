"""The life of a rollout as a Hypothesis state machine: whatever others do, whatever goes wrong, in any order.

    from canarycore.testing.stateful import RolloutMachine

    class Mine(RolloutMachine):
        policies = {"mine": MY_POLICY}       # default: every strategy in every situation that `verify` knows
        driver = staticmethod(my_loop)       # default: canarycore.cycle

    TestMine = Mine.TestCase                 # pytest and unittest run it

Each rule is something that happens. The driver runs while time passes, and when it ticks. What must hold after every
write (`canarycore.simulation.invariants`) is checked there, not only after every rule. In the end faults are over, and
pods, providers and gates are well: then the rollout must come to rest within bounded cycles, with everything told and
no revision lost (I8, I10, I14), and whatever happened before, the next revision must be promoted (I7).

A failure is printed twice: as the shortest series of rules that Hypothesis has found, and as a program for a
`SimulatedCluster`. How many series are tried, and how long they are, is Hypothesis's matter: `Mine.TestCase.settings =
settings(...)`. Needs `pip install canarycore[testing]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from attrs import evolve

from canarycore._observation import CommandKind, Routes
from canarycore._spec import HookType, Rollout
from canarycore.driver import cycle
from canarycore.phases import PROMOTED, Phase
from canarycore.simulation.actions import (
    Action,
    AnswerHook,
    Configure,
    Delete,
    Deploy,
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

# Hypothesis comes last: where it is missing, our own strategies have said what to install
# isort: split
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

FIRST, LAST = REVISIONS[0], "the last"
"""The revision that a series begins with, and the one that must be promoted in the end."""

MOST_CYCLES = 1000
"""In which a rollout that nothing disturbs any more must come to rest."""

EDITS: dict[str, Callable[[Rollout], Rollout]] = {
    "other steps": lambda rollout: evolve(rollout, ladder=other_steps(rollout.ladder)),
    "promotion by steps": lambda rollout: evolve(rollout, ladder=evolve(rollout.ladder, step_back=40)),
    "a lower threshold": lambda rollout: evolve(rollout, threshold=1),
    "no analysis": lambda rollout: evolve(rollout, skip_analysis=True),
    "suspended": lambda rollout: evolve(rollout, suspend=True),
    "not suspended": lambda rollout: evolve(rollout, suspend=False),
    "given back on deletion": lambda rollout: evolve(rollout, revert_on_deletion=True),
}

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
    """See the module. `policies` by name, so that a failure tells which; `driver` is the loop under test."""

    policies: ClassVar[Mapping[str, Rollout]] = _POLICIES
    driver: ClassVar[Driver] = staticmethod(cycle)

    cluster: SimulatedCluster

    def platform(self) -> Platform:
        """What shows the world and carries effects out; a subclass may put a part of its own there."""
        return Platform()

    @initialize(policy=_NAMES, idle=st.booleans())
    def start(self, policy: str, idle: bool) -> None:
        """A first revision is there; `idle`: and promoted."""
        rollout = self.policies[policy]
        state = State(rollout=rollout, scaler=Scaler(minimum=2) if rollout.autoscaled else None)
        self.cluster = SimulatedCluster(rollout, state=state, driver=type(self).driver, platform=self.platform())
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

    # others who write -------------------------------------------------------------------------------------------

    @rule(replicas=st.integers(0, 3))
    def scale_target(self, replicas: int) -> None:
        self.cluster.do(ScaleTarget(replicas))

    @rule(replicas=st.integers(0, 3))
    def scale_primary(self, replicas: int) -> None:
        self.cluster.do(ScalePrimary(replicas))

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
        """A cycle runs, whether or not one is due."""
        self.cluster.step()

    @rule(seconds=_SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.cluster.run(until=seconds)

    @rule(seconds=_SECONDS)
    def nobody_looks(self, seconds: float) -> None:
        """Events are missed, and no timer fires."""
        self.cluster.sleep(seconds)

    @rule(seconds=st.sampled_from([-20.0, 20.0]))
    def clock_jumps(self, seconds: float) -> None:
        self.cluster.do(SetClock(seconds))

    @rule()
    def restart(self) -> None:
        self.cluster.restart()

    @rule(writes=_FEW, done=st.booleans())
    def crash(self, writes: int, done: bool) -> None:
        """The process dies after so many writes, or (not `done`) before the one that follows them."""
        self.cluster.fault(FaultKind.CRASH_AFTER if done else FaultKind.CRASH_BEFORE, writes)

    @rule(times=_TIMES)
    def conflict(self, times: int) -> None:
        """The next writes, where they are commits, meet conflicts."""
        self.cluster.fault(FaultKind.CONFLICT, 0, times)

    @rule(writes=_FEW, done=st.booleans(), times=_TIMES)
    def timeout(self, writes: int, done: bool, times: int) -> None:
        """Writes time out, whether or not they were carried out."""
        self.cluster.fault(FaultKind.APPLIED if done else FaultKind.LOST, writes, times)

    @rule(writes=_FEW)
    def rival(self, writes: int) -> None:
        """Another process runs a whole cycle in between."""
        self.cluster.fault(FaultKind.RIVAL, writes)

    @rule(status=st.booleans(), times=_TIMES)
    def stale(self, status: bool, times: int) -> None:
        """The next observations show the status, or the workloads and routes, as they were before."""
        self.cluster.fault(FaultKind.STALE_STATUS if status else FaultKind.STALE_OBSERVATION, 0, times)

    # the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """All is well again: it comes to rest, and the next revision is promoted."""
        if sys.exception() is None:  # or it would hide what a rule has found
            self.cluster.calm().do(*_all_is_well(self.cluster.state)).run(max_cycles=MOST_CYCLES)
            self._demand(check_at_rest(self.cluster.state, self.cluster.history))
            again = [Recreate()] if self.cluster.state.deleted else []
            self.cluster.do(*again, SendCommand(CommandKind.RESUME), Deploy(LAST)).run(max_cycles=MOST_CYCLES)
            self._demand(check_at_rest(self.cluster.state, self.cluster.history) or _not_promoted(self.cluster.state))

    def _demand(self, wrong: str | None) -> None:
        assert wrong is None, f"{wrong}\n\nThe last cycle: {self.cluster.history[-1]}\n\n{self.cluster.program()}"


def _all_is_well(state: State) -> Iterator[Action]:
    """What has to be put right for a rollout to come to its end."""
    rollout = state.rollout
    yield from (SetPace(key, AT_ONCE) for key, _ in state.paces)
    yield from (AnswerHook(hook.name, (hook.type is not HookType.ROLLBACK,)) for hook in rollout.hooks)
    yield from (SetMetrics(ByRevision()), SetSources(""), Edit(evolve(rollout, suspend=False)))
    if state.target is None:
        yield Deploy(state.status.applied or FIRST)
    if state.primary is not None and not state.primary.desired:
        yield ScalePrimary(1)


def _not_promoted(state: State) -> str | None:
    """What is wrong with the end of a revision that nothing was wrong with, or None."""
    status, view = state.status, observe(state)
    if status.phase not in PROMOTED or (status.applied, status.promoted) != (LAST, LAST):
        return f"I7: it ends as {status.phase.value} of {status.applied}, promoted is {status.promoted}"
    if view.primary is None or view.primary.revision != LAST or not view.primary.ready:
        return f"I7: the primary ends as {view.primary}"
    return None if view.routes is not None and not view.routes.is_exposed else f"I7: routes end as {view.routes}"
