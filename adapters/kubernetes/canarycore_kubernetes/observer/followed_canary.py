"""The state that an observer keeps of one Canary between its comparisons."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import Factory, define, evolve

from canarycore.phases import UNDER_WAY
from canarycore_kubernetes.api.kinds import SECRET
from canarycore_kubernetes.resources.commands import refuse_old_command
from canarycore_kubernetes.resources.flagger_status import adopt_status
from canarycore_kubernetes.resources.new_targets import forget_former_target

if TYPE_CHECKING:
    from canarycore import Observation, Rollout, Status
    from canarycore_kubernetes.observer.differences import RolloutPosition
    from canarycore_kubernetes.resources.canaries import InvalidCanary, ValidCanary

SMALLEST_PATROL_WAIT = 30.0
"""Seconds between patrols of a Canary that does not move, at least."""

PATROL_INTERVALS = 3
"""Intervals of the rollout between patrols, at least."""

MOST_OBSERVATIONS = 64
"""Observations kept of one status: the newest."""


@define(eq=False, kw_only=True)
class FollowedCanary:
    """One Canary under observation."""

    key: str
    """`namespace/name`."""

    states: deque[ValidCanary | InvalidCanary | None] = Factory(deque)
    """The states that the observer has not compared yet, oldest first; None where the Canary was deleted."""

    changed: asyncio.Event = Factory(asyncio.Event)
    """Set when the Canary or one of its objects has changed."""

    rollout: Rollout | None = None

    status: Status | None = None
    """The status at the last comparison; None where a comparison needs a new beginning."""

    is_flaggers: bool = False
    """Whether Flagger wrote the status."""

    commanded_at: float | None = None
    """When the operator gave the last command, at the latest (seconds since the epoch); None if unknown."""

    since: float | None = None
    """The time of the last comparison (seconds since the epoch); None for a status older than the observer."""

    hidden_at: RolloutPosition | None = None
    """The position of the last move that the observer could not compare."""

    observations: deque[Observation] = Factory(lambda: deque(maxlen=MOST_OBSERVATIONS))
    """The different observations during the present status, oldest first."""

    has_new_target: bool = False
    """Whether the Canary has had only the primary of a former target during the present status."""

    overdue_patrols: int = 0
    """Patrols in a row at which all our decisions moved the rollout."""

    @property
    def patrol_wait(self) -> float:
        """Seconds until the next patrol."""
        if self.rollout is None:
            return SMALLEST_PATROL_WAIT
        return max(SMALLEST_PATROL_WAIT, PATROL_INTERVALS * self.rollout.interval)

    async def wait_for_change(self, seconds: float) -> bool:
        """Wait for a change. Return whether one came within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True

    def is_hidden(self, canary: ValidCanary) -> bool:
        """Check whether a Secret may have begun the rollout under way: it tracks one, and no other revision is new."""
        has_secret = any(map(_is_secret, canary.tracked_configs))
        if not self.observations or canary.status.phase not in UNDER_WAY or not has_secret:
            return False
        target, primary = self.observations[-1].target, self.observations[-1].primary
        if target is None or primary is None:
            return False
        if target.revision == primary.revision:
            return True
        return not canary.is_flagger_status and target.revision != canary.status.applied

    def reset(self) -> None:
        """Forget the status: the next comparison begins anew."""
        self.status = None
        self.observations.clear()

    def move_to(self, canary: ValidCanary, since: float | None) -> None:
        """Take the Canary's status as the beginning of the next comparison."""
        self.status, self.is_flaggers, self.since = canary.status, canary.is_flagger_status, since
        self.observations.clear()
        self.has_new_target = False
        self.overdue_patrols = 0

    def add(self, rollout: Rollout, observation: Observation, commanded_at: float | None) -> None:
        """Add an observation, unless it equals the last one except in time."""
        self.rollout, self.commanded_at = rollout, commanded_at
        if not self.observations or evolve(self.observations[-1], now=observation.now) != observation:
            self.observations.append(observation)

    def is_early(self, now: float) -> bool:
        """Check whether less than half an interval has passed since the last comparison."""
        return self.since is not None and self.rollout is not None and now < self.since + self.rollout.interval / 2

    def adopt(self, status: Status, observation: Observation) -> Status:
        """Return a status as the controller would store it before its first decision.

        The target's revision when Flagger wrote the status is the one under test. The primary may have changed since:
        Flagger changes it before it reports a promotion.
        """
        if self.is_flaggers and self.rollout is not None:
            first = self.observations[0]
            status = adopt_status(self.rollout, status, first.target, observation.primary, first.routes)
            status = refuse_old_command(self.rollout, status, observation.command, self.commanded_at)
        return forget_former_target(status, is_new=self.has_new_target and observation.primary is None)


def _is_secret(config: str) -> bool:
    """Check whether a config of `status.trackedConfigs` is a Secret."""
    return config.startswith(f"{SECRET.kind.lower()}/")
