"""The faults and actions that a search tries, and repeated conflicts, which it need not try."""

from __future__ import annotations

from typing import get_args

import pytest

from canarycore import CommandKind, cycle
from canarycore.driver import Commit
from canarycore.simulation import (
    Action,
    AnswerHook,
    Fault,
    FaultKind,
    Scaler,
    SendCommand,
    SetClock,
    SetMetrics,
    SetSources,
    fingerprint,
)
from canarycore.testing.strategies import MOST_IN_A_ROW
from canarycore.verification import STRATEGIES, CommitConflict, Trial
from canarycore.verification._explore import explore
from canarycore.verification._model import TrialModel
from canarycore.verification._paths import ShortestPaths
from tests.core.scenarios import POLICIES, play, promoted

STEPS = {AnswerHook, SetMetrics, SetSources, SetClock}
"""Actions for which the search has other steps."""


@pytest.fixture(scope="module")
def paths():
    return ShortestPaths(explore(TrialModel(Trial(strategy="canary", rollout=STRATEGIES["canary"]), cycle), 1))


def after_conflicts(model, node, times):
    """Return the node after so many conflicts in a row of the commit at this node."""
    for _ in range(times):
        while node.point is None or not isinstance(node.point.request, Commit):
            node = model.free(node)[0].to
        node = next(move.to for move in model.faults(node) if isinstance(move.step, CommitConflict))
    return node


@pytest.mark.parametrize("times", range(2, MOST_IN_A_ROW + 1))
def test_several_conflicts_in_a_row_lead_to_the_node_after_one(paths, times):
    """So the search tries one conflict at each commit."""
    graph, model = paths.graph, paths.graph.model
    nodes = [paths.node(vertex) for vertex in range(len(graph.keys)) if graph.left(vertex)]
    commits = [node for node in nodes if node.point and isinstance(node.point.request, Commit)]
    assert commits
    assert all(after_conflicts(model, node, times) == after_conflicts(model, node, 1) for node in commits)


@pytest.mark.parametrize("times", range(1, MOST_IN_A_ROW + 1))
def test_a_rollout_ends_alike_with_and_without_conflicts_in_a_row(times):
    plain = play(POLICIES["weights"], promoted)
    faults = [Fault(FaultKind.CONFLICT, write.number, times) for write in plain.writes if write.is_commit]
    ends = {fingerprint(play(POLICIES["weights"], promoted, (fault,)).state) for fault in faults}
    assert ends == {fingerprint(plain.state)}


def test_a_trial_has_every_action_of_others():
    trials = [Trial(strategy="canary", rollout=STRATEGIES["canary"], scaler=scaler) for scaler in (None, Scaler())]
    actions = {type(step.action) for trial in trials for step in trial.actions}
    assert actions == set(get_args(Action)) - STEPS


def test_a_trial_has_every_command():
    actions = [step.action for step in Trial(strategy="held", rollout=STRATEGIES["canary with holds"]).actions]
    assert {action.kind for action in actions if isinstance(action, SendCommand)} == set(CommandKind)
