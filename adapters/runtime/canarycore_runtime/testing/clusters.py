"""Simulated clusters behind the ports: all adapters of a runner, without a network.

    clusters = SimulatedClusters([rollout], do=[Deploy("v1")])
    async with Runner(clusters.parts()):
        ...

Each rollout has its own cluster (`canarycore.simulation.State`) on the time of the running event loop. Effects, `do`
and the passage of time change a cluster, and `changes` reports each change.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from canarycore import Phase, Rollout, Routes, Status
from canarycore.effects import (
    Effect,
    Initialise,
    PauseScaler,
    Promote,
    Resize,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Conflict, WorldError
from canarycore.notices import Notice
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion
from canarycore.simulation import Action, MetricRequest, State, act, apply, next_change, observe
from canarycore_runtime.ports import Adapters, StoredRollout, Workloads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


def key_of(rollout: Rollout) -> str:
    """Return the key of a rollout in a store: `namespace/name`."""
    return f"{rollout.namespace}/{rollout.name}"


class SimulatedClusters:
    """One simulated cluster per rollout."""

    def __init__(self, rollouts: Iterable[Rollout] = (), *, do: Iterable[Action] = ()) -> None:
        """Build a cluster for each of `rollouts`, and carry out `do` in each. This needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._states: dict[str, State] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._counts: Counter[tuple[str, object]] = Counter()
        self._listeners: set[asyncio.Queue[str]] = set()
        self.hanging: set[str] = set()
        """The names of hooks and checks that never answer."""
        self.refuses_notices: bool = False
        """Whether the notifier fails."""
        self.timeout: float = 10.0
        """The time limit of a metric query (seconds)."""
        self.log: list[tuple[str, Status | Effect | Notice | HookQuestion]] = []
        """All writes in order, with the key of the rollout: commits, effects, notices, calls of hooks."""
        for rollout in rollouts:
            self.add(rollout)
            self.do(key_of(rollout), *do)

    def parts(self) -> Adapters:
        """Return new adapters on these clusters, as a new process has them."""
        return Adapters(
            store=SimulatedStore(self),
            workload=SimulatedWorkload(self),
            router=SimulatedRouter(self),
            metrics=SimulatedMetrics(self),
            hooks=SimulatedHooks(self),
            notifiers=(SimulatedNotifier(self),),
            clock=self._loop.time,
            changes=(self,),
        )

    # actions of others ------------------------------------------------------------------------------------------

    def add(self, rollout: Rollout) -> str:
        """Add the rollout of an owner, and return its key."""
        key = key_of(rollout)
        self.put(key, State(rollout=rollout, now=self._loop.time()))
        return key

    def remove(self, key: str) -> None:
        """Remove a rollout from the store."""
        del self._states[key]
        self._report_change(key)

    def do(self, key: str, *actions: Action) -> None:
        """Carry out actions of others on the cluster of a rollout, now."""
        for action in actions:
            self.put(key, act(self.state(key), action))

    def state(self, key: str) -> State:
        """Return the present state of a cluster. Raises WorldError when there is none."""
        if key not in self._states:
            raise WorldError(f"rollout {key} has no cluster")
        return self._states[key].but(now=self._loop.time())

    def phase(self, key: str) -> Phase:
        """Return the phase of a rollout."""
        return self.state(key).status.phase

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all rollouts."""
        return tuple(self._states)

    def of(self, rollout: Rollout) -> State:
        """Return the present state of the cluster of a rollout."""
        return self.state(key_of(rollout))

    def put(self, key: str, state: State) -> None:
        """Set the state of a cluster, and report the change."""
        self._states[key] = state
        self._report_change(key)

    def turn(self, key: str, question: object) -> int:
        """Count a question, and return how often the cluster got it before."""
        self._counts[key, question] += 1
        return self._counts[key, question] - 1

    async def changes(self) -> AsyncIterator[str]:
        """Yield the keys of changed rollouts, as the port Changes."""
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)

    def _report_change(self, key: str) -> None:
        for listener in self._listeners:
            listener.put_nowait(key)
        self._await_change(key)

    def _await_change(self, key: str) -> None:
        """Arm a timer for the next change that time makes, such as a ready pod."""
        if key in self._timers:
            self._timers.pop(key).cancel()
        moment = next_change(self.state(key)) if key in self._states else inf
        if moment < inf:
            self._timers[key] = self._loop.call_at(moment, self._report_change, key)

    def change(self, rollout: Rollout, effect: Effect) -> None:
        """Carry out an effect."""
        key = key_of(rollout)
        self.put(key, apply(self.state(key), effect))
        self.log.append((key, effect))


class SimulatedStore:
    """The port StatusStore."""

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def keys(self) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return self._clusters.keys

    async def load(self, key: str) -> StoredRollout | None:
        await asyncio.sleep(0)
        if key not in self._clusters.keys:
            return None
        state = self._clusters.state(key)
        return StoredRollout(
            rollout=state.rollout,
            status=state.status,
            version=str(state.version),
            command=state.command,
            deleted=state.deleted,
        )

    async def commit(self, key: str, status: Status, version: str) -> str:
        await asyncio.sleep(0)
        state = self._clusters.state(key)
        if str(state.version) != version:
            raise Conflict(f"version {version} was read, the store holds {state.version}: observe again")
        self._clusters.put(key, state.but(status=status, version=state.version + 1))
        self._clusters.log.append((key, status))
        await asyncio.sleep(0)
        return str(state.version + 1)


class SimulatedWorkload:
    """The port WorkloadPort."""

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def observe(self, rollout: Rollout) -> Workloads:
        await asyncio.sleep(0)
        observation = observe(self._clusters.of(rollout))
        return Workloads(
            target=observation.target,
            primary=observation.primary,
            scaler_paused=observation.scaler_paused,
            restorable=observation.restorable,
            is_restored=observation.is_restored,
        )

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        await self._do(rollout, Initialise(revision))

    async def scale_up(self, rollout: Rollout) -> None:
        await self._do(rollout, ScaleUp())

    async def resize(self, rollout: Rollout, replicas: int) -> None:
        await self._do(rollout, Resize(replicas))

    async def scale_down(self, rollout: Rollout) -> None:
        await self._do(rollout, ScaleDown())

    async def promote(self, rollout: Rollout, revision: str) -> None:
        await self._do(rollout, Promote(revision))

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        await self._do(rollout, RestorePrimary(revision))

    async def pause_scaler(self, rollout: Rollout) -> None:
        await self._do(rollout, PauseScaler())

    async def resume_scaler(self, rollout: Rollout) -> None:
        await self._do(rollout, ResumeScaler())

    async def restore(self, rollout: Rollout) -> None:
        await self._do(rollout, Restore())

    async def _do(self, rollout: Rollout, effect: Effect) -> None:
        """Apply an effect between two awaits, so that a cancellation may come before and after it."""
        await asyncio.sleep(0)
        self._clusters.change(rollout, effect)
        await asyncio.sleep(0)


class SimulatedRouter:
    """The port Router."""

    takes_tenths = True

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def observe(self, rollout: Rollout) -> Routes | None:
        await asyncio.sleep(0)
        return self._clusters.of(rollout).routes

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        await asyncio.sleep(0)
        self._clusters.change(rollout, SetRoutes(routes))
        await asyncio.sleep(0)

    async def restore(self, rollout: Rollout) -> None:
        await asyncio.sleep(0)
        key = key_of(rollout)
        self._clusters.put(key, self._clusters.state(key).but(routes=None))
        await asyncio.sleep(0)


class SimulatedMetrics:
    """The port MetricSource."""

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        await asyncio.sleep(0)
        clusters, check = self._clusters, question.check.name
        if check in clusters.hanging:
            await asyncio.sleep(clusters.timeout)
            return MetricAnswer(error=f"no answer within {clusters.timeout:g} s")
        key = key_of(rollout)
        state = clusters.state(key)
        return state.metrics(
            MetricRequest(
                question=question,
                rollout=rollout,
                now=state.now,
                revision="" if state.target is None else state.target.revision,
                routes=state.routes,
                turn=clusters.turn(key, question.check),
            )
        )

    async def online(self, rollout: Rollout) -> str:
        await asyncio.sleep(0)
        return self._clusters.of(rollout).sources


class SimulatedHooks:
    """The port HookPort."""

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Call the hook until an attempt passes or none is left."""
        answer = await self._attempt(rollout, question)
        for _ in range(question.hook.retries):
            if answer.passed:
                break
            answer = await self._attempt(rollout, question)
        return answer

    async def _attempt(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        await asyncio.sleep(0)
        clusters, hook = self._clusters, question.hook
        key = key_of(rollout)
        clusters.log.append((key, question))
        if hook.name in clusters.hanging:
            await asyncio.sleep(hook.timeout)
            return HookAnswer(passed=False, text=f"no answer within {hook.timeout:g} s")
        answers = dict(clusters.state(key).hooks).get(hook.name) or (HookAnswer(passed=True),)
        return answers[min(clusters.turn(key, (hook.name, answers)), len(answers) - 1)]


class SimulatedNotifier:
    """The port Notifier."""

    def __init__(self, clusters: SimulatedClusters) -> None:
        self._clusters = clusters

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        await asyncio.sleep(0)
        if self._clusters.refuses_notices:
            raise WorldError("the receiver takes no notices")
        self._clusters.log.append((key_of(rollout), notice))
        await asyncio.sleep(0)
