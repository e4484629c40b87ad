"""The figures of a policy in a scenario, in one shape for all engines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache, partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from attrs import fields, frozen

from canarycore.policy._evaluation._frames import make_frame
from canarycore.policy._summary import CONFIDENCE, Share, Summary
from canarycore.policy._tails import at_most

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from canarycore.policy._evaluation._engines import EngineChoice
    from canarycore.policy._summary import Mean
    from canarycore.policy.exact import Expectation


@frozen
class Estimate:
    """A figure with its 95% confidence interval. A bound is infinite where too few runs say nothing about it."""

    value: float
    """The estimate."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


@frozen
class Distribution:
    """The distribution of an amount over rollouts."""

    mean: Estimate
    """Mean."""
    p50: Estimate
    """Median."""
    p95: Estimate
    """95th percentile."""
    p99: Estimate
    """99th percentile."""


@frozen(kw_only=True)
class Evaluation:
    """The operating characteristics of a policy in a scenario.

    The sampling engines estimate all figures from `runs` runs. The exact engine computes the probabilities and means,
    whose intervals are single points; the quantiles come from runs of a sampling engine.
    """

    choice: EngineChoice
    """The engine, and the reason for it."""
    runs: int
    """Number of drawn runs."""
    promoted: Estimate
    """Probability of a promotion."""
    rolled_back: Estimate
    """Probability of a rollback."""
    undecided: Estimate
    """Probability of neither."""
    minutes: Distribution
    """Duration since the arrival of the new revision."""
    bad_requests: Distribution
    """Users' requests that failed."""
    excess_bad_requests: Estimate
    """Mean excess of failed requests over the old version's."""
    requests: Estimate
    """Mean of users' requests."""
    canary_requests: Estimate
    """Mean of users' requests that the new version served."""
    lost_requests: Estimate = Estimate(0.0, 0.0, 0.0)
    """Mean of users' requests that no pod took; 0 where the scenario has no pods."""
    peak_load: Estimate = Estimate(0.0, 0.0, 0.0)
    """Mean of the highest load of a ready pod, as a share of its capacity; 0 where the scenario has no pods."""
    details: Summary | Expectation
    """The engine's own result."""

    def to_row(self) -> dict[str, Any]:
        """Return all figures as one flat row: `p_rollback`, `p_rollback_low`, `p_rollback_high` and so on."""
        return {"engine": self.choice.engine.value, "runs": self.runs, **dict(self._columns())}

    def to_json(self) -> dict[str, Any]:
        """Return `to_row` as plain data; an infinite value is null."""
        return without_infinities(self.to_row())

    def to_frame(self, library: str = "") -> Any:
        """Return `to_row` as a data frame of one row.

        library: "pandas" or "polars"; by default the first of them that is installed. Raise ModuleNotFoundError where
        it is not.
        """
        return make_frame([self.to_row()], library)

    def _columns(self) -> Iterator[tuple[str, float]]:
        for name, estimate in (
            ("p_promotion", self.promoted),
            ("p_rollback", self.rolled_back),
            ("p_undecided", self.undecided),
            *_parts("minutes", self.minutes),
            *_parts("bad_requests", self.bad_requests),
            ("mean_excess_bad_requests", self.excess_bad_requests),
            ("mean_requests", self.requests),
            ("mean_canary_requests", self.canary_requests),
            ("mean_lost_requests", self.lost_requests),
            ("mean_peak_load", self.peak_load),
        ):
            yield name, estimate.value
            yield f"{name}_low", estimate.low
            yield f"{name}_high", estimate.high


def _parts(name: str, distribution: Distribution) -> Iterator[tuple[str, Estimate]]:
    for part in fields(Distribution):
        yield f"{part.name}_{name}", getattr(distribution, part.name)


def without_infinities(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with None for each number that JSON lacks."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}


# ------------------------------------------------------------------------------------------------------ from results


def of_runs(choice: EngineChoice, summary: Summary, seconds: Sequence[float], bad: Sequence[float]) -> Evaluation:
    """Return the figures of drawn runs. seconds, bad: the duration and the failed requests of each run."""
    minutes, bad_requests = _distribution(summary.minutes, seconds, 60.0), _distribution(summary.bad_requests, bad)
    return Evaluation(
        choice=choice,
        runs=summary.runs,
        promoted=_probability(summary.promoted),
        rolled_back=_probability(summary.rolled_back),
        undecided=_probability(Share(summary.undecided, summary.runs)),
        minutes=minutes,
        bad_requests=bad_requests,
        excess_bad_requests=_of_mean(summary.excess_bad_requests),
        requests=_of_mean(summary.requests),
        canary_requests=_of_mean(summary.canary_requests),
        lost_requests=_of_mean(summary.lost_requests),
        peak_load=_of_mean(summary.peak_load),
        details=summary,
    )


def of_expectation(choice: EngineChoice, expectation: Expectation, sample: Evaluation) -> Evaluation:
    """Return the figures of the exact engine, with the quantiles of a sample."""
    minutes, bad = sample.minutes, sample.bad_requests
    return Evaluation(
        choice=choice,
        runs=sample.runs,
        promoted=_exactly(expectation.p_promotion),
        rolled_back=_exactly(expectation.p_rollback),
        undecided=_exactly(expectation.p_undecided),
        minutes=Distribution(_exactly(expectation.minutes), minutes.p50, minutes.p95, minutes.p99),
        bad_requests=Distribution(_exactly(expectation.bad_requests), bad.p50, bad.p95, bad.p99),
        excess_bad_requests=_exactly(expectation.excess_bad_requests),
        requests=_exactly(expectation.requests),
        canary_requests=_exactly(expectation.canary_requests),
        details=expectation,
    )


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def _probability(share: Share) -> Estimate:
    return Estimate(share.value, *share.interval)


def _of_mean(mean: Mean) -> Estimate:
    return Estimate(mean.value, *(mean.interval or (-inf, inf)))


def _distribution(mean: Mean, values: Sequence[float], unit: float = 1.0) -> Distribution:
    at = partial(quantile, [value / unit for value in sorted(values)])
    return Distribution(_of_mean(mean), at(0.50), at(0.95), at(0.99))


def quantile(values: Sequence[float], share: float) -> Estimate:
    """Return a sample quantile of sorted values. Two order statistics are its interval, for any distribution."""
    last = len(values) - 1
    below = int(last * share)
    above = min(below + 1, last)
    value = values[below] + (last * share - below) * (values[above] - values[below])
    low, high = _ranks(len(values), share)
    least, most = values[low - 1] if low else -inf, values[high - 1] if high <= len(values) else inf
    return Estimate(value, min(least, value), max(most, value))  # the interpolated value of a small sample may be below


@lru_cache
def _ranks(count: int, share: float) -> tuple[int, int]:
    """Return the ranks, from 1, of the values around a quantile; 0 and `count` + 1 where no value is far enough out.

    The number of values below a quantile is binomial. So the quantile lies below the value of rank r with the
    probability of at most r - 1 successes, or less where values are equal.
    """
    rest = (1.0 - CONFIDENCE) / 2
    chance = partial(_at_most, count, share)
    counts = range(count + 1)
    return bisect_right(counts, rest, key=chance), bisect_left(counts, 1.0 - rest, key=chance) + 1


def _at_most(n: int, p: float, k: int) -> float:
    return at_most(k, n, p)
