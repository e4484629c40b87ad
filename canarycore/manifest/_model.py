"""Flagger's resources as typed data: `flagger.app/v1beta1` Canary, MetricTemplate and AlertProvider.

The fields and their meaning are Flagger's; an absent field is empty (None, "", (), False). Nothing is resolved here:
defaults and strategies are `resolve`'s. Durations stay the text that the owner wrote, as it goes into queries. The
service section is in `_service`.

Our own additions to `spec.analysis` are OWN_FIELDS; annotations may carry them (`_definition`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from canarycore import bounds
from canarycore._expressions import Conditions, ExpressionError
from canarycore._spec import HookType, NoData, OnFailure
from canarycore.errors import Problem
from canarycore.manifest._match import ANALYSIS_MATCH
from canarycore.manifest._reader._fields import (
    BOOLEAN,
    COUNT,
    DURATION,
    FREE,
    LABELS,
    NAME,
    NUMBER,
    PERCENT,
    TEXT,
    Codec,
    Cursor,
    count,
    defaulted_duration,
    duration,
    fields_of,
    integer,
    list_of,
    map_of,
    object_of,
    one_of,
    rising,
    section,
    text,
    wire,
)
from canarycore.manifest._service import Pairs, Service
from canarycore.notices import Alert, Severity
from canarycore.text import shorten
from canarycore.traffic import Match

GROUP = "flagger.app"
VERSION = "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"

Json = Mapping[str, Any]

METADATA = map_of(text(bounds.ANNOTATION, free=True), bounds.METADATA)
WAIT = duration(longest=bounds.WAIT)
INTERVAL = defaulted_duration("60s", "10s", bounds.WAIT)


# parts of the sections ----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Metadata:
    """The fields of an object's metadata that canarycore uses."""

    name: str = wire(NAME, required=True)
    namespace: str = wire(NAME)
    labels: Pairs = wire(METADATA)
    annotations: Pairs = wire(METADATA)


CLUSTERS_OWN = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName"),
    *("generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"),
)
"""Names of further metadata, which the cluster writes."""


@frozen(kw_only=True)
class ObjectReference:
    """A reference to an object in the Canary's namespace."""

    api_version: str = wire(TEXT, required=True)
    kind: str = wire(TEXT, required=True)
    name: str = wire(NAME, required=True)


@frozen(kw_only=True)
class ForeignReference(ObjectReference):
    """A reference to an object that may be in another namespace."""

    namespace: str = wire(NAME)


@frozen(kw_only=True)
class TargetReference(ObjectReference):
    """A reference to the workload under rollout."""

    kind: str = wire(one_of("Deployment", "DaemonSet", "StatefulSet", "Service"), required=True)

    @property
    def knative(self) -> bool:
        """Whether this is a Knative Service, which is a workload, and not a Kubernetes Service."""
        return self.kind == "Service" and self.api_version.startswith("serving.knative.dev/")

    @property
    def stateful(self) -> bool:
        """Whether this is a StatefulSet, whose partition takes the place of a primary copy."""
        return self.kind == "StatefulSet"


@frozen(kw_only=True)
class NamedReference:
    """A reference to a MetricTemplate or AlertProvider, in the Canary's namespace if `namespace` is empty."""

    name: str = wire(NAME, required=True)
    namespace: str = wire(NAME)


METRIC_TEMPLATE = "MetricTemplate"
ANALYSIS_TEMPLATE = "AnalysisTemplate"
CLUSTER_ANALYSIS_TEMPLATE = "ClusterAnalysisTemplate"
TEMPLATE_KINDS = (METRIC_TEMPLATE, ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE)
"""The kinds of templates that a metric may refer to; the first one is the default."""


@frozen(kw_only=True)
class TemplateReference(NamedReference):
    """A reference to the template of a metric. An AnalysisTemplate also has the conditions and limits of the check."""

    kind: str = wire(one_of(*TEMPLATE_KINDS))

    @property
    def is_analysis(self) -> bool:
        """Whether the template is one of Argo's, which defines the whole check."""
        return self.kind not in {"", METRIC_TEMPLATE}

    @property
    def is_cluster_scoped(self) -> bool:
        """Whether the template belongs to no namespace."""
        return self.kind == CLUSTER_ANALYSIS_TEMPLATE


_TEMPLATE_REFERENCE = object_of(TemplateReference)


def _read_template_reference(value: object, cursor: Cursor) -> TemplateReference | None:
    """Read a reference to a template; refuse a namespace beside a kind that has none."""
    reference: TemplateReference | None = _TEMPLATE_REFERENCE.read(value, cursor)
    if reference is not None and reference.is_cluster_scoped and reference.namespace:
        expected = f"no namespace: a {reference.kind} belongs to the cluster"
        cursor.at("namespace").refuse(reference.namespace, expected, "Remove it.", "template-namespace")
    return reference


@frozen(kw_only=True)
class SecretReference:
    """A reference to a Secret in the same namespace."""

    name: str = wire(NAME, required=True)


@frozen(kw_only=True)
class ScalerReplicas:
    """Replica limits of the primary's autoscaler."""

    min_replicas: int | None = wire(count(1))
    max_replicas: int | None = wire(count(1))


@frozen(kw_only=True)
class AutoscalerReference:
    """A reference to the target's autoscaler, of which the primary gets a copy."""

    api_version: str = wire(TEXT, required=True)
    kind: str = wire(one_of("HorizontalPodAutoscaler", "ScaledObject"), required=True)
    name: str = wire(NAME, required=True)
    primary_scaler_queries: Pairs = wire(LABELS)
    primary_scaler_replicas: ScalerReplicas | None = wire(object_of(ScalerReplicas))


# the analysis section -----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ThresholdRange:
    """The range of a metric, with both ends."""

    min: float | None = wire(NUMBER)
    max: float | None = wire(NUMBER)


_CONDITION = text(bounds.CONDITION)


def _read_condition(value: object, cursor: Cursor) -> str:
    """Read a condition; refuse one outside the language, so that nobody waits for a check that cannot be made."""
    condition: str = _CONDITION.read(value, cursor)
    try:
        Conditions.of(condition, "")
    except ExpressionError as error:
        found = f"{error.found} in {shorten(condition)}"
        problem = Problem(path=cursor.path, found=found, expected=error.expected, remedy=error.remedy, rule="condition")
        cursor.problems.add(problem)
        return ""
    return condition


CONDITION = evolve(_CONDITION, read=_read_condition)


@frozen(kw_only=True)
class Metric:
    """A check of a metric; `threshold` and `query` are deprecated."""

    name: str = wire(TEXT, required=True)
    interval: str = wire(WAIT)
    threshold: float | None = wire(NUMBER)
    threshold_range: ThresholdRange | None = wire(object_of(ThresholdRange))
    query: str = wire(FREE)
    template_ref: TemplateReference | None = wire(evolve(_TEMPLATE_REFERENCE, read=_read_template_reference))
    template_variables: Pairs = wire(LABELS)
    # our own: OWN_FIELDS_OF_METRICS
    from_weight: int | None = wire(PERCENT)
    initial_delay: str = wire(duration(zero=True, longest=bounds.WAIT))
    every: str = wire(duration(zero=True, longest=bounds.WAIT))
    count: int | None = wire(count(1))
    failure_limit: int | None = wire(COUNT)
    inconclusive_limit: int | None = wire(COUNT)
    consecutive_error_limit: int | None = wire(COUNT)
    consecutive_success_limit: int | None = wire(COUNT)
    dry_run: bool = wire(BOOLEAN)
    success_condition: str = wire(CONDITION)
    failure_condition: str = wire(CONDITION)
    definition: CheckDefinition | None = field(default=None, repr=False)
    """The definition by a template of Argo, whose fields the metric has then; None without one."""

    @property
    def has_condition(self) -> bool:
        """Whether a condition takes the place of the range."""
        return bool(self.success_condition or self.failure_condition)

    @property
    def is_defined_elsewhere(self) -> bool:
        """Whether a template of Argo has the conditions and limits."""
        return self.template_ref is not None and self.template_ref.is_analysis


DEFINED_FIELDS = (
    *("thresholdRange", "successCondition", "failureCondition", "initialDelay", "every", "count", "failureLimit"),
    *("inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit"),
)
"""The fields of a metric that an AnalysisTemplate defines."""

_METRIC = object_of(Metric)


def _read_metric(value: object, cursor: Cursor) -> Metric | None:
    """Read a metric; refuse a field that its AnalysisTemplate has, as one of the two would not count."""
    metric: Metric | None = _METRIC.read(value, cursor)
    if metric is None or metric.template_ref is None or not metric.is_defined_elsewhere:
        return metric
    for name, known in fields_of(Metric).items():
        if name in {"threshold", "query", *DEFINED_FIELDS} and getattr(metric, known.name) != known.default:
            expected = f"nothing: the {metric.template_ref.kind} {metric.template_ref.name} has it"
            remedy = "Remove the field, or write a MetricTemplate."
            cursor.at(name).refuse(
                value.get(name) if isinstance(value, Mapping) else None, expected, remedy, "template-field"
            )
    return metric


@frozen(kw_only=True)
class CanaryAlert:
    """An alert: its provider and least severity (empty: info)."""

    name: str = wire(TEXT, required=True)
    severity: str = wire(one_of("", *(severity.value for severity in Severity)))
    provider_ref: NamedReference | None = wire(object_of(NamedReference), required=True)


SHORTEST_TIMEOUT = 2
"""Fewest characters of a timeout: as in Flagger, a shorter text counts as none."""


def _hook_timeout(value: object, cursor: Cursor) -> str:
    if isinstance(value, str) and len(value) < SHORTEST_TIMEOUT:
        return value
    found: str = WAIT.read(value, cursor)
    return found


@frozen(kw_only=True)
class Webhook:
    """A hook; an empty type is rollout. The URL may contain a token, so the repr leaves it out."""

    name: str = wire(TEXT, required=True)
    type: str = wire(one_of("", *(kind.value for kind in HookType)))
    url: str = wire(TEXT, required=True, hidden=True)
    mute_alert: bool = wire(BOOLEAN)
    timeout: str = wire(Codec(_hook_timeout, empty="", schema=DURATION.schema))
    retries: int | None = wire(integer(0, bounds.RETRIES.most))
    disable_tls: bool = wire(BOOLEAN, name="disableTLS")
    metadata: Pairs = wire(LABELS, hidden=True)


@frozen(kw_only=True)
class SessionAffinity:
    """The session cookie. `max_age` is in seconds."""

    cookie_name: str = wire(TEXT, required=True)
    primary_cookie_name: str = wire(TEXT)
    max_age: int | None = wire(COUNT)
    domain: str = wire(TEXT)
    path: str = wire(TEXT)
    same_site: str = wire(one_of("", "Strict", "Lax", "None"))
    http_only: bool = wire(BOOLEAN)
    partitioned: bool = wire(BOOLEAN)
    secure: bool = wire(BOOLEAN)


_PERCENT_SIZE = re.compile(r"([1-9][0-9]?|100)%")
_REPLICAS = integer(1, bounds.COUNT.most)


def _read_size(value: object, cursor: Cursor) -> int | str | None:
    """Read a number of replicas, or a percentage of the target's own number."""
    if isinstance(value, str) and _PERCENT_SIZE.fullmatch(value):
        return value
    if isinstance(value, str) or (isinstance(value, int) and value < 1):
        expected = "a number of replicas above 0, or a percentage from 1% to 100% of the target's own number"
        cursor.refuse(value, expected, 'Write a number such as 3, or a percentage such as "25%".', "step-size")
        return None
    replicas: int = _REPLICAS.read(value, cursor)
    return replicas


_SIZE = Codec(
    _read_size,
    schema={
        "x-kubernetes-int-or-string": True,
        "minimum": 1,
        "maximum": bounds.COUNT.most,
        "pattern": f"^{_PERCENT_SIZE.pattern}$",
    },
)


@frozen(kw_only=True)
class AnalysisStep:
    """A step of the rollout: its weight in percent, the requests beside it, the canary's replicas, and its end."""

    weight: int | None = wire(integer(0, 100), required=True)
    match: tuple[Match, ...] = wire(ANALYSIS_MATCH)
    mirror: int | None = wire(PERCENT)
    size: int | str | None = wire(_SIZE)
    hold: str = wire(WAIT)
    approval: bool = wire(BOOLEAN)
    metrics: tuple[str, ...] = wire(list_of(TEXT, bounds.CHECKS))


_STEP = object_of(AnalysisStep)


def _read_step(value: object, cursor: Cursor) -> AnalysisStep | None:
    """Read a step. Weight 0 is for a step with a match or a mirror."""
    step: AnalysisStep | None = _STEP.read(value, cursor)
    if (
        isinstance(value, Mapping)
        and step is not None
        and step.weight == 0
        and not (value.get("match") or value.get("mirror"))
    ):
        _read_bare_weight(step, cursor.at("weight"))
    return step


def _read_bare_weight(step: AnalysisStep, cursor: Cursor) -> None:
    """Refuse weight 0 of a step without requests of its own."""
    if step.size is None:
        integer(1, 100).read(0, cursor)
    else:
        expected = "a weight above 0, or a match or mirror: a canary with a size needs requests to serve"
        cursor.refuse(0, expected, "Write the size into the step with the weight that it is for.", "step-size")


@frozen(kw_only=True)
class AnalysisRollbackWindow:
    """The earlier promoted revisions to which a return skips steps, and the weights that it does not skip."""

    revisions: int | None = wire(integer(1, bounds.REVISIONS.most), required=True)
    steps: tuple[int, ...] = wire(rising(integer(1, 100), bounds.WEIGHTS))


FOLLOW_CAPACITY = "capacity"
"""The value of `rollback.follow`: each step waits for ready pods of the primary."""


@frozen(kw_only=True)
class AnalysisRollback:
    """The way back after a rollback: percent and time of a step, and the time after which all goes back at once.

    `follow` is what each step waits for.
    """

    step_weight: int | None = wire(integer(1, 100), required=True)
    interval: str = wire(duration(zero=False, longest=bounds.WAIT))
    follow: str = wire(one_of(FOLLOW_CAPACITY))
    deadline: str = wire(duration(zero=False, longest=bounds.WAIT))


@frozen(kw_only=True)
class Analysis:
    """The analysis section. Weights and ready thresholds are percent."""

    interval: str = wire(INTERVAL)
    threshold: int | None = wire(count(-bounds.COUNT.most))
    iterations: int | None = wire(integer(0, bounds.ITERATIONS.most))
    max_weight: int | None = wire(PERCENT)
    step_weight: int | None = wire(PERCENT)
    step_weights: tuple[int, ...] = wire(rising(integer(1, 100), bounds.WEIGHTS))
    step_weight_promotion: int | None = wire(PERCENT)
    mirror: bool = wire(BOOLEAN)
    mirror_weight: int | None = wire(PERCENT)
    primary_ready_threshold: int | None = wire(PERCENT)
    canary_ready_threshold: int | None = wire(PERCENT)
    match: tuple[Match, ...] = wire(ANALYSIS_MATCH)
    metrics: tuple[Metric, ...] = wire(list_of(evolve(_METRIC, read=_read_metric), bounds.CHECKS))
    alerts: tuple[CanaryAlert, ...] = wire(list_of(object_of(CanaryAlert), bounds.CHECKS))
    webhooks: tuple[Webhook, ...] = wire(list_of(object_of(Webhook), bounds.CHECKS))
    session_affinity: SessionAffinity | None = wire(object_of(SessionAffinity))
    # our own: OWN_FIELDS
    steps: tuple[AnalysisStep, ...] = wire(
        rising(evolve(_STEP, read=_read_step), bounds.WEIGHTS, lambda step: step and step.weight)
    )
    bake: str = wire(WAIT)
    no_data: str = wire(one_of(*(choice.value for choice in NoData)))
    min_samples: int | None = wire(COUNT)
    inconclusive: int | None = wire(COUNT)
    on_failure: str = wire(one_of(*(choice.value for choice in OnFailure)))
    rollback_window: AnalysisRollbackWindow | None = wire(object_of(AnalysisRollbackWindow))
    rollback: AnalysisRollback | None = wire(object_of(AnalysisRollback))
    replace_down_primary: bool = wire(BOOLEAN)
    drain: str = wire(duration(zero=True, longest=bounds.WAIT))


OWN_FIELDS = (
    *("steps", "bake", "noData", "minSamples", "inconclusive", "onFailure", "rollbackWindow"),
    *("rollback", "replaceDownPrimary", "drain"),
)
"""The fields of an analysis that Flagger does not have."""

OWN_FIELDS_OF_METRICS = (
    *("fromWeight", "initialDelay", "every", "count", "failureLimit", "inconclusiveLimit"),
    *("consecutiveErrorLimit", "consecutiveSuccessLimit", "dryRun", "successCondition", "failureCondition"),
)
"""The fields of a metric that Flagger does not have. Most names are those of Argo Rollouts."""


# the resources ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class CanarySpec:
    """The spec of a Canary; `canary_analysis` is the deprecated name of `analysis`."""

    provider: str = wire(TEXT)
    metrics_server: str = wire(TEXT)
    target_ref: TargetReference = wire(object_of(TargetReference), required=True)
    autoscaler_ref: AutoscalerReference | None = wire(object_of(AutoscalerReference))
    ingress_ref: ObjectReference | None = wire(object_of(ObjectReference))
    route_ref: ObjectReference | None = wire(object_of(ObjectReference))
    upstream_ref: ForeignReference | None = wire(object_of(ForeignReference))
    service: Service | None = wire(object_of(Service))
    analysis: Analysis | None = wire(object_of(Analysis))
    canary_analysis: Analysis | None = wire(object_of(Analysis))
    progress_deadline_seconds: int | None = wire(COUNT)
    skip_analysis: bool = wire(BOOLEAN)
    revert_on_deletion: bool = wire(BOOLEAN)
    suspend: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class Resource:
    """The common part of the three kinds."""

    metadata: Metadata = wire(object_of(Metadata, known=CLUSTERS_OWN), required=True)
    warnings: tuple[Problem, ...] = field(default=(), eq=False, repr=False)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace, as Kubernetes fills it in."""
        return self.metadata.namespace or "default"


@frozen(kw_only=True)
class Canary(Resource):
    """A Canary; `status_from_dict` reads its status."""

    spec: CanarySpec = wire(object_of(CanarySpec), required=True)
    status: Json | None = wire(section("status"))
    subscriptions: tuple[Alert, ...] = ()
    """The alerts of its annotations (`_alerts`)."""

    @property
    def analysis(self) -> Analysis | None:
        """The analysis section, under its current or its deprecated name."""
        return self.spec.analysis or self.spec.canary_analysis

    @property
    def analysis_path(self) -> str:
        """Path of the analysis section."""
        return "spec.canaryAnalysis" if self.spec.canary_analysis and not self.spec.analysis else "spec.analysis"

    @property
    def step_matches(self) -> dict[str, tuple[Match, ...]]:
        """The conditions of each step that has some, by their path."""
        steps = self.analysis.steps if self.analysis else ()
        return {f"{self.analysis_path}.steps[{i}].match": step.match for i, step in enumerate(steps) if step.match}

    @property
    def step_mirrors(self) -> tuple[str, ...]:
        """The paths of the mirrors of steps."""
        steps = self.analysis.steps if self.analysis else ()
        return tuple(f"{self.analysis_path}.steps[{i}].mirror" for i, step in enumerate(steps) if step.mirror)

    @property
    def step_sizes(self) -> dict[str, int | str]:
        """The size of each step that has one, by its path."""
        steps = self.analysis.steps if self.analysis else ()
        return {f"{self.analysis_path}.steps[{i}].size": step.size for i, step in enumerate(steps) if step.size}

    @property
    def matches(self) -> dict[str, tuple[Match, ...]]:
        """All conditions of the analysis, by their path."""
        own = {f"{self.analysis_path}.match": self.analysis.match} if self.analysis and self.analysis.match else {}
        return own | self.step_matches


@frozen(kw_only=True)
class MetricProvider:
    """The metric provider of a template. Headers may contain a credential, so the repr leaves them out."""

    type: str = wire(TEXT, required=True)
    address: str = wire(TEXT, hidden=True)
    headers: tuple[tuple[str, tuple[str, ...]], ...] = wire(map_of(list_of(FREE)), hidden=True)
    secret_ref: SecretReference | None = wire(object_of(SecretReference))
    region: str = wire(TEXT)
    insecure_skip_verify: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class MetricTemplateSpec:
    """A query in Go's template syntax, and its provider."""

    provider: MetricProvider = wire(object_of(MetricProvider), required=True)
    query: str = wire(FREE, required=True)


@frozen(kw_only=True)
class MetricTemplate(Resource):
    """A MetricTemplate: a query that Canaries share."""

    spec: MetricTemplateSpec = wire(object_of(MetricTemplateSpec), required=True)
    status: Json | None = wire(section("status"))


@frozen(kw_only=True)
class SecretArgument:
    """An argument of a template whose value is in a Secret of the template's namespace."""

    name: str
    """The name of the argument."""
    secret: str
    """The name of the Secret."""
    key: str
    """The key in the Secret."""


@frozen(kw_only=True)
class CheckDefinition:
    """The definition of one check by an AnalysisTemplate: the provider, the query, the conditions and the limits."""

    provider: MetricProvider
    """The provider. Its headers may name the arguments of `secrets`."""
    query: str
    """The query, in the language of MetricTemplates."""
    metric: Metric
    """A metric with the fields of DEFINED_FIELDS and `dry_run`."""
    secrets: tuple[SecretArgument, ...] = ()
    """The arguments that the headers need."""


@frozen(kw_only=True)
class AlertProviderSpec:
    """The destination of alerts. The address is a secret itself."""

    type: str = wire(TEXT, required=True)
    channel: str = wire(TEXT)
    username: str = wire(TEXT)
    address: str = wire(TEXT, hidden=True)
    proxy: str = wire(TEXT, hidden=True)
    secret_ref: SecretReference | None = wire(object_of(SecretReference))


@frozen(kw_only=True)
class AlertProvider(Resource):
    """An AlertProvider: a destination of alerts, such as a chat room."""

    spec: AlertProviderSpec = wire(object_of(AlertProviderSpec), required=True)
    status: Json | None = wire(section("status"))


KINDS: dict[str, type[Canary | MetricTemplate | AlertProvider]] = {
    "Canary": Canary,
    "MetricTemplate": MetricTemplate,
    "AlertProvider": AlertProvider,
}
