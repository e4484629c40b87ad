"""Metrics of a simulated cluster: functions from a question and its circumstances to an answer.

The classes here are frozen data with a `__call__`, so that a state that holds one can be compared, stored and printed.
Any other callable works too.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore._spec import CheckKind
from canarycore.questions import MetricAnswer
from canarycore.simulation.chance import binomial

if TYPE_CHECKING:
    from canarycore._observation import Routes
    from canarycore._spec import Check, Rollout
    from canarycore.policy._scenario import Scenario
    from canarycore.questions import MetricQuestion


@frozen(kw_only=True)
class MetricRequest:
    """A metric question with its circumstances."""

    question: MetricQuestion
    """The question."""
    rollout: Rollout
    """The rollout under analysis."""
    now: float
    """The time (seconds)."""
    revision: str
    """Revision of the canary's pods."""
    routes: Routes | None
    """The routes; None while there are none."""
    turn: int
    """Number of earlier questions about this check."""

    @property
    def weight(self) -> float:
        """Percent of live traffic to the canary."""
        return 0 if self.routes is None else self.routes.percent

    @property
    def share(self) -> float:
        """Share of requests that reach the canary as copy or original, 0 to 1; matched requests count as a tenth."""
        routes = self.routes
        if routes is None:
            return 0.0
        mirrored = self.rollout.mirror_on(routes) / 100
        return max(routes.percent / 100, mirrored, 0.1 if routes.matched else 0.0)


Metrics = Callable[[MetricRequest], MetricAnswer]


def _answer(value: float | MetricAnswer | None) -> MetricAnswer:
    return value if isinstance(value, MetricAnswer) else MetricAnswer(value=value)


GOOD: dict[CheckKind, float] = {
    CheckKind.SUCCESS_RATE: 100.0,
    CheckKind.DURATION: 1.0,
    CheckKind.TEMPLATE: 0.0,
    CheckKind.QUERY: 0.0,
}
"""A good value for a check without a range, by its kind."""


@frozen
class Constant:
    """Metrics that have the same value for every check."""

    value: float | MetricAnswer | None
    """The value; None is no data."""

    def __call__(self, request: MetricRequest) -> MetricAnswer:
        del request
        return _answer(self.value)


def healthy(request: MetricRequest) -> MetricAnswer:
    """Return a value inside the check's range, or one that its conditions pass."""
    check = request.question.check
    if check.conditions is not None:
        return MetricAnswer(value=check.find_example(passes=True), samples=1_000_000)
    value = check.maximum if check.maximum is not None else check.minimum
    return MetricAnswer(value=GOOD[check.kind] if value is None else value, samples=1_000_000)


def sick(request: MetricRequest) -> MetricAnswer:
    """Return a value outside the check's range, or one that its conditions fail; no data where there is none."""
    check = request.question.check
    if check.conditions is not None:
        return MetricAnswer(value=check.find_example(passes=False), samples=1_000_000)
    if check.minimum is not None:
        return MetricAnswer(value=check.minimum - 1, samples=1_000_000)
    return MetricAnswer(value=None if check.maximum is None else check.maximum + 1, samples=1_000_000)


@frozen
class ByRevision:
    """Metrics that are healthy except for bad revisions, which are out of every check's range."""

    bad: tuple[str, ...] = ()
    """The bad revisions."""
    weight: int = 0
    """Percent of traffic from which on the bad revisions are out of range."""

    def __call__(self, request: MetricRequest) -> MetricAnswer:
        return sick(request) if request.revision in self.bad and request.weight >= self.weight else healthy(request)


@frozen
class Scripted:
    """Metrics that follow a script; checks without a script are healthy."""

    answers: tuple[tuple[str, tuple[float | MetricAnswer | None, ...]], ...] = ()
    """Answers in turn by check name, the last one repeated."""

    def __call__(self, request: MetricRequest) -> MetricAnswer:
        answers = dict(self.answers).get(request.question.check.name)
        if not answers:
            return healthy(request)
        return _answer(answers[min(request.turn, len(answers) - 1)])


def scripted(**answers: tuple[float | MetricAnswer | None, ...]) -> Scripted:
    """Return scripted metrics from answers by check name; underscores in names stand for dashes."""
    return Scripted(tuple((name.replace("_", "-"), values) for name, values in sorted(answers.items())))


@frozen(kw_only=True)
class Binomial:
    """Metrics of requests that fail by chance: each check samples the requests of its window at the present weight.

    Draws are a function of `seed` and the question, so that a state repeats them.
    """

    error_rates: tuple[tuple[str, float], ...] = ()
    """Share of failing requests by revision, 0 to 1; 0 for others."""
    latency: tuple[tuple[str, float], ...] = ()
    """Milliseconds by revision; 1 for others."""
    rps: float = 100.0
    """Requests a second of all traffic."""
    seed: int = 0
    """Seed of the draws."""

    def __call__(self, request: MetricRequest) -> MetricAnswer:
        check = request.question.check
        requests = int(self.rps * request.share * check.window)
        if check.kind is CheckKind.DURATION:
            value = dict(self.latency).get(request.revision, 1.0) if requests else None
            return MetricAnswer(value=value, samples=requests)
        if check.kind is not CheckKind.SUCCESS_RATE:
            return healthy(request)
        if not requests:
            return MetricAnswer(samples=0)
        rate = dict(self.error_rates).get(request.revision, 0.0)
        failed = binomial(Random(f"{self.seed}/{request.question.key}"), requests, rate)
        return MetricAnswer(value=100.0 * (requests - failed) / requests, samples=requests)


@frozen
class ScenarioMetrics:
    """Metrics of a scenario without chance: the canary has exactly the error rate and the P99 of the new version."""

    scenario: Scenario = field(hash=False)  # it has mappings
    """The assumptions. Probabilities of failures do not count."""

    def __call__(self, request: MetricRequest) -> MetricAnswer:
        check, routes = request.question.check, request.routes
        share = self.scenario.share_on(routes) if routes is not None and routes.matched else request.share
        samples = int((self.scenario.rps * share + self.scenario.test_rps) * check.window)
        value = scenario_value(check, self.scenario)
        if value is None:
            return healthy(request)
        return MetricAnswer(value=value, samples=samples) if samples else MetricAnswer(samples=0)


def scenario_value(check: Check, scenario: Scenario) -> float | None:
    """Return the value that a scenario gives a check, or None where the scenario says nothing about it."""
    if check.kind is CheckKind.SUCCESS_RATE:
        return round(100.0 * (1.0 - scenario.new.error_rate), 9)
    return scenario.new.p99 if check.kind is CheckKind.DURATION else None
