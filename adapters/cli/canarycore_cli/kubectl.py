"""The plug-in of kubectl: `kubectl canary` is `canary`, and all its commands are about a cluster.

kubectl runs the program `kubectl-canary` from the PATH. `kubectl canary abort podinfo` is then about the namespace of
the current context, as other commands of kubectl are. With --state-dir a command is about a rehearsal.
"""

from __future__ import annotations

from canarycore_cli.main import ON_CLUSTER, app


def main() -> None:
    """Run the command line as the plug-in."""
    app(prog_name="kubectl canary", obj=ON_CLUSTER)
