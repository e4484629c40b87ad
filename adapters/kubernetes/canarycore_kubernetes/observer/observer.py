"""A controller beside another one: it decides, writes nothing, and reports where it would have decided otherwise.

    async with connect(options.kubeconfig) as client:
        await observe(client, options, version="0.1.0")

The other controller moves a Canary's status. For each move the observer takes the status before it and the observations
since: would our decision lead to the same position? The next comparison begins from *their* status, so that one
difference does not lead to others.

The comparison is fair although Flagger writes its status last and we write ours first, so that the cluster is already
ahead of a move. All observations during one status count, and the caches get a moment to follow. Their intervals count:
a move shows that one has passed. The observer queries metrics when the status moves, and rarely else. It calls no hook,
as hooks have effects: it follows both answers, and their move shows which one was given.

An observer reads no Secret, as its rights need not cover them. So a metric whose provider needs a Secret has both
answers, as a hook has. A target's Secrets count as unchanged, and a rollout without another new revision is not
compared.

By construction an observer writes nothing: a fence stops every write of its client, and it never uses the adapters that
commit, notify or call hooks.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from attrs import evolve

from canarycore.driver import preview
from canarycore.phases import ACTIVE, PROMOTED
from canarycore.questions import describe_question
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.controller import log_start, make_canaries, open_adapters
from canarycore_kubernetes.observer.decisions import DecisionSearch
from canarycore_kubernetes.observer.differences import Difference, position_of
from canarycore_kubernetes.observer.followed_canary import FollowedCanary
from canarycore_kubernetes.observer.report import ComparisonReport
from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary, ValidCanary
from canarycore_kubernetes.resources.new_targets import has_only_former_primary
from canarycore_kubernetes.telemetry.probes import serve_probes
from canarycore_runtime.ports import observe_rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from canarycore import Observation, Status
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.observer.decisions import OwnDecision
    from canarycore_kubernetes.options import Options
    from canarycore_runtime.ports import Adapters, Changes

OBSERVER_GRACE = 3.0
"""Seconds that the caches have to follow the writes just before a status."""

OVERDUE_PATROLS = 2
"""Patrols in a row at which we would have moved, before that is a difference."""


async def observe(
    client: Client,
    options: Options,
    *,
    version: str,
    mesh: Client | None = None,
    listening: Callable[[int], None] = lambda _: None,
) -> None:
    """Observe the cluster until cancelled, then log a summary. The arguments are those of `run_controller`."""
    report = ComparisonReport(version=version, provider=options.mesh_provider)
    log_start(client, options, version=version, mesh=mesh)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        cluster = await enter(read_only_cluster(client, options))
        routes = None if mesh is None else await enter(read_only_cluster(mesh, options))
        canaries = make_canaries(cluster, options)
        adapters = await enter(open_adapters(cluster, canaries, options, routes=routes))
        probes = serve_probes(options.listen or None, options.port, report.registry, cluster.unsynced_kinds)
        listening(await enter(probes))
        stack.callback(report.log_summary)
        await enter(Observer(adapters, canaries, report))
        await asyncio.Event().wait()


def read_only_cluster(client: Client, options: Options) -> Cluster:
    """Return a cluster that refuses every write and reads no Secret."""
    return Cluster(client.read_only("an observer"), namespace=options.namespace, reads_secrets=False)


class Observer:
    """The observer of all Canaries. It works while its context is open, with one task for each Canary."""

    def __init__(
        self, adapters: Adapters, canaries: Canaries, report: ComparisonReport, *, grace: float = OBSERVER_GRACE
    ) -> None:
        self._adapters = adapters
        self._canaries = canaries
        self._report = report
        self._grace = grace
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, FollowedCanary] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._canaries.follow(self._add_state)
        for source in self._adapters.changes:
            self._begin(self._listen(source), "changes")
        for key in await self._canaries.keys():
            self._add_state(key, await self._canaries.find(key))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    # changes ----------------------------------------------------------------------------------------------------

    def _add_state(self, key: str, state: ValidCanary | InvalidCanary | None) -> None:
        """Add a new state of a Canary. Each state is compared, even if the next one follows at once."""
        followed = self._followed.get(key)
        if followed is None:
            if state is None:
                return
            followed = self._followed[key] = FollowedCanary(key=key)
            self._begin(self._follow(followed), key)
        followed.states.append(state)
        followed.changed.set()

    async def _listen(self, source: Changes) -> None:
        async for key in source.changes():
            if key in self._followed:
                self._followed[key].changed.set()

    def _begin(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._group.create_task(work, name=f"observing {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # following one Canary ---------------------------------------------------------------------------------------

    async def _follow(self, followed: FollowedCanary) -> None:
        """Follow a Canary until it is gone. Report an error and begin anew: it costs one comparison."""
        exists = True
        while exists:
            try:
                exists = await self._take_turn(followed)
            except Exception as error:  # noqa: BLE001 - it concerns this Canary only
                self._report.report_error(followed.key, error)
                followed.reset()
                await asyncio.sleep(self._grace)
        del self._followed[followed.key]
        self._report.forget(followed.key)

    async def _take_turn(self, followed: FollowedCanary) -> bool:
        """Handle one state, or make one observation. Return whether the Canary exists."""
        if not followed.states:
            await self._observe(followed)
            if not await followed.wait_for_change(followed.patrol_wait):
                await self._patrol(followed)
            return True
        state = followed.states.popleft()
        if isinstance(state, ValidCanary):
            await self._handle_status(followed, state)
        else:
            followed.reset()
        if isinstance(state, InvalidCanary):
            self._report.report_invalid(followed.key, state.problems)
        return state is not None or bool(followed.states)

    async def _handle_status(self, followed: FollowedCanary, canary: ValidCanary) -> None:
        """Compare a move of the status with our decisions, or report why that is impossible."""
        before, after = followed.status, canary.status
        if before is not None and position_of(before) == position_of(after):
            return
        await self._observe(followed)
        if followed.is_hidden(canary):
            if followed.hidden_at != position_of(after):
                self._report.report_hidden_move(followed.key)
            followed.hidden_at = position_of(after)
            followed.reset()
            return
        if before is not None:
            await self._compare(followed, before, after)
        followed.move_to(canary, None if before is None else self._adapters.clock())
        await self._observe(followed)
        if before is None:
            self._preview_adoption(followed)

    async def _observe(self, followed: FollowedCanary) -> None:
        stored = await self._canaries.load(followed.key)
        if stored is not None:
            observed = await observe_rollout(self._adapters, stored, now=self._adapters.clock())
            observation = _count_pending_routes(observed)
            followed.add(stored.rollout, observation, self._canaries.require(stored.rollout).commanded_at)
            workload, primary = self._adapters.workload, observation.primary
            followed.has_new_target |= await has_only_former_primary(workload, stored.rollout, primary)

    # comparing --------------------------------------------------------------------------------------------------

    def _preview_adoption(self, followed: FollowedCanary) -> None:
        """Report whether we could take the Canary over now."""
        if followed.status is None or followed.rollout is None:
            return
        observation = followed.observations[-1]
        status = followed.adopt(followed.status, observation)
        step = preview(followed.rollout, status, observation)
        if step.decision is not None:
            begins_rollout, explanation = step.decision.status.phase is not status.phase, str(step.explanation)
        else:
            questions = ", ".join(map(describe_question, step.questions))
            begins_rollout, explanation = True, f"{status.phase.value}: it would ask {questions}"
        self._report.report_adoption(
            followed.key,
            adoptable=not (begins_rollout and status.phase in PROMOTED),
            explanation=explanation,
            would_write=tuple(map(repr, step.effects)),
        )

    async def _compare(self, followed: FollowedCanary, before: Status, after: Status) -> None:
        """Report whether one of our decisions leads to the same position. The caches get a moment to follow."""
        search = DecisionSearch(followed, self._adapters.metrics)
        until = time.monotonic() + self._grace
        while True:
            decisions = await search.find(before, followed.observations)
            same = next((own for own in decisions if position_of(own.decision.status) == position_of(after)), None)
            left = until - time.monotonic()
            if same is not None or left <= 0:
                break
            await followed.wait_for_change(left)
            await self._observe(followed)
        if same is None:
            self._report_difference(followed, before, after, decisions)
        elif before.phase is after.phase and before.phase in ACTIVE and followed.is_early(self._adapters.clock()):
            self._report_difference(followed, before, after, [same], is_early=True)
        else:
            self._report.report_agreement(followed.key, str(same.decision.explanation), assumed=same.is_assumed)

    async def _patrol(self, followed: FollowedCanary) -> None:
        """Check whether we would have moved a status that stays. Report it once, after two patrols in a row."""
        status = followed.status
        if status is None or not followed.observations:
            return
        if status.phase in PROMOTED:
            self._preview_adoption(followed)
        search = DecisionSearch(followed, self._adapters.metrics)
        decisions = await search.find(status, [followed.observations[-1]])
        moves = all(position_of(own.decision.status) != position_of(status) for own in decisions)
        followed.overdue_patrols = followed.overdue_patrols + 1 if moves else 0
        if followed.overdue_patrols == OVERDUE_PATROLS:
            self._report_difference(followed, status, None, decisions)

    def _report_difference(
        self,
        followed: FollowedCanary,
        before: Status,
        after: Status | None,
        decisions: list[OwnDecision],
        *,
        is_early: bool = False,
    ) -> None:
        """Report a difference to the likest of our decisions.

        The likest moves into the same phase, or else moves at all. The newest wins among equals.
        """
        if followed.rollout is None or not decisions:
            return
        moving = [own for own in decisions if position_of(own.decision.status) != position_of(before)]
        like = [own for own in moving if after is not None and own.decision.status.phase is after.phase]
        likest = (like or moving or decisions)[-1]
        difference = Difference(
            rollout=followed.rollout,
            before=before,
            theirs=after,
            ours=likest.decision,
            observation=likest.observation,
            is_early=is_early,
        )
        self._report.report_difference(followed.key, difference)


def _count_pending_routes(observation: Observation) -> Observation:
    """Count routes that nobody has judged yet as in force: the other controller does not wait for a verdict."""
    refusal = observation.refusal
    if refusal is None or not refusal.is_pending:
        return observation
    return evolve(observation, routes=refusal.routes, refusal=None)
