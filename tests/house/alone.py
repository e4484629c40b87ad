"""What a distribution does when it is installed alone: `python alone.py DISTRIBUTION`, by the Python that has it.

It works, and what it could do with more says what to install. Only the standard library is imported here, for nothing
else is sure to be there. The nox session `wheel` runs it.
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
    "canarycore_kubernetes",
    "canarycore_local",
    "canarycore_cli",
)
NEEDS = {
    "canarycore": {"canarycore"},
    "canarycore_runtime": {"canarycore", "canarycore_runtime"},
    "canarycore_metrics": {"canarycore", "canarycore_runtime", "canarycore_metrics"},
    "canarycore_hooks": {"canarycore", "canarycore_runtime", "canarycore_hooks"},
    "canarycore_mesh": {"canarycore", "canarycore_runtime", "canarycore_mesh"},
    "canarycore_notifiers": {"canarycore", "canarycore_runtime", "canarycore_notifiers"},
    "canarycore_kubernetes": {"canarycore", "canarycore_runtime", "canarycore_kubernetes"},
    "canarycore_local": {"canarycore", "canarycore_runtime", "canarycore_local"},
    "canarycore_cli": {"canarycore", "canarycore_runtime", "canarycore_cli"},
}
"""Which of our packages are there when one was installed."""

CANARY = Path(__file__).parents[2] / "examples" / "manifests" / "flagger-appmesh-guide" / "canary.yaml"


def core() -> None:
    """Decides; YAML and Hypothesis are extras."""
    cc = import_module("canarycore")
    rollout = cc.Rollout(name="shop", target=cc.TargetRef(name="shop"), ladder=cc.Ladder(step=50))
    decision = cc.decide(rollout, cc.Status(), cc.Known(cc.World(now=0.0)))
    assert decision.explanation.rule is cc.Rule.DETECTED
    assert "canarycore[yaml]" in complaint("from canarycore.manifest import load; load([('a', 'kind: Canary')])")
    assert "canarycore[testing]" in complaint("import canarycore.testing.strategies")
    assert "canarycore[simulation]" in complaint("import canarycore.policy.vector")


def runtime() -> None:
    """Names the distribution of an adapter that is not there, and the extra that exchanges need."""
    assert "canarycore-runtime[http]" in complaint("import canarycore_runtime.http")
    assert "canarycore-local" in complaint("from canarycore_runtime import load; load('routers', 'local')")


def metrics() -> None:
    """Is found by its name; clouds' credentials are extras."""
    import_module("canarycore_runtime").load("metrics", "prometheus")
    for cloud in ("cloudwatch", "stackdriver"):
        missing = complaint(f"from canarycore_runtime import load; load('metrics', '{cloud}')")
        assert f"canarycore-metrics[{cloud}]" in missing, missing


def hooks() -> None:
    """Is found by its name."""
    import_module("canarycore_runtime").load("hooks", "http")


def mesh() -> None:
    """Is imported without what does I/O."""
    import_module("canarycore_mesh")
    assert "aiohttp" not in sys.modules


def notifiers() -> None:
    """Is found by its name."""
    import_module("canarycore_runtime").load("notifiers", "slack")


def kubernetes() -> None:
    """Says what it needs where there is no cluster."""
    kubeconfig = "import asyncio; from canarycore_kubernetes.api.client import connect\n"
    kubeconfig += "async def main():\n    async with connect('nowhere'): pass\nasyncio.run(main())"
    assert "Give a kubeconfig" in complaint(kubeconfig)


def local() -> None:
    """Is found by its name."""
    import_module("canarycore_runtime").load("routers", "local")


def cli() -> None:
    """Lints and simulates; a rehearsal says what it needs."""
    assert command("lint", str(CANARY)).returncode == 0
    assert command("simulate", str(CANARY)).returncode == 0
    rehearsal = command("rehearse", str(CANARY))
    assert rehearsal.returncode == 2, rehearsal
    assert "canarycore-local" in rehearsal.stderr


CHECKS = dict(zip(PACKAGES, (core, runtime, metrics, hooks, mesh, notifiers, kubernetes, local, cli), strict=True))


def complaint(program: str) -> str:
    """What a program that must fail says."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode != 0, program
    return result.stderr


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`canary`, run to its end."""
    return subprocess.run([sys.executable, "-m", "canarycore_cli", *arguments], capture_output=True, text=True)


def main(distribution: str) -> None:
    """Fails by an AssertionError."""
    package = distribution.replace("-", "_")
    found = {name for name in PACKAGES if find_spec(name) is not None}
    assert found == NEEDS[package], f"found {found}, expected {NEEDS[package]}"
    CHECKS[package]()
    print(f"{distribution} works alone")


if __name__ == "__main__":
    main(sys.argv[1])
