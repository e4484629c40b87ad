"""Reports of rollouts that are blocked until somebody changes an object: an Event and a condition.

Give `notice` to the runner as `on_cycle`, and the whole to the store. A rollout that is blocked tries again with a
back-off, and when an object in its way changes. The store tells at its next look what held up the last one: the Event
is repeated every ten minutes, the condition stands in the status for as long as it is so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_kubernetes.api.ownership import BlockedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime import CycleReport
    from canarycore_runtime.mesh import Json

BLOCKED = "Blocked"
"""The type of the condition."""


class BlockedRollouts:
    """Remembers which rollouts are blocked, and by what."""

    def __init__(self, wake: Callable[[str], None] = lambda _: None) -> None:
        """`wake`: is told each rollout that is blocked no more, so that its condition goes soon."""
        self._wake = wake
        self._texts: dict[str, str] = {}

    def record_cycle(self, report: CycleReport) -> None:
        """Take in how a cycle ended. One that decided nothing shows nothing."""
        text = next((str(trouble) for trouble in report.result.errors if isinstance(trouble, BlockedError)), "")
        if not text and report.result.decision is None:
            return
        before = self._texts.get(report.key)
        if text or before:
            self._texts[report.key] = text
        if before and not text:
            self._wake(report.key)

    def text(self, key: str, known: str = "") -> str:
        """Return what blocks a rollout; `known`, where this process has not tried it yet."""
        return self._texts.get(key, known)

    def forget(self, key: str) -> None:
        """Forget a rollout that is blocked no more, and has told so."""
        if not self._texts.get(key):
            self._texts.pop(key, None)

    def drop(self, key: str) -> None:
        """Forget a rollout that is gone."""
        self._texts.pop(key, None)


def make_blocked_condition(text: str) -> Json:
    """Return the condition that says what blocks a rollout."""
    return {"type": BLOCKED, "status": "True", "reason": "Refused", "message": text}
