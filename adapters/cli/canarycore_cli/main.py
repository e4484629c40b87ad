"""The commands of `canary` and their options. What a command does is in a module of its own, imported when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from canarycore_cli.cluster import commands as on_cluster
from canarycore_cli.cluster.commands import (
    AsJson,
    Context,
    Everywhere,
    Kubeconfig,
    Namespace,
    NoCrossNamespaceRefs,
    Provider,
    SharedGatewayNamespaces,
)
from canarycore_cli.console import OK, BadInput, SafeGroup, split_names, tells_errors
from canarycore_cli.engines import Engine

app = typer.Typer(
    name="canary",
    cls=SafeGroup,
    help="Progressive delivery: check a canary policy, simulate it, rehearse it with real traffic on this machine.",
    epilog="Exit codes: 0 fine or promoted, 1 trouble, 2 bad input, 3 rolled back, 4 a promise is broken.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="File with the Canary (and its MetricTemplates); - is stdin.")
]
CanaryName = Annotated[str, typer.Option("--canary", metavar="NAME", help="Which Canary, if there are several.")]
Gates = Annotated[
    list[str] | None, typer.Option("--gate", metavar="NAME=approve|deny", help="What a hook answers. Repeatable.")
]
Name = Annotated[str, typer.Argument(metavar="[NAME]", help="Which one, if there are several: NAME or NAMESPACE/NAME.")]
StateDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the rehearsal's state. Default: one in the user's cache.")
]


class Hooks(Enum):
    """Who answers webhooks."""

    LOCAL = "local"
    LIVE = "live"
    PASS = "pass"  # noqa: S105 - no password


def _version(wanted: bool) -> None:
    if wanted:
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


@app.command()
@tells_errors
def lint(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE|DIR]...", help="Files or folders (all YAML below them); - is stdin."),
    ] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="The Canaries on a cluster, and what they need there.")
    ] = False,
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    account: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="On a cluster: the controller's service account.")
    ] = "canarycore/canarycore",
    no_cross_namespace_refs: NoCrossNamespaceRefs = False,
    shared_gateway_namespaces: SharedGatewayNamespaces = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Tell what is wrong with Canary manifests, everything at once.

    Each problem comes with its file and line, what was found, what was expected, and what to do. With --cluster the
    Canaries that live there are looked at, and whether their targets, templates, alert providers, kinds and rights are
    there too. Exit code 0 when there is no error, 2 otherwise.
    """
    if cluster is bool(paths):
        raise BadInput("canary lint: expected either files or --cluster")
    shared = split_names(shared_gateway_namespaces) if no_cross_namespace_refs else None
    if cluster:
        from canarycore_cli.cluster.connect import Where
        from canarycore_cli.cluster.lint import lint as look

        where = Where(
            namespace=namespace, everywhere=everywhere, context=context, kubeconfig=kubeconfig, provider=provider
        )
        raise typer.Exit(look(where, account, strict=strict, as_json=as_json, shared_gateways=shared))
    from canarycore_cli.lint import lint as run

    raise typer.Exit(run(paths or (), provider=provider, strict=strict, as_json=as_json, shared_gateways=shared))


@app.command()
@tells_errors
def simulate(
    manifest: Manifest,
    *,
    error_rate: Annotated[
        str, typer.Option(metavar="OLD,NEW", help="Share of failing requests of both versions, such as 0.1%,2%.")
    ] = "0,0",
    latency: Annotated[
        str, typer.Option(metavar="OLD,NEW", help="P99 response time of both versions in ms. Default: in range.")
    ] = "",
    rps: Annotated[float, typer.Option(min=0, help="Requests of users per second.")] = 100.0,
    runs: Annotated[int, typer.Option(min=1, help="1 prints one run's event log, more print probabilities.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 0,
    failures: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="How often a check or hook fails by chance. Repeatable."),
    ] = None,
    gate: Gates = None,
    match_share: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of requests that meet an A/B test's conditions.")
    ] = "10%",
    test_rps: Annotated[
        float | None,
        typer.Option(min=0, help="Load test requests per second to the canary. Default: 20 if it gets nothing else."),
    ] = None,
    ready_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Until pods of the new version are ready.")
    ] = 0.0,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Of many runs. core: the policy itself decides each; vector: arrays; exact: no draws at all."
        ),
    ] = Engine.AUTO,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.html|png", help="Draw what happens over time, and what would if.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes for many runs of the core; 0: one per core.")] = 1,
    canary: CanaryName = "",
    as_json: AsJson = False,
) -> None:
    """Tell what a policy would do, on simulated time.

    The policy itself decides, as it would in production; requests and their failures are drawn at random.
    """
    from canarycore_cli.manifests import rollout
    from canarycore_cli.simulate import Assumptions, EngineChoice, show

    assumed = Assumptions(
        error_rate=error_rate,
        latency=latency,
        rps=rps,
        test_rps=test_rps,
        match_share=match_share,
        failures=failures or [],
        gates=gate or [],
        ready_after=ready_after,
    )
    how = EngineChoice(runs=runs, seed=seed, jobs=jobs, engine=engine, plot=plot, as_json=as_json)
    show(rollout(manifest, canary), assumed, how)


@app.command()
@tells_errors
def verify(
    manifest: Annotated[str, typer.Argument(metavar="[MANIFEST]", help="File with the Canary; - is stdin.")] = "",
    *,
    strategy: Annotated[str, typer.Option(metavar="NAME", help="Without a manifest: this strategy only.")] = "",
    situation: Annotated[str, typer.Option(metavar="NAME", help="Without a manifest: this situation only.")] = "",
    faults: Annotated[int, typer.Option(min=0, max=3, help="How many things go wrong, at most.")] = 1,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    canary: CanaryName = "",
    as_json: AsJson = False,
) -> None:
    """Let everything go wrong at every step of a policy, and tell whether a promise is broken.

    Explores all that can happen: crashes, conflicts, timeouts, stale caches, a second leader, clocks that jump, and
    what others do to the cluster. Without a manifest: every strategy in every situation. Each violation comes with its
    shortest schedule, as a Python program. Exit code 0: no violation, 4: violations.
    """
    from canarycore_cli.verify import run

    rollout = None
    if manifest:
        from canarycore_cli.manifests import rollout as read

        rollout = read(manifest, canary)
    raise typer.Exit(run(rollout, strategy=strategy, situation=situation, faults=faults, jobs=jobs, as_json=as_json))


@app.command()
@tells_errors
def rehearse(
    manifest: Annotated[str, typer.Argument(metavar="[MANIFEST]", help="File with the Canary; - is stdin.")] = "",
    *,
    new: Annotated[
        str,
        typer.Option(metavar="FAULTS", help="The new version, as errors=5%,latency=300ms,jitter=50ms,start=crash."),
    ] = "",
    old: Annotated[str, typer.Option(metavar="FAULTS", help="The old version.")] = "",
    new_cmd: Annotated[
        str, typer.Option(metavar="COMMAND", help="Run this as the new version; it listens on $PORT.")
    ] = "",
    old_cmd: Annotated[str, typer.Option(metavar="COMMAND", help="Run this as the old version.")] = "",
    then: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULTS", help="One more version after it; 'healthy': no faults. Repeatable."),
    ] = None,
    rps: Annotated[float, typer.Option(min=0.1, help="Requests of users per second.")] = 100.0,
    path: Annotated[str, typer.Option(metavar="PATH", help="What users request.")] = "/",
    match_share: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of requests that meet an A/B test's conditions.")
    ] = "10%",
    speed: Annotated[float, typer.Option(min=0.1, help="Divides intervals, windows and deadlines.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = 0,
    hooks: Annotated[
        Hooks, typer.Option(help="local: this machine plays load tests and gates; live: call them; pass: all pass.")
    ] = Hooks.LOCAL,
    gate: Gates = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="The value of a metric of your own. Repeatable.")
    ] = None,
    metrics_server: Annotated[str, typer.Option(metavar="URL", help="Prometheus to ask for metrics of your own.")] = "",
    canary: CanaryName = "",
    state_dir: StateDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a rehearsal whose process was killed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Carry a policy out on this machine: a real Envoy, two versions of a service, real requests.

    Starts the old version, then rolls the new one out as the manifest says. Without commands for the versions a small
    built-in service is used, with faults on demand. Ctrl-C ends everything. Exit code 0: promoted, 3: rolled back.
    """
    from canarycore_cli.rehearsal.rehearse import RehearsalOptions, run

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
    )
    raise typer.Exit(run(options))


def _give(
    kind: str, name: str, state_dir: Path | None, namespace: str, context: str, kubeconfig: str, weight: int = 0
) -> None:
    """Give a command to a Canary on a cluster, if an option says which, or else to a rehearsal on this machine."""
    if not (namespace or context or kubeconfig):
        from canarycore_cli.rehearsal.operator import send_command

        send_command(kind, name, state_dir, weight)
        return
    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.operator import send_command as annotate

    if not name:
        raise BadInput(f"canary {kind} on a cluster: found no NAME, expected which Canary")
    annotate(kind, name, Where(namespace=namespace, context=context, kubeconfig=kubeconfig), weight)


def _command(name: str, about: str) -> None:
    """Add a command that a running rehearsal, or a Canary on a cluster, is given."""

    def send_command(
        name_: Name = "",
        *,
        state_dir: StateDir = None,
        namespace: Namespace = "",
        context: Context = "",
        kubeconfig: Kubeconfig = "",
    ) -> None:
        _give(name, name_, state_dir, namespace, context, kubeconfig)

    send_command.__doc__ = f"""{about}

    With -n, --context or --kubeconfig: of a Canary on a cluster; without: of a rehearsal on this machine.
    """
    app.command(name)(tells_errors(send_command))


for _name, _about in (
    ("promote", "Promote the new version now."),
    ("abort", "Roll the new version back now."),
    ("pause", "Hold a rollout where it is."),
    ("resume", "Let a paused rollout go on."),
    ("retry", "Try the revision again that was rejected."),
):
    _command(_name, _about)


@app.command("skip-to")
@tells_errors
def skip_to(
    weight: Annotated[int, typer.Argument(min=1, max=100, metavar="WEIGHT", help="Percent of requests.")],
    name: Name = "",
    *,
    state_dir: StateDir = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Send this share of requests to the new version at once.

    With -n, --context or --kubeconfig: of a Canary on a cluster; without: of a rehearsal on this machine.
    """
    _give("skip-to", name, state_dir, namespace, context, kubeconfig, weight)


@app.command()
@tells_errors
def status(name: Name = "", *, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Tell how the running rehearsals stand."""
    from canarycore_cli.rehearsal.operator import status as run

    run(name, state_dir, as_json=as_json)


@app.command()
@tells_errors
def explain(
    name: Name = "",
    *,
    last: Annotated[int, typer.Option(min=1, help="How many decisions.")] = 10,
    state_dir: StateDir = None,
) -> None:
    """Tell the last decisions of a rehearsal, running or not, and why."""
    from canarycore_cli.rehearsal.operator import explain as run

    run(name, state_dir, last)


app.add_typer(on_cluster.app)
