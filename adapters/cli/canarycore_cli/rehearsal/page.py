"""The web page of a rehearsal: the same as that of a cluster, live from the rehearsal's store and traffic."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from canarycore.policy import describe_policy
from canarycore.results import format_time
from canarycore_cli.rehearsal.story import UNANSWERED, version_labels
from canarycore_runtime.page.history import RolloutHistory
from canarycore_runtime.page.views import EventView, RolloutDetails, make_details, make_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore import CommandKind
    from canarycore_cli.console import Json
    from canarycore_local.rehearsal import Rehearsal
    from canarycore_runtime import CycleReport, StoredRollout
    from canarycore_runtime.page.server import Viewer
    from canarycore_runtime.page.views import RolloutRow

MOST_EVENTS = 200
"""Most events of a rehearsal on its page."""


class RehearsalPage:
    """The source of the page, its only viewer, and a listener to the story. Set `rehearsal` once it is open."""

    title = "Rehearsal"
    name = "you"

    def __init__(self) -> None:
        self.rehearsal: Rehearsal | None = None
        self._history = RolloutHistory()
        self._events: deque[EventView] = deque(maxlen=MOST_EVENTS)

    # inputs -----------------------------------------------------------------------------------------------------

    def __call__(self, line: Json) -> None:
        """Keep an event of the story."""
        if line.get("kind") == "event":
            event = EventView(at=format_time(time.time()), text=line["text"], is_warning=line["type"] == "Warning")
            self._events.appendleft(event)

    def observe(self, forward: Callable[[CycleReport], None]) -> Callable[[CycleReport], None]:
        """Return an observer of cycles that records the weight and calls `forward`."""

        def record(report: CycleReport) -> None:
            if report.result.decision is not None:
                self._history.record(report.key, report.result.decision.status, at=time.time())
            forward(report)

        return record

    # the source -------------------------------------------------------------------------------------------------

    async def read_rows(self) -> list[RolloutRow]:
        """Return the rollout."""
        stored = await self._load()
        return [] if stored is None else [self._row(stored)]

    async def read_details(self, key: str, _: Viewer | None) -> RolloutDetails | None:
        """Return the rollout; None for another key."""
        rehearsal, stored = self.rehearsal, await self._load()
        if rehearsal is None or stored is None or key != rehearsal.key:
            return None
        return make_details(
            stored.rollout,
            stored.status,
            self._row(stored),
            now=time.time(),
            facts=(("Policy", describe_policy(stored.rollout)), *_facts(rehearsal)),
            analyses=self._history.analyses(key),
            events=self._events,
            pending=""
            if stored.command is None or stored.command.id == stored.status.handled
            else stored.command.kind.value,
        )

    async def _load(self) -> StoredRollout | None:
        return None if self.rehearsal is None else await self.rehearsal.store.load(self.rehearsal.key)

    def _row(self, stored: StoredRollout) -> RolloutRow:
        key = f"{stored.rollout.namespace}/{stored.rollout.name}"
        return make_row(stored.rollout, stored.status, weights=self._history.weights(key))

    # the viewer -------------------------------------------------------------------------------------------------

    async def may_command(self, key: str) -> bool:
        """Return whether the rehearsal is this one."""
        return self.rehearsal is not None and key == self.rehearsal.key

    async def send_command(self, key: str, kind: CommandKind) -> None:
        """Send a command through the rehearsal's store."""
        if self.rehearsal is not None and key == self.rehearsal.key:
            await self.rehearsal.store.send_command(key, kind)


def _facts(rehearsal: Rehearsal) -> Iterator[tuple[str, str]]:
    """Yield the requests of each version, and where they go."""
    yield "Address", rehearsal.address
    labels = version_labels(rehearsal.script)
    for revision, tally in rehearsal.generator.total.revisions().items():
        success_rate, p99 = tally.success_rate, tally.quantile(0.99)
        rate = "" if success_rate is None else f", {success_rate:.2f}% successful"
        slowest = "" if p99 is None else f", P99 {1000 * p99:.0f} ms"
        yield f"Requests to {labels.get(revision, revision or UNANSWERED)}", f"{tally.requests:,}{rate}{slowest}"
