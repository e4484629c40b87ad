"""The engines evaluate conditions of built-in metrics like ranges, or say that they do not."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import Check, CheckKind, Ladder, Rollout, TargetRef
from canarycore.policy import Behaviour, Scenario, exact, sampled, vector
from canarycore.policy._summary import Outcome

RATE = Check(name="rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
P99 = Check(name="latency", kind=CheckKind.DURATION, maximum=500.0)
OWN = Check(name="own", kind=CheckKind.TEMPLATE, maximum=5.0)
SCENARIO = Scenario(new=Behaviour(error_rate=0.01, p99=450.0), rps=20, failures={"own": 0.05})
POLICY = Rollout(
    name="shop", target=TargetRef(name="shop"), ladder=Ladder(step=10, top=50), threshold=3, checks=(RATE, P99, OWN)
)


def conditional(check, success="", failure=""):
    return evolve(check, minimum=None, maximum=None, success_condition=success, failure_condition=failure)


SAME = evolve(
    POLICY,
    checks=(
        conditional(RATE, "result / 100 >= 0.99"),
        conditional(P99, "result[0] <= 500", "result[0] > 500"),
        conditional(OWN, "result <= 5"),
    ),
)


def test_conditions_that_are_ranges_have_the_characteristics_of_the_ranges():
    assert exact.find_gap(SAME, SCENARIO) == vector.find_gap(SAME, SCENARIO) == ""
    assert exact.solve(SAME, SCENARIO) == exact.solve(POLICY, SCENARIO)
    ours, theirs = (vector.simulate(policy, SCENARIO, runs=2000, seed=3).summary() for policy in (SAME, POLICY))
    assert ours == theirs
    assert [sampled.simulate(SAME, SCENARIO, seed=seed).outcome for seed in range(5)] == [
        sampled.simulate(POLICY, SCENARIO, seed=seed).outcome for seed in range(5)
    ]


@pytest.mark.parametrize("check", [RATE, P99])
@pytest.mark.parametrize(
    "conditions", [("result >= 99", "result < 95"), ("result != 3",), ("isNaN(result) || result > 1",)]
)
def test_other_conditions_of_built_in_metrics_are_the_core_s_alone(check, conditions):
    rollout = evolve(POLICY, checks=(conditional(check, *conditions),))
    scenario = evolve(SCENARIO, failures={})
    assert (
        exact.find_gap(rollout, scenario)
        == vector.find_gap(rollout, scenario)
        == "the conditions of a check are no range"
    )
    assert sampled.simulate(rollout, scenario, seed=1).outcome in Outcome


def test_a_metric_of_its_own_passes_and_fails_under_any_conditions():
    rollout = evolve(POLICY, checks=(conditional(OWN, "len(result) == 0 || result < 1", "result > 5"),))
    assert exact.find_gap(rollout, SCENARIO) == vector.find_gap(rollout, SCENARIO) == ""
    assert exact.solve(rollout, SCENARIO) == exact.solve(evolve(POLICY, checks=(OWN,)), SCENARIO)


def test_values_between_the_conditions_never_end_a_rollout():
    rollout = evolve(POLICY, checks=(conditional(RATE, "result >= 99.9", "result < 90"),))
    run = sampled.simulate(rollout, Scenario(new=Behaviour(error_rate=0.05), rps=1000), seed=1)
    assert run.outcome is Outcome.UNDECIDED
    assert sampled.simulate(
        evolve(rollout, inconclusive_limit=2), Scenario(new=Behaviour(error_rate=0.05), rps=1000), seed=1
    ).outcome is Outcome.ROLLED_BACK  # fmt: skip
