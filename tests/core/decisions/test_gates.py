"""Gates: the rungs and phases that ask them, and the effect of a closed one."""

from __future__ import annotations

import pytest
from attrs import evolve

from canarycore import HookType, Phase
from canarycore.phases import Rule
from canarycore.simulation import AnswerHook, Deploy, SimulatedCluster
from tests.core.scenarios import POLICIES, at, hook, idle, policy

INCREASE, PROMOTION = HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION


def gate_calls(world: SimulatedCluster, kind: HookType) -> list[tuple[Phase, int, bool]]:
    """Return the phase, the weight and whether the cycle committed, for each call of a kind of gate."""
    return [
        (record.decision.explanation.before, record.decision.status.rung.weight, record.committed is not None)
        for record in world.history
        for question, _ in record.answers
        if getattr(question, "hook", None) is not None and question.hook.type is kind
    ]


@pytest.mark.parametrize("kind", [INCREASE, PROMOTION], ids=str)
def test_every_gate_must_be_open(kind):
    world = idle(policy(hooks=(hook(kind, "first"), hook(kind, "second")))).do(AnswerHook("second", (False,)))
    world.do(Deploy("v2")).run(until=200.0)
    assert world.phase in (Phase.PROGRESSING, Phase.WAITING_PROMOTION)
    assert world.do(AnswerHook("second", (True,))).run().phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "name", [name for name, made in POLICIES.items() if made.ladder.strategy is not POLICIES["weights"].ladder.strategy]
)
def test_a_ladder_without_weights_asks_no_gate_for_traffic(name):
    world = idle(evolve(POLICIES[name], hooks=(hook(INCREASE),))).do(Deploy("v2")).run()
    assert (gate_calls(world, INCREASE), world.phase) == ([], Phase.SUCCEEDED)


def test_a_mirrored_rung_asks_no_gate_for_traffic():
    """Both other rungs ask: the initial one and the one with a weight."""
    world = idle(evolve(POLICIES["weights after a mirror"], hooks=(hook(INCREASE),))).do(Deploy("v2")).run()
    assert len(gate_calls(world, INCREASE)) == 2


def test_waiting_promotion_asks_no_gate_for_traffic():
    world = idle(policy(hooks=(hook(INCREASE), hook(PROMOTION)))).do(AnswerHook("confirm-promotion", (False,)))
    world.do(Deploy("v2")).run(until=Phase.WAITING_PROMOTION)
    before = len(gate_calls(world, INCREASE))
    world.run(until=50.0)
    assert len(gate_calls(world, INCREASE)) == before


def test_a_closed_promotion_gate_begins_a_phase_and_is_asked_again_an_interval_later():
    world = at(Phase.WAITING_PROMOTION)
    closed = next(record for record in world.history if record.decision.explanation.rule is Rule.GATED_PROMOTION)
    assert closed.committed.since == closed.committed.analysed_at == closed.time
    assert closed.decision.wake == closed.time + world.rollout.interval


def test_the_analysis_continues_behind_a_closed_gate():
    """A late gate promotes no revision that has become bad: each analysis asks the metrics before the gate."""
    world = at(Phase.WAITING_PROMOTION).run(until=30.0)
    last = next(record for record in reversed(world.history) if record.decision.explanation.rule is Rule.GATE_CLOSED)
    assert last.decision.explanation.judgements
