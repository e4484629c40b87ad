"""The contract of the simulation: a simulated cluster behaves like a real one.

Verification and simulation use `canarycore.simulation`, so their results hold as far as it matches real platforms. This
suite carries out each **script**, plain data, twice: on real adapters (a platform, a data plane, a store) and on the
simulated `State`. After each step both must show the same pods and revisions, routes in force, answers to users'
requests, status and refusals, and the same remains of a step whose process was killed.
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
from canarycore_runtime.ports import observe_rollout
from canarycore_runtime.testing.clusters import key_of
from canarycore_runtime.testing.contracts._samples import rollout

if TYPE_CHECKING:
    from canarycore import Observation, Rollout, Workload
    from canarycore_runtime.ports import Adapters, StoredRollout

# ------------------------------------------------------------------------------------------------- steps of scripts


@frozen
class StaleCommit:
    """A commit under the version before the previous step."""

    status: Status


@frozen
class ProcessKilled:
    """The kill of a process during an effect or a commit. Another process takes over.

    The write may be complete or not begun, and nothing in between.
    """

    doing: Effect | Commit

    returned: bool
    """Whether the kill comes just after the end of the write."""


@frozen
class Serve:
    """Requests of users."""

    requests: int = 200
    """The number of requests."""

    matched: bool = False
    """Whether all requests meet the match conditions of the rollout."""


Step = Action | Effect | Commit | StaleCommit | ProcessKilled | Serve

INSIDERS = (Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),)
ROLLOUT = evolve(rollout(), match=INSIDERS, mirror_weight=50)
"""The rollout of every script."""

ONE, TWO, BROKEN = "one", "two", "broken"
"""Revisions. The pods of `BROKEN` never become ready."""

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
"""The times that the platform settles after the last step, before the last comparison."""

# ------------------------------------------------------------------------------------------------ the real platform


@frozen(kw_only=True)
class ServedRequests:
    """The numbers of requests that each side answered, and of copies that the canary got."""

    primary: int
    canary: int
    copies: int


class RealWorld(Protocol):
    """A platform, a data plane and a store, with `ROLLOUT` in the store and no deployment."""

    parts: Adapters
    """The adapters of the present process."""

    replicas: int
    """The replicas of the target, by its owner."""

    revisions: Mapping[str, str]
    """The platform's name of each deployed revision of the scripts."""

    cannot: Mapping[str, str]
    """The scripts that the platform cannot play, with the reason of each."""

    patience: float
    """The longest time until the platform shows the same as the simulation (seconds)."""

    async def act(self, action: Action) -> None:
        """Carry out an action of others, with the scripts' names of revisions."""

    async def kill(self, doing: Effect | Commit, *, returned: bool) -> None:
        """Carry out `doing` in another process, kill it during the write or after it, and replace `parts`.

        `doing` has the platform's names of revisions.
        """

    async def serve(self, requests: int, *, matched: bool) -> ServedRequests | None:
        """Send requests, `matched` ones with the header x-canary: insider. Return None where that is impossible."""

    async def settle(self) -> None:
        """Wait for a moment, so that the platform can act."""


async def carry_out(parts: Adapters, doing: Effect | Commit, rollout: Rollout = ROLLOUT) -> None:
    """Carry out an effect, or a commit under the present version, in the process of `RealWorld.kill`."""
    if isinstance(doing, Commit):
        await parts.store.commit(_KEY, doing.status, (await _stored(parts)).version)
    else:
        for port, method, *arguments in EFFECTS[type(doing)](doing):
            await getattr(getattr(parts, port), method)(rollout, *arguments)


async def _stored(parts: Adapters) -> StoredRollout:
    stored = await parts.store.load(_KEY)
    assert stored is not None, f"the store lacks {_KEY}"
    return stored


# -------------------------------------------------------------------------------------------------------- the contract


@pytest.mark.asyncio
class SimulationFidelityContract:
    """A suite to derive from, with the fixture `bench`."""

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
    """One script on the real platform and on the simulation."""

    bench: RealWorld

    states: list[State]
    """The state of the simulation after each step."""

    versions: list[str] = field(factory=list)
    """The version of the real store after each step."""

    async def play(self, script: tuple[Step, ...]) -> None:
        """Carry out a script step by step. Raises AssertionError when the two differ."""
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
        """Wait until the platform shows one of the states, and return it."""
        expected = {_view_of_state(state): state for state in states}
        found: ClusterView | WorldError | None = None
        try:
            async with asyncio.timeout(self.bench.patience):
                while not (agreeing := [expected[one] for one in expected if not _difference(found, one)]):
                    await self.bench.settle()
                    found = await self._look()
        except TimeoutError:
            differences = "; or ".join(_difference(found, simulated) for simulated in expected)
            raise AssertionError(f"{where}: {differences}") from None
        return agreeing[0]

    # the real platform --------------------------------------------------------------------------------------------

    async def _answer(self, step: Step) -> str:
        """Carry out a step on the platform, and return the name of its error; empty when it succeeds."""
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
            await bench.kill(self._with_platform_names(step.doing), returned=step.returned)
        elif isinstance(step, Serve):
            _compare(self.states[-1], step, await bench.serve(step.requests, matched=step.matched))
        elif isinstance(step, Effect | Commit):
            await carry_out(bench.parts, self._with_platform_names(step), rollout)
        else:
            await bench.act(step)

    def _with_platform_names(self, doing: Effect | Commit) -> Effect | Commit:
        """Return the write with the platform's name of its revision, where it has one."""
        if isinstance(doing, Initialise | Promote | RestorePrimary):
            return evolve(doing, revision=self.bench.revisions.get(doing.revision, doing.revision))
        return doing

    async def _look(self) -> ClusterView | WorldError:
        parts = self.bench.parts
        names = {platform_name: name for name, platform_name in self.bench.revisions.items()}
        try:
            stored = await _stored(parts)
            observation = await observe_rollout(parts, stored, now=0.0)
        except WorldError as error:
            return error
        return _view(stored, observation, lambda revision: names.get(revision, revision))


# --------------------------------------------------------------------------------------------------- the simulation


@frozen
class StepOutcome:
    """A possible outcome of a step."""

    state: State

    answer: str = ""
    """The name of an error; empty when the step succeeds."""


def _simulated(states: list[State], step: Step) -> list[StepOutcome]:
    """Return the possible outcomes of a step: two where a kill comes during a write."""
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


# ------------------------------------------------------------------------------------------------------ the comparison


@frozen
class WorkloadView:
    """The target or the primary, for a comparison."""

    revision: str
    desired: int
    updated: int
    ready: int
    total: int

    lacking: bool
    """Whether too few of its pods are available."""


@frozen(kw_only=True)
class ClusterView:
    """The facts in which platform and simulation must agree."""

    target: WorkloadView | None
    primary: WorkloadView | None
    routes: Routes | None
    kept: frozenset[str]
    """The revisions to which the primary can return."""

    restored: bool
    scaler_paused: bool | None
    status: Status
    threshold: int
    """The threshold of the stored rollout."""

    deleted: bool


def _view_of_state(state: State) -> ClusterView:
    return _view(state, observe(state), str)


def _view(source: State | StoredRollout, observation: Observation, name: Callable[[str], str]) -> ClusterView:
    """Return the facts to compare. `name` returns the script's name of a revision."""
    target, primary = (_side(workload, name) for workload in (observation.target, observation.primary))
    return ClusterView(
        target=target,
        primary=primary,
        routes=observation.routes,
        kept=frozenset(map(name, observation.restorable)) - ({primary.revision} if primary is not None else set()),
        restored=observation.is_restored,
        scaler_paused=observation.scaler_paused,
        status=source.status,
        threshold=source.rollout.threshold,
        deleted=source.deleted,
    )


def _difference(found: ClusterView | WorldError | None, simulated: ClusterView) -> str:
    """Return the differences as a text; empty when there is none. The platform may keep more revisions."""
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

_SIGNIFICANT = 4.5
"""The most standard deviations between a share and its expectation: one run in a hundred thousand exceeds it."""


def _compare(state: State, step: Serve, served: ServedRequests | None) -> None:
    """Compare the answers to users with the routes on which the simulation bases its metrics."""
    if served is None:
        return
    routes = state.routes or Routes()
    total = served.primary + served.canary
    assert total == step.requests, f"{step}: {total} requests got an answer"
    canary = 100 if routes.matched and step.matched else routes.weight
    _demand_share(step, "were answered by the canary", served.canary, total, canary)
    copies = state.rollout.mirror_weight if routes.mirrored else 0
    _demand_share(step, "reached the canary as copies", served.copies, served.primary, copies)


def _demand_share(step: Serve, event: str, part: int, whole: int, percent: int) -> None:
    share = percent / 100
    off = abs(part - whole * share)
    assert off <= _SIGNIFICANT * sqrt(whole * share * (1 - share)), (
        f"{step}: {part} of {whole} {event}, simulated {percent} %"
    )
