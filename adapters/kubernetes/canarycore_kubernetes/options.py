"""Options of the controller: Flagger's flags with their names and defaults, and a few more."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, in_

from canarycore.manifest import LinkTemplate
from canarycore_kubernetes.telemetry.logs import FORMATS, LEVELS
from canarycore_runtime.http import AllowedHosts

ENCODINGS = ("json", "console")
"""Encodings of the log."""


@frozen(kw_only=True)
class Options:
    """The options of the controller. Options with a URL or a token contain secrets, so `repr` leaves them out.

    The names and meanings are Flagger's, except for `listen`, `page_port`, `page_hosts`, `cloud_events`, `alert_links`,
    `shared_gateway_namespaces`, `allowed_hosts`, `log_format` and `identity`, which Flagger does not have.
    """

    kubeconfig: str = ""
    """The kubeconfig file of the cluster; empty for the cluster that this process runs in."""
    master: str = ""
    """The address of the API server, instead of the one in the kubeconfig."""
    kubeconfig_qps: float = field(default=2000.0, validator=ge(0))
    """Requests per second. Flagger's 100 would delay rollouts from the 334th on."""
    kubeconfig_burst: int = field(default=2000, validator=ge(1))
    """Requests at once. Flagger has 250."""
    kubeconfig_service_mesh: str = ""
    """The kubeconfig file of the cluster with the routing objects, if it is another one."""
    namespace: str = ""
    """The only namespace that the controller observes; empty for all."""
    mesh_provider: str = "istio"
    """The mesh provider of Canaries that name none."""
    metrics_server: str = "http://prometheus:9090"
    """The address of Prometheus for the built-in metrics."""
    threadiness: int = field(default=64, validator=ge(1))
    """Rollouts that the controller handles at once."""
    log_level: str = field(default="info", validator=in_(LEVELS))
    """The lowest level in the log: debug, info, warning or error."""
    log_encoding: str = field(default="json", validator=in_(ENCODINGS))
    """The encoding of the log: json or console."""
    log_format: str = field(default="canarycore", validator=in_(FORMATS))
    """The keys of a log line: canarycore, or flagger for those of Flagger's log."""
    port: int = field(default=8080, validator=ge(0))
    """The port of /healthz, /readyz and /metrics; 0 for a free one."""
    page_port: int = field(default=0, validator=ge(0))
    """The port of the web page; 0 for no page."""
    page_hosts: tuple[str, ...] = ()
    """Names under which viewers reach the web page, besides names of the cluster, such as that of an Ingress."""
    listen: str = ""
    """The address to listen on; empty for all, because probes and Prometheus connect from outside."""
    selector_labels: tuple[str, ...] = ("app", "name", "app.kubernetes.io/name")
    """Labels that may select the target's pods; the first one in use gets another value for the primary."""
    include_label_prefix: tuple[str, ...] = ()
    """Prefixes of labels that the controller copies to the primary; `*` matches all."""
    ingress_annotations_prefix: str = "nginx.ingress.kubernetes.io"
    """Prefix of the annotations of the NGINX ingress controller."""
    ingress_class: str = ""
    """The class of Ingresses that the controller creates; empty keeps the class of the original."""
    enable_config_tracking: bool = True
    """Whether ConfigMaps and Secrets belong to a revision."""
    no_cross_namespace_refs: bool = False
    """Whether to refuse references to other namespaces."""
    shared_gateway_namespaces: tuple[str, ...] = ()
    """Namespaces whose gateways every Canary may use, despite `no_cross_namespace_refs`."""
    allowed_hosts: AllowedHosts = AllowedHosts()
    """Hosts that Canaries, MetricTemplates and AlertProviders may name; empty for all. Hosts in other options need no
    permission."""
    slack_url: str = field(default="", repr=False)
    """The webhook of Slack for alerts of Canaries without alerts of their own."""
    slack_token: str = field(default="", repr=False)
    """The token of the Slack API."""
    slack_proxy_url: str = field(default="", repr=False)
    """The proxy for Slack."""
    slack_user: str = "flagger"
    """The name under which alerts appear in Slack."""
    slack_channel: str = ""
    """The channel for alerts in Slack."""
    msteams_url: str = field(default="", repr=False)
    """The webhook of Microsoft Teams for alerts of Canaries without alerts of their own."""
    msteams_proxy_url: str = field(default="", repr=False)
    """The proxy for Microsoft Teams."""
    event_webhook: str = field(default="", repr=False)
    """The address that receives every event."""
    cloud_events: bool = False
    """Whether webhooks get events as CloudEvents 1.0 in the binary mode."""
    alert_links: tuple[LinkTemplate, ...] = ()
    """Links of alerts whose AlertProvider names none."""
    cluster_name: str = ""
    """The name of the cluster in alerts, and in the source of CloudEvents."""
    enable_leader_election: bool = False
    """Whether several replicas may run, of which one leads."""
    leader_election_namespace: str = "kube-system"
    """The namespace of the Lease, unless `namespace` is set."""
    identity: str = ""
    """This replica's name in the Lease; empty for the host name."""
