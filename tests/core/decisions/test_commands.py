"""promote, abort, pause, resume, retry and skip-to, once each, in every phase that accepts them."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import CommandKind, Phase, Reason, Routes
from canarycore.effects import Promote
from canarycore.phases import ALIVE, BEFORE_PROMOTION, UNDER_WAY, Rule
from canarycore.simulation import (
    NEVER,
    ByRevision,
    Delete,
    Deploy,
    Edit,
    RouteByHand,
    SendCommand,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    after,
)
from tests.core.scenarios import POLICIES, SITUATIONS, at, idle, is_advancing, play, policy

ACCEPTING_PHASES = {
    CommandKind.PROMOTE: BEFORE_PROMOTION,
    CommandKind.ABORT: UNDER_WAY,
    CommandKind.PAUSE: UNDER_WAY,
    CommandKind.RESUME: set(),
    CommandKind.RETRY: {Phase.FAILED},
    CommandKind.APPROVE: set(),
    CommandKind.SKIP_TO: {Phase.PROGRESSING},
}
"""The phases that carry a command out.

Resume needs a pause, approve a step that waits; abort waits for the end of Initializing.
"""

RULES = {
    CommandKind.PROMOTE: Rule.PROMOTED_BY_COMMAND,
    CommandKind.ABORT: Rule.ABORTED,
    CommandKind.PAUSE: Rule.PAUSED,
    CommandKind.RETRY: Rule.RETRIED,
    CommandKind.SKIP_TO: Rule.SKIPPED_TO,
}

PHASES_AND_KINDS = [(phase, kind) for phase in Phase if phase in ALIVE for kind in CommandKind]


def outcome(world: SimulatedCluster, kind: CommandKind) -> Rule:
    return world.do(SendCommand(kind, 50)).step().decision.explanation.rule


@pytest.mark.parametrize(("phase", "kind"), PHASES_AND_KINDS)
def test_each_phase_carries_a_command_out_or_refuses_it(phase, kind):
    expected = RULES[kind] if phase in ACCEPTING_PHASES[kind] else Rule.REFUSED
    if (phase, kind) == (Phase.INITIALIZING, CommandKind.ABORT):
        expected = Rule.INITIALISING
    assert outcome(at(phase), kind) is expected


@pytest.mark.parametrize(("phase", "kind"), PHASES_AND_KINDS)
def test_a_command_is_handled_once(phase, kind):
    world = at(phase).do(SendCommand(kind, 50)).run(until=100.0)
    rules = [record.decision.explanation.rule for record in world.history if record.committed]
    assert sum(rule in {*RULES.values(), Rule.RESUMED, Rule.REFUSED} for rule in rules) == 1


@pytest.mark.parametrize("phase", sorted(UNDER_WAY, key=str))
def test_abort_ends_in_failed_with_the_traffic_back(phase):
    world = at(phase).do(SendCommand(CommandKind.ABORT)).run(until=60.0)
    assert (world.phase, world.status.reason, world.state.routes) == (Phase.FAILED, Reason.ABORTED, Routes())
    assert world.state.primary.revision == "v1"


@pytest.mark.parametrize("strategy", POLICIES)
def test_abort_works_while_pods_are_not_ready(strategy):
    world = idle(POLICIES[strategy]).do(Deploy("v2"), SetPace("v2", NEVER)).run(until=15.0)
    assert outcome(world, CommandKind.ABORT) is Rule.ABORTED


def test_an_abort_before_the_start_prevents_the_start():
    world = idle(policy()).do(Deploy("v2"), SendCommand(CommandKind.ABORT)).run()
    assert (world.phase, world.status.applied) == (Phase.FAILED, "v2")


def test_promote_promotes_the_revision_of_the_target():
    world = play(policy(), SITUATIONS["promoted by command"])
    assert (world.phase, world.status.reason) == (Phase.SUCCEEDED, Reason.COMMANDED)
    assert Promote("v2") in world.effects


def test_promote_is_refused_for_another_revision_than_the_one_under_analysis():
    world = idle(policy()).do(Deploy("v2")).run(until=is_advancing).do(Deploy("v3"))
    assert outcome(world, CommandKind.PROMOTE) is Rule.REFUSED


@pytest.mark.parametrize("phase", sorted(UNDER_WAY, key=str))
def test_a_paused_rollout_does_not_advance_before_a_resume(phase):
    world = at(phase).do(SendCommand(CommandKind.PAUSE)).run(until=200.0)
    assert (world.phase, world.status.paused) == (phase, True)
    world.do(SendCommand(CommandKind.RESUME)).run(until=1.0)
    assert world.status.paused is False


def test_a_rollout_advances_again_after_a_resume():
    assert play(policy(), SITUATIONS["paused and resumed"]).phase is Phase.SUCCEEDED


def test_a_paused_rollout_can_be_aborted():
    assert play(policy(), SITUATIONS["paused and aborted"]).status.reason is Reason.ABORTED


def test_retry_analyses_the_rejected_revision_again():
    assert play(policy(), SITUATIONS["retried"]).status.promoted == "v2"


def test_retry_waits_until_the_primary_is_restored():
    world = play(policy(), SITUATIONS["primary never takes over"]).do(SetPace("primary/v2", NEVER))
    world.do(SendCommand(CommandKind.RETRY)).step()
    assert (world.phase, world.state.primary.revision) == (Phase.PROGRESSING, "v1")


def test_skip_to_goes_to_any_weight_and_advances_from_there():
    world = play(policy(), SITUATIONS["skipped to a weight"])
    assert [text for text in world.texts if "weight" in text] == [
        "Advance podinfo.test canary weight 20",
        "Skipping podinfo.test to canary weight 50 by command skip-to-1",
        "Advance podinfo.test canary weight 60",
    ]


@pytest.mark.parametrize("weight", [-1, 0, 101])
def test_skip_to_refuses_a_weight_out_of_range(weight):
    world = at(Phase.PROGRESSING).do(SendCommand(CommandKind.SKIP_TO, weight))
    assert world.step().decision.explanation.rule is Rule.REFUSED


def test_skip_to_is_refused_on_a_ladder_without_weights():
    world = idle(POLICIES["a/b"]).do(Deploy("v2")).run(until=is_advancing)
    assert outcome(world, CommandKind.SKIP_TO) is Rule.REFUSED


def test_a_refusal_has_a_reason():
    world = at(Phase.SUCCEEDED).do(SendCommand(CommandKind.PAUSE)).run()
    assert world.texts[-1] == "Refused command pause: no rollout is under way, or it is paused already"


def test_a_suspended_rollout_keeps_a_command_for_later():
    world = at(Phase.PROGRESSING)
    given = world.state.rollout
    world.do(Edit(evolve(given, suspend=True)), SendCommand(CommandKind.ABORT)).run(until=100.0)
    assert world.phase is Phase.PROGRESSING
    assert world.do(Edit(given)).step().decision.explanation.rule is Rule.ABORTED


def test_a_suspended_rollout_converges_nothing_and_says_so_once():
    world = at(Phase.PROGRESSING)
    world.do(Edit(evolve(world.state.rollout, suspend=True)), SetMetrics(ByRevision(bad=("v2",)))).run(until=100.0)
    told = [notice for notice in world.notices if "suspended" in notice.text]
    assert (world.status.rung.weight, len(told)) == (20, 1)
    assert world.history[-1].effects == ()


def test_a_suspended_rollout_can_be_deleted_and_restored():
    world = at(Phase.PROGRESSING)
    world.do(Edit(evolve(world.state.rollout, suspend=True)), Delete()).run()
    assert world.state.status.phase is Phase.TERMINATED
    assert world.state.restored


def test_a_suspended_rollout_leaves_foreign_routes_alone():
    world = at(Phase.PROGRESSING)
    world.do(Edit(evolve(world.state.rollout, suspend=True)), RouteByHand(Routes(weight=7))).run(until=100.0)
    assert world.state.routes == Routes(weight=7)


def test_a_terminated_rollout_ignores_commands():
    world = at(Phase.PROGRESSING).do(Delete()).run()
    assert outcome(world, CommandKind.RETRY) is Rule.GONE


def test_an_abort_in_finalising_keeps_the_canary_until_the_primary_is_restored():
    """The primary has the rejected revision by then, so the canary keeps running until the restoration is done."""
    world = at(Phase.FINALISING).do(SetPace("primary", after(30))).do(SendCommand(CommandKind.ABORT))
    for _ in range(3):
        world.step()
    assert (world.status.phase, world.status.is_settled) == (Phase.FAILED, False)
    assert world.state.target.desired > 0
