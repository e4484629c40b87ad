"""The commands that are about a cluster, and the options that they share."""

from __future__ import annotations

from typing import Annotated

import typer

from canarycore_cli.cluster.go_flags import GoFlags
from canarycore_cli.console import BadInput, split_names, tells_errors

app = typer.Typer()

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="On a cluster: the namespace. Default: the context's.")
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")]
Context = Annotated[str, typer.Option(metavar="NAME", help="On a cluster: the kubeconfig's context.")]
Kubeconfig = Annotated[
    str, typer.Option(metavar="FILE", help="On a cluster: the kubeconfig. Default: $KUBECONFIG, ~/.kube/config.")
]
Provider = Annotated[str, typer.Option(metavar="NAME", help="Of Canaries that name none, as for the controller.")]
NoCrossNamespaceRefs = Annotated[
    bool, typer.Option("--no-cross-namespace-refs", help="Refuse references to other namespaces.")
]
SharedGatewayNamespaces = Annotated[
    str, typer.Option(metavar="NAMES", help="Namespaces whose gateways every Canary may use nevertheless.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
@tells_errors
def install(
    *,
    export: Annotated[bool, typer.Option("--export", help="Print YAML, and touch no cluster.")] = False,
    provider: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Whose routes may be written; the first is the default. Repeatable."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Where the controller runs.")
    ] = "canarycore",
    watched: Annotated[
        str, typer.Option(metavar="NAME", help="The only namespace with Canaries: its rights end there. Default: all.")
    ] = "",
    metrics_server: Annotated[str, typer.Option(metavar="URL", help="Prometheus.")] = (
        "http://prometheus.monitoring:9090"
    ),
    image: Annotated[str, typer.Option(metavar="IMAGE", help="Of the controller.")] = "canarycore:0.1.0",
    service_monitor: Annotated[
        bool, typer.Option("--service-monitor", help="With a ServiceMonitor for the Prometheus operator.")
    ] = False,
    network_policy: Annotated[
        bool, typer.Option("--network-policy", help="With a NetworkPolicy: what the controller may talk to.")
    ] = False,
    api_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="With --network-policy: where the API server is. Default: anywhere. Repeatable."
        ),
    ] = None,
    destination: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMESPACE:PORT|CIDR:PORT", help="With --network-policy: a further server to reach. Repeatable."
        ),
    ] = None,
    flag: Annotated[
        list[str] | None, typer.Option(metavar="--NAME=VALUE", help="A further flag of the controller. Repeatable.")
    ] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Only an observer, which may write nothing, beside who is at work.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Put the controller on a cluster: definitions, rights, admission policy, Deployment and Service.

    What is there already is brought up to date; everything else is left alone.
    """
    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.install import apply, known, parse_destinations, parse_networks
    from canarycore_cli.cluster.install import export as run
    from canarycore_kubernetes.deploy.objects import InstallOptions

    wanted = InstallOptions(
        namespace=namespace,
        providers=known(provider or ["kubernetes"]),
        watched=watched,
        monitored=service_monitor,
        flags=tuple(flag or ()),
        metrics_server=metrics_server,
        image=image,
        observe=observe,
        isolated=network_policy,
        api_server=parse_networks(api_server),
        destinations=parse_destinations(destination or ()),
    )
    if export:
        raise typer.Exit(run(wanted))
    raise typer.Exit(apply(wanted, Where(context=context, kubeconfig=kubeconfig)))


@app.command()
@tells_errors
def get(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Which Canary. Default: all.")] = "",
    *,
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show what changes, until Ctrl-C.")] = False,
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Tell how the Canaries of a cluster stand: phase, weight, failed checks, pods, and what was told last."""
    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.get import get as run

    where = Where(namespace=namespace, everywhere=everywhere, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(where, name, watch=watch, as_json=as_json))


@app.command()
@tells_errors
def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which Canary.")],
    *,
    namespace: Namespace = "",
    last: Annotated[int, typer.Option(min=1, help="How many events.")] = 20,
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Tell where one Canary of a cluster stands, why, what comes next, and what was told.

    What comes next is decided here, as the controller would; no metric is asked for and no hook is called.
    """
    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.describe import describe as run

    where = Where(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(where, name, last=last, as_json=as_json))


@app.command(cls=GoFlags)
@tells_errors
def controller(
    *,
    kubeconfig: Annotated[str, typer.Option(metavar="FILE", help="Default: the pod's service account, or yours.")] = "",
    master: Annotated[str, typer.Option(metavar="URL", help="The API server, in place of the kubeconfig's.")] = "",
    kubeconfig_qps: Annotated[float, typer.Option(min=0.1, help="Requests per second.")] = 2000.0,
    kubeconfig_burst: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 2000,
    kubeconfig_service_mesh: Annotated[
        str, typer.Option(metavar="FILE", help="Of the cluster that the routing objects are in, if it is another.")
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The only one to look at. Default: all.")] = "",
    mesh_provider: Annotated[str, typer.Option(help="Of canaries that name none.")] = "istio",
    metrics_server: Annotated[str, typer.Option(metavar="URL", help="Prometheus.")] = "http://prometheus:9090",
    selector_labels: Annotated[
        str, typer.Option(help="Labels by which pods are found, the first that a target has.")
    ] = "app,name,app.kubernetes.io/name",
    include_label_prefix: Annotated[
        str, typer.Option(help="Prefixes of labels that the primary gets too; * for all.")
    ] = "",
    enable_config_tracking: Annotated[bool, typer.Option(help="ConfigMaps and Secrets are part of a revision.")] = True,
    no_cross_namespace_refs: NoCrossNamespaceRefs = False,
    shared_gateway_namespaces: SharedGatewayNamespaces = "",
    allowed_hosts: Annotated[
        str,
        typer.Option(
            metavar="HOSTS",
            help="Hosts that hooks, chats and metric servers of Canaries may be at, as hooks.example.com,*.svc:8080. "
            "Default: all.",
        ),
    ] = "",
    ingress_annotations_prefix: Annotated[str, typer.Option(help="Of NGINX.")] = "nginx.ingress.kubernetes.io",
    ingress_class: Annotated[str, typer.Option(help="Of Contour's HTTPProxies.")] = "",
    slack_url: Annotated[str, typer.Option(metavar="URL", envvar="SLACK_URL", help="Slack webhook.")] = "",
    slack_token: Annotated[str, typer.Option(envvar="SLACK_TOKEN", help="Slack bot token.")] = "",
    slack_proxy_url: Annotated[str, typer.Option(metavar="URL", envvar="SLACK_PROXY_URL", help="Way to Slack.")] = "",
    slack_user: Annotated[str, typer.Option(help="Name in Slack.")] = "flagger",
    slack_channel: Annotated[str, typer.Option(help="Slack channel.")] = "",
    msteams_url: Annotated[str, typer.Option(metavar="URL", envvar="MSTEAMS_URL", help="Teams webhook.")] = "",
    msteams_proxy_url: Annotated[
        str, typer.Option(metavar="URL", envvar="MSTEAMS_PROXY_URL", help="Way to Teams.")
    ] = "",
    event_webhook: Annotated[
        str, typer.Option(metavar="URL", envvar="EVENT_WEBHOOK_URL", help="Is told every event.")
    ] = "",
    cluster_name: Annotated[str, typer.Option(help="Told in alerts.")] = "",
    enable_leader_election: Annotated[
        bool, typer.Option("--enable-leader-election", help="Several replicas may run; one decides.")
    ] = False,
    leader_election_namespace: Annotated[str, typer.Option(help="Where the Lease is.")] = "kube-system",
    threadiness: Annotated[int, typer.Option(min=1, help="Rollouts looked at at once.")] = 64,
    control_loop_interval: Annotated[
        str, typer.Option(help="Taken and not needed: changes are heard of at once, waits end when they are due.")
    ] = "10s",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_encoding: Annotated[str, typer.Option("--log-encoding", "--zap-encoding", help="json or console.")] = "json",
    port: Annotated[int, typer.Option(min=0, help="Of /healthz, /readyz and /metrics.")] = 8080,
    listen: Annotated[str, typer.Option(help="Address to listen on; in a pod all.")] = "",
    observe: Annotated[
        bool, typer.Option("--observe", help="Write nothing: tell where we would do otherwise than who is at work.")
    ] = False,
) -> None:
    """Run the Canaries of a cluster, in Flagger's place. Takes Flagger's flags, with one dash or two.

    Ends when it is told to (SIGTERM, Ctrl-C), once what is under way has ended. Exit code 0.
    """
    from canarycore_cli.cluster.controller import run
    from canarycore_kubernetes.options import Options
    from canarycore_runtime.http import AllowedHosts

    try:
        allowed = AllowedHosts.parse(allowed_hosts)
    except ValueError as error:
        raise BadInput(str(error)) from None
    options = Options(
        kubeconfig=kubeconfig,
        master=master,
        kubeconfig_qps=kubeconfig_qps,
        kubeconfig_burst=kubeconfig_burst,
        kubeconfig_service_mesh=kubeconfig_service_mesh,
        namespace=namespace,
        mesh_provider=mesh_provider,
        metrics_server=metrics_server,
        selector_labels=split_names(selector_labels),
        include_label_prefix=split_names(include_label_prefix),
        enable_config_tracking=enable_config_tracking,
        no_cross_namespace_refs=no_cross_namespace_refs,
        shared_gateway_namespaces=split_names(shared_gateway_namespaces),
        allowed_hosts=allowed,
        ingress_annotations_prefix=ingress_annotations_prefix,
        ingress_class=ingress_class,
        slack_url=slack_url,
        slack_token=slack_token,
        slack_proxy_url=slack_proxy_url,
        slack_user=slack_user,
        slack_channel=slack_channel,
        msteams_url=msteams_url,
        msteams_proxy_url=msteams_proxy_url,
        event_webhook=event_webhook,
        cluster_name=cluster_name,
        enable_leader_election=enable_leader_election,
        leader_election_namespace=leader_election_namespace,
        threadiness=threadiness,
        log_level=log_level,
        log_encoding=log_encoding,
        port=port,
        listen=listen,
    )
    del control_loop_interval
    raise typer.Exit(run(options, only_observe=observe))
