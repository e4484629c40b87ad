"""The commands of `canary` and their options. Each command imports its own module when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from attrs import frozen

from canarycore_cli.cluster import commands as cluster_commands
from canarycore_cli.cluster.commands import (
    AllNamespaces,
    AsJson,
    Context,
    Kubeconfig,
    Namespace,
    NoCrossNamespaceRefs,
    Provider,
    SharedGatewayNamespaces,
)
from canarycore_cli.cluster.go_flags import GoFlags
from canarycore_cli.console import OK, BadInput, SafeGroup, reports_errors, split_names
from canarycore_cli.migration import commands as migration_commands
from canarycore_cli.revisions import commands as revision_commands

app = typer.Typer(
    name="canary",
    cls=SafeGroup,
    help="Progressive delivery: check a canary policy, simulate it, rehearse it with real traffic on this machine.",
    epilog="Exit codes: 0 success or promotion, 1 trouble, 2 bad input, 3 rollback, 4 broken invariant, 5 timeout.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="File with the Canary and its templates; - is stdin.")
]
CanaryName = Annotated[
    str, typer.Option("--canary", metavar="NAME", help="Name of the Canary, if the file has several.")
]
Gates = Annotated[
    list[str] | None, typer.Option("--gate", metavar="NAME=approve|deny", help="Answer of a hook. Repeatable.")
]
Name = Annotated[str, typer.Argument(metavar="[NAME]", help="NAME or NAMESPACE/NAME, if there are several.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Only write the command, and wait for no answer.")]
StateDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the rehearsal's state. Default: a folder in the user's cache."),
]


class EngineName(Enum):
    """The values of `canarycore.policy.Engine`, without its import: `canary --help` stays fast."""

    AUTO = "auto"
    CORE = "core"
    VECTOR = "vector"
    EXACT = "exact"


class Format(Enum):
    """The formats that `canary convert` writes."""

    CANARY = "canary"
    ARGO = "argo"


class Hooks(Enum):
    """The answers to webhooks."""

    LOCAL = "local"
    LIVE = "live"
    PASS = "pass"  # noqa: S105 - no password


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"canary {version('canarycore-cli')}")
        except PackageNotFoundError:
            typer.echo("canary (not installed, run from its sources)")
        raise typer.Exit(OK)


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


@app.command()
@reports_errors
def lint(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE|DIR]...", help="Files, or folders with all YAML files below them; - is stdin."),
    ] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Ignore the problems of a rule. Repeatable. A comment does it at one line."),
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Check the Canaries on a cluster, and the parts that the cluster lacks for them."
        ),
    ] = False,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    account: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="With --cluster: service account of the controller.")
    ] = "canarycore/canarycore",
    no_cross_namespace_refs: NoCrossNamespaceRefs = False,
    shared_gateway_namespaces: SharedGatewayNamespaces = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Check Canary manifests, and print all problems.

    Each problem has its file and line, the value found, the value expected, and the remedy. With --cluster the command
    checks the Canaries of a cluster instead, and reports missing targets, templates, alert providers, kinds and rights
    too. In a folder only the manifests count that name flagger.app. The comment `# canary-lint: ignore RULE` silences a
    rule at its line, or at the next one. Exit code 0: no errors, 2: errors.
    """
    if cluster is bool(paths):
        raise BadInput("canary lint: expected either files or --cluster")
    shared = split_names(shared_gateway_namespaces) if no_cross_namespace_refs else None
    if cluster:
        from canarycore_cli.cluster.connect import ClusterOptions
        from canarycore_cli.cluster.lint import lint as check

        options = ClusterOptions(
            namespace=namespace,
            all_namespaces=all_namespaces,
            context=context,
            kubeconfig=kubeconfig,
            provider=provider,
        )
        raise typer.Exit(check(options, account, strict=strict, as_json=as_json, shared_gateways=shared))
    from canarycore_cli.manifests.lint import lint as run

    ignored = tuple(ignore or ())
    raise typer.Exit(
        run(
            paths or (),
            provider=provider,
            strict=strict,
            as_json=as_json,
            shared_gateways=shared,
            ignored=ignored,
        )
    )


@app.command()
@reports_errors
def plugins(*, as_json: AsJson = False) -> None:
    """List the installed plug-ins: kind, name, distribution, version, and the source of each.

    A plug-in is a mesh, a metric provider, a notifier, a hook, a workload, a router or a store. The list includes those
    of canarycore. Exit code 0: each plug-in of another author can be used, 1: one of them cannot.
    """
    from canarycore_cli.console import TROUBLE, out, print_json, print_plugins
    from canarycore_runtime.plugins import list_plugins

    found = list_plugins()
    if as_json:
        print_json({"plugins": [plugin.to_json() for plugin in found]})
    else:
        print_plugins(found, out())
    raise typer.Exit(TROUBLE if any(plugin.problem for plugin in found) else OK)


@app.command()
@reports_errors
def simulate(
    manifest: Manifest,
    *,
    error_rate: Annotated[
        str, typer.Option(metavar="OLD,NEW", help="Fraction of failing requests of each version, such as 0.1%,2%.")
    ] = "0,0",
    latency: Annotated[
        str, typer.Option(metavar="OLD,NEW", help="P99 response time of each version in ms. Default: in range.")
    ] = "",
    rps: Annotated[float, typer.Option(min=0, help="Requests of users per second.")] = 100.0,
    runs: Annotated[
        int, typer.Option(min=1, help="Number of runs: 1 prints an event log, more print probabilities.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the random draws; the same seed gives the same result.")] = 0,
    failures: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FRACTION", help="How often a check or hook fails by chance. Repeatable."),
    ] = None,
    gate: Gates = None,
    match_share: Annotated[
        str, typer.Option(metavar="FRACTION", help="Fraction of requests that match an A/B test or a step.")
    ] = "10%",
    test_rps: Annotated[
        float | None,
        typer.Option(
            min=0, help="Load test requests per second to the canary. Default: 20 if it gets no other traffic."
        ),
    ] = None,
    ready_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Seconds until pods of the new version are ready.")
    ] = 0.0,
    pod_rps: Annotated[
        float | None,
        typer.Option(min=0, help="Requests per second that one pod takes; more are lost. Default: any number."),
    ] = None,
    pods: Annotated[
        str, typer.Option(metavar="PRIMARY,CANARY", help="With --pod-rps: number of pods of each side at its start.")
    ] = "",
    primary_autoscaler: Annotated[
        str,
        typer.Option(metavar="MIN,MAX,TARGET", help="With --pod-rps: the primary's autoscaler, such as 2,20,60%."),
    ] = "",
    canary_autoscaler: Annotated[
        str, typer.Option(metavar="MIN,MAX,TARGET", help="With --pod-rps: the canary's autoscaler.")
    ] = "",
    scale_interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds between two decisions of an autoscaler.")
    ] = 15.0,
    scale_down_delay: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds for which an autoscaler keeps pods that it needs no more.")
    ] = 300.0,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Engine for many runs. core: the controller's own code; vector: NumPy arrays; exact: no random draws."
        ),
    ] = EngineName.AUTO,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.html|png", help="Draw the rollout over time into a file.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes for many runs of the core engine; 0: one per CPU.")] = 1,
    canary: CanaryName = "",
    as_json: AsJson = False,
) -> None:
    """Simulate a policy: one rollout on simulated time, or the probabilities of many.

    The code of the controller decides, as in production; requests and their failures are random.
    """
    from canarycore.policy import Engine
    from canarycore_cli.manifests.read import read_rollout
    from canarycore_cli.simulate import Assumptions, PodOptions, SimulationOptions, show

    assumptions = Assumptions(
        error_rate=error_rate,
        latency=latency,
        rps=rps,
        test_rps=test_rps,
        match_share=match_share,
        failures=failures or [],
        gates=gate or [],
        ready_after=ready_after,
        pods=PodOptions(
            pod_rps=pod_rps,
            pods=pods,
            primary_autoscaler=primary_autoscaler,
            canary_autoscaler=canary_autoscaler,
            scale_interval=scale_interval,
            scale_down_delay=scale_down_delay,
        ),
    )
    options = SimulationOptions(
        runs=runs, seed=seed, jobs=jobs, engine=Engine(engine.value), plot=plot, as_json=as_json
    )
    show(read_rollout(manifest, canary), assumptions, options)


@app.command()
@reports_errors
def verify(
    manifest: Annotated[str, typer.Argument(metavar="[MANIFEST]", help="File with the Canary; - is stdin.")] = "",
    *,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="Without a manifest: the only strategy to verify.")
    ] = "",
    situation: Annotated[
        str, typer.Option(metavar="NAME", help="Without a manifest: the only situation to verify.")
    ] = "",
    faults: Annotated[int, typer.Option(min=0, max=3, help="Greatest number of faults in one schedule.")] = 1,
    promise: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py", help="Python file with promises of your own about the manifest. The command runs it."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Fault (Crash), action of others (SendCommand) or situation (gates) to leave out. Repeatable.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per CPU.")] = 0,
    canary: CanaryName = "",
    as_json: AsJson = False,
) -> None:
    """Verify a policy: explore every fault at every step, and print the broken invariants.

    The faults are crashes, conflicts, timeouts, stale caches, a second leader, clock jumps, and changes that others
    make to the cluster. Without a manifest the command verifies every strategy in every situation. It prints the
    shortest schedule of each violation as a Python program. With --promise it also checks the objects of
    canarycore.simulation.Promise in a Python file, in the canarycore.policy.Scenario of that file. It runs the file as
    Python code with your rights, so name only files that you trust. Exit code 0: no violation, 1: broken promises, 4:
    broken invariants.
    """
    from canarycore_cli.verify import run

    rollout = None
    if manifest:
        from canarycore_cli.manifests.read import read_rollout

        rollout = read_rollout(manifest, canary)
    code = run(
        rollout,
        strategy=strategy,
        situation=situation,
        faults=faults,
        jobs=jobs,
        as_json=as_json,
        promise_file=promise,
        without=without or (),
    )
    raise typer.Exit(code)


@app.command()
@reports_errors
def convert(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILE|DIR...", help="Files with Argo's Rollouts and AnalysisTemplates; - is stdin."),
    ],
    *,
    to: Annotated[
        Format, typer.Option(metavar="canary|argo", help="Format of the result; argo converts Canaries into Rollouts.")
    ] = Format.CANARY,
    as_json: AsJson = False,
) -> None:
    """Convert Argo's Rollouts into Deployments, Canaries and MetricTemplates, or back.

    The documents go to stdout. All parts without an equivalent go to stderr, each with its place and the remedy. With
    --to argo, only a Canary that loses nothing becomes a Rollout. Exit code 1: a Canary stays as it is.
    """
    from canarycore_cli.manifests.convert import convert as convert_paths
    from canarycore_cli.manifests.convert import convert_back

    write = convert_paths if to is Format.CANARY else convert_back
    raise typer.Exit(write(paths, as_json=as_json))


@app.command()
@reports_errors
def rehearse(
    manifest: Annotated[str, typer.Argument(metavar="[MANIFEST]", help="File with the Canary; - is stdin.")] = "",
    *,
    new: Annotated[
        str,
        typer.Option(
            metavar="FAULTS", help="Faults of the new version, such as errors=5%,latency=300ms,jitter=50ms,start=crash."
        ),
    ] = "",
    old: Annotated[str, typer.Option(metavar="FAULTS", help="Faults of the old version.")] = "",
    new_cmd: Annotated[
        str, typer.Option(metavar="COMMAND", help="Command that runs the new version; it listens on $PORT.")
    ] = "",
    old_cmd: Annotated[str, typer.Option(metavar="COMMAND", help="Command that runs the old version.")] = "",
    then: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULTS", help="Faults of one more version after the new one; 'healthy': no faults. Repeatable."
        ),
    ] = None,
    rps: Annotated[float, typer.Option(min=0.1, help="Requests of users per second.")] = 100.0,
    path: Annotated[str, typer.Option(metavar="PATH", help="Path that users request.")] = "/",
    match_share: Annotated[
        str, typer.Option(metavar="FRACTION", help="Fraction of requests that match an A/B test or a step.")
    ] = "10%",
    speed: Annotated[float, typer.Option(min=0.1, help="Divisor of intervals, windows and deadlines.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 0,
    hooks: Annotated[
        Hooks,
        typer.Option(
            help="local: this machine answers gates and runs load tests; live: call the hooks; pass: all pass."
        ),
    ] = Hooks.LOCAL,
    gate: Gates = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Value of one of your own metrics. Repeatable.")
    ] = None,
    metrics_server: Annotated[str, typer.Option(metavar="URL", help="Prometheus server with your own metrics.")] = "",
    canary: CanaryName = "",
    state_dir: StateDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a rehearsal whose process was killed.")] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Serve a web page of the rehearsal, and print its address.")
    ] = False,
    plane: Annotated[
        str,
        typer.Option(
            metavar="contour|skipper",
            help="Run the controller and a real ingress controller of this name, without a cluster, in place of Envoy.",
        ),
    ] = "",
    build: Annotated[
        bool, typer.Option("--build", help="With --plane: build its programs once, which needs Go and takes minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rehearse a policy on this machine: a real Envoy, two versions of a service, real requests.

    The command starts the old version, then rolls out the new one as the manifest says. Without commands for the
    versions it runs a small built-in service, with faults on demand. With --plane the manifest's routing objects are
    tried on the real controller and data plane, at the speed of the manifest. Ctrl-C ends everything. Exit code 0:
    promoted, 3: rolled back.
    """
    from canarycore_cli.rehearsal.rehearse import RehearsalOptions, run

    if build and not plane:
        raise BadInput("--build: found no --plane, expected the data plane whose programs to build")
    options = RehearsalOptions(
        manifest=manifest,
        canary=canary,
        old=old,
        new=new,
        old_command=old_cmd,
        new_command=new_cmd,
        then=then or [],
        rps=rps,
        path=path,
        match_share=match_share,
        speed=speed,
        seed=seed,
        hooks=hooks.value,
        gates=gate or [],
        metrics=metric or [],
        metrics_server=metrics_server,
        state_dir=state_dir,
        resume=resume,
        as_json=as_json,
        has_page=page,
    )
    if plane:
        from canarycore_cli.rehearsal import planes

        raise typer.Exit(planes.run(plane, options, is_built=build))
    raise typer.Exit(run(options))


ON_CLUSTER = "on a cluster"
"""The object of an invocation whose commands are about a cluster without an option that names one."""


@frozen
class _Place:
    """The place of a rollout: a cluster if an option names one or the invocation is about one, else this machine."""

    invocation: typer.Context
    name: str
    state_dir: Path | None
    namespace: str
    context: str
    kubeconfig: str

    @property
    def is_cluster(self) -> bool:
        """Whether the rollout is on a cluster."""
        named = (self.namespace, self.context, self.kubeconfig)
        return any(named) or (self.invocation.obj == ON_CLUSTER and self.state_dir is None)

    def send(self, kind: str, weight: int = 0, *, is_awaited: bool) -> None:
        """Send a command to the rollout."""
        if not self.is_cluster:
            from canarycore_cli.rehearsal.operator import send_command

            send_command(kind, self.name, self.state_dir, weight, is_awaited=is_awaited)
            return
        from canarycore_cli.cluster.connect import ClusterOptions
        from canarycore_cli.cluster.operator import send_command as annotate

        if not self.name:
            raise BadInput(f"canary {kind} on a cluster: found no NAME, expected the name of a Canary")
        options = ClusterOptions(namespace=self.namespace, context=self.context, kubeconfig=self.kubeconfig)
        annotate(kind, self.name, options, weight, is_awaited=is_awaited)


_PLACES = (
    "With -n, --context or --kubeconfig, and as kubectl canary: a Canary on a cluster. Otherwise: a rehearsal on this "
    "machine. The command waits for at most 10 seconds until the rollout has handled it. Exit code 1: the rollout "
    "refused it, with the reason, or has not handled it in time."
)


def _add_command(name: str, summary: str) -> None:
    """Add a command to a running rehearsal, or to a Canary on a cluster."""

    def send_command(
        invocation: typer.Context,
        name_: Name = "",
        *,
        no_wait: NoWait = False,
        state_dir: StateDir = None,
        namespace: Namespace = "",
        context: Context = "",
        kubeconfig: Kubeconfig = "",
    ) -> None:
        place = _Place(invocation, name_, state_dir, namespace, context, kubeconfig)
        place.send(name, is_awaited=not no_wait)

    send_command.__doc__ = f"""{summary}

    {_PLACES}
    """
    app.command(name)(reports_errors(send_command))


for _name, _summary in (
    ("promote", "Promote the new version now."),
    ("abort", "Roll the new version back now."),
    ("pause", "Pause a rollout at its present weight."),
    ("resume", "Resume a paused rollout."),
    ("approve", "Approve the step of a rollout that waits for it."),
    ("retry", "Retry the revision that was rolled back."),
):
    _add_command(_name, _summary)


@app.command("skip-to", help=f"Send this percentage of requests to the new version now.\n\n{_PLACES}")
@reports_errors
def skip_to(
    invocation: typer.Context,
    weight: Annotated[
        int, typer.Argument(min=1, max=100, metavar="WEIGHT", help="Percent of requests to the new version.")
    ],
    name: Name = "",
    *,
    no_wait: NoWait = False,
    state_dir: StateDir = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Send a weight to the rollout."""
    place = _Place(invocation, name, state_dir, namespace, context, kubeconfig)
    place.send("skip-to", weight, is_awaited=not no_wait)


@app.command()
@reports_errors
def status(name: Name = "", *, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show the running rehearsals: phase, weight, failed checks."""
    from canarycore_cli.rehearsal.operator import status as run

    run(name, state_dir, as_json=as_json)


@app.command()
@reports_errors
def explain(
    invocation: typer.Context,
    name: Name = "",
    *,
    last: Annotated[int, typer.Option(min=1, help="Number of decisions of a rehearsal.")] = 10,
    state_dir: StateDir = None,
    namespace: Namespace = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Show the last decisions of a rehearsal, running or not, and their reasons.

    With -n, --context or --kubeconfig, and as kubectl canary: the last analysis of a Canary on a cluster, and why its
    last rollout ended. The status keeps both when the events are gone.
    """
    if _Place(invocation, name, state_dir, namespace, context, kubeconfig).is_cluster:
        from canarycore_cli.cluster.connect import ClusterOptions
        from canarycore_cli.cluster.explain import explain as show

        if not name:
            raise BadInput("canary explain on a cluster: found no NAME, expected the name of a Canary")
        options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
        raise typer.Exit(show(options, name))
    from canarycore_cli.rehearsal.operator import explain as run

    run(name, state_dir, last)


@app.command(cls=GoFlags)
@reports_errors
def loadtester(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 9090,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on; empty for all.")] = "127.0.0.1",
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Time that a task may take, such as 30m.")] = "1h",
    namespace_regexp: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="Pattern for the namespaces of Canaries, such as ^test$. Default: all."),
    ] = "",
    allowed_commands: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Programs that tasks may run, and the delegates ngrinder and concord; * allows every shell text. "
            "+NAMES adds to the default: hey, wrk, ghz, curl, ngrinder, and small programs such as grep.",
        ),
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="File with the bearer token of requests. Default: no token.",
        ),
    ] = None,
    state_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the open gates. Default: in the user's state folder.")
    ] = None,
    api_key_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Folder with the API keys of tasks for Concord."
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Tasks that run at once, of each sort.")] = 16,
    queue: Annotated[int, typer.Option(min=0, max=10_000, help="Tasks that wait for their turn, of each sort.")] = 64,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_encoding: Annotated[str, typer.Option("--log-encoding", "--zap-encoding", help="json or console.")] = "json",
) -> None:
    """Serve load tests, acceptance tests and gates for webhooks, in place of Flagger's load tester.

    The endpoints and the flags are Flagger's; one dash or two. Where hey, wrk or ghz is missing, a built-in generator
    runs its command lines. On SIGTERM or Ctrl-C running tasks are killed, and the open gates stay open.
    """
    from canarycore_cli.loadtester import default_state_file, parse_commands, parse_namespaces, parse_timeout, run
    from canarycore_loadtester.options import LoadtesterOptions

    try:
        options = LoadtesterOptions(
            port=port,
            listen=listen,
            timeout=parse_timeout(timeout),
            namespaces=parse_namespaces(namespace_regexp),
            allowed_commands=parse_commands(allowed_commands),
            token_file=token_file,
            state_file=state_file or default_state_file(),
            api_key_folder=api_key_folder,
            concurrency=concurrency,
            queue=queue,
        )
    except ValueError as error:
        raise BadInput(str(error)) from None
    raise typer.Exit(run(options, log_level=log_level, log_encoding=log_encoding))


app.add_typer(cluster_commands.app)
app.add_typer(migration_commands.app)
app.add_typer(revision_commands.app)


def run_kubectl_plugin() -> None:
    """Run the command line as `kubectl canary`: kubectl runs the program `kubectl-canary` from the PATH.

    All its commands are about a cluster: `kubectl canary abort podinfo` is about the namespace of the current context,
    as other commands of kubectl are. With --state-dir a command is about a rehearsal.
    """
    app(prog_name="kubectl canary", obj=ON_CLUSTER)
