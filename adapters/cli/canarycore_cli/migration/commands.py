"""The command that migrates from Flagger and back."""

from __future__ import annotations

from typing import Annotated

import typer

from canarycore_cli.cluster.commands import AsJson, Context, Kubeconfig, Provider
from canarycore_cli.console import BadInput, reports_errors

app = typer.Typer()


@app.command()
@reports_errors
def migrate(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="File with Flagger's Deployment; - is stdin. Default: the cluster.")
    ] = "",
    *,
    values: Annotated[
        str, typer.Option(metavar="FILE", help="File with the values of Flagger's chart, instead of its Deployment.")
    ] = "",
    back: Annotated[
        bool,
        typer.Option("--back", help="Before a hand-back: return each rejected target to its promoted revision."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --back: write without a question.")] = False,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Namespace of Flagger; with --back of the Canaries. Default: all."
        ),
    ] = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Plan the takeover from an installed Flagger, or prepare the hand-back to it.

    The command reads Flagger's Deployment on a cluster or in a file, or the values of its chart. It prints the
    equivalent arguments of canary install and values of our chart, the differences, the refused settings with their
    replacements, the steps, and the way back. It writes nothing, and prints no address or token of a chat.

    With --back it gives the target of each Failed Canary the promoted revision again, from the primary: Flagger would
    analyse the rejected revision again, with requests of users. It shows each change first, asks on a terminal, and
    writes nothing elsewhere without --yes.

    Exit code 0: everything has an equivalent, or every target can be or was returned; 1: something is refused, or a
    rollout is under way; 2: no Flagger, or unreadable input.
    """
    from canarycore_cli.cluster.connect import ClusterOptions

    options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    if sum(map(bool, (file, values, back))) > 1:
        raise BadInput("canary migrate: expected one of FILE, --values and --back")
    if yes and not back:
        raise BadInput("found --yes without --back: the takeover is only planned, and writes nothing")
    if back:
        from canarycore_cli.migration.hand_back import hand_back

        raise typer.Exit(hand_back(options, yes=yes, as_json=as_json))
    from canarycore_cli.migration.takeover import migrate as run

    raise typer.Exit(run(options, deployment=file, values=values, as_json=as_json))
