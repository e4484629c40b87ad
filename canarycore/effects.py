"""Effects and goals: the changes of a cluster, each stated as its end state, so a repeated effect does nothing."""

from __future__ import annotations

from attrs import frozen

from canarycore._enum import TextEnum
from canarycore._observation import Routes
from canarycore._record import record
from canarycore.notices import NoticeKind


@frozen
class Initialise:
    """Create the primary and the objects around it. The target stays as it is."""

    revision: str
    """The revision of the primary, copied from the target."""


@frozen
class SetRoutes:
    """Route requests; create the routing objects or take them over if necessary."""

    routes: Routes


@frozen
class ScaleUp:
    """Scale the target to its owner's number of replicas."""


@frozen
class ScaleDown:
    """Scale the target to zero."""


@frozen
class PauseScaler:
    """Pause the target's autoscaler."""


@frozen
class ResumeScaler:
    """Resume the target's autoscaler."""


@frozen
class Promote:
    """Copy the target's revision to the primary. An adapter raises Refused if the target has another revision."""

    revision: str
    """The exact revision that passed."""


@frozen
class RestorePrimary:
    """Restore the primary to an earlier revision, from its saved copy."""

    revision: str
    """One of `Observation.restorable`."""


@frozen
class Restore:
    """Undo every change made for the rollout: routes, services, selectors."""


Effect = Initialise | SetRoutes | ScaleUp | ScaleDown | PauseScaler | ResumeScaler | Promote | RestorePrimary | Restore


class Scale(TextEnum):
    """The goal for the scale of the canary workload.

    UP runs it, DOWN scales it to zero, LEAVE leaves it to its owner. GIVE_BACK runs it once more and then undoes every
    change made for the rollout.
    """

    UP = "up"
    DOWN = "down"
    LEAVE = "leave"
    GIVE_BACK = "give back"


@record(kw_only=True)
class Goal:
    """The state of the cluster that a status requires."""

    routes: Routes | None
    """The routes; None leaves them alone."""
    canary: Scale = Scale.LEAVE
    """The scale of the canary."""
    primary: str = ""
    """The revision of the primary; empty leaves it."""
    is_promoting: bool = False
    """Whether the primary gets its revision from the target. Otherwise it comes from a saved copy."""
    is_rejecting: bool = False
    """Whether `canary_revision` was rejected, so that a primary with it is restored to `primary`."""
    replacement: str = ""
    """The revision to create a deleted primary from, while the target has it."""
    canary_revision: str = ""
    """The only revision of the canary that may receive requests."""
    needs_sound_primary: bool = False
    """Whether traffic may move to the primary only when all its pods have `primary` and are ready."""
    allows_failover: bool = False
    """Whether the canary may take the traffic of a primary without pods."""
    until: float = 0.0
    """The end of the drain, or of the wait for the target on deletion: a time in seconds on the observation's clock."""
    ready_percent: int = 100
    """The percentage of replicas that makes a side ready for traffic: the primary with `needs_sound_primary`, the
    target with GIVE_BACK."""


@record
class Plan:
    """The next steps towards a goal."""

    effects: tuple[Effect, ...]
    """The effects that are safe now, in order."""
    done: bool
    """Whether the cluster matches the goal."""
    notes: tuple[tuple[NoticeKind, tuple[str, ...]], ...] = ()
    """The notices about the plan: kind and arguments."""
