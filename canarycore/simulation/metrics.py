"""Who answers metric questions in a simulated cluster: a function from what is asked, and of what, to an answer.

Ready-made answerers are frozen data with a `__call__`, so that a state which holds one can be compared, stored and
printed. A callable of your own does as well.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore._spec import CheckKind
from canarycore.questions import MetricAnswer
from canarycore.simulation.chance import binomial

if TYPE_CHECKING:
    from canarycore._observation import Routes
    from canarycore._spec import Rollout
    from canarycore.questions import MetricQuestion


@frozen(kw_only=True)
class MetricRequest:
    """A metric question in its circumstances.

    revision: what the canary's pods carry. turn: how often this check was asked before. now: seconds.
    """

    question: MetricQuestion
    rollout: Rollout
    now: float
    revision: str
    routes: Routes | None
    turn: int

    @property
    def weight(self) -> int:
        """Percent of live traffic that meets the canary."""
        return 0 if self.routes is None else self.routes.weight

    @property
    def share(self) -> float:
        """The part of all requests whose copy or original reaches the canary, 0 to 1 (matched ones: a tenth)."""
        routes = self.routes
        if routes is None:
            return 0.0
        mirrored = self.rollout.mirror_weight / 100 if routes.mirrored else 0.0
        return max(routes.weight / 100, mirrored, 0.1 if routes.matched else 0.0)


Metrics = Callable[[MetricRequest], MetricAnswer]


def _answer(value: float | MetricAnswer | None) -> MetricAnswer:
    return value if isinstance(value, MetricAnswer) else MetricAnswer(value=value)


GOOD: dict[CheckKind, float] = {
    CheckKind.SUCCESS_RATE: 100.0,
    CheckKind.DURATION: 1.0,
    CheckKind.TEMPLATE: 0.0,
    CheckKind.QUERY: 0.0,
}


@frozen
class Constant:
    """Always the same value for every check; None is no data."""

    value: float | MetricAnswer | None

    def __call__(self, asked: MetricRequest) -> MetricAnswer:
        del asked
        return _answer(self.value)


def healthy(asked: MetricRequest) -> MetricAnswer:
    """A value inside the check's range."""
    check = asked.question.check
    value = check.maximum if check.maximum is not None else check.minimum
    return MetricAnswer(value=GOOD[check.kind] if value is None else value, samples=1_000_000)


def sick(asked: MetricRequest) -> MetricAnswer:
    """A value outside the check's range; without a range there is none, so no data."""
    check = asked.question.check
    if check.minimum is not None:
        return MetricAnswer(value=check.minimum - 1, samples=1_000_000)
    return MetricAnswer(value=None if check.maximum is None else check.maximum + 1, samples=1_000_000)


@frozen
class ByRevision:
    """Healthy, but for `bad` revisions: those are outside every check's range from `weight` percent on."""

    bad: tuple[str, ...] = ()
    weight: int = 0

    def __call__(self, asked: MetricRequest) -> MetricAnswer:
        return sick(asked) if asked.revision in self.bad and asked.weight >= self.weight else healthy(asked)


@frozen
class Scripted:
    """Answers in turn per check name, the last one repeated; checks that are not named are healthy."""

    answers: tuple[tuple[str, tuple[float | MetricAnswer | None, ...]], ...] = ()

    def __call__(self, asked: MetricRequest) -> MetricAnswer:
        answers = dict(self.answers).get(asked.question.check.name)
        if not answers:
            return healthy(asked)
        return _answer(answers[min(asked.turn, len(answers) - 1)])


def scripted(**answers: tuple[float | MetricAnswer | None, ...]) -> Scripted:
    """Answers in turn by check name; underscores in names stand for dashes."""
    return Scripted(tuple((name.replace("_", "-"), values) for name, values in sorted(answers.items())))


@frozen(kw_only=True)
class Binomial:
    """Requests that fail by chance: each check samples as many as its window saw at the present weight.

    error_rates: by revision, 0 to 1 (absent: 0). latency: milliseconds by revision (absent: 1). rps: of all traffic.
    Draws are a function of `seed` and the question, so that a state repeats them.
    """

    error_rates: tuple[tuple[str, float], ...] = ()
    latency: tuple[tuple[str, float], ...] = ()
    rps: float = 100.0
    seed: int = 0

    def __call__(self, asked: MetricRequest) -> MetricAnswer:
        check = asked.question.check
        requests = int(self.rps * asked.share * check.window)
        if check.kind is CheckKind.DURATION:
            value = dict(self.latency).get(asked.revision, 1.0) if requests else None
            return MetricAnswer(value=value, samples=requests)
        if check.kind is not CheckKind.SUCCESS_RATE:
            return healthy(asked)
        if not requests:
            return MetricAnswer(samples=0)
        rate = dict(self.error_rates).get(asked.revision, 0.0)
        failed = binomial(Random(f"{self.seed}/{asked.question.key}"), requests, rate)
        return MetricAnswer(value=100.0 * (requests - failed) / requests, samples=requests)
