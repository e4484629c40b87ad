"""Whether intervals are kept, and what is said of a rollout whose interval is not.

A look that was late by more than a second is counted (`canarycore_intervals_missed`), begins with a line in the log,
and stands as a condition in the status of the Canary until a decision was in time again. The condition travels with the
next commit: a controller that has too much to do is not given more.
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

LATE = 1.0
"""Seconds by which a look may be late before the interval counts as not kept."""

MISSED = "MissedInterval"
"""The type of the condition."""

_WITHOUT_INTERVAL = IDLE | {Phase.TERMINATED}
"""Phases without an interval to keep."""

_log = logging.getLogger("canarycore.controller")


class LatenessTracker:
    """Remembers who was looked at too late. Give `told` to the runner as `on_cycle`, and `conditions` to the store."""

    def __init__(self) -> None:
        self._late: dict[str, float] = {}

    def record_cycle(self, report: CycleReport) -> None:
        """One look at a rollout. Only what changes the status is a tick: the look right after it proves nothing."""
        seen, decision = report.observed, report.result.decision
        if seen is None or seen.status.phase in _WITHOUT_INTERVAL:
            return
        if report.lateness > LATE:
            if report.key not in self._late:
                _log.warning("interval missed: %s was looked at %.1f s late", report.key, report.lateness)
            self._late[report.key] = report.lateness
        elif decision is not None and decision.status is not seen.status:
            self._late.pop(report.key, None)

    def conditions(self, key: str, status: Status) -> tuple[Json, ...]:
        """What a status that is to be stored says of it; nothing, where all is well."""
        late = self._late.get(key)
        if late is None or status.phase in _WITHOUT_INTERVAL:
            return ()
        message = f"It was looked at {late:.1f} s late: the controller has more to do than it can do in time."
        return ({"type": MISSED, "status": "True", "reason": "Late", "message": message},)
