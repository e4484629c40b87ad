"""The owner's rollout, resolved once.

A `Rollout` has its defaults applied and its strategy turned into a ladder; no later code asks again which field was
set. `canarycore.manifest` builds it from a Flagger `Canary`; an embedder may build it by hand. Validators refuse
illegal combinations in the owner's terms.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Attribute, evolve, field, frozen, validate

from canarycore._condition_values import find_example
from canarycore._enum import TextEnum
from canarycore._expressions import Conditions, ExpressionError
from canarycore._fields import (
    CHECKS_OF_METRICS,
    COUNT_FROM_0,
    COUNT_FROM_1,
    FINITE,
    FLAG,
    FREE_TEXT,
    LABELS,
    LONG_SECONDS,
    OPTIONAL_TEXT,
    PERCENT,
    REQUIRED_NAME,
    REQUIRED_TEXT,
    SECONDS,
    SECONDS_ABOVE_0,
    SECRET_TEXT,
    SHARE,
    WEIGHT_IN_TENTHS,
    fault,
    instance,
    items,
    optional,
    refuse,
    rising,
    text,
    whole,
)
from canarycore._ladder import Ladder, Rung
from canarycore._limits import PLAIN, CheckLimits
from canarycore._observation import Routes
from canarycore._reference import Reference
from canarycore.bounds import CHECKS, CONDITION, RETRIES, REVISIONS, WEIGHTS
from canarycore.notices import NAMES, TEXTS, Alert, NoticeKind
from canarycore.text import shorten
from canarycore.traffic import Affinity, Match

DRAIN = 5.0
"""The shortest default drain in seconds: proxies follow new routes late, and a few seconds are common."""


Texts = tuple[tuple[NoticeKind, str], ...]
"""The texts of an embedder by the kind of notice, as a rollout stores them."""


def _list_texts(texts: Mapping[NoticeKind, str] | Texts) -> Texts:
    return tuple(texts.items()) if isinstance(texts, Mapping) else texts


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


class OnFailure(TextEnum):
    """The end of an analysis that fails (`analysis.onFailure`): a rollback, or a stop that waits for a command."""

    ROLLBACK = "rollback"
    FREEZE = "freeze"


@frozen(kw_only=True)
class RollbackWindow:
    """The promoted revisions to which a return skips steps (`analysis.rollbackWindow`, which Flagger does not have).

    A revision that was rejected once is none of them. Raises FieldError if a value does not fit its field.
    """

    revisions: int = field(validator=whole(1, REVISIONS.most))
    """The number of revisions before the promoted one."""
    steps: tuple[int, ...] = field(default=(), validator=rising(WEIGHT_IN_TENTHS, WEIGHTS))
    """The weights that a return does not skip, in the unit of the ladder."""


@frozen(kw_only=True)
class GradualReturn:
    """The way back after a rollback by steps (`analysis.rollback`, which Flagger does not have).

    Raises FieldError if a value does not fit its field.
    """

    step: int = field(validator=WEIGHT_IN_TENTHS)
    """The share of requests that each step returns to the primary, in the unit of the ladder."""
    interval: float = field(default=60.0, validator=SECONDS_ABOVE_0)
    """Seconds between two steps."""
    deadline: float | None = field(default=None, validator=optional(SECONDS_ABOVE_0))
    """Seconds after which all traffic goes back at once, with an alert; None for the rollout's progress deadline."""
    follows_capacity: bool = field(default=False, validator=FLAG)
    """Whether each step waits until the load of a ready pod of the primary is at most a quarter above that at the
    rollout's start. So a step exceeds that at most by itself, and an autoscaler sees the load that lets the primary
    grow. The quarter is for autoscalers, which change nothing within a tenth of their target."""


@frozen(kw_only=True)
class TargetRef:
    """The workload under rollout (Flagger: `spec.targetRef`)."""

    api_version: str = field(default="apps/v1", validator=OPTIONAL_TEXT)
    kind: str = field(default="Deployment", validator=REQUIRED_TEXT)
    name: str = field(validator=REQUIRED_NAME)


@frozen(kw_only=True)
class Check:
    """A metric and its allowed range (Flagger: `metrics[]`), or conditions instead of a range.

    Raises FieldError if a value does not fit its field, if the range is absent, empty or beside a condition, or if a
    condition is wrong.
    """

    name: str = field(validator=REQUIRED_TEXT)
    """The name of the metric; names need not be unique."""
    kind: CheckKind = field(validator=instance(CheckKind))
    """The source of its number."""
    minimum: float | None = field(default=None, validator=optional(FINITE))
    """The least passing value, in the metric's unit: percent for request-success-rate, milliseconds for
    request-duration, the query's own otherwise. None sets no bound."""
    maximum: float | None = field(default=None, validator=optional(FINITE))
    """The greatest passing value, in the same unit."""
    window: float = field(default=60.0, validator=SECONDS_ABOVE_0)
    """The look-back of the query in seconds (`metrics[].interval`)."""
    window_text: str = field(default="1m", validator=REQUIRED_TEXT)
    """The look-back in the owner's notation, for the query's variables."""
    template: Reference | None = field(default=None, validator=optional(instance(Reference)))
    """The template with the query (`templateRef`)."""
    query: str = field(default="", validator=FREE_TEXT)
    """The query in the manifest, or empty."""
    variables: tuple[tuple[str, str], ...] = field(default=(), validator=LABELS)
    """Names and values for the query (`templateVariables`)."""
    from_weight: int = field(default=0, validator=SHARE)
    """Percent of requests on the canary from which on the check is measured (`metrics[].fromWeight`)."""
    limits: CheckLimits = field(default=PLAIN, validator=instance(CheckLimits))
    """The measurements that the check takes on each rung, and the bad ones that it may have."""
    dry_run: bool = field(default=False, validator=FLAG)
    """Whether the answers are recorded only, and decide nothing (`metrics[].dryRun`)."""
    success_condition: str = field(default="", validator=text(CONDITION))
    """The condition of a pass, such as `result >= 0.95` (`metrics[].successCondition`); empty for none."""
    failure_condition: str = field(default="", validator=text(CONDITION))
    """The condition of a failure (`metrics[].failureCondition`). A value that meets neither condition is inconclusive;
    with one condition it passes or fails."""
    conditions: Conditions | None = field(init=False, eq=False, repr=False)
    """Both conditions, ready to evaluate; None for a check with a range."""

    @conditions.default
    def _parse_conditions(self) -> Conditions | None:
        if not (self.success_condition or self.failure_condition):
            return None
        validate(self)  # attrs runs validators after defaults, and a condition of a wrong type cannot be read
        try:
            return Conditions.of(self.success_condition, self.failure_condition)
        except ExpressionError:
            return None  # the validator refuses it with its field

    @success_condition.validator
    @failure_condition.validator
    def _check_condition(self, attribute: Attribute[str], condition: str) -> None:
        try:
            Conditions.of(condition, "")
        except ExpressionError as error:
            refuse(self, attribute.name, fault(error.found, error.expected, error.remedy, "condition"))

    def find_example(self, *, passes: bool | None) -> float | None:
        """Return a value that the conditions pass or fail, or (None) neither; None for no value, or no conditions."""
        return None if self.conditions is None else find_example(self.conditions, passes)

    @maximum.validator
    def _check_range(self, _: Attribute[float | None], maximum: float | None) -> None:
        if self.success_condition or self.failure_condition:
            if self.minimum is not None or maximum is not None:
                expected, remedy = "none: the check has a condition", "Remove the range, or the condition."
                refuse(self, "minimum", fault("a range", expected, remedy, "range-and-condition"))
            return
        if self.minimum is None and maximum is None:
            remedy = f"Set minimum or maximum of the check {shorten(self.name)}."
            problem = fault("neither", "a minimum or a maximum: a check without both passes always", remedy, "no-range")
            refuse(self, "minimum", problem)
        if self.minimum is not None and maximum is not None and self.minimum > maximum:
            expected = f"at most the maximum {maximum:g}: no value is in this range"
            refuse(self, "minimum", fault(f"{self.minimum:g}", expected, "Swap or correct them.", "empty-range"))


_ONE_MATCH = "none: a step has a match of its own"


@frozen(kw_only=True)
class Hook:
    """A webhook (Flagger: `webhooks[]`). Raises FieldError if a value does not fit its field."""

    name: str = field(validator=REQUIRED_TEXT)
    """The name of the hook; names need not be unique."""
    type: HookType = field(validator=instance(HookType))
    """The moment of the call."""
    url: str = field(validator=SECRET_TEXT)
    """The address of the receiver."""
    timeout: float = field(default=10.0, validator=SECONDS_ABOVE_0)
    """The seconds that one attempt may take."""
    retries: int = field(default=0, validator=whole(0, RETRIES.most))
    """The number of attempts after the first."""
    metadata: tuple[tuple[str, str], ...] = field(default=(), validator=LABELS)
    """Names and values that the receiver gets."""
    mute_alert: bool = field(default=False, validator=FLAG)
    """Whether a closed gate sends no alert."""
    disable_tls: bool = field(default=False, validator=FLAG)
    """Whether the call accepts any certificate."""


@frozen(kw_only=True)
class Rollout:
    """The owner's policy for one target.

    Raises FieldError if a value does not fit its field, or if nothing but promotion follows a new revision: a ladder
    without rungs needs `skip_analysis`. `canarycore.manifest.problems` returns what is legal and surprises.
    """

    name: str = field(validator=REQUIRED_NAME)
    """The name of the Canary."""
    namespace: str = field(default="default", validator=REQUIRED_NAME)
    """Its namespace."""
    target: TargetRef = field(validator=instance(TargetRef))
    """The workload under rollout."""
    provider: str = field(default="istio", validator=REQUIRED_TEXT)
    """The mesh or ingress that routes requests (`spec.provider`)."""
    ladder: Ladder = field(default=Ladder(), validator=instance(Ladder))
    """The steps of the rollout."""
    interval: float = field(default=60.0, validator=SECONDS_ABOVE_0)
    """Seconds between two analyses (`analysis.interval`)."""
    threshold: int = field(default=1, validator=COUNT_FROM_1)
    """The number of failed checks that rolls back (`analysis.threshold`)."""
    checks: tuple[Check, ...] = field(default=(), validator=items(instance(Check), CHECKS_OF_METRICS))
    """The metrics (`analysis.metrics`)."""
    hooks: tuple[Hook, ...] = field(default=(), validator=items(instance(Hook), CHECKS))
    """The webhooks (`analysis.webhooks`)."""
    alerts: tuple[Alert, ...] = field(default=(), validator=items(instance(Alert), CHECKS))
    """The receivers of alerts (`analysis.alerts`, and the annotations `canarycore/subscribe.…`)."""
    match: tuple[Match, ...] = field(default=(), validator=items(instance(Match), CHECKS))
    """The requests of an A/B test: those that meet any of these conditions (`analysis.match`). A `Step` may have
    conditions of its own instead."""
    affinity: Affinity | None = field(default=None, validator=optional(instance(Affinity)))
    """The session cookie, if the rollout sets one (`analysis.sessionAffinity`)."""
    mirror_weight: int = field(default=100, validator=PERCENT)
    """The share of requests that the mesh copies on a mirrored rung, 0 to 100 percent (`analysis.mirrorWeight`)."""
    no_data: NoData = field(default=NoData.FAIL, validator=instance(NoData))
    """The meaning of an analysis without data."""
    min_samples: int = field(default=0, validator=COUNT_FROM_0)
    """The number of requests that a value needs to count as data; 0 accepts any (`analysis.minSamples`)."""
    inconclusive_limit: int = field(default=0, validator=COUNT_FROM_0)
    """The number of holds that rolls back; 0 never does (`analysis.inconclusive`)."""
    rollback_window: RollbackWindow | None = field(default=None, validator=optional(instance(RollbackWindow)))
    """The promoted revisions to which a return skips steps; None for none."""
    gradual_return: GradualReturn | None = field(default=None, validator=optional(instance(GradualReturn)))
    """The steps by which traffic goes back after a rollback; None for all at once (`analysis.rollback`)."""
    on_failure: OnFailure = field(default=OnFailure.ROLLBACK, validator=instance(OnFailure))
    """The end of an analysis that fails, is inconclusive too often, or exceeds its deadline (`analysis.onFailure`)."""
    progress_deadline: float = field(default=600.0, validator=LONG_SECONDS)
    """Seconds that pods may fail to get ready (`spec.progressDeadlineSeconds`)."""
    primary_ready: int = field(default=100, validator=PERCENT)
    """The percentage of the primary's replicas that must be available (`analysis.primaryReadyThreshold`)."""
    canary_ready: int = field(default=100, validator=PERCENT)
    """The percentage of the canary's replicas that must be available (`analysis.canaryReadyThreshold`)."""
    replace_down_primary: bool = field(default=False, validator=FLAG)
    """Whether a new revision with ready pods replaces a primary without pods (`analysis.replaceDownPrimary`)."""
    skip_analysis: bool = field(default=False, validator=FLAG)
    """Whether a new revision is promoted without an analysis (`spec.skipAnalysis`)."""
    suspend: bool = field(default=False, validator=FLAG)
    """Whether the rollout changes nothing (`spec.suspend`)."""
    revert_on_deletion: bool = field(default=False, validator=FLAG)
    """Whether a deletion gives the target back to its owner (`spec.revertOnDeletion`)."""
    autoscaled: bool = field(default=False, validator=FLAG)
    """Whether the target has an autoscaler (`spec.autoscalerRef`)."""
    drain: float = field(default=DRAIN, validator=SECONDS)
    """Seconds that pods keep running after their traffic is taken away, for proxies that follow late."""
    texts: Texts = field(default=(), converter=_list_texts, validator=TEXTS)
    """The embedder's own texts of notices, as a dict `{NoticeKind.SUCCEEDED: "{name} is live"}`; other kinds keep
    Flagger's. A text may have the placeholders of its kind: {name}, {target}, {primary}, {kind}, {kind_lower}, and the
    numbers of Flagger's text."""

    @ladder.validator
    def _check_rungs(self, _: Attribute[Ladder], ladder: Ladder) -> None:
        if len(ladder.rungs) == 1 and not self.skip_analysis:
            expected = "a rung above the initial one: without it each revision is promoted without an analysis"
            remedy = "Set ladder=Ladder(step=10, top=50) or Ladder(steps=(5, 25, 50)), or set skip_analysis=True."
            refuse(self, "ladder", fault("no rungs", expected, remedy, "no-step"))

    @checks.validator
    def _check_steps(self, _: Attribute[tuple[Check, ...]], checks: tuple[Check, ...]) -> None:
        known = {check.name for check in checks}
        unknown = sorted({name for step in self.ladder.stays.values() for name in step.metrics} - known)
        if unknown:
            expected = f"names of checks: {', '.join(sorted(known)) or 'there are none'}"
            problem = fault(shorten(unknown[0]), expected, "Correct the name in the step.", "unknown-metric")
            refuse(self, "ladder", evolve(problem, path=".steps"))

    @autoscaled.validator
    def _check_sizes(self, _: Attribute[bool], autoscaled: bool) -> None:
        if autoscaled and self.ladder.sizes:
            expected = "False: it and the sizes of the steps would change the replicas against each other"
            remedy = "Remove the autoscaler, or size of the steps."
            refuse(self, "autoscaled", fault("True", expected, remedy, "step-size"))

    @match.validator
    def _check_step_match(self, _: Attribute[tuple[Match, ...]], match: tuple[Match, ...]) -> None:
        if not self.ladder.has_matches:
            return
        if match:
            problem = fault("conditions", _ONE_MATCH, "Remove match, or that of the steps.", "step-match")
            refuse(self, "match", problem)
        if self.affinity is not None:
            problem = fault("a session cookie", _ONE_MATCH, "Remove it, or match of the steps.", "step-match")
            refuse(self, "affinity", problem)

    hooks_by_type: dict[HookType, tuple[Hook, ...]] = field(init=False, eq=False, repr=False)
    """The hooks of each type, in the manifest's order."""
    has_gates: bool = field(init=False, eq=False, repr=False)
    """Whether any gate comes between two rungs."""
    has_limits: bool = field(init=False, eq=False, repr=False)
    """Whether a check has limits of its own, or decides nothing."""
    checks_in_order: tuple[Check, ...] = field(init=False, eq=False, repr=False)
    """The checks in Flagger's order: templates last."""
    checks_by_place: tuple[tuple[str, Check], ...] = field(init=False, eq=False, repr=False)
    """The checks in Flagger's order, each with a unique name."""

    @hooks_by_type.default
    def _sort_hooks(self) -> dict[HookType, tuple[Hook, ...]]:
        validate(self)  # attrs runs validators after defaults, and the fields below need the others
        return {kind: tuple(hook for hook in self.hooks if hook.type is kind) for kind in HookType}

    @has_gates.default
    def _has_gates(self) -> bool:
        gates = self.hooks_by_type[HookType.CONFIRM_TRAFFIC_INCREASE], self.hooks_by_type[HookType.CONFIRM_PROMOTION]
        return any(gates)

    @property
    def longest_return(self) -> float:
        """The longest time of a gradual return, in seconds."""
        policy = self.gradual_return
        if policy is None:
            return 0.0
        return self.progress_deadline if policy.deadline is None else policy.deadline

    @property
    def longest_pause(self) -> float:
        """The longest pause between two measurements of a check, in seconds."""
        return max((check.limits.every for check in self.checks), default=0.0)

    @has_limits.default
    def _has_limits(self) -> bool:
        return any(check.limits != PLAIN or check.dry_run for check in self.checks)

    has_late_checks: bool = field(init=False, eq=False, repr=False)
    """Whether a check is not measured from the first rung on."""

    @has_late_checks.default
    def _has_late_checks(self) -> bool:
        return any(check.from_weight for check in self.checks)

    names: tuple[tuple[str, str], ...] = field(init=False, eq=False, repr=False)
    """The values for the placeholders of notices."""
    templates: dict[NoticeKind, str] = field(init=False, eq=False, repr=False)
    """The texts of the embedder, by the kind of notice."""

    @names.default
    def _name_everything(self) -> tuple[tuple[str, str], ...]:
        kind = self.target.kind
        values = (self.full_name, self.target_name, self.primary_name, kind, kind.lower())
        return tuple(zip(NAMES, values, strict=True))

    @templates.default
    def _index_texts(self) -> dict[NoticeKind, str]:
        return dict(self.texts)

    @checks_in_order.default
    def _sort_checks(self) -> tuple[Check, ...]:
        return tuple(sorted(self.checks, key=lambda check: check.kind is CheckKind.TEMPLATE))

    @checks_by_place.default
    def _identify_checks(self) -> tuple[tuple[str, Check], ...]:
        """Names need not be unique: a built-in metric may have a query of its own under the same name."""
        return tuple((f"{place}/{check.name}", check) for place, check in enumerate(self.checks_in_order))

    def checks_at(self, rung: Rung) -> tuple[tuple[str, Check], ...]:
        """Return the checks of a rung, as `checks_by_place`: those that its step names, or all; without later ones."""
        ladder, checks = self.ladder, self.checks_by_place
        step = ladder.step_at(rung) if ladder.stays else None
        if step is not None and step.metrics:
            checks = tuple([each for each in checks if each[1].name in step.metrics])
        if self.has_late_checks:
            checks = tuple([each for each in checks if each[1].from_weight <= rung.percent])
        return checks

    @property
    def conditions(self) -> tuple[Match, ...]:
        """All conditions of the rollout: those of its A/B test, or of its steps in their order."""
        return self.match or tuple(match for step in self.ladder.stays.values() for match in step.match)

    def mirror_on(self, routes: Routes) -> int:
        """Return the percentage of requests that `routes` copy to the canary; 0 for none."""
        if not routes.mirrored:
            return 0
        step = self.ladder.step_at(routes)
        return step.mirror if step is not None and step.mirror else self.mirror_weight

    def match_on(self, routes: Routes) -> tuple[Match, ...]:
        """Return the conditions that have a route of their own beside the default one while `routes` are in force."""
        step = self.ladder.step_at(routes) if routes.matched else None
        return step.match if step is not None and step.match else self.match

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
