"""The report of an observer: a log line for each Canary and each difference, metrics for Prometheus, a summary."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from canarycore.errors import WorldError
from canarycore_kubernetes.observer.differences import REFUSED, position_of

if TYPE_CHECKING:
    from canarycore.errors import Problem
    from canarycore_kubernetes.observer.differences import Difference

AGREED, ASSUMED, DIFFERS, HIDDEN = "agreed", "assumed", "differs", "hidden"
"""Results of a comparison.

ASSUMED: both agree if the hooks and providers that the observer did not ask gave the answer that the move shows.
HIDDEN: no comparison, as a Secret, which an observer does not read, may have begun the rollout.
"""

_log = structlog.get_logger("canarycore.observe")


class ComparisonReport:
    """The report of all comparisons."""

    def __init__(self, *, version: str, provider: str) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self.tally: Tally[str] = Tally()
        """The number of comparisons by result; differences by their row, or `unexplained`."""
        self._adoptable: dict[str, tuple[bool, str, tuple[str, ...]]] = {}
        self._errors: dict[str, str] = {}
        place = ("name", "namespace")
        info = Gauge("flagger_info", "Version and mesh provider.", ("version", "mesh_provider"), registry=self.registry)
        info.labels(version, provider).set(1)
        self._adopts = Gauge(
            "canarycore_observe_adoptable", "Whether taking over would begin no rollout.", place, registry=self.registry
        )
        self._moves = Counter(
            "canarycore_observe_moves", "Moves of a status, by the result of their comparison with our decision.",
            (*place, "result"), registry=self.registry,
        )  # fmt: skip
        self._differences = Counter(
            "canarycore_observe_differences", "Differences to our decisions, by the row that explains them.",
            (*place, "row"), registry=self.registry,
        )  # fmt: skip

    def report_adoption(
        self, key: str, *, adoptable: bool, explanation: str, would_write: tuple[str, ...] = ()
    ) -> None:
        """Report whether we could take a Canary over now. Log it if it has changed."""
        adoption = (adoptable, explanation, would_write)
        if self._adoptable.get(key) == adoption:
            return
        self._adoptable[key] = adoption
        self._adopts.labels(*_place(key)).set(adoptable)
        log = _log.info if adoptable else _log.warning
        log("adoption", canary=key, adoptable=adoptable, explanation=explanation, would_write=list(would_write))

    def report_invalid(self, key: str, problems: tuple[Problem, ...]) -> None:
        """Report a Canary that we would refuse."""
        rows = sorted({REFUSED[problem.rule] for problem in problems if problem.rule in REFUSED})
        self.report_adoption(key, adoptable=False, explanation="; ".join([*rows, *map(str, problems)]))

    def report_agreement(self, key: str, explanation: str, *, assumed: bool) -> None:
        """Report a move that we would have made too."""
        result = ASSUMED if assumed else AGREED
        self.tally[result] += 1
        self._moves.labels(*_place(key), result).inc()
        _log.debug("agreement", canary=key, result=result, explanation=explanation)

    def report_hidden_move(self, key: str) -> None:
        """Report a move in a rollout that a Secret may have begun."""
        self.tally[HIDDEN] += 1
        self._moves.labels(*_place(key), HIDDEN).inc()
        _log.info(
            "no comparison",
            canary=key,
            explanation="a Secret, which an observer does not read, may have begun the rollout",
        )

    def report_difference(self, key: str, difference: Difference) -> None:
        """Report a difference to our decision."""
        row = difference.row or "unexplained"
        self.tally[row] += 1
        self._differences.labels(*_place(key), row).inc()
        if difference.theirs is not None:
            self._moves.labels(*_place(key), DIFFERS).inc()
        _log.warning(
            "difference",
            canary=key,
            row=row,
            before=str(position_of(difference.before)),
            theirs="no move" if difference.theirs is None else str(position_of(difference.theirs)),
            ours=str(position_of(difference.ours.status)),
            explanation=str(difference.ours.explanation),
            early=difference.is_early,
        )

    def report_error(self, key: str, error: Exception) -> None:
        """Report an error that prevented a comparison. Log it if it is a new one."""
        self.tally["troubles"] += 1
        if self._errors.get(key) == str(error):
            return
        self._errors[key] = str(error)
        is_expected = isinstance(error, WorldError)
        _log.warning(
            "trouble",
            canary=key,
            error=str(error) if is_expected else repr(error),
            exc_info=None if is_expected else error,
        )

    def forget(self, key: str) -> None:
        """Remove a Canary that is gone."""
        self._errors.pop(key, None)
        if self._adoptable.pop(key, None) is not None:
            self._adopts.remove(*_place(key))

    def log_summary(self) -> None:
        """Log the summary."""
        refused = sorted(key for key, (adoptable, *_) in self._adoptable.items() if not adoptable)
        _log.info("summary", canaries=len(self._adoptable), not_adoptable=refused, **dict(sorted(self.tally.items())))


def _place(key: str) -> tuple[str, str]:
    namespace, _, name = key.partition("/")
    return name, namespace
