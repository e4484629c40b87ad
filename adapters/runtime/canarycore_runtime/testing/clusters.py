"""Simulated clusters behind the ports: all adapters that a runner needs, without a network.

    clusters = SimulatedClusters([rollout], do=[Deploy("v1")])
    async with Runner(clusters.parts()):
        ...

Each rollout has a cluster of its own (`canarycore.simulation.State`); the time is the running event loop's. What
happens in it is what effects, `do`, and time make of it, and every change is told through `changes`.
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
    """The rollout's key in a store: `namespace/name`."""
    return f"{rollout.namespace}/{rollout.name}"


class SimulatedClusters:
    """One simulated cluster per rollout. Build it inside a running event loop.

    log: what was written, in order: commits, effects, notices, calls of hooks. hanging: names of hooks and checks that
    never answer. deaf: whether notifiers fail. timeout: how long a metric query may take (seconds).
    """

    def __init__(self, rollouts: Iterable[Rollout] = (), *, do: Iterable[Action] = ()) -> None:
        self._loop = asyncio.get_running_loop()
        self._states: dict[str, State] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._turns: Counter[tuple[str, object]] = Counter()
        self._ears: set[asyncio.Queue[str]] = set()
        self.hanging: set[str] = set()
        self.deaf: bool = False
        self.timeout: float = 10.0
        self.log: list[tuple[str, Status | Effect | Notice | HookQuestion]] = []
        for rollout in rollouts:
            self.add(rollout)
            self.do(key_of(rollout), *do)

    def parts(self) -> Adapters:
        """Fresh adapters on these clusters, as a new process has them."""
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

    # what others do and see -------------------------------------------------------------------------------------

    def add(self, rollout: Rollout) -> str:
        """The owner asks for a rollout. Returns its key."""
        key = key_of(rollout)
        self.put(key, State(rollout=rollout, now=self._loop.time()))
        return key

    def remove(self, key: str) -> None:
        """The rollout is gone from the store."""
        del self._states[key]
        self._told(key)

    def do(self, key: str, *actions: Action) -> None:
        """Others act on the cluster of this rollout, now."""
        for action in actions:
            self.put(key, act(self.state(key), action))

    def state(self, key: str) -> State:
        """The cluster, at the present moment. Raises WorldError when there is none."""
        if key not in self._states:
            raise WorldError(f"rollout {key} has no cluster")
        return self._states[key].but(now=self._loop.time())

    def phase(self, key: str) -> Phase:
        return self.state(key).status.phase

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._states)

    def of(self, rollout: Rollout) -> State:
        """The cluster of this rollout."""
        return self.state(key_of(rollout))

    def put(self, key: str, state: State) -> None:
        """The cluster is so from now on."""
        self._states[key] = state
        self._told(key)

    def turn(self, key: str, asked: object) -> int:
        """How often this was asked of the cluster before."""
        self._turns[key, asked] += 1
        return self._turns[key, asked] - 1

    async def changes(self) -> AsyncIterator[str]:
        """The port Changes."""
        ear: asyncio.Queue[str] = asyncio.Queue()
        self._ears.add(ear)
        try:
            while True:
                yield await ear.get()
        finally:
            self._ears.discard(ear)

    def _told(self, key: str) -> None:
        for ear in self._ears:
            ear.put_nowait(key)
        self._await_change(key)

    def _await_change(self, key: str) -> None:
        """Pods get ready by themselves, which is a change too."""
        if key in self._timers:
            self._timers.pop(key).cancel()
        moment = next_change(self.state(key)) if key in self._states else inf
        if moment < inf:
            self._timers[key] = self._loop.call_at(moment, self._told, key)

    def change(self, rollout: Rollout, effect: Effect) -> None:
        """Carry an effect out."""
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
        seen = observe(self._clusters.of(rollout))
        return Workloads(
            target=seen.target,
            primary=seen.primary,
            scaler_paused=seen.scaler_paused,
            kept=seen.restorable,
            restored=seen.is_restored,
        )

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        await self._do(rollout, Initialise(revision))

    async def scale_up(self, rollout: Rollout) -> None:
        await self._do(rollout, ScaleUp())

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
        """The write happens between two awaits, so that a cancellation may fall before and after it."""
        await asyncio.sleep(0)
        self._clusters.change(rollout, effect)
        await asyncio.sleep(0)


class SimulatedRouter:
    """The port Router."""

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
        """Try after try, until one passes or none is left."""
        answer = await self._try(rollout, question)
        for _ in range(question.hook.retries):
            if answer.passed:
                break
            answer = await self._try(rollout, question)
        return answer

    async def _try(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
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
        if self._clusters.deaf:
            raise WorldError("the receiver takes no notices")
        self._clusters.log.append((key_of(rollout), notice))
        await asyncio.sleep(0)
