"""Effects: imperatives that state an end state, so that repeating one does nothing."""

from __future__ import annotations

from attrs import frozen

from canarycore._world import Routes


@frozen
class Initialise:
    """Create the primary copy, carrying `revision`, and the base objects around it. The target stays as it is."""

    revision: str


@frozen
class SetRoutes:
    """Route requests so, creating or taking over the routing objects if need be."""

    routes: Routes


@frozen
class ScaleUp:
    """Run the target with its owner's replicas."""


@frozen
class ScaleDown:
    """Run the target with no replicas."""


@frozen
class PauseScaler:
    """Hold the target's autoscaler off."""


@frozen
class ResumeScaler:
    """Let the target's autoscaler work."""


@frozen
class Promote:
    """Make the primary carry exactly `revision`, taken from the target; refuse if the target carries another."""

    revision: str


@frozen
class RestorePrimary:
    """Make the primary carry `revision` again, from what was kept."""

    revision: str


@frozen
class Restore:
    """Give back everything that was changed for the rollout: routes, services, selectors."""


Effect = Initialise | SetRoutes | ScaleUp | ScaleDown | PauseScaler | ResumeScaler | Promote | RestorePrimary | Restore
