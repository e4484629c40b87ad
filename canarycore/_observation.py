"""One consistent view of the world at one moment: cheap facts, from caches.

An adapter fills these in; nothing here asks anybody. What costs something to learn, or has side effects (metrics,
hooks), is a question instead (`canarycore.questions`).
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, le

from canarycore._enum import TextEnum
from canarycore._record import record


@record(kw_only=True)
class Workload:
    """The target or its primary copy.

    revision: hash of what its owner wrote (template and tracked configs). desired: replicas asked for. updated:
    replicas that carry `revision`. ready: replicas that are available, of any revision. total: replicas that exist.
    unready_since: since when too few are available (seconds), None when enough are. stuck: the platform's own words
    when it gave up on the workload ("" if it did not).
    """

    revision: str
    desired: int
    updated: int
    ready: int
    total: int
    unready_since: float | None = None
    stuck: str = ""
    is_whole: bool = field(init=False, eq=False, repr=False)
    """Whether every replica asked for runs this revision, is available, and no other is left."""

    @is_whole.default
    def _has_only_this_revision(self) -> bool:
        return 0 < self.desired == self.updated == self.total <= self.ready and not self.stuck

    @property
    def has_capacity(self) -> bool:
        """Whether a request sent here meets an available pod."""
        return self.ready > 0


@frozen(kw_only=True)
class Routes:
    """Where requests go. `weight` is percent to the canary; the primary gets the rest.

    mirrored: requests are copied to the canary. matched: requests that meet the rollout's match conditions go to the
    canary. cookie: the session cookie's value that keeps a user on the canary. expired: the value that is taken back.
    """

    weight: int = field(default=0, validator=[ge(0), le(100)])
    mirrored: bool = False
    matched: bool = False
    cookie: str = ""
    expired: str = ""

    @property
    def is_exposed(self) -> bool:
        """Whether any request or its copy reaches the canary."""
        return self.weight > 0 or self.mirrored or self.matched

    @property
    def primary(self) -> int:
        """Percent of requests that go to the primary."""
        return 100 - self.weight


PRIMARY_ONLY = Routes()


class CommandKind(TextEnum):
    """What an operator may ask of a rollout at run time."""

    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP_TO = "skip-to"


@frozen(kw_only=True)
class Command:
    """An operator's wish. `id` is unique, so that it is carried out once; `weight` is for skip-to (percent)."""

    id: str
    kind: CommandKind
    weight: int = 0


@record(kw_only=True)
class Observation:
    """An observation.

    now: seconds. target and primary: None where they do not exist. routes: None where no routing object exists yet.
    scaler_paused: whether the target's autoscaler is held off (None: there is none). kept: revisions that the primary
    can be restored to. command: the newest command. deleted: the owner deleted the rollout. restored: everything that
    was changed for the rollout has been given back.
    """

    now: float
    target: Workload | None = None
    primary: Workload | None = None
    routes: Routes | None = None
    scaler_paused: bool | None = None
    restorable: tuple[str, ...] = ()
    command: Command | None = None
    is_deleted: bool = False
    is_restored: bool = False
