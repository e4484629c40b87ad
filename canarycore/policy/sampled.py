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

Why many runs are fast: chance comes in by answers only. From one question to the next everything follows from the
cluster's state, what the driver remembers and the answers, as `decide` is pure and so is the cluster. Such a `_Stretch`
is therefore played once, by the real loop from the real status, and kept; another run that comes to the same state and
hears the same goes along it again. What a run draws for itself is its traffic and its answers. Two answers are the same
where the core's own `judge` says the same of both: their values go into texts, which nobody reads in a sweep. A single
run is played on stretches of its own, and tells the values that it drew.
"""

from __future__ import annotations

from itertools import chain, repeat
from math import inf
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from canarycore._observation import Observation, Routes
from canarycore._status import Reason, Status
from canarycore._verdicts import judge
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish, cycle
from canarycore.errors import CannotHappen
from canarycore.phases import IDLE, Phase
from canarycore.policy._model import NotCovered, excess, grain, time_limit
from canarycore.policy._scenario import Scenario, outside
from canarycore.policy._summary import Outcome, Run
from canarycore.policy._traffic import NEW, OLD, Flow, RequestFlows, flow, share
from canarycore.questions import (
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    SourcesAnswer,
)
from canarycore.simulation.state import Pace, SimulatedPods, State, apply, next_change, observation_of, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from concurrent.futures import Executor

    from canarycore._decision import Explanation
    from canarycore._spec import Check, Hook, Rollout
    from canarycore.driver import Request
    from canarycore.notices import Notice
    from canarycore.questions import Answer, Question

BATCH = 200
"""Runs that a worker of `sweep` does at a time."""

_MOST_AT_ONCE = 1000
"""Cycles, or questions, at one moment from which on the rollout is held to be in a busy loop."""

_MOST_FORKS = 20_000
"""Forks that a table keeps, a few kilobytes each."""


@frozen
class RunEvent:
    """Something told during a run: `seconds` after its start, in this phase and at this weight (percent).

    share: of users who meet the new version from then on, 0 to 1. failed: checks, up to the threshold.
    """

    seconds: float
    phase: Phase
    weight: int
    cause: Notice | Explanation
    share: float
    failed: int


def simulate(
    rollout: Rollout, scenario: Scenario, seed: int | str = 0, *, on_event: Callable[[RunEvent], None] | None = None
) -> Run:
    """One run. The same arguments give the same run. `on_event` gets every decision and notice. Raises NotCovered."""
    _refuse_excess(rollout)
    return _Table(rollout, scenario, _word_for_word).run(seed, on_event)


def sweep(
    rollout: Rollout, scenario: Scenario, *, runs: int, seed: int | str = 0, executor: Executor | None = None
) -> Iterator[Run]:
    """Many runs, in order; run `i` of a seed is always the same one. An executor's workers share them.

    Raises NotCovered at once.
    """
    _refuse_excess(rollout)
    shares = (range(start, min(start + BATCH, runs)) for start in range(0, runs, BATCH))
    do = map if executor is None else executor.map
    return chain.from_iterable(do(_batch, repeat(_Table(rollout, scenario, _in_effect)), repeat(seed), shares))


def _refuse_excess(rollout: Rollout) -> None:
    reason = excess(rollout)
    if reason:
        raise NotCovered(f"this policy cannot be simulated: {reason}")


def _batch(table: _Table, seed: int | str, numbers: range) -> list[Run]:
    return [table.run(f"{seed}/{number}") for number in numbers]


# -------------------------------------------------------------------------------------------------------------- table


@define
class _Table:
    """The stretches that runs of one policy in one scenario go along, played when one is needed first.

    heard: what of an answer makes a difference. alike: by check and what is heard of it, the answer to play on with.
    """

    rollout: Rollout
    scenario: Scenario
    heard: Callable[[Rollout, Question, Answer], Hashable]
    start: _Stretch | None = None
    forks: dict[Hashable, _Fork] = field(factory=dict)
    alike: dict[Hashable, Answer] = field(factory=dict)

    def run(self, seed: int | str, on_event: Callable[[RunEvent], None] | None = None) -> Run:
        """One run, from its beginning to its end."""
        chance = _Chance(self.rollout, self.scenario, Random(f"{seed}"))
        stretch, at_once = self._start(), 0
        while True:
            for passing in stretch.flows:
                chance.traffic.pass_by(passing)
            if on_event is not None:
                for state, what in stretch.happened:
                    on_event(_happening(state, what, self.scenario))
            if stretch.fork is None:
                return _run(stretch.end, chance.traffic, self.scenario)
            at_once = 0 if stretch.flows else at_once + 1
            if at_once > _MOST_AT_ONCE:
                raise CannotHappen(f"a rollout in {stretch.end.status.phase.value} asks without end")
            stretch = self._beyond(stretch.fork, chance)

    def _start(self) -> _Stretch:
        if self.start is None or len(self.forks) >= _MOST_FORKS:
            self.forks.clear()
            self.start = self._played(_Stage.of(self.rollout, self.scenario))
        return self.start

    def _beyond(self, fork: _Fork, chance: _Chance) -> _Stretch:
        """The stretch that the answers lead to."""
        asked, now = fork.asked, fork.stage.state.now
        answers = [chance.reply(question, now) for question in asked]
        heard = tuple([self.heard(self.rollout, *pair) for pair in zip(asked, answers, strict=True)])
        stretch = fork.beyond.get(heard)
        if stretch is None:
            told = {
                question.key: self.alike.setdefault((_what(question), word), answer)
                for question, word, answer in zip(asked, heard, answers, strict=True)
            }
            stretch = fork.beyond[heard] = self._played(fork.stage.told(told))
        return stretch

    def _played(self, stage: _Stage) -> _Stretch:
        """The stretch from here to a fork, which other runs may have come to another way."""
        asked = stage.play()
        known = stage.known()
        fork = self.forks.setdefault(known, _Fork(stage, asked)) if asked else None
        return _Stretch(stage.flows, stage.happened, fork, stage.state)


@define
class _Stretch:
    """What happens without chance: up to a fork, or to the end of the run. end: the cluster there."""

    flows: list[Flow]
    happened: list[tuple[State, Notice | Explanation]]
    fork: _Fork | None
    end: State


@define
class _Fork:
    """Questions, and the stretch beyond them by what is heard."""

    stage: _Stage
    asked: tuple[Question, ...]
    beyond: dict[tuple[Hashable, ...], _Stretch] = field(factory=dict)


def _happening(state: State, what: Notice | Explanation, scenario: Scenario) -> RunEvent:
    status = state.status
    return RunEvent(
        seconds=state.now,
        phase=status.phase,
        weight=state.routes.weight if state.routes is not None else 0,
        cause=what,
        share=share(state, scenario),
        failed=state.rollout.threshold if status.reason is Reason.CHECKS else status.failed_checks,
    )


def _word_for_word(rollout: Rollout, question: Question, answer: Answer) -> Hashable:
    """Every answer leads to a stretch of its own."""
    del rollout, question
    return answer


def _in_effect(rollout: Rollout, question: Question, answer: Answer) -> Hashable:
    """All that a decision rests on: of a metric the verdict, and whether a value stood behind it."""
    if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer):
        judgement = judge(question.check, answer, rollout.min_samples)
        return judgement.verdict, judgement.is_thin
    return answer


def _what(question: Question) -> Check | None:
    return question.check if isinstance(question, MetricQuestion) else None


def _run(end: State, traffic: RequestFlows, scenario: Scenario) -> Run:
    """What came of it."""
    status = end.status
    outcome = _OUTCOMES.get(status.phase, Outcome.UNDECIDED) if status.applied == NEW else Outcome.UNDECIDED
    decided = outcome is not Outcome.UNDECIDED and status.since is not None
    return Run(
        outcome=outcome,
        reason=status.reason.value,
        seconds=status.since if decided and status.since is not None else end.now,
        requests=traffic.requests,
        canary_requests=traffic.new_requests,
        bad_requests=traffic.bad,
        excess_bad_requests=traffic.new_bad - traffic.new_requests * scenario.old.error_rate,
    )


_OUTCOMES = {Phase.SUCCEEDED: Outcome.PROMOTED, Phase.FAILED: Outcome.ROLLED_BACK}


# ------------------------------------------------------------------------------------------------------------- chance


class _Chance:
    """What a run draws for itself: its traffic, and the answers to what is asked."""

    def __init__(self, rollout: Rollout, scenario: Scenario, random: Random) -> None:
        self.traffic = RequestFlows(scenario, random, rollout)
        self._scenario = scenario
        self._random = random

    def reply(self, question: Question, now: float) -> Answer:
        """What is answered at this time (seconds)."""
        match question:
            case HookQuestion():
                return self._hook(question.hook)
            case MetricQuestion():
                return self._metric(question.check, now)
            case _:
                return SourcesAnswer()

    def _hook(self, hook: Hook) -> HookAnswer:
        if self._fails(hook.name):
            return HookAnswer(passed=False, text="it fails by chance in this scenario")
        passed = self._scenario.passes(hook)
        return HookAnswer(passed=passed, text="" if passed else "denied in this scenario")

    def _metric(self, check: Check, now: float) -> MetricAnswer:
        if self._fails(check.name):
            return MetricAnswer(value=outside(check))
        return self.traffic.measure(check, now)

    def _fails(self, name: str) -> bool:
        chance = self._scenario.failures.get(name, 0.0)
        return chance > 0.0 and self._random.random() < chance


# -------------------------------------------------------------------------------------------------------------- stage


@define
class _Stage:
    """The cluster, the driver's loop on it, and the clock, up to a question.

    until: when time is up (seconds). size: of a piece of traffic at most (seconds). flows, happened: what it has
    come to since the last question. looked, world, changes: what was observed last, of which state, and until when it
    holds (seconds).
    """

    scenario: Scenario
    state: State
    until: float
    size: float
    memory: CycleMemory = field(factory=CycleMemory)
    flows: list[Flow] = field(factory=list)
    happened: list[tuple[State, Notice | Explanation]] = field(factory=list)
    looked: State | None = None
    world: Observation | None = None
    changes: float = inf

    @classmethod
    def of(cls, rollout: Rollout, scenario: Scenario) -> _Stage:
        """The new version has just arrived."""
        state = State(
            rollout=rollout,
            status=Status(phase=Phase.INITIALIZED, since=0.0, applied=OLD, promoted=OLD),
            target=SimulatedPods(revision=NEW, desired=0),
            primary=SimulatedPods(revision=OLD, desired=1, mine=1),
            routes=Routes(),
            replicas=1,
            paces=((NEW, Pace(delay=scenario.ready_after)),) if scenario.ready_after else (),
        )
        return cls(scenario, state, time_limit(rollout), grain(rollout))

    def told(self, answers: dict[str, Answer]) -> _Stage:
        """The same cluster at the same time, with a driver that knows these answers and looks again."""
        memory = CycleMemory({**self.memory.answers, **answers}, set(self.memory.published), self.memory.last_goal)
        return evolve(self, memory=memory, flows=[], happened=[])

    def known(self) -> Hashable:
        """All that the future follows from, answers apart."""
        memory = self.memory
        return self.state.but(rollout=None), tuple(memory.answers.items()), frozenset(memory.published)

    def play(self) -> tuple[Question, ...]:
        """Let the driver work and time pass until something is asked; nothing is when the run is over."""
        cycles = 0
        while self.state.now < self.until and not self._is_over:
            rest = self._turn()
            if isinstance(rest, Fetch):
                return rest.questions
            wake = self._wake(rest)
            cycles = cycles + 1 if wake <= self.state.now else 0
            if cycles > _MOST_AT_ONCE:
                raise CannotHappen(f"a rollout in {self.state.status.phase.value} does not come to rest")
            if wake == inf:
                break
            self._advance(min(wake, self.until))
        return ()

    @property
    def _is_over(self) -> bool:
        """Whether the rollout has ended and owes nothing but time."""
        status = self.state.status
        return status.applied == NEW and status.phase in IDLE and not status.pending

    def _turn(self) -> CycleResult | Fetch:
        """One cycle; it ends at a question, before anything is written."""
        loop = cycle(self.memory)
        request: Request = next(loop)
        try:
            while not isinstance(request, Fetch):
                request = loop.send(self._carried_out(request))
        except StopIteration as stop:
            rest: CycleResult = stop.value
            return rest
        return request

    def _carried_out(self, request: Request) -> Observed | None:
        match request:
            case Observe():
                return Observed(self.state.rollout, self.state.status, self._observe())
            case Commit(status):
                self.state = self.state.but(status=status)
            case Apply(effect):
                self.state = apply(self.state, effect)
            case Publish(notice):
                self.happened.append((self.state, notice))
        return None

    def _observe(self) -> Observation:
        """What `observe` shows; workloads that cannot have changed since they were looked at stay as they were."""
        state, last, world = self.state, self.looked, self.world
        unchanged = last is not None and state.target is last.target and state.primary is last.primary
        if world is None or not unchanged or state.now >= self.changes:
            world, self.looked, self.changes = observe(state), state, next_change(state)
        elif state.now != world.now or state.routes is not world.routes:
            world = observation_of(state, world.target, world.primary)
        self.world = world
        return world

    def _wake(self, rest: CycleResult) -> float:
        """When the next cycle is due (seconds; infinite: never)."""
        if rest.errors:
            raise CannotHappen(f"the simulated cluster refused: {rest.errors[0]}") from rest.errors[0]
        now = self.state.now
        if rest.decision is not None and rest.decision.status is not self.state.status:
            self.happened.append((self.state, rest.decision.explanation))
        wake = inf if rest.wake is None else rest.wake
        return min(wake, self.changes) if wake > now else wake

    def _advance(self, until: float) -> None:
        """Let time pass, with its traffic."""
        if until > self.state.now:
            self.flows.append(flow(self.state, until, self.scenario, self.size))
            self.state = self.state.but(now=until)
