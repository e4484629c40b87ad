"""The commands of `canary` and their options. What a command does is in a module of its own, imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from canarycore_cli.console import OK, tells_errors

app = typer.Typer(
    name="canary",
    help="Progressive delivery: check a canary policy, simulate it, rehearse it with real traffic on this machine.",
    epilog="Exit codes: 0 fine or promoted, 1 trouble, 2 bad input, 3 rolled back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Manifest = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="File with the Canary (and its MetricTemplates); - is stdin.")
]
CanaryName = Annotated[str, typer.Option("--canary", metavar="NAME", help="Which Canary, if there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Gates = Annotated[
    list[str] | None, typer.Option("--gate", metavar="NAME=approve|deny", help="What a hook answers. Repeatable.")
]


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
        list[str], typer.Argument(metavar="FILE|DIR...", help="Files or folders (all YAML below them); - is stdin.")
    ],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what is wrong with Canary manifests, everything at once.

    Each problem comes with its file and line, what was found, what was expected, and what to do.
    Exit code 0 when there is no error, 2 otherwise.
    """
    from canarycore_cli.lint import lint as run

    raise typer.Exit(run(paths, strict=strict, as_json=as_json))


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
    jobs: Annotated[int, typer.Option(min=0, help="Processes to use for many runs; 0: one per core.")] = 1,
    canary: CanaryName = "",
    as_json: AsJson = False,
) -> None:
    """Tell what a policy would do, on simulated time.

    The policy itself decides, as it would in production; requests and their failures are drawn at random.
    """
    from canarycore_cli.manifests import rollout
    from canarycore_cli.simulate import Assumptions, show

    assumed = Assumptions(
        error_rate=error_rate,
        latency=latency,
        rps=rps,
        test_rps=test_rps,
        match_share=match_share,
        failures=failures or [],
        gates=gate or [],
    )
    show(rollout(manifest, canary), assumed, runs=runs, seed=seed, jobs=jobs, as_json=as_json)
