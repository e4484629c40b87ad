"""Weights and analyses over time."""

from __future__ import annotations

from canarycore import Rung
from canarycore_runtime.page.history import MOST_ANALYSES, MOST_POINTS, RolloutHistory
from tests.adapters.page.samples import FAILED, NOW, PROGRESSING, SUCCEEDED, analysis

KEY = "shop/podinfo"


def test_a_weight_is_recorded_when_it_changes():
    history = RolloutHistory()
    for second, weight in enumerate((0, 10, 10, 10, 20)):
        history.record(KEY, SUCCEEDED.but(rung=Rung(weight=weight)), at=NOW + second)
    assert [(point.at - NOW, point.weight) for point in history.weights(KEY)] == [(0, 0), (1, 10), (4, 20)]


def test_a_first_status_adds_the_analysis_that_it_keeps():
    history = RolloutHistory()
    history.record(KEY, FAILED, at=NOW)
    assert [point.weight for point in history.weights(KEY)] == [20, 0]
    assert [result.at for result in history.analyses(KEY)] == [NOW - 30]


def test_an_analysis_is_recorded_once_and_the_newest_comes_first():
    history = RolloutHistory()
    for at in (NOW, NOW, NOW + 10):
        history.record(KEY, PROGRESSING.but(analysis=analysis(at=at)), at=at)
    assert [result.at for result in history.analyses(KEY)] == [NOW + 10, NOW]


def test_the_memory_is_bounded_and_freed():
    history = RolloutHistory()
    for second in range(1000):
        status = PROGRESSING.but(rung=Rung(weight=second % 100), analysis=analysis(at=NOW + second))
        history.record(KEY, status, at=NOW + second)
    assert len(history.weights(KEY)) == MOST_POINTS
    assert len(history.analyses(KEY)) == MOST_ANALYSES
    history.forget(KEY)
    assert (history.weights(KEY), history.analyses(KEY)) == ((), ())
