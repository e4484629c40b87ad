"""Effects: imperatives that state an end state, so that repeating one does nothing."""

from __future__ import annotations

from attrs import frozen

from canarycore._enum import TextEnum
from canarycore._observation import Routes
from canarycore._record import record
from canarycore.notices import NoticeKind


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


class Scale(TextEnum):
    """What the canary workload should be: running, at zero, whatever its owner makes of it, or its owner's again.

    GIVE_BACK also gives back every other object that was changed for the rollout.
    """

    UP = "up"
    DOWN = "down"
    LEAVE = "leave"
    GIVE_BACK = "give back"


@record(kw_only=True)
class Goal:
    """What a status wants.

    routes: None leaves them alone. primary: the revision the primary must carry ("" leaves it). promoting: it comes
    from the target; otherwise from what was kept. lost: the revision that a primary which somebody deleted is made of
    again, while the target carries it. tested: the one revision of the canary that may be sent requests.
    sound: traffic may move to the primary only when it wholly carries `primary` and is ready. failover: the canary may
    stand in for a primary without pods. until: when the drain is over, or when waiting for the target on deletion ends
    (seconds). ready: the percentage of replicas that makes the side which is to get the traffic ready (the primary
    where `sound`, the target where it is given back).
    """

    routes: Routes | None
    canary: Scale = Scale.LEAVE
    primary: str = ""
    is_promoting: bool = False
    replacement: str = ""
    canary_revision: str = ""
    needs_sound_primary: bool = False
    allows_failover: bool = False
    until: float = 0.0
    ready_percent: int = 100


@record
class Plan:
    """Effects that are safe now, in order. `done`: the world is as the goal wants it. `notes`: what to tell."""

    effects: tuple[Effect, ...]
    done: bool
    notes: tuple[tuple[NoticeKind, tuple[str, ...]], ...] = ()
