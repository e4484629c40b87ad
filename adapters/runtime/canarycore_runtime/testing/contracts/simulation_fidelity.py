"""What the simulated world promises: that it is like a real one.

Rollouts are verified and simulated in the world of `canarycore.simulation`, so what comes out is worth what that world
is worth. Here a **script**, plain data, is carried out twice: on real adapters (a platform, a data plane, a store) and
on the simulated `State`. After each step both must show the same: pods and their revisions, routes in force, who
answers users' requests, the status, what was refused, and what is left of a step whose process was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import sqrt
from typing import TYPE_CHECKING, Protocol

import pytest
from attrs import define, evolve, field, fields, frozen

from canarycore import Phase, Routes, Rung, Status
from canarycore.driver import Commit
from canarycore.effects import (
    Effect,
    Initialise,
    PauseScaler,
    Promote,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Conflict, Refused, WorldError
from canarycore.simulation import (
    NEVER,
    Action,
    Delete,
    Deploy,
    Edit,
    RemoveTarget,
    ReplaceTarget,
    RouteByHand,
    ScalePrimary,
    Scaler,
    ScaleTarget,
    SetScaler,
    State,
    act,
    apply,
    observe,
)
from canarycore.traffic import Match, StringMatch
from canarycore_runtime._driver import EFFECTS
from canarycore_runtime.observation import observe_rollout
from canarycore_runtime.testing.clusters import key_of
from canarycore_runtime.testing.contracts._samples import rollout

if TYPE_CHECKING:
    from canarycore import Observation, Rollout, Workload
    from canarycore_runtime.ports import Adapters, StoredRollout

# ------------------------------------------------------------------------------------------------- what scripts are of


@frozen
class StaleCommit:
    """The status is committed under the version that was read before the step before this one."""

    status: Status


@frozen
class ProcessKilled:
    """A process is killed while it does this, or (`returned`) just after; another one takes over.

    The first may leave it done, or not begun, and nothing in between.
    """

    doing: Effect | Commit
    returned: bool


@frozen
class Serve:
    """So many requests of users arrive; `matched`: all meet the rollout's conditions."""

    requests: int = 200
    matched: bool = False


Step = Action | Effect | Commit | StaleCommit | ProcessKilled | Serve

INSIDERS = (Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),)
ROLLOUT = evolve(rollout(), match=INSIDERS, mirror_weight=50)
"""What every script is about."""

ONE, TWO, BROKEN = "one", "two", "broken"
"""Revisions. Pods of the last one never get ready."""

CLIMBING = Status(phase=Phase.PROGRESSING, since=1.5, rung=Rung(weight=20), applied=TWO, promoted=ONE)

_FIRST: tuple[Step, ...] = (Deploy(ONE), Initialise(ONE), SetRoutes(Routes()), ScaleDown())
_CANARY: tuple[Step, ...] = (*_FIRST, Deploy(TWO), ScaleUp())

SCRIPTS: dict[str, tuple[Step, ...]] = {
    "a first start": (Deploy(ONE), Initialise(ONE), SetRoutes(Routes()), Serve(), ScaleDown(), Serve()),
    "a climb and a promotion": (
        *(*_CANARY, SetRoutes(Routes(weight=20)), Serve(), SetRoutes(Routes(weight=60)), Serve()),
        *(Promote(TWO), Serve(), SetRoutes(Routes()), Serve(), ScaleDown(), Serve()),
    ),
    "routes of every kind": (
        *(*_CANARY, SetRoutes(Routes(weight=100)), Serve(), SetRoutes(Routes(mirrored=True)), Serve()),
        *(SetRoutes(Routes(matched=True)), Serve(matched=True), Serve(), SetRoutes(Routes()), Serve(matched=True)),
    ),
    "everything twice": (
        *(Deploy(ONE), Deploy(ONE), Initialise(ONE), Initialise(ONE), ScaleDown(), ScaleDown(), Deploy(TWO)),
        *(Initialise(TWO), ScaleUp(), ScaleUp(), SetRoutes(Routes(weight=20)), SetRoutes(Routes(weight=20))),
        *(Promote(TWO), Promote(TWO), RestorePrimary(ONE), RestorePrimary(ONE), Restore(), Restore()),
    ),
    "what is refused": (
        *(Deploy(ONE), Initialise(TWO), Initialise(ONE), Promote(TWO), Deploy(TWO), Initialise(ONE), Promote(ONE)),
        *(RestorePrimary(TWO), Promote(TWO), RestorePrimary(BROKEN), Deploy(ONE), Promote(TWO)),
    ),
    "a revision that never gets ready": (
        *(*_FIRST, Deploy(BROKEN), ScaleUp(), Serve(), Promote(BROKEN), Serve(), RestorePrimary(ONE), Serve()),
        *(Deploy(TWO), ScaleDown(), Deploy(BROKEN), ScaleUp()),
    ),
    "another revision while it is down": (*_CANARY, ScaleDown(), Deploy(BROKEN), Deploy(ONE), ScaleUp(), Serve()),
    "commits": (
        *(Commit(CLIMBING), StaleCommit(CLIMBING.but(failed_checks=1)), Commit(CLIMBING.but(failed_checks=2))),
        *(Edit(evolve(ROLLOUT, threshold=7)), StaleCommit(CLIMBING), Commit(CLIMBING), Delete(), StaleCommit(Status())),
    ),
    "with an autoscaler": (
        *(Deploy(ONE), SetScaler(Scaler()), Initialise(ONE), PauseScaler(), PauseScaler(), ScaleDown()),
        *(ResumeScaler(), ResumeScaler(), ScaleUp(), SetScaler(None), PauseScaler()),
    ),
    "others write": (
        *(*_CANARY, ScaleTarget(0), ScaleTarget(3), ScaleDown(), ScaleUp(), ScalePrimary(0), ScalePrimary(2)),
        *(RouteByHand(Routes(weight=50)), SetRoutes(Routes(weight=20)), RouteByHand(None), SetRoutes(Routes())),
        *(ReplaceTarget(), RemoveTarget(), Promote(TWO), Deploy(TWO), Promote(TWO)),
    ),
    "killed in the middle": (
        *(*_CANARY, ProcessKilled(SetRoutes(Routes(weight=40)), returned=False), SetRoutes(Routes(weight=40)), Serve()),
        *(ProcessKilled(Promote(TWO), returned=False), Promote(TWO), Serve()),
        *(ProcessKilled(Commit(CLIMBING), returned=False), Commit(CLIMBING)),
    ),
    "killed right after": (
        *(
            *_CANARY,
            ProcessKilled(SetRoutes(Routes(weight=40)), returned=True),
            Serve(),
            ProcessKilled(Promote(TWO), returned=True),
        ),
        *(Serve(), ProcessKilled(Commit(CLIMBING), returned=True), ProcessKilled(ScaleDown(), returned=True)),
    ),
}

_KEY = key_of(ROLLOUT)

_LATER = 3
"""How often the platform looks again after the last step, before the worlds are compared for good."""

# ------------------------------------------------------------------------------------------------ the one that is real


@frozen(kw_only=True)
class ServedRequests:
    """How many requests each side answered well, and how many copies of requests the canary got besides."""

    primary: int
    canary: int
    copies: int


class RealWorld(Protocol):
    """A platform, a data plane and a store, with `ROLLOUT` put into the store and nothing deployed.

    parts: the adapters of the process that is at work now. replicas: of the target, as its owner has them. revisions:
    the platform's own name for each revision of the scripts, once it was deployed. cannot: scripts that it cannot play,
    and why. patience: seconds in which it must come to show what the simulated world shows at once.
    """

    parts: Adapters
    replicas: int
    revisions: Mapping[str, str]
    cannot: Mapping[str, str]
    patience: float

    async def act(self, action: Action) -> None:
        """Others do this. Revisions are called as in the scripts."""

    async def kill(self, doing: Effect | Commit, *, returned: bool) -> None:
        """A process of its own does this and is killed meanwhile, or when it is done; `parts` are then a successor's.

        Revisions in `doing` are called as the platform does.
        """

    async def serve(self, requests: int, *, matched: bool) -> ServedRequests | None:
        """Send requests, `matched` with the header x-canary: insider; None where nobody can."""

    async def settle(self) -> None:
        """Wait for a moment, in which the platform looks at what was asked for."""


async def carry_out(parts: Adapters, doing: Effect | Commit, rollout: Rollout = ROLLOUT) -> None:
    """What a process does, as `RealWorld.kill` wants it: an effect, or a commit under the version that is there."""
    if isinstance(doing, Commit):
        await parts.store.commit(_KEY, doing.status, (await _stored(parts)).version)
    else:
        for port, *given in EFFECTS[type(doing)](parts, doing):
            await port(rollout, *given)


async def _stored(parts: Adapters) -> StoredRollout:
    stored = await parts.store.load(_KEY)
    assert stored is not None, f"{_KEY} was put into the store and is not there"
    return stored


# -------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.asyncio
class SimulationFidelityContract:
    """Derive from it and provide the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> RealWorld:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("name", SCRIPTS)
    async def test_the_simulated_world_shows_what_this_one_shows(self, bench: RealWorld, name: str) -> None:
        if name in bench.cannot:
            pytest.skip(bench.cannot[name])
        state = State(rollout=ROLLOUT, replicas=bench.replicas, paces=((BROKEN, NEVER),))
        await FidelityRun(bench, [state]).play(SCRIPTS[name])


@define
class FidelityRun:
    """The two worlds side by side. `states`: of the simulated one, after each step; `versions`: of the real store."""

    bench: RealWorld
    states: list[State]
    versions: list[str] = field(factory=list)

    async def play(self, script: tuple[Step, ...]) -> None:
        """Carry out the script, step by step. Raises AssertionError where the worlds show different things."""
        self.versions.append((await _stored(self.bench.parts)).version)
        for number, step in enumerate(script):
            await self._take(step, f"step {number}, {step}")
        for _ in range(_LATER):
            await self.bench.settle()
        await self._agree(self.states[-1:], "a moment after the last step")

    async def _take(self, step: Step, where: str) -> None:
        outcomes = _simulated(self.states, step)
        answer = await self._answer(step)
        simulated = outcomes[0].answer
        assert answer == simulated, f"{where}: real {answer or 'done'}, simulated {simulated or 'done'}"
        self.states.append(await self._agree([outcome.state for outcome in outcomes], where))
        self.versions.append((await _stored(self.bench.parts)).version)

    async def _agree(self, states: list[State], where: str) -> State:
        """The one of these that the real world comes to show; it may take its time."""
        expected = {_shown_by(state): state for state in states}
        found: ClusterView | WorldError | None = None
        try:
            async with asyncio.timeout(self.bench.patience):
                while not (agreeing := [expected[one] for one in expected if not _difference(found, one)]):
                    await self.bench.settle()
                    found = await self._look()
        except TimeoutError:
            told = "; or ".join(_difference(found, simulated) for simulated in expected)
            raise AssertionError(f"{where}: {told}") from None
        return agreeing[0]

    # the real one -------------------------------------------------------------------------------------------------

    async def _answer(self, step: Step) -> str:
        """What the real world says to a step: nothing, or the name of an error."""
        try:
            await self._carry_out(step)
        except WorldError as error:
            return type(error).__name__
        return ""

    async def _carry_out(self, step: Step) -> None:
        bench, rollout = self.bench, self.states[-1].rollout
        if isinstance(step, StaleCommit):
            await bench.parts.store.commit(_KEY, step.status, self.versions[-2])
        elif isinstance(step, ProcessKilled):
            await bench.kill(self._there(step.doing), returned=step.returned)
        elif isinstance(step, Serve):
            _compare(self.states[-1], step, await bench.serve(step.requests, matched=step.matched))
        elif isinstance(step, Effect | Commit):
            await carry_out(bench.parts, self._there(step), rollout)
        else:
            await bench.act(step)

    def _there(self, doing: Effect | Commit) -> Effect | Commit:
        """With the platform's name of a revision; one that it does not know keeps the script's."""
        if isinstance(doing, Initialise | Promote | RestorePrimary):
            return evolve(doing, revision=self.bench.revisions.get(doing.revision, doing.revision))
        return doing

    async def _look(self) -> ClusterView | WorldError:
        parts = self.bench.parts
        here = {there: here for here, there in self.bench.revisions.items()}
        try:
            stored = await _stored(parts)
            observation = await observe_rollout(parts, stored, now=0.0)
        except WorldError as error:
            return error
        return _shown(stored, observation, lambda revision: here.get(revision, revision))


# --------------------------------------------------------------------------------------------------- the simulated one


@frozen
class StepOutcome:
    """What may come of a step. `answer`: the name of an error, or nothing."""

    state: State
    answer: str = ""


def _simulated(states: list[State], step: Step) -> list[StepOutcome]:
    """All that may come of a step: two things where a process is killed in the middle of it."""
    state = states[-1]
    if isinstance(step, Serve):
        return [StepOutcome(state)]
    if isinstance(step, ProcessKilled):
        done = _simulated(states, step.doing)
        return done if step.returned else [*done, StepOutcome(state)]
    if isinstance(step, StaleCommit) and states[-2].version != state.version:
        return [StepOutcome(state, Conflict.__name__)]
    if isinstance(step, Commit | StaleCommit):
        return [StepOutcome(state.but(status=step.status, version=state.version + 1))]
    if not isinstance(step, Effect):
        return [StepOutcome(act(state, step))]
    try:
        return [StepOutcome(apply(state, step))]
    except Refused:
        return [StepOutcome(state, Refused.__name__)]


# -------------------------------------------------------------------------------------------------------- what is shown


@frozen
class WorkloadView:
    """The target or the primary. `lacking`: too few of its pods are available."""

    revision: str
    desired: int
    updated: int
    ready: int
    total: int
    lacking: bool


@frozen(kw_only=True)
class ClusterView:
    """What both worlds must agree on. `kept`: what the primary can be taken back to. `threshold`: the owner's."""

    target: WorkloadView | None
    primary: WorkloadView | None
    routes: Routes | None
    kept: frozenset[str]
    restored: bool
    scaler_paused: bool | None
    status: Status
    threshold: int
    deleted: bool


def _shown_by(state: State) -> ClusterView:
    return _shown(state, observe(state), str)


def _shown(of: State | StoredRollout, seen: Observation, name: Callable[[str], str]) -> ClusterView:
    """`name`: the script's name of a revision."""
    target, primary = (_side(workload, name) for workload in (seen.target, seen.primary))
    return ClusterView(
        target=target,
        primary=primary,
        routes=seen.routes,
        kept=frozenset(map(name, seen.restorable)) - ({primary.revision} if primary is not None else set()),
        restored=seen.is_restored,
        scaler_paused=seen.scaler_paused,
        status=of.status,
        threshold=of.rollout.threshold,
        deleted=of.deleted,
    )


def _difference(found: ClusterView | WorldError | None, simulated: ClusterView) -> str:
    """What the real world shows otherwise; empty where it is the same. It may keep more than the simulated one."""
    if not isinstance(found, ClusterView):
        return f"real {found}"
    found = evolve(found, kept=found.kept & simulated.kept)
    pairs = ((one.name, getattr(found, one.name), getattr(simulated, one.name)) for one in fields(ClusterView))
    return ", ".join(f"{name}: real {there}, simulated {here}" for name, there, here in pairs if there != here)


def _side(workload: Workload | None, name: Callable[[str], str]) -> WorkloadView | None:
    if workload is None:
        return None
    counts = workload.desired, workload.updated, workload.ready, workload.total
    return WorkloadView(name(workload.revision), *counts, workload.unready_since is not None)


# ------------------------------------------------------------------------------------------------------------- requests

_SURE = 4.5
"""Standard deviations that a share may be off: one run in a hundred thousand."""


def _compare(state: State, step: Serve, served: ServedRequests | None) -> None:
    """Who answered, against what the simulated world takes for granted when it draws answers to metric questions."""
    if served is None:
        return
    routes = state.routes or Routes()
    total = served.primary + served.canary
    assert total == step.requests, f"{step}: {total} were answered"
    canary = 100 if routes.matched and step.matched else routes.weight
    _demand_share(step, "were answered by the canary", served.canary, total, canary)
    copies = state.rollout.mirror_weight if routes.mirrored else 0
    _demand_share(step, "reached the canary as copies", served.copies, served.primary, copies)


def _demand_share(step: Serve, what: str, part: int, whole: int, percent: int) -> None:
    share = percent / 100
    off = abs(part - whole * share)
    assert off <= _SURE * sqrt(whole * share * (1 - share)), f"{step}: {part} of {whole} {what}, simulated {percent} %"
