"""Results of many simulated rollouts, compared with calculations by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import comb, sqrt
from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings

from canarycore import (
    Check,
    CheckKind,
    Explanation,
    Hook,
    HookType,
    Ladder,
    NoData,
    Phase,
    Rollout,
    Strategy,
    TargetRef,
)
from canarycore.notices import Notice
from canarycore.policy import Behaviour, Outcome, Scenario, Share, summarise
from canarycore.policy import sampled as simulation
from canarycore.policy.sampled import RunEvent, simulate, sweep
from canarycore.simulation import Promise, RolloutView
from canarycore.simulation.chance import binomial, percentile
from tests.policy.policies import cases

SUCCESS = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
LATENCY = Check(name="request-duration", kind=CheckKind.DURATION, maximum=500.0)


def _rollout(**changes: object) -> Rollout:
    base = Rollout(
        name="app", target=TargetRef(name="app"), ladder=Ladder(steps=(50,), top=50), threshold=1, checks=(SUCCESS,)
    )
    return evolve(base, **changes)  # type: ignore[arg-type]


def _bad(error_rate: float, rps: float = 10.0, **more: object) -> Scenario:
    return Scenario(new=Behaviour(error_rate=error_rate), rps=rps, **more)  # type: ignore[arg-type]


def _tail(n: int, p: float, allowed: int) -> float:
    """Return the probability of more than `allowed` failures in `n` requests."""
    return 1.0 - sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(allowed + 1))


def _agrees(share: Share, expected: float) -> bool:
    return abs(share.value - expected) <= 4 * sqrt(expected * (1 - expected) / share.of)


def _samples(rollout: Rollout, scenario: Scenario) -> list[int | None]:
    """Return the number of requests for each check of event run, in order."""
    events: list[RunEvent] = []
    simulate(rollout, scenario, on_event=events.append)
    decisions = [event.cause for event in events if isinstance(event.cause, Explanation)]
    return [judgement.answer.samples for explanation in decisions for judgement in explanation.judgements]


def _texts(rollout: Rollout, scenario: Scenario) -> list[str]:
    events: list[RunEvent] = []
    simulate(rollout, scenario, on_event=events.append)
    return [event.cause.text for event in events if isinstance(event.cause, Notice)]


# probabilities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error_rate", [0.005, 0.01, 0.02])
def test_a_single_rung_rolls_back_with_the_probability_of_the_binomial_tail(error_rate: float) -> None:
    """10 rps at weight 50 for a minute are 300 requests, and the check allows 3 failures."""
    summary = summarise(sweep(_rollout(), _bad(error_rate), runs=1500, seed=7))
    assert _agrees(summary.rolled_back, _tail(300, error_rate, 3))


def test_several_rungs_and_a_threshold_follow_the_markov_chain_of_their_checks() -> None:
    rollout = _rollout(ladder=Ladder(steps=(20, 40), top=40), threshold=2)
    fail = [_tail(120, 0.01, 1), _tail(240, 0.01, 2)]
    # two failures absorb; a pass climbs: promotion is (0 failures) or (1 failure on either rung)
    promoted = (1 - fail[0]) * (1 - fail[1]) * (1 + fail[0] + fail[1])
    summary = summarise(sweep(rollout, _bad(0.01), runs=1500, seed=3))
    assert _agrees(summary.promoted, promoted)


def test_a_worse_version_is_rolled_back_more_often() -> None:
    rollout = _rollout(ladder=Ladder(step=10, top=50), threshold=3)
    rates = [0.0, 0.005, 0.01, 0.02, 0.05]
    shares = [summarise(sweep(rollout, _bad(rate), runs=150, seed=1)).rolled_back.value for rate in rates]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_users_get_the_bad_requests_of_the_new_version() -> None:
    """The run promotes the version: a minute at 50%, then two minutes with it as the primary."""
    rollout = _rollout(checks=())
    summary = summarise(sweep(rollout, _bad(0.1, rps=50), runs=100, seed=5))
    expected = summary.canary_requests.value * 0.1
    assert summary.bad_requests.half is not None
    assert abs(summary.bad_requests.value - expected) < 2 * summary.bad_requests.half
    assert summary.excess_bad_requests == summary.bad_requests


def test_a_version_like_the_old_one_has_no_excess_of_bad_requests() -> None:
    scenario = Scenario(old=Behaviour(error_rate=0.05), new=Behaviour(error_rate=0.05), rps=50)
    summary = summarise(sweep(_rollout(checks=()), scenario, runs=200, seed=5))
    low, high = summary.excess_bad_requests.interval or (0.0, 0.0)
    assert low < 0.0 < high
    assert summary.bad_requests.value > 100


# the input of a check -----------------------------------------------------------------------------------------------


def test_a_long_window_covers_several_rungs() -> None:
    rollout = _rollout(ladder=Ladder(steps=(10, 20, 30), top=30), interval=10.0)
    assert _samples(rollout, _bad(0.0)) == [10, 30, 60]


def test_a_short_window_covers_the_end_of_the_interval() -> None:
    rollout = _rollout(checks=(evolve(SUCCESS, window=30.0),))
    assert _samples(rollout, _bad(0.0)) == [150]


def test_a_check_without_requests_fails() -> None:
    run = simulate(_rollout(threshold=2), _bad(0.0, rps=0.0))
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, "FailedChecks")
    assert any("no values found" in text for text in _texts(_rollout(), _bad(0.0, rps=0.0)))


def test_a_policy_that_holds_without_data_stays_undecided() -> None:
    assert simulate(_rollout(no_data=NoData.HOLD), _bad(0.0, rps=0.0)).outcome is Outcome.UNDECIDED


def test_the_measured_p99_varies_around_the_true_one() -> None:
    rollout = _rollout(checks=(LATENCY,))
    fast, slow = (Scenario(new=Behaviour(p99=p99)) for p99 in (250.0, 1000.0))
    assert summarise(sweep(rollout, fast, runs=50)).promoted.value == 1.0
    assert summarise(sweep(rollout, slow, runs=50)).rolled_back.value == 1.0
    drawn = [percentile(Random(number), 1000, 0.99) for number in range(500)]
    assert sum(drawn) / 500 == pytest.approx(990 / 1001, abs=0.0006)


def test_an_ab_test_measures_the_share_of_users_that_match() -> None:
    rollout = _rollout(ladder=Ladder(strategy=Strategy.AB, iterations=2))
    assert _samples(rollout, _bad(0.0, match_share=0.25)) == [150, 150]


def test_mirrored_requests_are_measured_and_do_not_reach_users() -> None:
    rollout = _rollout(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=1, mirror=True))
    run = simulate(rollout, _bad(1.0))
    assert (run.outcome, run.bad_requests) == (Outcome.ROLLED_BACK, 0)


def test_blue_green_without_a_load_test_has_no_data() -> None:
    rollout = _rollout(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2))
    assert simulate(rollout, _bad(0.0)).outcome is Outcome.ROLLED_BACK
    assert simulate(rollout, _bad(0.0, test_rps=10.0)).outcome is Outcome.PROMOTED


# hooks and chance ---------------------------------------------------------------------------------------------------


def test_hooks_pass_and_rollback_hooks_do_not_roll_back_by_default() -> None:
    kinds = [kind for kind in HookType if kind is not HookType.EVENT]
    rollout = _rollout(hooks=tuple(Hook(name=kind.value, type=kind, url="http://hook/") for kind in kinds))
    assert simulate(rollout, _bad(0.0)).outcome is Outcome.PROMOTED


@pytest.mark.parametrize("kind", [HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_PROMOTION])
def test_a_denied_gate_leaves_the_rollout_waiting(kind: HookType) -> None:
    rollout = _rollout(hooks=(Hook(name="gate", type=kind, url="http://gate/"),))
    assert simulate(rollout, _bad(0.0, gates={"gate": False})).outcome is Outcome.UNDECIDED


def test_an_approved_rollback_hook_rolls_back() -> None:
    rollout = _rollout(hooks=(Hook(name="undo", type=HookType.ROLLBACK, url="http://gate/"),))
    run = simulate(rollout, _bad(0.0, gates={"undo": True}))
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, "RollbackHook")


def test_a_custom_metric_fails_with_its_probability() -> None:
    own = Check(name="orders", kind=CheckKind.TEMPLATE, maximum=5.0)
    summary = summarise(sweep(_rollout(checks=(own,)), _bad(0.0, failures={"orders": 0.3}), runs=500, seed=2))
    assert _agrees(summary.rolled_back, 0.3)


def test_a_new_revision_that_skips_its_analysis_is_promoted_at_once() -> None:
    run = simulate(_rollout(skip_analysis=True), _bad(1.0))
    assert (run.outcome, run.reason) == (Outcome.PROMOTED, "Skipped")


# repeatability ------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_runs_with_any_executor() -> None:
    rollout, scenario = _rollout(), _bad(0.01)
    many = 2 * simulation.BATCH + 10
    alone = list(sweep(rollout, scenario, runs=many, seed="x"))
    with ThreadPoolExecutor(2) as executor:
        shared = list(sweep(rollout, scenario, runs=many, seed="x", executor=executor))
    assert alone == shared
    assert len(alone) == many
    assert len({run.bad_requests for run in alone}) > 1


@settings(max_examples=30, derandomize=True)
@given(cases())
def test_runs_with_shared_stretches_decide_alike(case: tuple[Rollout, Scenario]) -> None:
    """A run on stretches of other runs differs only by the values in its texts."""
    table = simulation._Table(*case, simulation._keep_verdict, ())
    for number in range(12):
        alone: list[RunEvent] = []
        together: list[RunEvent] = []
        run = simulate(*case, f"7/{number}", on_event=alone.append)
        assert table.run(f"7/{number}", together.append) == run
        assert [_without_values(event) for event in together] == [_without_values(event) for event in alone]


def _without_values(event: RunEvent) -> tuple[object, ...]:
    cause = event.cause
    if isinstance(cause, Explanation):
        verdicts = [(judgement.check, judgement.verdict) for judgement in cause.judgements]
        kind: tuple[object, ...] = (cause.rule, cause.before, cause.after, cause.detail, verdicts)
    else:
        kind = (cause.kind, cause.phase)
    return event.seconds, event.phase, event.weight, event.share, event.failed, kind


def test_a_sweep_clears_its_table_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list(sweep(_rollout(), _bad(0.01), runs=30, seed=1))
    monkeypatch.setattr(simulation, "_MOST_FORKS", 1)
    assert list(sweep(_rollout(), _bad(0.01), runs=30, seed=1)) == runs


def test_a_run_reports_its_phases_and_weights_in_order() -> None:
    events: list[RunEvent] = []
    simulate(_rollout(), _bad(0.0), on_event=events.append)
    rungs = list(dict.fromkeys((event.phase, event.weight) for event in events if isinstance(event.cause, Explanation)))
    assert rungs == [
        (Phase.PROGRESSING, 0),
        (Phase.PROGRESSING, 50),
        (Phase.PROMOTING, 50),
        (Phase.FINALISING, 0),
        (Phase.SUCCEEDED, 0),
    ]


# promises -----------------------------------------------------------------------------------------------------------


FEW_BAD = Promise("at most 50 bad requests", lambda rollout: rollout.bad_requests <= 50)
NOT_PROMOTED = Promise("never promoted", lambda rollout: not rollout.is_promoted)


def test_a_run_names_the_promises_that_it_breaks() -> None:
    bad, good = (simulate(_rollout(), _bad(rate), promises=[FEW_BAD, NOT_PROMOTED]) for rate in (0.5, 0.0))
    assert (bad.outcome, bad.broken) == (Outcome.ROLLED_BACK, (FEW_BAD.name,))
    assert (good.outcome, good.broken) == (Outcome.PROMOTED, (NOT_PROMOTED.name,))


def test_promises_change_no_run() -> None:
    plain, watched = (list(sweep(_rollout(), _bad(0.02), runs=50, promises=some)) for some in ((), [FEW_BAD]))
    assert [evolve(run, broken=()) for run in watched] == plain


def test_a_promise_about_the_end_agrees_with_the_run() -> None:
    never = Promise("exactly", lambda rollout: not rollout.is_over or rollout.bad_requests == -1)
    views: list[RolloutView] = []
    run = simulate(_rollout(), _bad(0.5), promises=[Promise("watch", lambda view: views.append(view) is None), never])
    end = views[-1]
    assert (end.seconds, end.requests, end.bad_requests) == (run.seconds, run.requests, run.bad_requests)
    assert run.broken == ("exactly",)


# draws --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p"), [(40, 0.1), (40, 0.7), (300, 0.4), (900, 0.05)])
def test_binomial_draws_follow_the_binomial_distribution(n: int, p: float) -> None:
    """The chi-square over the likely values is within six of its standard deviations."""
    random, draws = Random(11), 4000
    drawn = [binomial(random, n, p) for _ in range(draws)]
    expected = {k: draws * comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)}
    likely = {k: count for k, count in expected.items() if count >= 10}
    chi2 = sum((drawn.count(k) - count) ** 2 / count for k, count in likely.items())
    assert chi2 < len(likely) + 6 * sqrt(2 * len(likely))


@pytest.mark.parametrize(("n", "p", "hits"), [(0, 0.5, 0), (10, 0.0, 0), (10, 1.0, 10), (10**6, 1.0, 10**6)])
def test_certain_draws_are_certain(n: int, p: float, hits: int) -> None:
    assert binomial(Random(0), n, p) == hits
