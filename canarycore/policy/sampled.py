"""One rollout on simulated time: the real core against a simulated cluster with sampled traffic.

    run = simulate(rollout, Scenario(new=Behaviour(error_rate=0.02)), seed=1)
    for run in sweep(rollout, scenario, runs=1000, seed=1): ...

At the start the primary carries the old version, and the new version has just arrived on the target. `cycle()` decides
everything after that. Pods of the new version are ready `Scenario.ready_after` seconds after their start, and get no
traffic before. Time jumps from one wake to the next.

Traffic falls into buckets between those times, at most as long as the common measure of the interval and the checks'
windows. Each bucket has the number of requests to the canary and of failures (binomial). A success-rate check adds up
the buckets in its window, so a window longer than the interval covers several rungs, and a window without requests has
no data. A duration check gets the sample P99 of exponential response times with the scenario's P99: an order statistic
of one draw per request in the window. Each request is drawn afresh: the engine does not model session affinity.

Chance enters by answers only, which makes many runs fast. `decide` and the cluster are pure, so from one question to
the next everything follows from the cluster's state, the driver's memory and the answers. The engine plays such a
`_Stretch` once with the real loop and stores it; another run with the same state and equivalent answers reuses it. Each
run draws only its traffic and its answers. In a sweep two answers are equivalent if the core's `judge` gives both the
same verdict, as nothing reads the texts with their values. A single run plays its own stretches, and reports the values
that it drew.

With `Scenario.pods` each side has pods that take a limited number of requests, and autoscalers that change their number
(`canarycore.policy._pods`). The core sees them as in production: by the ready pods of its observation. A run then goes
on after the end of its rollout while requests are lost, at most for `Pods.longest_overload`.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain
from math import inf
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from canarycore._observation import Observation, Routes
from canarycore._status import Status
from canarycore._verdicts import judge
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish, cycle
from canarycore.errors import CannotHappen
from canarycore.phases import IDLE, Phase, Reason
from canarycore.policy._model import NotCovered, excess, grain, time_limit
from canarycore.policy._pods import ScaledSide, next_event, scale, scaled_sides
from canarycore.policy._scenario import Pods, Scenario, demand_known_names, outside
from canarycore.policy._summary import Outcome, Run
from canarycore.policy._traffic import NEW, OLD, Flow, RequestFlows, flow, pod_load, share
from canarycore.questions import (
    HookAnswer,
    HookQuestion,
    MetricAnswer,
    MetricQuestion,
    SourcesAnswer,
)
from canarycore.simulation.promises import RolloutView
from canarycore.simulation.state import (
    Pace,
    SimulatedPods,
    State,
    apply,
    attended,
    next_change,
    observation_of,
    observe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from concurrent.futures import Executor

    from canarycore._decision import Explanation
    from canarycore._spec import Check, Hook, Rollout
    from canarycore.driver import Request
    from canarycore.notices import Notice
    from canarycore.policy._pods import PodLoad
    from canarycore.questions import Answer, Question
    from canarycore.simulation.promises import Promise

BATCH = 200
"""Runs that a worker of `sweep` does at a time."""

_MOST_AT_ONCE = 1000
"""Number of cycles or questions at one time above which the engine reports a busy loop."""

_MOST_DECISIONS = 100_000
"""Most decisions of an autoscaler in the longest run."""

_MOST_FORKS = 20_000
"""Most forks of a table, a few kilobytes each."""


@frozen
class RunEvent:
    """A decision or a notice of a run."""

    seconds: float
    """Seconds since the start of the run."""
    phase: Phase
    """The phase after the event."""
    weight: float
    """Percent of traffic to the canary."""
    cause: Notice | Explanation
    """The notice, or the explanation of the decision."""
    share: float
    """Share of users on the new version from now on, 0 to 1."""
    failed: int
    """Number of failed checks, at most the threshold."""


def simulate(
    rollout: Rollout,
    scenario: Scenario,
    seed: int | str = 0,
    *,
    promises: Iterable[Promise] = (),
    on_event: Callable[[RunEvent], None] | None = None,
    on_load: Callable[[PodLoad], None] | None = None,
) -> Run:
    """Simulate one run; the same arguments give the same run.

    promises: invariants of your own; `Run.broken` names those that this run breaks. on_event: a function that gets
    every decision and notice. on_load: a function that gets the pods and their load over time, if the scenario has
    pods; the parts adjoin. Raise NotCovered where the policy takes too long, and WrongValue where the scenario names
    a hook or check that the policy lacks.
    """
    _refuse(rollout, scenario)
    return _Table(rollout, scenario, _keep_answer, tuple(promises)).run(seed, on_event, on_load)


def sweep(
    rollout: Rollout,
    scenario: Scenario,
    *,
    runs: int,
    seed: int | str = 0,
    promises: Iterable[Promise] = (),
    executor: Executor | None = None,
) -> Iterator[Run]:
    """Simulate many runs, in order; run `i` of a seed is always the same.

    promises: as in `simulate`; for other processes their functions must be importable, which a lambda is not. executor:
    workers that share the runs; None: this process. Raise NotCovered where the policy takes too long, and WrongValue
    where the scenario names a hook or check that the policy lacks.
    """
    _refuse(rollout, scenario)
    shares = [range(start, min(start + BATCH, runs)) for start in range(0, runs, BATCH)]
    do = map if executor is None else executor.map
    table = _Table(rollout, scenario, _keep_verdict, tuple(promises))
    return chain.from_iterable(do(partial(_batch, table, seed), shares))


def _refuse(rollout: Rollout, scenario: Scenario) -> None:
    demand_known_names(rollout, scenario)
    reason = excess(rollout) or _excess_of_scalers(rollout, scenario.pods)
    if reason:
        raise NotCovered(f"this policy cannot be simulated: {reason}")


def _excess_of_scalers(rollout: Rollout, pods: Pods | None) -> str:
    """Return why the autoscalers of a scenario decide too often for a simulation, or "" where they do not."""
    sides = () if pods is None else scaled_sides(pods)
    shortest = min((side.scaler.interval for side in sides), default=inf)
    if time_limit(rollout) / shortest <= _MOST_DECISIONS:
        return ""
    return f"an autoscaler may decide more than {_MOST_DECISIONS:,} times (Autoscaler.interval)"


def _batch(table: _Table, seed: int | str, numbers: range) -> list[Run]:
    return [table.run(f"{seed}/{number}") for number in numbers]


# -------------------------------------------------------------------------------------------------------------- table


@define
class _Table:
    """The stretches of the runs of one policy in one scenario, each played when a run first needs it."""

    rollout: Rollout
    """The policy."""
    scenario: Scenario
    """The assumptions."""
    equivalence: Callable[[Rollout, Question, Answer], Hashable]
    """A function that returns equal values for equivalent answers."""
    promises: tuple[Promise, ...]
    """The promises to check."""
    start: _Stretch | None = None
    """The first stretch."""
    forks: dict[Hashable, _Fork] = field(factory=dict)
    """Forks by all that their future depends on."""
    representatives: dict[Hashable, Answer] = field(factory=dict)
    """The answer to play with, by check and equivalence class."""

    def run(
        self,
        seed: int | str,
        on_event: Callable[[RunEvent], None] | None = None,
        on_load: Callable[[PodLoad], None] | None = None,
    ) -> Run:
        """Simulate one run from its start to its end."""
        chance = _Chance(self.rollout, self.scenario, Random(f"{seed}"))
        stretch, at_once, broken = self._start(), 0, dict[str, None]()
        while True:
            if self.promises:
                self._watch(stretch, chance.traffic, broken)
            else:
                for traffic in stretch.flows:
                    chance.traffic.add(traffic)
            if on_event is not None:
                for state, cause in stretch.events:
                    on_event(_run_event(state, cause, self.scenario))
            if on_load is not None:
                for traffic in stretch.flows:
                    if traffic.pods is not None:
                        on_load(traffic.pods)
            if stretch.fork is None:
                return _run(stretch.end, chance.traffic, self.scenario, tuple(broken))
            at_once = 0 if stretch.flows else at_once + 1
            if at_once > _MOST_AT_ONCE:
                raise CannotHappen(f"a rollout in {stretch.end.status.phase.value} asks without end")
            stretch = self._beyond(stretch.fork, chance)

    def _watch(self, stretch: _Stretch, traffic: RequestFlows, broken: dict[str, None]) -> None:
        """Add the traffic of a stretch, and note the promises that do not hold at an event or at the end."""
        flows, states = deque(stretch.flows), [state for state, _ in stretch.events]
        for state in (*states, stretch.end):
            while flows and flows[0].until <= state.now:
                traffic.add(flows.popleft())
            if state.status.phase in IDLE and state.status.applied != NEW:
                continue  # it has not begun
            view = _view(state, traffic, self.scenario)
            broken |= {promise.name: None for promise in self.promises if not promise.is_kept(view)}

    def _start(self) -> _Stretch:
        if self.start is None or len(self.forks) >= _MOST_FORKS:
            self.forks.clear()
            self.start = self._play(_Stage.of(self.rollout, self.scenario))
        return self.start

    def _beyond(self, fork: _Fork, chance: _Chance) -> _Stretch:
        """Return the stretch after the answers of this run."""
        questions, now = fork.questions, fork.stage.state.now
        answers = [chance.reply(question, now) for question in questions]
        classes = tuple([self.equivalence(self.rollout, *pair) for pair in zip(questions, answers, strict=True)])
        stretch = fork.beyond.get(classes)
        if stretch is None:
            representatives = {
                question.key: self.representatives.setdefault((_check_of(question), key), answer)
                for question, key, answer in zip(questions, classes, answers, strict=True)
            }
            stretch = fork.beyond[classes] = self._play(fork.stage.with_answers(representatives))
        return stretch

    def _play(self, stage: _Stage) -> _Stretch:
        """Play the stretch from here to a fork, which other runs may have reached on another way."""
        questions = stage.play()
        future_key = stage.future_key()
        fork = self.forks.setdefault(future_key, _Fork(stage, questions)) if questions else None
        return _Stretch(stage.flows, stage.events, fork, stage.state)


@define
class _Stretch:
    """The events of a run without chance, up to a fork or to the end of the run."""

    flows: list[Flow]
    events: list[tuple[State, Notice | Explanation]]
    fork: _Fork | None
    end: State


@define
class _Fork:
    """Questions, and the stretches after them by the equivalence classes of the answers."""

    stage: _Stage
    questions: tuple[Question, ...]
    beyond: dict[tuple[Hashable, ...], _Stretch] = field(factory=dict)


def _run_event(state: State, cause: Notice | Explanation, scenario: Scenario) -> RunEvent:
    status = state.status
    return RunEvent(
        seconds=state.now,
        phase=status.phase,
        weight=state.routes.percent if state.routes is not None else 0,
        cause=cause,
        share=share(state, scenario),
        failed=state.rollout.threshold if status.reason is Reason.CHECKS else status.failed_checks,
    )


def _keep_answer(rollout: Rollout, question: Question, answer: Answer) -> Hashable:
    """Return the answer itself, so that every answer leads to its own stretch."""
    del rollout, question
    return answer


def _keep_verdict(rollout: Rollout, question: Question, answer: Answer) -> Hashable:
    """Return the parts of an answer that a decision depends on: of a metric the verdict, and whether data were thin."""
    if isinstance(question, MetricQuestion) and isinstance(answer, MetricAnswer):
        judgement = judge(question.check, answer, rollout.min_samples)
        return judgement.verdict, judgement.is_thin
    return answer


def _check_of(question: Question) -> Check | None:
    return question.check if isinstance(question, MetricQuestion) else None


def _view(state: State, traffic: RequestFlows, scenario: Scenario) -> RolloutView:
    """Return the run as a promise sees it."""
    status = state.status
    ended = status.since if status.phase in IDLE and status.applied == NEW else None
    return RolloutView(
        rollout=state.rollout,
        scenario=scenario,
        status=status,
        revision=NEW,
        share=share(state, scenario),
        seconds=state.now if ended is None else ended,
        requests=traffic.requests,
        canary_requests=traffic.new_requests,
        bad_requests=traffic.bad,
        lost_requests=traffic.lost,
    )


def _run(end: State, traffic: RequestFlows, scenario: Scenario, broken: tuple[str, ...]) -> Run:
    """Return the facts of a run from its end."""
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
        broken=broken,
        lost_requests=traffic.lost,
        peak_load=traffic.peak_load,
    )


_OUTCOMES = {Phase.SUCCEEDED: Outcome.PROMOTED, Phase.FAILED: Outcome.ROLLED_BACK}


# ------------------------------------------------------------------------------------------------------------- chance


class _Chance:
    """The draws of one run: its traffic, and the answers to its questions."""

    def __init__(self, rollout: Rollout, scenario: Scenario, random: Random) -> None:
        self.traffic = RequestFlows(scenario, random, rollout)
        self._scenario = scenario
        self._random = random

    def reply(self, question: Question, now: float) -> Answer:
        """Return the answer to a question at this time (seconds)."""
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
    """The cluster, the driver's loop on it, and the clock, up to a question."""

    scenario: Scenario
    state: State
    until: float
    size: float
    memory: CycleMemory = field(factory=CycleMemory)
    flows: list[Flow] = field(factory=list)
    events: list[tuple[State, Notice | Explanation]] = field(factory=list)
    observed_state: State | None = None
    observation: Observation | None = None
    changes: float = inf
    sides: tuple[ScaledSide, ...] = ()

    @classmethod
    def of(cls, rollout: Rollout, scenario: Scenario) -> _Stage:
        """Return the stage at which the new version has just arrived."""
        pods, pace = scenario.pods, Pace(delay=scenario.ready_after)
        many = 1 if pods is None else pods.primary
        names = (NEW,) if pods is None else ("primary", "target")
        state = State(
            rollout=rollout,
            status=Status(phase=Phase.INITIALIZED, since=0.0, applied=OLD, promoted=OLD),
            target=SimulatedPods(revision=NEW, desired=0),
            primary=SimulatedPods(revision=OLD, desired=many, mine=many),
            routes=Routes(),
            replicas=1 if pods is None else pods.canary,
            paces=tuple((name, pace) for name in names) if scenario.ready_after else (),
        )
        sides = () if pods is None else scaled_sides(pods)
        return cls(scenario, state, time_limit(rollout), grain(rollout), sides=sides)

    def with_answers(self, answers: dict[str, Answer]) -> _Stage:
        """Return the stage with these answers in the driver's memory, without past flows and events."""
        memory = CycleMemory({**self.memory.answers, **answers}, set(self.memory.published), self.memory.last_goal)
        return evolve(self, memory=memory, flows=[], events=[])

    def future_key(self) -> Hashable:
        """Return all that the future depends on, except answers to come."""
        memory = self.memory
        return self.state.but(rollout=None), tuple(memory.answers.items()), frozenset(memory.published), self.sides

    def play(self) -> tuple[Question, ...]:
        """Run the driver and let time pass up to the next questions; return none at the end of the run."""
        cycles = 0
        while self.state.now < self.until and not self._is_over:
            rest = self._run_cycle()
            if isinstance(rest, Fetch):
                return rest.questions
            wake = self._wake(rest)
            cycles = cycles + 1 if wake <= self.state.now else 0
            if cycles > _MOST_AT_ONCE:
                raise CannotHappen(f"a rollout in {self.state.status.phase.value} does not come to rest")
            if wake == inf:
                break
            self._advance(min(wake, self.until))
        if self.scenario.pods is not None and self._is_over:
            self._end_overload(self.scenario.pods)
        return ()

    @property
    def _is_over(self) -> bool:
        """Whether the rollout has ended and owes nothing but time."""
        status = self.state.status
        return status.applied == NEW and status.phase in IDLE and not status.pending

    def _run_cycle(self) -> CycleResult | Fetch:
        """Run one cycle, or stop it at a question, before any write."""
        loop = cycle(self.memory)
        request: Request = next(loop)
        try:
            while not isinstance(request, Fetch):
                request = loop.send(self._carry_out(request))
        except StopIteration as stop:
            rest: CycleResult = stop.value
            return rest
        return request

    def _carry_out(self, request: Request) -> Observed | None:
        match request:
            case Observe():
                return Observed(self.state.rollout, self.state.status, self._observe())
            case Commit(status):
                self.state = attended(self.state.but(status=status))
            case Apply(effect):
                self.state = apply(self.state, effect)
            case Publish(notice):
                self.events.append((self.state, notice))
        return None

    def _observe(self) -> Observation:
        """Return the same as `observe`, but observe only workloads that may have changed."""
        state, last, observation = self.state, self.observed_state, self.observation
        unchanged = last is not None and state.target is last.target and state.primary is last.primary
        if observation is None or not unchanged or state.now >= self.changes:
            observation, self.observed_state, self.changes = observe(state), state, next_change(state)
        elif state.now != observation.now or state.routes is not observation.routes:
            observation = observation_of(state, observation.target, observation.primary)
        self.observation = observation
        return observation

    def _wake(self, rest: CycleResult) -> float:
        """Return the time of the next cycle (seconds; infinite: never)."""
        if rest.errors:
            raise CannotHappen(f"the simulated cluster refused: {rest.errors[0]}") from rest.errors[0]
        now = self.state.now
        if rest.decision is not None and rest.decision.status is not self.state.status:
            self.events.append((self.state, rest.decision.explanation))
        wake = inf if rest.wake is None else rest.wake
        return min(wake, self.changes) if wake > now else wake

    def _advance(self, until: float) -> None:
        """Let time pass, with its traffic; with limited pods only up to a change that the driver sees."""
        pods = self.scenario.pods
        if until <= self.state.now:
            return
        if pods is None:
            self._pass(until)
            return
        while self.state.now < until and not self._pass_with_pods(until, pods):
            pass

    def _pass(self, until: float) -> None:
        self.flows.append(flow(self.state, until, self.scenario, self.size))
        self.state = self.state.but(now=until)

    def _pass_with_pods(self, until: float, pods: Pods) -> bool:
        """Let time pass up to the next change of pods or decision of an autoscaler; return whether pods changed."""
        before, change = self.state, next_change(self.state)
        self._pass(min(until, next_event(before, self.sides)))
        load, now = self.flows[-1].pods, self.state.now
        if load is not None:
            self.sides = tuple([side.after(now - before.now, load) for side in self.sides])
        self.state, self.sides = scale(self.state, self.sides, pods)
        is_same = self.state.primary is before.primary and self.state.target is before.target
        return not is_same or now >= change

    def _end_overload(self, pods: Pods) -> None:
        """Let time pass after the end of the rollout while requests are lost."""
        end = self.state.now + pods.longest_overload
        while self.state.now < end and pod_load(self.state, end, self.scenario, pods).lost_rps:
            self._pass_with_pods(end, pods)
