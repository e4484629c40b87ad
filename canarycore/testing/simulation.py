"""One rollout on simulated time: the real core against a simulated cluster with sampled traffic.

    run = simulate(rollout, Scenario(new=Behaviour(error_rate=0.02)), seed=1)
    for run in sweep(rollout, scenario, runs=1000, seed=1): ...

The primary carries the old version, the new one has just arrived on the target; everything after that is decided by
`cycle()`. Pods of the new version are ready `Scenario.ready_after` seconds after they are started, and serve nobody
before. Time jumps from one wake to the next.

Traffic is counted in buckets between those moments, no longer than the common measure of the interval and the checks'
windows. Each bucket holds how many requests met the canary and how many of them failed (Binomial). A success-rate check
adds up the buckets in its window, so a window that is longer than the interval sees several rungs, and one without
requests has no data. A duration check sees the P99 of exponential response times with the scenario's P99: the order
statistic of as many draws as the window held requests. Session affinity is not modelled: each request is drawn afresh.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, islice, repeat
from math import inf, log, log1p
from random import Random
from typing import TYPE_CHECKING

from attrs import define, frozen

from canarycore._cycle import Apply, Commit, Fetch, Memory, Observe, Publish, Rest, Seen, cycle
from canarycore._phases import IDLE, OVER, Phase
from canarycore._questions import (
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    SourcesAnswer,
)
from canarycore._spec import CheckKind
from canarycore._status import Reason, Status
from canarycore._world import Routes, World
from canarycore.errors import CannotHappen
from canarycore.policy._model import grain, patience
from canarycore.policy._scenario import Scenario, inside, outside
from canarycore.policy._summary import Outcome, Run
from canarycore.testing._chance import binomial, percentile
from canarycore.testing._state import Pace, Pods, State, apply, next_change, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from canarycore._case import Because
    from canarycore._cycle import Request
    from canarycore._notices import Notice
    from canarycore._questions import Answer, Question
    from canarycore._spec import Check, Hook, Rollout

OLD, NEW = "old", "new"
"""The revisions that the primary and the target carry at the start."""

BATCH = 25
"""Runs that a worker of `sweep` does at a time."""

_MOST_CYCLES_AT_ONCE = 1000


@frozen
class Happening:
    """Something told during a run: `seconds` after its start, in this phase and at this weight (percent).

    share: of users who meet the new version from then on, 0 to 1. failed: checks, up to the threshold.
    """

    seconds: float
    phase: Phase
    weight: int
    what: Notice | Because
    share: float
    failed: int


def simulate(
    rollout: Rollout, scenario: Scenario, seed: int | str = 0, *, tell: Callable[[Happening], None] | None = None
) -> Run:
    """One run. The same arguments give the same run. `tell` hears of every decision and notice."""
    simulation = _Simulation(rollout, scenario, Random(f"{seed}"), tell)
    end = patience(rollout)
    cycles = 0
    while simulation.now < end and not simulation.over:
        wake = simulation.turn()
        cycles = cycles + 1 if wake <= simulation.now else 0
        if cycles > _MOST_CYCLES_AT_ONCE:
            raise CannotHappen(f"a rollout in {simulation.state.status.phase.value} does not come to rest")
        if wake == inf:
            break
        simulation.advance(min(wake, end))
    return simulation.run()


def sweep(
    rollout: Rollout, scenario: Scenario, *, runs: int, seed: int | str = 0, executor: Executor | None = None
) -> Iterator[Run]:
    """Many runs, in order; run `i` of a seed is always the same one. An executor's workers share them."""
    starts = range(0, runs, BATCH)
    do = map if executor is None else executor.map
    batches = do(_batch, repeat(rollout), repeat(scenario), repeat(seed), starts)
    return islice(chain.from_iterable(batches), runs)


def _batch(rollout: Rollout, scenario: Scenario, seed: int | str, start: int) -> list[Run]:
    return [simulate(rollout, scenario, f"{seed}/{number}") for number in range(start, start + BATCH)]


# ------------------------------------------------------------------------------------------------------------ cluster


class _Simulation:
    """The cluster, the clock and the traffic of one run."""

    def __init__(
        self, rollout: Rollout, scenario: Scenario, random: Random, tell: Callable[[Happening], None] | None
    ) -> None:
        self.state = State(
            rollout=rollout,
            status=Status(phase=Phase.INITIALIZED, since=0.0, applied=OLD, promoted=OLD),
            target=Pods(revision=NEW, desired=0),
            primary=Pods(revision=OLD, desired=1, mine=1),
            routes=Routes(),
            replicas=1,
            paces=((NEW, Pace(delay=scenario.ready_after)),) if scenario.ready_after else (),
        )
        self._scenario = scenario
        self._random = random
        self._tell = tell
        self._memory = Memory()
        self._looked, self._changes = self.state, inf
        self._world: World | None = None
        self._traffic = _Traffic(scenario, random, rollout)

    @property
    def now(self) -> float:
        return self.state.now

    @property
    def over(self) -> bool:
        """Whether the rollout has ended and owes nothing but time."""
        status = self.state.status
        return status.applied == NEW and status.phase in IDLE and not status.pending

    def turn(self) -> float:
        """One cycle; returns when the next one is due (infinite: never)."""
        loop = cycle(self._memory)
        request: Request = next(loop)
        while True:
            try:
                request = loop.send(self._answer(request))
            except StopIteration as stop:
                return self._rest(stop.value)

    def advance(self, until: float) -> None:
        """Let time pass, with its traffic."""
        if until > self.now:
            self._traffic.flow(self.state, until)
            self.state = self.state.but(now=until)

    def run(self) -> Run:
        """What came of it."""
        status, traffic = self.state.status, self._traffic
        outcome = _OUTCOMES.get(status.phase, Outcome.UNDECIDED) if status.applied == NEW else Outcome.UNDECIDED
        decided = outcome is not Outcome.UNDECIDED and status.since is not None
        return Run(
            outcome=outcome,
            reason=status.reason.value,
            seconds=status.since if decided and status.since is not None else self.now,
            requests=traffic.requests,
            canary_requests=traffic.new_requests,
            bad_requests=traffic.bad,
            excess_bad_requests=traffic.new_bad - traffic.new_requests * self._scenario.old.error_rate,
        )

    def _answer(self, request: Request) -> object:
        match request:
            case Observe():
                return Seen(self.state.rollout, self.state.status, self._observe())
            case Fetch(questions):
                return {question.key: self._reply(question) for question in questions}
            case Commit(status):
                self.state = self.state.but(status=status)
            case Apply(effect):
                self.state = apply(self.state, effect)
            case Publish(notice):
                self._happened(notice)
        return None

    def _observe(self) -> World:
        """What `observe` shows; workloads that cannot have changed since they were looked at stay as they were."""
        state, last, world = self.state, self._looked, self._world
        unchanged = state.target is last.target and state.primary is last.primary
        if world is None or not unchanged or state.now >= self._changes:
            world, self._looked, self._changes = observe(state), state, next_change(state)
        elif state.now != world.now or state.routes is not world.routes:
            world = World(
                now=state.now,
                target=world.target,
                primary=world.primary,
                routes=state.routes,
                scaler_paused=world.scaler_paused,
                kept=state.kept,
            )
        self._world = world
        return world

    def _reply(self, question: Question) -> Answer:
        match question:
            case HookQuestion():
                return self._hook(question.hook)
            case MetricQuestion():
                return self._metric(question.check)
            case _:
                return SourcesAnswer()

    def _hook(self, hook: Hook) -> HookAnswer:
        if self._fails(hook.name):
            return HookAnswer(passed=False, text="it fails by chance in this scenario")
        passed = self._scenario.passes(hook)
        return HookAnswer(passed=passed, text="" if passed else "denied in this scenario")

    def _metric(self, check: Check) -> MetricAnswer:
        if self._fails(check.name):
            return MetricAnswer(value=outside(check))
        return self._traffic.measure(check, self.now)

    def _fails(self, name: str) -> bool:
        chance = self._scenario.failures.get(name, 0.0)
        return chance > 0.0 and self._random.random() < chance

    def _rest(self, rest: Rest) -> float:
        if rest.troubles:
            raise CannotHappen(f"the simulated cluster refused: {rest.troubles[0]}") from rest.troubles[0]
        if rest.decision is not None and rest.decision.status is not self.state.status:
            self._happened(rest.decision.because)
        wake = inf if rest.wake is None else rest.wake
        return min(wake, self._changes) if wake > self.now else wake

    def _happened(self, what: Notice | Because) -> None:
        if self._tell is not None:
            state, status = self.state, self.state.status
            weight = state.routes.weight if state.routes is not None else 0
            failed = self.state.rollout.threshold if status.reason is Reason.CHECKS else status.failed_checks
            share = self._traffic.share(state)
            self._tell(Happening(state.now, status.phase, weight, what, share, failed))


_OUTCOMES = {Phase.SUCCEEDED: Outcome.PROMOTED, Phase.FAILED: Outcome.ROLLED_BACK}


# ------------------------------------------------------------------------------------------------------------ traffic


@frozen
class _Bucket:
    """Requests that met the canary from `start` to `end` (seconds), and how many of them failed."""

    start: float
    end: float
    requests: int
    bad: int


@define
class _Stream:
    """Evenly spaced requests: whole ones, with the fraction carried over."""

    carry: float = 0.0

    def take(self, amount: float) -> int:
        self.carry += amount
        whole = int(self.carry + 1e-9)
        self.carry -= whole
        return whole


class _Traffic:
    """Requests of users and load tests, and what became of them."""

    def __init__(self, scenario: Scenario, random: Random, rollout: Rollout) -> None:
        self._scenario = scenario
        self._random = random
        self._rollout = rollout
        self._grain = grain(rollout)
        self._longest = max((check.window for check in rollout.checks), default=0.0)
        self._buckets: deque[_Bucket] = deque()
        self._live, self._tests, self._rest = _Stream(), _Stream(), _Stream()
        self.requests = self.bad = self.new_requests = self.new_bad = 0

    def flow(self, state: State, until: float) -> None:
        """What happens from the state's time to `until`, while nothing changes."""
        scenario, seconds = self._scenario, until - state.now
        share, copied, tested = self._exposure(state)
        new = self._is_taken_over(state)
        rate = (scenario.new if new else scenario.old).error_rate
        count = self._rest.take(scenario.rps * (1.0 - share) * seconds)
        self._count(count, binomial(self._random, count, rate), new=new)
        if share or copied or tested:
            self._fill(state.now, until, share, copied + tested)

    def share(self, state: State) -> float:
        """Of users who meet the new version."""
        return 1.0 if self._is_taken_over(state) else self._exposure(state)[0]

    def _is_taken_over(self, state: State) -> bool:
        """Whether the primary serves the new version."""
        primary = state.primary
        return primary is not None and primary.revision == NEW and _is_ready(primary, state.now, self._scenario)

    def measure(self, check: Check, now: float) -> MetricAnswer:
        """What the check's query finds in its window."""
        if check.kind not in (CheckKind.SUCCESS_RATE, CheckKind.DURATION):
            return MetricAnswer(value=inside(check))
        since = now - check.window
        seen = [bucket for bucket in self._buckets if bucket.start + bucket.end > 2 * since]
        requests = sum(bucket.requests for bucket in seen)
        if not requests:
            return MetricAnswer(samples=0)
        if check.kind is CheckKind.SUCCESS_RATE:
            bad = sum(bucket.bad for bucket in seen)
            return MetricAnswer(value=100.0 * (requests - bad) / requests, samples=requests)
        p99 = self._scenario.new.p99
        value = inside(check) if p99 is None else _exponential_p99(self._random, requests, p99)
        return MetricAnswer(value=value, samples=requests)

    def _exposure(self, state: State) -> tuple[float, float, float]:
        """To the canary: the share of users, copies a second, test requests a second."""
        scenario, routes = self._scenario, state.routes
        target = state.target
        if routes is None or target is None or not target.desired or not _is_ready(target, state.now, scenario):
            return 0.0, 0.0, 0.0
        share = scenario.match_share if routes.matched else routes.weight / 100
        copied = scenario.rps * self._rollout.mirror_weight / 100 if routes.mirrored else 0.0
        return share, copied, 0.0 if state.status.phase in IDLE | OVER else scenario.test_rps

    def _fill(self, start: float, until: float, share: float, unseen_rps: float) -> None:
        rate = self._scenario.new.error_rate
        while start < until - 1e-9:
            end = min(start + self._grain, until)
            live = self._live.take(self._scenario.rps * share * (end - start))
            tests = self._tests.take(unseen_rps * (end - start))
            bad = binomial(self._random, live, rate)
            self._count(live, bad, new=True)
            self._buckets.append(_Bucket(start, end, live + tests, bad + binomial(self._random, tests, rate)))
            start = end
        while self._buckets and self._buckets[0].end <= until - self._longest:
            self._buckets.popleft()

    def _count(self, requests: int, bad: int, *, new: bool) -> None:
        self.requests += requests
        self.bad += bad
        if new:
            self.new_requests += requests
            self.new_bad += bad


def _is_ready(pods: Pods, now: float, scenario: Scenario) -> bool:
    """Whether pods of the new version have had the time they need. Until then the old ones serve."""
    return now >= pods.changed + scenario.ready_after


def _exponential_p99(random: Random, requests: int, p99: float) -> float:
    """The P99 of so many exponential response times whose true P99 is `p99` (milliseconds)."""
    return p99 * log1p(-percentile(random, requests, 0.99)) / log(0.01)
