"""Agreement of the three engines: the exact one, the vectorised one and the core itself.

Samples are compared by bounds that hold for any distribution with this variance and range (Bernstein's inequality, and
binomial tails), set so that a true agreement is denied about once in a million comparisons; seeds are fixed.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from math import comb, inf, sqrt
from random import Random

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings

from canarycore import Check, CheckKind, GradualReturn, Hook, HookType, Ladder, NoData, Rollout, Strategy, TargetRef
from canarycore.policy import Behaviour, NotCovered, Outcome, Scenario, Summary, exact, summarise, vector
from canarycore.policy._tails import at_most, order_statistic_below
from canarycore.policy.sampled import simulate, sweep
from tests.policy.policies import cases

SUCCESS = Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
LATENCY = Check(name="latency", kind=CheckKind.DURATION, maximum=500.0)


def policy(**changes: object) -> Rollout:
    base = Rollout(
        name="app",
        target=TargetRef(name="app"),
        ladder=Ladder(step=10, top=50),
        threshold=3,
        checks=(SUCCESS, LATENCY),
    )
    return evolve(base, **changes)  # type: ignore[arg-type]


def scenario(error_rate: float = 0.01, **changes: object) -> Scenario:
    base = Scenario(old=Behaviour(error_rate=0.001), new=Behaviour(error_rate=error_rate, p99=460.0), rps=20.0)
    return evolve(base, **changes)  # type: ignore[arg-type]


# comparing ----------------------------------------------------------------------------------------------------------


def is_plausible(count: int, runs: int, chance: float) -> bool:
    """Return whether so many of the runs may have an outcome of this probability."""
    chance = min(max(chance, 0.0), 1.0)
    return min(at_most(count, runs, chance), 1.0 - at_most(count - 1, runs, chance)) > 1e-7


def is_near(mean: float, expected: float, sample: np.ndarray, runs: int, slack: float) -> bool:
    """Return whether chance may move the mean of so many runs so far; `sample` gives their variance and range.

    A sample may lack a rare end of a run, so its range reaches down to 0 at least.
    """
    spread = float(np.ptp(np.append(sample, 0.0)))
    return abs(mean - expected) <= 5 * float(np.std(sample)) / sqrt(runs) + 5 * spread / runs + slack


FACTS = {"seconds": 1e-3, "requests": 1.01, "canary_requests": 1.01, "bad_requests": 1.01, "excess_bad_requests": 1.01}
"""Facts of a run, with the tolerance of their means: the engines round requests in one stream or in several."""


def assert_agrees_with_the_core(rollout: Rollout, assumptions: Scenario, *, runs: int, many: int) -> None:
    columns = vector.simulate(rollout, assumptions, runs=many, seed=1)
    core_runs = list(sweep(rollout, assumptions, runs=runs, seed=2))
    summary, expected = summarise(core_runs), columns.summary()
    reasons = Counter(dict(expected.reasons))
    for reason, count in Counter(run.reason for run in core_runs).items():
        assert is_plausible(count, runs, max(reasons[reason], 5) / many), (reason, count, reasons)
    for reason, count in reasons.items():
        assert is_plausible(dict(summary.reasons).get(reason, 0), runs, count / many), (reason, count, summary.reasons)
    assert is_plausible(summary.promoted.count, runs, max(expected.promoted.value, 5 / many))
    for name, slack in FACTS.items():
        sample = np.append(getattr(columns, name), [getattr(run, name) for run in core_runs])
        mean = float(np.mean([getattr(run, name) for run in core_runs]))
        assert is_near(mean, float(np.mean(getattr(columns, name))), sample, runs, slack), name


def assert_agrees_with_the_chain(rollout: Rollout, assumptions: Scenario, *, runs: int) -> None:
    solved = exact.solve(rollout, assumptions)
    assert solved.p_promotion + solved.p_rollback + solved.p_undecided == pytest.approx(1.0, abs=1e-9)
    columns = vector.simulate(rollout, assumptions, runs=runs, seed=3)
    summary = columns.summary()
    if summary.undecided:  # the chain has no time limit
        return
    assert is_plausible(summary.promoted.count, runs, solved.p_promotion)
    assert is_plausible(summary.rolled_back.count, runs, solved.p_rollback)
    names = {"seconds": solved.minutes * 60, **{name: getattr(solved, name) for name in list(FACTS)[1:]}}
    for name, expected in names.items():
        sample = getattr(columns, name)
        assert is_near(float(np.mean(sample)), expected, sample, runs, FACTS[name]), name


# agreement ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, derandomize=True)
@given(cases())
def test_the_vector_engine_agrees_with_the_core(case: tuple[Rollout, Scenario]):
    if not vector.find_gap(*case):
        assert_agrees_with_the_core(*case, runs=40, many=10_000)


def test_all_engines_agree_about_a_drain_that_is_longer_than_the_interval():
    sound = Behaviour(error_rate=0.0)  # all runs are the same
    rollout, assumptions = policy(interval=60.0, drain=90.0), Scenario(old=sound, new=sound, rps=10.0)
    assert_agrees_with_the_core(rollout, assumptions, runs=200, many=10_000)
    assert_agrees_with_the_chain(rollout, assumptions, runs=10_000)


@pytest.mark.deep
@settings(max_examples=1500, derandomize=True)
@given(cases())
def test_the_vector_engine_agrees_with_the_core_for_many_policies(case: tuple[Rollout, Scenario]):
    if not vector.find_gap(*case):
        assert_agrees_with_the_core(*case, runs=300, many=50_000)


@settings(max_examples=40, derandomize=True)
@given(cases(long=False))
def test_the_exact_engine_agrees_with_the_vector_engine(case: tuple[Rollout, Scenario]):
    if not exact.find_gap(*case):
        assert_agrees_with_the_chain(*case, runs=10_000)


@pytest.mark.deep
@settings(max_examples=1500, derandomize=True)
@given(cases(long=False))
def test_the_exact_engine_agrees_with_the_vector_engine_for_many_policies(case: tuple[Rollout, Scenario]):
    if not exact.find_gap(*case):
        assert_agrees_with_the_chain(*case, runs=200_000)


@pytest.mark.parametrize("error_rate", [0.004, 0.007, 0.01])
def test_a_million_runs_are_within_four_standard_errors_of_the_exact_engine(error_rate: float):
    rollout, assumptions, runs = policy(), scenario(error_rate), 1_000_000
    solved = exact.solve(rollout, assumptions).p_rollback
    assert 0.01 < solved < 0.99999
    columns = vector.simulate(rollout, assumptions, runs=runs, seed=4).summary()
    assert abs(columns.rolled_back.value - solved) <= 4 * sqrt(solved * (1 - solved) / runs)


# the chain ----------------------------------------------------------------------------------------------------------


def test_the_recursion_agrees_with_the_matrix_of_the_chain():
    """N = (I - Q)^-1 has the expected visits of each state; the probabilities in Q are plain binomial sums."""
    random = Random(6)
    worst = 0.0
    for _ in range(1000):
        rungs, threshold = random.randint(1, 8), random.randint(1, 6)
        steps = tuple(sorted(random.sample(range(2, 101, 2), rungs)))
        minimum, error_rate = random.choice([90.0, 95.0, 98.0, 99.0]), random.uniform(0.0, 0.12)
        check = Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=minimum)
        rollout = policy(ladder=Ladder(steps=steps, top=steps[-1]), threshold=threshold, checks=(check,))
        assumptions = Scenario(new=Behaviour(error_rate=error_rate), rps=random.choice([2.5, 5.0, 10.0]))
        fails = [0.0, *(_fails(round(assumptions.rps * 0.6 * step), error_rate, minimum) for step in steps)]
        p_rollback, minutes = _inverted(fails, threshold)
        solved = exact.solve(rollout, assumptions)
        worst = max(worst, abs(solved.p_rollback - p_rollback), abs(solved.minutes - minutes - 2 * solved.p_promotion))
    assert worst < 1e-9


def _fails(requests: int, error_rate: float, minimum: float) -> float:
    chances = (comb(requests, bad) * error_rate**bad * (1 - error_rate) ** (requests - bad) for bad in range(200))
    return 1.0 - sum(
        chance
        for bad, chance in zip(range(requests + 1), chances, strict=False)
        if 100.0 * (requests - bad) / requests >= minimum
    )


def _inverted(fails: list[float], threshold: int) -> tuple[float, float]:
    """Return the probability of a rollback, and the expected number of analyses, a minute each."""
    size = len(fails) * threshold
    moves, rolls_back = np.zeros((size, size)), np.zeros(size)
    for place, chance in enumerate(fails):
        for failed in range(threshold):
            state = place * threshold + failed
            if failed + 1 < threshold:
                moves[state, state + 1] = chance
            else:
                rolls_back[state] = chance
            if place + 1 < len(fails):
                moves[state, state + threshold] = 1.0 - chance
    visits = np.linalg.inv(np.eye(size) - moves)[0]
    return float(visits @ rolls_back), float(visits.sum())


@settings(max_examples=60, derandomize=True)
@given(cases(long=False))
def test_a_worse_version_is_rolled_back_more_often(case: tuple[Rollout, Scenario]):
    """All checks have a lower bound only, as an upper one fails for a good version."""
    rollout, assumptions = case
    checks = tuple(evolve(check, maximum=None) if check.name == "success" else check for check in rollout.checks)
    rollout = evolve(rollout, checks=checks)
    if exact.find_gap(rollout, assumptions):
        return
    worse = [
        evolve(assumptions, new=evolve(assumptions.new, error_rate=rate)) for rate in (0.0, 0.003, 0.01, 0.05, 0.3, 1.0)
    ]
    chances = [exact.solve(rollout, worsened).p_rollback for worsened in worse]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(chances)), chances


def test_a_rollout_that_can_never_go_on_is_undecided():
    gate = Hook(name="gate", type=HookType.CONFIRM_PROMOTION, url="http://gate/")
    summary = exact.solve(policy(hooks=(gate,), checks=()), scenario(gates={"gate": False}))
    assert (summary.p_promotion, summary.p_rollback, summary.p_undecided, summary.minutes) == (0.0, 0.0, 1.0, inf)
    assert summary.to_json()["mean_minutes"] is None


# gaps of the engines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rollout", "assumptions", "reason_part"),
    [
        (policy(interval=30.0), scenario(), "window longer than the interval"),
        (policy(checks=(SUCCESS, evolve(SUCCESS, name="other"))), scenario(), "same requests"),
        (policy(no_data=NoData.HOLD), scenario(rps=3.3), "no whole number"),
        (policy(suspend=True), scenario(), "suspended"),
    ],
)
def test_the_exact_engine_names_the_reason_for_a_gap(rollout: Rollout, assumptions: Scenario, reason_part: str):
    assert reason_part in exact.find_gap(rollout, assumptions)
    with pytest.raises(NotCovered, match=reason_part):
        exact.solve(rollout, assumptions)


def test_the_vector_engine_names_the_reason_for_a_gap():
    late = scenario(test_rps=5.0, ready_after=20.0)
    for rollout, reason_part in ((policy(suspend=True), "suspended"), (policy(interval=30.0), "begin late")):
        assert reason_part in vector.find_gap(rollout, late)
        with pytest.raises(NotCovered, match=reason_part):
            vector.simulate(rollout, late, runs=1)


# arrays -------------------------------------------------------------------------------------------------------------


def summary(runs: int, seed: int) -> Summary:
    return vector.simulate(policy(), scenario(), runs=runs, seed=seed).summary()


def test_a_seed_repeats_its_runs():
    assert summary(1000, 1) == summary(1000, 1) != summary(1000, 2)
    assert summary(1000, -1) != summary(1000, 1)


def test_a_summary_has_the_requested_number_of_runs():
    late = vector.BATCH + 7
    assert [len(vector.simulate(policy(), scenario(), runs=runs)) for runs in (1, 999, late)] == [1, 999, late]


def test_a_summary_of_columns_equals_the_summary_of_the_runs():
    columns = vector.simulate(policy(), scenario(0.006), runs=500, seed=5)
    by_column, one_by_one = columns.summary().to_json(), summarise(columns.runs()).to_json()
    assert by_column.keys() == one_by_one.keys()
    for name, value in by_column.items():
        assert value == pytest.approx(one_by_one[name]), name
    assert {run.outcome for run in columns.runs()} == {Outcome.PROMOTED, Outcome.ROLLED_BACK}


def test_zero_runs_raise():
    with pytest.raises(ValueError, match="at least 1"):
        vector.simulate(policy(), scenario(), runs=0)


@pytest.mark.parametrize("module", ["vector", "picture"])
def test_an_import_without_numpy_names_the_extra(module: str):
    program = f"import sys; sys.modules['numpy'] = None; import canarycore.policy.{module}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'canarycore[simulation]'" in result.stderr


@pytest.mark.parametrize("strategy", list(Strategy))
def test_late_pods_are_rolled_back_after_the_deadline(strategy: Strategy):
    weights = strategy is Strategy.WEIGHTS
    ladder = Ladder(step=10, top=50) if weights else Ladder(strategy=strategy, iterations=3)
    late = scenario(ready_after=601.0, test_rps=5.0)
    summary = vector.simulate(policy(ladder=ladder), late, runs=10).summary()
    assert (summary.rolled_back.count, summary.minutes.value) == (10, 10.0)
    assert_agrees_with_the_core(policy(ladder=ladder), late, runs=2, many=10)


# tails --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1e-17, 1e-9, 0.003, 0.2, 0.5, 0.97])
@pytest.mark.parametrize("n", [1, 7, 60, 400])
def test_binomial_tails_equal_plain_sums(n: int, p: float):
    from fractions import Fraction

    exactly = Fraction(p)
    total = Fraction(0)
    for k in range(n):
        total += comb(n, k) * exactly**k * (1 - exactly) ** (n - k)
        assert at_most(k, n, p) == pytest.approx(float(total), rel=1e-12, abs=1e-300)


def test_tails_of_huge_samples_are_probabilities():
    assert at_most(10**6, 2 * 10**6, 0.5) == pytest.approx(0.5, abs=3e-4)
    assert at_most(9_000, 10**6, 0.01) == pytest.approx(2.4e-24, rel=0.2)
    assert at_most(10**6 - 1, 10**6, 1e-9) == 1.0


def test_a_sample_p99_is_an_order_statistic():
    """The P99 of 100 draws is below 0.98 if at least 99 draws are."""
    assert order_statistic_below(0.98, 100, 0.99) == pytest.approx(0.98**100 + 100 * 0.98**99 * 0.02)


# too long to simulate -----------------------------------------------------------------------------------------------

ENDLESS = {
    "iterations": {"ladder": Ladder(strategy=Strategy.BLUE_GREEN, iterations=10**9)},
    "threshold": {"threshold": 10**9},
    "inconclusive": {"inconclusive_limit": 10**9, "min_samples": 10},
    "deadline": {"progress_deadline": 2e9},
    "window": {"checks": (evolve(SUCCESS, window=3e7),)},
}


@pytest.mark.parametrize("name", ENDLESS)
def test_each_engine_refuses_a_policy_that_takes_too_long(name):
    rollout = policy(**ENDLESS[name])
    for engine in (
        lambda: sweep(rollout, scenario(), runs=1),
        lambda: simulate(rollout, scenario()),
        lambda: vector.simulate(rollout, scenario(), runs=10),
        lambda: exact.solve(rollout, scenario()),
    ):
        with pytest.raises(NotCovered, match=r"more than 1?[01],?000 intervals"):
            engine()


def test_no_engine_without_the_core_covers_a_return_by_steps():
    rollout = policy(gradual_return=GradualReturn(step=20, interval=30.0))
    assert exact.find_gap(rollout, scenario()) == vector.find_gap(rollout, scenario())
    assert "by steps after a rollback" in exact.find_gap(rollout, scenario())


def test_the_exact_engine_refuses_too_many_states():
    rollout = policy(threshold=3000, inconclusive_limit=3000, min_samples=10)
    assert "too many combinations" in exact.find_gap(rollout, scenario())
