"""The table as a `transitions.Machine`, and as diagrams."""

from __future__ import annotations

import re

import pytest
from transitions import MachineError

from canarycore import Phase
from canarycore.machine import graphviz, machine, mermaid
from canarycore.phases import ROWS, TRANSITIONS, Rule
from canarycore.simulation import SimulatedCluster
from tests.core.scenarios import SITUATIONS, play, policy

MOVES = {(before, after) for before, _, after in TRANSITIONS if before is not after}


class Model:
    state = ""


def model_in(phase: Phase) -> Model:
    model = Model()
    machine().add_model(model, initial=phase.value)
    return model


def test_the_machine_has_the_phases_as_states():
    assert list(machine().states) == [phase.value for phase in Phase]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule.name)
def test_each_rule_is_a_trigger_in_its_phases_and_in_no_other(row):
    for phase in Phase:
        model = model_in(phase)
        if phase in row.sources:
            getattr(model, row.rule.name.lower())()
            assert model.state == (row.target or phase).value
        else:
            with pytest.raises(MachineError):
                getattr(model, row.rule.name.lower())()


def follow(world: SimulatedCluster) -> str:
    """Fire each rule of a cluster's history on a machine and return its state; a lost status starts a new machine."""
    model = model_in(Phase.INITIALIZED)
    for record in world.history:
        rule = record.decision.explanation.rule
        if rule in {Rule.DETECTED, Rule.ADOPTED}:
            model = model_in(Phase.INITIALIZING)
        getattr(model, rule.name.lower())()
    return model.state


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_machine_can_follow_a_rollout(situation):
    world = play(policy(), SITUATIONS[situation])
    assert follow(world) == world.phase.value


def test_the_mermaid_diagram_has_each_arrow_once_with_its_rules():
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", mermaid(), flags=re.MULTILINE)
    assert {(Phase(before), Phase(after)) for before, after, _ in arrows} == MOVES
    assert len(arrows) == len(MOVES)
    drawn = {
        (Phase(before), Rule[rule.upper()], Phase(after))
        for before, after, rules in arrows
        for rule in rules.split(", ")
    }
    assert drawn == {row for row in TRANSITIONS if row[0] is not row[2]}


def test_the_graphviz_diagram_has_the_same_arrows():
    arrows = re.findall(r"^    (\w+) -> (\w+) \[", graphviz(), flags=re.MULTILINE)
    assert {(Phase(before), Phase(after)) for before, after in arrows} == MOVES
