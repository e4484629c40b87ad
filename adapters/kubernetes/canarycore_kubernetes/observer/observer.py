"""The controller beside another one: it decides, writes nothing, and tells where it would have done otherwise.

    async with connect(options.kubeconfig) as client:
        await observe(client, options, version="0.1.0")

Whoever is at work moves a Canary's status. Of each such move it is asked: from the status before it, and the world as
it was seen since, would we have decided the same? Then the comparison begins anew from *their* status, so that one
difference does not lead to others.

Why that is fair: Flagger writes the status last and we write it first, so the world around a move already has half of
what comes after it. So every world that was seen in one status counts, and the caches get a moment to hear of the rest.
Intervals are theirs: at a move the time for one has come. Metrics are asked when the status moves, and rarely else.
Hooks have effects and are not called: both answers are followed, and what was done tells which was given.

An observer reads no Secret, as nobody who only looks needs to. A metric whose provider needs one has both answers, as a
hook has. A target's Secrets are taken to hold what they did; a rollout that nothing else began is not compared.

Nothing is written by construction: the client is fenced off for good, no store commits, and nothing that tells people
or calls hooks is ever asked to.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from attrs import Factory, define, evolve, frozen

from canarycore import Decision, Inputs, Observation, decide, goal
from canarycore.driver import preview
from canarycore.errors import Refused, WorldError
from canarycore.phases import ACTIVE, PROMOTED, UNDER_WAY
from canarycore.questions import (
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    SourcesAnswer,
    describe_question,
)
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import SECRET
from canarycore_kubernetes.api.secrets import WithheldError
from canarycore_kubernetes.controller import make_canaries, open_adapters
from canarycore_kubernetes.observer.differences import Difference, RolloutPosition, position_of
from canarycore_kubernetes.observer.report import Observations
from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary, ValidCanary
from canarycore_kubernetes.resources.flagger_status import adopt_status
from canarycore_kubernetes.telemetry.probes import serve_probes
from canarycore_runtime.observation import observe_rollout
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from types import TracebackType

    from canarycore import Check, Rollout, Status
    from canarycore.questions import Answer, Question
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.options import Options
    from canarycore_runtime.ports import Adapters, Changes

    Answers = dict[Question, tuple[Answer, ...]]

OBSERVER_GRACE = 3.0
"""Seconds that the caches have to hear of what was written just before a status."""

OBSERVER_PATIENCE = 30.0
INTERVALS = 3
"""Seconds, or intervals if that is more, between looks at whether we would have moved and they do not."""

_OVERDUE = 2
"""Looks in a row at which that must be so."""

QUERY = 30.0
"""Seconds that a metric may take."""

WORLDS = 64
"""Worlds of one status that are remembered, the newest."""

STEPS = 4
"""Decisions in a row that change nothing that others see, before that is no longer followed."""


async def observe(
    client: Client,
    options: Options,
    *,
    version: str,
    mesh: Client | None = None,
    listening: Callable[[int], None] = lambda _: None,
) -> None:
    """Look on until cancelled, then sum up. The arguments are those of `controller.control`."""
    told = Observations(version=version, provider=options.mesh_provider)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        cluster = await enter(looking_at(client, options))
        routes = None if mesh is None else await enter(looking_at(mesh, options))
        canaries = make_canaries(cluster, options)
        parts = await enter(open_adapters(cluster, canaries, options, routes=routes))
        listening(
            await enter(serve_probes(options.listen or None, options.port, told.registry, cluster.unsynced_kinds))
        )
        stack.callback(told.sum_up)
        await enter(Observer(parts, canaries, told))
        await asyncio.Event().wait()


def looking_at(client: Client, options: Options) -> Cluster:
    """A cluster to which nothing is written, whoever tries, and of which no Secret is read."""
    return Cluster(client.fenced(_writes_nothing), namespace=options.namespace, reads_secrets=False)


def _writes_nothing() -> None:
    raise Refused("an observer writes nothing")


class Observer:
    """Follows all Canaries while its context is open, each in a task of its own."""

    def __init__(
        self, parts: Adapters, canaries: Canaries, told: Observations, *, grace: float = OBSERVER_GRACE
    ) -> None:
        self._parts = parts
        self._canaries = canaries
        self._told = told
        self._grace = grace
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, FollowedCanary] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._canaries.follow(self._hear)
        for source in self._parts.changes:
            self._begin(self._listen(source), "changes")
        for key in await self._canaries.keys():
            self._hear(key, await self._canaries.find(key))
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

    # hearing ----------------------------------------------------------------------------------------------------

    def _hear(self, key: str, held: ValidCanary | InvalidCanary | None) -> None:
        """A Canary is so now. Each state is looked at, also where the next one follows at once."""
        followed = self._followed.get(key)
        if followed is None:
            if held is None:
                return
            followed = self._followed[key] = FollowedCanary(key=key)
            self._begin(self._follow(followed), key)
        followed.states.append(held)
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
        """Until it is gone. An error costs a comparison, and is told."""
        there = True
        while there:
            try:
                there = await self._turn(followed)
            except Exception as error:  # noqa: BLE001 - it concerns this Canary only
                self._told.troubled(followed.key, error)
                followed.begin_anew()
                await asyncio.sleep(self._grace)
        del self._followed[followed.key]
        self._told.forget(followed.key)

    async def _turn(self, followed: FollowedCanary) -> bool:
        """One state, or one look at the world; False when the Canary is gone."""
        if not followed.states:
            await self._look(followed)
            if not await followed.change_within(followed.patience):
                await self._patrol(followed)
            return True
        held = followed.states.popleft()
        if isinstance(held, ValidCanary):
            await self._compare(followed, held)
        else:
            followed.begin_anew()
        if isinstance(held, InvalidCanary):
            self._told.refuses(followed.key, held.problems)
        return held is not None or bool(followed.states)

    async def _compare(self, followed: FollowedCanary, held: ValidCanary) -> None:
        """What has become of the status, beside what we would have made of it."""
        before, after = followed.status, held.status
        if before is not None and position_of(before) == position_of(after):
            return
        await self._look(followed)
        if followed.hides(held):
            if followed.hidden_at != position_of(after):
                self._told.cannot_compare(followed.key)
            followed.hidden_at = position_of(after)
            followed.begin_anew()
            return
        if before is not None:
            await self._judge(followed, before, after)
        followed.now_at(held, None if before is None else self._parts.clock())
        await self._look(followed)
        if before is None:
            self._adopt(followed)

    async def _look(self, followed: FollowedCanary) -> None:
        stored = await self._canaries.load(followed.key)
        if stored is not None:
            world = await observe_rollout(self._parts, stored, now=self._parts.clock())
            followed.saw(stored.rollout, world)

    # what we would have done ------------------------------------------------------------------------------------

    def _adopt(self, followed: FollowedCanary) -> None:
        """Tell whether we could take over as things stand."""
        if followed.status is None or followed.rollout is None:
            return
        rollout, world = followed.rollout, followed.worlds[-1]
        status = followed.in_our_terms(followed.status, world)
        step = preview(rollout, status, world)
        writes = tuple(map(repr, step.effects))
        if step.decision is not None:
            begins, explanation = step.decision.status.phase is not status.phase, str(step.explanation)
        else:
            begins, explanation = (
                True,
                f"{status.phase.value}: it would ask {', '.join(map(describe_question, step.questions))}",
            )
        adoptable = not (begins and status.phase in PROMOTED)
        self._told.adopts(followed.key, adoptable=adoptable, explanation=explanation, would_write=writes)

    async def _judge(self, followed: FollowedCanary, before: Status, after: Status) -> None:
        """Tell whether one of our decisions leads to the same stand; the caches get a moment to hear of its world."""
        answers: Answers = {}
        until = time.monotonic() + self._grace
        while True:
            ours = await self._decisions(followed, before, followed.worlds, answers)
            same = next((one for one in ours if position_of(one.decision.status) == position_of(after)), None)
            left = until - time.monotonic()
            if same is not None or left <= 0:
                break
            await followed.change_within(left)
            await self._look(followed)
        if same is None:
            self._differ(followed, before, after, ours)
        elif before.phase is after.phase and before.phase in ACTIVE and followed.is_early(self._parts.clock()):
            self._differ(followed, before, after, [same], early=True)
        else:
            self._told.agrees(followed.key, str(same.decision.explanation), assumed=same.assumed)

    async def _patrol(self, followed: FollowedCanary) -> None:
        """They have not moved for long: would we have? It is told once, where it is so at two patrols in a row."""
        status = followed.status
        if status is None or not followed.worlds:
            return
        if status.phase in PROMOTED:
            self._adopt(followed)
        ours = await self._decisions(followed, status, [followed.worlds[-1]], {})
        moves = all(position_of(one.decision.status) != position_of(status) for one in ours)
        followed.overdue = followed.overdue + 1 if moves else 0
        if followed.overdue == _OVERDUE:
            self._differ(followed, status, None, ours)

    def _differ(
        self,
        followed: FollowedCanary,
        before: Status,
        after: Status | None,
        ours: list[OwnDecision],
        *,
        early: bool = False,
    ) -> None:
        """Tell the likest of ours: into the same phase, or else one that moves; the newest of those."""
        if followed.rollout is None or not ours:
            return
        moving = [one for one in ours if position_of(one.decision.status) != position_of(before)]
        like = [one for one in moving if after is not None and one.decision.status.phase is after.phase]
        told = (like or moving or ours)[-1]
        self._told.differs(
            followed.key,
            Difference(
                rollout=followed.rollout,
                before=before,
                theirs=after,
                ours=told.decision,
                world=told.world,
                early=early,
            ),
        )

    async def _decisions(
        self, followed: FollowedCanary, before: Status, worlds: Iterable[Observation], answers: Answers
    ) -> list[OwnDecision]:
        """All decisions from a status, in the order of the worlds; also those that follow one that nobody sees."""
        rollout = followed.rollout
        assert rollout is not None, "there was a world"
        found: list[OwnDecision] = []
        unseen: list[Status] = []
        for world in worlds:
            starts = [followed.in_our_terms(before, world), *unseen]
            for status in starts:  # it grows
                due = status.but(analysed_at=min(status.analysed_at, world.now - rollout.interval))
                seen = _with_our_cookie(rollout, due, world)
                async for one in self._possible(rollout, due, seen, answers):
                    found.append(one)
                    if len(unseen) < STEPS and _is_news(one.decision.status, starts):
                        unseen.append(one.decision.status)
                        starts.append(one.decision.status)
        return found

    async def _possible(
        self, rollout: Rollout, status: Status, world: Observation, answers: Answers
    ) -> AsyncIterator[OwnDecision]:
        """What may be decided: by what metrics say now, and by each answer that a hook may give."""
        given: list[tuple[dict[str, Answer], bool]] = [({}, False)]
        while given:
            known, assumed = given.pop()
            outcome = decide(rollout, status, Inputs(world, known))
            if isinstance(outcome, Decision):
                yield OwnDecision(decision=outcome, world=world, assumed=assumed)
                continue
            ways = [known]
            for question in outcome.questions:
                possible = await self._answers(rollout, question, answers)
                ways = [{**way, question.key: answer} for way in ways for answer in possible]
                assumed = assumed or len(possible) > 1
            given += ((way, assumed) for way in ways)

    async def _answers(self, rollout: Rollout, question: Question, answers: Answers) -> tuple[Answer, ...]:
        """Return the possible answers. A comparison asks a metric once; which sources are online changes no status."""
        if isinstance(question, HookQuestion):
            return HookAnswer(passed=False), HookAnswer(passed=True)
        if not isinstance(question, MetricQuestion):
            return (SourcesAnswer(),)
        asked = evolve(question, key="")
        if asked not in answers:
            answers[asked] = await self._ask(rollout, question)
        return answers[asked]

    async def _ask(self, rollout: Rollout, question: MetricQuestion) -> tuple[Answer, ...]:
        """The answer of a metric's provider, or both where it is not asked."""
        try:
            async with asyncio.timeout(QUERY):
                return (await self._parts.metrics.query(rollout, question),)
        except WithheldError as error:
            return MetricAnswer(error=str(error)), _passing(question.check)
        except (WorldError, TimeoutError) as error:
            return (MetricAnswer(error=str(error) or f"no answer within {QUERY:g} s"),)


@frozen(kw_only=True)
class OwnDecision:
    """A decision that we would have made. assumed: those that were not asked were taken to have answered so."""

    decision: Decision
    world: Observation
    assumed: bool


@define(eq=False, kw_only=True)
class FollowedCanary:
    """What is remembered of one Canary.

    states: what it became, and nobody has compared yet. changed: something about it did. status: where it stands.
    since: when that was seen (seconds); None where it stood so when it was found. worlds: the different ones seen in
    this status. hidden_at: where it stood when it was last not compared. overdue: patrols in a row at which we would
    have moved.
    """

    key: str
    states: deque[ValidCanary | InvalidCanary | None] = Factory(deque)
    changed: asyncio.Event = Factory(asyncio.Event)
    rollout: Rollout | None = None
    status: Status | None = None
    is_flaggers: bool = False
    since: float | None = None
    hidden_at: RolloutPosition | None = None
    worlds: deque[Observation] = Factory(lambda: deque(maxlen=WORLDS))
    overdue: int = 0

    @property
    def patience(self) -> float:
        return OBSERVER_PATIENCE if self.rollout is None else max(OBSERVER_PATIENCE, INTERVALS * self.rollout.interval)

    async def change_within(self, seconds: float) -> bool:
        """Whether anything about it changes within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True

    def hides(self, held: ValidCanary) -> bool:
        """Whether a Secret may have begun the rollout under way: one is tracked, and nothing else has changed."""
        if not self.worlds or held.status.phase not in UNDER_WAY or not any(map(_is_secret, held.tracked_configs)):
            return False
        target, primary = self.worlds[-1].target, self.worlds[-1].primary
        if target is None or primary is None:
            return False
        return target.revision == primary.revision or not (
            held.is_flagger_status or target.revision == held.status.applied
        )

    def begin_anew(self) -> None:
        """Nothing is compared with what was."""
        self.status = None
        self.worlds.clear()

    def now_at(self, held: ValidCanary, since: float | None) -> None:
        self.status, self.is_flaggers, self.since = held.status, held.is_flagger_status, since
        self.worlds.clear()
        self.overdue = 0

    def saw(self, rollout: Rollout, world: Observation) -> None:
        self.rollout = rollout
        if not self.worlds or evolve(self.worlds[-1], now=world.now) != world:
            self.worlds.append(world)

    def is_early(self, now: float) -> bool:
        """Whether not even half an interval has passed."""
        return self.since is not None and self.rollout is not None and now < self.since + self.rollout.interval / 2

    def in_our_terms(self, status: Status, world: Observation) -> Status:
        """A status of Flagger's with our revisions: under test is what the target carried when it was written."""
        if not self.is_flaggers:
            return status
        return adopt_status(status, Workloads(target=self.worlds[0].target, primary=world.primary))


def _is_secret(config: str) -> bool:
    """Whether a config is a Secret, as `status.trackedConfigs` names it."""
    return config.startswith(f"{SECRET.kind.lower()}/")


def _passing(check: Check) -> MetricAnswer:
    """An answer that lets the check pass."""
    value = check.minimum if check.minimum is not None else check.maximum
    return MetricAnswer(value=0.0 if value is None else value, samples=_MANY_SAMPLES)


_MANY_SAMPLES = 10**9
"""More requests than any check wants."""


def _is_news(status: Status, known: Iterable[Status]) -> bool:
    """Whether it is another status than these, though nobody sees that it is: it stands where the first does."""
    first, *_ = known
    return position_of(status) == position_of(first) and not any(
        (status.rung, status.applied, status.pending) == (one.rung, one.applied, one.pending) for one in known
    )


def _with_our_cookie(rollout: Rollout, status: Status, world: Observation) -> Observation:
    """Session cookies have other values with Flagger (D57); by them alone nothing differs."""
    wanted = goal(rollout, status).routes
    if rollout.affinity is None or world.routes is None or wanted is None:
        return world
    return evolve(world, routes=evolve(world.routes, cookie=wanted.cookie, expired=wanted.expired))
