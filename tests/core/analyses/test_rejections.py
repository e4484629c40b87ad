"""The status remembers the revisions that were rejected: a return must never serve one of them again."""

from __future__ import annotations

import pytest

from canarycore import CommandKind, HookType, OnFailure, Phase, Status
from canarycore.bounds import REVISIONS
from canarycore.codec import from_json, to_json
from canarycore.errors import FieldError
from canarycore.manifest import status_from_dict, status_to_dict
from canarycore.questions import MetricAnswer
from canarycore.simulation import (
    NEVER,
    AnswerHook,
    ByRevision,
    Constant,
    Deploy,
    SendCommand,
    SetMetrics,
    SetPace,
)
from tests.core.scenarios import hook, idle, is_advancing, is_promoting, policy

BAD = SetMetrics(ByRevision(bad=("v2",)))
GOOD = SetMetrics(Constant(MetricAnswer(value=100.0)))


def advancing(rollout=None):
    return idle(rollout or policy()).do(Deploy("v2")).run(until=is_advancing)


def promoting(rollout=None):
    return idle(rollout or policy()).do(Deploy("v2")).run(until=is_promoting)


def test_failed_checks_reject_the_revision():
    world = advancing().do(BAD).run()
    assert (world.status.phase, world.status.rejected) == (Phase.FAILED, ("v2",))


def test_an_abort_rejects_the_revision():
    world = advancing().do(SendCommand(CommandKind.ABORT)).run()
    assert (world.status.phase, world.status.rejected) == (Phase.FAILED, ("v2",))


def test_an_abort_before_the_start_rejects_the_targets_revision():
    gate = hook(HookType.CONFIRM_ROLLOUT)
    world = idle(policy(hooks=(gate,))).do(AnswerHook(gate.name, (False,)), Deploy("v2"))
    world.run(until=lambda each: each.phase is Phase.WAITING)
    world.do(SendCommand(CommandKind.ABORT)).run()
    assert (world.status.phase, world.status.rejected) == (Phase.FAILED, ("v2",))


def test_a_rollback_hook_rejects_the_revision():
    rollback = hook(HookType.ROLLBACK)
    world = idle(policy(hooks=(rollback,))).do(AnswerHook(rollback.name, (False,)), Deploy("v2"))
    world.run(until=is_advancing).do(AnswerHook(rollback.name, (True,))).run()
    assert world.status.rejected == ("v2",)


def test_a_progress_deadline_rejects_the_revision():
    assert idle(policy()).do(SetPace("target", NEVER), Deploy("v2")).run().status.rejected == ("v2",)


def test_a_failed_promotion_rejects_the_revision():
    world = advancing().do(SetPace("primary", NEVER)).run(until=lambda each: each.phase is Phase.FAILED)
    assert (world.status.phase, world.status.rejected) == (Phase.FAILED, ("v2",))


def test_an_abort_after_the_promotion_began_rejects_the_revision():
    world = promoting().do(SendCommand(CommandKind.ABORT)).run()
    assert (world.status.phase, world.status.rejected) == (Phase.FAILED, ("v2",))


def test_a_success_rejects_nothing():
    world = idle(policy()).do(Deploy("v2")).run()
    assert (world.status.phase, world.status.rejected) == (Phase.SUCCEEDED, ())


def test_a_withdrawn_revision_is_not_rejected():
    world = advancing().do(Deploy("v1")).run()
    assert (world.status.phase, world.status.rejected) == (Phase.SUCCEEDED, ())


def test_a_frozen_revision_is_rejected_by_its_abort_only():
    world = advancing(policy(on_failure=OnFailure.FREEZE)).do(BAD).run(until=lambda each: each.status.is_frozen)
    assert world.status.rejected == ()
    assert world.do(SendCommand(CommandKind.ABORT)).run().status.rejected == ("v2",)


def test_the_promoted_revision_is_never_rejected():
    gate = hook(HookType.CONFIRM_ROLLOUT)
    world = idle(policy(hooks=(gate,))).do(AnswerHook(gate.name, (False,)), Deploy("v2"))
    world.run(until=lambda each: each.phase is Phase.WAITING)
    world.do(Deploy("v1"), SendCommand(CommandKind.ABORT)).run()
    assert world.status.rejected == ()


def test_a_rejected_revision_stays_rejected_after_its_promotion():
    world = advancing().do(BAD).run()
    world.do(GOOD, SendCommand(CommandKind.RETRY)).run()
    assert (world.status.phase, world.status.promoted) == (Phase.SUCCEEDED, "v2")
    assert world.status.rejected == ("v2",)


def test_a_rejection_survives_later_rollouts():
    world = advancing().do(BAD).run().do(Deploy("v3")).run()
    assert (world.status.promoted, world.status.rejected) == ("v3", ("v2",))


def test_a_revision_that_is_rejected_again_is_the_latest():
    world = advancing().do(BAD).run()
    for revision in ("v3", "v2"):
        world.do(SetMetrics(ByRevision(bad=(revision,))), Deploy(revision)).run()
    assert world.status.rejected == ("v3", "v2")


def test_the_status_remembers_the_latest_rejections_only():
    world = idle(policy())
    names = [f"bad{number}" for number in range(REVISIONS.most + 2)]
    for name in names:
        world.do(SetMetrics(ByRevision(bad=(name,))), Deploy(name)).run()
    assert world.status.rejected == tuple(names[2:])


def test_a_status_survives_a_round_trip_with_its_rejections():
    status = Status(rejected=("v2", "v3"))
    assert from_json(to_json(status), Status) == status


@pytest.mark.parametrize("rejected", [("",), (1,), ["v2"], ("v",) * (REVISIONS.most + 1)])
def test_rejections_that_are_no_revisions_are_refused(rejected):
    with pytest.raises(FieldError, match=r"Status\.rejected"):
        Status(rejected=rejected)


def test_a_status_without_a_rejection_is_stored_as_before():
    rollout, status = policy(), Status(phase=Phase.SUCCEEDED, since=1.0, promoted="v1", applied="v1")
    assert "rejected" not in status_to_dict(rollout, status)["canarycore"]
    stored = status_to_dict(rollout, status.but(rejected=("v2",)))
    assert status_from_dict(rollout, stored).rejected == ("v2",)
