"""A check with limits of its own takes several measurements on a rung, and fails by its own limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve

from canarycore import Check, CheckKind, CheckLimits, CommandKind, NoData, OnFailure, Phase, Reason
from canarycore.codec import from_json, to_json
from canarycore.errors import FieldError
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.questions import MetricAnswer
from canarycore.simulation import ByRevision, Constant, Deploy, SendCommand, SetMetrics
from tests.core.scenarios import idle, kinds, policy

CHECK = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
ERROR = MetricAnswer(error="connection refused")


def limited(check=CHECK, *, dry_run=False, **limits):
    """Return a policy whose only check has these limits."""
    return policy(checks=(evolve(check, limits=CheckLimits(**limits), dry_run=dry_run),))


def on_first_rung(rollout):
    return idle(rollout).do(Deploy("v2")).run(until=lambda world: world.status.rung.weight > 0)


def rules(world):
    return [record.decision.explanation.rule for record in world.history]


def ended(world):
    return world.run(until=lambda each: each.status.phase in {Phase.SUCCEEDED, Phase.FAILED} or each.status.is_frozen)


def test_a_rung_is_left_after_the_count_of_measurements():
    plain, counting = ended(on_first_rung(policy())), ended(on_first_rung(limited(count=3)))
    assert counting.status.phase is plain.status.phase is Phase.SUCCEEDED
    rungs = rules(plain).count(Rule.ADVANCED)
    assert rules(counting).count(Rule.MEASURED) == 2 * rungs
    assert rules(counting).count(Rule.ADVANCED) == rungs


def test_passes_in_a_row_conclude_a_check_early():
    world = ended(on_first_rung(limited(count=100, success_limit=2)))
    assert world.status.phase is Phase.SUCCEEDED
    assert rules(world).count(Rule.MEASURED) == rules(world).count(Rule.ADVANCED)


@pytest.mark.parametrize("count", [1, 3])
def test_failures_within_their_limit_count_against_it_alone(count):
    world = on_first_rung(limited(count=count, failure_limit=5))
    world.do(SetMetrics(ByRevision(bad=("v2",))))
    ended(world)
    assert world.status.phase is Phase.SUCCEEDED
    assert Rule.HALTED not in rules(world)
    assert NoticeKind.CHECK_FAILED in kinds(world)


def test_one_failure_more_than_the_limit_rolls_back():
    world = on_first_rung(limited(count=9, failure_limit=1)).do(SetMetrics(ByRevision(bad=("v2",))))
    ended(world)
    assert (world.status.phase, world.status.reason) == (Phase.FAILED, Reason.CHECKS)
    text = next(each.text for record in world.history for each in record.notices
                if each.kind is NoticeKind.ROLLING_BACK_LIMIT)  # fmt: skip
    assert text == "Rolling back podinfo.test check request-success-rate: 2 failures, at most 1 allowed"
    assert world.status.end.detail == text
    assert world.status.tallies == ()


def test_failures_freeze_a_rollout_whose_policy_says_so():
    rollout = evolve(limited(failure_limit=0), on_failure=OnFailure.FREEZE)
    world = ended(on_first_rung(rollout).do(SetMetrics(ByRevision(bad=("v2",)))))
    assert world.status.is_frozen
    world.do(SetMetrics(ByRevision(bad=()))).do(SendCommand(CommandKind.RESUME, id="go on"))
    world.run(until=lambda each: not each.status.is_frozen)
    assert ended(world).status.phase is Phase.SUCCEEDED


def test_a_resumed_rollout_counts_anew():
    rollout = evolve(limited(count=9, failure_limit=1), on_failure=OnFailure.FREEZE)
    world = ended(on_first_rung(rollout).do(SetMetrics(ByRevision(bad=("v2",)))))
    world.do(SendCommand(CommandKind.RESUME, id="go on")).run(until=lambda each: not each.status.is_frozen)
    world.run(until=lambda each: bool(each.status.tallies))
    assert not world.status.is_frozen
    assert [tally.failed for tally in world.status.tallies] == [1]


@pytest.mark.parametrize("no_data", NoData)
def test_missing_data_beyond_its_limit_waits_for_a_human(no_data):
    rollout = evolve(limited(count=9, inconclusive_limit=1), no_data=no_data)
    world = ended(on_first_rung(rollout).do(SetMetrics(Constant(None))))
    assert (world.status.is_frozen, world.status.reason) == (True, Reason.INCONCLUSIVE)
    assert world.status.failed_checks == 0


def test_errors_in_a_row_beyond_their_limit_roll_back():
    world = on_first_rung(limited(error_limit=2)).do(SetMetrics(Constant(ERROR)))
    ended(world)
    assert (world.status.phase, world.status.reason) == (Phase.FAILED, Reason.CHECKS)
    assert "3 errors in a row, at most 2 allowed" in world.status.end.detail


def test_an_answer_without_a_limit_counts_by_the_policy():
    world = ended(on_first_rung(limited(count=2, error_limit=9)).do(SetMetrics(ByRevision(bad=("v2",)))))
    assert world.status.phase is Phase.FAILED
    assert Rule.HALTED in rules(world)


def test_a_bad_answer_that_the_policy_counts_concludes_nothing():
    world = on_first_rung(evolve(limited(count=1, error_limit=9), threshold=50)).do(SetMetrics(ByRevision(bad=("v2",))))
    weight = world.status.rung.weight
    assert world.run(until=world.now + 300.0).status.rung.weight == weight


def test_the_first_measurement_waits_for_the_delay():
    world = ended(on_first_rung(limited(initial_delay=95.0, failure_limit=0)))
    assert world.status.phase is Phase.SUCCEEDED
    begin = next(record.time for record in world.history if record.decision.status.phase is Phase.PROGRESSING)
    first = next(record.time for record in world.history if record.decision.explanation.judgements)
    assert first - begin >= 95.0


def test_measurements_keep_their_distance():
    world = ended(on_first_rung(limited(count=3, every=35.0)))
    times = [record.time for record in world.history if record.decision.explanation.judgements]
    gaps = [after - before for before, after in pairwise(times)]
    assert world.status.phase is Phase.SUCCEEDED
    assert sum(gap >= 35.0 for gap in gaps) >= 2 * len(gaps) // 3


def test_a_dry_run_decides_nothing_and_is_recorded():
    world = on_first_rung(limited(dry_run=True)).do(SetMetrics(ByRevision(bad=("v2",))))
    judged = ended(world).history
    assert world.status.phase is Phase.SUCCEEDED
    assert any("fail" in str(each) for record in judged for each in record.decision.explanation.judgements)


def test_a_new_process_goes_on_counting():
    world = on_first_rung(limited(count=3))
    world.run(until=lambda each: bool(each.status.tallies))
    (tally,) = world.status.tallies
    assert (tally.check, tally.measured) == ("0/request-success-rate", 1)
    assert from_json(to_json(world.status), type(world.status)) == world.status


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 0), ("failure_limit", -1), ("error_limit", 1.5), ("initial_delay", -1.0), ("every", float("nan"))],
)
def test_a_wrong_limit_names_its_field(field, value):
    with pytest.raises(FieldError, match=field):
        CheckLimits(**{field: value})
