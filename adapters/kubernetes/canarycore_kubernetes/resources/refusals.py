"""Blocked rollouts, which wait until a user changes an object, and their condition.

Give `record_cycle` to the runner as `on_cycle`, and the BlockedRollouts to the store. A blocked rollout tries again
with a back-off, and when an object in its way changes. At the next load the store reports the reason: by an Event that
it repeats every ten minutes, and by a condition that stays in the status while the rollout is blocked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_kubernetes.api.ownership import BlockedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime import CycleReport
    from canarycore_runtime.mesh import Json

BLOCKED = "Blocked"
"""Type of the condition of a blocked rollout."""

TARGET, ROUTES = "target", "routes"
"""The parts of a rollout that an observation may find blocked."""


class BlockedRollouts:
    """The blocked rollouts and their reasons."""

    def __init__(self, wake: Callable[[str], None] = lambda _: None) -> None:
        """Call `wake` with the key of each rollout that is no longer blocked, so that its condition goes soon."""
        self._wake = wake
        self._texts: dict[str, str] = {}
        self._notes: dict[str, dict[str, str]] = {}

    def resume(self, key: str, stored: str) -> None:
        """Take over the reason that an earlier process stored, until a cycle of this process ends the block."""
        if stored:
            self._texts.setdefault(key, stored)

    def record_cycle(self, report: CycleReport) -> None:
        """Record the end of a cycle. A cycle without trouble and without a decision changes nothing."""
        text = next((str(trouble) for trouble in report.result.errors if isinstance(trouble, BlockedError)), "")
        if not text and report.result.decision is None:
            return
        before = self._texts.get(report.key)
        if text or before:
            self._texts[report.key] = text
        if before and not text:
            self._wake(report.key)

    def note(self, key: str, text: str, part: str = TARGET) -> None:
        """Record why an observation found a part blocked: TARGET or ROUTES. An empty text ends this block.

        The rollout goes on with its cycles, which do not end the block.
        """
        notes = self._notes.setdefault(key, {})
        before = notes.pop(part, "")
        if text:
            notes[part] = text
        elif not notes:
            del self._notes[key]
        if text != before:
            self._texts.setdefault(key, "")  # the next load must not take the stored condition for the present state
            self._wake(key)

    def text(self, key: str) -> str:
        """Return the reason why a rollout is blocked; empty if it is not."""
        return "; ".join(self._notes.get(key, {}).values()) or self._texts.get(key, "")

    def forget(self, key: str) -> None:
        """Forget a rollout that is no longer blocked, after the store has removed its condition."""
        if not self._texts.get(key):
            self._texts.pop(key, None)

    def drop(self, key: str) -> None:
        """Forget a rollout that is gone."""
        self._texts.pop(key, None)
        self._notes.pop(key, None)


def make_blocked_condition(text: str) -> Json:
    """Return the condition of a blocked rollout."""
    return {"type": BLOCKED, "status": "True", "reason": "Refused", "message": text}
