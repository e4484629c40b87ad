"""The rollouts in trouble, and their condition.

Give `record_cycle` to the runner as `on_cycle`, and the BlockedRollouts to the store. A rollout in trouble tries again
with a back-off, and when an object in its way changes. At the next load the store reports the trouble: by an Event
that it repeats ever more rarely, and by a condition that stays in the status while the trouble lasts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import define, evolve

from canarycore_kubernetes.telemetry.troubles import (
    SELECTOR_MISMATCH,
    TARGET_MISSING,
    Trouble,
    find_trouble,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_kubernetes.telemetry.troubles import TroubleReason
    from canarycore_runtime import CycleReport
    from canarycore_runtime.mesh import Json

BLOCKED = "Blocked"
"""Type of the condition of a rollout in trouble."""

TARGET, ROUTES, PODS, WRITERS = "target", "routes", "pods", "writers"
"""The parts of a rollout that an observation may find blocked."""

PASSING_PATIENCE = 3.0
"""Seconds for which a trouble that may pass by itself is not reported."""

INTERVAL = 10.0
"""The interval, in seconds, of a rollout that could not be observed."""


@define
class _TroubleRecord:
    """The record of one rollout."""

    trouble: Trouble | None = None
    """The trouble of its cycles."""

    stored: str = ""
    """The message that an earlier process stored, until a cycle of this process says more."""

    changed_at: float = 0.0
    """When the trouble changed."""

    passing_since: float | None = None
    """The first of the cycles in a row that had a trouble that may pass by itself."""

    @property
    def text(self) -> str:
        return self.stored if self.trouble is None else self.trouble.text


class BlockedRollouts:
    """The rollouts in trouble, and their troubles."""

    def __init__(
        self, wake: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Call `wake` with the key of each rollout whose condition must change soon."""
        self._wake = wake
        self._clock = clock
        self._records: dict[str, _TroubleRecord] = {}
        self._notes: dict[str, dict[str, Trouble]] = {}

    def resume(self, key: str, stored: str) -> None:
        """Take over the message that an earlier process stored, until a cycle of this process ends the trouble."""
        if stored:
            self._records.setdefault(key, _TroubleRecord(stored=stored))

    def record_cycle(self, report: CycleReport) -> None:
        """Record the end of a cycle. A cycle without trouble and without a decision changes nothing.

        A trouble that may pass by itself counts once it has lasted for PASSING_PATIENCE. A message that changes while
        its reason stays the same is replaced once an interval.
        """
        key, now = report.key, self._clock()
        trouble = find_trouble(report)
        if trouble is not None and trouble.reason is TARGET_MISSING and TARGET in self._notes.get(key, {}):
            trouble = None  # the observation hides a target that does not fit the primary
        before = self._records.get(key)
        if trouble is None and (before is None or report.result.decision is None):
            return
        record = before or _TroubleRecord()
        if trouble is not None and not trouble.reason.is_lasting:
            self._records[key] = record
            record.passing_since = now if record.passing_since is None else record.passing_since
            if now < record.passing_since + PASSING_PATIENCE:
                return
        else:
            record.passing_since = None
        self._change(report, record, trouble, now)

    def _change(self, report: CycleReport, record: _TroubleRecord, trouble: Trouble | None, now: float) -> None:
        known, text = record.trouble, record.text
        interval = INTERVAL if report.observed is None else report.observed.rollout.interval
        is_same_reason = known is not None and trouble is not None and known.reason is trouble.reason
        if is_same_reason and (trouble == known or now < record.changed_at + interval):
            return
        self._records[report.key] = evolve(record, trouble=trouble, stored="", changed_at=now)
        is_early = trouble is not None and trouble.reason.is_lasting and bool(report.result.errors) and not text
        if not is_early and text != self._records[report.key].text:
            self._wake(report.key)  # a first error is followed by the next cycle soon

    def note(self, key: str, text: str, part: str = TARGET, reason: TroubleReason = SELECTOR_MISMATCH) -> None:
        """Record why an observation found a part blocked: TARGET, ROUTES, PODS or WRITERS.

        An empty text ends this block. The rollout goes on with its cycles, which do not end the block.
        """
        notes = self._notes.setdefault(key, {})
        before, now = notes.pop(part, None), Trouble(reason, text) if text else None
        if now is not None:
            notes[part] = now
        elif not notes:
            del self._notes[key]
        if now != before:
            # the next load must not take the stored condition for the present state
            self._records.setdefault(key, _TroubleRecord())
            self._wake(key)

    def text(self, key: str) -> str:
        """Return the trouble of a rollout; empty if it has none."""
        record = self._records.get(key)
        return "; ".join(note.text for note in self._notes.get(key, {}).values()) or (
            "" if record is None else record.text
        )

    def reason(self, key: str) -> str:
        """Return the name of the reason of a trouble, for its condition."""
        note = next(iter(self._notes.get(key, {}).values()), None)
        if note is not None:
            return note.reason.name
        record = self._records.get(key)
        return "Refused" if record is None or record.trouble is None else record.trouble.reason.name

    def forget(self, key: str) -> None:
        """Forget a rollout without trouble, after the store has removed its condition."""
        record = self._records.get(key)
        if record is not None and not record.text and record.passing_since is None:
            del self._records[key]

    def drop(self, key: str) -> None:
        """Forget a rollout that is gone."""
        self._records.pop(key, None)
        self._notes.pop(key, None)


def make_blocked_condition(text: str, reason: str) -> Json:
    """Return the condition of a rollout in trouble."""
    return {"type": BLOCKED, "status": "True", "reason": reason, "message": text}
