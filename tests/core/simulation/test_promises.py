"""Promises of a user: the simulated cluster, the state machine and the strategies find what breaks them."""

from __future__ import annotations

import time
from math import inf

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from canarycore import Hook, HookType, Ladder, Phase
from canarycore.errors import FieldError
from canarycore.policy import Behaviour, Scenario
from canarycore.simulation import (
    Deploy,
    Fault,
    FaultKind,
    InvariantError,
    Promise,
    PromiseFault,
    RolloutView,
    SendCommand,
    SetMetrics,
    SimulatedCluster,
)
from canarycore.simulation.promises import RolloutTally
from canarycore.testing import strategies as some
from canarycore.testing.stateful import RolloutMachine
from tests.core.scenarios import SUCCESS_RATE, policy
from tests.same_series import SAME_SERIES

BAD = Scenario(new=Behaviour(error_rate=0.3))
ALWAYS_THE_SAME = settings(SAME_SERIES, max_examples=1000)


def _has_few_bad_requests(rollout: RolloutView) -> bool:
    return rollout.bad_requests <= 200


def _is_never_promoted(rollout: RolloutView) -> bool:
    return rollout.scenario.new.error_rate < 0.3 or not rollout.is_promoted


FEW_BAD = Promise("at most 200 bad requests", _has_few_bad_requests)
NO_BAD_VERSION = Promise("a version with 30 % errors is never promoted", _is_never_promoted)
WITHIN_A_MINUTE = Promise("ended within a minute", lambda rollout: rollout.is_over or rollout.seconds <= 60)


def on(rollout, *promises: Promise, scenario: Scenario = BAD, **options) -> SimulatedCluster:
    return SimulatedCluster(rollout, scenario=scenario, promises=promises, **options).do(Deploy("v1")).run()


def rolled_out(cluster: SimulatedCluster) -> RolloutView:
    view = cluster.do(Deploy("v2")).run().view
    assert view is not None
    return view


# the view -----------------------------------------------------------------------------------------------------------


def test_a_view_counts_the_expected_requests_of_a_rollout():
    view = rolled_out(on(policy(drain=0.0)))
    assert (view.revision, view.phase, view.is_over, view.is_promoted) == ("v2", Phase.FAILED, True, False)
    assert (view.seconds, view.requests, view.canary_requests, view.bad_requests) == (30.0, 3000.0, 400.0, 120.0)


def test_there_is_no_view_before_the_first_rollout():
    assert on(policy()).view is None


def test_the_counts_begin_anew_with_each_rollout():
    cluster = on(policy(), scenario=Scenario(old=Behaviour(error_rate=0.01)))
    first, second = rolled_out(cluster), cluster.do(Deploy("v3")).run().view
    assert second is not None
    assert (first.is_promoted, second.is_promoted, second.revision) == (True, True, "v3")
    assert second.requests == first.requests


def test_a_withdrawn_version_is_not_promoted():
    cluster = on(policy(), scenario=Scenario()).do(Deploy("v2")).run(until=Phase.PROGRESSING)
    view = cluster.do(Deploy("v1")).run().view
    assert (view.phase, view.revision, view.is_promoted) == (Phase.SUCCEEDED, "v2", False)


def test_a_rollout_behind_a_gate_counts_its_wait():
    gate = Hook(name="gate", type=HookType.CONFIRM_ROLLOUT, url="http://hooks.example/gate")
    cluster = on(policy(hooks=(gate,)), WITHIN_A_MINUTE, scenario=Scenario(gates={"gate": False}))
    with pytest.raises(InvariantError, match="ended within a minute"):
        cluster.do(Deploy("v2")).run(until=90.0)
    assert cluster.view.phase is Phase.WAITING


def test_a_rejected_version_counts_as_long_as_it_has_users():
    cluster = on(policy(), faults=()).do(Deploy("v2")).run(until=Phase.PROGRESSING)
    cluster.run(until=lambda cluster: cluster.state.status.failed_checks == 1)
    before = cluster.view.bad_requests
    cluster.fault(FaultKind.LOST, after=2, times=5).run(until=Phase.FAILED).run()
    assert cluster.view.bad_requests > before


def test_an_endless_wait_makes_infinite_what_grows():
    cluster = on(policy()).do(Deploy("v2")).run(until=Phase.PROGRESSING)
    tally = RolloutTally().at(cluster.state).for_ever(cluster.state, BAD)
    assert (tally.seconds, tally.requests, tally.bad_requests) == (inf, inf, 0.0)


def test_the_scenario_sets_metrics_hooks_and_pods():
    rollback = Hook(name="back", type=HookType.ROLLBACK, url="http://hooks.example/back")
    view = rolled_out(on(policy(hooks=(rollback,)), scenario=Scenario(ready_after=7.0)))
    assert view.is_promoted
    assert view.seconds > 30.0


# broken promises ----------------------------------------------------------------------------------------------------


def test_a_broken_promise_shows_the_rollout_and_a_program():
    with pytest.raises(InvariantError) as caught:
        rolled_out(on(policy(ladder=Ladder(steps=(50,)), threshold=5), FEW_BAD))
    assert caught.value.name == "promise"
    assert caught.value.found == "Progressing of v2, weight 50, after 30s, 300 of 3,000 requests bad"


def test_the_program_of_a_broken_promise_breaks_it_again():
    with pytest.raises(InvariantError) as caught:
        rolled_out(on(policy(ladder=Ladder(steps=(50,)), threshold=5), FEW_BAD))
    assert "from tests.core.simulation.test_promises import FEW_BAD\n" in caught.value.script
    with pytest.raises(InvariantError, match="at most 200 bad requests"):
        exec(caught.value.script, {})


def test_a_cluster_without_checks_checks_no_promise():
    assert rolled_out(on(policy(ladder=Ladder(steps=(50,)), threshold=5), FEW_BAD, check=False)).bad_requests > 200


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        (lambda rollout: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda rollout: rollout.seconds, "found 0.0, expected True or False"),
        (lambda rollout: None, "found None, expected True or False"),
    ],
)
def test_a_faulty_promise_is_reported_by_name(holds, message):
    with pytest.raises(PromiseFault, match=f"the promise 'mine'.* {message}"):
        rolled_out(on(policy(), Promise("mine", holds)))


@pytest.mark.parametrize("fields", [("", _is_never_promoted), (1, _is_never_promoted), ("mine", "a text")])
def test_a_promise_has_a_name_and_a_function(fields):
    with pytest.raises(FieldError, match="Promise"):
        Promise(*fields)


def test_a_cluster_takes_promises_only():
    with pytest.raises(FieldError, match=r"SimulatedCluster.promises\[0\]"):
        SimulatedCluster(policy(), promises=[_is_never_promoted])


# the program --------------------------------------------------------------------------------------------------------


@given(some.clusters(scenario=some.scenarios(), promises=[FEW_BAD]), st.data())
@settings(max_examples=20)
def test_the_repr_of_a_cluster_builds_it_again(cluster, data):
    schedule = data.draw(some.schedules(cluster.rollout, 3))
    try:
        for _, action in schedule:
            cluster.do(action).step()
            cluster.sleep(5.0).run(until=20.0)
    except InvariantError:
        return
    names: dict[str, SimulatedCluster] = {}
    exec(repr(cluster), names)
    assert repr(names["cluster"].state) == repr(cluster.state)  # NaN does not equal itself
    assert names["cluster"].view == cluster.view


def test_a_counterexample_is_short_and_comes_soon():
    """The policy allows ten failed checks at high weights, so a bad version harms more than 200 users' requests."""
    ladders = st.builds(
        Ladder, steps=st.lists(st.integers(1, 100), min_size=1, max_size=3, unique=True).map(sorted_tuple)
    )
    rollouts = some.rollouts(
        ladder=ladders, checks=st.just((SUCCESS_RATE,)), threshold=st.integers(1, 10), gradual_return=st.none()
    )

    @given(rollouts, some.scenarios(), st.data())
    @settings(ALWAYS_THE_SAME)
    def no_policy_harms_more_than_200(rollout, scenario, data):
        rollout = evolve(rollout, suspend=False)
        cluster = SimulatedCluster(rollout, scenario=scenario, promises=[FEW_BAD])
        cluster.do(Deploy("v1")).run().do(Deploy("v2"))
        for _, action in data.draw(some.schedules(rollout, 3, without=[SetMetrics])):
            cluster.do(action).run(until=10.0)
        cluster.run(until=600.0)

    began = time.process_time()
    with pytest.raises(InvariantError) as caught:
        no_policy_harms_more_than_200()
    assert time.process_time() - began < 10
    assert len(caught.value.script.splitlines()) <= 10, caught.value.script


def sorted_tuple(values: list[int]) -> tuple[int, ...]:
    return tuple(sorted(values))


# strategies ---------------------------------------------------------------------------------------------------------


@given(some.rollouts(threshold=st.just(2), checks=st.just((SUCCESS_RATE,))))
def test_rollouts_take_strategies_for_fields(rollout):
    assert (rollout.threshold, rollout.checks) == (2, (SUCCESS_RATE,))


@given(some.scenarios(error_rates=st.just(0.5), rps=st.just(7.0), match_share=st.just(0.2)))
def test_scenarios_take_strategies_for_fields(scenario):
    assert (scenario.new.error_rate, scenario.old.error_rate, scenario.rps, scenario.match_share) == (
        0.5,
        0.0,
        7.0,
        0.2,
    )


@given(some.actions(policy(), without=[SendCommand, Deploy]))
def test_actions_can_be_narrowed(action):
    assert not isinstance(action, SendCommand | Deploy)


@given(some.faults(without=[FaultKind.LOST]))
def test_faults_can_be_narrowed(fault):
    assert fault.kind is not FaultKind.LOST


@pytest.mark.parametrize(
    "narrow",
    [lambda: some.faults(without=["lost"]), lambda: some.actions(policy(), without=[Fault])],  # type: ignore[list-item]
)
def test_what_is_never_drawn_cannot_be_left_out(narrow):
    with pytest.raises(ValueError, match=r"without: found .*, expected some of "):
        narrow()


# the state machine --------------------------------------------------------------------------------------------------


RULES = [name for name, rule in vars(RolloutMachine).items() if hasattr(rule, "hypothesis_stateful_rule")]


class Watched(RolloutMachine):
    policies = {"mine": policy()}  # noqa: RUF012 - the base class annotates it
    promises = (NO_BAD_VERSION,)
    scenario = BAD
    without = tuple(set(RULES) - {"deploy", "time_passes", "command"})


def test_the_state_machine_finds_a_broken_promise():
    """An operator promotes the version."""
    with pytest.raises(InvariantError, match="a version with 30 % errors is never promoted") as caught:
        run_state_machine_as_test(Watched, settings=ALWAYS_THE_SAME)
    assert "promises=(NO_BAD_VERSION,)" in caught.value.script
    assert "SendCommand(CommandKind.PROMOTE" in caught.value.script


def test_the_state_machine_leaves_rules_out():
    class Narrow(Watched):
        without = ("metrics", "command", "edit")

    run_state_machine_as_test(Narrow, settings=settings(ALWAYS_THE_SAME, max_examples=20))
    assert Narrow.command is None


def test_an_unknown_rule_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"Typo.without: found 'crashes', expected some of deploy, "):

        class Typo(RolloutMachine):
            without = ("crashes",)
