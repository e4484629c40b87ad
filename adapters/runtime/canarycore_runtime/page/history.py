"""Weights and analyses over time, in bounded memory. A status has only the last of each.

    history = RolloutHistory()
    history.record("shop/podinfo", status, at=time.time())

The oldest entries go first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from canarycore_runtime.page.views import WeightPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Status
    from canarycore.results import AnalysisResult

MOST_POINTS = 200
"""Most weights of a rollout; more drop the oldest."""

MOST_ANALYSES = 20
"""Most analyses of a rollout; more drop the oldest."""


class RolloutHistory:
    """The weights and analyses of rollouts since this process looks at them."""

    def __init__(self) -> None:
        self._weights: dict[str, deque[WeightPoint]] = {}
        self._analyses: dict[str, deque[AnalysisResult]] = {}

    def record(self, key: str, status: Status, *, at: float) -> None:
        """Record a status that a rollout has since `at`, in seconds. A first one adds the analyses that it keeps."""
        for analysis in _analyses(status):
            self._record_analysis(key, analysis)
        self._record_weight(key, WeightPoint(at, round(status.rung.percent)))

    def forget(self, key: str) -> None:
        """Forget a rollout."""
        self._weights.pop(key, None)
        self._analyses.pop(key, None)

    def weights(self, key: str) -> tuple[WeightPoint, ...]:
        """Return the changes of the weight, oldest first."""
        return tuple(self._weights.get(key, ()))

    def analyses(self, key: str) -> tuple[AnalysisResult, ...]:
        """Return the analyses, newest first."""
        return tuple(reversed(self._analyses.get(key, ())))

    def _record_weight(self, key: str, point: WeightPoint) -> None:
        points = self._weights.setdefault(key, deque(maxlen=MOST_POINTS))
        if not points or (point.weight != points[-1].weight and point.at >= points[-1].at):
            points.append(point)

    def _record_analysis(self, key: str, analysis: AnalysisResult) -> None:
        analyses = self._analyses.setdefault(key, deque(maxlen=MOST_ANALYSES))
        if not analyses or analysis.at > analyses[-1].at:
            analyses.append(analysis)
            self._record_weight(key, WeightPoint(analysis.at, analysis.weight))


def _analyses(status: Status) -> Iterator[AnalysisResult]:
    """Yield the analyses of a status, oldest first."""
    if status.end is not None and status.end.analysis is not None:
        yield status.end.analysis
    if status.analysis is not None:
        yield status.analysis
