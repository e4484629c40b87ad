"""Operating characteristics: what many runs of a policy come to, with 95% confidence intervals."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist, fmean, quantiles, stdev
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore._enum import TextEnum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Outcome(TextEnum):
    """How a run ended. UNDECIDED: it still waited at the time limit, for a gate for instance."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    UNDECIDED = "undecided"


@frozen(kw_only=True)
class Run:
    """One rollout, from the new revision's arrival to its end.

    reason: the word of `Status.reason`. seconds: how long it took. requests: of users. canary_requests: those that the
    new version served. bad_requests: of users, that failed. excess_bad_requests: the new version's bad requests minus
    those that the old one would have caused, on average, in their place.
    """

    outcome: Outcome
    reason: str
    seconds: float
    requests: int
    canary_requests: int
    bad_requests: int
    excess_bad_requests: float


@frozen
class Share:
    """A probability as runs tell it, with its Wilson score interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson (1927): holds its level near 0 and 1 too, where the plain normal interval does not."""
        count, of, z2 = self.count, self.of, Z * Z
        centre = (count + z2 / 2) / (of + z2)
        half = Z / (of + z2) * sqrt(count * (of - count) / of + z2 / 4)
        return (0.0 if count == 0 else centre - half, 1.0 if count == of else centre + half)


@frozen
class Mean:
    """A mean as runs tell it. `half` is half the width of its 95% interval; None from a single run."""

    value: float
    half: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """None of no values."""
        if not values:
            return None
        half = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else None
        return cls(fmean(values), half)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.half is None else (self.value - self.half, self.value + self.half)


@frozen(kw_only=True)
class Summary:
    """Many runs. Times are minutes from the new revision's arrival; requests are counted per run."""

    runs: int
    promoted: Share
    rolled_back: Share
    undecided: int
    minutes: Mean
    p50_minutes: float
    p95_minutes: float
    minutes_to_promotion: Mean | None
    minutes_to_rollback: Mean | None
    requests: Mean
    canary_requests: Mean
    bad_requests: Mean
    excess_bad_requests: Mean
    reasons: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, object]:
        """Plain data. `_ci95` are [low, high]; a mean over nothing is null."""
        return {
            "runs": self.runs,
            "promoted": self.promoted.count,
            "rolled_back": self.rolled_back.count,
            "undecided": self.undecided,
            "p_promotion": self.promoted.value,
            "p_promotion_ci95": list(self.promoted.interval),
            "p_rollback": self.rolled_back.value,
            "p_rollback_ci95": list(self.rolled_back.interval),
            "p50_minutes": self.p50_minutes,
            "p95_minutes": self.p95_minutes,
            **_means(
                minutes=self.minutes,
                minutes_to_promotion=self.minutes_to_promotion,
                minutes_to_rollback=self.minutes_to_rollback,
                requests=self.requests,
                canary_requests=self.canary_requests,
                bad_requests=self.bad_requests,
                excess_bad_requests=self.excess_bad_requests,
            ),
            "reasons": dict(self.reasons),
        }


def summarise(runs: Iterable[Run]) -> Summary:
    """The operating characteristics of at least one run. Raises ValueError of none."""
    ran = tuple(runs)
    if not ran:
        raise ValueError("no runs: there is nothing to summarise")
    minutes = [run.seconds / 60 for run in ran]
    to = {outcome: [run.seconds / 60 for run in ran if run.outcome is outcome] for outcome in Outcome}
    reasons = sorted({run.reason for run in ran})
    return Summary(
        runs=len(ran),
        promoted=Share(len(to[Outcome.PROMOTED]), len(ran)),
        rolled_back=Share(len(to[Outcome.ROLLED_BACK]), len(ran)),
        undecided=len(to[Outcome.UNDECIDED]),
        minutes=_mean(minutes),
        p50_minutes=_percentile(minutes, 50),
        p95_minutes=_percentile(minutes, 95),
        minutes_to_promotion=Mean.of(to[Outcome.PROMOTED]),
        minutes_to_rollback=Mean.of(to[Outcome.ROLLED_BACK]),
        requests=_mean([run.requests for run in ran]),
        canary_requests=_mean([run.canary_requests for run in ran]),
        bad_requests=_mean([run.bad_requests for run in ran]),
        excess_bad_requests=_mean([run.excess_bad_requests for run in ran]),
        reasons=tuple((reason, sum(run.reason == reason for run in ran)) for reason in reasons),
    )


def _mean(values: Sequence[float]) -> Mean:
    mean = Mean.of(values)
    assert mean is not None
    return mean


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def _means(**means: Mean | None) -> dict[str, object]:
    data: dict[str, object] = {}
    for name, mean in means.items():
        data[f"mean_{name}"] = None if mean is None else mean.value
        interval = None if mean is None else mean.interval
        data[f"mean_{name}_ci95"] = None if interval is None else list(interval)
    return data
