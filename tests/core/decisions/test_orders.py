"""Commands in unusual states: without a target, at a limit, repeated."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, Phase, Reason, Routes
from canarycore.phases import Rule
from canarycore.simulation import ByRevision, Deploy, Edit, RemoveTarget, SendCommand, SetMetrics
from tests.core.scenarios import at, idle, is_advancing, policy


def refusals(world) -> list[str]:
    return [text for text in world.texts if text.startswith("Refused command")]


@pytest.mark.parametrize("change", [RemoveTarget(), Deploy("v1")], ids=["none", "the promoted one"])
def test_promote_is_refused_without_a_new_revision(change):
    world = at(Phase.WAITING).do(change, SendCommand(CommandKind.PROMOTE)).run(until=1.0)
    assert refusals(world) == ["Refused command promote: the target has no new revision to promote"]


@pytest.mark.parametrize("change", [RemoveTarget(), Deploy("v1")], ids=["none", "the promoted one"])
def test_retry_is_refused_without_a_new_revision(change):
    world = at(Phase.FAILED).run().do(change, SendCommand(CommandKind.RETRY)).run(until=1.0)
    assert refusals(world) == ["Refused command retry: the target has no new revision to try"]


def test_skip_to_is_refused_without_a_target():
    world = at(Phase.PROGRESSING).do(RemoveTarget(), SendCommand(CommandKind.SKIP_TO, 50)).run(until=1.0)
    assert refusals(world) == ["Refused command skip-to: the target has another revision than the one under analysis"]


def test_a_refusal_says_the_phase():
    world = at(Phase.INITIALIZED).do(*(SendCommand(kind) for kind in (CommandKind.PROMOTE,))).run(until=1.0)
    world.do(SendCommand(CommandKind.ABORT)).run(until=1.0).do(SendCommand(CommandKind.RETRY)).run(until=1.0)
    assert refusals(world) == [
        "Refused command promote: no rollout waits for a promotion in phase Initialized",
        "Refused command abort: no rollout is under way in phase Initialized",
        "Refused command retry: only a failed rollout can be retried, this one is Initialized",
    ]


def test_the_status_keeps_the_reason_of_a_refusal_until_the_next_command():
    world = at(Phase.PROGRESSING).do(SendCommand(CommandKind.RESUME)).run(until=1.0)
    assert world.status.refusal == "the rollout is not paused"
    world.do(SendCommand(CommandKind.PAUSE)).run(until=1.0)
    assert (world.status.paused, world.status.refusal) == (True, "")


def test_a_revision_promoted_before_its_gate_opens_is_the_one_on_the_target():
    """In Waiting the status still names the promoted revision as the applied one."""
    world = at(Phase.WAITING).do(SendCommand(CommandKind.PROMOTE)).run()
    assert (world.status.applied, world.status.promoted, world.status.reason) == ("v2", "v2", Reason.COMMANDED)


def test_resume_is_handled_once():
    world = (
        at(Phase.PROGRESSING)
        .do(SendCommand(CommandKind.PAUSE))
        .run(until=1.0)
        .do(SendCommand(CommandKind.RESUME))
        .run()
    )
    rules = [record.decision.explanation.rule for record in world.history if record.committed]
    assert rules.count(Rule.RESUMED) == 1
    assert Rule.REFUSED not in rules


def test_resume_is_refused_without_a_pause():
    world = at(Phase.PROGRESSING).do(SendCommand(CommandKind.RESUME)).run(until=1.0)
    assert refusals(world) == ["Refused command resume: the rollout is not paused"]


@pytest.mark.parametrize("weight", [1, 100])
def test_skip_to_may_go_to_the_least_and_to_all_traffic(weight):
    world = at(Phase.PROGRESSING).do(SendCommand(CommandKind.SKIP_TO, weight)).run(until=1.0)
    assert world.state.routes == Routes(weight=weight)


def test_a_lowered_threshold_that_is_reached_already_rolls_back_without_another_check():
    world = idle(policy(threshold=5)).do(Deploy("v2"), SetMetrics(ByRevision(bad=("v2",)))).run(until=is_advancing)
    world.run(until=lambda found: found.status.failed_checks == 3)
    world.do(Edit(evolve(world.rollout, threshold=3)))
    before = len(world.history)
    world.run(until=Phase.FAILED)
    assert [question for record in list(world.history)[before:] for question, _ in record.answers] == []
    assert "Rolling back podinfo.test failed checks threshold reached 3" in world.texts
