"""One consistent observation of the cluster at one moment: cheap facts, from caches.

An adapter fills these in; this module does no I/O. Facts that are expensive or have side effects (metrics, hooks) are
questions instead (`canarycore.questions`).
"""

from __future__ import annotations

from math import isfinite

from attrs import field, frozen

from canarycore._enum import TextEnum
from canarycore._fields import (
    FINITE,
    FLAG,
    FREE_TEXT,
    INTEGER,
    REQUIRED_TEXT,
    SHARE,
    check_fields,
    instance,
    optional,
)
from canarycore._record import record


@record(kw_only=True)
class Workload:
    """The state of the target or of the primary. Raises WrongType if a value has another type than its field."""

    revision: str
    """The hash of its owner's content: the template and the tracked configs."""
    desired: int
    """The number of replicas in its spec."""
    updated: int
    """The number of replicas with `revision`."""
    ready: int
    """The number of available replicas, of any revision, that requests reach."""
    total: int
    """The number of replicas that exist."""
    unready_since: float | None = None
    """Since when too few replicas are available, in seconds; None if enough are."""
    stuck: str = ""
    """The platform's reason for giving up on the workload, or empty."""
    has_replicas: bool = True
    """Whether it has replicas to scale. Nothing scales a workload without them, such as a feature flag."""
    revised_at: float | None = field(default=None, eq=False, repr=False)
    """When its owner last wrote the revision, at the latest, in seconds; None if unknown."""
    own: int = 0
    """The number of replicas that its owner wants where `desired` is another one: it is scaled to zero, or has the size
    of a step. 0 if unknown, or if it is `desired`."""
    is_whole: bool = field(init=False, eq=False, repr=False)
    """Whether every desired replica has this revision and is available, and no other replica exists."""

    @is_whole.default
    def _has_only_this_revision(self) -> bool:
        if not (
            self.revision.__class__ is self.stuck.__class__ is str
            and self.desired.__class__ is self.updated.__class__ is self.ready.__class__ is self.total.__class__ is int
            and self.own.__class__ is int
            and (self.unready_since is None or self.unready_since.__class__ is float)
            and self.has_replicas.__class__ is bool
        ):
            check_fields(self, _WORKLOAD_RULES)
        return 0 < self.desired == self.updated == self.total <= self.ready and not self.stuck

    @property
    def has_capacity(self) -> bool:
        """Whether a request to this workload reaches an available pod."""
        return self.ready > 0

    @property
    def wanted(self) -> int:
        """The number of replicas that its owner wants; 0 if it is scaled to zero, and that number is unknown."""
        return self.own or self.desired

    @property
    def is_scaled_up(self) -> bool:
        """Whether it has replicas to scale, and its owner or the rollout wants some."""
        return self.has_replicas and self.desired > 0

    @property
    def is_scaled_down(self) -> bool:
        """Whether it has replicas to scale, and nobody wants any."""
        return self.has_replicas and self.desired == 0


_WORKLOAD_RULES = {
    "revision": FREE_TEXT,
    "desired": INTEGER,
    "updated": INTEGER,
    "ready": INTEGER,
    "total": INTEGER,
    "unready_since": optional(FINITE),
    "stuck": FREE_TEXT,
    "has_replicas": FLAG,
    "own": INTEGER,
}


TOTAL_WEIGHT = 100
"""The sum of the weights of canary and primary, in percent of all requests."""

MOST_PERMILLE = 10 * TOTAL_WEIGHT
"""The same sum in tenths of a percent."""


def total_weight(*, tenths: bool) -> int:
    """Return the sum of the weights of canary and primary in their unit: percent, or tenths of a percent."""
    return MOST_PERMILLE if tenths else TOTAL_WEIGHT


def scale_weight(weight: int, *, tenths: bool) -> int:
    """Return a weight in tenths of a percent; 0 for a value that its validator has yet to refuse."""
    if weight.__class__ is not int:
        return 0
    return weight if tenths else 10 * weight


@frozen(kw_only=True)
class Routes:
    """Where requests go. Raises FieldError if a value does not fit its field."""

    weight: int = field(default=0, eq=False, validator=SHARE)
    """The share of requests to the canary, 0 to 100 percent; the primary gets the rest. With `tenths`, 0 to 1000 tenths
    of a percent."""
    mirrored: bool = field(default=False, validator=FLAG)
    """Whether the mesh copies requests to the canary."""
    matched: bool = field(default=False, validator=FLAG)
    """Whether requests that meet the rollout's match conditions go to the canary."""
    cookie: str = field(default="", validator=FREE_TEXT)
    """The value of the session cookie that keeps a user on the canary, or empty."""
    expired: str = field(default="", validator=FREE_TEXT)
    """The value of the session cookie that the routes expire, or empty."""
    tenths: bool = field(default=False, eq=False, validator=FLAG)
    """Whether `weight` is in tenths of a percent."""
    permille: int = field(init=False, repr=False)
    """The share of requests to the canary in tenths of a percent, 0 to 1000. Routes with the same one are equal."""

    @permille.default
    def _scale_weight(self) -> int:
        return scale_weight(self.weight, tenths=self.tenths)

    @property
    def is_exposed(self) -> bool:
        """Whether any request, or a copy of one, reaches the canary."""
        return self.weight > 0 or self.mirrored or self.matched

    @property
    def total(self) -> int:
        """The sum of both weights: 100, or 1000 with `tenths`."""
        return total_weight(tenths=self.tenths)

    @property
    def primary(self) -> int:
        """The share of requests to the primary, in percent or `tenths` of a percent."""
        return self.total - self.weight

    @property
    def percent(self) -> float:
        """The share of requests to the canary, in percent: a whole number if the weight is in percent."""
        return self.weight / 10 if self.tenths else self.weight


EPSILON = 1e-6
"""Seconds that a timer may fire early: without them, an early timer would cost a whole interval."""

PRIMARY_ONLY = Routes()
"""Routes that send every request to the primary."""


@record
class RouteRefusal:
    """The state of routes that are written but not in force: refused, not judged yet, or beside former routes."""

    reason: str
    """The controller's reason, whose verdict is missing, or which other routes still lead requests."""
    since: float | None = None
    """Since when, in seconds on the observation's clock; None if unknown."""
    is_pending: bool = False
    """Whether the routes come into force by themselves, as far as is known."""
    routes: Routes | None = None
    """The routes as they are written; None if unknown."""

    def __str__(self) -> str:
        return f"the routes are not in force: {self.reason}"


class CommandKind(TextEnum):
    """A kind of command that an operator gives to a rollout."""

    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    RETRY = "retry"
    SKIP_TO = "skip-to"


@frozen(kw_only=True)
class Command:
    """A command of an operator."""

    id: str = field(validator=REQUIRED_TEXT)
    """A unique id: a rollout handles each id once."""
    kind: CommandKind = field(validator=instance(CommandKind))
    """The kind of command."""
    weight: int = field(default=0, validator=INTEGER)
    """The weight for SKIP_TO in the ladder's unit: 1 to 100 percent, or 1 to 1000 tenths of a percent."""


@record(kw_only=True)
class Observation:
    """The cluster as one rollout sees it at one moment. Raises FieldError if a value does not fit its field."""

    now: float
    """The time of the observation in seconds. Every time of the rollout is on this clock."""
    target: Workload | None = None
    """The target; None if it does not exist."""
    primary: Workload | None = None
    """The primary; None if it does not exist."""
    routes: Routes | None = None
    """The current routes; None if no routing object exists yet, or while they are not in force."""
    refusal: RouteRefusal | None = None
    """Why routes that are written are not in force; then `routes` is None."""
    scaler_paused: bool | None = None
    """Whether the target's autoscaler is paused; None if the target has none."""
    restorable: tuple[str, ...] = ()
    """The revisions that the primary can be restored to."""
    command: Command | None = None
    """The newest command."""
    is_deleted: bool = False
    """Whether the owner deleted the rollout."""
    is_restored: bool = False
    """Whether every change made for the rollout is undone."""

    def __attrs_post_init__(self) -> None:
        target, primary, routes = self.target.__class__, self.primary.__class__, self.routes.__class__
        if not (
            self.now.__class__ is float
            and isfinite(self.now)
            and (target is Workload or target is _NOTHING)
            and (primary is Workload or primary is _NOTHING)
            and (routes is Routes or routes is _NOTHING)
            and self.command is None
            and self.refusal is None
        ):
            check_fields(self, _OBSERVATION_RULES)

    def has_reached(self, moment: float) -> bool:
        """Check whether a moment has come (seconds on the observation's clock). A timer may be `EPSILON` early."""
        return self.now + EPSILON >= moment

    @property
    def written_routes(self) -> Routes | None:
        """The routes as they are written, in force or not; None if unknown."""
        return self.routes if self.refusal is None else self.refusal.routes


_NOTHING = type(None)
_WORKLOAD = optional(instance(Workload))
_OBSERVATION_RULES = {
    "now": FINITE,
    "target": _WORKLOAD,
    "primary": _WORKLOAD,
    "routes": optional(instance(Routes)),
    "refusal": optional(instance(RouteRefusal)),
    "command": optional(instance(Command)),
}
