"""Many runs at once: the reference engine's model in NumPy arrays.

    runs = simulate(rollout, Scenario(new=Behaviour(error_rate=0.02)), runs=100_000, seed=1)
    runs.summary().rolled_back.value

Runs are independent, so each has its own clock, and the engine analyses all runs at a place together, as a **cohort**.
It finishes all analyses of a place before the next place. A run that passes moves on in the next cohort, a run that
does not pass stays for another analysis, and a run that ends is recorded. A cohort is a table with a row per run.

Where all runs of a cohort have the same number of requests, the engine uses one number, which makes draws of failures
cheap. With windows longer than the interval each run carries the requests of the intervals before.
"""

from __future__ import annotations

from functools import partial
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from canarycore._spec import CheckKind
from canarycore.phases import Reason
from canarycore.policy._model import (
    CheckModel,
    CheckOutcome,
    LookBack,
    PolicyModel,
    RungModel,
    common_gaps,
    model,
    refuse_gap,
)
from canarycore.policy._scenario import limits_of
from canarycore.policy._summary import Mean, Outcome, Run, Share, Summary, Z
from canarycore.policy._tails import order_statistic_below

try:
    import numpy as np
except ModuleNotFoundError as _missing:  # pragma: no cover - only without the extra
    raise ModuleNotFoundError(
        "the vectorised engine needs NumPy: pip install 'canarycore[simulation]'", name="numpy"
    ) from _missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from canarycore._spec import Rollout
    from canarycore.policy._scenario import Scenario

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Truths = NDArray[np.bool_]
    Cohort = dict[str, NDArray[Any]]
    Slices = list[Any]

BATCH = 32_768
"""Most runs of a batch, whose columns stay in the processor's cache."""

_OUTCOMES = tuple(Outcome)
_REASONS = tuple(Reason)


@frozen(eq=False)
class Runs:
    """The facts of many runs, each field a column of `Run`."""

    outcome: Counts
    """Index of the outcome in `Outcome`."""
    reason: Counts
    """Index of the reason in `Reason`."""
    seconds: Floats
    """Duration."""
    requests: Counts
    """Users' requests."""
    canary_requests: Counts
    """Users' requests that the new version served."""
    bad_requests: Counts
    """Users' requests that failed."""
    excess_bad_requests: Floats
    """Excess of failed requests over the old version's."""

    def __len__(self) -> int:
        return len(self.outcome)

    def runs(self) -> Iterator[Run]:
        """Return the runs one by one, in no particular order."""
        columns = (self.seconds, self.requests, self.canary_requests, self.bad_requests, self.excess_bad_requests)
        for outcome, reason, *facts in zip(
            self.outcome.tolist(), self.reason.tolist(), *(column.tolist() for column in columns), strict=True
        ):
            seconds, requests, served, bad, excess = facts
            yield Run(
                outcome=_OUTCOMES[outcome],
                reason=_REASONS[reason].value,
                seconds=seconds,
                requests=requests,
                canary_requests=served,
                bad_requests=bad,
                excess_bad_requests=excess,
            )

    def summary(self) -> Summary:
        """Return the same summary as `summarise`."""
        minutes, total = self.seconds / 60, len(self)
        ended = {outcome: self.outcome == number for number, outcome in enumerate(_OUTCOMES)}
        counts = {outcome: int(mask.sum()) for outcome, mask in ended.items()}
        reasons = np.bincount(self.reason, minlength=len(_REASONS))
        nothing = Mean(0.0, 0.0 if total > 1 else None)
        return Summary(
            runs=total,
            promoted=Share(counts[Outcome.PROMOTED], total),
            rolled_back=Share(counts[Outcome.ROLLED_BACK], total),
            undecided=counts[Outcome.UNDECIDED],
            minutes=_mean(minutes),
            p50_minutes=float(np.percentile(minutes, 50)),
            p95_minutes=float(np.percentile(minutes, 95)),
            minutes_to_promotion=_mean_or_none(minutes[ended[Outcome.PROMOTED]]),
            minutes_to_rollback=_mean_or_none(minutes[ended[Outcome.ROLLED_BACK]]),
            requests=_mean(self.requests),
            canary_requests=_mean(self.canary_requests),
            bad_requests=_mean(self.bad_requests),
            excess_bad_requests=_mean(self.excess_bad_requests),
            lost_requests=nothing,
            peak_load=nothing,
            reasons=tuple(
                sorted((reason.value, int(count)) for reason, count in zip(_REASONS, reasons, strict=True) if count)
            ),
        )


def find_gap(rollout: Rollout, scenario: Scenario) -> str:
    """Return why this engine does not cover a policy in a scenario, or "" where it does."""
    return common_gaps(rollout, scenario) or _find_gap(model(rollout, scenario))


def simulate(
    rollout: Rollout, scenario: Scenario, *, runs: int, seed: int = 0, executor: Executor | None = None
) -> Runs:
    """Simulate so many runs; the same arguments give the same runs.

    executor: workers that share the batches of runs; None: this process. Raise NotCovered where `find_gap` has a
    reason, and ValueError for fewer than one run.
    """
    if runs < 1:
        raise ValueError(f"runs: found {runs}, expected at least 1")
    refuse_gap("vector", rollout, find_gap(rollout, scenario))
    sizes = [min(BATCH, runs - start) for start in range(0, runs, BATCH)]
    do = map if executor is None else executor.map
    return _gathered(do(partial(_batch, model(rollout, scenario), seed), range(len(sizes)), sizes))


def _find_gap(policy: PolicyModel) -> str:
    scenario = policy.scenario
    if policy.depth > 1 and scenario.ready_after and scenario.test_rps:
        return "a window longer than the interval meets load tests that begin late"
    return ""


def _batch(policy: PolicyModel, seed: int, number: int, size: int) -> Runs:
    """Simulate one batch; the seed and the number of the batch decide its draws."""
    key = [abs(seed), int(seed < 0)]
    batch = _Batch(policy, np.random.default_rng([*key, number] if number else key))
    batch.run(size)
    return _gathered(batch.ended)


def _gathered(parts: Iterable[Runs]) -> Runs:
    listed = [
        (p.outcome, p.reason, p.seconds, p.requests, p.canary_requests, p.bad_requests, p.excess_bad_requests)
        for p in parts
    ]
    return Runs(*(np.concatenate(columns) for columns in zip(*listed, strict=True)))


# ------------------------------------------------------------------------------------------------------------- climb


@define(eq=False)
class _Batch:
    """A batch of runs.

    Columns of a cohort: `clock`, the time of the next analysis (seconds); `live`, users' requests to the canary so far,
    with fractions; `bad`, the failed ones; `failed` and `held`, counts of analyses. Where needed: `unseen`, like `live`
    for unseen requests; `past_seen` and `past_bad`, requests of each slice of the intervals before, newest first.
    """

    model: PolicyModel
    random: np.random.Generator
    ended: list[Runs] = field(factory=list)
    even: tuple[bool, bool] = field(init=False)

    @even.default
    def _is_even(self) -> tuple[bool, bool]:
        return self.model.is_even(live=True), self.model.is_even(live=False)

    def run(self, size: int) -> None:
        """Simulate `size` runs from the arrival of the new revision to their ends."""
        here = self._started(size)
        empty = _where(here, np.zeros(len(here["clock"]), bool))
        polls = self.model.fresh
        for place in self.model.places:
            gated: list[Cohort] = []
            here = _joined(list(self._analyse(place, here, gated, polls=polls)) or [empty])
            if place.gated:
                self._promote(here)
                here = _joined(gated or [empty])
            polls = True
        self._promote(here)

    # up to the first analysis -------------------------------------------------------------------------------------

    def _started(self, size: int) -> Cohort:
        """Return the runs with a first analysis; gates, rollback hooks and late pods end the others before."""
        policy = self.model
        starts = list(self._confirmed(size))
        going = self._fresh(np.concatenate([np.full(count, start) for start, count in starts]))
        if policy.rollback:
            for wait in policy.waits:
                undone = self.random.random(len(going["clock"])) < policy.rollback
                self._roll_back(_later(_where(going, undone), wait), Reason.HOOK)
                going = _where(going, ~undone)
        if policy.first < inf:
            return _later(going, policy.first)
        self._roll_back(_later(going, policy.last), Reason.DEADLINE)
        return self._fresh(np.zeros(0))

    def _confirmed(self, size: int) -> Iterator[tuple[float, int]]:
        """Yield the times at which confirm-rollout gates open, with the numbers of runs."""
        policy, now, waiting = self.model, 0.0, size
        while True:
            opened = int(self.random.binomial(waiting, policy.confirm))
            yield now, opened
            waiting, now = waiting - opened, now + policy.rollout.interval
            if not waiting:
                return
            if now >= policy.end:
                self._close(self._fresh(np.full(waiting, policy.end)), Outcome.UNDECIDED, Reason.NONE)
                return
            undone = int(self.random.binomial(waiting, policy.rollback))
            self._roll_back(self._fresh(np.full(undone, now)), Reason.HOOK)
            waiting -= undone

    def _fresh(self, clock: Floats) -> Cohort:
        policy, size = self.model, len(clock)
        cohort: Cohort = {
            "clock": clock,
            "live": np.zeros(size),
            "bad": np.zeros(size, np.int64),
            "failed": np.zeros(size, np.int32),
            "held": np.zeros(size, np.int32),
        }
        if not self.even[1]:  # load tests begin when there are pods, but the first interval is counted in full
            early = min(policy.scenario.ready_after, policy.rollout.interval)
            cohort["unseen"] = np.full(size, -early * policy.places[0].unseen)
        if policy.depth > 1:
            shape = (policy.depth - 1, len(policy.slices), size)
            cohort |= {"past_seen": np.zeros(shape, np.int64), "past_bad": np.zeros(shape, np.int64)}
        return cohort

    # a place ------------------------------------------------------------------------------------------------------

    def _analyse(self, place: RungModel, cohort: Cohort, gated: list[Cohort], *, polls: bool) -> Iterator[Cohort]:
        """Analyse at a place until no run is left; yield the runs that pass. polls: whether hooks may roll back."""
        policy = self.model
        rollout = policy.rollout
        cohort = self._drop_late(place, cohort)
        while size := len(cohort["clock"]):
            seen, bad = self._traffic(place, cohort)
            halt, hold = self._verdict(place, cohort, seen, bad)
            undone = self._chance(policy.rollback if polls else 0.0, size)
            halt, hold = halt & ~undone, hold & ~undone
            cohort["failed"] += halt
            cohort["held"] += hold
            over = halt & (cohort["failed"] >= rollout.threshold)
            stuck = hold & (cohort["held"] >= rollout.inconclusive_limit) & (rollout.inconclusive_limit > 0)
            asked = ~(halt | hold | undone) & self._chance(place.increase, size)
            passed = ~(over | stuck | undone) if place.held else asked & self._chance(place.promotion, size)
            if policy.depth > 1:
                _remember(cohort, past_seen=seen, past_bad=bad)
            if passed.all():
                yield _later(cohort, rollout.interval)
                return
            for mask, reason in ((over, Reason.CHECKS), (stuck, Reason.INCONCLUSIVE), (undone, Reason.HOOK)):
                if mask.any():
                    self._roll_back(_where(cohort, mask), reason, place)
            cohort = _later(cohort, rollout.interval)
            yield _where(cohort, passed)
            leaves = over | stuck | undone | passed
            if place.gated:
                gated.append(_where(cohort, asked & ~passed))
                leaves |= asked
            cohort, polls = self._drop_late(place, _where(cohort, ~leaves)), True

    def _drop_late(self, place: RungModel, cohort: Cohort) -> Cohort:
        """Return the runs with an analysis before the time limit; end the others as undecided at their place."""
        policy = self.model
        late = cohort["clock"] >= policy.end
        if not late.any():
            return cohort
        given_up = _where(cohort, late)
        rest = policy.end - (given_up["clock"] - policy.rollout.interval)
        self._serve(given_up, given_up["live"] + place.live * rest)
        given_up["clock"][:] = policy.end
        self._close(given_up, Outcome.UNDECIDED, Reason.NONE)
        return _where(cohort, ~late)

    def _chance(self, chance: float, size: int) -> Truths:
        """Draw a truth value per run with this probability."""
        if chance in (0.0, 1.0):
            return np.full(size, chance == 1.0)
        return self.random.random(size) < chance

    # an interval's traffic ----------------------------------------------------------------------------------------

    def _traffic(self, place: RungModel, cohort: Cohort) -> tuple[Slices, Slices]:
        """Draw the canary's requests and failures in each slice of an interval; one number where all runs agree."""
        policy = self.model
        counted = place.measured or policy.depth > 1
        all_seen, all_bad = [], []
        for seconds in reversed(policy.slices):
            seen = self._requests(cohort, "live", place.live * seconds, even=self.even[0])
            bad = self._failures(seen, policy.scenario.new.error_rate, len(cohort["clock"]))
            cohort["bad"] += bad
            if place.unseen and counted:
                more = self._requests(cohort, "unseen", place.unseen * seconds, even=self.even[1])
                bad = bad + self._failures(more, policy.scenario.new.error_rate, len(cohort["clock"]))
                seen = seen + more
            elif place.unseen and not self.even[1]:
                cohort["unseen"] += place.unseen * seconds
            all_seen.append(seen)
            all_bad.append(bad)
        return all_seen[::-1], all_bad[::-1]

    def _requests(self, cohort: Cohort, name: str, amount: float, *, even: bool) -> Any:
        """Return the whole requests of an evenly spaced amount."""
        if even:
            if name in cohort:
                cohort[name] += amount
            return round(amount)
        before = _whole(cohort[name])
        cohort[name] += amount
        return _whole(cohort[name]) - before

    def _failures(self, requests: Any, rate: float, size: int) -> Counts:
        if rate == 0.0:
            return np.zeros(size, np.int64)
        if isinstance(requests, np.ndarray) and size and requests.min() == requests.max():
            requests = int(requests[0])
        return self.random.binomial(requests, rate, size)

    # verdicts -----------------------------------------------------------------------------------------------------

    def _verdict(self, place: RungModel, cohort: Cohort, seen: Slices, bad: Slices) -> tuple[Truths, Truths]:
        """Return which runs halt and which hold; a halt takes precedence."""
        size = len(cohort["clock"])
        halts, holds = ~self._chance(place.hooks, size), np.zeros(size, bool)
        if place.measured:
            rows = [seen, *cohort.get("past_seen", ())], [bad, *cohort.get("past_bad", ())]
            for check in self.model.checks:
                halt, hold = self._measured(check, *rows, size)
                halts |= halt
                holds |= hold
        return halts, holds & ~halts

    def _measured(self, check: CheckModel, seen: list[Any], bad: list[Any], size: int) -> tuple[Any, Any]:
        """Return which runs one check halts and which it holds."""
        halt: Any = check.steady is CheckOutcome.HALT
        hold: Any = check.steady is CheckOutcome.HOLD
        if check.window is not None:
            requests = np.asarray(_in_window(check.window, seen))
            empty, thin = requests == 0, (requests > 0) & (requests < check.enough)
            outside = self._outside(check, requests, bad, size)
            halt = np.where(empty, check.silent is CheckOutcome.HALT, outside & ~thin)
            hold = np.where(empty, check.silent is CheckOutcome.HOLD, thin)
        if check.chance:
            chance = self._chance(check.chance, size)
            halt = np.where(chance, check.failing is CheckOutcome.HALT, halt)
            hold = np.where(chance, check.failing is CheckOutcome.HOLD, hold)
        return halt, hold

    def _outside(self, check: CheckModel, requests: Counts, bad: list[Any], size: int) -> Any:
        """Return which runs have a value out of range, where there are requests."""
        if check.check.kind is CheckKind.SUCCESS_RATE:
            value = 100.0 * (requests - _in_window(check.window, bad)) / np.maximum(requests, 1)
            low, high = limits_of(check.check)
            return (value < (-inf if low is None else low)) | (value > (inf if high is None else high))
        if check.edges is None:
            return check.steady is not CheckOutcome.PASS
        passes = _for_each(requests, _inside_of(*check.edges))
        return self.random.random(size) >= passes

    # ends ---------------------------------------------------------------------------------------------------------

    def _roll_back(self, cohort: Cohort, reason: Reason, place: RungModel | None = None) -> None:
        """Roll runs back at their clock's time; an exposed canary drains."""
        policy = self.model
        drain = policy.rollout.drain if place is not None and place.exposed else 0.0
        until = np.maximum(np.minimum(cohort["clock"] + drain, policy.end), cohort["clock"])
        self._close(cohort, Outcome.ROLLED_BACK, reason, until)

    def _promote(self, cohort: Cohort) -> None:
        """Promote runs, an interval before their clock's time; a run that reaches the time limit is undecided."""
        policy, promotion = self.model, self.model.promotion
        reason = Reason.SKIPPED if policy.rollout.skip_analysis else Reason.PASSED
        _later(cohort, promotion.seconds - policy.rollout.interval)
        late = cohort["clock"] >= policy.end
        in_time, stranded = _where(cohort, ~late), _where(cohort, late)
        self._serve(in_time, in_time["live"] + promotion.new)
        self._close(in_time, Outcome.PROMOTED, reason)
        left = promotion.seconds - (stranded["clock"] - policy.end)
        served = np.clip(policy.scenario.rps * left - promotion.old, 0.0, promotion.new)
        self._serve(stranded, stranded["live"] + served)
        stranded["clock"][:] = policy.end
        self._close(stranded, Outcome.UNDECIDED, reason)

    def _serve(self, cohort: Cohort, live: Floats) -> None:
        """Draw the failures of users' requests to the new version, up to the sum `live`."""
        requests = _whole(live) - _whole(cohort["live"])
        cohort["bad"] += self._failures(requests, self.model.scenario.new.error_rate, len(requests))
        cohort["live"] = live

    def _close(self, cohort: Cohort, outcome: Outcome, reason: Reason, until: Floats | None = None) -> None:
        """Record runs that ended at the clock's time; their requests count `until` the canary has drained."""
        scenario, clock = self.model.scenario, cohort["clock"]
        size, served = len(clock), _whole(cohort["live"])
        requests = np.maximum(_whole(scenario.rps * (clock if until is None else until)), served)
        bad = self._failures(requests - served, scenario.old.error_rate, size)
        self.ended.append(
            Runs(
                outcome=np.full(size, _OUTCOMES.index(outcome), np.int8),
                reason=np.full(size, _REASONS.index(reason), np.int8),
                seconds=clock,
                requests=requests,
                canary_requests=served,
                bad_requests=cohort["bad"] + bad,
                excess_bad_requests=cohort["bad"] - served * scenario.old.error_rate,
            )
        )


# ----------------------------------------------------------------------------------------------------------- cohorts


def _where(cohort: Cohort, mask: Truths) -> Cohort:
    rows = np.flatnonzero(mask)
    return {name: column.take(rows, axis=-1) for name, column in cohort.items()}


def _later(cohort: Cohort, seconds: float) -> Cohort:
    cohort["clock"] += seconds
    return cohort


def _joined(cohorts: list[Cohort]) -> Cohort:
    """Return one cohort with the rows of all; there must be one at least."""
    if len(cohorts) == 1:
        return cohorts[0]
    return {name: np.concatenate([cohort[name] for cohort in cohorts], axis=-1) for name in cohorts[0]}


def _remember(cohort: Cohort, **slices: Slices) -> None:
    """Put the slices of this interval before those of earlier intervals."""
    for name, current in slices.items():
        past = cohort[name]
        row = np.stack([np.broadcast_to(column, past.shape[-1:]) for column in current])
        cohort[name] = np.concatenate([row[None], past[:-1]])


def _in_window(window: LookBack | None, rows: list[Any]) -> Any:
    """Return the sum over a window of rows of slices, newest first."""
    assert window is not None
    slices = [column for row in rows[: window.intervals] for column in row]
    if window.slices:
        slices.extend(rows[window.intervals][: window.slices])
    return sum(slices)


def _whole(amount: Any) -> Counts:
    whole: Counts = np.floor(amount + 1e-6).astype(np.int64)
    return whole


def _inside_of(low: float, high: float) -> Callable[[int], float]:
    """Return a function from a number of requests to the probability that their P99 is in range."""

    def passes(requests: int) -> float:
        if not requests:
            return 0.0
        return order_statistic_below(high, requests, 0.99) - order_statistic_below(low, requests, 0.99)

    return passes


def _for_each(policy: Counts, function: Callable[[int], float]) -> Floats:
    """Return the function of each number, computed once per different number."""
    different, places = np.unique(policy, return_inverse=True)
    return np.array([function(int(number)) for number in different])[places.reshape(policy.shape)]


def _mean(values: NDArray[Any]) -> Mean:
    half = Z * float(np.std(values, ddof=1)) / sqrt(len(values)) if len(values) > 1 else None
    return Mean(float(np.mean(values)), half)


def _mean_or_none(values: NDArray[Any]) -> Mean | None:
    return _mean(values) if len(values) else None
