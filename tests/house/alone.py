"""A check of a distribution that is installed alone: `python alone.py DISTRIBUTION`, by the Python that has it.

The distribution must work, and features that need another one must name it. This program imports only the standard
library, because nothing else is sure to be installed. The nox session `wheel` runs it.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    "canarycore",
    "canarycore_runtime",
    "canarycore_metrics",
    "canarycore_hooks",
    "canarycore_mesh",
    "canarycore_notifiers",
    "canarycore_loadtester",
    "canarycore_kubernetes",
    "canarycore_local",
    "canarycore_planes",
    "canarycore_cli",
)
NEEDS = {
    "canarycore": {"canarycore"},
    "canarycore_runtime": {"canarycore", "canarycore_runtime"},
    "canarycore_metrics": {"canarycore", "canarycore_runtime", "canarycore_metrics"},
    "canarycore_hooks": {"canarycore", "canarycore_runtime", "canarycore_hooks"},
    "canarycore_mesh": {"canarycore", "canarycore_runtime", "canarycore_mesh"},
    "canarycore_notifiers": {"canarycore", "canarycore_runtime", "canarycore_notifiers"},
    "canarycore_loadtester": {"canarycore", "canarycore_runtime", "canarycore_loadtester"},
    "canarycore_kubernetes": {"canarycore", "canarycore_runtime", "canarycore_kubernetes"},
    "canarycore_local": {"canarycore", "canarycore_runtime", "canarycore_local"},
    "canarycore_planes": {"canarycore", "canarycore_planes"},
    "canarycore_cli": {"canarycore", "canarycore_runtime", "canarycore_cli"},
}
"""The packages of canarycore that come with each package."""

CANARY = Path(__file__).parents[2] / "examples" / "manifests" / "flagger-appmesh-guide" / "canary.yaml"


def core() -> None:
    """Check that the core decides, and that YAML and Hypothesis are extras."""
    cc = import_module("canarycore")
    rollout = cc.Rollout(name="shop", target=cc.TargetRef(name="shop"), ladder=cc.Ladder(step=50))
    decision = cc.decide(rollout, cc.Status(), cc.Inputs(cc.Observation(now=0.0)))
    assert decision.status.phase is cc.Phase.INITIALIZING
    assert "canarycore[yaml]" in error_of("from canarycore.manifest import load; load([('a', 'kind: Canary')])")
    assert "canarycore[testing]" in error_of("import canarycore.testing.strategies")
    assert "canarycore[simulation]" in error_of("import canarycore.policy.vector")


def runtime() -> None:
    """Check that errors name the distribution of a missing adapter, and the extra of `exchange`."""
    assert "canarycore-runtime[http]" in error_of("import canarycore_runtime.http")
    assert "canarycore-local" in error_of("from canarycore_runtime import load; load('routers', 'local')")


def metrics() -> None:
    """Check that the registry finds Prometheus, and that credentials of clouds are extras."""
    import_module("canarycore_runtime").load("metrics", "prometheus")
    for cloud in ("cloudwatch", "stackdriver"):
        missing = error_of(f"from canarycore_runtime import load; load('metrics', '{cloud}')")
        assert f"canarycore-metrics[{cloud}]" in missing, missing


def hooks() -> None:
    """Check that the registry finds the webhook client."""
    import_module("canarycore_runtime").load("hooks", "http")


def mesh() -> None:
    """Check that the meshes import no module that does I/O."""
    import_module("canarycore_mesh")
    assert "aiohttp" not in sys.modules


def notifiers() -> None:
    """Check that the registry finds Slack."""
    import_module("canarycore_runtime").load("notifiers", "slack")


def loadtester() -> None:
    """Check that the generator runs without HTTP/2, and names the extra for it."""
    generator = [sys.executable, "-m", "canarycore_loadtester.generator"]
    plain = subprocess.run([*generator, "hey", "-n", "1", "http://127.0.0.1:1/"], capture_output=True, text=True)
    assert plain.returncode == 0, plain
    call = subprocess.run([*generator, "ghz", "-n", "1", "--insecure", "127.0.0.1:1"], capture_output=True, text=True)
    assert "canarycore-loadtester[http2]" in call.stderr, call


def kubernetes() -> None:
    """Check that the error without a cluster names the remedy."""
    kubeconfig = "import asyncio; from canarycore_kubernetes.api.client import connect\n"
    kubeconfig += "async def main():\n    async with connect('nowhere'): pass\nasyncio.run(main())"
    assert "Give a kubeconfig" in error_of(kubeconfig)


def local() -> None:
    """Check that the registry finds the router."""
    import_module("canarycore_runtime").load("routers", "local")


def planes() -> None:
    """Check that a bench names the programs that this machine lacks."""
    program = "from canarycore_planes.go_programs import on_path; on_path('contour', 'build it')"
    assert "contour: found none on the PATH; build it" in error_of(program)


def cli() -> None:
    """Check that the command lints and simulates, and that a rehearsal names the missing distribution."""
    assert command("lint", str(CANARY)).returncode == 0
    assert command("simulate", str(CANARY)).returncode == 0
    rehearsal = command("rehearse", str(CANARY))
    assert rehearsal.returncode == 2, rehearsal
    assert "canarycore-local" in rehearsal.stderr


CHECKS = dict(
    zip(
        PACKAGES,
        (core, runtime, metrics, hooks, mesh, notifiers, loadtester, kubernetes, local, planes, cli),
        strict=True,
    )
)


def error_of(program: str) -> str:
    """Run a program that must fail; return its error output."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode != 0, program
    return result.stderr


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `canary` to its end."""
    return subprocess.run([sys.executable, "-m", "canarycore_cli", *arguments], capture_output=True, text=True)


def main(distribution: str) -> None:
    """Check the distribution. Raise AssertionError if a check fails."""
    package = distribution.replace("-", "_")
    installed = {name for name in PACKAGES if find_spec(name) is not None}
    assert installed == NEEDS[package], f"found {installed}, expected {NEEDS[package]}"
    CHECKS[package]()
    print(f"{distribution} works alone")


if __name__ == "__main__":
    main(sys.argv[1])
