"""The report of an observer: a log line for each Canary and each difference, metrics for Prometheus, a summary."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from canarycore.errors import WorldError
from canarycore_kubernetes.observer.differences import REFUSED, position_of
from canarycore_kubernetes.telemetry.prometheus import make_counter, make_gauge
from canarycore_kubernetes.telemetry.series import ADOPTABLE, DIFFERENCES, INFO, MOVES

if TYPE_CHECKING:
    from prometheus_client import Counter

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
        make_gauge(INFO, self.registry).labels(version, provider).set(1)
        self._adopts = make_gauge(ADOPTABLE, self.registry)
        self._moves = make_counter(MOVES, self.registry)
        self._differences = make_counter(DIFFERENCES, self.registry)
        self._counted: dict[str, set[tuple[Counter, str]]] = {}

    def _count(self, counter: Counter, key: str, label: str) -> None:
        """Count a move or a difference, and register its series as one of the Canary `key`."""
        self._counted.setdefault(key, set()).add((counter, label))
        counter.labels(*_place(key), label).inc()

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
        self._count(self._moves, key, result)
        _log.debug("agreement", canary=key, result=result, explanation=explanation)

    def report_hidden_move(self, key: str) -> None:
        """Report a move in a rollout that a Secret may have begun."""
        self.tally[HIDDEN] += 1
        self._count(self._moves, key, HIDDEN)
        _log.info(
            "no comparison",
            canary=key,
            explanation="a Secret, which an observer does not read, may have begun the rollout",
        )

    def report_difference(self, key: str, difference: Difference) -> None:
        """Report a difference to our decision."""
        row = difference.row or "unexplained"
        self.tally[row] += 1
        self._count(self._differences, key, row)
        if difference.theirs is not None:
            self._count(self._moves, key, DIFFERS)
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
        """Remove a Canary that is gone, with all its series."""
        self._errors.pop(key, None)
        for counter, label in self._counted.pop(key, ()):
            counter.remove(*_place(key), label)
        if self._adoptable.pop(key, None) is not None:
            self._adopts.remove(*_place(key))

    def log_summary(self) -> None:
        """Log the summary."""
        refused = sorted(key for key, (adoptable, *_) in self._adoptable.items() if not adoptable)
        _log.info("summary", canaries=len(self._adoptable), not_adoptable=refused, **dict(sorted(self.tally.items())))


def _place(key: str) -> tuple[str, str]:
    namespace, _, name = key.partition("/")
    return name, namespace
