"""The commands about the revisions of a target."""

from __future__ import annotations

from typing import Annotated

import typer

from canarycore_cli.cluster.commands import AsJson, Context, Kubeconfig, Namespace, Provider
from canarycore_cli.console import reports_errors

app = typer.Typer()


@app.command()
@reports_errors
def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Canary.")],
    *,
    namespace: Namespace = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    as_json: AsJson = False,
) -> None:
    """Show the revisions of a Canary's target: images, time, and whether each is running, was promoted or rejected.

    Kubernetes keeps as many as revisionHistoryLimit of the target says. The command writes nothing.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.revisions.history import history as run

    options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(options, name, as_json=as_json))


@app.command()
@reports_errors
def undo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the Canary.")],
    *,
    to: Annotated[
        str,
        typer.Option(metavar="REVISION", help="Revision to return to. Default: the one promoted before the present."),
    ] = "",
    namespace: Namespace = "",
    provider: Provider = "istio",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Return the target of a Canary to an earlier promoted revision, by its pod template.

    The rollout that follows is an ordinary one. Exit code 1: the revision was once rejected, is unknown, or is not kept
    by Kubernetes; then nothing is written. canary history shows the revisions.
    """
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.revisions.history import undo as run

    options = ClusterOptions(namespace=namespace, context=context, kubeconfig=kubeconfig, provider=provider)
    raise typer.Exit(run(options, name, to))
