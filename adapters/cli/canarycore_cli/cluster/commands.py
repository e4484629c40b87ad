"""The commands on a cluster, and the options that they share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from canarycore_cli.cluster.go_flags import GoFlags
from canarycore_cli.console import BadInput, reports_errors, split_names

app = typer.Typer()

Namespace = Annotated[
    str,
    typer.Option("--namespace", "-n", metavar="NAME", help="Namespace on a cluster. Default: the context's namespace."),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Select all namespaces of the cluster.")]
Context = Annotated[str, typer.Option(metavar="NAME", help="Context of the kubeconfig. Default: the current one.")]
Kubeconfig = Annotated[
    str, typer.Option(metavar="FILE", help="Kubeconfig of the cluster. Default: $KUBECONFIG, ~/.kube/config.")
]
Provider = Annotated[str, typer.Option(metavar="NAME", help="Mesh provider of Canaries that name none.")]
NoCrossNamespaceRefs = Annotated[
    bool, typer.Option("--no-cross-namespace-refs", help="Refuse references to other namespaces.")
]
SharedGatewayNamespaces = Annotated[
    str, typer.Option(metavar="NAMES", help="Namespaces whose gateways every Canary may use nevertheless.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class WaitFor(Enum):
    """The values of `canarycore_cli.cluster.wait.WaitGoal`, without its import: `canary --help` stays fast."""

    PROMOTED = "promoted"
    FINISHED = "finished"


@app.command()
@reports_errors
def install(
    *,
    export: Annotated[bool, typer.Option("--export", help="Print YAML, and contact no cluster.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show each object's changes as a diff, and make none.")
    ] = False,
    skip_crds: Annotated[
        bool, typer.Option("--skip-crds", help="Leave the CustomResourceDefinitions as they are.")
    ] = False,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Mesh provider whose routes the controller may write; the first is the default. Repeatable. "
            "Initially: kubernetes.",
        ),
    ] = None,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Namespace of the controller. Default: that of the earlier installation; initially: canarycore.",
        ),
    ] = "",
    watched: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Single namespace that the controller watches and has rights in. Initially: all."
        ),
    ] = None,
    metrics_server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Prometheus server. Initially: http://prometheus.monitoring:9090."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Container image of the controller. Initially: canarycore:0.1.0."),
    ] = None,
    service_monitor: Annotated[
        bool | None,
        typer.Option(
            "--service-monitor/--no-service-monitor", help="Add a ServiceMonitor for the Prometheus operator."
        ),
    ] = None,
    network_policy: Annotated[
        bool | None,
        typer.Option(
            "--network-policy/--no-network-policy", help="Add a NetworkPolicy that limits the controller's connections."
        ),
    ] = None,
    api_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="With --network-policy: network of the API server. Initially: all. Repeatable."
        ),
    ] = None,
    destination: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMESPACE:PORT|CIDR:PORT",
            help="With --network-policy: further server that the controller may reach. Repeatable.",
        ),
    ] = None,
    flag: Annotated[
        list[str] | None, typer.Option(metavar="--NAME=VALUE", help="Further flag of the controller. Repeatable.")
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND/NAME",
            help="Installed plug-in, such as metric/acme, whose rights the controller gets; a mesh is a provider."
            " Repeatable.",
        ),
    ] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Install only an observer, which writes nothing, beside Flagger.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Install the controller on a cluster: definitions, rights, admission policy, Deployment and Service.

    The command creates missing objects and updates existing ones. It keeps the settings of an earlier installation,
    except those that you give, and removes the objects that these no longer need. An empty text ('') clears a list or a
    name.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.cluster.install import (
        InstallRequest,
        apply,
        parse_destinations,
        parse_networks,
        parse_plugins,
        parse_providers,
    )
    from canarycore_cli.cluster.install import export as run

    if export and dry_run:
        raise BadInput("found --export and --dry-run, expected one: --export contacts no cluster to compare with")
    changes = {
        "providers": parse_providers(provider) if provider else None,
        "plugins": None if plugin is None else parse_plugins(filter(None, plugin)),
        "watched": watched,
        "metrics_server": metrics_server,
        "image": image,
        "monitored": service_monitor,
        "isolated": network_policy,
        "api_server": None if api_server is None else parse_networks(filter(None, api_server)),
        "destinations": None if destination is None else parse_destinations(filter(None, destination)),
        "flags": None if flag is None else tuple(filter(None, flag)),
    }
    request = InstallRequest(
        changes={name: value for name, value in changes.items() if value is not None},
        namespace=namespace,
        observe=observe,
        skip_definitions=skip_crds,
        dry_run=dry_run,
    )
    if export:
        raise typer.Exit(run(request))
    raise typer.Exit(apply(request, ClusterOptions(context=context, kubeconfig=kubeconfig)))


@app.command()
@reports_errors
def get(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of Canaries. Default: all.")
    ] = None,
    *,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    selector: Annotated[
        str,
        typer.Option(
            "--selector", "-l", metavar="LABELS", help="Labels of the Canaries, such as team=shop,tier!=test."
        ),
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show changes too, until Ctrl-C.")] = False,
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Show the Canaries of a cluster: phase, weight or iteration, failed checks, age, pods, images, last event."""
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.cluster.get import get as run

    if names and selector:
        raise BadInput("canary get: found names and --selector, expected one of them")
    options = ClusterOptions(
        namespace=namespace,
        all_namespaces=all_namespaces,
        selector=selector,
        context=context,
        kubeconfig=kubeconfig,
        provider=provider,
    )
    raise typer.Exit(run(options, tuple(names or ()), watch=watch, as_json=as_json))


@app.command()
@reports_errors
def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Canary.")],
    *,
    namespace: Namespace = "",
    last: Annotated[int, typer.Option(min=1, help="Number of events.")] = 20,
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Show one Canary of a cluster: its state, the reason, the next step, and its events.

    This command computes the next step as the controller would, but queries no metric and calls no hook.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.cluster.describe import describe as run

    options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(options, name, last=last, as_json=as_json))


@app.command()
@reports_errors
def wait(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Canary.")],
    *,
    goal: Annotated[
        WaitFor,
        typer.Option("--for", help="promoted, or finished: promoted or rolled back."),
    ] = WaitFor.PROMOTED,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Longest wait, such as 30m.")] = "30m",
    namespace: Namespace = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Wait until a Canary has promoted the present revision of its target.

    Exit code 0: promoted, or finished with --for finished; 3: rolled back; 5: neither within the timeout; 2: there is
    no such Canary, or it is invalid; 1: no answer of the cluster. An earlier success does not count: the command
    compares the target's revision with the Canary's status. It writes nothing.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.cluster.wait import wait as run

    options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(options, name, goal=goal.value, timeout=timeout))


@app.command()
@reports_errors
def ui(
    *,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0: a free one.")] = 0,
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Serve a web page of the Canaries of a cluster on this machine, until Ctrl-C.

    The page shows phases, weights over time, checks, reasons and events. The printed address signs you in: then it also
    sends commands, with the rights of your kubeconfig. Without its key the page only reads.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.ui import serve

    options = ClusterOptions(
        namespace=namespace, all_namespaces=all_namespaces, context=context, kubeconfig=kubeconfig, provider=provider
    )
    raise typer.Exit(serve(options, port))


@app.command(cls=GoFlags)
@reports_errors
def controller(
    *,
    kubeconfig: Annotated[
        str, typer.Option(metavar="FILE", help="Kubeconfig. Default: the pod's service account, or the user's file.")
    ] = "",
    master: Annotated[str, typer.Option(metavar="URL", help="API server, instead of the kubeconfig's.")] = "",
    kubeconfig_qps: Annotated[float, typer.Option(min=0.1, help="Requests per second to the API server.")] = 2000.0,
    kubeconfig_burst: Annotated[int, typer.Option(min=1, help="Requests at once to the API server.")] = 2000,
    kubeconfig_service_mesh: Annotated[
        str, typer.Option(metavar="FILE", help="Kubeconfig of the cluster with the routing objects, if another.")
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Single namespace to watch. Default: all.")] = "",
    mesh_provider: Annotated[str, typer.Option(help="Mesh provider of Canaries that name none.")] = "istio",
    metrics_server: Annotated[str, typer.Option(metavar="URL", help="Prometheus server.")] = "http://prometheus:9090",
    selector_labels: Annotated[
        str, typer.Option(help="Labels that select a target's pods; the first that the target has counts.")
    ] = "app,name,app.kubernetes.io/name",
    include_label_prefix: Annotated[
        str, typer.Option(help="Prefixes of labels to copy to the primary; * copies all.")
    ] = "",
    enable_config_tracking: Annotated[
        bool, typer.Option(help="Count ConfigMaps and Secrets as part of a revision.")
    ] = True,
    no_cross_namespace_refs: NoCrossNamespaceRefs = False,
    shared_gateway_namespaces: SharedGatewayNamespaces = "",
    allowed_hosts: Annotated[
        str,
        typer.Option(
            metavar="HOSTS",
            help="Hosts that hooks, chats and metrics servers of Canaries may use, such as "
            "hooks.example.com,*.svc:8080. Default: all.",
        ),
    ] = "",
    ingress_annotations_prefix: Annotated[
        str, typer.Option(help="Prefix of NGINX's annotations.")
    ] = "nginx.ingress.kubernetes.io",
    ingress_class: Annotated[str, typer.Option(help="Ingress class of Contour's HTTPProxies.")] = "",
    slack_url: Annotated[str, typer.Option(metavar="URL", envvar="SLACK_URL", help="Slack webhook.")] = "",
    slack_token: Annotated[str, typer.Option(envvar="SLACK_TOKEN", help="Slack bot token.")] = "",
    slack_proxy_url: Annotated[
        str, typer.Option(metavar="URL", envvar="SLACK_PROXY_URL", help="Proxy for Slack.")
    ] = "",
    slack_user: Annotated[str, typer.Option(help="User name in Slack.")] = "flagger",
    slack_channel: Annotated[str, typer.Option(help="Slack channel.")] = "",
    msteams_url: Annotated[str, typer.Option(metavar="URL", envvar="MSTEAMS_URL", help="Teams webhook.")] = "",
    msteams_proxy_url: Annotated[
        str, typer.Option(metavar="URL", envvar="MSTEAMS_PROXY_URL", help="Proxy for Teams.")
    ] = "",
    event_webhook: Annotated[
        str, typer.Option(metavar="URL", envvar="EVENT_WEBHOOK_URL", help="Webhook that gets every event.")
    ] = "",
    cloud_events: Annotated[
        bool, typer.Option("--cloud-events", help="Make the calls of event webhooks CloudEvents 1.0, in binary mode.")
    ] = False,
    alert_link: Annotated[
        list[str] | None,
        typer.Option(metavar="TITLE=URL", help="Link in alerts, as a template with {{ .name }} and such. Repeatable."),
    ] = None,
    cluster_name: Annotated[str, typer.Option(help="Name of the cluster in alerts.")] = "",
    enable_leader_election: Annotated[
        bool, typer.Option("--enable-leader-election", help="Elect a leader, so that several replicas may run.")
    ] = False,
    leader_election_namespace: Annotated[str, typer.Option(help="Namespace of the Lease.")] = "kube-system",
    threadiness: Annotated[int, typer.Option(min=1, help="Concurrent rollouts.")] = 64,
    control_loop_interval: Annotated[
        str, typer.Option(help="Accepted for compatibility, and ignored: the controller reacts to changes at once.")
    ] = "10s",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_encoding: Annotated[str, typer.Option("--log-encoding", "--zap-encoding", help="json or console.")] = "json",
    log_format: Annotated[str, typer.Option(help="Keys of a log line: canarycore or flagger.")] = "canarycore",
    port: Annotated[int, typer.Option(min=0, help="Port of /healthz, /readyz and /metrics.")] = 8080,
    listen: Annotated[str, typer.Option(help="Address to listen on. Default: all addresses.")] = "",
    page_port: Annotated[int, typer.Option(min=0, help="Port of the web page; 0: no page.")] = 0,
    page_hosts: Annotated[
        str, typer.Option(metavar="NAMES", help="Names of the web page outside the cluster, such as an Ingress has.")
    ] = "",
    observe: Annotated[
        bool,
        typer.Option("--observe", help="Write nothing, and log each decision that differs from Flagger's."),
    ] = False,
) -> None:
    """Run the controller of a cluster's Canaries, in Flagger's place. Accepts Flagger's flags, with one dash or two.

    On SIGTERM or Ctrl-C the controller finishes its cycles under way and ends with exit code 0.
    """
    from canarycore.manifest import check_links
    from canarycore_cli.cluster.controller import run
    from canarycore_kubernetes.options import Options
    from canarycore_runtime.http import AllowedHosts

    if observe and page_port:
        raise BadInput("found --observe and --page-port, expected one: the observer serves no page, canary ui does")
    try:
        allowed = AllowedHosts.parse(allowed_hosts)
    except ValueError as error:
        raise BadInput(str(error)) from None
    try:
        links = check_links("\n".join(alert_link or ()))
    except ValueError as error:
        raise BadInput(f"--alert-link: {error}") from None
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
        cloud_events=cloud_events,
        alert_links=links,
        cluster_name=cluster_name,
        enable_leader_election=enable_leader_election,
        leader_election_namespace=leader_election_namespace,
        threadiness=threadiness,
        log_level=log_level,
        log_encoding=log_encoding,
        log_format=log_format,
        port=port,
        listen=listen,
        page_port=page_port,
        page_hosts=split_names(page_hosts),
    )
    del control_loop_interval
    raise typer.Exit(run(options, only_observe=observe))
