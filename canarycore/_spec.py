"""The owner's rollout, resolved once.

A `Rollout` has its defaults applied and its strategy turned into a ladder; no later code asks again which field was
set. `canarycore.manifest` builds it from a Flagger `Canary`; an embedder may build it by hand. Validators refuse
illegal combinations in the owner's terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, le

from canarycore._enum import TextEnum
from canarycore._ladder import Ladder

if TYPE_CHECKING:
    from canarycore._reference import Reference
    from canarycore.notices import Alert
    from canarycore.traffic import Affinity, Match


DRAIN = 5.0
"""The shortest default drain in seconds: proxies follow new routes late, and a few seconds are common."""


class HookType(TextEnum):
    """The moment at which a rollout calls a webhook (Flagger: `webhooks[].type`)."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ROLLOUT = "rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    POST_ROLLOUT = "post-rollout"
    ROLLBACK = "rollback"
    EVENT = "event"


class CheckKind(TextEnum):
    """The source of a check's number, which also decides Flagger's text for its failure."""

    SUCCESS_RATE = "request-success-rate"
    DURATION = "request-duration"
    TEMPLATE = "template"
    QUERY = "query"


class NoData(TextEnum):
    """The meaning of an analysis without data (`analysis.noData`): a failed check, or a hold."""

    FAIL = "fail"
    HOLD = "hold"


@frozen(kw_only=True)
class TargetRef:
    """The workload under rollout (Flagger: `spec.targetRef`)."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    name: str


@frozen(kw_only=True)
class Check:
    """A metric and its allowed range (Flagger: `metrics[]`). Raises ValueError if `window` is not above 0."""

    name: str
    """The name of the metric; names need not be unique."""
    kind: CheckKind
    """The source of its number."""
    minimum: float | None = None
    """The least passing value, in the metric's unit: percent for request-success-rate, milliseconds for
    request-duration, the query's own otherwise. None sets no bound."""
    maximum: float | None = None
    """The greatest passing value, in the same unit."""
    window: float = field(default=60.0, validator=gt(0))
    """The look-back of the query in seconds (`metrics[].interval`)."""
    window_text: str = "1m"
    """The look-back in the owner's notation, for the query's variables."""
    template: Reference | None = None
    """The MetricTemplate with the query (`templateRef`)."""
    query: str = ""
    """The query in the manifest, or empty."""
    variables: tuple[tuple[str, str], ...] = ()
    """Names and values for the query (`templateVariables`)."""


@frozen(kw_only=True)
class Hook:
    """A webhook (Flagger: `webhooks[]`)."""

    name: str
    """The name of the hook; names need not be unique."""
    type: HookType
    """The moment of the call."""
    url: str
    """The address of the receiver."""
    timeout: float = 10.0
    """The seconds that one attempt may take."""
    retries: int = 0
    """The number of attempts after the first."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Names and values that the receiver gets."""
    mute_alert: bool = False
    """Whether a closed gate sends no alert."""
    disable_tls: bool = False
    """Whether the call accepts any certificate."""


def _percent(instance: object, attribute: Attribute[int], value: int) -> None:
    ge(0)(instance, attribute, value)
    le(100)(instance, attribute, value)


@frozen(kw_only=True)
class Rollout:
    """The owner's policy for one target. Raises ValueError if a number is out of its range."""

    name: str
    """The name of the Canary."""
    namespace: str = "default"
    """Its namespace."""
    target: TargetRef
    """The workload under rollout."""
    provider: str = "istio"
    """The mesh or ingress that routes requests (`spec.provider`)."""
    ladder: Ladder = Ladder()
    """The steps of the rollout."""
    interval: float = field(default=60.0, validator=gt(0))
    """Seconds between two analyses (`analysis.interval`)."""
    threshold: int = field(default=1, validator=ge(1))
    """The number of failed checks that rolls back (`analysis.threshold`)."""
    checks: tuple[Check, ...] = ()
    """The metrics (`analysis.metrics`)."""
    hooks: tuple[Hook, ...] = ()
    """The webhooks (`analysis.webhooks`)."""
    alerts: tuple[Alert, ...] = ()
    """The receivers of alerts (`analysis.alerts`)."""
    match: tuple[Match, ...] = ()
    """The requests of an A/B test: those that meet any of these conditions (`analysis.match`)."""
    affinity: Affinity | None = None
    """The session cookie, if the rollout sets one (`analysis.sessionAffinity`)."""
    mirror_weight: int = field(default=100, validator=_percent)
    """The share of requests that the mesh copies on a mirrored rung, 0 to 100 percent (`analysis.mirrorWeight`)."""
    no_data: NoData = NoData.FAIL
    """The meaning of an analysis without data."""
    min_samples: int = field(default=0, validator=ge(0))
    """The number of requests that a value needs to count as data; 0 accepts any (`analysis.minSamples`)."""
    inconclusive_limit: int = field(default=0, validator=ge(0))
    """The number of holds that rolls back; 0 never does (`analysis.inconclusive`)."""
    progress_deadline: float = field(default=600.0, validator=ge(0))
    """Seconds that pods may fail to get ready (`spec.progressDeadlineSeconds`)."""
    primary_ready: int = field(default=100, validator=_percent)
    """The percentage of the primary's replicas that must be available (`analysis.primaryReadyThreshold`)."""
    canary_ready: int = field(default=100, validator=_percent)
    """The percentage of the canary's replicas that must be available (`analysis.canaryReadyThreshold`)."""
    replace_down_primary: bool = False
    """Whether a new revision with ready pods replaces a primary without pods (`analysis.replaceDownPrimary`)."""
    skip_analysis: bool = False
    """Whether a new revision is promoted without an analysis (`spec.skipAnalysis`)."""
    suspend: bool = False
    """Whether the rollout changes nothing (`spec.suspend`)."""
    revert_on_deletion: bool = False
    """Whether a deletion gives the target back to its owner (`spec.revertOnDeletion`)."""
    autoscaled: bool = False
    """Whether the target has an autoscaler (`spec.autoscalerRef`)."""
    drain: float = field(default=DRAIN, validator=ge(0))
    """Seconds that pods keep running after their traffic is taken away, for proxies that follow late."""
    hooks_by_type: dict[HookType, tuple[Hook, ...]] = field(init=False, eq=False, repr=False)
    """The hooks of each type, in the manifest's order."""
    has_gates: bool = field(init=False, eq=False, repr=False)
    """Whether any gate comes between two rungs."""
    checks_in_order: tuple[Check, ...] = field(init=False, eq=False, repr=False)
    """The checks in Flagger's order: templates last."""
    checks_by_place: tuple[tuple[str, Check], ...] = field(init=False, eq=False, repr=False)
    """The checks in Flagger's order, each with a unique name."""

    @hooks_by_type.default
    def _sort_hooks(self) -> dict[HookType, tuple[Hook, ...]]:
        return {kind: tuple(hook for hook in self.hooks if hook.type is kind) for kind in HookType}

    @has_gates.default
    def _has_gates(self) -> bool:
        gates = self.hooks_by_type[HookType.CONFIRM_TRAFFIC_INCREASE], self.hooks_by_type[HookType.CONFIRM_PROMOTION]
        return any(gates)

    names: tuple[tuple[str, str], ...] = field(init=False, eq=False, repr=False)
    """The values for the placeholders of notices."""

    @names.default
    def _name_everything(self) -> tuple[tuple[str, str], ...]:
        return (
            ("name", self.full_name),
            ("target", self.target_name),
            ("primary", self.primary_name),
            ("kind", self.target.kind),
            ("kind_lower", self.target.kind.lower()),
        )

    @checks_in_order.default
    def _sort_checks(self) -> tuple[Check, ...]:
        return tuple(sorted(self.checks, key=lambda check: check.kind is CheckKind.TEMPLATE))

    @checks_by_place.default
    def _identify_checks(self) -> tuple[tuple[str, Check], ...]:
        """Names need not be unique: a built-in metric may have a query of its own under the same name."""
        return tuple((f"{place}/{check.name}", check) for place, check in enumerate(self.checks_in_order))

    @property
    def full_name(self) -> str:
        """The rollout in Flagger's texts: `name.namespace`."""
        return f"{self.name}.{self.namespace}"

    @property
    def target_name(self) -> str:
        """The target in Flagger's texts: `name.namespace`."""
        return f"{self.target.name}.{self.namespace}"

    @property
    def primary_name(self) -> str:
        """The primary in Flagger's texts: `name-primary.namespace`."""
        return f"{self.target.name}-primary.{self.namespace}"
