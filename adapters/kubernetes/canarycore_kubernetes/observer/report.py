"""What an observer tells: a log line for each Canary and for each difference, numbers for Prometheus, a summary."""

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

ASSUMED: the same, if those that were not asked answered as what was done shows. HIDDEN: no comparison, as a Secret may
have begun the rollout, which an observer does not read.
"""

_log = structlog.get_logger("canarycore.observe")


class Observations:
    """Counts and logs. tally: how often what came out; differences by their row, `unexplained` without one."""

    def __init__(self, *, version: str, provider: str) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        self.tally: Tally[str] = Tally()
        self._adoptable: dict[str, tuple[bool, str, tuple[str, ...]]] = {}
        self._troubles: dict[str, str] = {}
        place = ("name", "namespace")
        info = Gauge("flagger_info", "Version and mesh provider.", ("version", "mesh_provider"), registry=self.registry)
        info.labels(version, provider).set(1)
        self._adopts = Gauge(
            "canarycore_observe_adoptable", "Whether taking over would begin no rollout.", place, registry=self.registry
        )
        self._moves = Counter(
            "canarycore_observe_moves", "Moves of a status, by whether we would have done the same.",
            (*place, "result"), registry=self.registry,
        )  # fmt: skip
        self._differences = Counter(
            "canarycore_observe_differences", "Where we would have done otherwise, by the row that says why.",
            (*place, "row"), registry=self.registry,
        )  # fmt: skip

    def adopts(self, key: str, *, adoptable: bool, explanation: str, would_write: tuple[str, ...] = ()) -> None:
        """What taking this Canary over would come to, as it stands now. It is logged when it is another than before."""
        found = (adoptable, explanation, would_write)
        if self._adoptable.get(key) == found:
            return
        self._adoptable[key] = found
        self._adopts.labels(*_place(key)).set(adoptable)
        log = _log.info if adoptable else _log.warning
        log("adoption", canary=key, adoptable=adoptable, explanation=explanation, would_write=list(would_write))

    def refuses(self, key: str, problems: tuple[Problem, ...]) -> None:
        """A Canary that we would not run."""
        rows = sorted({REFUSED[problem.rule] for problem in problems if problem.rule in REFUSED})
        self.adopts(key, adoptable=False, explanation="; ".join([*rows, *map(str, problems)]))

    def agrees(self, key: str, explanation: str, *, assumed: bool) -> None:
        """A move that we would have made, too."""
        result = ASSUMED if assumed else AGREED
        self.tally[result] += 1
        self._moves.labels(*_place(key), result).inc()
        _log.debug("agreement", canary=key, result=result, explanation=explanation)

    def cannot_compare(self, key: str) -> None:
        """A move in a rollout that the content of a Secret may have begun."""
        self.tally[HIDDEN] += 1
        self._moves.labels(*_place(key), HIDDEN).inc()
        _log.info("no comparison", canary=key, explanation="its rollout may be that of a Secret, which is not read")

    def differs(self, key: str, found: Difference) -> None:
        """Somewhere we would have done otherwise."""
        row = found.row or "unexplained"
        self.tally[row] += 1
        self._differences.labels(*_place(key), row).inc()
        if found.theirs is not None:
            self._moves.labels(*_place(key), DIFFERS).inc()
        _log.warning(
            "difference",
            canary=key,
            row=row,
            before=str(position_of(found.before)),
            theirs="no move" if found.theirs is None else str(position_of(found.theirs)),
            ours=str(position_of(found.ours.status)),
            explanation=str(found.ours.explanation),
            early=found.early,
        )

    def troubled(self, key: str, error: Exception) -> None:
        """Something could not be compared. It is logged when it is another trouble than before."""
        self.tally["troubles"] += 1
        if self._troubles.get(key) == str(error):
            return
        self._troubles[key] = str(error)
        known = isinstance(error, WorldError)
        _log.warning(
            "trouble", canary=key, error=str(error) if known else repr(error), exc_info=None if known else error
        )

    def forget(self, key: str) -> None:
        """This Canary is gone."""
        self._troubles.pop(key, None)
        if self._adoptable.pop(key, None) is not None:
            self._adopts.remove(*_place(key))

    def sum_up(self) -> None:
        """The summary, as a log line."""
        refused = sorted(key for key, (adoptable, *_) in self._adoptable.items() if not adoptable)
        _log.info("summary", canaries=len(self._adoptable), not_adoptable=refused, **dict(sorted(self.tally.items())))


def _place(key: str) -> tuple[str, str]:
    namespace, _, name = key.partition("/")
    return name, namespace
