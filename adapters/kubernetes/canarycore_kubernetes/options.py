"""How the controller is set up: Flagger's flags, with their names, defaults and environment variables, and ours."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, in_

from canarycore_kubernetes.telemetry.logs import LEVELS
from canarycore_runtime.http import AllowedHosts

ENCODINGS = ("json", "console")


@frozen(kw_only=True)
class Options:
    """The controller's options; those with a URL or a token hold secrets and are not printed.

    Flagger's: kubeconfig, master: where the cluster is (empty: the one that this process runs in).
    kubeconfig_service_mesh: where the routing objects are, if that is another cluster. kubeconfig_qps,
    kubeconfig_burst: requests per second, and at once; Flagger's 100 and 250 would hold up rollouts from the 334th on.
    namespace: the only one that is looked at (empty: all). mesh_provider: of canaries that name none. metrics_server:
    Prometheus, for the built-in metrics. port: of /healthz, /readyz and /metrics. selector_labels: which label tells
    the primary's pods. include_label_prefix: labels that the primary gets too. enable_config_tracking: ConfigMaps and
    Secrets belong to a revision. no_cross_namespace_refs: refuse references to other namespaces. slack_*, msteams_*:
    who hears alerts of canaries without alerts of their own. event_webhook: gets every event. cluster_name: told in
    alerts. enable_leader_election: several replicas may run.

    Ours: allowed_hosts: the servers that Canaries, MetricTemplates and AlertProviders may name (empty: all); what the
    other options name needs no permission. listen: the address to listen on (empty: all, as probes and Prometheus come
    from outside). identity: this replica's name in the lease. shared_gateway_namespaces: those whose gateways every
    Canary may use although references to other namespaces are refused.
    """

    kubeconfig: str = ""
    master: str = ""
    kubeconfig_qps: float = field(default=2000.0, validator=ge(0))
    kubeconfig_burst: int = field(default=2000, validator=ge(1))
    kubeconfig_service_mesh: str = ""
    namespace: str = ""
    mesh_provider: str = "istio"
    metrics_server: str = "http://prometheus:9090"
    threadiness: int = field(default=64, validator=ge(1))
    log_level: str = field(default="info", validator=in_(LEVELS))
    log_encoding: str = field(default="json", validator=in_(ENCODINGS))
    port: int = field(default=8080, validator=ge(0))
    listen: str = ""
    selector_labels: tuple[str, ...] = ("app", "name", "app.kubernetes.io/name")
    include_label_prefix: tuple[str, ...] = ()
    ingress_annotations_prefix: str = "nginx.ingress.kubernetes.io"
    ingress_class: str = ""
    enable_config_tracking: bool = True
    no_cross_namespace_refs: bool = False
    shared_gateway_namespaces: tuple[str, ...] = ()
    allowed_hosts: AllowedHosts = AllowedHosts()
    slack_url: str = field(default="", repr=False)
    slack_token: str = field(default="", repr=False)
    slack_proxy_url: str = field(default="", repr=False)
    slack_user: str = "flagger"
    slack_channel: str = ""
    msteams_url: str = field(default="", repr=False)
    msteams_proxy_url: str = field(default="", repr=False)
    event_webhook: str = field(default="", repr=False)
    cluster_name: str = ""
    enable_leader_election: bool = False
    leader_election_namespace: str = "kube-system"
    identity: str = ""
