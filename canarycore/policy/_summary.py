"""Operating characteristics of a policy from many runs, with 95% confidence intervals."""

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
    """The outcome of a run; an undecided one still waits at the time limit, for example for a gate."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    UNDECIDED = "undecided"


@frozen(kw_only=True)
class Run:
    """The facts of one rollout, from the arrival of the new revision to its end."""

    outcome: Outcome
    """The outcome."""
    reason: str
    """Value of `Status.reason` at the end."""
    seconds: float
    """Duration."""
    requests: int
    """Users' requests."""
    canary_requests: int
    """Users' requests that the new version served."""
    bad_requests: int
    """Users' requests that failed."""
    excess_bad_requests: float
    """Failed requests of the new version, minus the expected failures of the old one at the same requests."""
    broken: tuple[str, ...] = ()
    """Names of the promises that the run breaks, in order of time."""
    lost_requests: int = 0
    """Users' requests that no pod took, which `bad_requests` includes; 0 where the scenario has no pods."""
    peak_load: float = 0.0
    """Highest load of a ready pod as a share of its capacity; 0 where the scenario has no pods."""


@frozen
class Share:
    """A probability, estimated from runs."""

    count: int
    """Number of runs with the outcome."""
    of: int
    """Number of all runs."""

    @property
    def value(self) -> float:
        """The estimate, 0 to 1."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval (1927), which keeps its level near 0 and 1, unlike the normal interval."""
        count, of, z2 = self.count, self.of, Z * Z
        centre = (count + z2 / 2) / (of + z2)
        half = Z / (of + z2) * sqrt(count * (of - count) / of + z2 / 4)
        return (0.0 if count == 0 else centre - half, 1.0 if count == of else centre + half)


@frozen
class Mean:
    """A mean, estimated from runs."""

    value: float
    """The estimate."""
    half: float | None
    """Half the width of the 95% interval; None from a single run."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """Return the mean of some values, or None of no values."""
        if not values:
            return None
        half = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else None
        return cls(fmean(values), half)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval; None from a single run."""
        return None if self.half is None else (self.value - self.half, self.value + self.half)


@frozen(kw_only=True)
class Summary:
    """The operating characteristics of a policy. Times are minutes since the arrival of the new revision."""

    runs: int
    """Number of runs."""
    promoted: Share
    """Probability of a promotion."""
    rolled_back: Share
    """Probability of a rollback."""
    undecided: int
    """Number of undecided runs."""
    minutes: Mean
    """Mean duration."""
    p50_minutes: float
    """Median duration."""
    p95_minutes: float
    """95th percentile of the duration."""
    minutes_to_promotion: Mean | None
    """Mean duration of promoted runs; None where there is none."""
    minutes_to_rollback: Mean | None
    """Mean duration of rolled back runs; None where there is none."""
    requests: Mean
    """Mean of users' requests per run."""
    canary_requests: Mean
    """Mean of users' requests per run that the new version served."""
    bad_requests: Mean
    """Mean of users' requests per run that failed."""
    excess_bad_requests: Mean
    """Mean of the excess of failed requests per run."""
    reasons: tuple[tuple[str, int], ...]
    """Number of runs by reason."""
    lost_requests: Mean = Mean(0.0, 0.0)
    """Mean of users' requests per run that no pod took; 0 where the scenario has no pods."""
    peak_load: Mean = Mean(0.0, 0.0)
    """Mean of the highest load of a ready pod, as a share of its capacity; 0 where the scenario has no pods."""

    def to_json(self) -> dict[str, object]:
        """Return plain data. A `_ci95` is [low, high]; a mean over nothing is null."""
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
                lost_requests=self.lost_requests,
                peak_load=self.peak_load,
            ),
            "reasons": dict(self.reasons),
        }


def summarise(runs: Iterable[Run]) -> Summary:
    """Return the operating characteristics of some runs. Raise ValueError where there is none."""
    all_runs = tuple(runs)
    if not all_runs:
        raise ValueError("no runs: there is nothing to summarise")
    minutes = [run.seconds / 60 for run in all_runs]
    to = {outcome: [run.seconds / 60 for run in all_runs if run.outcome is outcome] for outcome in Outcome}
    reasons = sorted({run.reason for run in all_runs})
    return Summary(
        runs=len(all_runs),
        promoted=Share(len(to[Outcome.PROMOTED]), len(all_runs)),
        rolled_back=Share(len(to[Outcome.ROLLED_BACK]), len(all_runs)),
        undecided=len(to[Outcome.UNDECIDED]),
        minutes=_mean(minutes),
        p50_minutes=_percentile(minutes, 50),
        p95_minutes=_percentile(minutes, 95),
        minutes_to_promotion=Mean.of(to[Outcome.PROMOTED]),
        minutes_to_rollback=Mean.of(to[Outcome.ROLLED_BACK]),
        requests=_mean([run.requests for run in all_runs]),
        canary_requests=_mean([run.canary_requests for run in all_runs]),
        bad_requests=_mean([run.bad_requests for run in all_runs]),
        excess_bad_requests=_mean([run.excess_bad_requests for run in all_runs]),
        lost_requests=_mean([run.lost_requests for run in all_runs]),
        peak_load=_mean([run.peak_load for run in all_runs]),
        reasons=tuple((reason, sum(run.reason == reason for run in all_runs)) for reason in reasons),
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
