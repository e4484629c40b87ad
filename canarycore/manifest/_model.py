"""Flagger's resources as they are written: `flagger.app/v1beta1` Canary, MetricTemplate and AlertProvider.

The fields and their meaning are Flagger's; an absent field is empty (None, "", (), False). Nothing is resolved here:
defaults and strategies are `resolve`'s. Parts of the service section that only a routing adapter understands stay plain
JSON mappings. Durations stay the text that the owner wrote, as it goes into queries.

Our own additions to `spec.analysis` are noData, minSamples, inconclusive and drain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from canarycore import bounds
from canarycore._spec import HookType, NoData, Severity, StringMatch
from canarycore.errors import Problem
from canarycore.manifest._reader._fields import (
    BOOLEAN,
    FREE,
    NAME,
    NUMBER,
    PERCENT,
    TEXT,
    Codec,
    Cursor,
    count,
    duration,
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
from canarycore.manifest._shapes import CORS, GATEWAY, HTTP_MATCH, MIRROR
from canarycore.manifest._shapes import HEADERS as HEADER_OPERATIONS

GROUP = "flagger.app"
API_VERSION = f"{GROUP}/v1beta1"

Pairs = tuple[tuple[str, str], ...]
Json = Mapping[str, Any]

TEXTS = list_of(TEXT)
LABELS = map_of(FREE)
METADATA = map_of(text(bounds.ANNOTATION, free=True), bounds.METADATA)
PORT = integer(1, 65535)
COUNT = count()
DURATION = duration()
WAIT = duration(longest=bounds.WAIT)


# what the sections are made of --------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Metadata:
    """The few fields of an object's metadata that matter here; the rest is the cluster's."""

    name: str = wire(NAME, required=True)
    namespace: str = wire(NAME)
    labels: Pairs = wire(METADATA)
    annotations: Pairs = wire(METADATA)


CLUSTERS_OWN = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName"),
    *("generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"),
)
"""Metadata that the cluster writes."""


@frozen(kw_only=True)
class ObjectReference:
    """An object of some kind in the Canary's namespace."""

    api_version: str = wire(TEXT, required=True)
    kind: str = wire(TEXT, required=True)
    name: str = wire(NAME, required=True)


@frozen(kw_only=True)
class ForeignReference(ObjectReference):
    """An object that may be in another namespace."""

    namespace: str = wire(NAME)


@frozen(kw_only=True)
class TargetReference(ObjectReference):
    """The workload under rollout."""

    kind: str = wire(one_of("Deployment", "DaemonSet", "Service"), required=True)

    @property
    def knative(self) -> bool:
        """Whether this is a Knative Service, which is a workload, and not a Kubernetes Service."""
        return self.kind == "Service" and self.api_version.startswith("serving.knative.dev/")


@frozen(kw_only=True)
class NamedReference:
    """A MetricTemplate or AlertProvider; the namespace is the Canary's own if empty."""

    name: str = wire(NAME, required=True)
    namespace: str = wire(NAME)


@frozen(kw_only=True)
class SecretReference:
    """A Secret in the same namespace."""

    name: str = wire(NAME, required=True)


@frozen(kw_only=True)
class ScalerReplicas:
    """Replica limits of the primary's autoscaler."""

    min_replicas: int | None = wire(count(1))
    max_replicas: int | None = wire(count(1))


@frozen(kw_only=True)
class AutoscalerReference:
    """The target's autoscaler, of which the primary gets a copy."""

    api_version: str = wire(TEXT, required=True)
    kind: str = wire(one_of("HorizontalPodAutoscaler", "ScaledObject"), required=True)
    name: str = wire(NAME, required=True)
    primary_scaler_queries: Pairs = wire(LABELS)
    primary_scaler_replicas: ScalerReplicas | None = wire(object_of(ScalerReplicas))


# the service section ------------------------------------------------------------------------------------------------

TRAFFIC_POLICY = ("connectionPool", "loadBalancer", "outlierDetection", "portLevelSettings", "tls")


@frozen(kw_only=True)
class Rewrite:
    """How paths or hosts are rewritten."""

    uri: str = wire(TEXT)
    authority: str = wire(TEXT)
    type: str = wire(TEXT)


@frozen(kw_only=True)
class Retries:
    """Istio's HTTPRetry."""

    attempts: int | None = wire(COUNT)
    per_try_timeout: str = wire(DURATION)
    retry_on: str = wire(TEXT)
    retry_remote_localities: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class CustomMetadata:
    """Labels and annotations for a generated Service."""

    labels: Pairs = wire(LABELS)
    annotations: Pairs = wire(LABELS)


@frozen(kw_only=True)
class UnmanagedMetadata:
    """Names of labels and annotations of generated objects that others manage."""

    labels: tuple[str, ...] = wire(TEXTS)
    annotations: tuple[str, ...] = wire(TEXTS)


def _port_or_name(value: object, spot: Cursor) -> int | str:
    number_or_name: int | str = (TEXT if isinstance(value, str) else PORT).read(value, spot)
    return number_or_name


_PORT_SCHEMA = {"x-kubernetes-int-or-string": True, "maxLength": bounds.TEXT.most, "maximum": 65535}


@frozen(kw_only=True)
class Service:
    """How the app is reached (`spec.service`)."""

    name: str = wire(NAME)
    port: int | None = wire(PORT, required=True)
    port_name: str = wire(TEXT)
    target_port: int | str | None = wire(Codec(_port_or_name, schema=_PORT_SCHEMA))
    app_protocol: str = wire(TEXT)
    traffic_distribution: str = wire(one_of("PreferClose", "PreferSameZone", "PreferSameNode"))
    port_discovery: bool = wire(BOOLEAN)
    headless: bool = wire(BOOLEAN)
    timeout: str = wire(DURATION)
    backend_timeout: str = wire(DURATION)
    gateways: tuple[str, ...] = wire(TEXTS)
    gateway_refs: tuple[Json, ...] = wire(list_of(GATEWAY))
    hosts: tuple[str, ...] = wire(TEXTS)
    delegation: bool = wire(BOOLEAN)
    traffic_policy: Json | None = wire(section("Istio's TrafficPolicy", *TRAFFIC_POLICY))
    match: tuple[Json, ...] = wire(list_of(HTTP_MATCH))
    rewrite: Rewrite | None = wire(object_of(Rewrite))
    retries: Retries | None = wire(object_of(Retries))
    headers: Json | None = wire(HEADER_OPERATIONS)
    mirror: tuple[Json, ...] = wire(list_of(MIRROR))
    cors_policy: Json | None = wire(CORS)
    mesh_name: str = wire(TEXT)
    backends: tuple[str, ...] = wire(TEXTS)
    apex: CustomMetadata | None = wire(object_of(CustomMetadata))
    primary: CustomMetadata | None = wire(object_of(CustomMetadata))
    canary: CustomMetadata | None = wire(object_of(CustomMetadata))
    unmanaged_metadata: UnmanagedMetadata | None = wire(object_of(UnmanagedMetadata))


# the analysis section -----------------------------------------------------------------------------------------------

MATCH_KINDS = ("exact", "prefix", "suffix", "regex")


def _string_match(value: object, spot: Cursor) -> StringMatch | None:
    expected = f"one of {', '.join(MATCH_KINDS)} with a text"
    remedy = 'Write for example: exact: "insider".'
    if not isinstance(value, Mapping):
        spot.refuse(value, expected, remedy)
        return None
    given = [kind for kind in MATCH_KINDS if value.get(kind) is not None]
    spot.unknown_of(value, MATCH_KINDS, "a string match")
    if len(given) != 1:
        spot.refuse(value, expected, f"Give exactly one; here are {', '.join(given) or 'none'}.", "match")
        return None
    return StringMatch(kind=given[0], value=FREE.read(value[given[0]], spot.at(given[0])))


STRING_MATCH = Codec(
    _string_match,
    lambda match: {match.kind: match.value},
    schema={"type": "object", "properties": {kind: FREE.describe() for kind in MATCH_KINDS}},
)
HEADERS = map_of(STRING_MATCH)
Headers = tuple[tuple[str, StringMatch], ...]


@frozen(kw_only=True)
class MatchCondition:
    """One alternative of `analysis.match` (Istio's HTTPMatchRequest)."""

    name: str = wire(TEXT)
    headers: Headers = wire(HEADERS)
    without_headers: Headers = wire(HEADERS)
    query_params: Headers = wire(HEADERS)
    uri: StringMatch | None = wire(STRING_MATCH)
    method: StringMatch | None = wire(STRING_MATCH)
    scheme: StringMatch | None = wire(STRING_MATCH)
    authority: StringMatch | None = wire(STRING_MATCH)
    source_labels: Pairs = wire(LABELS)
    source_namespace: str = wire(TEXT)
    gateways: tuple[str, ...] = wire(TEXTS)
    port: int | None = wire(PORT)
    ignore_uri_case: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class ThresholdRange:
    """The range that a metric must stay in; both ends belong to it."""

    min: float | None = wire(NUMBER)
    max: float | None = wire(NUMBER)


@frozen(kw_only=True)
class Metric:
    """A metric check. `threshold` and `query` are deprecated."""

    name: str = wire(TEXT, required=True)
    interval: str = wire(WAIT)
    threshold: float | None = wire(NUMBER)
    threshold_range: ThresholdRange | None = wire(object_of(ThresholdRange))
    query: str = wire(FREE)
    template_ref: NamedReference | None = wire(object_of(NamedReference))
    template_variables: Pairs = wire(LABELS)


@frozen(kw_only=True)
class CanaryAlert:
    """Which provider is told, from which severity on ("" is info)."""

    name: str = wire(TEXT, required=True)
    severity: str = wire(one_of("", *(severity.value for severity in Severity)))
    provider_ref: NamedReference | None = wire(object_of(NamedReference), required=True)


SHORTEST_TIMEOUT = 2
"""A timeout of fewer characters than this counts as none, as in Flagger."""


def _hook_timeout(value: object, spot: Cursor) -> str:
    if isinstance(value, str) and len(value) < SHORTEST_TIMEOUT:
        return value
    found: str = WAIT.read(value, spot)
    return found


@frozen(kw_only=True)
class Webhook:
    """A hook; type "" is rollout. The URL may carry a token, so it is not printed."""

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


@frozen(kw_only=True)
class Analysis:
    """How the canary is judged. Weights and ready thresholds are percent."""

    interval: str = wire(WAIT)
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
    match: tuple[MatchCondition, ...] = wire(list_of(object_of(MatchCondition), bounds.CHECKS))
    metrics: tuple[Metric, ...] = wire(list_of(object_of(Metric), bounds.CHECKS))
    alerts: tuple[CanaryAlert, ...] = wire(list_of(object_of(CanaryAlert), bounds.CHECKS))
    webhooks: tuple[Webhook, ...] = wire(list_of(object_of(Webhook), bounds.CHECKS))
    session_affinity: SessionAffinity | None = wire(object_of(SessionAffinity))
    # ours
    no_data: str = wire(one_of(*(choice.value for choice in NoData)))
    min_samples: int | None = wire(COUNT)
    inconclusive: int | None = wire(COUNT)
    drain: str = wire(duration(zero=True, longest=bounds.WAIT))


# the resources ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class CanarySpec:
    """What the owner wants. `canary_analysis` is the deprecated name of `analysis`."""

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
    """What the three kinds have in common. `warnings` are what parsing noticed and did not refuse."""

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
    """A Canary. `status` stays as it was found; `status_from_dict` reads it."""

    spec: CanarySpec = wire(object_of(CanarySpec), required=True)
    status: Json | None = wire(section("status"))

    @property
    def analysis(self) -> Analysis | None:
        """The analysis, under its present name or the deprecated one."""
        return self.spec.analysis or self.spec.canary_analysis

    @property
    def analysis_path(self) -> str:
        """Where the analysis stands in the manifest."""
        return "spec.canaryAnalysis" if self.spec.canary_analysis and not self.spec.analysis else "spec.analysis"


@frozen(kw_only=True)
class MetricProvider:
    """Where a template's query goes. Headers often carry a credential, so they are not printed."""

    type: str = wire(TEXT, required=True)
    address: str = wire(TEXT, hidden=True)
    headers: tuple[tuple[str, tuple[str, ...]], ...] = wire(map_of(list_of(FREE)), hidden=True)
    secret_ref: SecretReference | None = wire(object_of(SecretReference))
    region: str = wire(TEXT)
    insecure_skip_verify: bool = wire(BOOLEAN)


@frozen(kw_only=True)
class MetricTemplateSpec:
    """A query in Go's template syntax and where to send it."""

    provider: MetricProvider = wire(object_of(MetricProvider), required=True)
    query: str = wire(FREE, required=True)


@frozen(kw_only=True)
class MetricTemplate(Resource):
    """A metric's query, shared by canaries."""

    spec: MetricTemplateSpec = wire(object_of(MetricTemplateSpec), required=True)
    status: Json | None = wire(section("status"))


@frozen(kw_only=True)
class AlertProviderSpec:
    """Where alerts go. The address is a secret in itself."""

    type: str = wire(TEXT, required=True)
    channel: str = wire(TEXT)
    username: str = wire(TEXT)
    address: str = wire(TEXT, hidden=True)
    proxy: str = wire(TEXT, hidden=True)
    secret_ref: SecretReference | None = wire(object_of(SecretReference))


@frozen(kw_only=True)
class AlertProvider(Resource):
    """A chat room or the like."""

    spec: AlertProviderSpec = wire(object_of(AlertProviderSpec), required=True)
    status: Json | None = wire(section("status"))


KINDS: dict[str, type[Canary | MetricTemplate | AlertProvider]] = {
    "Canary": Canary,
    "MetricTemplate": MetricTemplate,
    "AlertProvider": AlertProvider,
}
