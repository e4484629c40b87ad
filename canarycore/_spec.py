"""What the owner asked for, resolved once.

A `Rollout` has its defaults applied and its strategy turned into a ladder; nothing downstream asks again which field
was set. `canarycore.manifest` builds it from a Flagger `Canary`; an embedder may build it by hand. Illegal
combinations cannot be built: validators speak in the owner's terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, le

from canarycore._enum import TextEnum
from canarycore._ladder import Ladder

if TYPE_CHECKING:
    from canarycore.notices import Alert
    from canarycore.traffic import Affinity, Match


class HookType(TextEnum):
    """When a webhook is called (Flagger's `webhooks[].type`)."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ROLLOUT = "rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    POST_ROLLOUT = "post-rollout"
    ROLLBACK = "rollback"
    EVENT = "event"


class CheckKind(TextEnum):
    """Where a check's number comes from, and therefore how Flagger words its failure."""

    SUCCESS_RATE = "request-success-rate"
    DURATION = "request-duration"
    TEMPLATE = "template"
    QUERY = "query"


class NoData(TextEnum):
    """What an analysis without data counts as (`analysis.noData`)."""

    FAIL = "fail"
    HOLD = "hold"


@frozen(kw_only=True)
class TargetRef:
    """The workload under rollout (`spec.targetRef`)."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    name: str


@frozen(kw_only=True)
class Reference:
    """A MetricTemplate or AlertProvider by name; an empty namespace is the rollout's own."""

    name: str
    namespace: str = ""


@frozen(kw_only=True)
class Check:
    """A metric and the range it must stay in.

    `minimum` and `maximum` are in the metric's unit: percent for request-success-rate, milliseconds for
    request-duration, the query's own otherwise. `window` is the query's look-back in seconds, `window_text` the same as
    the owner wrote it (it goes into queries). Flagger: `metrics[]`.
    """

    name: str
    kind: CheckKind
    minimum: float | None = None
    maximum: float | None = None
    window: float = field(default=60.0, validator=gt(0))
    window_text: str = "1m"
    template: Reference | None = None
    query: str = ""
    variables: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class Hook:
    """A webhook. `timeout` is in seconds, `retries` counts further attempts. Flagger: `webhooks[]`."""

    name: str
    type: HookType
    url: str
    timeout: float = 10.0
    retries: int = 0
    metadata: tuple[tuple[str, str], ...] = ()
    mute_alert: bool = False
    disable_tls: bool = False


def _percent(instance: object, attribute: Attribute[int], value: int) -> None:
    ge(0)(instance, attribute, value)
    le(100)(instance, attribute, value)


@frozen(kw_only=True)
class Rollout:
    """What the owner asked for.

    Times are in seconds, thresholds of readiness in percent of replicas. `interval` is the time between analyses,
    `progress_deadline` how long pods may fail to get ready, `drain` how long the canary keeps running after a rollback
    has taken its traffic away. `threshold` failed checks roll back; `inconclusive_limit` held analyses do (0: never).
    """

    name: str
    namespace: str = "default"
    target: TargetRef
    provider: str = "istio"
    ladder: Ladder = Ladder()
    interval: float = field(default=60.0, validator=gt(0))
    threshold: int = field(default=1, validator=ge(1))
    checks: tuple[Check, ...] = ()
    hooks: tuple[Hook, ...] = ()
    alerts: tuple[Alert, ...] = ()
    match: tuple[Match, ...] = ()
    affinity: Affinity | None = None
    mirror_weight: int = field(default=100, validator=_percent)
    no_data: NoData = NoData.FAIL
    min_samples: int = field(default=0, validator=ge(0))
    inconclusive_limit: int = field(default=0, validator=ge(0))
    progress_deadline: float = field(default=600.0, validator=ge(0))
    primary_ready: int = field(default=100, validator=_percent)
    canary_ready: int = field(default=100, validator=_percent)
    skip_analysis: bool = False
    suspend: bool = False
    revert_on_deletion: bool = False
    autoscaled: bool = False
    drain: float = field(default=1.0, validator=ge(0))
    hooks_by_type: dict[HookType, tuple[Hook, ...]] = field(init=False, eq=False, repr=False)
    has_gates: bool = field(init=False, eq=False, repr=False)
    checks_in_order: tuple[Check, ...] = field(init=False, eq=False, repr=False)
    checks_by_place: tuple[tuple[str, Check], ...] = field(init=False, eq=False, repr=False)

    @hooks_by_type.default
    def _sorted_hooks(self) -> dict[HookType, tuple[Hook, ...]]:
        return {kind: tuple(hook for hook in self.hooks if hook.type is kind) for kind in HookType}

    @has_gates.default
    def _is_held_up_on_its_climb(self) -> bool:
        gates = self.hooks_by_type[HookType.CONFIRM_TRAFFIC_INCREASE], self.hooks_by_type[HookType.CONFIRM_PROMOTION]
        return any(gates)

    names: tuple[tuple[str, str], ...] = field(init=False, eq=False, repr=False)

    @names.default
    def _as_texts_say_them(self) -> tuple[tuple[str, str], ...]:
        return (
            ("name", self.full_name),
            ("target", self.target_name),
            ("primary", self.primary_name),
            ("kind", self.target.kind),
            ("kind_lower", self.target.kind.lower()),
        )

    @checks_in_order.default
    def _as_flagger_runs_them(self) -> tuple[Check, ...]:
        return tuple(sorted(self.checks, key=lambda check: check.kind is CheckKind.TEMPLATE))

    @checks_by_place.default
    def _told_apart(self) -> tuple[tuple[str, Check], ...]:
        """Names need not be unique: a built-in metric may bring a query of its own under the same one."""
        return tuple((f"{place}/{check.name}", check) for place, check in enumerate(self.checks_in_order))

    @property
    def full_name(self) -> str:
        """`name.namespace`, as Flagger's texts say it."""
        return f"{self.name}.{self.namespace}"

    @property
    def target_name(self) -> str:
        """The target as Flagger's texts say it: `name.namespace`."""
        return f"{self.target.name}.{self.namespace}"

    @property
    def primary_name(self) -> str:
        """The primary copy as Flagger's texts say it: `name-primary.namespace`."""
        return f"{self.target.name}-primary.{self.namespace}"
