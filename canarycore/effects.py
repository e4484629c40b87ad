"""Effects and goals: the changes of a cluster, each stated as its end state, so a repeated effect does nothing."""

from __future__ import annotations

from attrs import frozen

from canarycore._canary_size import CanarySize
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
    """Scale the target to its owner's number of replicas, from zero or from the size of a step."""


@frozen
class Resize:
    """Scale the target to the size of a step. Record its owner's number of replicas, which later effects return to."""

    replicas: int
    """The number of replicas, at least 1."""


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


Effect = (
    Initialise
    | SetRoutes
    | ScaleUp
    | Resize
    | ScaleDown
    | PauseScaler
    | ResumeScaler
    | Promote
    | RestorePrimary
    | Restore
)


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
    size: CanarySize | None = None
    """The size of the canary that runs; None leaves the number that it has."""
    is_sized: bool = False
    """Whether the rollout has sizes of its own: more traffic, and a promotion, wait for ready pods of that size."""
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
    """The end of the drain, or of the wait for the target on deletion: a time in seconds on the observation's clock.
    Before it a canary loses no pods."""
    ready_percent: int = 100
    """The percentage of replicas that makes a side ready for traffic: the primary with `needs_sound_primary`, the
    target with GIVE_BACK or a size."""


@record
class Plan:
    """The next steps towards a goal."""

    effects: tuple[Effect, ...]
    """The effects that are safe now, in order."""
    done: bool
    """Whether the cluster matches the goal."""
    notes: tuple[tuple[NoticeKind, tuple[str, ...]], ...] = ()
    """The notices about the plan: kind and arguments."""
