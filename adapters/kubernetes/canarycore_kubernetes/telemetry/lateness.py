"""Late cycles: rollouts whose analysis interval the controller missed.

A cycle that starts more than a second late increments `canarycore_intervals_missed` and writes a line to the log. A
condition reports it in the status of the Canary until a decision is in time again. The condition waits for the next
commit, so that an overloaded controller does not get more work.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from canarycore import Phase
from canarycore.phases import IDLE

if TYPE_CHECKING:
    from canarycore import Status
    from canarycore_runtime import CycleReport
    from canarycore_runtime.mesh import Json

TOLERATED_LATENESS = 1.0
"""Seconds by which a cycle may be late before its interval counts as missed."""

MISSED = "MissedInterval"
"""Type of the condition of a Canary with a missed interval."""

_WITHOUT_INTERVAL = IDLE | {Phase.TERMINATED}
"""Phases without an analysis interval."""

_log = logging.getLogger("canarycore.controller")


class LatenessTracker:
    """The rollouts with missed intervals.

    Give `record_cycle` to the runner as `on_cycle`, and the tracker to the store.
    """

    def __init__(self) -> None:
        self._late: dict[str, float] = {}

    def record_cycle(self, report: CycleReport) -> None:
        """Record a cycle. Only a decision that changes the status ends the lateness: others come right after it."""
        observed, decision = report.observed, report.result.decision
        if observed is None or observed.status.phase in _WITHOUT_INTERVAL:
            return
        if report.lateness > TOLERATED_LATENESS:
            if report.key not in self._late:
                _log.warning("interval missed: %s began its cycle %.1f s late", report.key, report.lateness)
            self._late[report.key] = report.lateness
        elif decision is not None and decision.status is not observed.status:
            self._late.pop(report.key, None)

    def conditions(self, key: str, status: Status) -> tuple[Json, ...]:
        """Return the conditions for a status: one if the rollout missed its interval, else none."""
        late = self._late.get(key)
        if late is None or status.phase in _WITHOUT_INTERVAL:
            return ()
        message = f"The last cycle began {late:.1f} s late: the controller is overloaded."
        return ({"type": MISSED, "status": "True", "reason": "Late", "message": message},)
