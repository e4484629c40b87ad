"""The faults and interferences that a search tries, and those that it need not try."""

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
from canarycore.verification._paths import ShortestPaths
from tests.core.scenarios import POLICIES, play, promoted

STEPS = {AnswerHook, SetMetrics, SetSources, SetClock}
"""What providers answer and clocks do: steps of their own, at every point."""


@pytest.fixture(scope="module")
def ways():
    return ShortestPaths(explore(Trial(strategy="canary", rollout=STRATEGIES["canary"]), 1, cycle))


def after_conflicts(model, spot, times):
    """Where the controller is when its commit at this spot lost, and the same commit lost again and again."""
    for _ in range(times):
        while spot.point is None or not isinstance(spot.point.request, Commit):
            spot = model.free(spot)[0].to
        spot = next(move.to for move in model.faults(spot) if isinstance(move.step, CommitConflict))
    return spot


@pytest.mark.parametrize("times", range(2, MOST_IN_A_ROW + 1))
def test_so_many_conflicts_in_a_row_lead_to_where_one_leads(ways, times):
    """So one of them stands for all, at every commit that the search meets."""
    graph, model = ways.graph, ways.graph.model
    spots = [ways.spot(node) for node in range(len(graph.keys)) if graph.left(node)]
    commits = [spot for spot in spots if spot.point and isinstance(spot.point.request, Commit)]
    assert commits
    assert all(after_conflicts(model, spot, times) == after_conflicts(model, spot, 1) for spot in commits)


@pytest.mark.parametrize("times", range(1, MOST_IN_A_ROW + 1))
def test_a_rollout_whose_commits_conflict_so_often_in_a_row_ends_as_one_without_conflicts(times):
    plain = play(POLICIES["weights"], promoted)
    faults = [Fault(FaultKind.CONFLICT, write.number, times) for write in plain.writes if write.is_commit]
    ends = {fingerprint(play(POLICIES["weights"], promoted, (fault,)).state) for fault in faults}
    assert ends == {fingerprint(plain.state)}


def test_everything_that_others_can_do_is_tried():
    trials = [Trial(strategy="canary", rollout=STRATEGIES["canary"], scaler=scaler) for scaler in (None, Scaler())]
    tried = {type(acts.action) for trial in trials for acts in trial.actions}
    assert tried == set(get_args(Action)) - STEPS


def test_every_command_is_tried():
    orders = [acts.action for acts in Trial(strategy="canary", rollout=STRATEGIES["canary"]).actions]
    assert {order.kind for order in orders if isinstance(order, SendCommand)} == set(CommandKind)
