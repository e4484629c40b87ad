"""`onFailure: freeze`: an analysis that fails stops where it is, and waits for a command or another revision."""

from __future__ import annotations

import pytest

from canarycore import CommandKind, NoData, OnFailure, Phase, Reason
from canarycore.notices import NoticeKind
from canarycore.phases import Rule
from canarycore.simulation import ByRevision, Constant, Deploy, Edit, SendCommand, SetMetrics, SetPace, stuck
from tests.core.scenarios import idle, kinds, policy

FREEZES = policy(on_failure=OnFailure.FREEZE)
HOLDS = policy(on_failure=OnFailure.FREEZE, no_data=NoData.HOLD, inconclusive_limit=2)


def at_weight(world):
    return world.status.rung.weight > 0


def is_frozen(world):
    return world.status.is_frozen


def frozen(rollout=FREEZES):
    """Return a cluster whose rollout froze at its first weight, as its checks fail."""
    world = idle(rollout).do(Deploy("v2")).run(until=at_weight)
    return world.do(SetMetrics(ByRevision(bad=("v2",)))).run(until=is_frozen)


def test_failed_checks_freeze_instead_of_rolling_back():
    world = frozen()
    status, routes = world.status, world.state.routes
    assert (status.phase, status.reason, status.flags) == (Phase.PROGRESSING, Reason.CHECKS, ("frozen",))
    assert status.failed_checks == FREEZES.threshold
    world.run()
    assert (world.status, world.state.routes) == (status, routes)
    assert kinds(world).count(NoticeKind.FROZEN) == kinds(world).count(NoticeKind.FROZEN_ALERT) == 1
    assert not {NoticeKind.FAILED, NoticeKind.ROLLING_BACK_CHECKS} & set(kinds(world))


def test_the_event_and_the_explanation_say_why():
    world = frozen()
    text = next(
        notice.text for record in world.history for notice in record.notices if notice.kind is NoticeKind.FROZEN
    )
    assert f"failed checks threshold reached {FREEZES.threshold}" in text
    world.run()
    assert str(world.history[-1].decision.explanation) == "Progressing: the rollout is paused (frozen by FailedChecks)"


def test_inconclusive_analyses_freeze_at_their_limit():
    world = idle(HOLDS).do(Deploy("v2")).run(until=at_weight).do(SetMetrics(Constant(None)))
    world.run(until=is_frozen)
    assert (world.status.reason, world.status.holds) == (Reason.INCONCLUSIVE, 2)


def test_pods_that_do_not_get_ready_freeze_at_the_deadline_once():
    world = idle(FREEZES).do(SetPace("target", stuck(1.0)), Deploy("v2")).run(until=is_frozen)
    assert world.status.reason is Reason.DEADLINE
    world.run()
    assert kinds(world).count(NoticeKind.FROZEN) == 1
    assert world.status.is_frozen


def test_resume_begins_to_count_anew():
    world = frozen().do(SetMetrics(ByRevision()), SendCommand(CommandKind.RESUME))
    world.run(until=lambda world: not world.status.paused)
    assert (world.status.reason, world.status.failed_checks, world.status.holds) == (Reason.NONE, 0, 0)
    assert world.run().phase is Phase.SUCCEEDED


def test_resume_freezes_again_where_the_checks_still_fail():
    world = frozen().do(SendCommand(CommandKind.RESUME))
    world.run(until=lambda world: not world.status.paused).run(until=is_frozen)
    assert kinds(world).count(NoticeKind.FROZEN) == 2


@pytest.mark.parametrize(
    ("kind", "phase", "promoted"),
    [(CommandKind.ABORT, Phase.FAILED, "v1"), (CommandKind.PROMOTE, Phase.SUCCEEDED, "v2")],
)
def test_a_command_ends_a_frozen_rollout(kind, phase, promoted):
    world = frozen().do(SendCommand(kind)).run()
    assert (world.phase, world.status.promoted, world.status.paused) == (phase, promoted, False)


def test_another_revision_frees_a_frozen_rollout():
    world = frozen().do(SetMetrics(ByRevision()), Deploy("v3")).run()
    assert (world.phase, world.status.promoted) == (Phase.SUCCEEDED, "v3")


def test_the_promoted_revision_withdraws_a_frozen_rollout():
    world = frozen().do(Deploy("v1")).run()
    assert (world.phase, world.status.reason) == (Phase.SUCCEEDED, Reason.WITHDRAWN)


def test_a_paused_rollout_stays_paused_with_another_revision():
    world = idle(FREEZES).do(Deploy("v2")).run(until=at_weight).do(SendCommand(CommandKind.PAUSE), Deploy("v3")).run()
    assert (world.status.applied, world.status.flags) == ("v3", ("paused",))


def test_a_lower_threshold_freezes_without_another_check():
    world = idle(policy(on_failure=OnFailure.FREEZE, threshold=3)).do(Deploy("v2")).run(until=at_weight)
    world.do(SetMetrics(ByRevision(bad=("v2",)))).run(until=lambda world: world.status.failed_checks == 2)
    world.do(Edit(policy(on_failure=OnFailure.FREEZE, threshold=1))).run(until=is_frozen)
    assert world.history[-1].decision.explanation.rule is Rule.FROZEN
    assert world.status.failed_checks in {2, 3}
