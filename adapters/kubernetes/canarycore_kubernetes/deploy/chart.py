"""The values of the Helm chart: Flagger's, under their names, and our own.

    values_schema()    # values.schema.json: Helm refuses a value with another name or type
    refusals()         # values that the chart refuses, each with its replacement

A values file of Flagger's chart 1.44 works as it is. Each of its values has the same effect here, or the chart refuses
it and names the replacement. This table is the source of the schema, of the refusals and of the tables in the docs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime.mesh import Json

TEXT: Json = {"type": ["string", "null"]}
SCALAR: Json = {"type": ["string", "number", "boolean", "null"]}
"""A text that YAML may read as a number, such as a tag or a name."""
NUMBER: Json = {"anyOf": [{"type": ["number", "null"], "minimum": 0}, {"type": "string", "pattern": "^[0-9]*$"}]}
"""A number or its text, which may be empty."""
SWITCH: Json = {"type": ["boolean", "null"]}
TABLE: Json = {"type": ["object", "null"]}
LABELS: Json = {"type": ["object", "null"], "additionalProperties": SCALAR}
LIST: Json = {"type": ["array", "null"]}
TEXTS: Json = {"type": ["array", "null"], "items": {"type": "string"}}
ANYTHING: Json = {}


@frozen(kw_only=True)
class ChartValue:
    """A value of the chart."""

    path: str
    """The names on the way to the value, with dots between."""
    form: Json
    """The JSON schema of the value."""
    effect: str
    """The effect of the value, or the reason of its refusal."""
    replacement: str = ""
    """The remedy for somebody who sets the value; empty if the chart takes it."""
    refused: str = ""
    """A regular expression of the refused texts; empty for all texts except the empty one and `false`."""
    has_flagger: bool = True
    """Whether Flagger's chart 1.44 has the value."""

    @property
    def has_effect(self) -> bool:
        """Whether the value changes the release."""
        return self.effect != _WITHOUT_PROMETHEUS


def _ours(path: str, form: Json, effect: str) -> ChartValue:
    return ChartValue(path=path, form=form, effect=effect, has_flagger=False)


def _refused(path: str, replacement: str, effect: str) -> ChartValue:
    return ChartValue(path=path, form=ANYTHING, effect=effect, replacement=replacement)


def _misnamed(path: str, name: str) -> ChartValue:
    effect = "Flagger's chart ignores this name."
    return ChartValue(path=path, form=ANYTHING, effect=effect, replacement=f"set {name}", has_flagger=False)


def _taken(path: str, form: Json, effect: str) -> ChartValue:
    return ChartValue(path=path, form=form, effect=effect)


_WITHOUT_PROMETHEUS = "Nothing: it belongs to `prometheus.install`."

VALUES: tuple[ChartValue, ...] = (
    # Canaries
    _taken("meshProvider", TEXT, "`--mesh-provider`, and the rights for this provider. Default: `istio`."),
    _ours("providers", TEXTS, "Further providers whose routing objects the controller may write."),
    _taken("metricsServer", TEXT, "`--metrics-server`."),
    _taken("namespace", TEXT, "`--namespace`; the rights are those of this namespace only, and the Lease is there."),
    _taken("selectorLabels", TEXT, "`--selector-labels`."),
    _taken("includeLabelPrefix", TEXT, "`--include-label-prefix`."),
    _taken("configTracking.enabled", SWITCH, "`--no-enable-config-tracking` if `false`."),
    _taken("noCrossNamespaceRefs", SWITCH, "`--no-cross-namespace-refs`."),
    _ours("allowedHosts", TEXTS, "`--allowed-hosts`: hosts that Canaries may name."),
    _taken("ingressAnnotationsPrefix", TEXT, "`--ingress-annotations-prefix`."),
    _taken("ingressClass", TEXT, "`--ingress-class`."),
    _ours("admission", SWITCH, "Refuse a Canary that can never work when a user applies it."),
    # alerts
    _taken("clusterName", SCALAR, "`--cluster-name`."),
    _taken("slack.url", TEXT, "`SLACK_URL`, in a Secret of the release."),
    _taken("slack.proxyUrl", TEXT, "`SLACK_PROXY_URL`, in the Secret."),
    _refused("slack.proxy", "set slack.proxyUrl", "Flagger's values name it, and its chart never reads it."),
    _taken("slack.user", SCALAR, "`--slack-user`."),
    _taken("slack.channel", SCALAR, "`--slack-channel`."),
    _taken("msteams.url", TEXT, "`MSTEAMS_URL`, in the Secret."),
    _taken("msteams.proxyUrl", TEXT, "`MSTEAMS_PROXY_URL`, in the Secret."),
    _taken("eventWebhook", TEXT, "`EVENT_WEBHOOK_URL`, in the Secret."),
    # the process
    _taken("logLevel", {"enum": ["debug", "info", "warning", "warn", "error", "", None]}, "`--log-level`."),
    _taken("threadiness", NUMBER, "`--threadiness`."),
    _taken("kubeconfigQPS", NUMBER, "`--kubeconfig-qps`."),
    _taken("kubeconfigBurst", NUMBER, "`--kubeconfig-burst`."),
    _taken("controlplane.kubeconfig.secretName", TEXT, "`--kubeconfig-service-mesh`, with a volume of this Secret."),
    _taken("controlplane.kubeconfig.key", TEXT, "The file in that volume."),
    _taken("env", LIST, "Environment variables of the controller."),
    _ours("flags", TEXTS, "Further flags of the controller."),
    _taken("leaderElection.enabled", SWITCH, "`--enable-leader-election`; without it, one replica and no overlap."),
    _taken("leaderElection.replicaCount", NUMBER, "Replicas. Default: 2, or 1 without an election."),
    # the pod
    ChartValue(
        path="image.repository",
        form=TEXT,
        effect="The image. Only Flagger's own is refused.",
        replacement="give the repository with your image of canarycore, and leave out Flagger's tag",
        refused="(fluxcd|weaveworks)/flagger$",
    ),
    _taken("image.tag", SCALAR, "The tag of the image. Default: the chart's `appVersion`."),
    _ours("image.digest", TEXT, "The digest of the image, instead of a tag."),
    _taken("image.pullPolicy", TEXT, "The pull policy."),
    _taken("image.pullSecret", TEXT, "A pull secret."),
    _ours("imagePullSecrets", LIST, "Further pull secrets, as `{name: …}`."),
    _taken("annotations", LABELS, "Annotations of the Deployment."),
    _taken("deploymentLabels", LABELS, "Further labels of the Deployment."),
    _taken("podAnnotations", LABELS, "Annotations of the pods. The defaults are Flagger's."),
    _taken("podLabels", LABELS, "Further labels of the pods."),
    _taken("podPriorityClassName", TEXT, "The priority class of the pods."),
    _taken("securityContext.enabled", SWITCH, "Whether pod and container have a security context."),
    _taken("securityContext.context", TABLE, "Fields of the container's security context, over the chart's own."),
    _taken("resources", TABLE, "Requests and limits."),
    _taken("nodeSelector", TABLE, "Labels of the nodes."),
    _taken("tolerations", LIST, "Tolerated taints."),
    _taken("affinity", TABLE, "Affinity, rendered as a template. Default: spread over the nodes."),
    _taken("additionalVolumes", LIST, "Further volumes."),
    _taken("additionalVolumeMounts", LIST, "Further mounts of the container."),
    # objects of the release
    _taken("nameOverride", TEXT, "The label `app.kubernetes.io/name`, and the end of the objects' names."),
    _taken("fullnameOverride", TEXT, "The name of the objects. Default: the release, with the chart's name."),
    _taken("serviceAccount.create", SWITCH, "Whether to create the service account."),
    _taken("serviceAccount.name", TEXT, "The name of the service account."),
    _taken("serviceAccount.annotations", LABELS, "Annotations of the service account."),
    _taken("rbac.create", SWITCH, "Whether to create roles and bindings."),
    _refused(
        "rbac.pspEnabled",
        "label the namespace pod-security.kubernetes.io/enforce=restricted, which the pods comply with",
        "Kubernetes 1.25 removed PodSecurityPolicy.",
    ),
    _taken("crd.create", SWITCH, "Whether the release owns and upgrades the definitions; it never deletes them."),
    _taken("podDisruptionBudget.enabled", SWITCH, "A PodDisruptionBudget."),
    _taken("podDisruptionBudget.minAvailable", SCALAR, "Its `minAvailable`."),
    _taken("serviceMonitor.enabled", SWITCH, "A ServiceMonitor for the Prometheus operator."),
    _taken("serviceMonitor.namespace", TEXT, "Its namespace. Flagger's chart ignores the name given here."),
    _taken("serviceMonitor.labels", LABELS, "Its further labels."),
    _taken("serviceMonitor.honorLabels", SWITCH, "Its `honorLabels`."),
    _ours("serviceMonitor.interval", TEXT, "Its interval. Flagger's is 30s."),
    _taken("podMonitor.enabled", SWITCH, "A PodMonitor for the Prometheus operator."),
    _taken("podMonitor.namespace", TEXT, "Its namespace."),
    _taken("podMonitor.additionalLabels", LABELS, "Its further labels."),
    _taken("podMonitor.honorLabels", SWITCH, "Its `honorLabels`."),
    _taken("podMonitor.interval", TEXT, "Its interval."),
    _ours("prometheusRule.enabled", SWITCH, "A PrometheusRule with the alert rules. Monitors then honour labels."),
    _ours("prometheusRule.namespace", TEXT, "Its namespace."),
    _ours("prometheusRule.labels", LABELS, "Its further labels."),
    _ours("dashboards.enabled", SWITCH, "A ConfigMap with the Grafana dashboards. Monitors then honour labels."),
    _ours("dashboards.namespace", TEXT, "Its namespace."),
    _ours("dashboards.labels", LABELS, "Its further labels. The default is that of the sidecar of Grafana's chart."),
    _ours("dashboards.annotations", LABELS, "Its annotations, such as the sidecar's `grafana_folder`."),
    _taken("linkerdAuthPolicy.create", SWITCH, "An AuthorizationPolicy for the Prometheus of Linkerd."),
    _taken("linkerdAuthPolicy.namespace", TEXT, "The namespace of that Prometheus."),
    _ours("networkPolicy.enabled", SWITCH, "A NetworkPolicy that limits the controller's connections."),
    _ours("networkPolicy.apiServer", TEXTS, "Networks of the API server, for the NetworkPolicy."),
    _ours("networkPolicy.destinations", LIST, "Further allowed servers, for the NetworkPolicy."),
    _refused(
        "prometheus.install",
        "install Prometheus by a chart of its own, and give its address as metricsServer",
        "This chart brings no Prometheus.",
    ),
    _taken("prometheus.image", TEXT, _WITHOUT_PROMETHEUS),
    _taken("prometheus.pullSecret", TEXT, _WITHOUT_PROMETHEUS),
    _taken("prometheus.retention", TEXT, _WITHOUT_PROMETHEUS),
    _taken("prometheus.securityContext.enabled", SWITCH, _WITHOUT_PROMETHEUS),
    _taken("prometheus.securityContext.context", TABLE, _WITHOUT_PROMETHEUS),
    # names of other charts, which would have no effect
    _misnamed("priorityClassName", "podPriorityClassName"),
    _misnamed("replicaCount", "leaderElection.replicaCount"),
    _misnamed("watchedNamespace", "namespace"),
    _misnamed("extraVolumes", "additionalVolumes"),
    _misnamed("extraVolumeMounts", "additionalVolumeMounts"),
    _misnamed("extraEnv", "env"),
)


def values_schema() -> Json:
    """Return the JSON schema of the values: it refuses unknown names and wrong types."""
    root: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#", **_object_schema()}
    for value in VALUES:
        *tables, name = value.path.split(".")
        place = root
        for table in tables:
            place = place["properties"].setdefault(table, _object_schema())
        place["properties"][name] = value.form
    root["properties"]["global"] = ANYTHING  # Helm adds it below a parent chart
    return root


def _object_schema() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def refusals() -> list[dict[str, str]]:
    """Return the refused values for the chart's template: path, pattern of the refused texts, remedy."""
    return [
        {"path": value.path, "pattern": value.refused or ".", "remedy": value.replacement}
        for value in VALUES
        if value.replacement
    ]


def values_table(*, flagger_only: bool = False) -> str:
    """Return a table of the values in Markdown."""
    return "\n".join(["", "| Value | Effect |", "| --- | --- |", *_rows(flagger_only=flagger_only), "", ""])


def _rows(*, flagger_only: bool) -> Iterator[str]:
    for value in VALUES:
        if flagger_only and not value.has_flagger:
            continue
        remedy = f" Refused: {value.replacement}." if value.replacement else ""
        yield f"| `{value.path}` | {value.effect}{remedy} |"
