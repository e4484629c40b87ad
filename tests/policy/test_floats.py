"""Each probability from 0 to 1 has figures, down to the least float: no draw and no tail overflows."""

from __future__ import annotations

from math import inf, isfinite, log1p, nextafter
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Rollout, Strategy, TargetRef
from canarycore.policy import Behaviour, Engine, Scenario, evaluate
from canarycore.simulation.chance import binomial, percentile

CHECKS = (
    Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0),
    Check(name="duration", kind=CheckKind.DURATION, maximum=500.0),
)
WEIGHTS = Rollout(
    name="app",
    target=TargetRef(name="app"),
    ladder=Ladder(step=25, top=50),
    threshold=2,
    checks=CHECKS,
    hooks=(Hook(name="load-test", type=HookType.ROLLOUT, url="http://hook/"),),
)
AB = Rollout(
    name="app",
    target=TargetRef(name="app"),
    ladder=Ladder(strategy=Strategy.AB, iterations=2),
    threshold=2,
    checks=CHECKS,
)

LEAST, DENORMAL, ALMOST = nextafter(0.0, 1.0), 1e-308, nextafter(1.0, 0.0)
ENGINES = (Engine.CORE, Engine.VECTOR, Engine.EXACT)


def assert_has_figures(rollout: Rollout, scenario: Scenario, engine: Engine) -> None:
    evaluation = evaluate(rollout, scenario, engine, runs=5)
    total = evaluation.promoted.value + evaluation.rolled_back.value + evaluation.undecided.value
    assert total == pytest.approx(1.0)
    assert isfinite(evaluation.minutes.mean.value)
    assert 0 <= evaluation.bad_requests.mean.value <= evaluation.requests.value * (1 + 1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=30)
@given(old=st.floats(0, 1), new=st.floats(0, 1), failing=st.floats(0, 1))
@example(old=LEAST, new=LEAST, failing=LEAST)
@example(old=DENORMAL, new=DENORMAL, failing=DENORMAL)
@example(old=ALMOST, new=ALMOST, failing=ALMOST)
@example(old=1e-308, new=1e-16, failing=0.5)
def test_every_share_of_failures_has_figures(engine: Engine, old: float, new: float, failing: float):
    failures = {"success": failing, "load-test": failing}
    scenario = Scenario(old=Behaviour(error_rate=old), new=Behaviour(error_rate=new, p99=400.0), failures=failures)
    assert_has_figures(WEIGHTS, scenario, engine)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=30)
@given(share=st.floats(0, 1), rps=st.floats(0, 1))
@example(share=LEAST, rps=1.0)
@example(share=DENORMAL, rps=LEAST)
@example(share=1.0, rps=DENORMAL)
@example(share=ALMOST, rps=ALMOST)
def test_every_share_of_users_and_every_small_rate_has_figures(engine: Engine, share: float, rps: float):
    scenario = Scenario(new=Behaviour(error_rate=0.1), match_share=share, rps=rps)
    assert_has_figures(AB, scenario, engine)


@given(n=st.integers(0, 10**9), p=st.floats(0, 1), seed=st.integers())
@example(n=10**18, p=LEAST, seed=0)
@example(n=1, p=DENORMAL, seed=0)
def test_a_binomial_draw_stays_within_its_trials(n: int, p: float, seed: int):
    assert 0 <= binomial(Random(seed), n, p) <= n


def test_a_quantile_that_rounds_to_the_end_of_the_range_is_below_it():
    class Rounding(Random):
        def betavariate(self, *_: float) -> float:
            return 1.0

    assert isfinite(log1p(-percentile(Rounding(), 1, 0.99)))


@pytest.mark.parametrize("value", [-LEAST, nextafter(1.0, inf), float("nan"), "0.1", True])
def test_a_value_outside_is_refused(value: object):
    with pytest.raises((TypeError, ValueError), match=r"Behaviour\.error_rate: found"):
        Behaviour(error_rate=value)
